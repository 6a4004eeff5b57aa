"""The client side of the ingest API: sessions, pushes, heartbeats; retries what a later try can mend."""

import asyncio
import logging
import random
import ssl
from typing import Any, TypedDict
from urllib.parse import urlsplit

import httpx

from .wire import Body, compressed, encode, plain

logger = logging.getLogger("fusion.agent")

_SESSIONS = "/ingestor-api/v1/sessions/"
_EVENTS = "/ingestor-api/v1/events/"
_ANOMALY = "/ingestor-api/v1/consistency/anomaly"

_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 5.0
_LONGEST_WANTED_SECONDS = 60.0  # by a Retry-After
_TIMEOUT_SECONDS = 30.0


class SessionLost(Exception):
    """The server takes nothing from this session any more; `superseded` when a newer one replaced it."""

    def __init__(self, detail: str, *, superseded: bool) -> None:
        super().__init__(detail)
        self.superseded = superseded


class Refused(Exception):
    """The server said no, and asking again would not change that (a wrong key, a bad body ...)."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Session(TypedDict):
    """The server's answer to a new session."""

    session_id: str
    session_timeout_seconds: int
    suggested_heartbeat_interval_seconds: int


def is_loopback(url: str) -> bool:
    """Whether the URL names this machine, so that no proxy from the environment is in its way."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def reaching(url: str) -> dict[str, Any]:
    """How httpx reaches a server: this machine without a proxy; with the certificates that the system trusts.

    Those are OpenSSL's, for which SSL_CERT_FILE and SSL_CERT_DIR name others.
    """
    is_tls = urlsplit(url).scheme == "https"
    # To load certificates takes longer than most questions.
    return {"trust_env": not is_loopback(url), "verify": ssl.create_default_context() if is_tls else False}


def detail_of(response: httpx.Response) -> str:
    """What an error answer says to a person."""
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP status {response.status_code} {response.reason_phrase}".strip()


def _check(response: httpx.Response) -> None:
    """Raises what an answer to a request within a session means."""
    if response.status_code in (404, 419):
        raise SessionLost(detail_of(response), superseded=response.status_code == 419)
    if not response.is_success:
        raise Refused(response.status_code, detail_of(response))


class Pusher:
    """Talks to one server with one key; several requests may be under way at once."""

    def __init__(self, url: str, api_key: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url = url
        self._is_loopback = is_loopback(url)
        self._takes_codings = True
        self.out_of_reach = False  # the last try of some request failed and will be repeated
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"X-API-Key": api_key, "Content-Type": "application/json"},
            timeout=_TIMEOUT_SECONDS,
            **reaching(url),
            transport=transport,
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def open_session(self, task_id: str, client_info: dict[str, Any]) -> Session:
        """A new session, which replaces the one before it."""
        body = encode({"task_id": task_id, "client_info": client_info})
        response = await self._request("POST", _SESSIONS, content=body)
        if response.status_code != 200:
            raise Refused(response.status_code, detail_of(response))
        session: Session = response.json()
        return session

    async def active_sessions(self) -> list[dict[str, Any]]:
        """The sessions the server knows, as it lists them."""
        response = await self._request("GET", _SESSIONS)
        if response.status_code != 200:
            raise Refused(response.status_code, detail_of(response))
        sessions: list[dict[str, Any]] = response.json()["active_sessions"]
        return sessions

    async def heartbeat(self, session_id: str) -> None:
        """A sign of life."""
        _check(await self._request("POST", f"{_SESSIONS}heartbeat", headers={"session-id": session_id}))

    async def end_session(self, session_id: str) -> None:
        """Ends the session; tried once, since it expires by itself otherwise."""
        await self._client.delete(_SESSIONS, headers={"session-id": session_id}, timeout=2.0)

    def pack(self, content: bytes) -> Body:
        """A body as this server is best sent it; from any thread.

        A thousand rows take 13 ms at 100 Mbit/s, and less than 1 ms to compress, send and expand; to another
        process of this machine they come sooner as they are.
        """
        return Body(content, "identity") if self._is_loopback else compressed(content)

    async def push(self, body: Body) -> None:
        """Delivers one body, again and again until the server has it or refuses it."""
        if not self._takes_codings:
            body = plain(body)
        coding = {"Content-Encoding": body.coding} if body.coding != "identity" else {}
        response = await self._request("POST", _EVENTS, content=body.content, headers=coding)
        if coding and response.status_code in (413, 415):  # 413: it expands more than the server dares to do
            self._takes_codings = response.status_code != 415
            await self.push(plain(body))
        else:
            _check(response)

    async def signal_anomaly(self, session_id: str, reason: str, differences: list[dict[str, Any]]) -> None:
        """Tells that the view is wrong: the server closes it until a snapshot that begins later has ended."""
        signal = {"session_id": session_id, "reason": reason, "differences": differences}
        _check(await self._request("POST", _ANOMALY, content=encode(signal)))

    async def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """An answer below 500; a server out of reach, overloaded or failing is asked again, ever later."""
        delay = _FIRST_DELAY_SECONDS
        while True:
            pause = delay * random.uniform(0.75, 1.25)
            try:
                response = await self._client.request(method, path, **arguments)
            except httpx.TransportError as error:
                self._report(f"cannot reach {self.url} ({str(error) or type(error).__name__}), trying again")
            else:
                if response.status_code != 429 and response.status_code < 500:
                    self._report(None)
                    return response
                self._report(f"the server is busy ({detail_of(response)}), trying again")
                wanted = response.headers.get("Retry-After", "")
                if wanted.isdecimal():
                    pause = max(pause, min(float(wanted), _LONGEST_WANTED_SECONDS))
            await asyncio.sleep(pause)
            delay = min(delay * 2, _LONGEST_DELAY_SECONDS)

    def _report(self, trouble: str | None) -> None:
        if trouble is not None and not self.out_of_reach:
            logger.warning(trouble)
        elif trouble is None and self.out_of_reach:
            logger.warning("%s answers again", self.url)
        self.out_of_reach = trouble is not None
