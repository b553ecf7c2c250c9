"""A lease that is lost, in doubt or out of reach: who believes what, and who may still go back."""

from __future__ import annotations

import pytest

from shifter.ports.kube import KubeError
from tests.adapters.kube_leases import BUDGET, DEADLINE, LEASE, RENEW, TIMING, TINY, Bench, about
from tests.kube import Fault


@pytest.fixture
def bench() -> Bench:
    return Bench()


# -- losing it -------------------------------------------------------------------------------------------------------


def test_a_leader_that_is_cut_off_stops_climbing_while_a_write_budget_is_left(bench: Bench) -> None:
    leader = bench.leader()
    bench.let(RENEW)
    leader.api.down = True
    renewed_at = leader.due - RENEW
    bench.until(lambda: not leader.lease.valid())

    assert bench.now - renewed_at == about(DEADLINE - BUDGET)


def test_a_leader_whose_machine_was_suspended_does_not_believe_the_clock_that_stood_still(bench: Bench) -> None:
    leader = bench.leader()
    leader.suspended_seconds += 60
    bench.now += 60

    assert not leader.lease.valid()


@pytest.mark.fault(
    on="process",
    fault="the leader stands still for longer than the lease (SIGSTOP, suspend)",
    does="believes nothing until it has looked at the lease; if another took it, it never writes again",
    sees="`service.lease`: this process stood still for N s",
    safe_within="at once",
)
def test_a_leader_that_stood_still_neither_climbs_nor_retreats_once_another_leads(bench: Bench) -> None:
    leader = bench.leader()
    standby = bench.replica("b")
    bench.let(RENEW)
    leader.stopped = True
    bench.until(standby.lease.valid)
    woken = leader.lease.valid(), leader.lease.may_lower()
    leader.poll()

    assert woken == (False, False)
    assert (leader.lease.valid(), leader.lease.may_lower()) == (False, False)
    assert leader.lease.lost() == "the lease shifter-system/shifter was lost: b holds it, in epoch 2"


def test_a_leader_that_stood_still_and_finds_its_lease_goes_on_in_its_epoch(bench: Bench) -> None:
    leader = bench.leader()
    leader.stopped = True
    bench.let(60)
    before = leader.lease.valid()
    leader.poll()

    assert (before, leader.lease.valid(), leader.lease.epoch) == (False, True, 1)
    assert any("stood still for" in said for said in leader.told)


def test_an_unread_lease_after_a_standstill_is_not_believed(bench: Bench) -> None:
    leader = bench.leader()
    bench.let(leader.due - bench.now + TINY)
    leader.stopped = True
    bench.let(RENEW * 2.2)
    in_time = leader.lease.valid()
    leader.api.down = True
    leader.poll()

    assert in_time
    assert (leader.lease.valid(), leader.lease.may_lower()) == (False, False)


def test_whoever_lost_the_lease_never_gets_it_again_by_the_same_object(bench: Bench) -> None:
    leader = bench.leader()
    bench.by_hand(holderIdentity="somebody")
    bench.until(lambda: bool(leader.lease.lost()), RENEW + 1)
    bench.delete()
    bench.let(100)

    assert (leader.lease.valid(), leader.lease.may_lower()) == (False, False)
    with pytest.raises(KubeError):
        bench.body()


@pytest.mark.fault(
    on="Kubernetes",
    fault="the Lease is deleted by hand",
    does="the leader stops; somebody makes it anew and leads when every former leader has stopped",
    sees="`service.lease`: the lease was lost: it was deleted",
    safe_within="one poll; led again after lease + write budget",
)
def test_a_deleted_lease_is_lost_and_not_quietly_made_anew(bench: Bench) -> None:
    leader = bench.leader()
    bench.delete()
    bench.until(lambda: bool(leader.lease.lost()), RENEW + 1)
    leader.stopped = True
    after = bench.replica("b")
    after.floor = leader.lease.epoch

    assert leader.lease.lost().endswith("was lost: it was deleted")
    assert bench.until(after.lease.valid) == about(LEASE + BUDGET)
    assert after.lease.epoch == 2


