"""`get`, `describe` and `history`: what people see, and the documents that programs rely on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from shifter.adapters.sqlite import SqliteLease
from shifter.cli.main import cli
from shifter.core.analysis.learning import History, MetricHistory
from shifter.core.analysis.measures import metrics_of
from shifter.core.analysis.standing import Standing, begin
from shifter.core.deciding.orders import OrderRequest, Verb
from shifter.core.documents.criteria import Analysis, AnswerRules
from shifter.core.phases import Phase
from shifter.core.records import SERVICE, NewRecord, What
from shifter.core.state import Ceiling, Direction, FindingReport, HoldReport, Intent, Pause
from shifter.errors import StoreUnavailableError
from shifter.wiring import is_served, open_store
from tests.cli.conftest import a_finding

if TYPE_CHECKING:
    from tests.cli.conftest import World

GOLDEN = Path(__file__).parent / "golden"


def _intent(world: World) -> Intent:
    return Intent(
        sequence=3,
        epoch=4,
        direction=Direction.CLIMB,
        from_share=25,
        to_share=100,
        reason="to 100 %: pass",
        by=SERVICE,
        created_at=world.now,
        deadline=world.now + timedelta(minutes=2),
        before={},
        weights={},
    )


def _record(world: World, reason: str, **changes: Any) -> NewRecord:  # noqa: ANN401 - any field
    return NewRecord(
        **{"at": world.now, "shift": "shop", "what": What.INTENT, "by": SERVICE, "reason": reason, **changes}
    )


def _full(world: World, paused: HoldReport) -> None:
    """A shift of which everything is known."""
    dropped = {"istio gw-2": "it was first seen in this tick"}
    world.shift(holds=(paused,), warnings=("session persistence 30 s",), failure="it failed at 50 %", dropped=dropped)
    world.state(
        paused=Pause(by="ann@desk", reason="lunch", at=world.now - timedelta(minutes=1)),
        ceiling=Ceiling(share=50, reason="istio fails 3.1 % against tcm 0.4 %", at=world.now),
        standing=_learnt(),
    )
    world.record(_record(world, "to 25 %: pass", sequence=2, epoch=4, evidence={"requests": {"tcm": 10.0}}))
    world.store.create_order(
        OrderRequest("shop", Verb.PROMOTE, "bob@desk", "hurry", full=True, override=True), world.now
    )


def _learnt() -> Standing:
    """What an hour at 0 % showed: errors alone, and one latency edge whose failures come in clusters."""
    metrics = metrics_of(Analysis(answers=AnswerRules(codes=())), (250.0,))
    learnt = (
        MetricHistory("errors", 0.004, 12000, 1.0, halves=True),
        MetricHistory("over 250 ms", 0.01, 11990, 2.0, halves=False),
    )
    return begin(metrics, History(240, 12000, 50, (250.0,), learnt), 1)


def test_get_lists_every_shift_on_one_line(world: World, paused: HoldReport) -> None:
    world.shift(holds=(paused,))
    world.state("cart")
    ran = world.run("get")

    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        "SHIFT   PHASE      SPLIT               STEP   VERDICT     HOLDS   AGE",
        "cart    Waiting    tcm 100 · istio 0   0/3    no signal   -       1h",
        "shop    Shifting   tcm 75 · istio 25   2/3    pass        pause   12m",
    ]


def test_get_wide_adds_what_was_observed_and_why(world: World) -> None:
    world.shift()
    world.shift("cart", observed=None, harm=None)
    ran = world.run("get", "-o", "wide")

    header, cart, shop = ran.stdout.splitlines()
    assert header.split()[-4:] == ["OBSERVED", "ODDS", "ATTEMPT", "REASON"]
    assert "24.8 %     1:2.4   1         soaking at tcm 75 · istio 25" in shop
    assert " ?          -       1 " in cart


def test_get_takes_names_in_their_order(world: World) -> None:
    for name in ("cart", "pay", "shop"):
        world.shift(name)

    assert world.run("get", "shop", "cart", "-o", "name").stdout == "shift/shop\nshift/cart\n"


def test_get_on_a_terminal_shows_the_same(world: World) -> None:
    world.shift()
    world.terminal = True

    assert "tcm 75 · istio 25" in world.run("get").stdout


def test_get_of_nothing_says_so_and_is_well(world: World) -> None:
    ran = world.run("get")

    assert (ran.exit_code, ran.stdout) == (0, "")
    assert ran.stderr == "no shifts yet: the service takes them from its policy files\n"
    assert world.json("get")["items"] == []


@pytest.mark.parametrize("command", ["get", "describe", "history", "watch"])
def test_an_unknown_shift_is_not_found_with_a_suggestion(world: World, command: str) -> None:
    world.shift()
    ran = world.run(command, "shp")

    assert (ran.exit_code, ran.stdout) == (3, "")
    assert ran.stderr == "error: no shift 'shp'\nhint: did you mean \"shop\"?\n"


def test_an_unknown_shift_without_a_likeness_gets_the_list(world: World) -> None:
    assert "hint: there are no shifts yet" in world.run("describe", "zzz").stderr
    world.shift("cart")
    world.shift("pay")
    assert "hint: there are: cart, pay" in world.run("describe", "zzz").stderr


@pytest.mark.parametrize("command", [["get"], ["describe", "shop"], ["history"], ["watch", "--for", "1s"]])
def test_a_store_that_does_not_answer_is_unreachable(world: World, command: list[str]) -> None:
    world.shift()
    world.store.down = True
    ran = world.run(*command)

    assert ran.exit_code == 5
    assert ran.stderr.startswith("error: ")


@pytest.mark.parametrize("command", [["get"], ["describe", "shop"]])
def test_old_reports_are_called_old(world: World, command: list[str]) -> None:
    world.shift(ago=600)
    ran = world.run(*command)

    assert ran.exit_code == 0
    assert "note: the service last looked 10m ago: it hangs, or cannot write this store" in ran.stderr


@pytest.mark.parametrize(("promised", "noted"), [(300.0, False), (30.0, True)])
def test_how_old_is_too_old_is_what_the_service_promised(world: World, promised: float, noted: bool) -> None:  # noqa: FBT001 - a table
    world.shift(ago=60, silent_after_seconds=promised)

    assert ("it hangs, or cannot write this store" in world.run("get").stderr) is noted


@pytest.mark.parametrize("command", [["get"], ["describe", "shop"], ["watch", "--for", "1s"]])
def test_a_store_that_no_service_holds_is_called_so_however_fresh_its_reports(world: World, command: list[str]) -> None:
    world.shift()
    world.served = False

    assert world.run(*command).stderr == (
        "note: no service runs on this store: nothing is carried out until one is started; "
        "see runbook 'shifter is dead'\n"
    )


def test_one_fresh_report_shows_that_the_service_runs(world: World) -> None:
    world.shift("cart", ago=600)
    world.shift("shop", ago=30)

    assert world.run("get").stderr == ""


def test_a_shift_long_saved_and_never_looked_at_is_called_so(world: World) -> None:
    world.state()

    assert "the service has not looked yet: it hangs, or cannot write this store" in world.run("get").stderr


def _assert_golden(name: str, text: str) -> None:
    assert text == (GOLDEN / name).read_text(encoding="utf-8")


def test_get_json_is_the_stable_api(world: World, paused: HoldReport) -> None:
    _full(world, paused)
    world.state("cart")

    _assert_golden("get.json", world.run("get", "-o", "json").stdout)


def test_describe_json_is_the_stable_api(world: World, paused: HoldReport) -> None:
    _full(world, paused)

    _assert_golden("describe.json", world.run("describe", "shop", "-o", "json").stdout)


def test_history_json_is_the_stable_api(world: World, paused: HoldReport) -> None:
    _full(world, paused)

    _assert_golden("history.json", world.run("history", "-o", "json").stdout)


@pytest.mark.parametrize("command", [["get"], ["describe", "shop"], ["history"]])
def test_yaml_says_the_same_as_json(world: World, paused: HoldReport, command: list[str]) -> None:
    _full(world, paused)

    assert yaml.safe_load(world.run(*command, "-o", "yaml").stdout) == world.json(*command)


def test_describe_says_why_with_everything_it_rests_on(world: World, paused: HoldReport) -> None:
    _full(world, paused)
    ran = world.run("describe", "shop")

    assert (ran.exit_code, ran.stderr) == (0, "")
    _assert_golden("describe.txt", ran.stdout)


def test_describe_of_a_shift_never_looked_at_says_so(world: World) -> None:
    world.state(since=world.now)
    shown = world.run("describe", "shop").stdout

    assert shown.startswith("shop: the service has not looked at it yet\n")
    assert "looked at   not yet" in shown
    assert "mode        ?" in shown
    assert "soaked" not in shown


def test_describe_says_that_observing_writes_nothing(world: World) -> None:
    world.shift(mode="observe")

    assert "mode        observe: decides and explains, writes nothing" in world.run("describe", "shop").stdout


def test_describe_says_that_there_is_no_baseline_at_full_share(world: World) -> None:
    world.shift(wanted=100, written=100, step=3)

    assert (
        "at istio 100 there is no tcm to compare with: only what its history promised judges"
        in world.run("describe", "shop").stdout
    )


def test_describe_shows_the_newest_records_only(world: World) -> None:
    world.shift()
    for number in range(7):
        world.record(_record(world, f"record {number}"))
    shown = world.run("describe", "shop").stdout

    assert [f"record {number}" in shown for number in range(7)] == [False, False, True, True, True, True, True]


def test_describe_shows_orders_of_this_shift_only(world: World) -> None:
    world.shift()
    world.shift("cart")
    world.store.create_order(OrderRequest("cart", Verb.PAUSE, "ann@desk", ""), world.now)

    assert world.json("describe", "shop")["openOrders"] == []


def _waits(world: World) -> list[str]:
    waits: list[str] = world.json("describe", "shop")["waitsFor"]
    return waits


def test_a_shift_that_soaks_waits_for_the_rest_of_it(world: World) -> None:
    world.shift()

    assert _waits(world) == ["the soak: 2m more of 5m"]


def test_a_shift_that_soaked_waits_for_the_next_tick(world: World) -> None:
    world.shift(soaked_seconds=300.0)

    assert _waits(world) == ["the next tick"]


def test_holds_verdicts_and_orders_are_waited_for(world: World, paused: HoldReport) -> None:
    world.shift(holds=(paused,), verdict="too little traffic", soaked_seconds=300.0)
    world.store.create_order(OrderRequest("shop", Verb.RESUME, "ann@desk", ""), world.now)

    assert _waits(world) == [
        "the service to answer order 1 (resume)",
        "pause to end: by ann@desk: lunch",
        "a verdict of pass; it is: too little traffic",
    ]


def test_a_write_under_way_is_waited_for(world: World) -> None:
    world.shift(soaked_seconds=300.0)
    world.state(intent=_intent(world))

    assert _waits(world) == ["the provider to show tcm 0 · istio 100: to 100 %: pass"]


def test_a_write_under_way_counts_before_it_was_looked_at(world: World) -> None:
    world.state(intent=_intent(world), phase=Phase.SHIFTING, since=world.now)

    assert world.json("get")["items"][0]["share"] == {"wanted": 100.0, "written": None, "observed": None}


@pytest.mark.parametrize(
    ("phase", "waits"),
    [
        (Phase.COMPLETED, "nothing: it is completed, and still observed"),
        (Phase.ROLLED_BACK, "a person: `shifter retry shop` starts over"),
    ],
)
def test_a_shift_at_its_end_waits_for_nobody_or_a_person(world: World, phase: Phase, waits: str) -> None:
    world.shift(phase=phase)

    assert _waits(world) == [waits]


def test_a_shift_on_its_way_back_waits_for_neither_pause_nor_verdict_and_wants_0(
    world: World, paused: HoldReport
) -> None:
    holds = (paused, HoldReport(kind="provider", reason="no answer"))
    world.shift(phase=Phase.ROLLING_BACK, holds=holds, verdict="fail", wanted=0.0)

    assert _waits(world) == ["provider to end: no answer"]
    assert world.json("get")["items"][0]["share"]["wanted"] == 0
    assert "  wanted    tcm 100 · istio 0 " in world.run("describe", "shop").stdout


def test_a_shift_on_its_way_back_without_a_hindrance_waits_for_the_balancer(world: World) -> None:
    world.shift(phase=Phase.ROLLING_BACK, wanted=0.0)

    assert _waits(world) == ["the provider to show tcm 100 · istio 0"]


def test_a_rolled_back_shift_that_is_paused_needs_a_retry_and_a_resume(world: World) -> None:
    world.shift(phase=Phase.ROLLED_BACK)
    world.state(paused=Pause(by="ann@desk", reason="lunch", at=world.now))

    assert _waits(world) == [
        "a person: `shifter retry shop` starts over, and `shifter resume shop`: still paused by ann@desk"
    ]


def test_an_overridden_shift_shows_its_warning(world: World) -> None:
    world.shift(warnings=("promoted with --override: nothing goes back by itself",))

    assert "warnings\n  promoted with --override" in world.run("describe", "shop").stdout


def test_however_many_requests_there_are_a_metric_fits_80_columns(world: World) -> None:
    much = a_finding("over 1000 ms", (123_456_789, 1_234_567), (99_999.6, 54_321), bound=0.025, limit=2.5)
    world.shift(findings=(much,))
    lines = world.run("describe", "shop").stdout.splitlines()
    (header,) = (line for line in lines if line.startswith("  METRIC"))
    row = lines[lines.index(header) + 1]

    assert header.split() == ["METRIC", "TCM", "ISTIO", "TCM", "BAD", "ISTIO", "BAD", "EXCESS", "(95", "%)"]
    assert row == "  over 1000 ms   1 %   54 %    1.23m/123m   54321/100k   < 0.025 %, max 2.5 %"
    assert len(row) <= 80


def test_what_a_guard_saw_is_a_sentence_above_the_metrics(world: World) -> None:
    text = "istio failed 90 of 100 requests in one tick while tcm is well: dead"
    guard = FindingReport(
        metric="dead target", verdict="fail", source=None, target=None, limit=None, unit="", text=text, guard=True
    )
    world.shift(verdict="fail", findings=(guard, *world.report().findings))

    assert f"  dead target: {text}\n  compared, in ticks" in world.run("describe", "shop").stdout


def test_the_verdicts_own_sentence_is_told_where_something_else_is_the_reason(world: World) -> None:
    world.shift(reason="holding: pause: paused by ann: lunch", verdict="fail", said="istio fails 3.1 %")
    world.shift("cart", reason="waiting: too little traffic: istio may fail", said="istio may fail", verdict="x")

    assert "evidence: fail: istio fails 3.1 %\n" in world.run("describe", "shop").stdout
    assert "evidence: x\n" in world.run("describe", "cart").stdout


def test_a_later_attempt_says_why_its_limit_is_higher_and_proof_is_called_proof(world: World) -> None:
    world.shift(attempt=2, harm=240.0, harm_limit=200.0, proven=True)
    shown = world.run("describe", "shop").stdout

    assert "  evidence against istio 240:1 (odds), limit 200:1 (attempt 2: twice that of the one before)\n" in shown
    assert "  proven on every metric: istio is no worse than tcm\n" in shown


def test_what_was_never_learnt_is_not_told(world: World) -> None:
    world.shift()

    assert "learnt of tcm" not in world.run("describe", "shop").stdout
    assert world.json("describe", "shop")["learnt"] is None


def test_history_shows_refused_orders_and_lists_those_not_answered_yet_at_the_end(world: World) -> None:
    world.shift()
    world.store.create_order(
        OrderRequest("shop", Verb.PROMOTE, "ann@desk", "hurry", full=True), world.now - timedelta(minutes=5)
    )
    world.store.create_order(OrderRequest("cart", Verb.PAUSE, "ann@desk", ""), world.now)
    world.record(_record(world, "resume: refused: it was not paused", what=What.ORDER, by="bob@desk"))

    assert world.run("history", "shop").stdout.splitlines()[1:] == [
        "2026-11-20 20:00:00 +08:00   bob@desk   order   resume: refused: it was not paused",
        "2026-11-20 19:55:00 +08:00   ann@desk   order   promote --full (hurry) (not answered yet)",
    ]
    assert "pause (not answered yet)" in world.run("history").stdout


def test_history_shows_when_who_what_and_why(world: World) -> None:
    world.shift()
    world.record(_record(world, "pause (lunch): paused", what=What.ORDER, by="ann@desk"))
    world.now += timedelta(minutes=1)
    world.record(_record(world, "to 25 %: pass", sequence=2, epoch=4))

    assert world.run("history").stdout.splitlines() == [
        "TIME                         SHIFT   WHO        WHAT     REASON",
        "2026-11-20 20:00:00 +08:00   shop    ann@desk   order    pause (lunch): paused",
        "2026-11-20 20:01:00 +08:00   shop    shifter    intent   to 25 %: pass",
    ]
    assert world.run("history", "shop", "-o", "wide").stdout.splitlines()[1:] == [
        "2026-11-20 20:00:00 +08:00   ann@desk   order    1    -     -       pause (lunch): paused",
        "2026-11-20 20:01:00 +08:00   shifter    intent   2    2     4       to 25 %: pass",
    ]


def test_history_is_limited_to_the_newest(world: World) -> None:
    for number in range(5):
        world.record(_record(world, f"record {number}"))

    assert [each["reason"] for each in world.json("history", "--limit", "2")["items"]] == ["record 3", "record 4"]
    assert world.run("history", "--limit", "2").stderr == "the newest 2 of more; --limit shows more of them\n"
    assert world.run("history", "--limit", "5").stderr == ""


def test_history_of_one_shift_leaves_the_others_out(world: World) -> None:
    world.record(_record(world, "mine"))
    world.record(_record(world, "not mine", shift="cart"))

    assert [each["reason"] for each in world.json("history", "shop")["items"]] == ["mine"]


def test_a_known_shift_without_history_is_no_error(world: World) -> None:
    world.shift()
    ran = world.run("history", "shop")

    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "", "no history yet\n")


def test_the_history_of_a_shift_that_is_gone_can_still_be_read(world: World) -> None:
    world.record(_record(world, "long ago", shift="gone"))

    assert "long ago" in world.run("history", "gone").stdout


def test_escape_sequences_in_stored_texts_never_reach_the_terminal(world: World) -> None:
    evil = "\x1b[2Jgone\x9b31m\u202e"
    world.shift(reason=evil, holds=(HoldReport(kind="pause", reason=evil),), warnings=(evil,), failure=evil)
    world.record(_record(world, evil, by=evil))
    world.store.create_order(OrderRequest("shop", Verb.PAUSE, evil, evil), world.now)
    commands = (["get", "-o", "wide"], ["describe", "shop"], ["history"], ["watch", "--for", "1s"])
    machine = (["get", "-o", "json"], ["get", "-o", "yaml"], ["describe", "shop", "-o", "json"])

    shown = "".join(world.run(*command).output for command in (*commands, *machine))
    assert not set(shown) & set("\x1b\x9b\u202e")


def test_a_report_without_a_state_is_shown_too(world: World) -> None:
    world.store.report(world.report())

    assert world.json("describe", "shop")["paused"] is None


def test_the_embedded_store_is_read_and_ordered_from_while_a_service_has_it_open(world: World, tmp_path: Path) -> None:
    path = tmp_path / "shifter.db"
    service = open_store(path)
    try:
        service.save(world.state(), 0)
        service.report(world.report())
        run = [
            CliRunner().invoke(cli, [*line, "--store", str(path)])
            for line in (["get", "-o", "name"], ["pause", "shop"])
        ]
        orders = service.open_orders()
    finally:
        service.close()

    assert [ran.stdout for ran in run] == ["shift/shop\n", "order 1: pause shop recorded; the service will answer\n"]
    assert [order.request.verb for order in orders] == [Verb.PAUSE]


def test_the_store_is_closed_when_the_command_ends(world: World) -> None:
    world.shift()
    world.run("get")

    assert world.closed == 1


def test_a_command_opens_the_store_it_was_told(world: World) -> None:
    world.run("get", "--store", "/a/x.db")

    assert world.opened == [Path("/a/x.db")]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: None, "there is no store at {}"),
        (Path.touch, "{} is empty: no service has written it"),
        (Path.mkdir, "{} is a directory, not a store"),
        (lambda path: path.symlink_to(path.name), "the store at {}: Too many levels of symbolic links"),
    ],
    ids=["nothing", "an empty file", "a directory", "a link to itself"],
)
def test_looking_makes_a_store_of_nothing(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    path = tmp_path / "shifter.db"
    make(path)
    ran = CliRunner().invoke(cli, ["get"], env={"SHIFTER_STORE": str(path)})

    assert (ran.exit_code, ran.stdout) == (5, "")
    assert ran.stderr.startswith(f"error: {said.format(path)}\nhint: ")
    assert not path.is_file() or path.stat().st_size == 0


def test_a_service_runs_on_a_store_while_its_lease_is_held_and_not_after(tmp_path: Path) -> None:
    path = tmp_path / "shifter.db"
    before = is_served(path)
    lease = SqliteLease(path)
    meanwhile = is_served(path)
    lease.release()

    assert (before, meanwhile, is_served(path)) == (False, True, False)
    assert SqliteLease(path).valid()


def test_where_it_cannot_be_told_whether_a_service_runs_one_is_taken_to(tmp_path: Path) -> None:
    (tmp_path / "shifter.db.lock").symlink_to("shifter.db.lock")

    assert is_served(tmp_path / "shifter.db")


def test_a_store_that_cannot_be_opened_is_unreachable(world: World) -> None:
    def fail(path: Path) -> None:
        raise StoreUnavailableError(f"{path}: no")

    world.before_open = fail

    assert world.run("get").exit_code == 5
