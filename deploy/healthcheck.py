"""Exit status 0 when the server of this container answers, 1 when it does not.

FUSION_URL tells where it is (default http://127.0.0.1:8102). It is asked over the loopback, where a
certificate has nothing to prove, so that of an https URL is not checked.
"""

from __future__ import annotations

import os
import ssl
import sys
from http.client import HTTPException
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

TIMEOUT_SECONDS = 4.0

if __name__ == "__main__":
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    url = os.environ.get("FUSION_URL") or "http://127.0.0.1:8102"
    try:
        opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
        opener.open(url.rstrip("/") + "/health/live", timeout=TIMEOUT_SECONDS).close()
    except (OSError, HTTPException, ValueError) as error:
        sys.exit(f"{url}: {error}")
