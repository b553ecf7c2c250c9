"""What other actors do to a rule: a health check, an autoscaler, TKE. Pure: a rule in, a rule out.

Each of them tolerates that the world moved on: who is no longer bound is passed over. Whoever needs to be told
(a person at the controls) asks `missing` first.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from shifter.lab.emulator.balancers import MAX_TARGETS, Health, Rule, Target, TargetKey

Doing: TypeAlias = Callable[[Rule], Rule]


def missing(rule: Rule, keys: Iterable[TargetKey]) -> list[TargetKey]:
    """Return those of the keys that name no target of the rule."""
    return sorted(set(keys) - rule.weights.keys())


def healths_set(healths: Mapping[TargetKey, Health], detail: Health | None = None) -> Doing:
    """Let the health check come to another opinion of some targets; `detail` contradicts it in the answers."""

    def changed(rule: Rule) -> Rule:
        return replace(
            rule,
            targets=tuple(
                replace(one, health=healths[one.key], detail=detail) if one.key in healths else one
                for one in rule.targets
            ),
        )

    return changed


def bound(targets: Collection[Target]) -> Doing:
    """Bind targets that are not bound yet, as far as there is room; the others stay as they are."""

    def changed(rule: Rule) -> Rule:
        new = tuple(target for target in targets if target.key not in rule.weights)
        return replace(rule, targets=(*rule.targets, *new)[:MAX_TARGETS])

    return changed


def unbound(keys: Collection[TargetKey]) -> Doing:
    """Unbind targets."""
    return lambda rule: replace(rule, targets=tuple(one for one in rule.targets if one.key not in keys))


def as_declared(declared: Mapping[TargetKey, Target], *, members: bool) -> Doing:
    """Give the declared weights back, as a controller does that holds its own word for the truth.

    Args:
        declared: the targets as they are meant to be, by key.
        members: also bind what is missing and unbind what is not declared.
    """

    def changed(rule: Rule) -> Rule:
        kept = tuple(
            replace(one, weight=declared[one.key].weight) if one.key in declared else one
            for one in rule.targets
            if one.key in declared or not members
        )
        new = tuple(target for key, target in declared.items() if members and key not in rule.weights)
        return replace(rule, targets=(*kept, *new))

    return changed
