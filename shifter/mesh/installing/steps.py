"""What a step is, and how steps are carried out or only looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from shifter.errors import ShifterError, TransientError


class InstallError(ShifterError):
    """A step did not lead to what it is for; the clusters are as far as the steps before it brought them."""


class NotReadyError(TransientError):
    """What was installed did not become ready in time; the text has what the cluster says of it."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a step found. `needed`: it has to act. `says` is what there is, or what would be done, in a few words.

    `detail` is for who wants to know exactly: lines of a difference.
    """

    needed: bool
    says: str
    detail: str = ""


class Step(Protocol):
    """One step of an installation."""

    @property
    def cluster(self) -> str:
        """In which cluster, by its name in the mesh."""

    @property
    def title(self) -> str:
        """What it is for, in a few words."""

    def look(self) -> Look:
        """Return whether it is needed; changes nothing.

        Raises:
            EarlierError: that cannot be known before an earlier step was carried out.
            ShifterError: a guard refuses, or a cluster does not answer.
        """

    def act(self) -> None:
        """Do it, and wait until it is done; doing it again does no harm.

        Raises:
            ShifterError: it was not done, or perhaps not; the next look will tell.
        """


class EarlierError(ShifterError):
    """A step cannot look yet: an earlier one has to be carried out first; the text says what is not known."""


class Outcome(StrEnum):
    """What became of a step."""

    WAS_DONE = "done before"
    DONE = "done"
    WOULD_BE_DONE = "would be done"
    NOT_KNOWN_YET = "not known yet"


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of a step when it ends; `seconds` is how long it took."""

    step: Step
    outcome: Outcome
    look: Look
    seconds: float


class Telling(Protocol):
    """Who is told of every step."""

    def begins(self, step: Step, look: Look) -> None:
        """A step begins to act."""

    def ended(self, told: Told) -> None:
        """A step has ended."""


def carry_out(steps: Iterable[Step], telling: Telling, monotonic: Callable[[], float]) -> None:
    """Carry steps out in their order.

    Args:
        steps: what to do.
        telling: is told of each.
        monotonic: a clock, in seconds.

    Raises:
        ShifterError: of the first step that failed; those after it were not begun.
    """
    for step in steps:
        began = monotonic()
        look = step.look()
        if not look.needed:
            telling.ended(Told(step, Outcome.WAS_DONE, look, monotonic() - began))
            continue
        telling.begins(step, look)
        step.act()
        if (again := step.look()).needed:
            raise InstallError(f"{step.cluster}: {step.title}: carried out, and still needed: {again.says}")
        telling.ended(Told(step, Outcome.DONE, again, monotonic() - began))


def look_at(steps: Iterable[Step], telling: Telling, monotonic: Callable[[], float]) -> bool:
    """Look at all steps without carrying one out, and say whether any is needed.

    Raises:
        ShifterError: a guard refuses, or a cluster does not answer.
    """
    needed = False
    for step in steps:
        began = monotonic()
        try:
            look = step.look()
        except EarlierError as error:
            needed = True
            telling.ended(Told(step, Outcome.NOT_KNOWN_YET, Look(needed=True, says=str(error)), monotonic() - began))
            continue
        needed = needed or look.needed
        outcome = Outcome.WOULD_BE_DONE if look.needed else Outcome.WAS_DONE
        telling.ended(Told(step, outcome, look, monotonic() - began))
    return needed
