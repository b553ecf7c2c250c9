"""Orders: what is recorded, when a person is asked first, and what becomes of waiting for the answer."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shifter.adapters.sqlite import SqliteStore
from shifter.cli.completing import answer_kubectl
from shifter.cli.main import cli
from shifter.cli.placing import LONGEST_REASON
from shifter.cli.session import Session
from shifter.core.deciding.orders import FLEET, Answer, Order, OrderAnswer, OrderRequest, Verb
from shifter.core.state import Approval, FleetState, Freeze
from shifter.errors import RefusedError

if TYPE_CHECKING:
    from tests.cli.conftest import World


def _orders(world: World) -> list[OrderRequest]:
    return [order.request for order in world.store.open_orders()]


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        (["pause", "shop"], OrderRequest("shop", Verb.PAUSE, "ann@desk", "")),
        (["pause", "shop", "--reason", "lunch"], OrderRequest("shop", Verb.PAUSE, "ann@desk", "lunch")),
        (["resume", "shop"], OrderRequest("shop", Verb.RESUME, "ann@desk", "")),
        (["retry", "shop"], OrderRequest("shop", Verb.RETRY, "ann@desk", "")),
        (["promote", "shop"], OrderRequest("shop", Verb.PROMOTE, "ann@desk", "")),
        (["promote", "shop", "--full", "--yes"], OrderRequest("shop", Verb.PROMOTE, "ann@desk", "", full=True)),
        (
            ["promote", "shop", "--full", "--override", "--reason", "tcm is down", "-y"],
            OrderRequest("shop", Verb.PROMOTE, "ann@desk", "tcm is down", full=True, override=True),
        ),
        (["rollback", "shop", "--yes"], OrderRequest("shop", Verb.ROLLBACK, "ann@desk", "")),
        (
            ["promote", "shop", "--to", "25", "--yes"],
            OrderRequest("shop", Verb.PROMOTE, "ann@desk", "", share=25.0),
        ),
        (
            ["pause", "shop", "--hands-off", "--for", "30m", "--reason", "vendor"],
            OrderRequest("shop", Verb.PAUSE, "ann@desk", "vendor", hands_off=timedelta(minutes=30)),
        ),
        (["approve", "shop", "--before", "25"], OrderRequest("shop", Verb.APPROVE, "ann@desk", "", share=25.0)),
        (["approve", "shop"], OrderRequest("shop", Verb.APPROVE, "ann@desk", "")),
        (
            ["reconcile", "shop", "--adopt", "--yes"],
            OrderRequest("shop", Verb.RECONCILE, "ann@desk", "", adopt=True),
        ),
        (["reconcile", "shop", "--restore", "-y"], OrderRequest("shop", Verb.RECONCILE, "ann@desk", "")),
        (["pause", "shop", "--by", "bob@phone"], OrderRequest("shop", Verb.PAUSE, "bob@phone", "")),
        (["pause", "shop", "--reason", "\x1b[31mred\nline "], OrderRequest("shop", Verb.PAUSE, "ann@desk", "red line")),
    ],
)
def test_an_order_is_recorded_and_the_command_ends(world: World, line: list[str], request_: OrderRequest) -> None:
    world.shift()
    ran = world.run(*line)

    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout == f"order 1: {request_.verb} shop recorded; the service will answer\n"
    assert _orders(world) == [request_]


def test_ordering_twice_is_well_both_times(world: World) -> None:
    world.shift()

    assert [world.run("pause", "shop").exit_code for _ in range(2)] == [0, 0]


@pytest.mark.parametrize("verb", [["pause"], ["resume"], ["retry"], ["promote"], ["rollback", "--yes"]])
def test_an_order_for_an_unknown_shift_is_not_found_and_not_recorded(world: World, verb: list[str]) -> None:
    world.shift()
    ran = world.run(*verb, "shp")

    assert (ran.exit_code, ran.stdout) == (3, "")
    assert 'hint: did you mean "shop"?' in ran.stderr
    assert _orders(world) == []


@pytest.mark.parametrize(
    ("line", "plan"),
    [
        (["rollback", "shop"], "roll back shop: tcm 75 · istio 25 → tcm 100 · istio 0 (namespaces: shop, cart)"),
        (["promote", "shop", "--full"], "promote shop: tcm 75 · istio 25 → tcm 0 · istio 100 (namespaces: shop, cart)"),
        (
            ["promote", "shop", "--full", "--override", "--reason", "x"],
            ", cart), whatever the verdict says; from then on nothing goes back by itself until a retry\n",
        ),
        (["promote", "shop", "--to", "50"], "promote shop: tcm 75 · istio 25 → tcm 50 · istio 50"),
        (["reconcile", "shop", "--adopt"], "adopt shop: tcm 75 · istio 25 becomes its verified share"),
        (["reconcile", "shop", "--restore"], "restore shop: tcm 75 · istio 25 → tcm 100 · istio 0"),
    ],
)
class TestGreatMoves:
    """What moves everything at once is shown and asked first."""

    def test_without_a_terminal_and_without_yes_it_is_a_usage_error(
        self, world: World, line: list[str], plan: str
    ) -> None:
        world.shift()
        ran = world.run(*line)

        assert (ran.exit_code, ran.stdout) == (2, "")
        assert plan.rstrip() in ran.stderr
        assert "not confirmed, and there is no terminal to ask\nhint: pass --yes\n" in ran.stderr
        assert _orders(world) == []

    def test_yes_at_the_terminal_records_it(self, world: World, line: list[str], plan: str) -> None:
        world.shift()
        world.can_ask = True
        ran = world.run(*line, typed="y\n")

        assert ran.exit_code == 0
        assert plan in ran.stderr
        assert len(_orders(world)) == 1

    @pytest.mark.parametrize(("typed", "code"), [("n\n", 1), ("\n", 1), ("", 130)])
    def test_anything_else_records_nothing(
        self, world: World, line: list[str], plan: str, typed: str, code: int
    ) -> None:
        world.shift()
        world.can_ask = True
        ran = world.run(*line, typed=typed)

        assert (ran.exit_code, ran.stdout) == (code, "")
        assert plan in ran.stderr
        assert ("error: not confirmed; nothing was recorded\n" in ran.stderr) == (code == 1)
        assert _orders(world) == []


def test_a_single_step_is_not_asked_about(world: World) -> None:
    world.shift()

    assert world.run("promote", "shop").exit_code == 0


@pytest.mark.parametrize("given", [[], ["--full"], ["--reason", "x"], ["--full", "--reason", " \x1b[0m "]])
def test_override_needs_full_and_a_reason(world: World, given: list[str]) -> None:
    world.shift()
    ran = world.run("promote", "shop", "--override", "--yes", *given)

    assert ran.exit_code == 2
    assert ran.stderr.startswith("error: --override needs --full and --reason\n")
    assert _orders(world) == []


NOBODY = "no service runs on this store: nothing is carried out until one is started; see runbook 'shifter is dead'"


def test_without_a_service_an_order_says_so_at_once_and_is_recorded_all_the_same(world: World) -> None:
    world.shift()
    world.served = False
    ran = world.run("pause", "shop")

    assert ran.exit_code == 0
    assert ran.stderr == f"note: {NOBODY}\n"
    assert len(_orders(world)) == 1


def test_a_service_that_hangs_is_mentioned_and_the_order_kept(world: World) -> None:
    world.shift(ago=600)
    ran = world.run("pause", "shop")

    assert ran.exit_code == 0
    assert ran.stderr == (
        "note: the service last looked 10m ago: it hangs, or cannot write this store (is the disk full?); nothing is"
        " carried out until that is mended, but what fails may still go back; "
        "see runbook 'shifter is dead'\n"
    )
    assert len(_orders(world)) == 1


def test_who_waits_in_vain_is_told_that_no_service_runs(world: World) -> None:
    world.shift()
    world.served = False
    ran = world.run("rollback", "shop", "--yes", "--wait", "--timeout", "1s")

    assert ran.exit_code == 124
    assert ran.stderr.endswith(f"hint: it stays recorded; no need to repeat it; {NOBODY}\n")


def test_who_waits_in_vain_for_a_store_that_went_away_is_told_no_more(world: World) -> None:
    world.shift()

    def away() -> None:
        world.store.down = True

    world.meanwhile = away
    ran = world.run("pause", "shop", "--wait", "--timeout", "1s")

    assert ran.exit_code == 124
    assert ran.stderr.endswith("hint: it stays recorded; no need to repeat it\n")


def test_a_shift_may_be_named_as_get_prints_it(world: World) -> None:
    world.shift()
    ran = [world.run(*line) for line in (["promote", "shift/shop"], ["pause", "shift/shop"], ["get", "shift/shop"])]

    assert [each.exit_code for each in ran] == [0, 0, 0]
    assert [order.shift for order in _orders(world)] == ["shop", "shop"]


@pytest.mark.parametrize("verb", [["pause"], ["resume"], ["retry"], ["rollback", "--yes"]])
@pytest.mark.parametrize("shifts", [["--all"], ["cart", "shift/shop", "cart"]])
def test_several_shifts_get_one_order_each(world: World, verb: list[str], shifts: list[str]) -> None:
    world.shift("cart")
    world.shift("shop")
    ran = world.run(*verb, *shifts)

    assert ran.exit_code == 0
    assert ran.stdout.splitlines() == [
        f"order {number}: {verb[0]} {name} recorded; the service will answer"
        for number, name in ((1, "cart"), (2, "shop"))
    ]
    assert [order.shift for order in _orders(world)] == ["cart", "shop"]


@pytest.mark.parametrize("given", [[], ["shop", "--all"]])
def test_neither_names_nor_all_or_both_is_a_usage_error(world: World, given: list[str]) -> None:
    world.shift()
    ran = world.run("pause", *given)

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: name the shifts, or --all; one of the two\n")
    assert _orders(world) == []


def test_all_of_no_shifts_is_not_found(world: World) -> None:
    assert world.run("pause", "--all").exit_code == 3


def test_one_unknown_name_of_several_records_nothing(world: World) -> None:
    world.shift()

    assert world.run("pause", "shop", "nope").exit_code == 3
    assert _orders(world) == []


def test_of_several_answers_the_worst_is_the_exit_code_and_all_are_said(world: World) -> None:
    for name in ("cart", "pay", "shop"):
        world.shift(name)

    def meanwhile() -> None:
        if len(world.slept) == 1:
            world.answer(2, Answer.REFUSED, "it was not paused")
            world.answer(3, Answer.ACCEPTED, "resumed")

    world.meanwhile = meanwhile
    ran = world.run("resume", "--all", "--wait", "--timeout", "3s")

    assert (ran.exit_code, ran.stdout) == (124, "order 3: resume shop accepted: resumed\n")
    assert ran.stderr.splitlines() == [
        "error: order 1: resume cart is not answered yet",
        "hint: it stays recorded; no need to repeat it",
        "error: order 2: resume pay refused: it was not paused",
    ]
    assert sum(world.slept) == 3


def test_an_order_that_cannot_be_recorded_keeps_no_other_from_it(world: World) -> None:
    world.shift("cart")
    world.shift("shop")
    while world.run("pause", "cart").exit_code == 0:
        pass
    ran = world.run("pause", "--all")

    assert ran.exit_code == 4
    assert "pause shop recorded" in ran.stdout
    assert "cart" in ran.stderr


def test_ctrl_c_while_waiting_for_several_names_them_all(world: World) -> None:
    world.shift("cart")
    world.shift("shop")

    def interrupt() -> None:
        raise KeyboardInterrupt

    world.meanwhile = interrupt
    ran = world.run("pause", "--all", "--wait")

    assert ran.exit_code == 130
    assert ran.stderr == "stopped waiting; order 1: pause cart, order 2: pause shop stay recorded\n"


def test_a_rollback_of_several_is_shown_and_asked_once(world: World) -> None:
    world.shift("cart")
    world.shift("shop")
    world.can_ask = True
    ran = world.run("rollback", "--all", typed="y\n")

    assert ran.exit_code == 0
    assert [line.split(":")[0] for line in ran.stderr.splitlines()[:2]] == ["roll back cart", "roll back shop"]
    assert ran.stderr.count("Go ahead?") == 1
    assert len(_orders(world)) == 2


@pytest.mark.parametrize("verb", [["pause"], ["promote"], ["rollback", "--yes"]])
def test_a_timeout_without_waiting_is_a_usage_error(world: World, verb: list[str]) -> None:
    world.shift()
    ran = world.run(*verb, "shop", "--timeout", "5s")

    assert ran.exit_code == 2
    assert ran.stderr.startswith("error: --timeout is for --wait\n")
    assert _orders(world) == []


def test_nobody_is_asked_about_going_from_full_to_full(world: World) -> None:
    world.shift(wanted=100.0, written=100.0, step=3)

    assert world.run("promote", "shop", "--full").exit_code == 0


def _answers_at(world: World, look: int, answer: Answer, text: str) -> None:
    def meanwhile() -> None:
        if len(world.slept) == look:
            world.answer(1, answer, text)

    world.meanwhile = meanwhile


def test_wait_prints_the_answer_of_an_accepted_order(world: World) -> None:
    world.shift()
    _answers_at(world, 3, Answer.ACCEPTED, "paused\x1b[31m")
    ran = world.run("pause", "shop", "--wait")

    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "order 1: pause shop accepted: paused\n", "")
    assert len(world.slept) == 3


def test_wait_ends_with_4_when_the_order_is_refused(world: World) -> None:
    world.shift()
    _answers_at(world, 1, Answer.REFUSED, "nothing to resume")
    ran = world.run("resume", "shop", "--wait")

    assert (ran.exit_code, ran.stdout) == (4, "")
    assert ran.stderr == "error: order 1: resume shop refused: nothing to resume\n"


def test_wait_ends_with_124_when_nobody_answers_and_the_order_stays(world: World) -> None:
    world.shift()
    ran = world.run("pause", "shop", "--wait", "--timeout", "3s")

    assert (ran.exit_code, ran.stdout) == (124, "")
    assert ran.stderr == (
        "error: order 1: pause shop is not answered yet\nhint: it stays recorded; no need to repeat it\n"
    )
    assert sum(world.slept) == 3
    assert len(_orders(world)) == 1


def test_wait_outlasts_a_store_that_is_away(world: World) -> None:
    world.shift()

    def away_and_back() -> None:
        world.store.down = len(world.slept) == 1
        if len(world.slept) == 2:
            world.answer(1, Answer.ACCEPTED, "paused")

    world.meanwhile = away_and_back
    ran = world.run("pause", "shop", "--wait")

    assert ran.exit_code == 0
    assert ran.stderr == "note: state store in memory is down; looking again\n"


def test_ctrl_c_while_waiting_leaves_the_order_recorded(world: World) -> None:
    world.shift()

    def interrupt() -> None:
        raise KeyboardInterrupt

    world.meanwhile = interrupt
    ran = world.run("pause", "shop", "--wait")

    assert (ran.exit_code, ran.stderr) == (130, "stopped waiting; order 1: pause shop stays recorded\n")
    assert len(_orders(world)) == 1


def test_a_reason_may_be_as_long_as_a_store_takes_and_what_is_not_shown_does_not_count(world: World) -> None:
    world.shift()
    reason = "x" * LONGEST_REASON

    assert world.run("pause", "shop", "--reason", f"\x1b[31m{reason}\n ").exit_code == 0
    assert _orders(world) == [OrderRequest("shop", Verb.PAUSE, "ann@desk", reason)]
    with pytest.raises(RefusedError):
        world.store.create_order(OrderRequest("shop", Verb.PAUSE, "ann@desk", f"{reason}x"), world.now)


def test_a_store_that_refuses_the_order_is_a_refusal(world: World) -> None:
    world.shift()
    ran = world.run("pause", "shop", "--by", "x" * 1_000)

    assert (ran.exit_code, ran.stdout) == (4, "")
    assert _orders(world) == []


def test_a_store_that_is_away_takes_no_order(world: World) -> None:
    world.shift()
    world.store.down = True

    assert world.run("pause", "shop").exit_code == 5


def test_orders_come_at_the_time_of_the_asking(world: World) -> None:
    world.shift()
    world.run("pause", "shop")

    assert world.store.order(1) == Order(1, world.now, OrderRequest("shop", Verb.PAUSE, "ann@desk", ""))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["pause", "shop", "--hands-off", "--reason", "x"], "--hands-off and --for need each other"),
        (["pause", "shop", "--for", "30m"], "--hands-off and --for need each other"),
        (["pause", "shop", "--hands-off", "--for", "30m"], "--hands-off needs --reason"),
        (["pause", "shop", "--hands-off", "--for", "13h", "--reason", "x"], "--for is at most 12h at a time"),
        (["promote", "shop", "--to", "50", "--full"], "--to or --full, not both"),
        (["promote", "shop", "--to", "0"], "0.0 is not in the range 0<x<=100"),
        (["promote", "shop", "--to", "101"], "101.0 is not in the range 0<x<=100"),
        (["promote", "shop", "--to", "nan", "--yes"], "nan is not a number above 0 and at most 100."),
        (["promote", "shop", "--to", "inf", "--yes"], "inf is not in the range 0<x<=100"),
        (["approve", "shop", "--before", "nan"], "nan is not a number above 0 and at most 100."),
        (
            ["pause", "shop", "--reason", "x" * 1001],
            "--reason is a few sentences, at most 1000 characters; these are 1001",
        ),
        (["freeze", "--reason", "x" * 100_000], "at most 1000 characters; these are 100000"),
        (["promote", "shop", "--override", "--to", "50", "--reason", "x"], "--override needs --full and --reason"),
        (["approve", "shop", "--before", "0"], "0.0 is not in the range 0<x<=100"),
        (["reconcile", "shop"], "--adopt or --restore, one of the two"),
        (["reconcile", "shop", "--adopt", "--restore"], "--adopt or --restore, one of the two"),
    ],
)
def test_options_that_contradict_or_lack_each_other_are_usage_errors(world: World, line: list[str], said: str) -> None:
    world.shift()
    ran = world.run(*line)

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert said in ran.stderr
    assert _orders(world) == []


def test_approve_names_the_gate_that_is_next_when_it_is_given(world: World) -> None:
    world.shift(gates=(25.0, 100.0))
    world.run("approve", "shop")

    assert _orders(world) == [OrderRequest("shop", Verb.APPROVE, "ann@desk", "", share=25.0)]


@pytest.mark.parametrize("verb", [Verb.FREEZE, Verb.UNFREEZE])
def test_a_freeze_is_one_order_to_all_shifts_also_when_there_are_none_yet(world: World, verb: Verb) -> None:
    ran = world.run(verb, "--reason", "Singles' Day")

    assert (ran.exit_code, ran.stdout) == (0, f"order 1: {verb} all shifts recorded; the service will answer\n")
    assert _orders(world) == [OrderRequest(FLEET, verb, "ann@desk", "Singles' Day")]


def test_freeze_waits_for_its_answer(world: World) -> None:
    world.shift()

    def answer() -> None:
        fleet = world.store.load_fleet()
        answers = [OrderAnswer(1, Answer.ACCEPTED, "frozen", world.now)]
        world.store.save_fleet(fleet.state, fleet.version, answers=answers)
        world.meanwhile = lambda: None

    world.meanwhile = answer
    ran = world.run("freeze", "--wait")

    assert (ran.exit_code, ran.stdout) == (0, "order 1: freeze all shifts accepted: frozen\n")


def test_freeze_that_nobody_answers_says_so(world: World) -> None:
    world.shift()
    world.served = False
    ran = world.run("freeze", "--wait", "--timeout", "2s")

    assert ran.exit_code == 124
    assert "error: order 1: freeze all shifts is not answered yet" in ran.stderr
    assert "no service runs on this store" in ran.stderr


def test_freeze_names_no_shift(world: World) -> None:
    assert world.run("freeze", "shop").exit_code == 2


def _frozen_by(world: World, *people: str) -> None:
    freezes = tuple(
        Freeze(by=by, reason=why, at=world.now - timedelta(hours=3))
        for by, _, why in (each.partition(": ") for each in people)
    )
    world.store.save_fleet(FleetState(freezes=freezes), world.store.load_fleet().version)


@pytest.mark.fault(
    on="people",
    fault="unfreeze what somebody else has frozen",
    does="asks first, naming who froze and why; `--yes` does not ask",
    sees="`unfreeze all shifts: they are frozen by bob@desk: campaign (3h ago ...)`",
    safe_within="at once",
)
@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("n\n", 1), ("", 130)])
def test_to_end_somebody_elses_freeze_is_asked_about_with_who_and_why(world: World, typed: str, code: int) -> None:
    world.can_ask = True
    _frozen_by(world, "ann@desk: lunch", "bob@desk: campaign", "eve@desk")
    ran = world.run("unfreeze", typed=typed)

    assert ran.exit_code == code
    assert ran.stderr.startswith(
        "unfreeze all shifts: they are frozen by bob@desk: campaign (3h ago (17:00:00 +08:00)); and by eve@desk"
    )
    assert len(_orders(world)) == (code == 0)


def test_without_a_terminal_somebody_elses_freeze_ends_with_yes_only(world: World) -> None:
    _frozen_by(world, "bob@desk: campaign")
    ran = world.run("unfreeze")

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "not confirmed, and there is no terminal to ask\nhint: pass --yes\n" in ran.stderr
    assert _orders(world) == []
    assert world.run("unfreeze", "--yes").exit_code == 0


def test_to_end_ones_own_freeze_is_not_asked_about(world: World) -> None:
    _frozen_by(world, "ann@desk: lunch")

    assert (world.run("unfreeze").exit_code, world.run("unfreeze").stderr) == (0, "")


def test_what_shifter_froze_by_itself_is_asked_about(world: World) -> None:
    _frozen_by(world, "shifter: the state file was put back from a backup")

    assert "frozen by shifter: the state file was put back from a backup" in world.run("unfreeze").stderr


def _completed(path: Path, *words: str) -> list[str]:
    """What a shell is offered, without its directive."""
    return answer_kubectl(cli, Session(store_path=path), words)[:-1]


@pytest.fixture
def file(world: World, tmp_path: Path) -> Path:
    """The file of a store with a shift at 1 % whose gate before 25 % is approved, and one that is nowhere yet."""
    path = tmp_path / "shifter.db"
    kept = SqliteStore(path)
    world.shift(gates=(25.0, 100.0))
    approved = (Approval(before=25, by="ann", reason="", at=world.now),)
    kept.save(world.state(policy=world.store.load()["shop"].state.policy, share=1.0, approved=approved), 0)
    kept.save(world.state("cart"), 0)
    kept.close()
    return path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["promote", "shop", "--to", ""], ["25", "100"]),
        (["promote", "shift/shop", "--to", "2"], ["25"]),
        (["promote", "cart", "--to", ""], ["1", "25", "100"]),
        (["approve", "shop", "--before", ""], ["100"]),
        (["approve", "cart", "--before", ""], []),
        (["promote", "nope", "--to", ""], []),
        (["approve", "nope", "--before", ""], []),
        (["promote", "--to", ""], []),
        (["promote", "--full", "shop", "--to", ""], ["25", "100"]),
        (["pause", "--all", ""], []),
        (["pause", "--reason", "x", ""], ["cart", "shop"]),
        (["pause", "shop", "--reason", "x", ""], ["cart"]),
    ],
)
def test_a_tab_offers_the_steps_ahead_the_gates_that_are_closed_and_no_name_beside_all(
    file: Path, words: list[str], offered: list[str]
) -> None:
    assert _completed(file, *words) == offered


def test_a_tab_without_a_store_offers_nothing(tmp_path: Path) -> None:
    assert _completed(tmp_path / "none.db", "promote", "shop", "--to", "") == []
    assert list(tmp_path.iterdir()) == []
