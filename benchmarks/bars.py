"""What the engine and the service have to reach, as data; the pages say for each bar what was reached."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A limit that no figure may exceed or, with `at_least`, that it has to reach; `unit` is of both."""

    what: str
    limit: float
    unit: str
    at_least: bool = False

    def met(self, figure: float) -> bool:
        return figure >= self.limit if self.at_least else figure <= self.limit


LOADS = "time of orjson.loads alone"
READY = "orjson.dumps of the tree, dicts ready"
BUILT = "building the dicts, then orjson.dumps"

ENGINE = {
    "apply S": Bar("decode and insert, S", 0.7, f"× the {LOADS}"),
    "apply R": Bar("the same, R", 1.0, f"× the {LOADS}"),
    "apply W": Bar("the same, W", 1.0, f"× the {LOADS}"),
    "apply D": Bar("the same, D", 1.0, f"× the {LOADS}"),
    "apply escaped": Bar("the same, names that JSON escapes", 1.0, f"× the {LOADS}"),
    "apply one-row events": Bar("the same, 1000 events of one row in a body", 1.0, f"× the {LOADS}"),
    "apply one-row bodies": Bar("the same, one event of one row in a body", 1.0, f"× the {LOADS}"),
    "upsert": Bar("columnar upsert, S", 1.0, "× the time of a dict of the paths"),
    "contains": Bar("path in index, random order", 0.8, "× the time of a dict"),
    "get": Bar("get, random order", 1.2, "× the time of a dict"),
    "tree, ready": Bar("tree_chunks of S, all fields", 6, f"× as fast as {READY}", at_least=True),
    "tree, built": Bar("tree_chunks of S, all fields", 20, f"× as fast as {BUILT}", at_least=True),
    "memory S1": Bar("resident memory of S, 1 M", 105, "bytes a node"),
    "memory S10": Bar("resident memory of S, 10 M", 90, "bytes a node"),
    "memory S50": Bar("resident memory of S, 50 M", 86, "bytes a node"),
    "memory R": Bar("resident memory of R", 125, "bytes a node"),
    "batch": Bar("longest batch of 1000 rows, 0 to 10 M", 20, "ms"),
    "batch, own": Bar("of it the index's own doing: processor time, no page fault", 1, "ms"),
    "delete": Bar("delete of a subtree of 100 k nodes", 5, "M nodes/s", at_least=True),
    "churn": Bar("resident memory after 20 rounds of C", 1.1, "× that after the first"),
    "search 1": Bar("rare substring, 1 M names", 1.5, "ms"),
    "search 10": Bar("rare substring, 10 M names", 15, "ms"),
    "search, first": Bar("common pattern, limit 100", 0.2, "ms"),
    "stats": Bar("stats of a directory with 10 M nodes below", 2, "× the time with 1 k below"),
    "save": Bar("save, 10 M, warm page cache", 0.8, "GB/s", at_least=True),
    "load": Bar("load, 10 M, warm page cache", 2, "GB/s", at_least=True),
    "fits": Bar("peak memory with S, 50 M", 5, "GB"),
    "writer": Bar("rows applied beside a tree reader", 99, "k rows/s of 100 asked for", at_least=True),
    "writer, p99": Bar("99th percentile of its batches", 10, "ms"),
    "reader": Bar("tree beside a writer of 100 k rows/s", 2, "× its time alone"),
    "instants": Bar("trees that were read beside it and are one instant", 100, "%", at_least=True),
}

SERVICE = {
    "ready, 4": Bar("session to first tree over 4 connections, every push synced", 3, f"× the {LOADS}"),
    "ready, 1": Bar("the same over 1 connection", 5, f"× the {LOADS}"),
    "ready, peer": Bar("the same over 4", 10, "× as fast as fustor-fusion 0.2.16", at_least=True),
    "ready, memory": Bar("the same: peak memory beyond that at the end", 64, "MB"),
    "refused": Bar("trees and heartbeats beside pushes at full speed: not answered 200", 0, ""),
    "tree, p99": Bar("99th percentile of these trees, 5 nodes each", 20, "ms"),
    "heartbeat, p99": Bar("99th percentile of these heartbeats", 50, "ms"),
    "one row": Bar(
        "one-row pushes, 1 connection, each synced",
        1,
        "× 1,000/s or × the disk's syncs/s, if less",
        at_least=True,
    ),
    "stream": Bar("the whole tree of S, 1 M, over HTTP", 1.5, "× the time of bare Sanic for as many bytes"),
    "stream, memory": Bar("the same: the server's memory beyond what it held", 32, "MB"),
    "stream, small": Bar("99th percentile of trees of 5 nodes beside it", 20, "ms"),
    "readers, memory": Bar("24 readers of the whole tree at once, one at 10 kB/s: memory", 64, "MB"),
    "readers, small": Bar("99th percentile of trees of 5 nodes beside them", 20, "ms"),
    "readers, heartbeat": Bar("99th percentile of heartbeats beside them", 50, "ms"),
    "small": Bar("trees of 5 nodes", 0.8, "× the requests/s of bare Sanic", at_least=True),
    "stats": Bar("/views/fs/stats", 0.8, "× the requests/s of bare Sanic", at_least=True),
    "large": Bar("trees of 1005 nodes", 0.75, "× the requests/s of bare Sanic", at_least=True),
    "large, peer": Bar("the same", 8, "× the requests/s of fustor-fusion 0.2.16", at_least=True),
    "search": Bar("search for a rare name among 1 M over HTTP", 5, "ms"),
    "live": Bar("restart with S, 1 M, and 1000 batches to replay: /health/live", 1, "s"),
    "recovered": Bar("the same: /health/ready", 1.5, "s"),
    "recovered 10": Bar("the same with S, 10 M", 6, "s"),
    "recovered 10, memory": Bar("the same: peak memory", 4.29, "GB"),
    "damage": Bar("damaged journals that were not reported, or ended the process", 0, ""),
    "pause": Bar("longest push beside a checkpoint of S, 1 M", 50, "ms"),
    "pause 10": Bar("the same of S, 10 M", 50, "ms"),
}
