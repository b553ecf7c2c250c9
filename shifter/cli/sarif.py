"""What lint found, as SARIF 2.1.0: the form in which code hosts show findings beside the line they are about.

The format is OASIS's (docs.oasis-open.org/sarif/sarif/v2.1.0). Columns count characters, and so it says. Paths below
the directory that lint runs in are relative to it, as a checkout is elsewhere on every machine; others are absolute.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from shifter import __version__
from shifter.errors import Problem
from shifter.files.rules import RULES, Rule

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif_log(problems: Sequence[Problem], warnings: Sequence[Problem], root: Path) -> dict[str, object]:
    """Return a SARIF log with one run: problems as errors, warnings as warnings, paths relative to `root`."""
    used = sorted({problem.rule or Rule.BAD_VALUE for problem in (*problems, *warnings)})
    results = [_result(each, "error", used, root) for each in problems]
    results += [_result(each, "warning", used, root) for each in warnings]
    driver = {
        "name": "shifter policy lint",
        "version": __version__,
        "rules": [{"id": str(rule), "shortDescription": {"text": RULES[Rule(rule)]}} for rule in used],
    }
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]}


def _result(problem: Problem, level: str, used: Sequence[str], root: Path) -> dict[str, object]:
    rule = problem.rule or Rule.BAD_VALUE
    said = " ".join(
        word for word in (problem.path, problem.message, f"({problem.hint})" if problem.hint else "") if word
    )
    where: dict[str, object] = {"artifactLocation": {"uri": _uri(problem.file, root)}}
    if problem.line:
        where["region"] = {"startLine": problem.line, "startColumn": problem.column}
    location: dict[str, object] = {"physicalLocation": where}
    if problem.path:
        location["logicalLocations"] = [{"fullyQualifiedName": problem.path}]
    return {
        "ruleId": str(rule),
        "ruleIndex": used.index(rule),
        "level": level,
        "message": {"text": _printable(said)},
        "locations": [location],
    }


def _uri(file: str, root: Path) -> str:
    path = root / file
    try:
        return quote(path.relative_to(root).as_posix(), errors="surrogateescape")
    except ValueError:
        return f"file://{quote(path.as_posix(), errors='surrogateescape')}"


def _printable(text: str) -> str:
    return "".join(char if unicodedata.category(char)[0] != "C" else "�" for char in text)
