"""When views may be shown. Each test tells a story in the steps of the log."""

from __future__ import annotations

import pytest

from fusion.readiness import Readiness, State, Trip

STEPS = ("open", "rows", "end", "lose", "signal", "drained")


class Story:
    def __init__(self) -> None:
        self.readiness = Readiness()
        self.readiness.recovering = False
        self.time = 0.0

    def tell(self, steps: str) -> State:
        """Take steps in order; `end` and `rows` are drained at once unless written `end+`, `rows+`."""
        for step in steps.split():
            name = step.removesuffix("+")
            assert name in STEPS
            self.time += 1
            if name == "signal":
                self.readiness.anomaly(self.time, None, "a")
            elif name in ("open", "lose", "drained"):
                getattr(self.readiness, name)()
            else:
                getattr(self.readiness, f"snapshot_{name}")()
            if step in ("end", "rows"):
                self.readiness.drained()
        return self.readiness.state


@pytest.fixture
def story() -> Story:
    return Story()


def test_recovering_until_told_otherwise() -> None:
    readiness = Readiness()
    assert readiness.state == "recovering"
    readiness.open()
    readiness.snapshot_end()
    readiness.drained()
    assert readiness.state == "recovering"
    readiness.recovering = False
    assert readiness.state == "ready"


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        ("", "empty"),
        ("drained", "empty"),
        ("open", "snapshot"),
        ("open rows", "snapshot"),
        ("open rows drained", "snapshot"),
        ("open rows end+", "draining"),
        ("open rows end", "ready"),
        ("open end", "ready"),
        # latched
        ("open end rows+", "ready"),
        ("open end rows", "ready"),
        ("open end rows end+", "ready"),
        ("open end end", "ready"),
        # draining goes on whatever comes
        ("open end+ rows+", "draining"),
        ("open end+ rows+ drained", "ready"),
        ("open end+ end+ drained", "ready"),
        # lost
        ("open end open", "snapshot"),
        ("open end open end", "ready"),
        ("open end+ open drained", "snapshot"),
        ("open lose", "stale"),
        ("open end lose", "stale"),
        ("open end+ lose drained", "stale"),
        ("open lose end", "stale"),
        ("open end lose rows end", "stale"),
        ("open end lose open", "snapshot"),
        ("open rows lose open end", "ready"),
    ],
)
def test_states(story: Story, steps: str, state: str) -> None:
    assert story.tell(steps) == state


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        ("open end signal", "tripped"),
        ("open signal", "tripped"),
        ("open end signal signal signal", "tripped"),
        # closes: began with a row after the signal
        ("open end signal rows", "tripped"),
        ("open end signal rows end+", "tripped"),
        ("open end signal rows end+ drained", "ready"),
        ("open end signal rows end", "ready"),
        ("open signal rows end", "ready"),
        # closes: the session came after the signal
        ("open end signal open", "tripped"),
        ("open end signal open end", "ready"),
        ("open end signal open rows end", "ready"),
        ("open signal lose open end", "ready"),
        # does not: was running already
        ("open rows signal end", "tripped"),
        ("open rows signal rows end", "tripped"),
        ("open end rows signal rows end", "tripped"),
        ("open rows signal end rows end", "ready"),
        ("open end rows signal end rows end", "ready"),
        # does not: an end of nothing
        ("open end signal end", "tripped"),
        ("open signal end", "tripped"),
        ("open signal end end", "tripped"),
        ("open signal end rows end", "ready"),
        # does not: ended, but a signal came before it was drained
        ("open end+ signal drained", "tripped"),
        ("open end signal rows end+ signal drained", "tripped"),
        ("open end signal rows end+ signal drained end", "tripped"),
        # the last signal counts
        ("open end signal rows signal end", "tripped"),
        ("open end signal rows signal end rows end", "ready"),
        ("open end signal open signal end", "tripped"),
        ("open end signal open rows signal end", "tripped"),
        ("open end signal open signal rows end", "ready"),
        ("open rows open signal rows end", "ready"),
        ("open rows lose open signal rows end", "ready"),
        # outlives the session
        ("open end signal lose", "tripped"),
        ("open end signal lose end", "tripped"),
        ("open end signal rows lose end", "tripped"),
        ("open end signal rows lose drained", "tripped"),
        ("open end signal rows open", "tripped"),
        # can trip again
        ("open end signal rows end signal", "tripped"),
        ("open end signal rows end signal end", "tripped"),
        ("open end signal rows end signal rows end", "ready"),
        # closed, then what readiness says
        ("open end signal rows end lose", "stale"),
        ("open end signal rows end+ lose drained", "stale"),  # by the log, which knows nothing of draining
        ("open end signal rows end open", "snapshot"),
    ],
)
def test_breaker(story: Story, steps: str, state: str) -> None:
    assert story.tell(steps) == state


def test_the_complete_snapshot_is_known_before_it_is_drained(story: Story) -> None:
    story.tell("open rows")
    assert not story.readiness.snapshot_complete
    story.tell("end+")
    assert story.readiness.snapshot_complete
    for step in ("lose", "signal", "open"):
        story.tell("open end")
        story.tell(step)
        assert not story.readiness.snapshot_complete


def test_a_trip_tells_when_why_and_who() -> None:
    readiness = Readiness()
    assert readiness.trip is None
    trip = readiness.anomaly(5.0, "overflow", "a")
    assert trip == readiness.trip == Trip(5.0, "overflow", "a")


def test_repeated_signals_keep_the_time_of_the_first_and_the_last_reason() -> None:
    readiness = Readiness()
    readiness.anomaly(5.0, "overflow", "a")
    assert readiness.anomaly(6.0, None, "b") == Trip(5.0, "overflow", "b")
    assert readiness.anomaly(7.0, "queue", "b") == Trip(5.0, "queue", "b")


def test_a_new_trip_after_closing_has_a_time_of_its_own() -> None:
    readiness = Readiness()
    readiness.open()
    readiness.anomaly(5.0, "overflow", "a")
    readiness.snapshot_rows()
    readiness.snapshot_end()
    readiness.drained()
    assert readiness.trip is None
    assert readiness.anomaly(9.0, None, "a") == Trip(9.0, None, "a")


def test_each_closing_of_ready_views_is_counted() -> None:
    readiness = Readiness()
    readiness.recovering = False
    readiness.open()
    readiness.lose()
    assert readiness.losses == 0  # they were not open yet

    readiness.open()
    for close in (
        readiness.open,
        readiness.lose,
        lambda: readiness.anomaly(1.0, None, "s"),
    ):
        before = readiness.losses
        readiness.open()
        readiness.snapshot_rows()
        readiness.snapshot_end()
        readiness.drained()
        assert readiness.state is State.READY
        close()
        assert readiness.losses == before + 1
        close()
        assert readiness.losses == before + 1
