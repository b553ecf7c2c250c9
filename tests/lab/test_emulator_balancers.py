import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from shifter.lab.emulator import (
    Emulator,
    Health,
    Listener,
    LoadBalancer,
    Outcome,
    Rule,
    RuleKey,
    Target,
    TargetKey,
    TargetKind,
    shapes,
)
from shifter.lab.emulator.balancers import is_dark, serving
from shifter.lab.emulator.cloud import Cloud, Fate, Task, TaskStatus

ALIVE, DEAD, UNKNOWN = Health.ALIVE, Health.DEAD, Health.UNKNOWN
SHOP = ("lb-shop", "lbl-http", "loc-shop")
TCM1, ENI1 = TargetKey("ins-tcm1", 30080), TargetKey("10.1.0.1", 8080)


def a_rule(*targets: tuple[int, Health], check: bool = True) -> Rule:
    return Rule(
        location_id="loc-1",
        health_check_on=check,
        targets=tuple(
            Target(kind=TargetKind.ENI, ip=f"10.1.0.{number}", port=80, weight=weight, health=health)
            for number, (weight, health) in enumerate(targets)
        ),
    )


def a_listener(protocol: str, *rules: Rule) -> Listener:
    return Listener(listener_id="lbl-1", protocol=protocol, port=80, rules=rules)


def served(rule: Rule) -> list[int]:
    """The effective weight of each target, 0 for those that get nothing."""
    weights = serving(rule)
    return [weights.get(target.key, 0) for target in rule.targets]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (a_rule((70, ALIVE), (30, ALIVE)), [70, 30]),
        (a_rule((70, ALIVE), (30, DEAD)), [70, 0]),
        (a_rule((70, ALIVE), (30, UNKNOWN)), [70, 0]),
        (a_rule((70, ALIVE), (0, ALIVE)), [70, 0]),
        (a_rule((70, DEAD), (30, DEAD)), [70, 30]),
        (a_rule((70, DEAD), (0, DEAD)), [70, 0]),
        (a_rule((70, DEAD), (0, ALIVE)), [0, 0]),
        (a_rule((70, DEAD), (30, ALIVE), check=False), [70, 30]),
        (a_rule((0, ALIVE), (0, ALIVE)), [0, 0]),
        (a_rule(), []),
    ],
    ids=[
        "healthy ones share by weight",
        "a dead one gets nothing",
        "one not yet checked gets nothing",
        "weight 0 gets nothing",
        "all dead: all serve",
        "all dead: weight 0 stays out",
        "only weight 0 alive: nobody serves",
        "check off: health does not count",
        "all weights 0: nobody serves",
        "no targets: nobody serves",
    ],
)
def test_who_gets_traffic(rule: Rule, expected: list[int]) -> None:
    assert served(rule) == expected


