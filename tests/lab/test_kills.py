"""The kill drill: nothing is left out of it, nothing that it saw is forgotten, and on real parts it is got over."""

import io
import json
import os
import random
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from shifter.cli.main import cli
from shifter.core.deciding.holds import HoldKind
from shifter.core.phases import Phase
from shifter.core.records import NewRecord, Record, What
from shifter.core.state import HoldReport, Report
from shifter.errors import ConfigError
from shifter.lab.account import REGION, SECRET_ID, SECRET_KEY, TARGET_POD_PORT, open_account
from shifter.lab.checker.findings import Finding, Violation
from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import EVERYBODY, Bounds, Seen, UserSecond
from shifter.lab.emulator import Emulator, RuleKey, TargetKey
from shifter.lab.failpoints import CALLS, FAILPOINTS, Act
from shifter.lab.free_ports import LOOPBACK, reserve_ports
from shifter.lab.kills import verdict
from shifter.lab.kills.conduct import Outcome, words_of
from shifter.lab.kills.members import Members
from shifter.lab.kills.movers import Ask, Fall, ask_for, ask_to_end
from shifter.lab.kills.plan import NEEDS, Moment, Need, Part, plan
from shifter.lab.kills.run import BALANCER_OF, KILL_PACE, KillOptions, run
from shifter.lab.kills.verdict import Drill, kill_report
from shifter.lab.kills.watch import OpenWrite, endings, open_writes, told_since
from shifter.lab.processes import ProcessSpec, Supervisor
from shifter.lab.stage import Stage
from shifter.lab.topology import Namespace, lay_out, ports_needed

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ANSWER_SECONDS = 10.0
BACK, UP, DONE, UNDER_WAY = Phase.ROLLED_BACK, Phase.SHIFTING, Phase.COMPLETED, Phase.ROLLING_BACK


def quiet() -> Console:
    return Console(file=io.StringIO(), width=160, force_terminal=False)


def a_report(name: str, phase: Phase, written: float | None = 0.0, hold: HoldKind | None = None, at: int = 0) -> Report:
    holds = () if hold is None else (HoldReport(kind=hold, reason="why"),)
    return Report(
        name=name, at=NOON + timedelta(seconds=at), mode="act", namespaces=(name,), phase=phase, since=NOON, step=0,
        steps=(10.0, 100.0), wanted=0.0, written=written, observed=None, attempt=1, decision="hold", reason="why",
        verdict="pass", holds=holds,
    )  # fmt: skip


def reports(**phases: tuple[Phase, float]) -> dict[str, Report]:
    return {name: a_report(name, phase, written) for name, (phase, written) in phases.items()}


def a_record(number: int, shift: str, what: What, sequence: int, **evidence: object) -> Record:
    return Record(number, NewRecord(NOON, shift, what, "shifter", "why", sequence, 1, evidence))


def test_every_failpoint_is_killed_at_exactly_once() -> None:
    kills = [moment for moment in plan() if moment.act is Act.KILL]
    deaths = [name for moment in kills for name in (moment.name, moment.again) if name]

    assert sorted(deaths) == sorted(FAILPOINTS)
    assert set(NEEDS) == set(CALLS)


def test_what_is_only_met_by_a_start_is_met_while_something_is_taken_up() -> None:
    again = {moment.again.partition(":")[0] for moment in plan() if moment.again}

    assert again == {call for call, need in NEEDS.items() if need is Need.START}


def test_the_service_both_prometheus_and_the_emulator_are_frozen() -> None:
    stopped = [moment for moment in plan() if moment.act is Act.STOP]

    assert {moment.part for moment in stopped} == {None, *Part}
    assert all(moment.name in FAILPOINTS for moment in stopped if moment.part is None)


def test_a_part_of_the_drill_can_be_named_and_what_does_not_exist_is_refused() -> None:
    chosen = plan(["store.report:before", "store.load:after", "istio"])

    assert [str(moment) for moment in chosen] == [
        "kill -9 at store.report:before, again at metrics.past:before",
        "kill -9 at store.save.retreat:after, again at store.load:after",
        "SIGSTOP at istio's Prometheus",
    ]
    with pytest.raises(ValueError, match=r"begins with 'store\.sve'"):
        plan(["store.report", "store.sve"])


def test_a_drill_of_nothing_is_a_usage_error_that_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no failpoint, and nothing else that freezes, begins with 'nope'"):
        run(KillOptions(1, tmp_path / "kill.json", tmp_path / "lab", ("nope",)), quiet())

    assert list(tmp_path.iterdir()) == []


