"""Bad days from a seed: which faults strike and what other actors do, when, and for how long.

`forecast` is pure and gives plain values, each with a sentence, so that a run can print what is coming and be
repeated; `strike` lets one of them happen. Whatever happens is over by itself within the `lasts_seconds` of its
event, except for `LASTING`: a person's edit and TKE's resync stay until somebody writes weights again, and a caller
who cannot have that leaves those kinds out. Balancers are those of the beginning: an event whose target is gone by
the time it strikes does nothing, and says so.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

from shifter.lab.emulator import doings
from shifter.lab.emulator.actions import ACTIONS
from shifter.lab.emulator.balancers import (
    DEFAULT_WEIGHT,
    MAX_WEIGHT,
    Health,
    LoadBalancer,
    Rule,
    RuleKey,
    Target,
    TargetKey,
    TargetKind,
)
from shifter.lab.emulator.emulator import Emulator
from shifter.lab.emulator.faults import MAX_SECONDS, MAX_TIMES, READ_KINDS, WRITE_KINDS, Fault, FaultKind

MAX_EVENTS = 100_000
_WRITE = "BatchModifyTargetWeight"
_READS = tuple(sorted(name for name, action in ACTIONS.items() if not action.writes))
_SLOWEST_SECONDS = 5.0
_WITH_SECONDS = frozenset({FaultKind.SLOW, FaultKind.LOCKED, FaultKind.TASK_ENDLESS})
"""Faults that go on for `seconds` after the call they struck."""


class Doing(StrEnum):
    """What other actors do."""

    EDIT = "edit"
    """A person sets the weight of one target."""
    RESYNC = "resync"
    """TKE writes back the weights of the beginning, as soon as the balancer is free."""
    LOCK = "lock"
    """Another actor's operation keeps the balancer busy."""
    TARGET_DEAD = "target dead"
    SIDE_DEAD = "side dead"
    """All targets on one port."""
    ALL_DEAD = "all dead"
    """All targets of a rule: the balancer then sends to all of them."""
    TARGET_ADDED = "target added"
    """An autoscaler binds a target that nobody answers at, with the default weight."""
    TARGET_REMOVED = "target removed"
    """It comes back with the default weight. Never the last one on its port."""


Kind: TypeAlias = FaultKind | Doing
KINDS: tuple[Kind, ...] = (*FaultKind, *Doing)
LASTING: frozenset[Kind] = frozenset({Doing.EDIT, Doing.RESYNC})
"""What is not undone: these events last until somebody writes weights again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that goes wrong.

    Attributes:
        at_seconds: when, from the beginning of the forecast.
        kind: what.
        lasts_seconds: by then it is over or undone, from `at_seconds`; for `LASTING` kinds 0, which nothing undoes.
        words: a sentence for people.
        lb_id: the balancer it strikes.
        rule: the rule it strikes; faults strike the whole balancer.
        targets: the targets concerned, with the weights they get or had.
        fault: the fault to order, of kinds that are one.
    """

    at_seconds: float
    kind: Kind
    lasts_seconds: float
    words: str
    lb_id: str
    rule: RuleKey
    targets: tuple[Target, ...] = ()
    fault: Fault | None = None


def forecast(
    rng: random.Random,
    balancers: Sequence[LoadBalancer],
    seconds: float,
    *,
    mean_gap_seconds: float,
    kinds: Sequence[Kind] = KINDS,
    longest_seconds: float = 60.0,
) -> tuple[Event, ...]:
    """Return what goes wrong in the next `seconds`, in order; the same dice give the same events.

    Args:
        rng: the dice.
        balancers: whom it may strike; those with at least one target.
        seconds: for how long, above 0.
        mean_gap_seconds: the mean time between two events, above 0.
        kinds: what may go wrong, each as likely as the others.
        longest_seconds: how long one event lasts at most, 1..300.

    Raises:
        ValueError: a number is out of range, or there is nothing to strike.
    """
    places = [
        (balancer.load_balancer_id, listener.key(rule), rule)
        for balancer in balancers
        for listener, rule in balancer.rules()
        if rule.targets
    ]
    if not places or not kinds:
        raise ValueError("there is nothing to strike: give balancers with targets, and kinds")
    if seconds <= 0 or mean_gap_seconds <= 0 or seconds / mean_gap_seconds > MAX_EVENTS / 2:
        raise ValueError(f"{seconds} s with a mean gap of {mean_gap_seconds} s is no forecast")
    if not 1 <= longest_seconds <= MAX_SECONDS:
        raise ValueError(f"longest_seconds must be 1..{MAX_SECONDS:.0f}, not {longest_seconds}")
    events: list[Event] = []
    at_seconds = rng.expovariate(1 / mean_gap_seconds)
    while at_seconds < seconds and len(events) < MAX_EVENTS:
        lb_id, key, rule = rng.choice(places)
        kind = rng.choice(kinds)
        lasts_seconds = 0.0 if kind in LASTING else round(rng.uniform(1, longest_seconds), 1)
        event = Event(
            at_seconds=round(at_seconds, 3), kind=kind, lasts_seconds=lasts_seconds, words="", lb_id=lb_id, rule=key
        )
        events.append(_fault(event, rng) if isinstance(kind, FaultKind) else _PLANS[kind](event, rule, rng))
        at_seconds += rng.expovariate(1 / mean_gap_seconds)
    return tuple(events)