def test_a_rule_without_targets_is_not_dark() -> None:
    assert not is_dark({})
    assert is_dark({TCM1: 0})
    assert not is_dark({TCM1: 0, ENI1: 1})


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (
            lambda: Target(kind=TargetKind.CVM, ip="10.0.0.1", port=80),
            r"the CVM target 10\.0\.0\.1:80 needs an instance id",
        ),
        (
            lambda: Target(kind=TargetKind.ENI, ip="10.0.0.1", port=80, weight=101),
            r"weight 101 of 10\.0\.0\.1:80 is not in 0\.\.100",
        ),
        (
            lambda: Rule(location_id="loc-1", targets=(a_rule((1, ALIVE)).targets[0],) * 2),
            "two targets of loc-1 have the same address and port",
        ),
        (lambda: a_rule(*[(1, ALIVE)] * 201), "loc-1 has 201 targets; the quota is 200"),
        (lambda: a_listener("TCP"), "a layer-4 listener has exactly one rule, without a domain"),
        (lambda: a_listener("QUIC", a_rule(), a_rule()), "a layer-4 listener has exactly one rule, without a domain"),
        (lambda: a_listener("HTTP", a_rule()), "every rule of a layer-7 listener has a domain and a URL"),
        (lambda: a_listener("SCTP", a_rule()), "lbl-1: no such protocol: SCTP"),
    ],
)
def test_a_balancer_that_cannot_exist_cannot_be_built(build: Callable[[], object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        build()


@pytest.mark.parametrize(
    ("protocol", "layer", "idle_seconds"),
    [("TCP", 4, 900), ("UDP", 4, None), ("TCP_SSL", 4, None), ("QUIC", 4, None), ("HTTP", 7, None), ("HTTPS", 7, None)],
)
def test_only_http_and_https_have_rules(protocol: str, layer: int, idle_seconds: int | None) -> None:
    rule = a_rule((100, ALIVE))
    rule = replace(rule, domain="shop.example.com", url="/") if layer == 7 else rule
    balanced = Listener(listener_id="lbl-1", protocol=protocol, port=443, rules=(rule,))

    told, bound = shapes.listener(balanced), shapes.listener_backend(balanced, balanced.rules, random.Random(1))  # noqa: S311 - seeded

    on_layer_7 = layer == 7
    assert balanced.key(rule) == RuleKey("lbl-1", "loc-1" if on_layer_7 else None)
    assert (told["Rules"] is not None, bound["Rules"] is not None) == (on_layer_7, on_layer_7)
    assert (told["HealthCheck"] is None, bound["Targets"] is None) == (on_layer_7, on_layer_7)
    assert told["IdleConnectTimeout"] == idle_seconds


def test_a_console_edit_takes_effect_at_once_past_any_lock(emulator: Emulator) -> None:
    emulator.hold_lock("lb-shop", 60)

    emulator.edit_weights(*SHOP, {TCM1: 5})

    assert emulator.serving(*SHOP)[TCM1] == 5
    assert [(record.action, record.request_id) for record in emulator.log] == [("ConsoleEdit", "")]


@pytest.mark.parametrize(("weights", "error"), [({TargetKey("ins-gone", 1): 5}, KeyError), ({TCM1: 101}, ValueError)])
def test_a_console_edit_that_cannot_be_is_refused(
    emulator: Emulator, weights: Mapping[TargetKey, int], error: type[Exception]
) -> None:
    with pytest.raises(error):
        emulator.edit_weights(*SHOP, weights)

    assert emulator.log == []


def test_a_dead_target_stops_serving_and_its_weight_stays(emulator: Emulator) -> None:
    emulator.set_health(*SHOP, TCM1, DEAD)

    assert TCM1 not in emulator.serving(*SHOP)
    assert emulator.balancer("lb-shop").rule(RuleKey("lbl-http", "loc-shop")).weights[TCM1] == 100


def test_members_come_and_go_and_the_record_says_so(emulator: Emulator) -> None:
    newcomer = Target(kind=TargetKind.ENI, ip="10.1.0.3", port=8080, weight=1)
    emulator.add_target(*SHOP, newcomer)
    emulator.remove_target(*SHOP, TCM1)

    assert newcomer.key in emulator.serving(*SHOP)
    assert TCM1 not in emulator.serving(*SHOP)
    assert [record.action for record in emulator.log] == ["AddTarget", "RemoveTarget"]


@pytest.mark.parametrize(
    "change",
    [
        lambda emulator: emulator.remove_target(*SHOP, TargetKey("ins-gone", 1)),
        lambda emulator: emulator.set_health(*SHOP, TargetKey("ins-gone", 1), DEAD),
        lambda emulator: emulator.serving("lb-shop", "lbl-http", "loc-gone"),
        lambda emulator: emulator.hold_lock("lb-gone", 1),
        lambda emulator: emulator.edit_weights("lb-gone", "lbl-http", None, {}),
    ],
)
def test_what_does_not_exist_is_a_key_error(emulator: Emulator, change: Callable[[Emulator], object]) -> None:
    with pytest.raises(KeyError):
        change(emulator)


def a_balancer() -> LoadBalancer:
    listener = Listener(listener_id="lbl-1", protocol="TCP", port=80, rules=(a_rule((100, ALIVE), (0, ALIVE)),))
    return LoadBalancer(load_balancer_id="lb-1", listeners=(listener,))


def a_task(task_id: str, weights: Mapping[TargetKey, int], due_at: float, fate: Fate = Fate.SUCCEED) -> Task:
    changes = {RuleKey("lbl-1", None): weights}
    return Task(task_id=task_id, lb_id="lb-1", action="Write", changes=changes, due_at=due_at, fate=fate)


def a_cloud(seed: int = 1) -> Cloud:
    return Cloud([a_balancer()], random.Random(seed))  # noqa: S311 - seeded on purpose


def test_tasks_that_fell_due_together_take_effect_in_order() -> None:
    cloud = a_cloud()
    first, second = TargetKey("10.1.0.0", 80), TargetKey("10.1.0.1", 80)
    cloud.submit(a_task("late", {first: 1}, due_at=2), locked_until=2)
    cloud.submit(a_task("early", {first: 50, second: 50}, due_at=1), locked_until=2)

    cloud.settle(now=3)

    assert [record.request_id for record in cloud.log] == ["early", "late"]
    assert cloud.log[-1].after == {RuleKey("lbl-1", None): {first: 1, second: 50}}


def test_half_of_one_target_is_nothing_and_half_of_two_is_one() -> None:
    first, second = TargetKey("10.1.0.0", 80), TargetKey("10.1.0.1", 80)
    moved = []
    for seed in range(20):
        cloud = a_cloud(seed)
        cloud.submit(a_task("one", {first: 7}, due_at=1, fate=Fate.HALF), locked_until=1)
        cloud.submit(a_task("two", {first: 8, second: 8}, due_at=2, fate=Fate.HALF), locked_until=2)
        cloud.settle(now=3)
        one, two = cloud.log
        assert (one.outcome, two.outcome) == (Outcome.HALF, Outcome.HALF)
        assert one.before == one.after
        moved.append(tuple(two.after[RuleKey("lbl-1", None)].values()))

    assert set(moved) == {(8, 0), (100, 8)}


def test_a_task_tells_its_status_from_the_clock_it_is_given() -> None:
    cloud = a_cloud()
    cloud.submit(a_task("task", {}, due_at=10), locked_until=12)

    statuses = []
    for now in (9.9, 10.0):
        cloud.settle(now)
        task = cloud.task("task")
        assert task is not None
        statuses.append((task.status, cloud.is_locked("lb-1", now)))

    assert statuses == [(TaskStatus.RUNNING, True), (TaskStatus.SUCCEEDED, True)]
    assert not cloud.is_locked("lb-1", 12.0)


def an_emulator(on_change: Callable[[str], None]) -> Emulator:
    return Emulator(
        balancers=[a_balancer()],
        region="ap-guangzhou",
        secret_id="id",
        secret_key="key",
        clock=time.time,
        rng=random.Random(1),  # noqa: S311 - seeded on purpose
        on_change=on_change,
    )


def test_changes_are_announced_without_anyone_asking_and_may_be_looked_up_from_the_announcement() -> None:
    told: list[Mapping[TargetKey, int]] = []
    heard = threading.Event()

    def listen(lb_id: str) -> None:
        told.append(emulator.serving(lb_id, "lbl-1", None))
        heard.set()

    emulator = an_emulator(listen)
    emulator.start()
    try:
        emulator.edit_weights("lb-1", "lbl-1", None, {TargetKey("10.1.0.1", 80): 25})
        announced = heard.wait(5)
    finally:
        emulator.stop()

    assert announced
    assert told[0][TargetKey("10.1.0.1", 80)] == 25


def test_a_listener_that_fails_does_not_stop_the_next_announcement() -> None:
    told: list[str] = []
    again = threading.Event()

    def listen(lb_id: str) -> None:
        told.append(lb_id)
        if len(told) == 1:
            raise RuntimeError("the listener is broken")
        again.set()

    emulator = an_emulator(listen)
    emulator.start()
    try:
        deadline = time.monotonic() + 5
        for weight in range(1, 100):
            emulator.edit_weights("lb-1", "lbl-1", None, {TargetKey("10.1.0.1", 80): weight})
            if again.wait(0.05) or time.monotonic() > deadline:
                break
    finally:
        emulator.stop()

    assert again.is_set()


def test_a_taken_port_is_an_os_error_and_an_emulator_starts_once() -> None:
    first, second = an_emulator(lambda _: None), an_emulator(lambda _: None)
    try:
        port = first.start()
        with pytest.raises(OSError, match="in use"):
            second.start(port)
        with pytest.raises(RuntimeError, match="this emulator was started before; make a new one"):
            first.start()
    finally:
        first.stop()
        second.stop()


def test_nothing_is_heard_after_a_stop() -> None:
    before = set(threading.enumerate())
    emulator = an_emulator(lambda _: None)
    emulator.start()

    emulator.stop()
    emulator.stop()

    assert set(threading.enumerate()) <= before
