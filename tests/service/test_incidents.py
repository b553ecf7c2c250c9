"""Both meshes bad at once: nobody's fault that a rollback would mend, unless it began right after a step."""

from __future__ import annotations

import pytest

from shifter.core.balancing.splits import Side
from shifter.core.deciding.holds import HoldKind
from shifter.core.deciding.orders import Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from tests.service.conftest import World


def fail_both(world: World, percent: float = 30) -> None:
    for side in world.sides.values():
        side.error_percent = percent


@pytest.fixture
def at_25(world: World) -> World:
    """A world that has been at 25 % for longer than a step is suspected."""
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.step(6)
    world.order(Verb.RESUME)
    return world


@pytest.mark.fault(
    on="people",
    fault="a dependency of both meshes fails at 25 %",
    does="holds: a rollback would mend nothing",
    sees="hold `incident`: both meshes fail: tcm failed ... of its last ... requests, usually 0 %; istio ...; it pages",
    safe_within="one tick",
)
def test_when_both_meshes_fail_the_share_stays_for_as_long_as_it_lasts_and_somebody_is_paged(at_25: World) -> None:
    fail_both(at_25)
    at_25.step(60)
    held = at_25.holds(), at_25.report().page, at_25.reason()
    fail_both(at_25, 0)
    at_25.until(Phase.COMPLETED)

    assert held[:2] == ({HoldKind.INCIDENT}, True)
    assert "both meshes fail: tcm failed 720 of its last 2400 requests, usually 0 %; istio " in held[2]
    assert at_25.climbs() == [5, 25, 50, 100]


def test_an_incident_of_the_source_alone_holds_too(at_25: World) -> None:
    at_25.sides[Side.SOURCE].error_percent = 30
    at_25.step(20)

    assert at_25.share() == 25
    assert "incident: tcm failed 720 of its last 2400 requests, usually 0 %: tcm itself is in trouble" in at_25.reason()


@pytest.mark.fault(
    on="people",
    fault="both meshes begin to fail right after a step",
    does="goes one step back, once, to see whether istio causes it",
    sees="stepping back to 5 %: both meshes fail: ...; it began right after the step to 25 %",
    safe_within="2 ticks",
)
def test_an_incident_right_after_a_step_costs_one_step_once(world: World) -> None:
    world.until_share(25)
    fail_both(world)
    world.step(3)
    reasons = [record.reason for record in world.history() if record.what is What.INTENT]
    world.step(40)
    held = world.holds()
    fail_both(world, 0)
    world.until(Phase.COMPLETED)

    assert world.written_shares() == [5, 25, 5, 25, 50, 100]
    assert "both meshes fail: " in reasons[-1]
    assert "it began right after the step to 25 %, so one step back shows whether istio causes it" in reasons[-1]
    assert held == {HoldKind.INCIDENT}


def test_an_incident_that_ends_with_the_step_back_leaves_a_ceiling_and_a_sentence_until_a_retry(world: World) -> None:
    world.until_share(25)
    fail_both(world)
    world.until_share(5)
    fail_both(world, 0)
    world.step(60)
    held, reason = world.holds(), world.reason()
    (ceiling,) = (record for record in world.history() if record.what is What.CEILING)
    world.order(Verb.RETRY)
    world.until(Phase.COMPLETED)

    assert held == {HoldKind.STEPPED_BACK}
    assert reason.startswith("holding: stepped back: a step back from 25 % as a probe (both meshes fail: ")
    assert reason.endswith("if it ended with the step back, `shifter retry shop` lets it go there again")
    assert ceiling.reason.startswith("it stays below 25 % as a probe: both meshes fail: ")


@pytest.mark.fault(
    on="CLB",
    fault="the balancer is locked when both meshes begin to fail after a step, and until they are well again",
    does="gives up the step back, which would show nothing any more, and goes on",
    sees="it may reach 25 % again",
    safe_within="13 ticks after both are well",
)
def test_an_incident_that_is_over_before_the_step_back_can_be_written_leaves_no_ceiling(world: World) -> None:
    world.until_share(25)
    world.memory.hold_lock(world.route().domain)
    fail_both(world)
    world.step(4)
    fail_both(world, 0)
    world.step(12)
    world.memory.release_lock(world.route().domain)
    ceilings = [record.reason for record in world.history() if record.what is What.CEILING]
    world.until(Phase.COMPLETED)

    assert len(ceilings) == 2
    assert ceilings[1] == "it may reach 25 % again"


def test_a_target_that_is_worse_than_an_incident_of_both_still_goes_back(at_25: World) -> None:
    fail_both(at_25, 10)
    at_25.step(6)
    at_25.sides[Side.TARGET].error_percent = 60
    at_25.step(6)

    assert at_25.share() == 0
