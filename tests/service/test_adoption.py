"""Policy files and running shifts: no edit moves or strands traffic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shifter.adapters.memory import Rule
from shifter.core.balancing.splits import Side
from shifter.core.deciding.orders import Verb
from shifter.core.phases import Phase
from shifter.core.records import What
from tests.service.conftest import World, servers

Worlds = Callable[..., World]


def test_an_edited_step_holds_from_the_next_decision_on(world: World) -> None:
    world.until_share(5)
    world.write_policy("shop", steps=[5, 50, 100])
    world.until(Phase.COMPLETED)

    assert world.climbs() == [5, 50, 100]


@pytest.mark.fault(
    on="policy files",
    fault="a valid edit of steps, soak or limits while a shift is under way",
    does="moves nothing; holds from the next decision on",
    sees="history: an edited policy is in force",
    safe_within="one tick",
)
def test_an_edit_moves_no_traffic_by_itself(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.wake()
    world.write_policy("shop", steps=[1, 100])
    world.step(10)

    assert world.share() == 25


def test_an_edit_is_in_the_history(world: World) -> None:
    world.until_share(5)
    world.write_policy("shop", steps=[5, 50, 100])
    world.step()

    assert [record.reason for record in world.history() if record.what is What.POLICY] == [
        "an edited policy is in force"
    ]


def test_a_longer_soak_counts_for_the_share_that_soaks_now(world: World) -> None:
    world.until_share(5)
    world.write_policy("shop", soak="10m")
    world.step(30)

    assert world.state().share == 5


@pytest.mark.fault(
    on="policy files",
    fault="another namespace, route or selector while the share is above 0",
    does="the old one stays in force, also for going back; the edit waits for 0 %",
    sees="hold `policy`: namespaces, routes or selectors were edited: the edit waits for 0 %",
    safe_within="one tick",
)
def test_another_namespace_waits_for_0_while_the_share_is_above_it(world: World) -> None:
    world.until_share(25)
    world.write_policy("shop", namespace="shop2")
    world.step(10)

    assert world.holds() == {"policy"}
    assert "waits for 0 %" in world.reason()
    assert world.state().policy.namespaces == ("shop",)


def test_another_route_waits_for_0_and_the_way_back_uses_the_old_one(world: World) -> None:
    world.until_share(25)
    world.write_policy("shop", routes=[{"listener": "lbl-other", "domain": "shop.example.com", "url": "/"}])
    world.step()
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)

    assert world.share() == 0


def test_at_0_the_waiting_edit_comes_into_force(world: World) -> None:
    world.until_share(25)
    world.write_policy("shop", namespace="shop2")
    world.step()
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)
    world.step()

    assert world.state().policy.namespaces == ("shop2",)
    assert "policy" not in world.holds()


def test_an_edit_taken_back_is_no_hold_any_more(world: World) -> None:
    world.until_share(25)
    world.write_policy("shop", namespace="shop2")
    world.step(3)
    world.write_policy("shop")
    world.until(Phase.COMPLETED)

    assert world.climbs() == [5, 25, 50, 100]


def test_new_routes_are_checked_before_the_first_step(world: World) -> None:
    world.until_share(5)
    world.order(Verb.ROLLBACK)
    world.until(Phase.ROLLED_BACK)
    world.write_policy("shop", routes=[{"listener": "lbl-nobody-made", "domain": "shop.example.com", "url": "/"}])
    world.order(Verb.RETRY)
    world.step(5)

    assert world.holds() == {"preflight"}
    assert "lbl-nobody-made" in world.reason()


@pytest.mark.fault(
    on="policy files",
    fault="a file is broken, emptied or half written while its shift is under way",
    does="the last good policy stays in force; holds until it is mended",
    sees="hold `policy`: the last good policy stays in force: file:line:column ...",
    safe_within="one tick",
)
@pytest.mark.parametrize("text", ["kind: [", "", "kind: ShiftPolicy"])
def test_a_broken_file_leaves_the_last_good_policy_in_force_and_holds(world: World, text: str) -> None:
    world.until_share(25)
    good = world.state().policy
    (world.path / "shop.yaml").write_text(text)
    world.step(10)

    assert world.state().policy == good
    assert world.share() == 25
    assert world.holds() == {"policy"}
    assert "last good policy stays in force" in world.reason()


def test_a_mended_file_lets_the_shift_go_on(world: World) -> None:
    world.until_share(25)
    (world.path / "shop.yaml").write_text("kind: [")
    world.step(3)
    world.write_policy("shop")
    world.until(Phase.COMPLETED)

    assert world.climbs() == [5, 25, 50, 100]


def test_a_broken_file_is_told_in_every_report_until_it_is_mended(world: World) -> None:
    world.until_share(25)
    (world.path / "shop.yaml").write_text("kind: [")
    told = []
    for _ in range(8):
        world.step()
        told.append((world.report().page, "shop.yaml:1:8 a value is missing here" in world.reason()))
    world.write_policy("shop")
    world.step()

    assert told == [(True, True)] * 8
    assert (world.report().page, world.holds()) == (False, set())


@pytest.mark.fault(
    on="policy files",
    fault="the two sides are swapped by an edit, at 50 % or rolled back",
    does="never comes into force; a rollback, also a second one, still means TCM",
    sees="hold `policy`: source and target changed places on lb-...: an edit never does that; undo it",
    safe_within="one tick",
)
@pytest.mark.parametrize("half", [False, True], ids=["both", "one side"])
def test_swapped_sides_change_nothing_and_the_way_back_is_still_tcms(make_world: Worlds, *, half: bool) -> None:
    world = make_world(steps=(50, 100), soak="10h")
    world.until_share(50)
    written = len(world.memory.writes)
    world.write_policy("shop", source={"port": 31080}, target={"port": 32080 if half else 30080})
    world.step(10)
    held, said = (world.share(), world.holds(), len(world.memory.writes)), world.reason()
    world.order(Verb.ROLLBACK)
    world.step(10)
    back = world.share(), world.holds()
    world.order(Verb.ROLLBACK)
    world.order(Verb.RETRY)
    world.step(10)

    assert held == (50, {"policy"}, written)
    assert back == (0, {"policy"})
    assert (world.share(), len(world.memory.writes)) == (0, written + 1)
    assert "source and target changed places on lb-front0001/" in said


def test_sides_that_were_the_wrong_way_round_from_the_start_may_be_put_right(make_world: Worlds) -> None:
    world = make_world(steps=(50, 100), soak="20s")
    world.write_policy("shop", source={"port": 31080}, target={"port": 30080})
    world.step(5)
    wrong = world.holds(), len(world.memory.writes)
    world.write_policy("shop")
    world.until(Phase.COMPLETED)

    assert wrong == ({"preflight"}, 0)
    assert world.climbs() == [50, 100]


def test_sides_swapped_at_50_percent_and_swapped_back_leave_no_trace(make_world: Worlds) -> None:
    world = make_world(steps=(50, 100), soak="1m")
    world.until_share(50)
    world.write_policy("shop", source={"port": 31080}, target={"port": 30080})
    world.step(3)
    world.write_policy("shop")
    world.until(Phase.COMPLETED)

    assert world.climbs() == [50, 100]
    assert What.POLICY not in {record.what for record in world.history()}


def test_one_broken_file_stops_its_own_shift_and_no_other(make_world: Worlds) -> None:
    world = make_world(shifts={"shop": "lb-front0001", "pay": "lb-front0002", "cart": "lb-front0001"})
    world.until_share(5)
    (world.path / "shop.yaml").write_text("kind: [")
    world.until(Phase.COMPLETED, name="pay")
    world.until(Phase.COMPLETED, name="cart")

    assert world.share("shop") == 5
    assert world.holds("shop") == {"policy"}


def test_a_problem_that_stays_is_not_logged_again_when_another_comes_up(make_world: Worlds) -> None:
    world = make_world(shifts={"shop": "lb-front0001", "pay": "lb-front0002"})
    world.until_share(5)
    (world.path / "shop.yaml").write_text("kind: [")
    world.step(3)
    (world.path / "pay.yaml").write_text("kind: {")
    world.step(3)

    assert [Path(line["file"]).name for line in world.lines("policy.problem")] == ["shop.yaml", "pay.yaml"]


def test_what_is_wrong_with_a_file_is_logged_once(world: World) -> None:
    world.until_share(25)
    (world.path / "shop.yaml").write_text("kind: [")
    world.step(10)
    told = world.lines("policy.problem")

    assert len({line["reason"] for line in told}) == len(told) > 0
    assert all(line["level"] == "warning" for line in told)


@pytest.mark.fault(
    on="policy files",
    fault="a file is deleted while its shift is under way",
    does="holds and pages; a failing target still goes back",
    sees="hold `policy`: its policy file is gone; `shifter_page` 1",
    safe_within="one tick",
)
def test_a_deleted_file_holds_and_a_failing_target_still_goes_back(make_world: Worlds) -> None:
    world = make_world(shifts={"shop": "lb-front0001", "pay": "lb-front0002"})
    world.until_share(25)
    (world.path / "shop.yaml").unlink()
    world.step(10)
    held = world.share(), world.holds(), world.report().page
    world.sides[Side.TARGET].error_percent = 30
    world.until(Phase.ROLLED_BACK)

    assert held == (25, {"policy"}, True)
    assert world.share() == 0


def test_after_a_restart_a_deleted_file_still_holds(make_world: Worlds) -> None:
    world = make_world(shifts={"shop": "lb-front0001", "pay": "lb-front0002"})
    world.until_share(25)
    (world.path / "shop.yaml").unlink()
    world.restart()
    world.step(10)

    assert world.share() == 25
    assert "policy" in world.holds()
    assert "file is gone" in world.reason()


def test_after_a_restart_without_the_whole_folder_everything_is_still_watched(world: World) -> None:
    world.until_share(25)
    (world.path / "shop.yaml").unlink()
    world.restart()
    world.step(10)
    held = world.share(), world.holds()
    world.sides[Side.TARGET].error_percent = 30
    world.until(Phase.ROLLED_BACK)

    assert held == (25, {"policy"})
    assert world.share() == 0


def test_a_folder_without_any_policy_is_told_and_begins_nothing(world: World) -> None:
    (world.path / "shop.yaml").unlink()
    world.wake()

    assert world.ticker.shifts == {}
    assert "has no *.yaml or *.yml file" in world.log.getvalue()


def test_a_new_file_becomes_a_new_shift_in_the_next_tick(world: World) -> None:
    world.until_share(5)
    world.balancers["pay"] = "lb-front0002"
    world.memory.put_rule(world.route("pay"), Rule(servers()))
    world.write_policy("pay")
    world.until(Phase.COMPLETED, name="pay")

    assert world.climbs(name="pay") == [5, 25, 50, 100]