def test_the_command_line_refuses_it_in_one_sentence(tmp_path: Path) -> None:
    ran = CliRunner().invoke(cli, ["lab", "kill", "--only", "nope", "--directory", str(tmp_path / "lab")])

    assert ran.exit_code == 2
    assert ran.stderr == "error: no failpoint, and nothing else that freezes, begins with 'nope'\n"


@pytest.mark.parametrize(
    ("need", "found", "asked"),
    [
        (Need.NOTHING, reports(pay=(UP, 10)), None),
        (Need.CLIMB, {}, None),
        (Need.CLIMB, reports(pay=(UP, 50), shop=(UP, 10)), Ask("promote", "shop")),
        (Need.CLIMB, reports(pay=(UP, 100), shop=(BACK, 0)), Ask("retry", "shop")),
        (Need.CLIMB, reports(pay=(DONE, 100), shop=(DONE, 100)), Ask("rollback", "shop", ("--yes",))),
        (Need.CLIMB, reports(pay=(UNDER_WAY, 10)), None),
        (Need.FAILURE, reports(pay=(Phase.WAITING, 0)), Ask("promote", "pay")),
        (Need.OPENING, reports(pay=(UP, 10), shop=(Phase.WAITING, 0)), None),
        (Need.OPENING, reports(pay=(UP, 50), shop=(UP, 10)), Fall("shop")),
        (Need.FALL, reports(pay=(UP, 50), shop=(UP, 100), search=(UNDER_WAY, 10)), Fall("pay")),
        (Need.FALL, reports(pay=(UP, 100), shop=(BACK, 0)), Ask("retry", "shop")),
        (Need.FALL, reports(pay=(DONE, 100)), Ask("rollback", "pay", ("--yes",))),
        (Need.FALL, {"pay": a_report("pay", UP, 10, HoldKind.FREEZE)}, Ask("unfreeze", EVERYBODY, ("--yes",))),
        (Need.RETREAT, reports(pay=(UP, 50), shop=(DONE, 100)), Ask("rollback", "shop", ("--yes",))),
        (Need.RETREAT, reports(pay=(UP, 0), shop=(BACK, 0)), Ask("promote", "pay")),
        (Need.RETREAT, reports(pay=(BACK, 0)), Ask("retry", "pay")),
        (Need.ORDER, reports(pay=(UP, 0)), Ask("pause", "pay")),
        (Need.ORDER, {"pay": a_report("pay", UP, hold=HoldKind.PAUSE)}, Ask("resume", "pay")),
        (Need.FREEZE, reports(pay=(UP, 0)), Ask("freeze", EVERYBODY)),
        (Need.FREEZE, {"pay": a_report("pay", UP, hold=HoldKind.FREEZE)}, Ask("unfreeze", EVERYBODY, ("--yes",))),
        (Need.CLIMB, {"pay": a_report("pay", UP, hold=HoldKind.FREEZE)}, Ask("unfreeze", EVERYBODY, ("--yes",))),
    ],
)
def test_what_is_needed_is_done_to_whom_it_can_be(need: Need, found: Mapping[str, Report], asked: Ask | Fall) -> None:
    assert ask_for(need, found) == asked


def test_new_weights_for_the_same_share_are_met_at_the_first_write_and_at_a_share_that_fell() -> None:
    needs = {moment.name.partition(":")[0]: moment.need for moment in plan(["store.save.keep", "provider.submit.keep"])}

    assert needs == {"store.save.keep": Need.OPENING, "provider.submit.keep": Need.FALL}


class Cloud(Stage):
    """A stage of which only the account and its balancers exist; the target has half of the traffic."""

    def __init__(self) -> None:
        namespaces = (Namespace("shop"),)
        topology = lay_out(namespaces, range(20_000, 20_000 + ports_needed()))
        self._account = open_account(namespaces, {"shop": "lb-1"}, topology.gateways)
        self._emulator = Emulator(
            balancers=self._account.balancers, region=REGION, secret_id=SECRET_ID, secret_key=SECRET_KEY,
            clock=time.time, rng=random.Random(1),  # noqa: S311 - the dice of a cloud that nobody asks
            task_delay_seconds=(0, 0), on_change=lambda _: None,
        )  # fmt: skip
        self.plane: Any = SimpleNamespace(topology=topology)
        keys = self.weights()
        self._emulator.edit_weights(*self.place, {key: 20 if key.port == TARGET_POD_PORT else 30 for key in keys})

    @property
    def place(self) -> tuple[str, str, str]:
        place = self.account.places["shop"]
        return place.balancer, place.listener, place.location

    def weights(self) -> dict[TargetKey, int]:
        balancer, listener, location = self.place
        rule = self.emulator.balancer(balancer).rule(RuleKey(listener, location))
        return {target.key: target.weight for target in rule.targets}

    def share(self) -> float:
        weights = self.weights()
        to_target = sum(weight for key, weight in weights.items() if key.port == TARGET_POD_PORT)
        return 100 * to_target / sum(weights.values())


