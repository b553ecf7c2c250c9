"""Which error messages no test quotes: people read them on their worst day, so each must have been seen once.

A message counts as quoted if three words of it in a row stand in some text of a test. That does not prove that the test
is about it, but nobody quotes a sentence without having made it appear.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_RUN_WORDS: Final = 3
_SHORTEST: Final = 8
_CODE: Final = re.compile(r"[A-Z][A-Za-z]+(\.[A-Za-z]+)?")  # what a cloud calls an error: it tells it apart by itself
_MARKS: Final = " ;:,.()'`\""


@dataclass(frozen=True, slots=True, order=True)
class Message:
    """The fixed parts of one message, and where it is raised."""

    place: str
    parts: tuple[str, ...]

    @property
    def runs(self) -> tuple[str, ...]:
        """Every few words in a row that would tell this message from others."""
        words = [part.split() for part in self.parts]
        # A part of a word or two ("state store ") stands in many messages; it tells this one only if there is no other.
        words = [each for each in words if len(each) >= _RUN_WORDS or (each and _CODE.fullmatch(each[0]))] or words
        found = [
            " ".join(each[i : i + _RUN_WORDS]) for each in words for i in range(max(1, len(each) - _RUN_WORDS + 1))
        ]
        long_enough = [run.strip(_MARKS) for run in found if len(run) >= _SHORTEST]
        return tuple(run for run in long_enough if run)


def unquoted(sources: Path, tests: Path) -> list[Message]:
    """Return the messages below `sources` that nothing below `tests` quotes, by place."""
    quoted = " ".join(" ".join(_texts(tests)).replace("\\", "").split())
    return sorted(
        message
        for path in sources.rglob("*.py")
        for message in _messages(path, sources)
        if message.runs and not any(run in quoted for run in message.runs)
    )


def _texts(tests: Path) -> Iterator[str]:
    for path in tests.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield from _parts(node)
    for path in tests.rglob("golden/*"):
        yield path.read_text(encoding="utf-8")


def _messages(path: Path, sources: Path) -> Iterator[Message]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and _name(node.func).endswith("Error"):
            parts = tuple(part for argument in node.args for part in _parts(argument))
            if parts:
                yield Message(f"{path.relative_to(sources.parent)}:{node.lineno}", parts)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _parts(node: ast.expr) -> list[str]:
    """Return the fixed parts of a text that is put together, in order."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=values):
            return [part for value in values for part in _parts(value)]
        case ast.BinOp(left=left, right=right):
            return [*_parts(left), *_parts(right)]
        case ast.IfExp(body=body, orelse=orelse):
            return [*_parts(body), *_parts(orelse)]
        case _:
            return []
