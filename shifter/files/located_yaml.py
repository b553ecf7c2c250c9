"""Text to plain values, with the position of every part of them, so that a mistake can be pointed at.

YAML 1.1 is full of surprises: a second key of one name silently wins, `1:30` is ninety, `on` is true, and a
few hundred bytes of aliases unfold to gigabytes. So nothing of PyYAML beyond its parser is used here: events
become values under rules as plain as JSON's, what those rules do not cover is refused, and every refusal is
collected with its place. The loop over events keeps its own stack: no nesting can exhaust Python's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import yaml

from shifter.errors import Problem

At = tuple[str | int, ...]
"""A place in a document: keys and list positions from the top."""

MAX_BYTES: Final = 1 << 20
"""A policy has a few kB; a ConfigMap may hold 1 MiB at most."""

MAX_NODES: Final = 20_000
MAX_DEPTH: Final = 32

_LONGEST_NUMBER: Final = 32
_SHOWN_LINE: Final = 300
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_GLUED = re.compile(r"\s*(- +)*[\w.-]+:[^\s:/][^:]*")  # `key:value`, which YAML takes for a text
_NO_KEY: Final = ("this line is no key: value", 'a key is followed by ": ", colon and space')
_QUOTE: Final = 'a text with ": " in it needs quotes'
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what PyYAML counts as one
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_SECRET = re.compile(r"""([\w.-]*(?:key|secret|token|passw)[\w.-]*)["']?\s*:[\s"']*(?=[^\s"'])""", re.IGNORECASE)
_CREDENTIALS = re.compile(r"//[^/\s]*@")
_BOOLEANS: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Document:
    """One file's plain value (mappings, lists, texts, numbers, booleans) and where each part of it stands.

    `places` are the values' and `keys` the keys' (line, column), counted from 1, by path. `problems` are what
    the reading refused; `opaque` the paths whose value was refused and stands as None. A file that could not
    be read to its end is not `whole`, and its value is None.
    """

    file: str
    value: object = None
    lines: tuple[str, ...] = ()
    places: Mapping[At, tuple[int, int]] = field(default_factory=dict)
    keys: Mapping[At, tuple[int, int]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    opaque: frozenset[At] = frozenset()
    whole: bool = True

    @property
    def kind(self) -> str | None:
        """What the file says it is; None if it says nothing readable."""
        kind = self.value.get("kind") if isinstance(self.value, dict) else None
        return kind if isinstance(kind, str) else None

    def problem(self, path: At, message: str, hint: str = "", *, at_key: bool = False) -> Problem:
        """Return a problem with the place of `path`, or of the nearest part around it that the file has."""
        found = path
        while found and found not in self.places and found not in self.keys:
            found = found[:-1]
        at_key = at_key or found != path
        place = (self.keys.get(found) if at_key else None) or self.places.get(found) or (0, 0)
        return _problem(self.file, self.lines, place, path, (message, hint))


def document_of(file: str, raw: bytes) -> Document:
    """Return what the bytes of a file say; whatever is wrong with them is in the document's `problems`."""
    if len(raw) > MAX_BYTES:
        return Document(file, problems=(Problem(file, 0, 0, "", f"larger than {MAX_BYTES} bytes"),), whole=False)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line, start = raw.count(b"\n", 0, error.start) + 1, raw.rfind(b"\n", 0, error.start) + 1
        column = len(raw[start : error.start].decode("utf-8")) + 1
        broken = Problem(file, line, column, "", "not UTF-8 text", "save the file as UTF-8")
        return Document(file, problems=(broken,), whole=False)
    return _Reading(file, text).document()


def hidden(text: str) -> str:
    """Return a line of a file without what nobody may read in a log: a secret written inline, a URL's password.

    What is behind a key that sounds like a secret is cut to the end of the line; the name of a secret's file is none.
    """
    for found in _SECRET.finditer(text):
        if not found[1].lower().endswith("file"):
            return f"{text[: found.end()]}…"
    return _CREDENTIALS.sub("//…@", text)


def _problem(file: str, lines: tuple[str, ...], place: tuple[int, int], path: At, words: tuple[str, str]) -> Problem:
    line, column = place
    source_line = hidden(lines[line - 1])[:_SHOWN_LINE] if 0 < line <= len(lines) else ""
    return Problem(file, line, column, ".".join(map(str, path)), words[0], words[1], source_line)


