"""Set-up of the benchmarks: their size, the corpus in all its forms, the report.

FUSION_BENCH_NODES sets the size of corpus S (default 1,000,000 nodes).
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
from measure import Ledger, warm_host
from report import markdown

REPORT = Path(__file__).parent.parent / "docs" / "benchmarks" / "first-figures.md"
NODES = int(os.environ.get("FUSION_BENCH_NODES", "1_000_000"))
# Bodies, columns, the tree as dicts, two renderings of it, and the index.
WARM_BYTES_PER_NODE = 3_000
LEDGER = pytest.StashKey[Ledger]()


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
    parser.addoption("--write-report", action="store_true", help=f"write the figures to {REPORT.name}, too")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEDGER] = Ledger(load_before=os.getloadavg())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    ledger = config.stash[LEDGER]
    if not ledger.contests and not ledger.facts:
        return
    report = markdown(ledger)
    terminalreporter.section("figures")
    terminalreporter.write(report)
    if config.getoption("--write-report"):
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        REPORT.write_text(report)


@pytest.fixture(scope="session")
def ledger(request: pytest.FixtureRequest) -> Ledger:
    return request.config.stash[LEDGER]


@pytest.fixture(scope="session", autouse=True)
def quiet(ledger: Ledger) -> Iterator[None]:
    """No garbage collection while anything is measured, on memory that the host has backed."""
    ledger.warmed_bytes = warm_host(NODES * WARM_BYTES_PER_NODE)
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    rows = list(corpora.submissions(NODES))
    return Corpus(
        rows=rows,
        bodies=list(corpora.bodies(rows)),
        paths=[row.path for row in rows],
        sizes=np.array([row.size for row in rows], dtype=np.int64),
        modified_times=np.array([row.modified_time for row in rows]),
        created_times=np.array([row.created_time for row in rows]),
        is_dir=np.array([row.is_dir for row in rows]),
    )


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    """What one benchmark leaves behind does not grow into the next one."""
    yield
    gc.collect()
