"""The lease in a cluster: how it is taken and given up, whose it is, and what others see of it."""

from __future__ import annotations

import re
import threading

import pytest

from shifter.adapters.kube.clocks import Clocks
from shifter.adapters.kube.lease import KubeLease
from shifter.adapters.kube.lease_record import RELEASED, Claim
from shifter.core.documents.leasing import LeaseTiming
from shifter.errors import RefusedError, StoreUnavailableError
from shifter.ports.kube import LEASES, Body, Kind
from tests.adapters.kube_leases import BUDGET, LEASE, PLACE, RENEW, TIMING, Bench, about
from tests.kube import Fault, MemoryApi, MemoryCluster
from tests.service.waiting import wait_for


@pytest.fixture
def bench() -> Bench:
    return Bench()


# -- taking it -------------------------------------------------------------------------------------------------------


def test_the_first_leader_waits_out_whoever_may_have_had_a_lease_that_is_gone(bench: Bench) -> None:
    first = bench.replica("a")

    assert bench.until(first.lease.valid) == about(LEASE + BUDGET)
    assert (first.lease.epoch, bench.spec("leaseTransitions"), bench.spec("holderIdentity")) == (1, 1, "a")


def test_a_duration_is_written_as_a_whole_number(bench: Bench) -> None:
    bench.replica("a", timing=LeaseTiming(duration_seconds=30.0))
    bench.let(0.1)

    assert repr(bench.spec("leaseDurationSeconds")) == "30"


def test_times_are_written_with_six_digits_even_on_the_second(bench: Bench) -> None:
    bench.replica("a")
    bench.let(0.1)

    assert bench.spec("renewTime") == "2026-03-04T12:16:40.000000Z"
    assert re.fullmatch(r"[-0-9]{10}T[:0-9]{8}\.000000Z", str(bench.spec("acquireTime")))


def test_a_leader_that_renews_stays_and_a_standby_stays_away(bench: Bench) -> None:
    leader = bench.leader()
    standby = bench.replica("b")

    for _ in range(100):
        bench.let(3)
        assert leader.lease.valid()
        assert not standby.lease.valid()
    assert standby.told == ["standing by: a holds the lease shifter-system/shifter"]
    assert standby.api.count("create", "replace") == 0


@pytest.mark.fault(
    on="process",
    fault="the leader of two replicas is killed",
    does="the other takes the lease when its own clock says that it has run out, and leads a write budget later",
    sees="`service.lease`: took the lease ... as epoch N",
    safe_within="lease + write budget + 2 polls: 48 s",
)
def test_a_killed_leader_is_followed_within_the_promised_time_by_the_next_epoch(bench: Bench) -> None:
    leader = bench.leader()
    standby = bench.replica("b")
    bench.let(12)
    leader.stopped = True
    took = bench.until(standby.lease.valid)

    assert LEASE < took <= TIMING.hand_over_seconds
    assert not leader.lease.valid()
    assert standby.lease.epoch == leader.lease.epoch + 1 == bench.spec("leaseTransitions")


def test_a_standby_waits_from_its_own_first_look_whatever_the_record_says_of_time(bench: Bench) -> None:
    leader = bench.leader()
    leader.stopped = True
    bench.by_hand(renewTime="1999-01-01T00:00:00.000000Z")
    standby = bench.replica("b")

    assert bench.until(standby.lease.valid) == about(LEASE + BUDGET)


def test_a_standby_waits_as_long_as_the_record_says_if_that_is_longer(bench: Bench) -> None:
    leader = bench.leader(timing=LeaseTiming(duration_seconds=60))
    leader.stopped = True
    standby = bench.replica("b")

    assert bench.until(standby.lease.valid) == about(60 + BUDGET)


def test_a_lease_of_years_written_by_hand_keeps_nobody_out_for_ever(bench: Bench) -> None:
    leader = bench.leader()
    leader.stopped = True
    bench.by_hand(leaseDurationSeconds=10**9)
    standby = bench.replica("b")

    assert bench.until(standby.lease.valid, most=700) == about(600 + BUDGET)


def test_of_two_standbys_one_gets_it(bench: Bench) -> None:
    leader = bench.leader()
    leader.stopped = True
    others = [bench.replica("b"), bench.replica("c")]
    bench.let(TIMING.hand_over_seconds)

    assert sorted(each.lease.valid() for each in others) == [False, True]


