"""YAML as an object, with the line of every part of it: what a person may have written into a file of an export.

`files/located_yaml.py` is for shifter's own files and knows what those never need: no null, no character that nobody
sees, a few kilobytes. A configuration belongs to somebody else and has all of that, so here is a reader that takes what
an API server takes. What two readers of YAML understand differently (`on`, `010`, `1:30`, a date) is refused with its
place, as nobody can tell which was meant; so are a second key of one name, aliases and tags. The loop over events keeps
its own stack: no nesting can exhaust Python's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from shifter.core.redaction import gives_away
from shifter.errors import Problem
from shifter.files.rules import Rule
from shifter.mesh.yaml_text import MAX_DEPTH

At = tuple[str | int, ...]
"""A place in an object: keys and list positions from the top."""

MAX_BYTES: Final = 4 << 20
"""An API server takes objects of 1.5 MiB (etcd's limit for a request); as text with indentation they are longer."""

_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_LONGEST_NUMBER: Final = 40
_SHOWN: Final = 60
_SHOWN_LINE: Final = 300
_TEXT: Final = "tag:yaml.org,2002:str"
_PLAIN_WORDS: Final[Mapping[str, bool | None]] = {"true": True, "false": False, "null": None, "": None, "~": None}
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Both read alike; the one in C is ten times faster, and not built everywhere."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a file says, where each part of it stands (line and column from 1), and what is wrong with it.

    With a problem there is no value: half an object would be applied as if it were a whole one.
    """

    file: str
    value: Mapping[str, Any] | None = None
    places: Mapping[At, tuple[int, int]] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def place(self, path: At) -> tuple[int, int]:
        """Return the line and column of a place, or of the nearest part around it; (0, 0) if nothing is known."""
        return next((self.places[path[:end]] for end in range(len(path), -1, -1) if path[:end] in self.places), (0, 0))

    def line(self, number: int) -> str:
        """Return the text of a line, counted from 1; empty if there is none."""
        return self.lines[number - 1][:_SHOWN_LINE] if 0 < number <= len(self.lines) else ""


class _Refused(Exception):  # noqa: N818 - not an error: it becomes a problem of the file
    def __init__(
        self,
        rule: Rule,
        message: str,
        hint: str = "",
        mark: Any = None,  # noqa: ANN401 - PyYAML's marks have no types
        path: At = (),
    ) -> None:
        super().__init__(message)
        self.rule, self.message, self.hint, self.mark, self.path = rule, message, hint, mark, path


@dataclass(slots=True)
class _Frame:
    path: At
    value: dict[str, Any] | list[Any]
    key: str | None = None


def read_yaml(file: str, raw: bytes) -> Read:
    """Return what the bytes of a file say: one mapping, or what is wrong with them."""
    if len(raw) > MAX_BYTES:
        return Read(file, problems=(Problem(file, 0, 0, "", f"larger than {MAX_BYTES} bytes", rule=Rule.TOO_LARGE),))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        problem = Problem(file, 0, 0, "", "not UTF-8 text", "save the file as UTF-8", rule=Rule.NOT_UTF8)
        return Read(file, problems=(problem,))
    lines = tuple(text.split("\n"))
    reading = _Reading(text)
    try:
        value = reading.value()
    except _Refused as refused:
        line, column = (refused.mark.line + 1, refused.mark.column + 1) if refused.mark is not None else (0, 0)
        shown = lines[line - 1][:_SHOWN_LINE] if 0 < line <= len(lines) and not _is_secret(refused.path) else ""
        where = ".".join(str(step)[:_SHOWN] for step in refused.path)
        problem = Problem(file, line, column, where, refused.message, refused.hint, shown, refused.rule)
        return Read(file, lines=lines, problems=(problem,))
    return Read(file, value, reading.places, lines)


class _Reading:
    """The state of reading one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._stack: list[_Frame] = []
        self._root: Any = None
        self._documents = 0
        self.places: dict[At, tuple[int, int]] = {}

    def value(self) -> dict[str, Any]:
        try:
            parser = _LOADER(self._text)
            try:
                while parser.check_event():
                    self._take(parser, parser.get_event())
            finally:
                parser.dispose()
        except yaml.MarkedYAMLError as error:
            said = " ".join(part for part in (error.context, error.problem) if part)
            raise _Refused(Rule.SYNTAX, said, mark=error.problem_mark) from error
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            raise _Refused(Rule.SYNTAX, "a character or directive that YAML does not allow") from error
        if not isinstance(self._root, dict):
            raise _Refused(Rule.WRONG_TYPE, "is no object of Kubernetes", "an object is a mapping (key: value)")
        return self._root

    def _take(self, parser: Any, event: Any) -> None:  # noqa: ANN401 - PyYAML's loader in C has no types
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _Refused(Rule.SECOND_DOCUMENT, "a second document", "one file holds one object", event.start_mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._stack.pop()
        elif isinstance(event, yaml.AliasEvent):
            self._refuse(event, Rule.DECORATION, "an alias is refused", "write the value out")
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event)
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(parser, event)

    def _path(self) -> At:
        if not self._stack:
            return ()
        frame = self._stack[-1]
        step = len(frame.value) if isinstance(frame.value, list) else frame.key
        return frame.path if step is None else (*frame.path, step)

    def _refuse(self, event: Any, rule: Rule, message: str, hint: str = "") -> None:  # noqa: ANN401 - see above
        raise _Refused(rule, message, hint, event.start_mark, self._path())

    def _begin(self, event: Any) -> None:  # noqa: ANN401 - see above
        if len(self._stack) >= MAX_DEPTH:
            self._refuse(event, Rule.TOO_DEEP, f"nested deeper than {MAX_DEPTH} levels")
        if self._stack and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None:
            hint = "a template that nobody rendered?"
            self._refuse(event, Rule.BAD_KEY, "a key must be a word", hint)
        if event.tag is not None:
            self._refuse(event, Rule.DECORATION, "a tag is refused", "remove it")
        value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        path = self._path()
        self._attach(value, event)
        self._stack.append(_Frame(path, value))

    def _scalar(self, parser: Any, event: Any) -> None:  # noqa: ANN401 - see above
        if event.tag not in {None, "!", _TEXT}:
            self._refuse(event, Rule.DECORATION, "a tag is refused", "remove it")
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.value, dict) and frame.key is None:
            # Keys are texts for Kubernetes, whatever they look like, except where YAML itself means something by one.
            if event.value == "<<" and event.implicit[0]:
                self._refuse(event, Rule.BAD_KEY, "merge keys are refused", "write the keys out")
            if event.value in frame.value:
                hint = "remove one"
                self._refuse(event, Rule.DUPLICATE_KEY, f"a second {event.value[:_SHOWN]!r}", hint)
            frame.key = event.value
            return
        plain = event.implicit[0] and event.tag is None
        self._attach(self._meant(parser, event) if plain else event.value, event)

    def _meant(self, parser: Any, event: Any) -> object:  # noqa: ANN401 - see above
        """Return the value of a word without quotes: what JSON makes of it, or a text if no reader sees more in it."""
        text: str = event.value
        if text in _PLAIN_WORDS:
            return _PLAIN_WORDS[text]
        number = _NUMBER.fullmatch(text)
        if number and (len(text) > _LONGEST_NUMBER or not math.isfinite(float(text))):
            self._refuse(event, Rule.BAD_VALUE, "the number is too large", "put it in quotes if it is a text")
        if number:
            return float(text) if number[2] or number[3] else int(text)
        if parser.resolve(yaml.ScalarNode, text, (True, False)) != _TEXT:
            shown = "this" if _is_secret(self._path()) else f"{text[:_SHOWN]!r}"
            self._refuse(
                event, Rule.SURPRISE, f"{shown} means different things to different readers", "put it in quotes"
            )
        return text

    def _attach(self, value: object, event: Any) -> None:  # noqa: ANN401 - see above
        self.places[self._path()] = (event.start_mark.line + 1, event.start_mark.column + 1)
        if not self._stack:
            self._root = value
            return
        frame = self._stack[-1]
        if isinstance(frame.value, list):
            frame.value.append(value)
        elif frame.key is not None:
            frame.value[frame.key] = value
            frame.key = None


def _is_secret(path: At) -> bool:
    return path[:1] in {("data",), ("stringData",)} or any(
        isinstance(step, str) and gives_away(step, "") for step in path
    )
