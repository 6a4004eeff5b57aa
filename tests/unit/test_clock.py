"""The clock by which sessions grow old."""

from __future__ import annotations

import pytest

from fusion.clock import GRACE_SECONDS, STALL_SECONDS, ServingClock, elapsed_seconds


class Time:
    """The machine's time, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Serving:
    """A serving clock and the event loop that ticks it, while it can."""

    def __init__(self) -> None:
        self.time = Time()
        self.clock = ServingClock(self.time)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.05)):
            self.time.seconds += 0.05
            self.clock.tick()

    def stop(self, seconds: float) -> None:
        self.time.seconds += seconds


@pytest.fixture
def serving() -> Serving:
    return Serving()


def test_it_follows_the_time_while_the_loop_runs(serving: Serving) -> None:
    before = serving.clock.now()
    serving.run(12.0)
    assert serving.clock.now() - before == pytest.approx(12.0)


def test_it_follows_the_time_between_two_ticks(serving: Serving) -> None:
    serving.run(1.0)
    before = serving.clock.now()
    serving.stop(0.03)
    assert serving.clock.now() - before == pytest.approx(0.03)
    serving.stop(0.02)
    serving.clock.tick()
    assert serving.clock.now() - before == pytest.approx(0.05)


def test_a_stall_does_not_count_and_neither_does_the_time_after_it(serving: Serving) -> None:
    serving.run(1.0)
    before = serving.clock.now()
    serving.stop(3600.0)
    assert serving.clock.now() == before  # a request that is read before the first tick
    serving.clock.tick()
    serving.run(GRACE_SECONDS - 0.1)
    assert serving.clock.now() == before
    serving.run(5.1)
    assert serving.clock.now() - before == pytest.approx(5.0, abs=0.2)


def test_what_was_shown_before_a_stall_stays(serving: Serving) -> None:
    serving.run(1.0)
    serving.stop(0.2)
    shown = serving.clock.now()
    serving.stop(STALL_SECONDS)
    assert serving.clock.now() == shown
    serving.clock.tick()
    assert serving.clock.now() == shown


def test_a_stall_in_the_grace_after_a_stall_makes_it_longer(serving: Serving) -> None:
    before = serving.clock.now()
    for _ in range(5):
        serving.stop(10.0)
        serving.clock.tick()
        serving.run(GRACE_SECONDS - 0.1)
    assert serving.clock.now() == before


def test_a_clock_nobody_ticks_stands_still(serving: Serving) -> None:
    serving.stop(100.0)
    assert serving.clock.now() == serving.clock.now() == 0.0


def test_it_never_goes_back(serving: Serving) -> None:
    shown = [serving.clock.now()]
    for step in [0.05, 0.2, 0.3, 0.01, 0.249, 0.251, 0.9, 0.1, 0.1, 0.2] * 20:
        serving.stop(step)
        shown.append(serving.clock.now())
        if len(shown) % 3:
            serving.clock.tick()
            shown.append(serving.clock.now())
    assert shown == sorted(shown)
    assert shown[-1] > shown[0]


def test_the_systems_time_goes_on() -> None:
    assert elapsed_seconds() <= elapsed_seconds()