def test_the_same_process_name_after_a_restart_is_a_new_epoch(bench: Bench) -> None:
    leader = bench.leader("a")
    leader.stopped = True
    again = bench.leader("a-restarted")

    assert again.lease.epoch == leader.lease.epoch + 1


def test_an_epoch_is_never_lower_than_what_the_store_knows(bench: Bench) -> None:
    first = bench.replica("a")
    first.floor = 17
    bench.until(first.lease.valid)

    assert first.lease.epoch == 18


def test_an_epoch_that_was_led_while_somebody_waited_is_not_led_again(bench: Bench) -> None:
    first = bench.replica("a")
    bench.let(20)
    first.floor = 1
    bench.until(first.lease.valid)

    assert (first.lease.epoch, bench.spec("leaseTransitions")) == (2, 2)


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.CONFLICT, Fault.DOWN])
def test_raising_an_epoch_survives_an_answer_that_does_not_come(bench: Bench, fault: Fault) -> None:
    first = bench.replica("a")
    bench.let(37)
    first.floor = 1
    first.api.fail(fault, "replace")
    bench.until(first.lease.valid, LEASE)

    assert (first.lease.epoch, bench.spec("leaseTransitions")) == (2, 2)


def test_a_store_that_cannot_say_which_epochs_there_were_lets_nobody_lead(bench: Bench) -> None:
    def floor() -> int:
        raise StoreUnavailableError("no shifts can be read")

    api = MemoryApi(bench.cluster)
    told: list[str] = []
    clocks = Clocks(lambda: bench.now, lambda: bench.now, bench.wall)
    lease = KubeLease(api, Claim(PLACE, "a", "main"), TIMING, clocks=clocks, floor=floor, tell=told.append)
    lease.step()

    assert api.count("create") == 0
    assert told == ["the lease shifter-system/shifter cannot be read: no shifts can be read"]


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.ERROR_AFTER, Fault.GARBLED])
def test_a_taking_whose_answer_was_lost_is_found_by_looking(bench: Bench, fault: Fault) -> None:
    first = bench.replica("a")
    first.api.fail(fault, "create")

    assert bench.until(first.lease.valid) == about(LEASE + BUDGET)
    assert (first.lease.epoch, first.api.count("create")) == (1, 1)


# -- giving it up ----------------------------------------------------------------------------------------------------


def test_a_released_lease_is_taken_at_the_next_poll_and_led_a_write_budget_later(bench: Bench) -> None:
    leader = bench.leader()
    standby = bench.replica("b")
    bench.let(RENEW)
    leader.lease.release()
    leader.lease.release()
    took = bench.until(standby.lease.valid)

    assert BUDGET <= took <= BUDGET + RENEW + 0.1
    assert (leader.lease.valid(), leader.lease.may_lower()) == (False, False)
    assert RELEASED not in bench.body()["metadata"]["annotations"]


def test_who_gives_up_before_having_waited_does_not_shorten_anybodys_wait(bench: Bench) -> None:
    first = bench.replica("a")
    bench.let(RENEW)
    first.lease.release()
    standby = bench.replica("b")

    assert bench.until(standby.lease.valid) == about(LEASE + BUDGET)


def test_a_release_does_not_empty_another_ones_lease(bench: Bench) -> None:
    leader = bench.leader()
    bench.by_hand(holderIdentity="somebody")
    leader.lease.release()

    assert bench.spec("holderIdentity") == "somebody"


def test_a_release_after_a_foreign_note_is_tried_once_more(bench: Bench) -> None:
    leader = bench.leader()
    bench.by_hand(preferredHolder="c")
    leader.lease.release()

    assert bench.spec("holderIdentity") == ""


def test_a_release_that_nobody_answers_is_told_and_leaves_the_lease_to_run_out(bench: Bench) -> None:
    leader = bench.leader()
    leader.api.down = True
    leader.lease.release()

    assert leader.told[-1].startswith("the lease shifter-system/shifter could not be released and runs out by itself:")
    assert leader.api.count("replace") - leader.api.count("get") < 20
    assert not leader.lease.valid()


# -- whose it is -----------------------------------------------------------------------------------------------------