def strike(emulator: Emulator, event: Event) -> str:
    """Let an event happen now, order its end, and say in a sentence what was done."""
    try:
        if event.fault is not None:
            emulator.inject(event.fault)
        elif isinstance(event.kind, Doing):
            _STRIKES[event.kind](emulator, event)
    except (KeyError, ValueError) as error:
        # The world moved on since the forecast, or is full; that is weather, too.
        return f"{event.words}: nothing was done, {error.args[0]}"
    return event.words


# -- faults ----------------------------------------------------------------------------------------------------------


def _fault(event: Event, rng: random.Random) -> Event:
    kind = FaultKind(event.kind)
    known = (_WRITE,) if kind in WRITE_KINDS else _READS if kind in READ_KINDS else (*_READS, _WRITE)
    action = rng.choice(known)
    seconds = 0.0
    if kind in _WITH_SECONDS:
        # Half of the event's time it waits for its call, half of it the call's consequences go on.
        longest = _SLOWEST_SECONDS if kind is FaultKind.SLOW else event.lasts_seconds / 2
        seconds = round(min(longest, event.lasts_seconds / 2), 2)
    times = 1 if kind is FaultKind.TASK_ENDLESS else rng.choice((1, 3, MAX_TIMES))
    fault = Fault(
        action=action,
        kind=kind,
        times=times,
        lb_id=event.lb_id,
        seconds=seconds,
        lasts_seconds=event.lasts_seconds - seconds,
    )
    how_often = "every call" if times == MAX_TIMES else "the next call" if times == 1 else f"the next {times} calls"
    words = f"{event.lb_id}: {kind} strikes {how_often} of {action} within {event.lasts_seconds - seconds:.1f} s" + (
        f", for {seconds:.1f} s" if seconds else ""
    )
    return replace(event, fault=fault, words=words)


# -- other actors: what they will do ----------------------------------------------------------------------------------


def _edit(event: Event, rule: Rule, rng: random.Random) -> Event:
    chosen = replace(rng.choice(rule.targets), weight=rng.randint(1, MAX_WEIGHT))
    words = f"{_place(event)}: a person sets the weight of {_name(chosen)} to {chosen.weight}; nobody undoes it"
    return replace(event, targets=(chosen,), words=words)


def _resync(event: Event, rule: Rule, _: random.Random) -> Event:
    said = ", ".join(f"{_name(target)}={target.weight}" for target in rule.targets)
    words = f"{_place(event)}: TKE writes back {said} as soon as the balancer is free; nobody undoes it"
    return replace(event, targets=rule.targets, words=words)


def _lock(event: Event, _: Rule, __: random.Random) -> Event:
    return replace(event, words=f"{event.lb_id}: another actor holds the lock for {event.lasts_seconds:.1f} s")


def _target_dead(event: Event, rule: Rule, rng: random.Random) -> Event:
    return _dead(event, (rng.choice(rule.targets),))


def _side_dead(event: Event, rule: Rule, rng: random.Random) -> Event:
    port = rng.choice(sorted({target.port for target in rule.targets}))
    return _dead(event, tuple(target for target in rule.targets if target.port == port))


def _all_dead(event: Event, rule: Rule, _: random.Random) -> Event:
    return _dead(event, rule.targets)


def _dead(event: Event, targets: tuple[Target, ...]) -> Event:
    names = ", ".join(_name(target) for target in targets)
    words = f"{_place(event)}: the health check finds {names} dead for {event.lasts_seconds:.1f} s"
    return replace(event, targets=targets, words=words)


