"""What a YAML parser complains of, said to the person who typed it: where it went wrong, and what to type instead.

PyYAML says where it could not go on; what is wrong is often earlier, where it began: the line above, the quotation mark
that was never closed, the `*` that made an alias of a domain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Protocol

import yaml

from shifter.files.rules import Complaint, Rule
from shifter.files.scalars import lookalike

Place = tuple[int, int]
"""Line and column, counted from 1; 0 is the file as a whole."""

_GLUED = re.compile(r"\s*(- +)*[\w.-]{1,200}:[^\s:/][^:]*")  # `key:value`, which YAML takes for a text
_CONFLICT = re.compile(r"(<<<<<<<|>>>>>>>)( |$)|=======$")
_QUOTE: Final = 'a text with ": " in it needs quotes'
_CANNOT_START = re.compile(r"found character '(.+)' that cannot start any token")


class Mark(Protocol):
    """PyYAML's position, counted from 0; its two parsers have a class each."""

    @property
    def line(self) -> int:
        """Counted from 0."""

    @property
    def column(self) -> int:
        """Counted from 0, in characters."""


def place_of(mark: Mark | None) -> Place:
    """Return a parser's position as people count."""
    return (0, 0) if mark is None else (mark.line + 1, mark.column + 1)


def complaint_of(error: yaml.MarkedYAMLError, lines: Sequence[str]) -> tuple[Place, Complaint]:
    """Return a parser's complaint about a text of these `lines`, and the place to look at."""
    problem, context = error.problem or "not YAML", error.context or ""
    place = place_of(error.problem_mark or error.context_mark)
    begun = place_of(error.context_mark) if error.context_mark else place
    if conflict := _merge_conflict(lines):
        return (conflict, 1), Complaint(Rule.SYNTAX, "an unresolved merge conflict", "keep one of the two versions")
    if "quoted scalar" in context and "end of stream" in problem:
        hint = "close it with the same quotation mark"
        return begun, Complaint(Rule.SYNTAX, "this quotation is never closed", hint)
    if "could not find expected ':'" in problem:
        return begun, _no_key(lines[begun[0] - 1])
    if "while parsing a flow" in context and place[0] > begun[0]:
        return begun, _unclosed(lines[begun[0] - 1][begun[1] - 1 : begun[1]], place[0])
    return _misplaced(place, lines, problem) or (place, _unexpected(problem, context))


def _unclosed(bracket: str, line: int) -> Complaint:
    message = f'this "{bracket}" is not closed before line {line}, which begins something else'
    return Complaint(Rule.SYNTAX, message, f'close it with "{"]" if bracket == "[" else "}"}"')


def _unexpected(problem: str, context: str) -> Complaint:
    """Return the complaint about a character that cannot stand where it does."""
    found = _CANNOT_START.search(problem)
    if found and found[1] == "\\t":
        return Complaint(Rule.TAB, "a tab stands where YAML allows only spaces", "indent and align with spaces")
    if found:
        return Complaint(Rule.SYNTAX, f"a plain text cannot begin with {found[1]}", "put the text in quotes")
    if "expected the node content" in problem:
        return Complaint(Rule.SYNTAX, f"a value is missing here, {problem.partition(', but ')[2] or 'nothing follows'}")
    if "while scanning an alias" in context or "while scanning an anchor" in context:
        return Complaint(Rule.DECORATION, "a plain text cannot begin with * or &", "put the text in quotes")
    return Complaint(Rule.SYNTAX, f"{problem} ({context})" if context else problem)


def _misplaced(place: Place, lines: Sequence[str], problem: str) -> tuple[Place, Complaint] | None:
    """Tell why something cannot stand at a place: a second colon, the line above is no key, or the indentation."""
    here = lines[place[0] - 1]
    before = here[: place[1] - 1]
    if "mapping values are not allowed" in problem and ": " in before:
        return place, Complaint(Rule.SYNTAX, f"{problem}: a second colon in one line", _QUOTE)
    if not problem.startswith(("mapping values are not", "expected <block end>", "expected '<document start>'")):
        return None
    if problem.endswith("'<scalar>'") and before.strip():
        said = "something stands behind a value that is complete"
        return place, Complaint(Rule.SYNTAX, said, "put the whole value in quotes")
    above = next((number for number in range(place[0] - 1, 0, -1) if _said(lines[number - 1])), 0)
    if above and (_GLUED.fullmatch(lines[above - 1][:1000]) or _typed(lines[above - 1])):
        return (above, _indent(lines[above - 1]) + 1), _no_key(lines[above - 1])
    said, hint = "this line's indentation fits none of the lines above it", f"indent it like its siblings; {_QUOTE}"
    return (place[0], _indent(here) + 1), Complaint(Rule.SYNTAX, said, hint)


def _no_key(line: str) -> Complaint:
    hint = _typed(line) or 'a key is followed by ": ", colon and space'
    return Complaint(Rule.SYNTAX, "this line is no key: value", hint)


def _typed(line: str) -> str:
    """Return the hint about a lookalike outside the line's comment, where people may write what they like."""
    return lookalike(line.partition(" #")[0])


def _merge_conflict(lines: Sequence[str]) -> int:
    """Return the number of the first line that git left behind; 0 if there is none."""
    return next((number for number, line in enumerate(lines, start=1) if _CONFLICT.match(line)), 0)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _said(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")
