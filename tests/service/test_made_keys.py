"""Keys that are made and taken back while the server runs, and what limits them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from service import Server, Store, file, refused, until

from fusion.keys import KeyFile

START = Callable[..., Server]
TREE = "/views/fs/tree"


def keys(server: Server, *arguments: str) -> str:
    """What `fusion keys` prints."""
    command = [sys.executable, "-m", "fusion", "keys", *arguments, "--config", "fusion.toml"]
    ran = subprocess.run(command, cwd=server.directory, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def create(server: Server, *arguments: str, scope: str = "read", datastore: str = "one") -> str:
    return keys(server, "create", "--datastore", datastore, "--scope", scope, *arguments)


def get(server: Server, key: str, target: str = TREE) -> httpx.Response:
    return server.http.get(target, headers={"X-API-Key": key})


def test_a_key_is_made_used_and_revoked(start: START) -> None:
    server = start({"one": ""}, "failed_tries_per_minute = 0")
    Store(server, "one").ready(file("/a"))
    key = create(server)
    until(lambda: get(server, key).status_code == 200)
    refused(get(server, key, "/ingestor-api/v1/sessions/"), 403, "forbidden")
    connection = server.client(headers={"X-API-Key": key})
    assert connection.get(TREE).status_code == 200
    keys(server, "revoke", key[4:12])
    until(lambda: connection.get(TREE).status_code == 401)
    refused(get(server, key), 401, "unauthorized")
    assert Store(server, "one").paths() == {"/a"}


def test_a_key_outlives_a_restart_and_the_note_of_its_use_too(start: START, tmp_path: Path) -> None:
    server = start({"one": ""})
    before = time.time()
    key = create(server, scope="ingest")
    until(lambda: get(server, key, "/ingestor-api/v1/sessions/").status_code == 200)
    server.stop()
    used = KeyFile(server.directory / "fusion-data").last_used()
    assert list(used) == [key[4:12]] and before <= used[key[4:12]] <= time.time()
    assert "never" in keys(server, "list") and key[13:] not in keys(server, "list")
    again = Server(server.directory, (server.directory / "fusion.toml").read_text())
    try:
        assert get(again, key, "/ingestor-api/v1/sessions/").status_code == 200
    finally:
        again.stop()


def test_a_file_that_cannot_be_read_changes_nothing(start: START) -> None:
    server = start({"one": ""}, "failed_tries_per_minute = 0")
    Store(server, "one").ready()
    key = create(server)
    until(lambda: get(server, key).status_code == 200)
    path = server.directory / "fusion-data" / "keys.toml"
    text = path.read_text()
    path.write_text("[[keys]]\nid = 5\n")
    until(lambda: "the API keys stay as they were" in server.errors())
    assert get(server, key).status_code == 200
    path.write_text(text + "# the same, repaired\n")
    server.send_signal(signal.SIGHUP)
    assert get(server, key).status_code == 200
    path.unlink()
    until(lambda: get(server, key).status_code == 401)
    assert server.errors().count("the API keys stay as they were") == 1
    server.stop(silent=False)


def test_a_wrong_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "fusion-data").mkdir()
    (tmp_path / "fusion-data" / "keys.toml").write_text("keys = 5")
    (tmp_path / "fusion.toml").write_text("[server]\nport = 0\n[datastores.one]\n")
    command = [sys.executable, "-m", "fusion", "serve", "--config", "fusion.toml"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "fusion: fusion-data/keys.toml: keys: must be tables [[keys]]\n"


def test_a_key_of_another_server_is_told_and_left_out(start: START) -> None:
    server = start({"one": ""}, "failed_tries_per_minute = 0", "--log-level", "warning")
    command = [sys.executable, "-m", "fusion", "keys", "create", "--data-dir", "fusion-data"]
    key = subprocess.run(
        [*command, "--datastore", "other", "--scope", "read"],
        cwd=server.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    ).stdout.strip()
    until(lambda: "for the datastore other, which is not there" in server.errors())
    refused(get(server, key), 401, "unauthorized")
    assert key[13:] not in server.errors()
    server.stop(silent=False)


def test_a_key_is_never_told(start: START) -> None:
    """Neither in an error nor in the log, whatever is done with it."""
    server = start({"one": ""}, "failed_tries_per_minute = 5")
    key = create(server, "--requests-per-second", "1")
    secret = key[13:]
    until(lambda: get(server, key).status_code == 503)
    answers = [get(server, key) for _ in range(10)]
    answers += [get(server, wrong) for wrong in [key[:-1], key + "x"] * 5]
    answers += [get(server, key, f"{TREE}?key={key}"), get(server, key, f"/{key}")]
    answers += [server.http.post("/ingestor-api/v1/events/", headers={"X-API-Key": key}, content=b"{")]
    assert {401, 403, 404, 429} <= {answer.status_code for answer in answers}
    for answer in answers:
        assert secret not in answer.text and secret not in str(answer.headers)
    (server.directory / "fusion-data" / "keys.toml").write_text("[[keys]]\n")
    until(lambda: "stay as they were" in server.errors())
    assert secret not in server.errors()
    server.stop(silent=False)


@pytest.mark.parametrize("end", [0, -1])
def test_wrong_keys_are_answered_alike(start: START, end: int) -> None:
    """An unknown id, and a secret that is wrong in its first or last byte."""
    server = start({"one": ""}, "failed_tries_per_minute = 0")
    key = create(server)
    until(lambda: get(server, key).status_code == 503)
    prefix, identity, secret = key.split("_", 2)
    other = "A" if secret[end] != "A" else "B"
    wrong_secret = other + secret[1:] if end == 0 else secret[:-1] + other
    wrong_id = ("0" if identity[0] != "0" else "1") + identity[1:]
    answers = [
        get(server, f"{prefix}_{wrong_id}_{secret}"),
        get(server, f"{prefix}_{identity}_{wrong_secret}"),
    ]
    assert len({(answer.status_code, answer.content) for answer in answers}) == 1
    refused(answers[0], 401, "unauthorized")


def test_a_rate_of_requests_is_429(start: START) -> None:
    server = start({"one": ""}, "key_requests_per_second = 1")
    Store(server, "one").ready()
    key = create(server, "--requests-per-second", "3")
    until(lambda: get(server, key, "/health/live").status_code == 200)
    statuses = []
    while 429 not in statuses:
        answer = get(server, key)
        statuses.append(answer.status_code)
        assert len(statuses) < 1000
    refused(answer, 429, "too_many_requests")
    assert int(answer.headers["retry-after"]) >= 1
    until(lambda: get(server, key).status_code == 200)


def test_bytes_that_come_and_go_count(start: START) -> None:
    """Answers whole and streamed, and bodies: each makes a debt that the next request meets."""
    server = start({"one": ""})
    store = Store(server, "one")
    session = store.ready(*(file(f"/{number:04}") for number in range(5000)))
    stream = create(server, "--bytes-per-second", "100")
    whole = create(server, "--bytes-per-second", "1000")
    body = create(server, "--bytes-per-second", "1000", scope="ingest")
    until(lambda: get(server, body).status_code == 403)
    assert get(server, stream).status_code == 200
    refused(get(server, stream), 429, "too_many_requests")
    assert get(server, whole, f"{TREE}?path=/0001").status_code == 200
    until(lambda: get(server, whole, f"{TREE}?limit=500&recursive=false").status_code == 429)
    answer = server.http.post(
        "/ingestor-api/v1/events/",
        headers={"X-API-Key": body},
        json={
            "session_id": session,
            "source_type": "message",
            "events": [{"rows": [{"path": "/" + "x" * 60_000}]}],
        },
    )
    assert answer.status_code == 204
    refused(get(server, body, "/ingestor-api/v1/sessions/"), 429, "too_many_requests")


def test_guesses_of_one_address_are_429(start: START) -> None:
    server = start({"one": ""}, "failed_tries_per_minute = 10")
    store = Store(server, "one")
    store.ready()
    statuses = [get(server, f"guess {number}").status_code for number in range(15)]
    assert statuses[:10] == [401] * 10 and 429 in statuses
    refused(get(server, "another"), 429, "too_many_requests")
    assert store.paths() == set()  # a key that was let in before goes on
