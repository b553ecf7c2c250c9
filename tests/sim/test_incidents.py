"""What is called an incident hinders only whom it could, and only for as long as it lasts."""

from __future__ import annotations

from pathlib import Path

import pytest

from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import Incident
from tests.sim.calls import Ambush, Fate
from tests.sim.plan import SHIFTS, Layout, Mishap, Plan, What
from tests.sim.world import ZERO, World

_SECONDS = 20.0


def incidents(folder: Path, *kinds: Kind, **planned: object) -> list[Incident]:
    """Let a short day happen and return the incidents of these kinds that hindered anybody."""
    plan = Plan(1, **{"calm_at": _SECONDS + 1, "ends_at": _SECONDS, **planned})  # type: ignore[arg-type]
    return [each for each in World(plan, folder).run().incidents if each.kind in kinds and each.namespaces]


def test_a_clock_that_is_a_little_off_hinders_nobody(tmp_path: Path) -> None:
    assert incidents(tmp_path, Kind.CLOCK, offsets=(0.4, -0.4, 0.0), rates=(1.01, 0.99, 1.0)) == []


def test_a_clock_that_is_set_hinders_for_as_long_as_it_is_wrong(tmp_path: Path) -> None:
    there, back = (Mishap(at, What.CLOCK, "a", 0.0, by) for at, by in ((8.0, 30.0), (13.0, -30.0)))

    hindering = [
        each for each in incidents(tmp_path, Kind.CLOCK, mishaps=(there, back)) if each.ended_at > each.began_at
    ]

    assert [(each.began_at - ZERO, each.ended_at - ZERO) for each in hindering] == [(8.0, 13.0)]


def test_leases_that_may_be_lost_and_are_not_hinder_nobody_once_somebody_leads(tmp_path: Path) -> None:
    found = incidents(tmp_path, Kind.LEASE, odds={Fate.LEASE_BEFORE: 0.0})

    assert max(each.ended_at for each in found) < ZERO + 1


def test_a_lease_is_lost_until_somebody_else_has_read_what_is_saved(tmp_path: Path) -> None:
    killed = Mishap(10.0, What.CRASH, "a")

    last = incidents(tmp_path, Kind.LEASE, mishaps=(killed,))[-1]

    assert last.began_at == ZERO + 10
    assert 4 < last.ended_at - last.began_at < 7


def test_what_strikes_a_process_that_does_not_lead_hinders_nobody(tmp_path: Path) -> None:
    killed = Mishap(10.0, What.CRASH, "b"), Mishap(14.0, What.STOP, "b", 3.0)

    assert incidents(tmp_path, Kind.KILLED, Kind.FROZEN, mishaps=killed) == []


@pytest.mark.parametrize(("layout", "whose"), [(Layout.APART, SHIFTS[:1]), (Layout.SHARED, SHIFTS)])
def test_a_call_that_fails_hinders_those_on_its_balancer(
    tmp_path: Path, layout: Layout, whose: tuple[str, ...]
) -> None:
    ambush = Ambush(8.0, "provider.observe", "shop" if layout is Layout.APART else "", Fate.ERROR_BEFORE)

    (failed,) = incidents(tmp_path, Kind.CLOUD, layout=layout, ambushes=(ambush,))

    assert failed.namespaces == set(whose)
    assert failed.began_at == failed.ended_at


def test_a_store_that_does_not_answer_keeps_who_leads_waiting(tmp_path: Path) -> None:
    ambush = Ambush(8.0, "store.save", "", Fate.HANG_BEFORE)

    (waits,) = incidents(tmp_path, Kind.WAITS, ambushes=(ambush,), stoppable=1.0)

    assert waits.ended_at - waits.began_at == 2.0
