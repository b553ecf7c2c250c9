"""How the steps of `shifter mesh` are shown while they are looked at or carried out, and who confirms them first."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import click

from shifter.cli.exits import CommandError, Exit, say
from shifter.cli.holding import here, is_gone
from shifter.cli.output import clean
from shifter.cli.session import Session
from shifter.mesh.installing.lock import Lock
from shifter.mesh.installing.site import Site
from shifter.mesh.installing.steps import Look, Outcome, Step, Told

MARKS: Final = {Outcome.WAS_DONE: "=", Outcome.DONE: "+", Outcome.WOULD_BE_DONE: "+", Outcome.NOT_KNOWN_YET: "?"}


class Collecting:
    """Keeps what has ended, and says nothing of it."""

    def __init__(self) -> None:
        self.told: list[Told] = []

    def begins(self, step: Step, look: Look) -> None:
        """Nothing is kept of it."""

    def ended(self, told: Told) -> None:
        """Keep it."""
        self.told.append(told)


class Saying(Collecting):
    """Says every step as it begins and ends, and lets none begin without the locks."""

    def __init__(self, locks: Sequence[Lock]) -> None:
        super().__init__()
        self._locks = locks

    def begins(self, step: Step, look: Look) -> None:
        """Say what is begun."""
        for lock in self._locks:
            lock.check()
        say(f"  {clean(f'{step.cluster}  {step.title}: {look.says}')} ...")

    def ended(self, told: Told) -> None:
        """Say what became of it."""
        super().ended(told)
        took = f" ({told.seconds:.1f} s)" if told.outcome is Outcome.DONE else ""
        say(f"{line_of(told)}{took}")


def line_of(told: Told) -> str:
    """Return a step as one line."""
    return clean(f"{MARKS[told.outcome]} {told.step.cluster}  {told.step.title}: {told.look.says}")


def row_of(told: Told) -> Mapping[str, object]:
    """Return a step as programs read it."""
    return {
        "cluster": told.step.cluster,
        "step": told.step.title,
        "outcome": told.outcome.value,
        "says": told.look.says,
        "detail": told.look.detail,
    }


def ask(session: Session, what: str) -> None:
    """Have a person confirm what is about to be done.

    Raises:
        CommandError: not confirmed, or nobody is there to ask.
    """
    if not session.can_ask():
        raise CommandError(Exit.USAGE, f"{what}: not confirmed, and there is no terminal to ask", "pass --yes")
    if not click.confirm(f"{what}\nGo ahead?", err=True):
        raise CommandError(Exit.UNEXPECTED, "not confirmed; nothing was changed")


def lock_of(site: Site) -> Lock:
    """Return the lock of a cluster, to be held by this process; whoever waits for it is told."""

    def waits(said: str) -> None:
        say(f"  {clean(said)}")

    return Lock(site, here(os.getpid()), lambda: datetime.now(UTC), is_gone=is_gone, waits=waits)
