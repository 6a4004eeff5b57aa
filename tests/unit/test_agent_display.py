"""What an agent shows, and the small things it is made of."""

import io
import re

import pytest
from rich.console import Console

from fusion.agent import display as display_module
from fusion.agent.display import PlainDisplay, Progress, TerminalDisplay, open_display
from fusion.agent.own_server import reachable


def test_plain_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    display = PlainDisplay()
    display.progress(Progress(1000, 0.5, 1.0, 0))
    display.line("a line")
    display.warn("trouble")
    monkeypatch.setattr(display_module, "PLAIN_INTERVAL_SECONDS", 0.0)
    display.progress(Progress(3000, 0.5, 2.0, 7))
    display.finish()
    out, err = capsys.readouterr()
    assert out == "a line\nscanning: about 50% of the tree, 3,000 nodes, 1,500 nodes/s, 7 not readable\n"
    assert err == "trouble\n"


def test_a_bar_on_a_terminal() -> None:
    screen = io.StringIO()
    display = TerminalDisplay(Console(file=screen, force_terminal=True, width=100))
    display.line("[bold]a line[/bold] " + "x" * 200)
    display.progress(Progress(2000, 0.25, 1.0, 0))
    display.warn("trouble")
    display.progress(Progress(4000, 0.5, 2.0, 3))
    display.finish()
    display.finish()
    display.line("the end")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "[bold]a line[/bold] " + "x" * 200 + "\n" in shown
    assert "25 %  2,000 nodes, 2,000 nodes/s" in shown
    assert "50 %  4,000 nodes, 2,000 nodes/s, 3 not readable" in shown
    assert "trouble" in shown
    assert shown.endswith("the end\n")


def test_no_bar_where_there_is_no_terminal() -> None:
    assert isinstance(open_display(), PlainDisplay)


@pytest.mark.parametrize(
    ("listening", "used"),
    [
        ("http://0.0.0.0:8102", "http://127.0.0.1:8102"),
        ("http://[::]:8102", "http://[::1]:8102"),
        ("http://10.0.0.7:8102", "http://10.0.0.7:8102"),
    ],
)
def test_an_address_that_means_all_is_asked_at_home(listening: str, used: str) -> None:
    assert reachable(listening) == used
