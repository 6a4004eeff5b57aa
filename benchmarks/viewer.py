"""A client that looks at a server others are busy with: `viewer.py PORT SESSION TREE_TARGET KEY`.

Asks for the tree and sends a heartbeat, in turn, until its standard input ends; then prints a JSON object.
"""

from __future__ import annotations

import json
import select
import sys
import time

from load import Connection, head

PAUSE_SECONDS = 0.002


def main(port: int, session: str, target: str, key: str) -> None:
    heartbeat = head("POST", "/ingestor-api/v1/sessions/heartbeat", key=key).decode()
    requests = {
        "tree": head("GET", target, key=key),
        "heartbeat": heartbeat.replace("\r\n\r\n", f"\r\nsession-id: {session}\r\n\r\n").encode(),
    }
    connection = Connection(port, key)
    seconds: dict[str, list[float]] = {what: [] for what in requests}
    refused: list[str] = []
    print(flush=True)  # ready
    while True:
        for what, request in requests.items():
            if select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
                print(json.dumps({"seconds": seconds, "refused": refused}))
                return
            started = time.perf_counter()
            connection.send(request)
            answer = connection.answer()
            seconds[what].append(time.perf_counter() - started)
            if answer.status != 200:
                refused.append(f"{what}: {answer.status} {answer.body.decode()}")


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
