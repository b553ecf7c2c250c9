"""What runs: Python, shifter, SQLite and the libraries, each against the range that shifter was built for."""

from __future__ import annotations

import platform
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Final

from shifter import __version__
from shifter.service.checkup.findings import Finding, Group, Notes

OLDEST_SQLITE: Final = "3.37.0"
"""The first with STRICT tables, which every store has (https://sqlite.org/stricttables.html)."""

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*(?P<range>[^;]*)(?:;(?P<marker>.*))?")
_LIMIT = re.compile(r"\s*(>=|<=|==|!=|<|>)\s*([0-9][0-9.]*)\s*")


@dataclass(frozen=True, slots=True)
class Dependency:
    """One library: the range it must be in, such as `>=2.12,<3`, and what is installed; None if nothing is."""

    name: str
    range: str
    installed: str | None


@dataclass(frozen=True, slots=True)
class Versions:
    """What is installed here. `requires_python` is empty if shifter itself is not installed but only lies here."""

    python: str
    requires_python: str
    shifter: str
    sqlite: str
    dependencies: tuple[Dependency, ...]


def installed() -> Versions:
    """Return the versions of this process. Extras are left out: the service needs none."""
    try:
        itself = metadata.distribution("shifter")
        asked, python = itself.requires or [], itself.metadata["Requires-Python"] or ""
    except metadata.PackageNotFoundError:
        asked, python = [], ""
    found = (_REQUIREMENT.fullmatch(text.strip()) for text in asked)
    dependencies = tuple(
        Dependency(each["name"], each["range"].strip(), _installed(each["name"]))
        for each in found
        if each is not None and "extra" not in (each["marker"] or "")
    )
    return Versions(platform.python_version(), python, __version__, sqlite3.sqlite_version, dependencies)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def findings(versions: Versions) -> Sequence[Finding]:
    """Return what is too old, too new or missing."""
    notes = Notes(Group.VERSIONS)
    notes.ok("shifter", versions.shifter)
    if not versions.requires_python:
        notes.unknown(
            "dependencies", "shifter is not installed as a package here, so nothing says what it needs", "pip install ."
        )
    elif fits(versions.python, versions.requires_python):
        notes.ok("python", versions.python)
    else:
        text = f"{versions.python}, shifter needs {versions.requires_python}"
        notes.problem("python", text, "make the environment anew with a Python in that range")
    if fits(versions.sqlite, f">={OLDEST_SQLITE}"):
        notes.ok("sqlite", versions.sqlite)
    else:
        text = f"{versions.sqlite} knows no STRICT tables, the store needs {OLDEST_SQLITE} or later"
        notes.problem("sqlite", text, "use a Python that is linked with a later SQLite")
    wrong = [each for each in versions.dependencies if each.installed is None or not fits(each.installed, each.range)]
    for each in wrong:
        text = f"{each.installed or 'nothing'} is installed, shifter needs {each.range or 'any'}"
        notes.problem(each.name, text, f"pip install '{each.name}{each.range}'")
    if versions.dependencies and not wrong:
        notes.ok("dependencies", f"all {len(versions.dependencies)} within their ranges")
    return notes.found


def fits(version: str, limits: str) -> bool:
    """Return whether a version is within limits such as `>=2.12,<3`; a limit that is not understood excludes nothing.

    Only the numbers that begin a version are compared: `2.0rc1` counts as 2.0.
    """
    numbers = _numbers(version)
    parts = (_LIMIT.fullmatch(each) for each in limits.split(","))
    return all(_holds(numbers, each[1], _numbers(each[2])) for each in parts if each is not None)


def _holds(version: tuple[int, ...], sign: str, limit: tuple[int, ...]) -> bool:
    length = max(len(version), len(limit))
    ours, theirs = (each + (0,) * (length - len(each)) for each in (version, limit))
    known: Mapping[str, bool] = {
        ">=": ours >= theirs,
        "<=": ours <= theirs,
        "==": ours == theirs,
        "!=": ours != theirs,
        "<": ours < theirs,
        ">": ours > theirs,
    }
    return known[sign]


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(each) for each in found[0].split(".")) if found else ()
