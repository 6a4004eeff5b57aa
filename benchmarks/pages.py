"""The pages under docs/benchmarks, made of what the ledgers hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import plots
import tables
from bars import ENGINE, SERVICE, Bar
from measure import Contest, Ledger, Reached

_HOW = """\
Contenders took turns, the garbage collector was off, every result was checked before its time
counts. “Fusion is” compares the times of each round: the median of these ratios, and the least and
greatest one. Peak memory is what a round held at most beyond its start (over HTTP: in the server);
what was kept from earlier rounds does not show.
"""
_SERVICE = """\
Servers are processes of their own, Fusion's with `durability = "fsync"`; their clients run on the same
processors, and requests are prepared before the clock starts. fustor-fusion gets the same requests: its
app runs in uvicorn and logs next to nothing, its registry beside it. It keeps nothing on the disk and
applies after it has answered, so its tree is asked for every 2 ms until it is no longer refused. A
restart begins with the start of the process, on a copy of files that a killed server left, its page
cache warm.
"""
_VIEWS = """\
One question at a time, the median of the rounds, from the request to the last byte of the answer. “SQLite
and Sanic” is a table found by path and by parent, with a page cache for all of it; `find` walks real files
whose directories are in the system's cache, and what it prints is parsed and printed as the same JSON.
Answers are compared. Requests per second are those of 8 connections; a bare Sanic answers the same bytes
from memory. Of trees asked for again the service keeps some as long as their subtree does not change; with
directories in turn there are more of them than it keeps.
"""
_REACHED = """\
“Reached” compares best rounds, or is the best one; “median round” says what the one in the middle
did.
"""
_CONTENDERS = """\
Each in a fresh process, the rounds of all in turn. Bodies are decoded by orjson, but for Fusion.
“dict + orjson” is a dict of paths whose values are nested dicts that orjson prints as they are;
sqlite3 is a table in memory with the path as primary key; pygtrie is the usual trie that knows path
components (marisa-trie cannot be changed once built, datrie takes ever longer the more it holds and
cannot remove a subtree); fustor_fusion is that package's `DirectoryStructureParser`, without its
HTTP front. All print the same tree; pygtrie, sqlite3 and fustor_fusion build dicts for it first.
"""
_GROWTH = """\
The longest batch is that of the quietest round; its own doing is the thread's processor time in
batches without a page fault, for each batch the least of all rounds.
"""
_BESIDE = """\
One thread prints all nodes again and again, another applies 100 bodies of 1000 rows a second: 900
rows of each update files all over the tree, 100 are new. Each body moves a counter in files far
apart; a tree is one instant when all of them tell the same count and its length is that of so many
bodies.
"""
_LOGS = """\
What keeps a datastore's records, without the service: one thread appends, and waits for the disk each
time. Records are packed batches of S. Every log checks each record's CRC32C; those in LMDB and in
plain files are the benchmark's own, and minimal. In every round as many records are trimmed as come,
and write-ahead logs are brought into their databases as in service; 1024 pages are the longest, so
with page_size 16384 it is four times as long. Bytes written are the pages given to the system, without
what the file system writes for itself.
"""
_DAMAGE = """\
Each time a process met what a killed one had left of a log of 400 records, with one file of it damaged
somewhere: it read all, appended and trimmed. An end before the last acknowledged record counts as
reported, as Fusion's mark would tell it of any log. What is sound was hit where no record is. A file
that is cut short while it is open stands for every page that the disk cannot give any more.
"""


def write_page(page: str, ledger: Ledger, directory: Path | None) -> str:
    """The page's text; written to the directory with its plots if there is one."""
    lines = PAGES[page](ledger)
    text = "\n".join(lines).rstrip() + "\n"
    if directory:
        directory.mkdir(parents=True, exist_ok=True)
        for name in plots.PLOTS:
            if f"({name}.svg)" in text:
                plots.draw(name, ledger.data, directory / f"{name}.svg")
        (directory / f"{page}.md").write_text(text)
    return text


def service(ledger: Ledger) -> list[str]:
    return [
        "# The service, measured",
        "",
        *tables.machine(ledger, ["fusion-index", "orjson", "sanic", "uvloop", "httptools", "lmdb"]),
        f"- SQLite {sqlite3.sqlite_version}",
        "",
        "## What it has to reach",
        "",
        *_bars(ledger, SERVICE),
        *_views(ledger),
        *tables.contests(ledger.contests),
        *tables.facts(ledger),
        *_ahead_or_not(ledger.contests),
        *_logs(ledger),
        "## How",
        "",
        _HOW,
        _SERVICE,
    ]


