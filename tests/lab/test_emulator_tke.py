"""TKE's controller in the emulated cloud: it writes back what it was told, over whatever anybody else wrote."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from shifter.lab.emulator import Emulator, RuleKey, Target, TargetKey, TargetKind
from shifter.lab.emulator.agenda import MAX_ENTRIES, Agenda

Call = Callable[[str, Mapping[str, Any]], dict[str, Any]]
Refused = Callable[[str, Mapping[str, Any]], str]
Advance = Callable[[float], None]
PLACE = ("lb-shop", "lbl-http", "loc-shop")
SHOP, TCP = RuleKey("lbl-http", "loc-shop"), RuleKey("lbl-tcp", None)
TCM1, ENI1 = TargetKey("ins-tcm1", 30080), TargetKey("10.1.0.1", 8080)
WRITE = "BatchModifyTargetWeight"


def order(weight: int) -> dict[str, Any]:
    targets = [{"EniIp": "10.1.0.1", "Port": 8080, "Weight": weight}]
    return {
        "LoadBalancerId": "lb-shop",
        "ModifyList": [{"ListenerId": "lbl-http", "LocationId": "loc-shop", "Targets": targets}],
    }


def weights(emulator: Emulator) -> dict[TargetKey, int]:
    return dict(emulator.balancer("lb-shop").rule(SHOP).weights)


def test_a_resync_writes_back_the_weights_declared_and_leaves_members_alone(emulator: Emulator) -> None:
    emulator.declare("lb-shop", SHOP)
    emulator.edit_weights(*PLACE, {TCM1: 1, ENI1: 99})
    emulator.add_target(*PLACE, Target(kind=TargetKind.ENI, ip="10.1.0.3", port=8080, weight=3))
    emulator.remove_target(*PLACE, TargetKey("10.1.0.2", 8080))
    emulator.resync("lb-shop")

    assert weights(emulator) == {TCM1: 100, TargetKey("ins-tcm2", 30080): 100, ENI1: 0, TargetKey("10.1.0.3", 8080): 3}
    assert emulator.log[-1].action == "TkeResync"


def test_a_resync_with_members_binds_and_unbinds_too(emulator: Emulator) -> None:
    before = weights(emulator)
    emulator.declare("lb-shop", SHOP, members=True)
    emulator.add_target(*PLACE, Target(kind=TargetKind.ENI, ip="10.1.0.3", port=8080))
    emulator.remove_target(*PLACE, TCM1)
    emulator.resync("lb-shop")

    assert weights(emulator) == before


def test_a_resync_waits_for_the_write_under_way_and_then_undoes_it(
    emulator: Emulator, call: Call, advance: Advance
) -> None:
    emulator.declare("lb-shop", SHOP)
    call(WRITE, order(40))
    emulator.resync("lb-shop")
    emulator.resync("lb-shop")
    advance(1)

    assert weights(emulator)[ENI1] == 0
    assert [record.action for record in emulator.log] == [WRITE, "TkeResync"]


def test_a_resync_keeps_the_balancer_busy(emulator: Emulator, refused: Refused, call: Call, advance: Advance) -> None:
    emulator.declare("lb-shop", SHOP)
    emulator.resync("lb-shop")

    assert refused(WRITE, order(40)) == "FailedOperation.ResourceInOperating"
    advance(1)
    assert call(WRITE, order(40))["RequestId"]


def test_all_rules_of_a_balancer_are_resynced_at_once(emulator: Emulator) -> None:
    other = TargetKey("ins-tcm1", 30090)
    emulator.declare("lb-shop", SHOP)
    emulator.declare("lb-shop", TCP, {other: 55})
    emulator.edit_weights(*PLACE, {ENI1: 99})
    emulator.resync("lb-shop")

    assert weights(emulator)[ENI1] == 0
    assert emulator.balancer("lb-shop").rule(TCP).weights[other] == 55


def test_a_periodic_resync_goes_on_until_it_is_withdrawn(emulator: Emulator, advance: Advance) -> None:
    emulator.declare("lb-shop", SHOP, every_seconds=30)
    undone = []
    for _ in range(3):
        emulator.edit_weights(*PLACE, {ENI1: 99})
        advance(31)
        undone.append(weights(emulator)[ENI1])
    emulator.withdraw("lb-shop")
    emulator.edit_weights(*PLACE, {ENI1: 99})
    advance(100)

    assert undone == [0, 0, 0]
    assert weights(emulator)[ENI1] == 99


def test_a_new_declaration_ends_the_old_ones_rounds(emulator: Emulator, advance: Advance) -> None:
    emulator.declare("lb-shop", SHOP, every_seconds=30)
    emulator.declare("lb-shop", SHOP, {ENI1: 5}, every_seconds=300)
    emulator.edit_weights(*PLACE, {ENI1: 99})
    advance(100)

    assert weights(emulator)[ENI1] == 99


def test_a_resync_that_waited_too_long_for_its_withdrawal_does_nothing(emulator: Emulator, advance: Advance) -> None:
    emulator.declare("lb-shop", SHOP, {ENI1: 5})
    emulator.hold_lock("lb-shop", 10)
    emulator.resync("lb-shop")
    emulator.withdraw("lb-shop")
    advance(20)

    assert weights(emulator)[ENI1] == 0


def test_what_others_plan_is_bounded() -> None:
    agenda = Agenda()
    for number in range(MAX_ENTRIES):
        agenda.add(number, lambda _, __: None)

    with pytest.raises(ValueError, match="10000 things are planned already"):
        agenda.add(0, lambda _, __: None)
    assert len(agenda.take_due(10)) == 11
    assert agenda.next_due() == 11