def test_a_lease_emptied_by_hand_is_waited_out_as_one_that_is_held(bench: Bench) -> None:
    leader = bench.leader()
    leader.api.down = True
    bench.by_hand(holderIdentity="")
    standby = bench.replica("b")

    assert bench.until(standby.lease.valid) == about(LEASE + BUDGET)


def test_a_renewal_whose_answer_was_lost_counts_from_when_it_was_sent(bench: Bench) -> None:
    leader = bench.leader()
    leader.api.fail(Fault.LOST, "replace")
    looks = leader.api.count("get")
    bench.until(lambda: leader.api.count("get") > looks, RENEW + 1)
    sent_at = bench.now
    leader.api.down = True
    bench.until(lambda: not leader.lease.valid())

    assert bench.now - sent_at == about(DEADLINE - BUDGET)


def test_a_renewal_that_was_not_carried_out_does_not_count(bench: Bench) -> None:
    leader = bench.leader()
    bench.let(RENEW)
    renewed_at = leader.due - RENEW
    leader.api.fail(Fault.TIMEOUT, "replace", times=None)
    bench.until(lambda: not leader.lease.valid())

    assert bench.now - renewed_at == about(DEADLINE - BUDGET)


def test_a_note_that_somebody_pins_to_the_lease_costs_nobody_the_lease(bench: Bench) -> None:
    leader = bench.leader()
    bench.by_hand(preferredHolder="c")
    bench.let(100)

    assert leader.lease.valid()
    assert leader.lease.epoch == 1


def test_a_conflict_that_cannot_be_looked_into_is_nobodys_lease(bench: Bench) -> None:
    leader = bench.leader()
    leader.api.fail(Fault.CONFLICT, "replace")
    leader.api.fail(Fault.DOWN, "get", times=None)
    bench.now = leader.due
    leader.poll()

    assert (leader.lease.valid(), leader.lease.may_lower()) == (False, False)


# -- going back without it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [Fault.DOWN, Fault.TIMEOUT, Fault.DENIED, Fault.ERROR, Fault.INVALID, Fault.THROTTLED]
)
@pytest.mark.fault(
    on="Kubernetes",
    fault="does not answer, or refuses, for minutes",
    does="no climb; who led when it stopped may still go back, for 15 minutes after the last renewal",
    sees="`service.lease`: the lease cannot be renewed: ...",
    safe_within="at once",
)
def test_who_led_when_the_server_stopped_answering_may_lower_shares_for_the_stated_time(
    bench: Bench, fault: Fault
) -> None:
    leader = bench.leader()
    bench.let(RENEW)
    renewed_at = leader.due - RENEW
    leader.api.fail(fault, times=None)
    bench.until(lambda: not leader.lease.valid())
    bench.until(lambda: not leader.lease.may_lower(), 1000)

    assert bench.now - renewed_at == about(TIMING.lowering_seconds)


def test_a_server_that_answers_but_cannot_write_is_one_that_does_not_answer(bench: Bench) -> None:
    leader = bench.leader()
    leader.api.fail(Fault.ERROR, "replace", "create", times=None)
    bench.let(100)

    assert not leader.lease.valid()
    assert leader.lease.may_lower()


def test_a_leader_whose_server_is_back_goes_on_in_its_epoch(bench: Bench) -> None:
    leader = bench.leader()
    standby = bench.replica("b")
    for each in (leader, standby):
        each.api.down = True
    bench.let(60)
    for each in (leader, standby):
        each.api.heal()
    took = bench.until(leader.lease.valid)

    assert took <= TIMING.retry_seconds
    assert leader.lease.epoch == 1
    assert leader.told[-1] == "the lease shifter-system/shifter is answered for again"


def test_a_standby_may_never_lower_shares(bench: Bench) -> None:
    bench.leader()
    standby = bench.replica("b")
    bench.let(RENEW)
    standby.api.down = True
    bench.let(20)

    assert not standby.lease.may_lower()


def test_who_took_the_lease_but_never_led_may_not_lower_shares(bench: Bench) -> None:
    first = bench.replica("a")
    bench.let(RENEW)
    first.api.down = True
    bench.let(60)

    assert not first.lease.may_lower()
