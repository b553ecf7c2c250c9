"""A whole migration on made-up traffic, decided by what decides in production."""

from __future__ import annotations

import json
import random

import pytest

from shifter.core.deciding.gathering import Terms
from shifter.core.documents.fleet import ISTIO_EDGES_MS, Learning, Timing
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.forecasts.simulation import SCENARIOS, Load
from shifter.core.phases import Phase
from shifter.service.rehearsal import Cast, Moment, Rehearsal
from tests.service.conftest import policy

HOUR_TICKS = 240


def played(scenario: str, rps: float = 100, seed: int = 1, **changes: object) -> list[Moment]:
    spec = {"steps": "auto", "soak": "30s", "analysis": {}, **changes}
    made = ShiftPolicy.model_validate_json(json.dumps(policy("shop", "lb-1", **spec)))
    terms = Terms(Learning().lessons(), ISTIO_EDGES_MS)
    cast = Cast(made, Timing(), terms, SCENARIOS[scenario], Load(rps, 0.01, ISTIO_EDGES_MS))
    chance = random.Random(seed)  # noqa: S311 - traffic, no secret
    return list(Rehearsal(cast, chance).moments(HOUR_TICKS))


def test_a_good_target_arrives_step_by_step() -> None:
    moments = played("clean")
    wanted = list(dict.fromkeys(moment.wanted for moment in moments))

    assert moments[-1].phase is Phase.COMPLETED
    assert wanted == sorted(wanted)
    assert (wanted[0], wanted[-1]) == (0, 100)
    assert {50.0, 75.0, 95.0} <= set(wanted)


@pytest.mark.parametrize("scenario", ["worse-x5", "worse-x20", "dead", "slow", "capacity"])
def test_a_bad_target_is_rolled_back_and_then_gets_nothing(scenario: str) -> None:
    last = played(scenario)[-1]

    assert last.phase is Phase.ROLLED_BACK
    assert (last.share, last.wanted) == (0, 0)
    assert "istio" in last.reason


def test_a_dead_target_costs_half_a_second_of_traffic_at_most() -> None:
    assert sum(moment.excess for moment in played("dead")) <= 50


def test_what_counts_as_failed_is_the_policys_to_say() -> None:
    moments = played("worse-x20", analysis={"errors": {"codes": ["500"]}})

    assert sum(moment.requests for moment in moments) > 0
    assert {(moment.failed, moment.excess) for moment in moments} == {(0, 0)}


def test_what_hits_both_meshes_is_never_rolled_back() -> None:
    moments = played("both-fail", seed=2)

    assert all(moment.phase in {Phase.WAITING, Phase.SHIFTING, Phase.COMPLETED} for moment in moments)


def test_the_same_chance_gives_the_same_migration() -> None:
    assert played("worse-x2") == played("worse-x2")
    assert played("worse-x2") != played("worse-x2", seed=2)


def test_a_list_of_steps_is_taken_one_by_one_and_gates_are_open() -> None:
    moments = played("clean", steps=[10, 50, 100], approvals=[{"before": 50}])

    assert list(dict.fromkeys(moment.wanted for moment in moments)) == [0, 10, 50, 100]
    assert moments[-1].phase is Phase.COMPLETED


def test_it_ends_when_its_time_is_over() -> None:
    moments = played("clean", steps=[10, 50, 100], soak="2h")

    assert len(moments) == HOUR_TICKS
    assert moments[-1].phase is Phase.SHIFTING
    assert moments[-1].seconds == HOUR_TICKS * 15
