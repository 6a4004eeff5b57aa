"""Connections: how long a client may take to send a request or to take an answer, and how many there may be.

Sanic's own timeouts begin anew with every byte. These do not: a head has `request_head_seconds` from its
first byte, a body `request_body_seconds` and a second more for each 16 KiB that came. A request that comes in
one piece, as nearly all do, costs nothing: time is taken where the server has to wait for more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from asyncio import Transport
from collections import Counter
from collections.abc import Collection, Coroutine
from typing import Any

from sanic.exceptions import RequestTimeout
from sanic.http import Stage
from sanic.models.server_types import ConnInfo
from sanic.server import HttpProtocol

from fusion.api.framing import StrictHttp
from fusion.api.streaming import STALL_SECONDS, StreamedAnswer, unsent_bytes

log = logging.getLogger("fusion.api")

SWEEP_SECONDS = 0.5
# At this pace a body may take as long as it needs: 16 MiB in 17 minutes.
BODY_BYTES_PER_SECOND = 16 * 1024
# So many connections are closed at once where there are too many: finding them takes looking at all of them.
ROOM = 32

_IDLE = Stage.IDLE  # looked up with every request


class Connection(HttpProtocol):
    """One connection, over whatever transport."""

    HTTP_CLASS = StrictHttp
    __slots__ = ("_paused", "_timed", "_unsent", "due")
    # As they are once it is made.
    conn_info: ConnInfo
    transport: Transport
    _task: asyncio.Task[None]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.due = 0.0  # what is awaited, by the loop's clock; 0: nothing is
        self._timed: Any = None  # the request whose body is due; None: a head
        self._paused = 0.0  # since when the client takes nothing; 0: it does
        self._unsent = 0

    @property
    def is_idle(self) -> bool:
        """No request has begun, and none is being answered. `_time` is since when."""
        http = self.http
        if http is None:  # not looked at yet
            return True
        return http.stage is _IDLE and not http.request_body and not self._paused

    @property
    def is_receiving(self) -> bool:
        """A request is being received."""
        return self.due != 0 and not self._data_received.is_set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._time = time.monotonic()
        if len(self.connections) > self.app.ctx.max_connections:
            make_room(self.connections, self)

    def receive_more(self) -> Coroutine[Any, Any, None]:
        """Wait for more, which is due in time if a request has begun; StrictHttp sets `due` back for each."""
        http = self._http
        if http.stage is not _IDLE or http.request_body:
            request = http.request
            if not self.due or self._timed is not request:
                server = self.app.ctx.settings.server
                self._timed = request
                self.due = self.loop.time() + (
                    server.request_head_seconds if request is None else server.request_body_seconds
                )
        return HttpProtocol.receive_more(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._paused = self.loop.time()
        self._unsent = -1

    def resume_writing(self) -> None:
        super().resume_writing()
        self._paused = 0.0

    def check_timeouts(self) -> None:
        if self.http is not None:
            # Nothing is upgraded here, and who asks for it would never be looked after again.
            self.http.upgrade_websocket = False
        super().check_timeouts()

    def sweep(self, now: float) -> None:
        """Cut off a client that is too slow."""
        http = self.http
        if http is None or self.transport is None or self.transport.is_closing():
            return
        if self._paused:
            if not isinstance(http.response, StreamedAnswer):  # which looks after its client itself
                self._sweep_writing(now)
        elif self.is_receiving and now > self.due + self._earned_seconds():
            # Answered with 408, where no answer has been given, and closed.
            http.exception = RequestTimeout("Request Timeout")
            http.request_body = None
            self._task.cancel()

    def _earned_seconds(self) -> float:
        """What the bytes of a body have earned it. What is only read to be dropped earns nothing."""
        http = self._http
        if self._timed is None or http.stage is not Stage.HANDLER:
            return 0.0
        received: int = http.request_bytes - http.request_bytes_left
        return received / BODY_BYTES_PER_SECOND

    def _sweep_writing(self, now: float) -> None:
        if (unsent := unsent_bytes(self.transport)) != self._unsent:
            self._paused = now
            self._unsent = unsent
        elif now - self._paused > STALL_SECONDS:
            log.warning("a connection was cut off: its client took nothing for %.0f s", now - self._paused)
            self.transport.abort()


async def sweep(connections: Collection[Connection]) -> None:
    """Look after all of them, for ever: one timer for all costs less than one for each."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = loop.time()
        for connection in list(connections):
            connection.sweep(now)


def make_room(connections: set[Connection], newcomer: Connection) -> None:
    """Close some connections of the address that has the most.

    Those idle for longest; where none is, those whose requests have been coming for longest; where all are
    being answered, the newcomer.
    """
    addresses = Counter(connection.conn_info.client_ip for connection in connections)
    crowd, _ = addresses.most_common(1)[0]
    of_crowd = [
        connection
        for connection in connections
        if connection.conn_info.client_ip == crowd and connection is not newcomer
    ]
    victims = sorted((c for c in of_crowd if c.is_idle), key=lambda c: c._time)[:ROOM]
    if not victims:
        victims = sorted((c for c in of_crowd if c.is_receiving), key=lambda c: c.due)[:ROOM]
    for connection in victims or [newcomer]:
        connections.discard(connection)  # it counts no more
        connection.transport.close()
