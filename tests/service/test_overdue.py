"""Nothing waits in silence for ever: a share that never settles and evidence that never decides page, with a reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shifter.core.analysis.verdicts import Assessment, Verdict
from shifter.core.balancing.splits import Side
from shifter.core.deciding.holds import Hold, HoldKind
from shifter.core.deciding.overdue import GRACE_TICKS, overdue
from shifter.core.phases import Phase
from tests.core.shifts import GOOD, NOON, a_shift, gathered, seen
from tests.service.conftest import TICK, World

HOLD = timedelta(minutes=4)
UNDECIDED = Assessment(Verdict.TOO_LITTLE, "istio fails 2 % against tcm 1 %: not enough to go back, too much to go on")


def _elsewhere(world: World) -> None:
    """Let a tick pass in which some requests take another way into TCM's mesh: 15 % reach Istio, none is lost."""
    world.sides[Side.SOURCE].serve("shop", 267)
    world.step()


@pytest.mark.fault(
    on="people",
    fault="traffic takes another way than the routes of the policy",
    does="holds the share: it never settles; pages",
    sees="settling at ...; so it has been for more than ...",
    safe_within="at once; paged after the balancer's lag + hold + 10 ticks",
)
def test_a_share_that_the_metrics_never_show_pages_after_the_hold_and_ten_ticks(world: World) -> None:
    world.until_share(25)
    lag, hold = timedelta(seconds=world.report().settle_seconds or 0), world.state().policy.spec.analysis.hold
    paged = []
    for _ in range(60):
        _elsewhere(world)
        paged.append(world.report().page)
    first = paged.index(True)

    assert first * TICK == pytest.approx(lag + hold + GRACE_TICKS * TICK, abs=4 * TICK)
    assert all(paged[first:])
    assert world.share() == 25
    assert world.reason().startswith("settling at tcm 75 · istio 25: the metrics do not show it yet, but tcm ")
    assert "; so it has been for more than 2m: does traffic reach a mesh by another way" in world.reason()


def test_a_restart_begins_the_waiting_anew_and_pages_nobody(world: World) -> None:
    world.until_share(25)
    for _ in range(60):
        _elsewhere(world)
    world.restart()
    for _ in range(4):
        _elsewhere(world)

    assert world.report().reason.startswith("settling at ")
    assert not world.report().page


def test_a_namespace_that_nobody_uses_is_told_how_to_go_on(world: World) -> None:
    world.until_share(25)
    world.PER_SECOND = 0.0
    world.step(60)

    assert world.report().page
    assert world.reason().endswith(": nobody uses it, and `shifter promote shop` goes on without traffic")


def test_a_share_that_is_shown_pages_nobody_however_long_it_soaks(world: World) -> None:
    world.write_policy("shop", soak="2h")
    world.until_share(5)
    world.step(100)

    assert world.reason().startswith("soaking at ")
    assert not world.report().page


def _stood(seconds: float) -> str:
    """What is said of a shift that has stood at 25 % for so long, with a soak of a minute and the default hold."""
    evidence = replace(seen(), standing=replace(gathered(GOOD), seconds=seconds))
    return overdue(a_shift(), evidence, (), UNDECIDED, NOON)


def test_odds_that_neither_allow_a_step_nor_a_way_back_page_after_the_longest_hold() -> None:
    longest = 60 + 3 * HOLD.total_seconds() + GRACE_TICKS * seen().tick.total_seconds()

    assert _stood(longest) == ""
    assert _stood(longest + 1).startswith("so it has stood for more than 13m50s: more traffic will hardly decide; ")


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.COMPLETED, Phase.ROLLED_BACK])
def test_only_a_shift_that_is_under_way_can_be_late(phase: Phase) -> None:
    late = replace(seen(), settling_since=NOON - timedelta(days=1))

    assert overdue(a_shift(phase), late, (), UNDECIDED, NOON) == ""
    assert overdue(a_shift(), late, (), UNDECIDED, NOON) != ""


def test_what_is_held_has_its_reason_and_is_not_late_besides() -> None:
    late = replace(seen(), settling_since=NOON - timedelta(days=1))

    assert overdue(a_shift(), late, (Hold(HoldKind.PAUSE, "paused by ann"),), UNDECIDED, NOON) == ""
