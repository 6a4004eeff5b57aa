"""The server as a process: it listens, it stops, it stays silent."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from service import Server, Store, config, file, read_answer

STOPS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


def test_listening_is_announced_with_the_real_port(start: Callable[..., Server]) -> None:
    server = start({"one": ""})
    assert server.port > 0
    assert server.http.get("/health/live").status_code == 200


@STOPS
def test_it_stops_in_order_with_an_idle_connection_open(start: Callable[..., Server], number: int) -> None:
    server = start({"one": ""})
    with server.connect() as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(connection).status_code == 200
        server.stop(number)
        assert connection.recv(1) == b""


@STOPS
def test_it_stops_with_a_silent_and_with_a_half_sent_request(
    start: Callable[..., Server], number: int
) -> None:
    server = start({"one": ""})
    with server.connect(), server.connect() as half:
        half.sendall(b"POST /ingestor-api/v1/events/ HTTP/1.1\r\nHost: x\r\nContent-Le")
        server.stop(number)


def test_an_answer_that_is_owed_is_given_while_stopping(start: Callable[..., Server]) -> None:
    server = start({"one": ""})
    store = Store(server, "one")
    session = store.ready(*(file(f"/{n}") for n in range(100)))
    with server.connect() as connection:
        body = f'{{"session_id":"{session}","source_type":"message","events":[]}}'.encode()
        head = (
            f"POST /ingestor-api/v1/events/ HTTP/1.1\r\nHost: x\r\nX-API-Key: {store.key}\r\n"
            f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        server.send_signal(signal.SIGTERM)
        connection.sendall(body)
        assert read_answer(connection).status_code == 204
        assert connection.recv(1) == b""
    server.stop()


def test_a_client_that_hangs_up_in_the_middle_leaves_no_trace(start: Callable[..., Server]) -> None:
    server = start({"one": ""})
    store = Store(server, "one")
    session = store.ready(*(file(f"/{n}" + "x" * 200) for n in range(20_000)))
    head = f"X-API-Key: {store.key}\r\nHost: x\r\n"
    for request in (
        f"POST /ingestor-api/v1/events/ HTTP/1.1\r\n{head}Content-Length: 500\r\n\r\n" + '{"session_id":',
        f"GET /views/fs/tree HTTP/1.1\r\n{head}\r\n",
        f"GET /views/fs/tree HTTP/1.1\r\n{head}\r\n" * 3,
        f"DELETE /ingestor-api/v1/sessions/ HTTP/1.1\r\n{head}session-id: none\r\n\r\n",
        "GET / HTT",
    ):
        for linger in (False, True):
            with server.connect() as connection:
                if linger:
                    # Hang up with a reset.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.sendall(request.encode())
    assert store.heartbeat(session).status_code == 200
    assert store.counts() == (20_000, 1)
    server.stop()


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wrong = f'host = "203.0.113.1"\ndata_dir = "{tmp_path}/wrong"'
        arguments = ["--host", "127.0.0.1", "--port", "0", "--data-dir", f"{tmp_path}/right"]
        text = config({"one": ""}, wrong).replace("port = 0", f"port = {taken.getsockname()[1]}")
        server = Server(tmp_path / "server", text, *arguments)
        try:
            assert server.host == "127.0.0.1"
            assert server.http.get("/health/live").status_code == 200
            assert not (tmp_path / "wrong").exists()
        finally:
            server.stop()


def test_pipelined_requests_are_answered_in_order(store: Store) -> None:
    request = f"GET /ingestor-api/v1/sessions/ HTTP/1.1\r\nHost: x\r\nX-API-Key: {store.key}\r\n\r\n"
    with store.server.connect() as connection:
        connection.sendall(
            request.encode() + b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        data = b""
        while chunk := connection.recv(65536):
            data += chunk
    assert data.index(b"HTTP/1.1 200") < data.index(b"HTTP/1.1 404")
