"""The decision on arrays, with which the bench measures, is the one that ships: same traffic in, same shares out.

The bench itself compares a thousand trajectories and more; these few are every scenario once.
"""

from __future__ import annotations

import pytest

from tests.bench.analysis.same_decisions import Trial, compare, random_trials
from tests.bench.analysis.scenarios import named
from tests.bench.analysis.shifter_rule import AUTO, a_policy, held_at

SETS = 27


@pytest.mark.parametrize("trial", tuple(random_trials(SETS, seed=0)), ids=lambda each: each.scenario.name)
def test_arrays_decide_as_the_service_does(trial: Trial) -> None:
    compared = compare(trial, trials=2, ticks=40)

    assert compared.differences == ()
    assert compared.ticks > 0


def test_a_share_that_is_kept_stays_the_same_for_both() -> None:
    trial = Trial(named("x5 after 10 min"), rate=100.0, base=0.01, policy=held_at(0.5), seed=11)

    assert compare(trial, trials=2, ticks=60).differences == ()


def test_a_difference_is_noticed() -> None:
    trial = Trial(named("clean"), rate=100.0, base=0.01, policy=AUTO, seed=3)

    [first, *_] = compare(trial, trials=2, ticks=40, on_arrays=a_policy(soak="45s")).differences

    assert "arrays" in first