def _target_added(event: Event, rule: Rule, rng: random.Random) -> Event:
    port = rng.choice(sorted({target.port for target in rule.targets}))
    ip = f"10.99.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
    added = Target(kind=TargetKind.ENI, ip=ip, port=port)
    words = f"{_place(event)}: {_name(added)} is bound with weight {added.weight} for {event.lasts_seconds:.1f} s"
    return replace(event, targets=(added,), words=words)


def _target_removed(event: Event, rule: Rule, rng: random.Random) -> Event:
    gone = rng.choice(rule.targets)
    words = (
        f"{_place(event)}: {_name(gone)} is unbound, and bound again with weight {DEFAULT_WEIGHT} "
        f"after {event.lasts_seconds:.1f} s"
    )
    return replace(event, targets=(gone,), words=words)


_PLANS: Mapping[Doing, Callable[[Event, Rule, random.Random], Event]] = MappingProxyType(
    {
        Doing.EDIT: _edit,
        Doing.RESYNC: _resync,
        Doing.LOCK: _lock,
        Doing.TARGET_DEAD: _target_dead,
        Doing.SIDE_DEAD: _side_dead,
        Doing.ALL_DEAD: _all_dead,
        Doing.TARGET_ADDED: _target_added,
        Doing.TARGET_REMOVED: _target_removed,
    }
)

# -- other actors: doing it -------------------------------------------------------------------------------------------


def _strike_edit(emulator: Emulator, event: Event) -> None:
    emulator.edit_weights(event.lb_id, event.rule.listener_id, event.rule.location_id, _weights(event))


def _strike_resync(emulator: Emulator, event: Event) -> None:
    bound = emulator.balancer(event.lb_id).rule(event.rule).weights
    weights = {key: weight for key, weight in _weights(event).items() if key in bound}
    emulator.declare(event.lb_id, event.rule, weights)
    emulator.resync(event.lb_id)


def _strike_lock(emulator: Emulator, event: Event) -> None:
    emulator.hold_lock(event.lb_id, event.lasts_seconds)


def _strike_dead(emulator: Emulator, event: Event) -> None:
    place = event.lb_id, event.rule.listener_id, event.rule.location_id
    bound = emulator.balancer(event.lb_id).rule(event.rule).weights
    # Not what they are now, which may be another event's doing.
    healths = {target.key: target.health for target in event.targets if target.key in bound}
    if not healths:
        raise KeyError("none of them is bound any more")
    undo = doings.healths_set(healths)
    emulator.change_later(event.lasts_seconds, event.lb_id, event.rule, "SetHealth", undo)
    for key in healths:
        emulator.set_health(*place, key, Health.DEAD)


def _strike_added(emulator: Emulator, event: Event) -> None:
    place = event.lb_id, event.rule.listener_id, event.rule.location_id
    added = event.targets[0]
    emulator.add_target(*place, added)
    emulator.change_later(event.lasts_seconds, event.lb_id, event.rule, "RemoveTarget", doings.unbound([added.key]))


def _strike_removed(emulator: Emulator, event: Event) -> None:
    place = event.lb_id, event.rule.listener_id, event.rule.location_id
    gone = event.targets[0]
    bound = emulator.balancer(event.lb_id).rule(event.rule).weights
    if not any(key.port == gone.port for key in bound if key != gone.key):
        raise ValueError("it is the last one on its port")
    emulator.remove_target(*place, gone.key)
    back = doings.bound([replace(gone, weight=DEFAULT_WEIGHT)])
    emulator.change_later(event.lasts_seconds, event.lb_id, event.rule, "AddTarget", back)


_STRIKES: Mapping[Doing, Callable[[Emulator, Event], None]] = MappingProxyType(
    {
        Doing.EDIT: _strike_edit,
        Doing.RESYNC: _strike_resync,
        Doing.LOCK: _strike_lock,
        Doing.TARGET_DEAD: _strike_dead,
        Doing.SIDE_DEAD: _strike_dead,
        Doing.ALL_DEAD: _strike_dead,
        Doing.TARGET_ADDED: _strike_added,
        Doing.TARGET_REMOVED: _strike_removed,
    }
)


def _weights(event: Event) -> Mapping[TargetKey, int]:
    return {target.key: target.weight for target in event.targets}


def _name(target: Target) -> str:
    return f"{target.key.address}:{target.port}"


def _place(event: Event) -> str:
    return f"{event.lb_id}/{event.rule.location_id or event.rule.listener_id}"
