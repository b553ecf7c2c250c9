"""What is wrong with files before a service reads them: each alone, among each other, and with the fleet.

Same reader, same models, same rules between policies as the service has: what is accepted here, the service enforces.
Warnings are told and fail nothing: the file is valid, but probably not what was meant.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shifter.core.documents.fleet import Fleet
from shifter.core.documents.mesh import Mesh
from shifter.core.documents.overlaps import Claimed, suspicions
from shifter.core.documents.policy import ShiftPolicy, conflicts
from shifter.core.text import did_you_mean, why
from shifter.errors import ConfigError, Problem
from shifter.files.advice import fleet_advice, policy_advice
from shifter.files.documents import FLEET, KINDS, POLICY, misfit_problems, read_document, value_of, yaml_files_in
from shifter.files.located_yaml import Document
from shifter.files.rules import Rule

_SHOWN_KIND: Final = 100


@dataclass(slots=True)
class Lint:
    """What was looked at and what was found: `problems` fail, `warnings` do not.

    `unchecked` are the custom metrics of which, for want of a fleet, nobody knows whether there are any.
    """

    files: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)


def lint_files(paths: Sequence[Path], fleet: Path | None = None) -> Lint:
    """Return everything that is wrong with the files at `paths`: each alone, among each other, and with the fleet.

    The fleet is the one given, else the only one among `paths`, else one with nothing but defaults.
    """
    found = Lint()
    policies: dict[str, ShiftPolicy] = {}
    fleets: dict[str, Fleet | None] = {}
    documents: dict[str, Document] = {}
    for path in _expanded(paths, found):
        document = read_document(path)
        documents[document.file] = document
        value = _checked(document, found.problems)
        if isinstance(value, ShiftPolicy):
            policies[document.file] = value
        elif document.kind == FLEET:
            fleets[document.file] = value if isinstance(value, Fleet) else None
    if fleet is not None:
        document = documents.setdefault(str(fleet), read_document(fleet))
        fleets = {document.file: _fleet_of(document, found.problems)}
    found.problems += [
        documents[each.file].problem(each.path, each.reason, rule=Rule.CONFLICT) for each in conflicts(policies)
    ]
    only = next(iter(fleets.values())) if len(fleets) == 1 else None
    if only is not None or len(fleets) != 1:  # of a broken fleet it is not known what it gives
        for file, each in policies.items():
            found.problems += misfit_problems(documents[file], each, only)
    if only is None:
        found.unchecked = sorted({each.name for policy in policies.values() for each in policy.spec.analysis.custom})
    found.files, found.problems = sorted(documents), sorted(set(found.problems))
    broken = {(each.file, each.line, each.column) for each in found.problems}
    warned = {*_suspicions(policies, documents), *(each for one in documents.values() for each in one.surprises)}
    advised = [(file, each) for file, policy in policies.items() for each in policy_advice(policy, only)]
    advised += [(file, each) for file, value in fleets.items() if value is not None for each in fleet_advice(value)]
    warned |= {documents[file].problem(each.path, each.reason, rule=Rule.ADVICE) for file, each in advised}
    found.warnings = sorted(each for each in warned if (each.file, each.line, each.column) not in broken)
    return found


def _suspicions(policies: Mapping[str, ShiftPolicy], documents: Mapping[str, Document]) -> Iterator[Problem]:
    claimed = [Claimed(file, each.namespaces, each.routes) for file, each in sorted(policies.items())]
    for each in suspicions(claimed):
        path = ("spec", "traffic", "clb", "routes", each.index)
        yield documents[each.file].problem(path, each.reason, rule=Rule.SUSPICION)


def _expanded(paths: Sequence[Path], found: Lint) -> Iterator[Path]:
    """Yield every file once, those of directories included."""
    seen: set[Path] = set()
    for path in paths:
        files: tuple[Path, ...] = (path,)
        if path.is_dir():
            try:
                files = yaml_files_in(path)
            except OSError as error:
                message = f"cannot be listed: {why(error)}"
                found.problems.append(Problem(str(path), 0, 0, "", message, rule=Rule.UNREADABLE))
                continue
            if not files:
                found.problems.append(Problem(str(path), 0, 0, "", "has no *.yaml or *.yml file", rule=Rule.UNREADABLE))
        for file in files:
            if (resolved := _resolved(file)) not in seen:
                seen.add(resolved)
                yield file


def _resolved(file: Path) -> Path:
    try:
        return file.resolve()
    except (OSError, RuntimeError):  # links in a circle: what cannot be read is said when it is read
        return file.absolute()


def _checked(document: Document, problems: list[Problem]) -> ShiftPolicy | Fleet | Mesh | None:
    """Return the document's value by its kind, None if it has problems; they are added."""
    kind = document.kind
    if kind is not None and kind not in KINDS:
        problems += document.problems
        hint = did_you_mean(kind, list(KINDS)) or f"known: {', '.join(KINDS)}"
        message = f"unknown kind {json.dumps(kind[:_SHOWN_KIND], ensure_ascii=False)}"
        problems.append(document.problem(("kind",), message, hint, rule=Rule.KIND))
        return None
    try:
        # What names no kind is taken for a policy: the missing key is then one of its problems.
        return value_of(document, KINDS[kind or POLICY])
    except ConfigError as error:
        problems += error.problems
        return None


def _fleet_of(document: Document, problems: list[Problem]) -> Fleet | None:
    try:
        return value_of(document, Fleet)
    except ConfigError as error:
        problems += error.problems
        return None
