"""/openapi.json: that it is valid, describes what is served, and that what is served keeps to it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import validate
from sanic import Sanic
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from service import SCOPES, Store, accepted, config, file, folder

from fusion import errors
from fusion.api import failures
from fusion.api.app import create_app
from fusion.api.description.operation import ERRORS
from fusion.api.openapi import DESCRIPTION, OPERATIONS
from fusion.settings import load_settings

Schema = dict[str, Any]

# The document


def test_it_is_valid(store: Store) -> None:
    description = store.server.http.get("/openapi.json").json()
    assert description["openapi"] == "3.1.0"
    validate(description)


def test_it_answers_head(store: Store) -> None:
    answer = store.server.http.head("/openapi.json")
    assert answer.status_code == 200
    assert answer.content == b""
    assert int(answer.headers["content-length"]) == len(store.server.http.get("/openapi.json").content)


def test_sessions_come_first_then_events_then_the_rest(store: Store) -> None:
    paths = list(store.server.http.get("/openapi.json").json()["paths"])
    events = ["/ingestor-api/v1/events/stats", "/ingestor-api/v1/events/position", "/ingestor-api/v1/events/"]
    sessions = [path for path in paths if "session" in path]
    assert paths[: len(sessions) + 3] == sessions + events


def test_a_client_can_pick_routes_by_their_first_match(store: Store) -> None:
    paths = list(store.server.http.get("/openapi.json").json()["paths"])

    def first(word: str) -> str:
        return next(path for path in paths if word in path)

    assert first("session") == "/ingestor-api/v1/sessions/"
    assert first("heartbeat") == "/ingestor-api/v1/sessions/heartbeat"
    assert first("position") == "/ingestor-api/v1/events/position"
    assert first("events").startswith("/ingestor-api/v1/events/")


def test_the_codings_of_bodies_are_described() -> None:
    for path, methods in DESCRIPTION["paths"].items():
        for operation in methods.values():
            named = {parameter["name"] for parameter in operation.get("parameters", ())}
            takes_body = "requestBody" in operation
            assert ("Content-Encoding" in named) == takes_body, path
            assert ("415" in operation["responses"]) == takes_body, path


# What is served


def test_described_routes_are_the_routes_of_the_app(tmp_path: Path) -> None:
    (tmp_path / "fusion.toml").write_text(config({"one": 'durability = "none"'}))
    app = create_app(load_settings(tmp_path / "fusion.toml", {"data_dir": tmp_path / "data"}, environ={}))
    try:
        served = {(method, route.path.strip("/")) for route in app.router.routes for method in route.methods}
    finally:
        Sanic.unregister_app(app)
    described = {(method, operation.path) for operation in OPERATIONS for method in operation.methods}
    assert {(method, path.strip("/")) for method, path in described} == served


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [(method, operation.path, operation.scope) for operation in OPERATIONS for method in operation.methods],
)
def test_a_route_needs_the_scope_described(store: Store, method: str, path: str, scope: str | None) -> None:
    without_key = store.server.http.request(method, path)
    assert without_key.status_code == (401 if scope else 200)
    for other in SCOPES if scope else ():
        answer = Store(store.server, store.name, other).http.request(method, path)
        assert (answer.status_code == 403) == (other != scope)


def test_errors_described_are_those_there_are() -> None:
    classes = [errors.FusionError]
    for found in classes:
        classes += found.__subclasses__()
    known = {
        found.code: found.status
        for found in classes
        if found.__module__ in (errors.__name__, failures.__name__)
    }
    for code, (status, _) in ERRORS.items():
        assert known.get(code) == status, code


# What answers are like

ROWS = [folder("/d", 1.5), file("/d/a.txt", 3, 2.5), file("/d/\udcff", 4), file("/e/b\u00e4.txt", 2**40, 1e9)]
EXAMPLES = 15

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

generated = schemathesis.openapi.from_dict(
    DESCRIPTION,
    config=SchemathesisConfig.from_dict(
        {"generation": {"with-security-parameters": False, "deterministic": True}}
    ),
)
routes = pytest.mark.parametrize(
    ("path", "method"),
    [
        pytest.param(path, method, id=f"{method} {path}")
        for path, methods in DESCRIPTION["paths"].items()
        for method in methods
    ],
)


@pytest.fixture
def http(store: Store) -> Iterator[requests.Session]:
    """As the store's key."""
    with requests.Session() as http:
        http.headers["X-API-Key"] = store.key
        yield http


def prepared(store: Store) -> str:
    """A session whose datastore has something to show, and has seen a positive index."""
    session = store.open()
    event = {"index": int(time.time() * 1000), "rows": ROWS}
    body = {"session_id": session, "source_type": "snapshot", "is_snapshot_end": True, "events": [event]}
    accepted(store.post(json.dumps(body).encode()))
    return session


@routes
def test_answers_are_as_described(store: Store, http: requests.Session, path: str, method: str) -> None:
    """Whatever is sent: never a 5xx, and no status, header, type or document but those described."""
    statuses = []

    def ask(case: Case) -> None:
        for place in (case.body, case.query):
            if hasattr(place, "keys") and str(place.get("min_revision")).isdigit():
                place["min_revision"] = 1  # any other would be waited for, in vain
        answer = case.call(base_url=store.server.url, session=http)
        statuses.append(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    session = prepared(store)

    @examples(path, method, GenerationMode.POSITIVE)
    def ask_in_order(case: Case) -> None:
        ask(known(case, session if method in ("get", "head") else prepared(store)))

    @examples(path, method, GenerationMode.NEGATIVE)
    def ask_wrongly(case: Case) -> None:
        ask(case)

    ask_in_order()
    assert min(statuses) < 300  # it was not in vain
    if {"parameters", "requestBody"} & set(DESCRIPTION["paths"][path][method]):
        ask_wrongly()


def examples(
    path: str, method: str, mode: GenerationMode
) -> Callable[[Callable[[Case], None]], Callable[[], None]]:
    """Run a function with generated requests, the same ones every time."""
    strategy = generated[path][method].as_strategy(generation_mode=mode)
    bounded = settings(
        max_examples=EXAMPLES,
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    return lambda ask: bounded(given(strategy)(ask))


def known(case: Case, session: str) -> Case:
    """With a session that is known where there is any, so that it is not refused for that alone."""
    for place, name in ((case.body, "session_id"), (case.query, "session_id"), (case.headers, "session-id")):
        if hasattr(place, "keys") and name in place:
            place[name] = session
    case.headers.pop("Content-Encoding", None)  # bodies are generated without
    return case
