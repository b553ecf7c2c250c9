"""Two replicas hand over: killed, frozen, cut off, out of date; with the API server or etcd gone; and nothing is lost.

What is judged is the balancer's log and the history, as in `tests/process`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shifter.adapters.kube.client import BOUNDS, KubeClient
from shifter.adapters.kube.kinds import SHIFTS
from shifter.core.phases import Phase
from shifter.core.records import What
from shifter.core.state import Direction
from shifter.lab.topology import TARGET_MESH
from tests.cluster.plane import ControlPlane
from tests.cluster.replicas import HAND_OVER_SECONDS, NAMES, Replicas, others
from tests.contract.stores import examined
from tests.process.conftest import DEADLINE_SECONDS, TICK_SECONDS, assert_safe

NOTICE_SECONDS = 10.0
"""How much later than it happens a test may see who leads: two processes and an API server share two cores."""

AWAY_SECONDS = 60.0
"""How long nobody can reach the API server; so long shares may be lowered without it, here."""

SILENCE_SECONDS = BOUNDS.connect_seconds + BOUNDS.answer_seconds
"""How long the one call may hang that finds out that the API server is silent."""


@pytest.fixture
def stage(tmp_path: Path, plane: ControlPlane, installed: str, admin_api: KubeClient) -> Iterator[Replicas]:
    with Replicas(tmp_path / "stage", plane, installed, admin_api) as made:
        yield made


@pytest.fixture
def slow(tmp_path: Path, plane: ControlPlane, installed: str, admin_api: KubeClient) -> Iterator[Replicas]:
    """As `stage`, with soaks so long that a migration stays where it is."""
    with Replicas(tmp_path / "stage", plane, installed, admin_api, soak_seconds=3600.0) as made:
        yield made


@pytest.fixture
def steady(tmp_path: Path, plane: ControlPlane, installed: str, admin_api: KubeClient) -> Iterator[Replicas]:
    """As `stage`, with soaks that end long after a test has done what it does at a share, and long before a minute."""
    with Replicas(tmp_path / "stage", plane, installed, admin_api, soak_seconds=4.0) as made:
        yield made


def seconds_until_back(stage: Replicas) -> float:
    began = time.monotonic()
    stage.until(lambda: stage.share() == 0, "users are left on a broken mesh")
    return time.monotonic() - began


def assert_whole(stage: Replicas) -> None:
    assert_safe(stage)
    assert all(examined(stage.store, of).sound for of in stage.store.chains())


def test_one_leads_the_other_stands_by_and_a_migration_is_completed(stage: Replicas) -> None:
    stage.run()

    leader = stage.until_somebody_leads()
    (standby,) = others(leader)
    stage.until_phase(Phase.COMPLETED)

    assert not stage.leads(standby)
    assert stage.ask_of(standby, "/readyz")[0] == 200
    assert stage.share() == 100
    assert_whole(stage)


@pytest.mark.fault(
    on="process",
    fault="the leading replica is killed (-9), at every edge of a write",
    does="another one leads after lease + write budget + 2 polls, reads the balancer, and finishes or goes back",
    sees="`service.started` with the next epoch, in the log of the other",
    safe_within="lease + write budget + 2 polls (48 s)",
)
def test_a_leader_killed_at_every_edge_of_its_writes_loses_no_step_and_doubles_none(stage: Replicas) -> None:
    struck: list[str] = []
    lock = threading.Lock()

    def strike(edge: str) -> bool:
        state = stage.state()
        assert state is not None
        assert state.intent is not None, "a write without its saved intent"
        if state.intent.direction is not Direction.CLIMB:
            return False  # such as the source's own weights, which are written first
        with lock:
            name = f"{state.intent.to_share:g} {edge}"
            if name in struck:
                return False
            struck.append(name)
            stage.replicas[stage.leader()].kill()
            return True

    stage.cloud.strike = strike
    stage.run()
    deadline = time.monotonic() + 3 * DEADLINE_SECONDS
    while (state := stage.state()) is None or state.phase is not Phase.COMPLETED or state.intent is not None:
        assert time.monotonic() < deadline, f"struck {struck}; {stage.told()}"
        for name in NAMES:
            if not stage.replicas[name].running:
                stage.run(name, ready=False)
        time.sleep(0.1)

    assert struck == ["50 arrives", "50 accepted", "100 arrives", "100 accepted"]
    assert stage.climbs() == [50, 100]
    assert len({record.epoch for record in stage.history() if record.epoch}) > 1
    assert_whole(stage)


def test_a_killed_leader_is_followed_within_lease_write_budget_and_two_polls(slow: Replicas) -> None:
    slow.run()
    first = slow.until_somebody_leads()
    before = int(slow.lease()["leaseTransitions"])

    killed_at = time.monotonic()
    slow.replicas[first].kill()
    second = slow.until_somebody_leads(first)
    took = time.monotonic() - killed_at

    assert second != first
    assert int(slow.lease()["leaseTransitions"]) == before + 1
    assert took <= HAND_OVER_SECONDS + NOTICE_SECONDS


def test_a_leader_that_is_told_to_stop_hands_over_without_anybody_waiting_for_its_lease(slow: Replicas) -> None:
    slow.run()
    first = slow.until_somebody_leads()

    told_at = time.monotonic()
    slow.replicas[first].ask_to_stop()
    slow.until_somebody_leads(first)
    took = time.monotonic() - told_at

    assert slow.replicas[first].wait(DEADLINE_SECONDS) == 0
    assert took <= HAND_OVER_SECONDS + NOTICE_SECONDS


@pytest.mark.fault(
    on="process",
    fault="the leading replica is frozen for longer than its lease (SIGSTOP, a suspended machine)",
    does="the other one leads; the late one writes nothing more and stands by",
    sees="`service.lost`, in the log of the one that was late",
    safe_within="lease + write budget + 2 polls (48 s)",
)
def test_a_frozen_leader_comes_back_as_a_standby_and_writes_nothing(slow: Replicas) -> None:
    slow.run()
    first = slow.until_somebody_leads()
    slow.until_share(50)

    slow.replicas[first].freeze()
    second = slow.until_somebody_leads(first)
    writes = len(slow.cloud.log)
    slow.replicas[first].thaw()
    slow.until(lambda: slow.lines("service.lost", of=first), "it does not notice that it was late")

    slow.until(lambda: slow.leads(second), "the second one does not go on leading")
    assert not slow.leads(first)
    assert len(slow.cloud.log) == writes
    assert_whole(slow)


@pytest.mark.fault(
    on="Kubernetes",
    fault="the API server is gone in the middle of a migration, and Istio fails",
    does="no climb; goes back to 0 % all the same, and saves it when the API server is back",
    sees="hold `lease`; `store.problem`; the next report says that it is rolled back",
    safe_within="two ticks, and 5 s if it hangs instead of refusing",
)
@pytest.mark.parametrize("way", ["stopped", "frozen"])
def test_a_rollback_happens_while_the_api_server_is_gone(slow: Replicas, way: str) -> None:
    slow.run()
    slow.until_somebody_leads()
    slow.until_share(50)
    apiserver = slow.plane.apiserver

    (apiserver.kill if way == "stopped" else apiserver.freeze)()
    slow.meshes[TARGET_MESH].fail(60)
    took = seconds_until_back(slow)
    still_gone = not slow.plane.is_ready()
    slow.plane.mend()
    slow.until_phase(Phase.ROLLED_BACK)

    assert still_gone
    assert took <= (SILENCE_SECONDS if way == "frozen" else 0) + 2 * TICK_SECONDS + NOTICE_SECONDS
    assert slow.shares()[-1] == 0
    assert_whole(slow)


@pytest.mark.fault(
    on="Kubernetes",
    fault="the API server is gone for a minute in the middle of a climb, and Istio fails meanwhile",
    does="nothing climbs; goes back to 0 % all the same; afterwards the history has it, and `retry` begins again",
    sees="hold `lease`; afterwards the rollback with its reason and its time, and no drift",
    safe_within="two ticks",
)
@pytest.mark.timeout(240)  # a minute of which is waited
def test_a_minute_without_an_api_server_costs_neither_the_rollback_nor_its_history(steady: Replicas) -> None:
    steady.run("shifter-a")  # alone: of two, either may be the first to save again
    steady.until_share(50)

    steady.plane.apiserver.kill()
    gone_at, gone = time.monotonic(), datetime.now(UTC)
    time.sleep(AWAY_SECONDS / 4)  # what is waited for is that nothing happens
    before = steady.share()
    steady.meshes[TARGET_MESH].fail(60)
    took = seconds_until_back(steady)
    time.sleep(max(0.0, gone_at + AWAY_SECONDS - time.monotonic()))
    still_gone, meanwhile = not steady.plane.is_ready(), steady.shares()
    steady.meshes[TARGET_MESH].fail(0)
    steady.plane.mend()
    back = datetime.now(UTC)
    steady.until_phase(Phase.ROLLED_BACK)
    told = [record for record in steady.history() if gone < record.at < back]
    retried = steady.type("ann", "retry", "shop", "--reason", "it was mended")
    steady.until_phase(Phase.COMPLETED)

    assert still_gone
    assert (before, meanwhile) == (50, [0, 50, 0])
    assert took <= 2 * TICK_SECONDS + NOTICE_SECONDS
    assert [record.what for record in told if record.what is not What.HOLDS] == [
        *(What.PHASE, What.INTENT, What.DONE, What.PHASE)
    ], "the rollback is told as of when it was"
    assert all(record.evidence["to"] == 0 for record in told if record.what in {What.INTENT, What.DONE})
    assert not any("drift" in record.reason for record in steady.history())
    assert retried.returncode == 0, retried.stderr
    assert steady.climbs() == [50, 50, 100]
    assert_whole(steady)


@pytest.mark.fault(
    on="Kubernetes",
    fault="the API server is gone, Istio fails, and the leader that went back dies before it could save that",
    does="the next leader takes the share over that it finds, which is 0 %, and raises none before a retry",
    sees="`rolled back: found at 0 % at the start: shifter went back while nothing could be saved`",
    safe_within="at once",
)
def test_a_rollback_that_nobody_could_save_is_taken_over_by_the_next_leader(slow: Replicas) -> None:
    slow.run()
    first = slow.until_somebody_leads()
    slow.until_share(50)

    slow.plane.apiserver.kill()
    slow.meshes[TARGET_MESH].fail(60)
    seconds_until_back(slow)
    slow.replicas[first].kill()
    slow.plane.mend()
    slow.until_phase(Phase.ROLLED_BACK)

    assert slow.leader() != first
    assert slow.shares() == [0, 50, 0]
    assert "found at 0 % at the start" in slow.told()
    assert not any("drift" in record.reason for record in slow.history())
    assert_whole(slow)


@pytest.mark.fault(
    on="Kubernetes",
    fault="etcd is at its quota: the API server answers and writes nothing; and Istio fails",
    does="no climb; goes back to 0 % all the same, and saves it when there is room",
    sees="hold `lease`; `shop cannot be saved: ... etcdserver: mvcc: database space exceeded`",
    safe_within="two ticks",
)
def test_a_rollback_happens_while_the_api_server_answers_but_writes_nothing(stage: Replicas) -> None:
    stage.run()
    stage.until_share(50)

    stage.plane.fill_up()
    time.sleep(4 * stage.soak_seconds)  # what is waited for is that nothing happens
    before = stage.share()
    stage.meshes[TARGET_MESH].fail(60)
    took = seconds_until_back(stage)
    stage.plane.make_room()
    stage.until_phase(Phase.ROLLED_BACK)

    assert before == 50
    assert took <= 2 * TICK_SECONDS + NOTICE_SECONDS
    said = [line["reason"] for name in NAMES for line in stage.lines("shift.error", of=name)]
    assert "shop cannot be saved: etcdserver: mvcc: database space exceeded" in said
    assert_whole(stage)


def test_a_shift_that_is_deleted_in_mid_flight_goes_back_all_the_same(slow: Replicas) -> None:
    slow.run("shifter-a")
    slow.until_share(50)

    slow.plane.kubectl("root", "delete", "shift", "shop", "-n", slow.namespace, "--wait=false")
    kept = slow.api.get(SHIFTS, slow.namespace, "shop")["metadata"]
    slow.meshes[TARGET_MESH].fail(60)
    took = seconds_until_back(slow)

    assert "deletionTimestamp" in kept
    assert took <= 2 * TICK_SECONDS + NOTICE_SECONDS


def test_a_shift_that_was_let_go_is_begun_anew_with_its_pause_and_goes_back_by_an_order(slow: Replicas) -> None:
    slow.run("shifter-a")
    slow.until_share(50)
    paused = slow.type("ann", "pause", "shop", "--reason", "lunch", "--wait")
    before = slow.api.get(SHIFTS, slow.namespace, "shop")["metadata"]["uid"]

    def begun_anew() -> bool:
        found = slow.store.load().get("shop")
        return found is not None and slow.api.get(SHIFTS, slow.namespace, "shop")["metadata"]["uid"] != before

    where = ("-n", slow.namespace)
    slow.plane.kubectl("root", "delete", "shift", "shop", *where, "--wait=false")
    patch = '--patch={"metadata":{"finalizers":null}}'
    slow.plane.kubectl("root", "patch", "shift", "shop", *where, "--type=merge", patch)
    rollback = slow.type("ann", "rollback", "shop", "--yes", "--reason", "it is gone")
    slow.until(begun_anew, "nobody begins it anew")
    state = slow.store.load()["shop"].state
    slow.until(lambda: slow.share() == 0, "nobody obeys")

    assert (paused.returncode, rollback.returncode) == (0, 0), rollback.stderr
    assert state.paused is not None
    assert all(examined(slow.store, of).sound for of in slow.store.chains())


@pytest.mark.fault(
    on="Kubernetes",
    fault="the namespace is deleted in the middle of a migration, with the service's account and rights",
    does="nobody leads any more, so that nothing climbs; the processes go on",
    sees="hold `lease`; the lease cannot be renewed: ... is forbidden, or `Unauthorized`, or it was deleted",
    safe_within="deadline",
)
def test_nothing_climbs_in_a_namespace_that_is_being_deleted(slow: Replicas) -> None:
    slow.run()
    slow.until_share(50)
    writes = len(slow.cloud.log)

    slow.plane.kubectl("root", "delete", "namespace", slow.namespace, "--wait=false")
    slow.until(lambda: not any(slow.leads(name) for name in NAMES), "somebody leads in a namespace that goes")

    assert len(slow.cloud.log) == writes
    assert all(slow.replicas[name].running and slow.ask_of(name, "/livez")[0] == 200 for name in NAMES)
    assert not any("exception" in line for name in NAMES for line in slow.lines(of=name))


def test_nothing_climbs_while_the_api_server_is_gone(stage: Replicas) -> None:
    stage.run("shifter-a")
    stage.until_share(50)

    stage.plane.apiserver.kill()
    before = stage.share()
    time.sleep(4 * stage.soak_seconds)  # what is waited for is that nothing happens
    during = stage.share()
    stage.plane.mend()
    stage.until_phase(Phase.COMPLETED)

    assert (before, during) == (50, 50)
    assert_whole(stage)


def test_etcd_killed_and_started_again_costs_nothing(stage: Replicas) -> None:
    stage.run("shifter-a")
    stage.until_share(50)

    stage.plane.restart_etcd()
    stage.until_phase(Phase.COMPLETED)

    assert_whole(stage)


@pytest.mark.fault(
    on="Kubernetes",
    fault="a connection is cut without a word (a firewall that forgot it)",
    does="every call and every watch ends by itself; orders are listed besides; the lease is lost or kept in time",
    sees="`service.lost`, and the other replica leads",
    safe_within="lease + write budget + 2 polls (48 s)",
)
def test_a_leader_whose_connections_are_silent_gives_the_lease_up_and_the_other_leads(slow: Replicas) -> None:
    slow.run()
    first = slow.until_somebody_leads()
    slow.until_share(50)

    slow.wires[first].swallow()
    second = slow.until_somebody_leads(first)
    alone = not slow.leads(first)
    slow.wires[first].mend()
    slow.until(lambda: slow.lines("service.lost", of=first), "it does not notice that somebody else leads")

    assert alone
    slow.until(lambda: slow.leads(second), "the second one does not go on leading")


def test_an_order_is_noticed_after_all_connections_went_silent_once(slow: Replicas) -> None:
    slow.run("shifter-a")
    slow.until_share(50)

    slow.wires["shifter-a"].forget()
    told = slow.type("ann", "rollback", "shop", "--yes", "--reason", "drill")

    assert told.returncode == 0, told.stderr
    slow.until_phase(Phase.ROLLED_BACK)


def test_an_expired_token_is_told_and_nobody_leads_with_it(slow: Replicas) -> None:
    slow.run("shifter-a", token_seconds=-60.0, ready=False)

    slow.until(lambda: slow.ask_of("shifter-a", "/livez")[0] == 200, "it does not stand by")
    slow.until(lambda: "Unauthorized" in slow.ask_of("shifter-a", "/readyz")[1], "it does not say why")

    assert slow.ask_of("shifter-a", "/readyz")[0] == 503
    assert slow.cloud.log == []


def test_orders_by_the_command_line_carry_the_verified_name_and_are_answered(slow: Replicas) -> None:
    slow.run("shifter-a")
    slow.until_share(50)

    told = slow.type("ann", "pause", "shop", "--reason", "lunch", "--wait")
    refused = slow.type("vic", "pause", "shop", "--reason", "lunch")
    seen = slow.type("vic", "get", "shop")

    assert told.returncode == 0, told.stderr
    assert refused.returncode == 4
    assert "vic may not pause shop" in refused.stderr
    assert "kubectl create role" in refused.stderr
    assert seen.returncode == 0, seen.stderr
    orders = [record for record in slow.history() if record.what is What.ORDER]
    assert [(record.by, "pause" in record.reason) for record in orders] == [("ann", True)]


def test_an_acknowledged_pause_is_kept_by_the_next_leader(stage: Replicas) -> None:
    stage.run()
    first = stage.until_somebody_leads()
    stage.until_share(50)
    told = stage.type("ann", "pause", "shop", "--reason", "lunch", "--wait")
    share = stage.share()

    stage.replicas[first].kill()
    stage.until_somebody_leads(first)
    time.sleep(3 * stage.soak_seconds)  # what is waited for is that nothing happens

    assert told.returncode == 0, told.stderr
    assert stage.share() == share
