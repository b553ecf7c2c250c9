"""What goes wrong during a soak, and when: pure, the same for the same seed and length.

Each group of faults is a stream of its own, with its own dice, so that several are in force at once and a change in
one group does not reshuffle the others. Every fault ends by itself or is undone after `lasts_seconds`, and none goes
on into the calm at the end. What the parts make of it is theirs: a seed replays the schedule, not the threads.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import EVERYBODY
from shifter.lab.emulator import FaultKind, LoadBalancer
from shifter.lab.emulator.weather import Event, forecast
from shifter.lab.topology import GATEWAY_PODS, MESHES, SOURCE_MESH, TARGET_MESH

CALM_SECONDS: Final = 60.0
"""The end of a soak is calm for so long, or for half of a short one: then everything must end well."""

_WARM_UP_SECONDS: Final = 3.0
_VERBS: Final = (
    *("pause", "pause", "resume", "resume", "promote", "promote", "promote", "rollback", "retry"),
    *("approve", "approve", "reconcile", "reconcile", "freeze", "unfreeze"),
)
_OFTEN: Final = 0.25
_TO_EVERYBODY: Final = frozenset({"freeze", "unfreeze"})
_PEOPLE: Final = ("ann", "bo")
_FULL: Final = 0.15
_OVERRIDE: Final = 0.05
_EVERYWHERE: Final = 0.25
_WEATHER_GAP_SECONDS: Final = 4.0
_WEATHER_LONGEST_SECONDS: Final = 8.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One order of a person: when, counted from the beginning of the trouble, and in which words."""

    after_seconds: float
    verb: str
    shift: str
    by: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing to do wrong. `at_seconds` counts from the beginning of the soak.

    `namespaces`, `meshes` and `balancer` say where; `amount` is percent, seconds or a count, by its kind; `what` names
    an action, a fault or a pod.
    """

    number: int
    kind: Kind
    at_seconds: float
    lasts_seconds: float
    namespaces: tuple[str, ...] = ()
    meshes: tuple[str, ...] = ()
    balancer: str = ""
    amount: float = 0.0
    what: tuple[str, ...] = ()
    orders: tuple[Asked, ...] = ()
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class _Stream:
    """One group: how long until the next one after the last has ended, how long one lasts, and what it is."""

    name: str
    gap_seconds: tuple[float, float]
    lasts_seconds: tuple[float, float]
    draw: Callable[[random.Random, Trouble], Trouble]


def calm_seconds(seconds: float) -> float:
    """How long the calm at the end of a soak of `seconds` is."""
    return min(CALM_SECONDS, seconds / 2)


@dataclass(frozen=True, slots=True)
class Site:
    """What a soak may disturb: the balancers with their rules, the CLB of each namespace, and what people may order."""

    balancers: tuple[LoadBalancer, ...]
    balancer_of: Mapping[str, str]
    verbs: frozenset[str]


def plan(seed: int, seconds: float, site: Site) -> tuple[Trouble, ...]:
    """Return every trouble of a soak, by time.

    Args:
        seed: of all dice.
        seconds: how long the soak is, its calm included; above 0.
        site: what there is to disturb.

    Raises:
        ValueError: no namespace, or no time.
    """
    if not site.balancer_of or seconds <= 0:
        raise ValueError("a soak needs a namespace and some time")
    until = seconds - calm_seconds(seconds)
    drawn = [trouble for stream in _streams(site) for trouble in _drawn(stream, seed, until)]
    drawn += _weather(seed, until, site)
    drawn.sort(key=lambda trouble: (trouble.at_seconds, trouble.kind))
    return tuple(replace(trouble, number=number) for number, trouble in enumerate(drawn, start=1))


def _weather(seed: int, until: float, site: Site) -> Iterator[Trouble]:
    """What the cloud does wrong by itself: every kind of fault, as the emulator's own forecast has it."""
    events = forecast(
        random.Random(f"{seed}/weather"),
        site.balancers,
        until,
        mean_gap_seconds=_WEATHER_GAP_SECONDS,
        kinds=tuple(FaultKind),
        longest_seconds=_WEATHER_LONGEST_SECONDS,
    )
    for event in events:
        hurt = tuple(name for name, balancer in site.balancer_of.items() if balancer == event.lb_id)
        if event.at_seconds > _WARM_UP_SECONDS and event.at_seconds + event.lasts_seconds <= until:
            yield Trouble(0, Kind.CLOUD, event.at_seconds, event.lasts_seconds, hurt, balancer=event.lb_id, event=event)


def _drawn(stream: _Stream, seed: int, until: float) -> Iterator[Trouble]:
    dice = random.Random(f"{seed}/{stream.name}")
    at = _WARM_UP_SECONDS + dice.uniform(0, stream.gap_seconds[1])
    while True:
        lasts = dice.uniform(*stream.lasts_seconds)
        if at + lasts > until:
            return
        trouble = stream.draw(dice, Trouble(0, Kind.ORDERS, round(at, 2), round(lasts, 2)))
        yield trouble
        at += lasts + dice.uniform(*stream.gap_seconds)


