"""Bad days from a seed: the same seed gives the same day, and all of it passes within the time it says."""

import random
from collections.abc import Callable

import pytest

from shifter.lab.emulator import Emulator, LoadBalancer
from shifter.lab.emulator.balancers import MAX_WEIGHT, Health, is_dark
from shifter.lab.emulator.faults import FaultKind
from shifter.lab.emulator.weather import KINDS, LASTING, Doing, Event, Kind, forecast, strike

Advance = Callable[[float], None]


def a_day(balancers: list[LoadBalancer], seed: int = 3, **changes: object) -> tuple[Event, ...]:
    wanted: dict[str, object] = {"mean_gap_seconds": 5.0} | changes
    return forecast(random.Random(seed), balancers, 2_000.0, **wanted)  # type: ignore[arg-type] # noqa: S311 - seeded


def test_the_same_seed_is_the_same_day_and_another_seed_another(balancers: list[LoadBalancer]) -> None:
    assert a_day(balancers) == a_day(balancers)
    assert a_day(balancers) != a_day(balancers, seed=4)


def test_a_day_has_every_kind_in_order_about_as_often_as_asked(balancers: list[LoadBalancer]) -> None:
    day = a_day(balancers)

    assert {event.kind for event in day} == set(KINDS)
    assert [event.at_seconds for event in day] == sorted(event.at_seconds for event in day)
    assert 300 < len(day) < 500
    assert all(0 <= event.at_seconds < 2_000 for event in day)


def test_only_the_kinds_asked_for_come(balancers: list[LoadBalancer]) -> None:
    kinds: tuple[Kind, ...] = (Doing.LOCK, FaultKind.THROTTLE)

    assert {event.kind for event in a_day(balancers, kinds=kinds)} == set(kinds)


def test_every_event_says_how_long_it_lasts_and_only_lasting_ones_say_nothing_undoes_them(
    balancers: list[LoadBalancer],
) -> None:
    for event in a_day(balancers, longest_seconds=20.0):
        if event.kind in LASTING:
            assert (event.lasts_seconds, "nobody undoes it" in event.words) == (0, True)
        else:
            assert 0 < event.lasts_seconds <= 20
        assert event.words.isprintable()
        assert event.lb_id in event.words


def test_whatever_strikes_is_over_within_its_time(
    emulator: Emulator, balancers: list[LoadBalancer], advance: Advance
) -> None:
    before = emulator.state()
    for event in a_day(balancers):
        if event.kind in LASTING or event.kind is Doing.TARGET_REMOVED:
            continue
        said = strike(emulator, event)
        # A fault that struck at the last moment goes on for its own seconds; `lasts_seconds` includes them.
        advance(event.lasts_seconds)

        after = emulator.state()
        assert said == event.words
        assert [after[part] for part in ("balancers", "faults")] == [before[part] for part in ("balancers", "faults")]


def test_a_target_that_was_removed_is_back_in_time_with_the_default_weight(
    emulator: Emulator, balancers: list[LoadBalancer], advance: Advance
) -> None:
    removals = a_day(balancers, kinds=(Doing.TARGET_REMOVED,))
    seen = set()
    for event in removals[:40]:
        gone = event.targets[0].key
        said = strike(emulator, event)
        bound = gone in emulator.balancer(event.lb_id).rule(event.rule).weights
        assert bound == ("the last one on its port" in said)
        seen.add(bound)
        advance(event.lasts_seconds)
        assert emulator.balancer(event.lb_id).rule(event.rule).weights[gone] in {10, event.targets[0].weight}

    assert seen == {True, False}


def test_everything_at_once_leaves_targets_alive_and_no_rule_dark_when_it_is_over(
    emulator: Emulator, balancers: list[LoadBalancer], advance: Advance
) -> None:
    for event in a_day(balancers):
        assert strike(emulator, event).startswith(event.words)
        advance(0.5)
    advance(400)
    state = emulator.state()
    rules = [rule for balancer in emulator.state()["balancers"] for rule in balancer["rules"]]
    dead_at_first = {("lbl-tcp", "10.1.0.1"), ("lbl-unchecked", "10.1.0.9")}

    assert not any(balancer["locked"] for balancer in state["balancers"])
    assert state["faults"] == []
    assert all(
        target["health"] == Health.ALIVE or (rule["listener_id"], target["address"]) in dead_at_first
        for rule in rules
        for target in rule["targets"]
    )
    assert not [record for record in emulator.log if any(is_dark(weights) for weights in record.after.values())]


@pytest.mark.parametrize(
    ("kind", "why"), [(Doing.EDIT, "has no target"), (Doing.TARGET_DEAD, "none of them is bound any more")]
)
def test_a_target_that_is_gone_by_the_time_is_left_alone_and_said_so(
    emulator: Emulator, balancers: list[LoadBalancer], kind: Doing, why: str
) -> None:
    event = a_day(balancers, kinds=(kind,))[0]
    target = event.targets[0]
    emulator.remove_target(event.lb_id, event.rule.listener_id, event.rule.location_id, target.key)
    before = emulator.state()
    said = strike(emulator, event)

    assert 0 <= target.weight <= MAX_WEIGHT
    assert said.startswith(f"{event.words}: nothing was done, ")
    assert why in said
    assert emulator.state() == before


@pytest.mark.parametrize(
    ("seconds", "changes", "why"),
    [
        (0.0, {}, r"0\.0 s with a mean gap of 5\.0 s is no forecast"),
        (10.0, {"mean_gap_seconds": 0.0}, r"10\.0 s with a mean gap of 0\.0 s is no forecast"),
        (86_400.0, {"mean_gap_seconds": 0.001}, r"86400\.0 s with a mean gap of 0\.001 s is no forecast"),
        (10.0, {"kinds": ()}, "there is nothing to strike: give balancers with targets, and kinds"),
        (10.0, {"longest_seconds": 0.5}, r"longest_seconds must be 1\.\.300, not 0\.5"),
        (10.0, {"longest_seconds": 301.0}, r"longest_seconds must be 1\.\.300, not 301\.0"),
    ],
)
def test_a_forecast_that_makes_no_sense_is_refused(
    balancers: list[LoadBalancer], seconds: float, changes: dict[str, object], why: str
) -> None:
    wanted: dict[str, object] = {"mean_gap_seconds": 5.0} | changes

    with pytest.raises(ValueError, match=why):
        forecast(random.Random(1), balancers, seconds, **wanted)  # type: ignore[arg-type] # noqa: S311 - seeded
    with pytest.raises(ValueError, match="nothing to strike"):
        forecast(random.Random(1), [], 10.0, mean_gap_seconds=1.0)  # noqa: S311 - seeded
