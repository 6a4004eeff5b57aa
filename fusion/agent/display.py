"""What `fusion watch` shows while it works: a progress bar on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

PLAIN_INTERVAL_SECONDS = 5.0


class Display(Protocol):
    """Lines, and the progress of one scan at a time."""

    def line(self, text: str) -> None:
        """Prints a line."""

    def warn(self, text: str) -> None:
        """Prints a line about trouble."""

    def progress(self, nodes: int, fraction: float, seconds: float) -> None:
        """Shows how far the scan is: nodes delivered, part of the tree read, seconds since it began."""

    def finish(self) -> None:
        """Takes the progress away."""


def rate(nodes: int, seconds: float) -> str:
    """Nodes a second."""
    return f"{nodes / seconds:,.0f} nodes/s" if seconds > 0 else ""


class PlainDisplay:
    """Lines on standard output, now and then one about the progress; trouble goes to standard error."""

    def __init__(self) -> None:
        self._shown = time.monotonic()

    def line(self, text: str) -> None:
        print(text, flush=True)

    def warn(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def progress(self, nodes: int, fraction: float, seconds: float) -> None:
        now = time.monotonic()
        if now - self._shown >= PLAIN_INTERVAL_SECONDS:
            self._shown = now
            self.line(f"scanning: {nodes:,} nodes, about {fraction:.0%} of the tree, {rate(nodes, seconds)}")

    def finish(self) -> None:
        pass


class TerminalDisplay:
    """A bar that goes away when the scan is done, lines above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None

    def line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True, style="yellow")

    def progress(self, nodes: int, fraction: float, seconds: float) -> None:
        if self._progress is None:
            self._progress = Progress(
                SpinnerColumn(),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %  {task.description}"),
                TimeElapsedColumn(),
                console=self._console,
                auto_refresh=False,
                transient=True,
            )
            self._progress.add_task("", total=1.0)
            self._progress.start()
        task = self._progress.task_ids[0]
        text = f"{nodes:,} nodes  {rate(nodes, seconds)}"
        self._progress.update(task, completed=fraction, description=text, refresh=True)

    def finish(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def open_display() -> Display:
    """The display that suits standard output."""
    console = Console()
    return TerminalDisplay(console) if console.is_terminal else PlainDisplay()
