"""Memory stays flat: each script runs in its own process and watches its resident and its address space."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BUILD

pytestmark = pytest.mark.no_sanitizer

PROLOGUE = """
import gc, json, sys
from fusion import PathIndex

def body(source, events, end=False):
    document = {"session_id": "s", "source_type": source, "is_snapshot_end": end, "events": events}
    return json.dumps(document).encode()

def rows(prefix, count, **more):
    row = {"modified_time": 1.5, "is_dir": False}
    return [row | {"path": f"{prefix}/d{n % 17}/file-{n}", "size": n} | more for n in range(count)]

def memory():
    gc.collect()
    with open("/proc/self/statm") as statm:
        size, resident = statm.read().split()[:2]
    return int(size) * 4096, int(resident) * 4096

def flat(step, rounds, slack):
    for number in range(rounds // 3):
        step(number)
    size, resident = memory()
    for number in range(rounds // 3, rounds):
        step(number)
    later_size, later_resident = memory()
    grown = later_resident - resident, later_size - size
    assert max(grown) < slack, f"grew by {grown[0]} resident bytes and {grown[1]} bytes of address space"
"""

SCRIPTS = {
    "an index, from birth to death": """
documents = [body("message", [{"rows": rows("/top", 2000)}]),
             body("snapshot", [{"rows": rows("/top", 500)}], True)]
def step(number):
    index = PathIndex()
    for document in documents:
        index.apply(document)
    index.tree_json(); index.search("file-1"); index.search_json("*7"); index.stats("/top"); index.columns()
    index.delete("/top/d3")
    index.get("/top/d4/file-4"); "/top" in index; index.memory(); index.oldest_directory()
    for chunk in index.tree_chunks():
        pass
    chunks = index.tree_chunks(); next(chunks)
    index.clear()
flat(step, 360, 3 << 20)
""",
    "questions": """
index = PathIndex()
index.apply(body("message", [{"rows": rows("/top", 2000) + [{"path": "/raw\\udcff/\\udcfe\\udcfd"}]}]))
def step(number):
    for _ in range(3):
        index.tree_json(); index.tree_json("/top", max_depth=1); index.tree_json("/", recursive=False)
        index.search("file-1"); index.search_json("*7"); index.search("\\u00e4"); index.search("\\udcfe")
        for chunk in index.tree_chunks("/top"):
            pass
        chunks = index.tree_chunks(); next(chunks); del chunks
        [index.get(f"/top/d{n}/file-{n}") for n in range(17)]
        index.columns(); index.memory(); index.stats(); index.oldest_directory(); index._check()
flat(step, 360, 3 << 20)
""",
    "searches and sums": """
from fusion.histogram import histogram
index = PathIndex()
index.apply(body("message", [{"rows": rows("/top", 3000) + [{"path": "/raw\\udcff/\\udcfe\\udcfd"}]}]))
def pages(*args, **options):
    cursor = None
    while True:
        answer = index.find_chunks(*args, cursor=cursor, **options)
        cursor = answer.cursor
        if cursor is None:
            return
def step(number):
    pages("file-1", limit=400); pages("*", limit=700, sort="size", order="desc", type="any")
    pages("/top/d3", match="path", limit=90, sort="name")
    pages("*/d?/*7", match="path", sort="modified_time", limit=50)
    for pattern, path in (("e", "/"), ("*[0-4]", "/top/d5"), ("\\udcfe", "/")):
        answer = index.find_chunks(pattern, path=path)
        next(answer)
        index.apply(body("message", [{"rows": rows("/top", 40, size=number)}]))
        list(answer)
    unread = index.find_chunks("*", sort="path", type="any")
    index.largest("/", 9); index.largest("/top/d3"); histogram(index, "/", "age", 1.0)
    next(index.file_columns("/top"))
    wrongs = {"path": "/nothing"}, {"limit": 0}, {"cursor": "x"}, {"max_seconds": -1.0}, {"sort": "up"}
    for wrong in wrongs:
        try:
            index.find_chunks("*", **wrong)
        except (KeyError, ValueError, TimeoutError):
            pass
    for question in (index.largest, index.file_columns):
        try:
            question("/nothing")
        except KeyError:
            pass
flat(step, 90, 3 << 20)
""",
    "updates": """
index = PathIndex()
documents = [body(source, [{"rows": rows("/top", 3000, size=n)}], source == "snapshot")
             for n in range(4) for source in ("message", "snapshot")]
def step(number):
    for document in documents:
        index.apply(document)
flat(step, 240, 3 << 20)
""",
    "churn of new names": """
index = PathIndex()
def step(number):
    paths = [f"/churn/{number}/{'n' * (number % 90)}{n:06}" for n in range(3000)]
    n = len(paths)
    index.upsert(paths, [1] * n, [1.0] * n, [1.0] * n, [False] * n)
    index.delete("/churn")
    index.apply(body("snapshot", [{"rows": []}]))
    index.begin_snapshot()
    index.apply(body("snapshot", [], True))
flat(step, 960, 6 << 20)
index._check()
""",
    "tombstones and overridden messages": """
index = PathIndex()
def step(number):
    index.begin_snapshot()
    index.apply(body("message", [{"rows": rows(f"/m{number % 5}", 500, modified_time=100.0)},
                                 {"event_type": "delete", "rows": rows(f"/gone{number}", 500)}]))
    index.apply(body("snapshot", [{"rows": rows(f"/m{number % 5}", 500, modified_time=200.0)}], True))
flat(step, 360, 3 << 20)
""",
    "clear": """
index = PathIndex()
document = body("message", [{"rows": rows("/top", 5000)}])
def step(number):
    index.apply(document)
    index.clear()
flat(step, 240, 3 << 20)
""",
    "deep paths": """
index = PathIndex()
def step(number):
    paths = ["/" + "/".join(f"n{(number + n) % 50}" for n in range(depth)) for depth in range(1, 800, 7)]
    n = len(paths)
    index.upsert(paths, [1] * n, [1.0] * n, [1.0] * n, [False] * n)
    index.tree_json()
    for path in paths[:3]:
        index.delete(path)
flat(step, 480, 6 << 20)  # the allocator keeps 3 MiB of its own now and then
""",
    "errors": """
good = body("message", [{"rows": rows("/top", 300)}])
bad = [b"", b"{", b"[]", b"\\xff", b"null", good[:-1], good.replace(b'"size": 299', b'"size": -1'),
       good.replace(b'"size": 299', b'"size": 1.5'), good.replace(b'"is_dir": false', b'"is_dir": 0'),
       good.replace(b"/top/d10/file-299", b"/top/\\\\u0000"), good.replace(b"message", b"massage"),
       good.replace(b": 1.5", b": 1e999", 1), good.replace(b": 1.5", b": NaN", 1),
       good.replace(b"/top/d10/file-299", b"/" + b"x" * 70000)]
index = PathIndex()
index.apply(good)
nan = float("nan")
calls = [
    lambda: index.upsert(["/a"], [1, 2], [1.0], [1.0], [False]),
    lambda: index.upsert(["/a", "/b"], [1, -2], [1.0, 1.0], [1.0, 1.0], [False, False]),
    lambda: index.upsert(["/a", "/b"], [1, 2], [1.0, nan], [1.0, 1.0], [False, False]),
    lambda: index.upsert(["/a", "/b\\0"], [1, 2], [1.0, 1.0], [1.0, 1.0], [False, False]),
    lambda: index.upsert(["/a", 7], [1, 2], [1.0, 1.0], [1.0, 1.0], [False, False]),
    lambda: index.upsert(["/a", "/b"], [1, 1.5], [1.0, 1.0], [1.0, 1.0], [False, False]),
    lambda: index.tree_json("/nothing"), lambda: index.stats("/nothing"), lambda: index.search(""),
    lambda: list(index.tree_chunks("/nothing")), lambda: index.tree_json("/", max_depth=-1),
    lambda: index.tree_json(7), lambda: index.get(None), lambda: index.search("a", limit=-1),
    lambda: index.apply("text"), lambda: index.apply(None),
]
def step(number):
    for document in bad:
        try:
            index.apply(document)
        except ValueError:
            pass
        else:
            raise AssertionError(document[:80])
    for call in calls:
        try:
            call()
        except (ValueError, KeyError, TypeError):
            pass
        else:
            raise AssertionError("nothing raised")
flat(step, 600, 3 << 20)
""",
    "readings": """
index = PathIndex()
index.apply(body("message", [{"rows": rows("/top", 5000)}]))
def step(number):
    readings = [index.tree_chunks() for _ in range(3)]
    for reading in readings:
        next(reading)
        index.apply(body("message", [{"rows": rows("/top", 3000, modified_time=float(number))}]))
    index.delete(f"/top/d{number % 7}")
    assert sum(map(len, readings[0])) > 100_000
    next(readings[1])
flat(step, 300, 3 << 20)
""",
    "pages": """
from fusion.errors import CursorExpired, InvalidField
index = PathIndex()
index.apply(body("message", [{"rows": rows("/top", 3000) + [{"path": "/raw\\udcff/\\udcfe\\udcfd"}]}]))
def step(number):
    for options in ({"format": "ndjson"}, {"path": "/top/d1"}, {"recursive": False, "fields": ["name"]}):
        cursor = None
        while True:
            page = index.tree_chunks(limit=50, cursor=cursor, **options)
            page.read()
            if page.cursor is None:
                break
            cursor = page.cursor
            index.apply(body("message", [{"event_type": "delete", "rows": rows("/top", 20 + number % 3)}]))
            index.apply(body("message", [{"rows": rows("/top", 20 + number % 7)}]))
            for wrong in (cursor[:-1], "A" * 64):
                try:
                    index.tree_chunks(cursor=wrong, **options)
                except InvalidField:
                    pass
    index.tree_chunks(format="ndjson", limit=3000, _piece_bytes=1)
    lost = index.tree_chunks(limit=1).cursor
    if number % 50 == 0:
        index.clear()
        again = [*rows("/top", 3000), {"path": "/raw\\udcff/\\udcfe\\udcfd"}]
        index.apply(body("message", [{"rows": again}]))
        try:
            index.tree_chunks(cursor=lost)
        except CursorExpired:
            pass
for number in range(600):  # all of the ring is used once
    for _ in range(200):
        index.tree_chunks(limit=1, recursive=False)
flat(step, 120, 3 << 20)
index._check()
""",
    "saves": """
index = PathIndex()
index.apply(body("message", [{"rows": rows("/top", 5000)}]))
def step(number):
    index.save("saved")
    PathIndex.load("saved")
    with open("saved", "r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    try:
        PathIndex.load("saved")
    except ValueError:
        pass
    else:
        raise AssertionError("a damaged file was loaded")
flat(step, 60, 3 << 20)
""",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_memory_stays_flat(script: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(BUILD.parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