class _Mark(Protocol):
    """PyYAML's position, counted from 0; its two parsers have a class each."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


class _Stop(Exception):  # noqa: N818 - not an error: the reading ends here, what is wrong is noted already
    """Nothing behind this place can be understood."""


@dataclass(slots=True)
class _Frame:
    """A collection being read. `path` is None inside something refused: read on, but remember nothing."""

    path: At | None
    value: dict[str, object] | list[object]
    key: str | None = None
    key_path: At | None = None

    @property
    def wants_key(self) -> bool:
        return isinstance(self.value, dict) and self.key is None


class _Reading:
    """The state of reading one text: events in, one document out."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text
        self._lines = tuple(_LINE_BREAK.split(text))
        self._stack: list[_Frame] = []
        self._root: object = None
        self._documents = 0
        self._nodes = 0
        self._places: dict[At, tuple[int, int]] = {}
        self._keys: dict[At, tuple[int, int]] = {}
        self._opaque: set[At] = set()
        self._problems: list[Problem] = []

    def document(self) -> Document:
        whole = self._read()
        return Document(
            self._file,
            self._root if whole else None,
            self._lines,
            self._places,
            self._keys,
            tuple(self._problems),
            frozenset(self._opaque),
            whole,
        )

    def _read(self) -> bool:
        """Take every event; return whether the end was reached."""
        try:
            parser = yaml.SafeLoader(self._text)
        except yaml.reader.ReaderError as error:
            before = _LINE_BREAK.split(self._text[: error.position])
            self._refuse((len(before), len(before[-1]) + 1), (), "a character that YAML does not allow")
            return False
        try:
            while parser.check_event():
                self._take(parser.get_event())  # type: ignore[no-untyped-call]
        except _Stop:
            return False
        except yaml.MarkedYAMLError as error:
            place, message, hint = _complaint(error, self._lines)
            self._refuse(place, (), message, hint)
            return False
        except (ValueError, OverflowError):  # PyYAML hands some escapes and versions to chr() and int() unchecked
            self._refuse(_place(parser.get_mark()), (), "an escape sequence or directive is out of range")
            return False
        finally:
            parser.dispose()
        if not self._documents:
            self._refuse((0, 0), (), "the file is empty")
        return self._documents > 0

    def _refuse(self, place: tuple[int, int], path: At, message: str, hint: str = "") -> None:
        self._problems.append(_problem(self._file, self._lines, place, path, (message, hint)))

    def _take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse(_place(event.start_mark), (), "a second document", "one file holds one document")
                raise _Stop
        elif isinstance(event, yaml.CollectionEndEvent):
            self._stack.pop()
        elif isinstance(event, yaml.NodeEvent):
            self._nodes += 1
            if self._nodes > MAX_NODES or len(self._stack) >= MAX_DEPTH:
                what = f"more than {MAX_NODES} values" if self._nodes > MAX_NODES else f"deeper than {MAX_DEPTH} levels"
                self._refuse(_place(event.start_mark), (), what)
                raise _Stop
            if self._stack and self._stack[-1].wants_key:
                self._take_key(event, self._stack[-1])
            else:
                self._take_value(event)

    def _take_key(self, event: yaml.NodeEvent, frame: _Frame) -> None:
        place = _place(event.start_mark)
        frame.key, frame.key_path = "", None  # until proven good, the value that follows is remembered nowhere
        self._refuse_decoration(event, place, frame.path or ())
        if not isinstance(event, yaml.ScalarEvent):
            self._refuse(place, frame.path or (), "a key must be a plain word")
            if isinstance(event, yaml.CollectionStartEvent):
                self._stack.append(_Frame(None, _empty(event)))
            return
        if event.value == "<<" and event.style is None:
            self._refuse(place, frame.path or (), "merge keys are refused", "write the keys out")
        elif frame.path is not None:
            path = (*frame.path, event.value)
            if path in self._keys:
                line, column = self._keys[path]
                self._refuse(place, path, f"a second {event.value!r}; the first is at {line}:{column}", "remove one")
            elif _UNPRINTABLE.search(event.value):
                self._refuse(place, frame.path, "control characters are refused")
            else:
                self._keys[path] = place
                frame.key, frame.key_path = event.value, path

    def _take_value(self, event: yaml.NodeEvent) -> None:
        parent = self._stack[-1] if self._stack else None
        path = self._path_here(parent)
        place = _place(event.start_mark)
        refused = self._refuse_decoration(event, place, path or ())
        value: object = None
        if isinstance(event, yaml.CollectionStartEvent):
            value = _empty(event)
            self._stack.append(_Frame(path, value))
        elif isinstance(event, yaml.ScalarEvent):
            value, complaint = _scalar(event)
            if complaint:
                self._refuse(place, path or (), complaint)
                refused = True
        if refused and path is not None:
            self._opaque.add(path)
        self._attach(parent, path, value, place)

    def _path_here(self, parent: _Frame | None) -> At | None:
        if parent is None:
            return ()
        if isinstance(parent.value, dict):
            return parent.key_path
        return None if parent.path is None else (*parent.path, len(parent.value))

    def _attach(self, parent: _Frame | None, path: At | None, value: object, place: tuple[int, int]) -> None:
        if path is not None:
            self._places[path] = place
        if parent is None:
            self._root = value
        elif isinstance(parent.value, list):
            parent.value.append(value)
        else:
            if path is not None and parent.key is not None:
                parent.value[parent.key] = value
            parent.key = parent.key_path = None

    def _refuse_decoration(self, event: yaml.NodeEvent, place: tuple[int, int], path: At) -> bool:
        """Refuse aliases, anchors and tags; return whether the value itself is not to be believed."""
        if isinstance(event, yaml.AliasEvent):
            self._refuse(place, path, f"the alias *{event.anchor} is refused", "write the value out")
            return True
        if event.anchor is not None:
            self._refuse(place, path, f"the anchor &{event.anchor} is refused", "remove it")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._refuse(place, path, f"the tag {tag} is refused", "remove it")
        return tag is not None


