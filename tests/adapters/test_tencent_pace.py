"""The pace of calls: never more in a second than the quota, never a line without end."""

from __future__ import annotations

import pytest

from shifter.adapters.tencent.api import QUOTA_PER_SECOND, Pacer
from shifter.errors import ProviderUnavailableError


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@pytest.mark.parametrize("per_second", [0.5, 1, 10, 15, 19.5, 20])
def test_no_second_ever_sees_more_calls_than_the_quota(per_second: float) -> None:
    clock = Clock()
    pacer = Pacer(per_second, 60, clock.monotonic, clock.sleep)
    passed = []
    for index in range(200):
        pacer.wait()
        passed.append(clock.now)
        if index == 100:
            clock.now += 30  # an idle time must not save up more than one burst
    busiest = max(sum(begin <= at < begin + 0.999 for at in passed) for begin in passed)

    assert busiest <= QUOTA_PER_SECOND
    assert passed[-1] - passed[0] - 30 >= 150 / per_second


def test_a_call_that_would_wait_too_long_is_turned_away_and_makes_nobody_wait_longer() -> None:
    clock = Clock()
    slept: list[float] = []
    pacer = Pacer(10, 1.0, clock.monotonic, slept.append)
    waited = [pacer.wait() for _ in range(20)]

    assert waited == pytest.approx([0.0] * 10 + [0.1 * n for n in range(1, 11)])
    for _ in range(3):
        with pytest.raises(
            ProviderUnavailableError, match=r"more than 10 calls per second are waiting; this one would wait 1\.1 s"
        ):
            pacer.wait()
    assert slept == pytest.approx([0.1 * n for n in range(1, 11)])
