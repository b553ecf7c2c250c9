"""The part of a fleet file that says how replicas in a cluster take turns: who leads, for how long, and who waits.

The argument, in the words of the settings. A leader believes in its lease for `deadline` after it *began to send* the
last renewal that succeeded; somebody else takes it when `duration` has passed since they *saw the answer* that showed
that renewal. So whatever the network does, the one stops before the other begins if no clock runs more than
`duration / deadline` times as fast as another: half as fast again, at least. A write starts only while `write_budget`
is left of the deadline, and who takes the lease waits `write_budget` more, so that a write that was begun in time has
ended. No clocks of two machines are ever compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from shifter.core.documents.schema import Duration, StrictModel
from shifter.errors import ConfigError

SKEW: Final = 1.5
"""So much faster than another's a clock may run."""

LONGEST_SECONDS: Final = 600
"""The longest lease: with any longer one nobody goes back for ten minutes after a machine died."""

_HAIR: Final = 1e-9
"""By so little a sum of decimals may be off."""

LONGEST_LOWERING_SECONDS: Final = 4 * 3600.0
"""The longest that shares may be lowered without a lease."""


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """The settings of a lease, in seconds.

    `lowering` is how long after its last renewal a leader may still lower shares when the API server does not answer;
    see `KubeLease.may_lower`. A lease of fewer seconds than the default hands over sooner and is lost sooner.

    Raises:
        ConfigError: they do not fit each other; the text names every rule that is broken, with its numbers.
    """

    duration_seconds: float = 30.0
    deadline_seconds: float = 20.0
    write_budget_seconds: float = 8.0
    renew_seconds: float = 5.0
    call_seconds: float = 5.0
    lowering_seconds: float = 900.0

    def __post_init__(self) -> None:
        """Refuse settings under which two could lead, or nobody could for long; they are never adjusted."""
        if broken := [*self._nonsense()] or [*self._misfits()]:
            raise ConfigError(f"the lease's timing: {'; '.join(broken)}")

    @property
    def retry_seconds(self) -> float:
        """How soon a renewal that failed is tried again."""
        return self.renew_seconds / 2

    @property
    def hand_over_seconds(self) -> float:
        """How long after a leader was killed another leads, at most: lease, write budget and two polls."""
        return self.duration_seconds + self.write_budget_seconds + 2 * self.renew_seconds

    def _nonsense(self) -> Iterator[str]:
        for name in self.__slots__:
            if not 0 < (seconds := getattr(self, name)) < math.inf:
                yield f"{_words(name)} is {seconds:g} s and must be more than 0 s"
        if self.duration_seconds != int(self.duration_seconds) or self.duration_seconds > LONGEST_SECONDS:
            yield f"duration is {self.duration_seconds:g} s and must be whole seconds, at most {LONGEST_SECONDS}"
        if self.lowering_seconds > LONGEST_LOWERING_SECONDS:
            yield f"lowering is {self.lowering_seconds:g} s and must be at most {LONGEST_LOWERING_SECONDS:g} s"

    def _misfits(self) -> Iterator[str]:
        deadline, budget, renew = self.deadline_seconds, self.write_budget_seconds, self.renew_seconds
        if budget > (most := deadline - 2 * renew) + _HAIR:
            yield (
                f"write budget is {budget:g} s and must be at most deadline - 2 x renew ({deadline:g} s - 2 x {renew:g}"
                f" s = {most:g} s), or one lost renewal stops every climb"
            )
        if deadline * SKEW > self.duration_seconds + _HAIR:
            yield (
                f"deadline is {deadline:g} s and must be at most duration / {SKEW:g} ({self.duration_seconds:g} s /"
                f" {SKEW:g} = {self.duration_seconds / SKEW:g} s), or with clocks of unlike speed two could lead"
            )
        if (needed := renew + 2 * self.call_seconds) > deadline + _HAIR:
            yield (
                f"deadline is {deadline:g} s and must be at least renew + 2 x call ({renew:g} s + 2 x"
                f" {self.call_seconds:g} s = {needed:g} s), or a renewal whose answer is lost costs the lease"
            )
        if self.lowering_seconds < (least := self.duration_seconds + budget):
            yield (
                f"lowering is {self.lowering_seconds:g} s and must be at least duration + write budget"
                f" ({self.duration_seconds:g} s + {budget:g} s = {least:g} s): before that nobody else can lead"
            )


def _words(field: str) -> str:
    return field.removesuffix("_seconds").replace("_", " ")


class Leasing(StrictModel):
    """The lease of the service in a cluster; a store in a file has none of these. The numbers must fit each other.

    `duration`: after so long without a renewal another replica takes the lease. `deadline`: after so long its holder
    gives it up. `writeBudget`: a write that raises a share starts only while so much of the deadline is left, and a new
    leader waits so much longer. `renew`: how often the lease is renewed. `call`: how long one renewal may take.
    `lowering`: how long after the last renewal shares may still be lowered while the API server does not answer.
    """

    duration: Duration = timedelta(seconds=30)
    deadline: Duration = timedelta(seconds=20)
    write_budget: Duration = timedelta(seconds=8)
    renew: Duration = timedelta(seconds=5)
    call: Duration = timedelta(seconds=5)
    lowering: Duration = timedelta(minutes=15)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        try:
            self.timing()
        except ConfigError as error:
            raise PydanticCustomError("timing", "{why}", {"why": str(error), "at": ()}) from error
        return self

    def timing(self) -> LeaseTiming:
        """Return the same in seconds.

        Raises:
            ConfigError: they do not fit each other.
        """
        return LeaseTiming(
            duration_seconds=self.duration.total_seconds(),
            deadline_seconds=self.deadline.total_seconds(),
            write_budget_seconds=self.write_budget.total_seconds(),
            renew_seconds=self.renew.total_seconds(),
            call_seconds=self.call.total_seconds(),
            lowering_seconds=self.lowering.total_seconds(),
        )
