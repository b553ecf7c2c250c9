"""Mishaps that belong together: what independent dice hardly ever bring about in the same seconds.

Most of the worst days are two things at once: the target fails while the store is away, somebody promotes right after
somebody else froze. A part of all seeds gets one such pair on top of what they have, and less of everything else, so
that what is in nobody's way is seen undisturbed too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tests.sim.dice import Dice
from tests.sim.plan import SHIFTS, Mishap, Plan, What

_QUIETER: Final = 0.3
_SOONEST_SECONDS: Final = 6.0
_HARD: Final = 0.9

Made = tuple[tuple[Mishap, ...], str]
"""What happens, and what the policies must say of failures for it; empty if anything."""


def with_pair(plan: Plan, dice: Dice, until: float) -> Plan:
    """Return the plan with a pair of mishaps that begins before `until`."""
    at, shift = dice.between(min(_SOONEST_SECONDS, until / 2), until), dice.one_of(SHIFTS)
    more, on_failure = dice.one_of(_PAIRS)(dice, at, shift)
    kept = [each for each in plan.mishaps if dice.hits(_QUIETER)]
    odds = {fate: odd * _QUIETER for fate, odd in plan.odds.items()} if dice.hits(0.5) else plan.odds
    mishaps = sorted((*kept, *more), key=lambda each: (each.at, each.what, each.whom))
    return replace(plan, mishaps=tuple(mishaps), odds=odds, on_failure=on_failure or plan.on_failure)


def _failing(at: float, shift: str, seconds: float) -> Mishap:
    return Mishap(at, What.FAILING, shift, seconds, _HARD)


def _ordered(at: float, shift: str, word: str, seconds: float = 8.0) -> Mishap:
    return Mishap(at, What.ORDER, shift, seconds, 50.0, word)


def _without_a_store(dice: Dice, at: float, shift: str) -> Made:
    """It fails while nothing can be saved."""
    away = Mishap(at + dice.between(0.0, 2.0), What.NO_STORE, shift, 25.0)
    return (_failing(at, shift, 25.0), away), "rollback"


def _while_paused(dice: Dice, at: float, shift: str) -> Made:
    """It fails, or somebody wants it back, while somebody paused it."""
    back = _failing(at + 3, shift, 25.0) if dice.hits(0.5) else _ordered(at + 3, shift, "rollback")
    return (_ordered(at, shift, "pause"), back), "rollback"


def _while_frozen(dice: Dice, at: float, _: str) -> Made:
    """Somebody promotes what somebody else froze."""
    asked = tuple(_ordered(at + dice.between(1.0, 4.0), shift, "promote") for shift in SHIFTS)
    full = tuple(_ordered(at + dice.between(4.0, 6.0), shift, "promote full") for shift in SHIFTS)
    return (_ordered(at, "", "freeze"), *asked, *full), ""


def _while_failing(dice: Dice, at: float, shift: str) -> Made:
    """Somebody promotes what fails and is not sent back by itself."""
    asked = tuple(_ordered(at + dice.between(4.0, 16.0), shift, "promote") for _ in range(3))
    return (_failing(at, shift, 22.0), *asked), "hold"


def _for_a_moment(dice: Dice, at: float, shift: str) -> Made:
    """It fails once, at one share, and then no more."""
    return (_failing(at, shift, dice.between(4.0, 9.0)),), "stepBack"


def _for_long(_: Dice, at: float, shift: str) -> Made:
    return (_failing(at, shift, 30.0),), "rollback"


def _on_fresh_pods(dice: Dice, at: float, shift: str) -> Made:
    """It fails while its pods restart again and again."""
    pods = tuple(Mishap(at + 2.0 * number, What.POD, "target", 1.0, dice.between(1.0, 4.0)) for number in range(8))
    return (_failing(at, shift, 25.0), *pods), "rollback"


def _hands_off(dice: Dice, at: float, shift: str) -> Made:
    """Hands off while it climbs or fails."""
    off = _ordered(at, shift, "hands off", dice.between(8.0, 20.0))
    return ((off, _failing(at + 1, shift, 20.0)) if dice.hits(0.5) else (off,)), "rollback"


def _over_an_edit(dice: Dice, at: float, shift: str) -> Made:
    """Somebody sets weights, and then members come and go."""
    edit = Mishap(at, What.EDIT, shift, 0.0, dice.between(0.0, 0.6))
    churn = tuple(
        Mishap(at + dice.between(5.0, 9.0), what, shift, 12.0, dice.between(0.0, 1.0))
        for what in (What.DEAD, What.BOUND)
    )
    return (edit, *churn), ""


def _orders_at_once(dice: Dice, at: float, shift: str) -> Made:
    """Somebody stops it again and again, within moments of whatever it is doing."""
    words = ("pause", "resume", "rollback", "retry", "freeze", "unfreeze")
    asked = tuple(_ordered(at + dice.between(0.0, 12.0), shift, word) for word in words for _ in range(2))
    return asked, ""


_PAIRS: Final[tuple[Callable[[Dice, float, str], Made], ...]] = (
    _without_a_store,
    _while_paused,
    _while_frozen,
    _while_failing,
    _for_a_moment,
    _for_long,
    _on_fresh_pods,
    _hands_off,
    _over_an_edit,
    _orders_at_once,
)
