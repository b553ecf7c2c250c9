"""What a drill goes through, and in which order: pure, so that a test can say that nothing is left out.

A moment needs something to be going on, or its call is never made. Those of a shift's very first write come first, as
there is no second; then those that need nothing; then climbs and retreats by turns, so that each leaves behind what the
next one needs; then the weights for a share that fell by itself, and what the cloud fails at. Those of a start have no
turn of their own: there the service dies a second time, while it takes up what the first death left behind. The freezes
come last, since each takes longer than a kill.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, zip_longest
from types import MappingProxyType
from typing import Final

from shifter.lab.failpoints import CALLS, Act, Edge


class Need(StrEnum):
    """What must be going on for a call to be made."""

    OPENING = "the first write of a shift"
    NOTHING = "nothing"
    START = "a start"
    ORDER = "an order"
    FREEZE = "an order to all shifts"
    CLIMB = "a climb"
    RETREAT = "a retreat"
    FALL = "a share that fell by itself"
    FAILURE = "a write that fails"
    MIXTURE = "a climb of which a part is applied"


NEEDS: Final[Mapping[str, Need]] = MappingProxyType(
    {
        **dict.fromkeys(CALLS, Need.NOTHING),
        "store.save.keep": Need.OPENING,
        "provider.submit.keep": Need.FALL,
        "store.load": Need.START,
        "store.load_fleet": Need.START,
        "store.prune": Need.START,
        "metrics.past": Need.START,
        "store.save.order": Need.ORDER,
        "store.save_fleet": Need.FREEZE,
        "store.save.climb": Need.CLIMB,
        "store.save.phase": Need.CLIMB,
        "store.save.operation": Need.CLIMB,
        "store.save.done.climb": Need.CLIMB,
        "provider.submit.climb": Need.CLIMB,
        "provider.check": Need.CLIMB,
        "store.save.retreat": Need.RETREAT,
        "store.save.done.retreat": Need.RETREAT,
        "provider.submit.retreat": Need.RETREAT,
        "store.save.failed": Need.FAILURE,
        "store.save.repair": Need.MIXTURE,
    }
)


AGAIN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "store.report:before": "metrics.past:before",
        "store.report:after": "metrics.past:after",
        "store.save.climb:after": "store.load:before",
        "store.save.retreat:after": "store.load:after",
        "provider.submit.climb:before": "store.prune:before",
        "provider.submit.climb:after": "store.prune:after",
        "provider.submit.retreat:before": "store.load_fleet:before",
        "provider.submit.retreat:after": "store.load_fleet:after",
    }
)
"""At which failpoint of its start the service dies once more, by the one at which it died first."""


class Part(StrEnum):
    """What can be frozen from outside, whatever it is doing."""

    SOURCE_METRICS = "tcm's Prometheus"
    TARGET_METRICS = "istio's Prometheus"
    CLOUD = "the emulator"


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that a drill does to the service or to a part that it asks.

    Args:
        name: the failpoint, or what is frozen from outside, as people and `--only` call it.
        act: what becomes of it.
        need: what must be going on.
        part: what is frozen from outside; None at a failpoint.
        ordered: what a person orders while all of it stands still; empty if nobody does.
        again: the failpoint at which it dies once more when it is started; empty if it does not.
    """

    name: str
    act: Act
    need: Need
    part: Part | None = None
    ordered: str = ""
    again: str = ""

    def __str__(self) -> str:
        """Return what happens, in words."""
        return f"{self.act} at {self.name}{f', again at {self.again}' if self.again else ''}"


_FROZEN: Final = (
    Moment("store.save.climb:after", Act.STOP, Need.CLIMB, ordered="rollback"),
    Moment("provider.submit.climb:before", Act.STOP, Need.CLIMB, ordered="rollback"),
    Moment("provider.submit.climb:after", Act.STOP, Need.CLIMB),
    Moment("provider.submit.retreat:before", Act.STOP, Need.RETREAT),
)
"""Stopped between the last look and the call, with the contrary ordered meanwhile: what no lease can prevent."""

_PARTS: Final = (
    Moment(Part.SOURCE_METRICS, Act.STOP, Need.CLIMB, Part.SOURCE_METRICS, "rollback"),
    Moment(Part.TARGET_METRICS, Act.STOP, Need.CLIMB, Part.TARGET_METRICS, "rollback"),
    Moment(Part.CLOUD, Act.STOP, Need.CLIMB, Part.CLOUD),
    Moment(f"{Part.CLOUD}, and a rollback", Act.STOP, Need.CLIMB, Part.CLOUD, "rollback"),
)


def plan(only: Iterable[str] = ()) -> tuple[Moment, ...]:
    """Return every moment of a drill in order, or those only of which a name begins with one of `only`.

    Raises:
        ValueError: nothing has a name like that.
    """
    names = [(f"{call}:{edge}", NEEDS[call]) for call in CALLS for edge in Edge]
    kills = [Moment(name, Act.KILL, need, again=AGAIN.get(name, "")) for name, need in names if need is not Need.START]
    by_need = {need: [each for each in kills if each.need is need] for need in Need}
    turns = zip_longest(by_need[Need.CLIMB], by_need[Need.RETREAT])
    found = (
        *(
            by_need[Need.OPENING]
            + by_need[Need.NOTHING]
            + by_need[Need.START]
            + by_need[Need.ORDER]
            + by_need[Need.FREEZE]
        ),
        *(each for each in chain.from_iterable(turns) if each is not None),
        *(by_need[Need.FALL] + by_need[Need.FAILURE] + by_need[Need.MIXTURE]),
        *_FROZEN,
        *_PARTS,
    )
    beginnings = tuple(only)
    for beginning in beginnings:
        if not any(_is_named(each, (beginning,)) for each in found):
            raise ValueError(f"no failpoint, and nothing else that freezes, begins with {beginning!r}")
    return tuple(each for each in found if not beginnings or _is_named(each, beginnings))


def _is_named(moment: Moment, beginnings: tuple[str, ...]) -> bool:
    return moment.name.startswith(beginnings) or moment.again.startswith(beginnings)
