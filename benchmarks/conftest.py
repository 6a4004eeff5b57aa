"""Set-up of the benchmarks: their size, the corpus in all its forms, the pages.

FUSION_BENCH_NODES sets the size of corpus S (default 1,000,000 nodes; ten times as many in the large runs),
FUSION_BENCH_LARGE=1 adds the run with fifty times as many.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import corpora
import numpy as np
import numpy.typing as npt
import pytest
import submissions
from filling import Filled, filled_with
from load import Pushes
from measure import Ledger
from memory import warm_host
from pages import PAGES, write_page
from peers.service import fustor_server
from processes import fusion_server

from fusion import PathIndex

PAGES_DIRECTORY = Path(__file__).parent.parent / "docs" / "benchmarks"
NODES = int(os.environ.get("FUSION_BENCH_NODES", "1_000_000"))
LARGE = os.environ.get("FUSION_BENCH_LARGE") == "1"
# Bodies, columns, the tree as dicts, two renderings of it, and the index.
WARM_BYTES_PER_NODE = 3_000
SERVICE_MODULES = {
    "test_busy",
    "test_contenders_views",
    "test_log",
    "test_restart",
    "test_service",
    "test_stream",
    "test_views",
}
LEDGERS = pytest.StashKey[dict[str, Ledger]]()


@dataclass(frozen=True)
class Corpus:
    """Corpus S in every form that a contender wants it in; `nodes` counts the root."""

    rows: list[corpora.Row]
    bodies: list[bytes]
    paths: list[str]
    sizes: npt.NDArray[np.int64]
    modified_times: npt.NDArray[np.float64]
    created_times: npt.NDArray[np.float64]
    is_dir: npt.NDArray[np.bool_]

    @property
    def nodes(self) -> int:
        return len(self.rows) + 1

    @property
    def directories(self) -> int:
        return int(self.is_dir.sum()) + 1

    @property
    def bytes(self) -> int:
        return int(self.sizes[~self.is_dir].sum())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-pages", action="store_true", help="write docs/benchmarks, too")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEDGERS] = {page: Ledger(load_before=os.getloadavg()) for page in PAGES}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for page, ledger in config.stash[LEDGERS].items():
        if ledger.contests or ledger.facts:
            directory = PAGES_DIRECTORY if config.getoption("--write-pages") else None
            terminalreporter.section(page)
            terminalreporter.write(write_page(page, ledger, directory))


@pytest.fixture(scope="module")
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """The ledger of the page that the module's figures go to."""
    page = "service" if request.module.__name__ in SERVICE_MODULES else "engine"
    return request.config.stash[LEDGERS][page]


@pytest.fixture(scope="session", autouse=True)
def quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """No garbage collection while anything is measured, on memory that the host has backed."""
    warmed_bytes = warm_host(NODES * WARM_BYTES_PER_NODE)
    for ledger in request.config.stash[LEDGERS].values():
        ledger.warmed_bytes = warmed_bytes
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    rows = list(submissions.rows(NODES))
    return Corpus(
        rows=rows,
        bodies=list(submissions.bodies(NODES)),
        paths=[row.path for row in rows],
        sizes=np.array([row.size for row in rows], dtype=np.int64),
        modified_times=np.array([row.modified_time for row in rows]),
        created_times=np.array([row.created_time for row in rows]),
        is_dir=np.array([row.is_dir for row in rows]),
    )


@pytest.fixture(scope="module")
def fusion(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """A server that holds corpus S."""
    with fusion_server(tmp_path_factory.mktemp("server")) as server:
        yield filled_with(corpus, Pushes(list(corpora.bodies(corpus.rows, "snapshot"))), server)


@pytest.fixture(scope="module")
def fustor(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """The peer, with the same."""
    with fustor_server(tmp_path_factory.mktemp("peer")) as server:
        yield filled_with(corpus, Pushes(list(corpora.bodies(corpus.rows, "snapshot"))), server)


@pytest.fixture(scope="session")
def index(corpus: Corpus) -> PathIndex:
    """Corpus S, applied; benchmarks that share it only read or repeat its rows."""
    index = PathIndex()
    for body in corpus.bodies:
        index.apply(body)
    return index


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    """What one benchmark leaves behind does not grow into the next one."""
    yield
    gc.collect()
