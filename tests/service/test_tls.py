"""TLS by files that may change, and no keys in plain by accident."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trustme
from service import Server, config, file, until

CONFIG = config(
    {"one": ""}, 'tls_certificate = "server.pem"\ntls_key = "server.key"\nrequest_head_seconds = 1'
)


def issue(authority: trustme.CA, directory: Path) -> None:
    """A new certificate of 127.0.0.1, each file replaced as a whole."""
    certificate = authority.issue_cert("127.0.0.1")
    for name, parts in (
        ("server.key", [certificate.private_key_pem]),
        ("server.pem", certificate.cert_chain_pems),
    ):
        aside = directory / "aside"
        aside.write_bytes(b"".join(part.bytes() for part in parts))
        os.replace(aside, directory / name)


@contextmanager
def served(directory: Path, authority: trustme.CA) -> Iterator[tuple[Server, Callable[[], httpx.Client]]]:
    directory.mkdir()
    issue(authority, directory)
    server = Server(directory, CONFIG)
    context = ssl.create_default_context()
    authority.configure_trust(context)

    def client() -> httpx.Client:
        return httpx.Client(base_url=server.url, verify=context, headers={"X-API-Key": "one-all"})

    try:
        yield server, client
    finally:
        server.stop(silent=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def serial(client: httpx.Client) -> int:
    """Of the certificate that a new connection is shown."""
    with client.stream("GET", "/health/live") as answer:
        found = answer.extensions["network_stream"].get_extra_info("ssl_object").getpeercert()
    return int(found["serialNumber"], 16)


def test_all_of_it_over_tls(tmp_path: Path, authority: trustme.CA) -> None:
    with served(tmp_path / "server", authority) as (server, client), client() as http:
        assert server.url.startswith("https://127.0.0.1:")
        session = http.post("/ingestor-api/v1/sessions/", json={"task_id": "t"}).json()["session_id"]
        for number in range(20):  # 8 MB as a tree: many pieces, through a buffer that is used again
            rows = [file(f"/{number}/{row}-{'x' * 60}", row) for row in range(1000)]
            body = {"session_id": session, "source_type": "snapshot", "events": [{"rows": rows}]}
            assert http.post("/ingestor-api/v1/events/", json=body).status_code == 204
        body = {"session_id": session, "source_type": "snapshot", "is_snapshot_end": True, "events": []}
        assert http.post("/ingestor-api/v1/events/", json=body).status_code == 204
        tree = http.get("/views/fs/tree", timeout=60.0)
        assert len(tree.content) > 5_000_000
        assert [len(child["children"]) for child in tree.json()["children"].values()] == [1000] * 20
        assert sorted(
            node["size"] for child in tree.json()["children"].values() for node in child["children"].values()
        ) == sorted(row for row in range(1000) for _ in range(20))


def test_the_command_line_trusts_what_it_is_told_to(tmp_path: Path, authority: trustme.CA) -> None:
    with served(tmp_path / "server", authority) as (server, _):
        roots = tmp_path / "roots.pem"
        authority.cert_pem.write_to_path(str(roots))
        tree = tmp_path / "tree"
        (tree / "a").mkdir(parents=True)

        def fusion(*arguments: str, trusted: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "fusion", *arguments, "--url", server.url],
                env={**os.environ, "SSL_CERT_FILE": trusted, "FUSION_API_KEY": "one-all"},
                capture_output=True,
                text=True,
            )

        refused = fusion("stats", trusted=os.devnull)
        assert refused.returncode == 1 and "is not trusted" in refused.stderr
        assert refused.stderr.count("\n") == 1
        told = fusion(
            "agent", str(tree), "--once", "--state-dir", str(tmp_path / "state"), trusted=str(roots)
        )
        assert told.returncode == 0, told.stderr
        assert fusion("stats", trusted=str(roots)).returncode in (0, 1)  # the agent has left


def test_plain_http_is_not_answered(tmp_path: Path, authority: trustme.CA) -> None:
    with served(tmp_path / "server", authority) as (server, _), server.connect() as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in connection.recv(1000)


def test_who_never_shakes_hands_is_cut_off(tmp_path: Path, authority: trustme.CA) -> None:
    with served(tmp_path / "server", authority) as (server, _), server.connect() as connection:
        assert connection.recv(1000) == b""


def test_old_versions_of_tls_are_refused(tmp_path: Path, authority: trustme.CA) -> None:
    with served(tmp_path / "server", authority) as (server, _):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(context)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with server.connect() as connection, pytest.raises(OSError):
            context.wrap_socket(connection, server_hostname="127.0.0.1")


def test_a_new_certificate_is_shown_and_open_connections_go_on(tmp_path: Path, authority: trustme.CA) -> None:
    with served(tmp_path / "server", authority) as (server, client), client() as open_before:
        with client() as http:
            before = serial(http)
        assert open_before.get("/health/live").status_code == 200
        issue(authority, server.directory)

        def shown() -> int:
            with client() as http:
                return serial(http)

        until(lambda: shown() != before)
        assert open_before.get("/health/live").status_code == 200


def test_a_pair_that_does_not_fit_changes_nothing(tmp_path: Path, authority: trustme.CA) -> None:
    with served(tmp_path / "server", authority) as (server, client):
        with client() as http:
            before = serial(http)
        (server.directory / "server.key").write_bytes(
            authority.issue_cert("127.0.0.1").private_key_pem.bytes()
        )
        until(lambda: "the certificate stays as it was" in server.errors())
        server.send_signal(signal.SIGHUP)
        with client() as http:
            assert serial(http) == before
        issue(authority, server.directory)

        def shown() -> int:
            with client() as http:
                return serial(http)

        until(lambda: shown() != before)


def refusal(directory: Path, text: str) -> str:
    (directory / "fusion.toml").write_text(text)
    command = [sys.executable, "-m", "fusion", "serve", "--config", "fusion.toml"]
    ran = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("fusion: ") and ran.stderr.count("\n") == 1
    return ran.stderr


def test_files_that_cannot_be_used_stop_the_start(tmp_path: Path, authority: trustme.CA) -> None:
    assert "server.pem or server.key cannot be read: No such file" in refusal(tmp_path, CONFIG)
    issue(authority, tmp_path)
    (tmp_path / "server.key").write_text("no key")
    assert "server.pem and its key cannot be used" in refusal(tmp_path, CONFIG)
    assert "tls_key: must come with tls_certificate" in refusal(
        tmp_path, '[server]\ntls_key = "x"\n[datastores.one]\n'
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_are_not_served_in_plain_by_accident(tmp_path: Path, host: str) -> None:
    text = f'[server]\nhost = "{host}"\nport = 0\n[datastores.one]\n'
    line = refusal(tmp_path, text)
    assert host in line and "allow_plaintext = true" in line
    server = Server(tmp_path, text.replace("port = 0", "port = 0\nallow_plaintext = true"))
    server.stop()
    server = Server(tmp_path, text, "--allow-plaintext")
    server.stop()