def test_a_member_of_the_target_that_goes_makes_the_share_fall_and_comes_back_as_one_that_knows_nothing() -> None:
    cloud = Cloud()
    members = Members(cloud)
    before = cloud.weights()

    members.move("shop")
    fell = cloud.share()
    again = members.bring_all_back(), members.bring_all_back()

    assert fell == pytest.approx(40)
    assert again == (True, False)
    assert cloud.weights().keys() == before.keys()
    assert cloud.share() == pytest.approx(100 * 50 / 110)
    (gone,) = members.incidents
    assert (gone.kind, gone.namespaces) == (str(Kind.GONE), frozenset({"shop"}))
    assert gone.began_at <= gone.ended_at
    assert [note.alive for note in members.health] == [True]


def test_a_share_that_is_to_fall_once_more_has_its_member_back_first() -> None:
    cloud = Cloud()
    members = Members(cloud)
    known = len(cloud.weights())

    left = []
    for _ in range(3):
        members.move("shop")
        left.append(len(cloud.weights()))

    assert left == [known - 1, known, known - 1]
    assert len(members.incidents) == 1


@pytest.mark.parametrize(
    ("report", "asked"),
    [
        (a_report("pay", UP, 10), None),
        (a_report("pay", DONE, 100), None),
        (a_report("pay", BACK), Ask("retry", "pay")),
        (a_report("pay", BACK, hold=HoldKind.PAUSE), Ask("resume", "pay")),
        (a_report("pay", UP, 10, hold=HoldKind.FREEZE), Ask("unfreeze", EVERYBODY, ("--yes",))),
    ],
)
def test_in_the_end_only_what_stands_in_the_way_is_asked_for(report: Report, asked: Ask | None) -> None:
    assert ask_to_end(report) == asked


def test_a_write_is_open_from_its_intent_to_its_own_end() -> None:
    history = [
        a_record(1, "shop", What.INTENT, 1, **{"from": 0.0, "to": 10.0}),
        a_record(2, "pay", What.INTENT, 1, **{"from": 10, "to": 50}),
        a_record(3, "shop", What.DONE, 1),
        a_record(4, "shop", What.INTENT, 2, **{"from": 10.0, "to": 0.0}),
        a_record(5, "pay", What.FAILED, 7),
        a_record(6, "pay", What.PHASE, 1),
    ]

    at = NOON.timestamp()
    assert open_writes(history) == (OpenWrite("pay", 1, 10, 50, at), OpenWrite("shop", 2, 10, 0, at))
    assert endings(open_writes(history), history) is None
    assert endings((OpenWrite("shop", 1, 0, 10),), history) == ("shop 0 → 10 %: done",)
    assert endings((), history) == ()


def test_the_service_has_told_again_once_it_has_told_of_all() -> None:
    at = NOON.timestamp()
    both = {"pay": a_report("pay", UP, at=5), "shop": a_report("shop", UP, at=2)}

    assert told_since(at + 1, ("pay", "shop"), both)
    assert not told_since(at + 2, ("pay", "shop"), both)
    assert not told_since(at + 1, ("pay", "shop", "search"), both)


BOUNDS = Bounds(1, 8, 6, 2, 4, 15, 5, 10)
MOMENT = Moment("store.report:before", Act.KILL, Need.NOTHING, again="store.load:after")
GOOD = Drill(
    outcomes=(Outcome(MOMENT, hit=True, seconds=1.5, ends=("shop 0 → 10 %: done",), took_seconds=2.5),),
    seen=Seen(100, 110, 120, BOUNDS, ("shop",), frozenset({30080}), seconds=(UserSecond(101, "shop", 9, 0, {}),)),
    findings=(Finding("rule", 3),),
    ended=True,
    shares={"shop": 100.0},
)


