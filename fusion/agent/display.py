"""What an agent shows while it works: a progress bar on a terminal, plain lines elsewhere."""

import sys
import time
from typing import NamedTuple, Protocol

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

PLAIN_INTERVAL_SECONDS = 5.0


class Progress(NamedTuple):
    """How far a scan is."""

    nodes: int  # delivered
    fraction: float  # of the tree that is read
    seconds: float  # since it began
    errors: int  # directories and entries that could not be read

    def text(self) -> str:
        """Nodes, rate, and errors if there are any."""
        parts = [f"{self.nodes:,} nodes"]
        if self.seconds > 0:
            parts.append(f"{self.nodes / self.seconds:,.0f} nodes/s")
        if self.errors:
            parts.append(f"{self.errors:,} not readable")
        return ", ".join(parts)


class Display(Protocol):
    """Lines, and the progress of one scan at a time."""

    def line(self, text: str) -> None:
        """Prints a line."""

    def warn(self, text: str) -> None:
        """Prints a line about trouble."""

    def progress(self, progress: Progress) -> None:
        """Shows how far the scan is."""

    def finish(self) -> None:
        """Takes the progress away."""


class PlainDisplay:
    """Lines on standard output, now and then one about the progress; trouble goes to standard error."""

    def __init__(self) -> None:
        self._shown = time.monotonic()

    def line(self, text: str) -> None:
        print(text, flush=True)

    def warn(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._shown >= PLAIN_INTERVAL_SECONDS:
            self._shown = now
            self.line(f"scanning: about {progress.fraction:.0%} of the tree, {progress.text()}")

    def finish(self) -> None:
        pass


class TerminalDisplay:
    """A bar that goes away when the scan is done, lines above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Bar | None = None

    def line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True, style="yellow")

    def progress(self, progress: Progress) -> None:
        if self._bar is None:
            self._bar = Bar(
                SpinnerColumn(),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %  {task.description}"),
                TimeElapsedColumn(),
                console=self._console,
                auto_refresh=False,
                transient=True,
            )
            self._bar.add_task("", total=1.0)
            self._bar.start()
        task = self._bar.task_ids[0]
        self._bar.update(task, completed=progress.fraction, description=progress.text(), refresh=True)

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def open_display() -> Display:
    """The display that suits standard output."""
    console = Console()
    return TerminalDisplay(console) if console.is_terminal else PlainDisplay()
