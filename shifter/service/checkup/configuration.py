"""The files that people write, through the same reader and the same rules as the service's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from shifter.core.documents.fleet import Fleet
from shifter.core.documents.policy import ShiftPolicy
from shifter.errors import ConfigError, Problem
from shifter.files.documents import load_fleet
from shifter.service.checkup.findings import Finding, Group, Notes, few
from shifter.service.policy_files import PolicyFolder


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the files say, as far as they can be used; `fleet` and `policies` are None if they cannot be.

    Policies are by name.
    """

    fleet: Fleet | None = None
    policies: Mapping[str, ShiftPolicy] | None = None
    findings: tuple[Finding, ...] = ()


def read_configuration(
    fleet_path: Path | None, policies_path: Path | None, folder_for: Callable[[Fleet | None], PolicyFolder]
) -> Configuration:
    """Read everything, and tell everything that is wrong with it.

    Args:
        fleet_path: the fleet file; None if nobody named it.
        policies_path: the directory of policies, to name it; None as well.
        folder_for: the folder, by the rules of this fleet; without a fleet by those that need none.
    """
    notes = Notes(Group.CONFIG)
    if fleet_path is None:
        notes.untried("fleet", "no fleet file was named, nor was anybody asked whom it names", "name it: --fleet")
    fleet = None if fleet_path is None else _fleet(fleet_path, notes)
    if policies_path is None:
        notes.untried("policies", "no directory of policies was named", "name it: --policies")
        return Configuration(fleet, None, tuple(notes.found))
    policies: Mapping[str, ShiftPolicy] | None = None
    by_fleet = f" --fleet {fleet_path}" if fleet_path is not None else ""
    again = f"then check again: shifter policy lint {policies_path}{by_fleet}"
    try:
        found = folder_for(fleet).reload()
    except ConfigError as error:
        _problems(notes, "policies", error, again)
    else:
        policies = found.policies
        for problem in found.problems:
            _problem(notes, "policies", problem, again)
        if not found.problems:
            notes.ok("policies", f"{policies_path}: {len(policies)} valid: {few(policies)}")
    return Configuration(fleet, policies, tuple(notes.found))


def _fleet(path: Path, notes: Notes) -> Fleet | None:
    try:
        fleet = load_fleet(path)
    except ConfigError as error:
        _problems(notes, "fleet", error, f"then check again: shifter policy lint {path}")
        return None
    notes.ok("fleet", f"{path}: valid")
    if fleet.spec.mode == "observe":
        notes.warning(
            "mode",
            "OBSERVE: shifter decides and explains, writes nothing, and refuses every order",
            f"once you agree with what it says, edit {path}: spec.mode: act, and restart the service",
        )
    else:
        notes.ok("mode", "act: shifter moves traffic")
    return fleet


def _problems(notes: Notes, subject: str, error: ConfigError, again: str) -> None:
    problems: Iterable[Problem] = error.problems or (Problem("", 0, 0, "", str(error)),)
    for problem in problems:
        _problem(notes, subject, problem, again)


def _problem(notes: Notes, subject: str, problem: Problem, again: str) -> None:
    place = f"{problem.file}:{problem.line}" if problem.line else problem.file
    notes.problem(subject, str(problem), f"edit {place}{f' ({problem.hint})' if problem.hint else ''}, {again}")
