"""The matrix of `docs/failures.md`: one row per `@pytest.mark.fault`, read from the tests' source, not from a run.

The marker stands on the test that proves the row, so that a row without a proof cannot be written and a proof that is
removed takes its row along.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

PARTIES: Final = ("people", "policy files", "Tencent API", "CLB", "Prometheus", "SQLite", "Kubernetes", "process")
"""Who may have a bad day, in the order of the chapters."""

_FIELDS: Final = ("on", "fault", "does", "sees", "safe_within")


@dataclass(frozen=True, slots=True)
class Row:
    """One fault, what becomes of it, and the tests that prove it."""

    on: str
    fault: str
    does: str
    sees: str
    safe_within: str
    test: str


def rows(tests: Path) -> list[Row]:
    """Return the rows of all tests below a directory.

    Raises:
        ValueError: a marker lacks a field, has one too many, or is not made of plain texts.
    """
    return [row for path in sorted(tests.rglob("test_*.py")) for row in _rows_of(path)]


def matrix(tests: Path) -> str:
    """Return the document's tables, a chapter for each party."""
    found = sorted(rows(tests), key=lambda row: (PARTIES.index(row.on), row.fault, row.test))
    lines: list[str] = []
    for party, group in groupby(found, key=lambda row: row.on):
        lines += ["", f"## {party[0].upper()}{party[1:]}", ""]
        lines += ["| fault | what shifter does | what people see | safe within | proven by |", "|---|---|---|---|---|"]
        lines += [
            f"| {_cell(row.fault)} | {_cell(row.does)} | {_cell(row.sees)} | {_cell(row.safe_within)} | `{row.test}` |"
            for row in group
        ]
    return "\n".join(lines[1:])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _rows_of(path: Path) -> Iterator[Row]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.fault":
                    yield _row(decorator, f"{path.name}:{decorator.lineno}", node.name)


def _row(decorator: ast.Call, place: str, test: str) -> Row:
    given = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in decorator.keywords}
    if decorator.args or set(given) != set(_FIELDS) or given["on"] not in PARTIES:
        raise ValueError(f"{place}: a fault has exactly {', '.join(_FIELDS)}, and is one of {', '.join(PARTIES)}'s")
    if any(not isinstance(text, str) or not text.strip() or "\n" in text for text in given.values()):
        raise ValueError(f"{place}: every field of a fault is one line of text")
    return Row(**given, test=test)
