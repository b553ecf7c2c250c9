"""TKE's controller, as far as it hurts: it holds a declaration for the truth and writes it back over anybody's weights.

Triggers of a resync are a change of the Service, a node or an endpoint, and a restart of the controller (TKE's
document on using an existing CLB: what is changed in the console is overwritten). Whether a resync in which nothing
else changed resets weights is not said word for word; here it does. The controller takes the balancer's lock like
everybody: it waits for its turn, and keeps others waiting.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from shifter.lab.emulator.agenda import Agenda
from shifter.lab.emulator.balancers import RuleKey, Target, TargetKey
from shifter.lab.emulator.cloud import Cloud
from shifter.lab.emulator.doings import as_declared

SHORTEST_SECONDS, LONGEST_SECONDS = 0.05, 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What TKE holds for the truth about one rule.

    `every_seconds` is how often it says so by itself, None for only when told; `members` whether it also binds and
    unbinds targets.
    """

    lb_id: str
    rule: RuleKey
    targets: Mapping[TargetKey, Target]
    every_seconds: float | None = None
    members: bool = False

    def __post_init__(self) -> None:
        if self.every_seconds is not None and not SHORTEST_SECONDS <= self.every_seconds <= LONGEST_SECONDS:
            raise ValueError(
                f"every_seconds must be {SHORTEST_SECONDS}..{LONGEST_SECONDS:.0f}, not {self.every_seconds}"
            )


class Tke:
    """One controller with its declarations, one per rule. Not thread-safe: the emulator owns the lock around it.

    Args:
        agenda: where its next resyncs are planned.
        lock_seconds: how long a resync keeps the balancer locked.
    """

    def __init__(self, agenda: Agenda, lock_seconds: float) -> None:
        self._agenda = agenda
        self._lock_seconds = lock_seconds
        self._declared: dict[tuple[str, RuleKey], Declaration] = {}
        self._waiting: set[tuple[str, RuleKey]] = set()

    @property
    def declarations(self) -> tuple[Declaration, ...]:
        """Everything declared, oldest first."""
        return tuple(self._declared.values())

    def declare(self, declaration: Declaration, now: float) -> None:
        """Hold this for the truth about its rule, instead of what was declared before."""
        self._declared[declaration.lb_id, declaration.rule] = declaration
        if declaration.every_seconds is not None:
            self._plan(declaration, declaration.every_seconds, now)

    def withdraw(self, lb_id: str) -> int:
        """Forget every declaration about a balancer; return how many there were."""
        known = [place for place in self._declared if place[0] == lb_id]
        for place in known:
            del self._declared[place]
        return len(known)

    def resync(self, cloud: Cloud, lb_id: str, now: float) -> int:
        """Write back what was declared about a balancer, now or when it is free; return for how many rules."""
        known = tuple(one for one in self.declarations if one.lb_id == lb_id)
        if known:
            self._write(known, cloud, now)
        return len(known)

    def _plan(self, one: Declaration, every_seconds: float, now: float) -> None:
        def again(cloud: Cloud, then: float) -> None:
            if self._declared.get((one.lb_id, one.rule)) is one:
                self._write((one,), cloud, then)
                self._agenda.add(then + every_seconds, again)

        self._agenda.add(now + every_seconds, again)

    def _write(self, ones: tuple[Declaration, ...], cloud: Cloud, now: float) -> None:
        lb_id = ones[0].lb_id
        if cloud.is_locked(lb_id, now):
            self._write_later(ones, cloud.locked_until(lb_id))
            return
        balancer = cloud.balancer(lb_id)
        current = [one for one in ones if self._declared.get((lb_id, one.rule)) is one]
        if balancer is None or not current:
            return
        for one in current:
            changed = as_declared(one.targets, members=one.members)(balancer.rule(one.rule))
            cloud.put_rule(lb_id, one.rule, changed, action="TkeResync", now=now)
        cloud.hold_lock(lb_id, now + self._lock_seconds)

    def _write_later(self, ones: tuple[Declaration, ...], at: float) -> None:
        """Wait in line for the balancer; who waits already does not wait twice."""
        new = tuple(one for one in ones if (one.lb_id, one.rule) not in self._waiting)
        if not new:
            return
        self._waiting |= {(one.lb_id, one.rule) for one in new}

        def write(cloud: Cloud, then: float) -> None:
            self._waiting -= {(one.lb_id, one.rule) for one in new}
            self._write(new, cloud, then)

        self._agenda.add(at, write)
