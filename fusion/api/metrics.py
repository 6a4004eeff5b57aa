"""`/metrics`: what is counted, for Prometheus. Nothing is done for it but when it is asked for."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from sanic import Blueprint, Request
from sanic.response import BaseHTTPResponse

from fusion.api.guard import public
from fusion.api.sending import whole
from fusion.counters import Durations, Totals
from fusion.datastore import Datastore
from fusion.errors import Forbidden, RouteNotFound
from fusion.journal import Journal
from fusion.readiness import State
from fusion.version import VERSION

metrics = Blueprint("metrics")


@metrics.get("/metrics")
@public
async def scrape(request: Request) -> BaseHTTPResponse:
    context = request.app.ctx
    registry = registry_of(context, permitted(request))
    encode, content_type = choose_encoder(request.headers.getone("accept", ""))
    body = await context.workers.view(encode, registry)
    return await whole(request, body, b"content-type: %b\r\n" % content_type.encode())


def permitted(request: Request) -> Iterable[Datastore]:
    """The datastores that may be shown, by the setting `metrics`.

    Raises RouteNotFound, Unauthorized, Forbidden.
    """
    context = request.app.ctx
    mode = context.settings.server.metrics
    if mode == "off":
        raise RouteNotFound()
    if mode == "public":
        return list(context.datastores.values())
    presented = request.headers.getone("x-api-key", None)
    try:
        grant = context.keys.authorise(presented, "read")
    except Forbidden:
        grant = context.keys.authorise(presented, "admin")
    return [context.datastores[grant.datastore]]


def registry_of(context: Any, datastores: Iterable[Datastore]) -> CollectorRegistry:
    """What a scrape is made of: the process, the server, and these datastores."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(ServerCollector(context))
    registry.register(DatastoreCollector(datastores))
    return registry