def _streams(site: Site) -> tuple[_Stream, ...]:
    balancer_of, names = site.balancer_of, sorted(site.balancer_of)
    verbs = tuple(verb for verb in _VERBS if verb in site.verbs)
    return (
        _Stream("lock", (15, 35), (2, 6), lambda dice, base: _lock(dice, base, balancer_of)),
        _Stream("console", (30, 60), (6, 12), lambda dice, base: _console(dice, base, names)),
        _Stream("members", (10, 25), (4, 11), lambda dice, base: _members(dice, base, names)),
        _Stream("metrics", (20, 40), (3, 11), _metrics),
        _Stream("service", (15, 35), (0.5, 8), _service),
        _Stream("gateways", (40, 70), (3, 6), _gateway),
        _Stream("namespaces", (4, 12), (6, 20), lambda dice, base: _namespace(dice, base, names)),
        _Stream("policies", (25, 50), (4, 10), lambda dice, base: _policy(dice, base, names)),
        _Stream("people", (4, 12), (1, 3), lambda dice, base: _people(dice, base, names, verbs)),
    )


def _lock(dice: random.Random, base: Trouble, balancer_of: Mapping[str, str]) -> Trouble:
    balancer = dice.choice(sorted(set(balancer_of.values())))
    hurt = tuple(name for name in sorted(balancer_of) if balancer_of[name] == balancer)
    return replace(base, kind=Kind.LOCK, namespaces=hurt, balancer=balancer)


def _console(dice: random.Random, base: Trouble, names: Sequence[str]) -> Trouble:
    kind = dice.choice((Kind.EDIT, Kind.RESYNC))
    return replace(base, kind=kind, namespaces=(dice.choice(names),), amount=float(dice.randint(1, 100)))


def _members(dice: random.Random, base: Trouble, names: Sequence[str]) -> Trouble:
    mesh = dice.choice((SOURCE_MESH, TARGET_MESH, TARGET_MESH))
    namespaces = (dice.choice(names),)
    if dice.random() < 0.4:  # noqa: PLR2004 - less often than a target that only dies
        return replace(base, kind=Kind.GONE, namespaces=namespaces, meshes=(mesh,), amount=dice.choice((0.0, 10.0)))
    most = GATEWAY_PODS[mesh]
    count = most if dice.random() < _EVERYWHERE else dice.randint(1, most - 1)
    return replace(base, kind=Kind.DEAD, namespaces=namespaces, meshes=(mesh,), amount=float(count))


def _metrics(dice: random.Random, base: Trouble) -> Trouble:
    kind = dice.choice((Kind.NO_METRICS, Kind.HUNG_METRICS, Kind.SLOW_METRICS))
    meshes = MESHES if dice.random() < _EVERYWHERE else (dice.choice(MESHES),)
    return replace(base, kind=kind, meshes=meshes)


def _service(dice: random.Random, base: Trouble) -> Trouble:
    return replace(base, kind=dice.choice((Kind.KILLED, Kind.KILLED, Kind.FROZEN, Kind.RESTARTED)))


def _gateway(dice: random.Random, base: Trouble) -> Trouble:
    mesh = dice.choice(MESHES)
    return replace(base, kind=Kind.GATEWAY, meshes=(mesh,), amount=float(dice.randrange(GATEWAY_PODS[mesh])))


def _namespace(dice: random.Random, base: Trouble, names: Sequence[str]) -> Trouble:
    kind = dice.choice((Kind.FAILING, Kind.FAILING, Kind.SLOW))
    meshes = dice.choice((*[(TARGET_MESH,)] * 5, (SOURCE_MESH,), MESHES))
    amount = dice.uniform(20, 100) if kind is Kind.FAILING else dice.uniform(0.4, 1.5)
    # Everything failing is as often pods that are gone (503 UH) as an application that refuses.
    dead = kind is Kind.FAILING and dice.random() < 0.2  # noqa: PLR2004 - one in five
    what = ("no pods",) if dead else ("aborts",)
    return replace(base, kind=kind, namespaces=(dice.choice(names),), meshes=meshes,
                   amount=100.0 if dead else round(amount, 2), what=what)  # fmt: skip


def _policy(dice: random.Random, base: Trouble, names: Sequence[str]) -> Trouble:
    kind = dice.choice((Kind.POLICY_BROKEN, Kind.POLICY_GONE, Kind.POLICY_EDITED))
    return replace(base, kind=kind, namespaces=(dice.choice(names),), amount=float(dice.randint(1, 4)))


def _people(dice: random.Random, base: Trouble, names: Sequence[str], verbs: Sequence[str]) -> Trouble:
    """Two people at the same shift within a second; they need not agree."""
    shift = dice.choice(names)
    orders = []
    for person in dice.sample(_PEOPLE, dice.randint(1, 2)):
        verb = dice.choice(verbs)
        whom = EVERYBODY if verb in _TO_EVERYBODY else shift
        orders.append(Asked(round(dice.uniform(0, 0.9), 2), verb, whom, person, _words(dice, verb, verbs)))
    return replace(base, kind=Kind.ORDERS, namespaces=(shift,), orders=tuple(orders))


def _words(dice: random.Random, verb: str, verbs: Sequence[str]) -> tuple[str, ...]:
    """The options of an order; `--hands-off` came together with `freeze`."""
    luck = dice.random()
    if verb == "promote" and luck < _FULL:
        return ("--full", "--yes", *(("--override",) if luck < _OVERRIDE else ()))
    if verb == "pause" and luck < _OFTEN and "freeze" in verbs:
        return ("--hands-off", "--for", f"{dice.randint(3, 8)}s")
    if verb == "reconcile":
        return ("--adopt" if luck < 2 * _OFTEN else "--restore", "--yes")
    return ("--yes",) if verb in {"rollback", "unfreeze"} else ()