def _empty(event: yaml.CollectionStartEvent) -> dict[str, object] | list[object]:
    return {} if isinstance(event, yaml.MappingStartEvent) else []


def _place(mark: _Mark | None) -> tuple[int, int]:
    return (0, 0) if mark is None else (mark.line + 1, mark.column + 1)


def _scalar(event: yaml.ScalarEvent) -> tuple[object, str]:
    """Return a scalar's value, and what is wrong with it if anything is."""
    text: str = event.value
    if _UNPRINTABLE.search(text):
        return None, "control characters are refused"
    if event.style is not None:  # quoted and block scalars are texts, whatever they look like
        return text, ""
    if text in {"", "null"}:  # no key is nullable, and `latency:` with its lines commented out must not mean "no guard"
        return None, "has no value; give one or remove the key"
    return (_BOOLEANS[text], "") if text in _BOOLEANS else _number(text)


def _number(text: str) -> tuple[object, str]:
    """Return the number that a plain text spells as JSON would, else the text itself; and what is wrong with it."""
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text, ""
    if len(text) > _LONGEST_NUMBER or not math.isfinite(float(text)):
        return None, "the number is too large"
    return (float(text) if number[2] or number[3] else int(text)), ""


def _complaint(error: yaml.MarkedYAMLError, lines: Sequence[str]) -> tuple[tuple[int, int], str, str]:
    """Return a parser's complaint as the place to look at, message and hint.

    PyYAML says where it could not go on; what is wrong is often earlier, where it began.
    """
    problem, context = error.problem or "not YAML", error.context or ""
    place = _place(error.problem_mark or error.context_mark)
    begun = _place(error.context_mark) if error.context_mark else place
    if "quoted scalar" in context and "end of stream" in problem:
        return begun, "this quotation is never closed", "close it with the same quotation mark"
    if "could not find expected ':'" in problem:
        return begun, *_NO_KEY
    if "mapping values are not allowed" in problem and ": " in lines[place[0] - 1][: place[1] - 1]:
        return place, f"{problem}: a second colon in one line", _QUOTE
    if problem.startswith(("mapping values are not", "expected <block end>", "expected '<document start>'")):
        return _misplaced(place, lines, scalar=problem.endswith("'<scalar>'"))
    hint = "indent with spaces, not tabs" if "'\\t'" in problem else ""
    return place, f"{problem} ({context})" if context else problem, hint


def _misplaced(place: tuple[int, int], lines: Sequence[str], *, scalar: bool) -> tuple[tuple[int, int], str, str]:
    """Tell why something cannot stand at a place: the line above it is no key, or the indentation is wrong."""
    here = lines[place[0] - 1]
    if scalar and here[: place[1] - 1].strip():
        return place, "something stands behind a value that is complete", "put the whole value in quotes"
    above = next((number for number in range(place[0] - 1, 0, -1) if _said(lines[number - 1])), 0)
    if above and _GLUED.fullmatch(lines[above - 1]):
        return (above, _indent(lines[above - 1]) + 1), *_NO_KEY
    start = (place[0], _indent(here) + 1)
    return start, "this line's indentation fits none of the lines above it", f"indent it like its siblings; {_QUOTE}"


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _said(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")