class ServerCollector(Collector):
    """What is not about one datastore. `context` is that of the app."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "fusion_build",
            "The version of the server, and of Python.",
            {"version": VERSION, "python": platform.python_version()},
        )
        requests = HistogramMetricFamily(
            "fusion_http_request_duration_seconds",
            "From the head of a request to its answer, by the template of its route.",
            labels=("route", "method", "status"),
        )
        for asked, durations in self._context.traffic:
            _add_durations(requests, (asked.route, asked.method, str(asked.status)), durations)
        yield requests
        streams = GaugeMetricFamily("fusion_http_streams", "Large answers being sent.")
        streams.add_metric((), self._context.streams.running)
        yield streams


class Seen(NamedTuple):
    """One datastore at one moment. `status`: as the route of that name tells it."""

    datastore: Datastore
    status: dict[str, Any]

    @property
    def totals(self) -> Totals:
        return self.datastore.totals

    @property
    def memory(self) -> dict[str, int]:
        return self.datastore.index.memory()

    def journal(self, read: Callable[[Journal], Any]) -> Any:
        """None without a journal."""
        return None if self.datastore.journal is None else read(self.datastore.journal)


class Series(NamedTuple):
    """One number of each datastore; None where there is none."""

    kind: type[CounterMetricFamily | GaugeMetricFamily]
    name: str
    help: str
    read: Callable[[Seen], float | None]


def _milliseconds(value: float | None) -> float | None:
    return None if value is None else value / 1000


COUNTER, GAUGE = CounterMetricFamily, GaugeMetricFamily

SERIES = (
    Series(
        GAUGE,
        "fusion_datastore_healthy",
        "1: changes are taken, and kept as the settings say.",
        lambda seen: seen.status["problem"] is None and seen.status["state"] != State.RECOVERING,
    ),
    Series(GAUGE, "fusion_datastore_ready", "1: views are shown.", lambda seen: seen.status["ready"]),
    Series(
        GAUGE,
        "fusion_breaker_tripped",
        "1: the circuit breaker is open, as the tree is known to be wrong.",
        lambda seen: seen.status["breaker"]["tripped"],
    ),
    Series(COUNTER, "fusion_anomalies", "Anomaly signals.", lambda seen: seen.totals.anomalies),
    Series(COUNTER, "fusion_ingested_rows", "Rows pushed and applied.", lambda seen: seen.totals.rows),
    Series(
        COUNTER, "fusion_ingested_batches", "Batches pushed and applied.", lambda seen: seen.totals.batches
    ),
    Series(
        COUNTER,
        "fusion_ingested_body_bytes",
        "Bodies of those batches, not compressed.",
        lambda seen: seen.totals.body_bytes,
    ),
    Series(GAUGE, "fusion_queue_batches", "Changes waiting.", lambda seen: seen.status["queue"]["batches"]),
    Series(
        GAUGE,
        "fusion_queue_bytes",
        "Bodies of changes waiting or being applied.",
        lambda seen: seen.status["queue"]["bytes"],
    ),
    Series(
        GAUGE,
        "fusion_queue_limit_bytes",
        "Beyond this many, pushes wait and are refused.",
        lambda seen: seen.datastore.settings.queue_bytes,
    ),
    Series(GAUGE, "fusion_inflight_batches", "Changes being applied.", lambda seen: seen.status["inflight"]),
    Series(
        GAUGE,
        "fusion_last_event_latency_seconds",
        "How old the newest event with a time was when it was applied.",
        lambda seen: _milliseconds(seen.status["last_event_latency_ms"]),
    ),
    Series(
        GAUGE, "fusion_nodes", "Nodes of the tree, the root among them.", lambda seen: seen.status["nodes"]
    ),
    Series(
        COUNTER,
        "fusion_index_revisions",
        "Changes that the tree has seen.",
        lambda seen: seen.status["revision"],
    ),
    Series(
        GAUGE,
        "fusion_index_bytes",
        "Memory of the index, without what it keeps for answers being sent.",
        lambda seen: seen.memory["total"] - seen.memory["views"],
    ),
    Series(
        GAUGE,
        "fusion_index_kept_bytes",
        "Memory of what the index keeps of its past for answers being sent.",
        lambda seen: seen.memory["views"],
    ),
    Series(
        GAUGE,
        "fusion_index_bytes_per_node",
        "Memory of the index by its nodes.",
        lambda seen: seen.status["bytes_per_node"],
    ),
    Series(GAUGE, "fusion_sessions", "Active sessions.", lambda seen: len(seen.status["sessions"])),
    Series(
        GAUGE,
        "fusion_sessions_authoritative",
        "1: an active session keeps the tree up to date.",
        lambda seen: any(session["authoritative"] for session in seen.status["sessions"]),
    ),
    Series(COUNTER, "fusion_sessions_opened", "Sessions opened.", lambda seen: seen.totals.sessions_opened),
    Series(
        COUNTER,
        "fusion_sessions_superseded",
        "Sessions whose place a newer one took.",
        lambda seen: seen.totals.sessions_superseded,
    ),
    Series(
        COUNTER,
        "fusion_sessions_expired",
        "Sessions that were silent for too long.",
        lambda seen: seen.totals.sessions_expired,
    ),
    Series(
        COUNTER,
        "fusion_sessions_ended",
        "Sessions ended by their agents, or by a recovery that could not vouch for them.",
        lambda seen: seen.totals.sessions_ended,
    ),
    Series(
        COUNTER,
        "fusion_journal_failures",
        "Groups of changes that could not be kept and were refused.",
        lambda seen: seen.journal(lambda journal: journal.failures),
    ),
    Series(
        GAUGE,
        "fusion_journal_replay_bytes",
        "What a restart would have to replay.",
        lambda seen: seen.journal(lambda journal: journal.grown_bytes),
    ),
    Series(
        GAUGE,
        "fusion_journal_free_bytes",
        "Room on the journal's disk.",
        lambda seen: seen.journal(lambda journal: journal.free_bytes),
    ),
    Series(
        GAUGE,
        "fusion_journal_min_free_bytes",
        "With less room than this, pushes are refused.",
        lambda seen: seen.journal(lambda journal: journal.min_free_bytes),
    ),
    Series(
        COUNTER,
        "fusion_checkpoints",
        "Checkpoints written.",
        lambda seen: seen.journal(lambda journal: journal.checkpoints),
    ),
    Series(
        COUNTER,
        "fusion_checkpoint_failures",
        "Checkpoints that could not be written.",
        lambda seen: seen.journal(lambda journal: journal.checkpoint_failures),
    ),
)


class DatastoreCollector(Collector):
    def __init__(self, datastores: Iterable[Datastore]) -> None:
        self._datastores = datastores

    def collect(self) -> Iterator[Metric]:
        looks = [Seen(datastore, datastore.status()) for datastore in self._datastores]
        states = GaugeMetricFamily(
            "fusion_datastore_state",
            "1 for the state that the datastore is in, 0 for the others.",
            labels=("datastore", "state"),
        )
        syncs = HistogramMetricFamily(
            "fusion_journal_sync_seconds",
            "To write a group of changes and, with durability fsync, bring it to the disk.",
            labels=("datastore",),
        )
        for seen in looks:
            name = seen.datastore.name
            for state in State:
                states.add_metric((name, state.value), state.value == seen.status["state"])
            if seen.datastore.journal is not None:
                _add_durations(syncs, (name,), seen.datastore.journal.sync_seconds)
        yield states
        yield syncs
        for series in SERIES:
            family = series.kind(series.name, series.help, labels=("datastore",))
            for seen in looks:
                value = series.read(seen)
                if value is not None:
                    family.add_metric((seen.datastore.name,), value)
            yield family


def _add_durations(family: HistogramMetricFamily, labels: tuple[str, ...], durations: Durations) -> None:
    buckets, below = [], 0
    for bound, count in zip((*durations.bounds, "+Inf"), list(durations.counts), strict=True):
        below += count
        buckets.append((str(bound), below))
    family.add_metric(labels, buckets, durations.total_seconds)