@pytest.mark.fault(
    on="people",
    fault="two installations are given one namespace",
    does="the second is refused and ends",
    sees="exit 4: the lease ... is of the installation 'blue', and this one is 'green'",
    safe_within="at once",
)
def test_a_lease_of_another_installation_is_refused(bench: Bench) -> None:
    bench.leader(installation="blue")
    other = bench.replica("b", installation="green")
    bench.let(RENEW)

    with pytest.raises(RefusedError, match="is of the installation 'blue', and this one is 'green': give each a name"):
        other.lease.lost()
    assert other.api.count("create", "replace") == 0


def test_a_leader_whose_lease_another_installation_takes_writes_nothing_more(bench: Bench) -> None:
    leader = bench.leader(installation="blue")
    body = bench.body()
    body["metadata"]["annotations"] = {"shifter.io/installation": "green"}
    MemoryApi(bench.cluster).replace(LEASES, PLACE, body)
    bench.let(RENEW + 1)

    with pytest.raises(RefusedError, match="is of the installation 'green'"):
        leader.lease.lost()
    assert (leader.lease.valid(), leader.lease.may_lower()) == (False, False)


# -- what others see of it -------------------------------------------------------------------------------------------


def test_a_lease_that_was_never_read_says_why(bench: Bench) -> None:
    replica = bench.replica("a")
    before = replica.lease.unread()
    replica.api.fail(Fault.DENIED, "get")
    replica.poll()
    denied = replica.lease.unread()
    replica.poll()

    assert before == "the lease shifter-system/shifter was never read: nobody has answered yet"
    assert 'cannot get resource "leases"' in denied
    assert replica.lease.unread() == ""


def test_polls_that_nobody_answers_are_alive_and_those_that_do_not_come_are_not(bench: Bench) -> None:
    replica = bench.replica("a")
    replica.api.down = True
    bench.let(120)
    answered_by_nobody = replica.lease.stuck()
    replica.stopped = True
    bench.let(40)

    assert answered_by_nobody == ""
    assert re.fullmatch(r"no poll of the lease for 4[0-2] s", replica.lease.stuck())


class Bare(MemoryApi):
    """A server (or what answers in its place) that knows nothing of versions."""

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        del kind, namespace, name
        return {"metadata": {}, "spec": "none"}


def test_an_answer_that_is_no_lease_counts_as_none() -> None:
    told: list[str] = []
    lease = KubeLease(Bare(MemoryCluster()), Claim(PLACE, "a", "main"), TIMING, tell=told.append)
    lease.step()

    assert told == [
        "the lease shifter-system/shifter cannot be read: the answer has no uid or no resource version",
    ]
    assert lease.unread().startswith("the lease shifter-system/shifter was never read")


def test_a_failure_is_told_once_and_its_end_too(bench: Bench) -> None:
    leader = bench.leader()
    leader.told.clear()
    leader.api.down = True
    bench.let(60)
    leader.api.heal()
    bench.let(10)

    assert leader.told == [
        "the lease shifter-system/shifter cannot be renewed: connection refused",
        "the lease shifter-system/shifter is answered for again",
    ]


# -- the thread ------------------------------------------------------------------------------------------------------


QUICK = LeaseTiming(1, 0.6, 0.4, 0.1, 0.2, 2.0)


def test_a_started_lease_renews_itself_until_it_is_released() -> None:
    cluster = MemoryCluster()
    lease = KubeLease(MemoryApi(cluster), Claim(PLACE, "a", "main"), QUICK)
    lease.start()
    wait_for(lease.valid, "it never led")
    lease.release()
    wait_for(lambda: all(each.name != "lease" for each in threading.enumerate()), "it still polls")

    assert MemoryApi(cluster).get(LEASES, PLACE, "shifter")["spec"]["holderIdentity"] == ""


def test_a_bug_in_a_poll_does_not_end_the_polls() -> None:
    told: list[str] = []
    raised: list[int] = []

    def floor() -> int:
        if not raised:
            raised.append(1)
            raise SystemExit(3)
        return 0

    lease = KubeLease(MemoryApi(MemoryCluster()), Claim(PLACE, "a", "main"), QUICK, floor=floor, tell=told.append)
    lease.start()
    wait_for(lambda: any("took the lease" in said for said in told), "it polls no more")
    lease.release()

    assert told[0] == "a poll of the lease failed, which is a bug: SystemExit: 3"