def test_a_drill_that_was_got_over_is_ok() -> None:
    report = kill_report(GOOD, 7)

    assert (report["verdict"], report["seed"], report["seconds"], report["requests"]) == ("ok", 7, 20, 9)
    assert report["spent"] == {"killing": 2.5, "freezing": 0, "recovering": 1.5, "ending": 10}
    assert report["moments"] == [
        {
            "name": "store.report:before",
            "act": "kill -9",
            "again": "store.load:after",
            "hit": True,
            "tookSeconds": 2.5,
            "recoveredAfterSeconds": 1.5,
            "ends": ["shop 0 → 10 %: done"],
        }
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"outcomes": (*GOOD.outcomes, Outcome(MOMENT, hit=False, seconds=None))},
        {"outcomes": (*GOOD.outcomes, Outcome(MOMENT, hit=True, seconds=None))},
        {"findings": (Finding("rule", 3, (Violation("rule", 104, "shop", "it rose"),)),)},
        {"ended": False},
        {"shares": {"shop": 50.0}},
    ],
    ids=["never reached", "not recovered", "a rule broken", "not ended", "ended elsewhere"],
)
def test_a_drill_fails_by_any_one_thing(change: dict[str, Any]) -> None:
    told = quiet()

    report = kill_report(replace(GOOD, **change), 7)
    verdict.closing(told, report)

    assert report["verdict"] == "failed"
    assert isinstance(told.file, io.StringIO)
    assert "✖ verdict: failed" in told.file.getvalue()


def test_an_outcome_is_a_line() -> None:
    never = Outcome(MOMENT, hit=False, seconds=None)

    assert words_of(never) == "kill -9 at store.report:before, again at store.load:after: never reached"
    assert words_of(replace(never, hit=True)).endswith(": did not recover")
    assert words_of(replace(never, hit=True, seconds=2)).endswith(": recovered after 2.0 s; nothing was under way")
    assert words_of(GOOD.outcomes[0]).endswith(": recovered after 1.5 s; shop 0 → 10 %: done")


@pytest.fixture
def served() -> Iterator[socket.socket]:
    with closing(socket.create_server((LOOPBACK, 0))) as server:
        server.settimeout(ANSWER_SECONDS)
        yield server


def test_a_frozen_relay_takes_what_comes_and_passes_it_on_late(tmp_path: Path, served: socket.socket) -> None:
    rng = random.Random()  # noqa: S311 - only where to look for a port
    with Supervisor(tmp_path, dict(os.environ)) as supervisor, reserve_ports(1, rng) as reserved:
        (port,) = reserved.ports
        argv = (sys.executable, "-m", "shifter.lab.relay", str(port), str(served.getsockname()[1]))
        relay = supervisor.start(ProcessSpec("relay", argv))
        client = connected(port)
        inside, _ = served.accept()
        with closing(client), closing(inside):
            inside.settimeout(0.3)
            relay.freeze()
            client.sendall(b"write")
            with pytest.raises(TimeoutError):
                inside.recv(10)
            relay.thaw()
            inside.settimeout(ANSWER_SECONDS)
            late = inside.recv(10)
            inside.sendall(b"done")
            client.shutdown(socket.SHUT_WR)
            answered, ended = client.recv(10), inside.recv(10)

    assert (late, answered, ended) == (b"write", b"done", b"")


def connected(port: int) -> socket.socket:
    """Connect as soon as somebody listens."""
    for _ in range(200):
        try:
            return socket.create_connection((LOOPBACK, port), timeout=ANSWER_SECONDS)
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise AssertionError("nobody listens")


@pytest.mark.timeout(300)
def test_a_service_killed_and_stopped_after_its_write_was_taken_goes_on_and_every_rule_holds(tmp_path: Path) -> None:
    told = quiet()
    options = KillOptions(5, tmp_path / "reports" / "kill.json", tmp_path / "lab", ("provider.submit.climb:after",))

    code = run(options, told)

    found = json.loads(options.report.read_text())
    assert found["violations"] == []
    assert [(row["act"], row["hit"]) for row in found["moments"]] == [("kill -9", True), ("SIGSTOP", True)]
    assert all(row["recoveredAfterSeconds"] is not None for row in found["moments"])
    assert found["shares"] == dict.fromkeys(BALANCER_OF, 100.0)
    assert (code, found["verdict"], found["lives"], found["failedRequests"]) == (0, "ok", 3, 0)


def test_the_load_of_a_drill_is_below_200_requests_a_second() -> None:
    assert len(BALANCER_OF) * KILL_PACE.requests_per_second < 200
