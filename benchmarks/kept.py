"""A datastore as a killed server leaves it: `kept.py DIRECTORY NODES` prints a JSON object.

Corpus S of so many nodes is in a checkpoint, BATCHES batches of 1000 rows all over it are in the journal
alone. Tells how long each batch took, beside the writing of the checkpoint and without.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import corpora
import submissions

from fusion import Batch
from fusion.clock import ServingClock
from fusion.datastore import Datastore
from fusion.journal import Journal
from fusion.settings import DatastoreSettings

BATCHES = 1000
AT_ONCE = 32
NEVER = 1 << 50


@contextmanager
def datastore(directory: Path, checkpoint_bytes: int) -> Iterator[Datastore]:
    journal = Journal(directory, checkpoint_bytes=checkpoint_bytes, min_free_bytes=0)
    store = Datastore("bench", DatastoreSettings(), clock=ServingClock(), journal=journal)
    store.start()
    while store.recovering:
        time.sleep(0.001)
    yield store
    store.close()


def main(directory: Path, nodes: int) -> None:
    gc.disable()
    names = submissions.names(nodes)
    with datastore(directory, NEVER) as store:
        session = store.open_session("benchmark", None, "127.0.0.1").result().session_id
        for number, body in enumerate(submissions.bodies(nodes, source_type="snapshot")):
            done = store.push(_batch(body, session))
            if number % AT_ONCE == 0:
                done.result()
        end = {"session_id": session, "source_type": "snapshot", "is_snapshot_end": True, "events": []}
        store.push(Batch.decode(json.dumps(end).encode())).result()
    batches = [_batch(body, session) for body in _changes(names)]
    with datastore(directory, 0) as store:  # writes a checkpoint at once
        while not _checkpoint_begun(store):
            time.sleep(0.0001)
        beside = [_push(store, batch) for batch in _while_running(store, batches)]
    with datastore(directory, NEVER) as store:
        alone = [_push(store, batch) for batch in batches]
        nodes = len(store.index)
        print(json.dumps({"nodes": nodes, "beside": beside, "alone": alone}), flush=True)
        os._exit(0)


def _batch(body: bytes, session: str) -> Batch:
    return Batch.decode(body.replace(corpora.NO_SESSION.encode(), session.encode()))


def _changes(names: list[str]) -> Iterator[bytes]:
    rng = random.Random(7)
    per_name = submissions.SUBS * submissions.FILES_PER_SUB
    for _ in range(BATCHES):
        paths = (
            submissions.file_path(rng.choice(names), rng.randrange(per_name))
            for _ in range(corpora.ROWS_PER_BODY)
        )
        rows = [
            corpora.Row(path, rng.randrange(1_000_000), 1805832400.25, 1705832400.5, False) for path in paths
        ]
        yield from corpora.bodies(rows)


def _while_running(store: Datastore, batches: list[Batch]) -> Iterator[Batch]:
    for batch in batches:
        if not _checkpoint_running(store):
            return
        yield batch


def _checkpoint_begun(store: Datastore) -> bool:
    journal = store.health()["journal"]
    return bool(journal["checkpoint_running"] or journal["last_checkpoint"])


def _checkpoint_running(store: Datastore) -> bool:
    running: bool = store.health()["journal"]["checkpoint_running"]
    return running


def _push(store: Datastore, batch: Batch) -> float:
    started = time.perf_counter()
    store.push(batch).result()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