def _views(ledger: Ledger) -> list[str]:
    lines = []
    if "streams" in ledger.data:
        lines += ["![the whole tree](streams.svg)", ""]
    if "latencies" in ledger.data:
        lines += ["![one question at a time](questions.svg)", ""]
    return lines and ["## Views", "", *lines, _VIEWS]


def engine(ledger: Ledger) -> list[str]:
    contenders = list(ledger.data.get("contenders", {}).values())
    return [
        "# The engine, measured",
        "",
        *tables.machine(ledger, ["fusion-index", "orjson", "numpy", "pygtrie"]),
        "",
        *_corpora(),
        "## What it has to reach",
        "",
        *_bars(ledger, ENGINE),
        *_ahead_or_not([*ledger.contests, *contenders]),
        *_contenders(ledger, contenders),
        *_growth(ledger),
        *_beside(ledger),
        "## Everything else",
        "",
        *tables.contests(ledger.contests),
        *tables.facts(ledger),
        "## How",
        "",
        _HOW,
    ]


PAGES: dict[str, Callable[[Ledger], list[str]]] = {"engine": engine, "service": service}


def _corpora() -> list[str]:
    return [
        "- S: a store of submissions, `/data/upload/submit/{c}/{c}/{uuid}/sub_{0..3}/data_{0000..0249}.dat`",
        "- R: the paths of `/usr` under several prefixes",
        "- W: one directory with all files; D: directories 1000 levels deep",
        "- C: S, of which half is deleted and inserted again in every round",
        "- rows come children before parents, 1000 in a body",
        "",
    ]


def _bars(ledger: Ledger, bars: dict[str, Bar]) -> list[str]:
    rows = [["what", "must reach", "reached", "median round", "met"]]
    for name, bar in bars.items():
        found = ledger.reached.get(name)
        limit = f"{'≥' if bar.at_least else '≤'} {bar.limit:g} {bar.unit}"
        if found is None:
            rows.append([bar.what, limit, "not measured", "", ""])
            continue
        middle = "" if found.median is None else f"{found.median:.3g}"
        rows.append([bar.what, limit, f"{found.best:.3g}", middle, _verdict(bar, found)])
    return [
        *tables.table(rows),
        _REACHED,
    ]


def _verdict(bar: Bar, found: Reached) -> str:
    if not bar.met(found.best):
        return "**no**"
    return "yes" if found.median is None or bar.met(found.median) else "yes, but not in the median round"


def _ahead_or_not(contests: list[Contest]) -> list[str]:
    lines = tables.not_ahead(contests)
    return ["## Where Fusion ties or loses", "", *(lines or ["- nowhere in this run"]), ""]


def _contenders(ledger: Ledger, contests: list[Contest]) -> list[str]:
    if not contests:
        return []
    held = ledger.data["contenders' memory"]
    fusion, *_ = held.values()
    memory = [["resident memory", "bytes a node", "of Fusion's"]]
    memory += [[name, f"{each:,.0f}", f"{each / fusion:.1f} ×"] for name, each in held.items()]
    return [
        "## Side by side",
        "",
        _CONTENDERS,
        "![by contender](contenders.svg)",
        "",
        *tables.table(memory),
        *tables.contests(contests),
    ]


def _logs(ledger: Ledger) -> list[str]:
    cases, damaged = (ledger.data.get(name) for name in ("logs", "damaged logs"))
    return [
        *(["## Logs", "", _LOGS, *tables.appends(cases)] if cases else []),
        *(["## Damaged logs", "", _DAMAGE, *tables.damage(damaged)] if damaged else []),
    ]


def _growth(ledger: Ledger) -> list[str]:
    sizes = ledger.data.get("growth")
    if not sizes:
        return []
    return [
        "## Growth",
        "",
        *tables.growth(list(sizes.values())),
        _GROWTH,
        "![memory per node](memory.svg)",
        "",
        "![how long batches take](batches.svg)",
        "",
    ]


def _beside(ledger: Ledger) -> list[str]:
    if "beside" not in ledger.data:
        return []
    return [
        "## Beside a reader of trees",
        "",
        _BESIDE,
        "![how long batches take beside a reader](beside.svg)",
        "",
    ]
