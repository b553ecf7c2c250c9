"""Text to plain values, with the position of every part of them, so that a mistake can be pointed at.

YAML 1.1 is full of surprises: a second key of one name silently wins, `1:30` is ninety, `on` is true, and a
few hundred bytes of aliases unfold to gigabytes. So nothing of PyYAML beyond its parser is used here: events
become values under rules as plain as JSON's, what those rules do not cover is refused, and every refusal is
collected with its place. The loop over events keeps its own stack: no nesting can exhaust Python's.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn

import yaml

from shifter.core.redaction import gives_away, without_values
from shifter.errors import Problem
from shifter.files.complaints import Place, complaint_of, place_of
from shifter.files.rules import Complaint, Rule
from shifter.files.scalars import scalar, strange, surprise

At = tuple[str | int, ...]
"""A place in a document: keys and list positions from the top."""

MAX_BYTES: Final = 1 << 20
"""A policy has a few kB; a ConfigMap may hold 1 MiB at most."""

MAX_NODES: Final = 20_000
MAX_DEPTH: Final = 32
MAX_PROBLEMS: Final = 100
"""More of one file are not told: whoever mends a hundred asks again."""

_SHOWN_LINE: Final = 300
_SHOWN_STEP: Final = 60
_LINE_BREAK = re.compile("\r?\n")
_SECRET_BREAK = re.compile("\r(?!\n)|[\x85\u2028\u2029]")
"""What ends a line, and with it a comment, for PyYAML and for no editor: what stands behind it is a key nobody sees."""


@dataclass(frozen=True, slots=True)
class Document:
    """One file's plain value (mappings, lists, texts, numbers, booleans) and where each part of it stands.

    `places` are the values' and `keys` the keys' (line, column), counted from 1, by path. `lines` are as they may be
    shown, without secrets. `problems` are what the reading refused; `opaque` the paths whose value was refused and
    stands as None; `surprises` the words that other readers of YAML take for something else. A file that could not be
    read to its end is not `whole`, and its value is None.
    """

    file: str
    value: object = None
    lines: tuple[str, ...] = ()
    places: Mapping[At, tuple[int, int]] = field(default_factory=dict)
    keys: Mapping[At, tuple[int, int]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    surprises: tuple[Problem, ...] = ()
    opaque: frozenset[At] = frozenset()
    whole: bool = True

    @property
    def kind(self) -> str | None:
        """What the file says it is; None if it says nothing readable."""
        kind = self.value.get("kind") if isinstance(self.value, dict) else None
        return kind if isinstance(kind, str) else None

    def problem(
        self, path: At, message: str, hint: str = "", *, at_key: bool = False, rule: Rule = Rule.BAD_VALUE
    ) -> Problem:
        """Return a problem with the place of `path`, or of the nearest part around it that the file has."""
        found = path
        while found and found not in self.places and found not in self.keys:
            found = found[:-1]
        at_key = at_key or found != path
        place = (self.keys.get(found) if at_key else None) or self.places.get(found) or (0, 0)
        return _problem(self.file, self.lines, place, path, Complaint(rule, message, hint))


def document_of(file: str, raw: bytes) -> Document:
    """Return what the bytes of a file say; whatever is wrong with them is in the document's `problems`."""
    if len(raw) > MAX_BYTES:
        large = Problem(file, 0, 0, "", f"larger than {MAX_BYTES} bytes", rule=Rule.TOO_LARGE)
        return Document(file, problems=(large,), whole=False)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Document(file, problems=(_not_text(file, raw, error.start),), whole=False)
    return _Reading(file, text).document()


def _not_text(file: str, raw: bytes, at: int) -> Problem:
    start = raw.rfind(b"\n", 0, at) + 1
    place = raw.count(b"\n", 0, at) + 1, len(raw[start:at].decode("utf-8")) + 1
    marks = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
    other = next((f"{name}, " for mark, name in marks.items() if raw.startswith(mark)), "")
    return Problem(file, *place, "", f"{other}not UTF-8 text", "save the file as UTF-8", rule=Rule.NOT_UTF8)


def hidden(text: str) -> str:
    """Return a line of a file without what nobody may read in a log: a secret written inline, a URL's password."""
    return without_values([text])[0]


def _problem(file: str, lines: tuple[str, ...], place: Place, path: At, said: Complaint) -> Problem:
    line, column = place
    source_line = lines[line - 1][:_SHOWN_LINE] if 0 < line <= len(lines) else ""
    shown = ".".join(_short(str(step)) for step in path)
    return Problem(file, line, column, shown, said.message, said.hint, source_line, said.rule)


def is_secret(path: At, value: object) -> bool:
    """Return whether what stands at a place is a secret, going by the keys it stands under."""
    return any(gives_away(step, str(value)) for step in path if isinstance(step, str))


def _short(word: str) -> str:
    word = hidden(word)
    return word if len(word) <= _SHOWN_STEP else f"{word[:_SHOWN_STEP]}…"


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
        self._shown = tuple(without_values(self._lines))  # all at once: what a line may show depends on those around it
        self._stack: list[_Frame] = []
        self._root: object = None
        self._documents = 0
        self._nodes = 0
        self._places: dict[At, tuple[int, int]] = {}
        self._keys: dict[At, tuple[int, int]] = {}
        self._opaque: set[At] = set()
        self._problems: list[Problem] = []
        self._surprises: list[Problem] = []

    def document(self) -> Document:
        whole = self._read()
        return Document(
            self._file,
            self._root if whole else None,
            self._shown,
            self._places,
            self._keys,
            tuple(self._problems),
            tuple(self._surprises),
            frozenset(self._opaque),
            whole,
        )

    def _read(self) -> bool:
        """Take every event; return whether the end was reached."""
        if self._refuse_secret_breaks():
            return False
        try:
            parser = yaml.SafeLoader(self._text)
        except yaml.reader.ReaderError as error:
            said = Complaint(
                Rule.CHARACTER, f"U+{ord(self._text[error.position]):04X}, a character that YAML does not allow"
            )
            self._refuse(self._place_at(error.position), (), said)
            return False
        try:
            while parser.check_event():
                self._take(parser.get_event())  # type: ignore[no-untyped-call]
        except _Stop:
            return False
        except yaml.MarkedYAMLError as error:
            place, said = complaint_of(error, self._lines)
            self._refuse(place, (), said)
            return False
        except (ValueError, OverflowError):  # PyYAML hands some escapes and versions to chr() and int() unchecked
            said = Complaint(Rule.SYNTAX, "an escape sequence or directive is out of range")
            self._refuse(place_of(parser.get_mark()), (), said)
            return False
        finally:
            parser.dispose()
        if not self._documents:
            self._refuse((0, 0), (), Complaint(Rule.EMPTY, "the file is empty"))
        return self._documents > 0

    def _refuse_secret_breaks(self) -> bool:
        """Refuse every break of a line that no editor shows; return whether there is one.

        Then nothing else is read: behind the first, the parser's lines are not those of the person who mends them.
        """
        for found in itertools.islice(_SECRET_BREAK.finditer(self._text), MAX_PROBLEMS):
            message = f"an invisible character, U+{ord(found[0]):04X}, ends this line for YAML and for no editor"
            hint = "delete it, or save the file with ordinary line ends"
            self._refuse(self._place_at(found.start()), (), Complaint(Rule.CHARACTER, message, hint))
        return bool(self._problems)

    def _place_at(self, position: int) -> Place:
        """Return the line and column of a character as editors count; a byte order mark has no column."""
        begin = self._text.rfind("\n", 0, position) + 1
        marked = begin == 0 and self._text.startswith("\ufeff")
        return self._text.count("\n", 0, position) + 1, position - begin + 1 - marked

    def _refuse(self, place: Place, path: At, said: Complaint) -> None:
        self._problems.append(_problem(self._file, self._shown, place, path, said))

    def _stop(self, event: yaml.Event, rule: Rule, message: str, hint: str = "") -> NoReturn:
        self._refuse(place_of(event.start_mark), (), Complaint(rule, message, hint))
        raise _Stop

    def _take(self, event: yaml.Event) -> None:
        if len(self._problems) >= MAX_PROBLEMS:
            self._stop(event, Rule.TOO_MANY, f"more than {MAX_PROBLEMS} problems; the rest is not read")
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._stop(event, Rule.SECOND_DOCUMENT, "a second document", "one file holds one document")
        elif isinstance(event, yaml.CollectionEndEvent):
            self._stack.pop()
        elif isinstance(event, yaml.NodeEvent):
            self._nodes += 1
            if self._nodes > MAX_NODES:
                self._stop(event, Rule.TOO_MANY, f"more than {MAX_NODES} values")
            if len(self._stack) >= MAX_DEPTH:
                self._stop(event, Rule.TOO_DEEP, f"deeper than {MAX_DEPTH} levels")
            if self._stack and self._stack[-1].wants_key:
                self._take_key(event, self._stack[-1])
            else:
                self._take_value(event)

    def _take_key(self, event: yaml.NodeEvent, frame: _Frame) -> None:
        place = place_of(event.start_mark)
        frame.key, frame.key_path = "", None  # until proven good, the value that follows is remembered nowhere
        self._refuse_decoration(event, place, frame.path or ())
        if not isinstance(event, yaml.ScalarEvent):
            hint = "a template that nobody rendered?" if "{{" in self._lines[place[0] - 1][:1000] else ""
            self._refuse(place, frame.path or (), Complaint(Rule.BAD_KEY, "a key must be a plain word", hint))
            if isinstance(event, yaml.CollectionStartEvent):
                self._stack.append(_Frame(None, _empty(event)))
        elif event.value == "<<" and event.style is None:
            said = Complaint(Rule.BAD_KEY, "merge keys are refused", "write the keys out")
            self._refuse(place, frame.path or (), said)
        elif frame.path is not None:
            self._take_word(event.value, place, frame)

    def _take_word(self, word: str, place: Place, frame: _Frame) -> None:
        path = (*(frame.path or ()), word)
        if path in self._keys:
            line, column = self._keys[path]
            message = f"a second {_short(word)!r}; the first is at {line}:{column}"
            self._refuse(place, path, Complaint(Rule.DUPLICATE_KEY, message, "remove one"))
        elif complaint := strange(word):
            self._refuse(place, path[:-1], complaint)
        else:
            self._keys[path] = place
            frame.key, frame.key_path = word, path

    def _take_value(self, event: yaml.NodeEvent) -> None:
        parent = self._stack[-1] if self._stack else None
        path = self._path_here(parent)
        place = place_of(event.start_mark)
        refused = self._refuse_decoration(event, place, path or ())
        value: object = None
        if isinstance(event, yaml.CollectionStartEvent):
            value = _empty(event)
            self._stack.append(_Frame(path, value))
        elif isinstance(event, yaml.ScalarEvent):
            value, complaint = scalar(event.value, plain=event.style is None)
            if complaint:
                self._refuse(place, path or (), complaint)
                refused = True
            elif event.style is None and isinstance(value, str):
                self._warn(place, path or (), value)
        if refused and path is not None:
            self._opaque.add(path)
        self._attach(parent, path, value, place)

    def _warn(self, place: Place, path: At, text: str) -> None:
        if not is_secret(path, text) and (warned := surprise(text)):
            self._surprises.append(_problem(self._file, self._shown, place, path, warned))

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
        secret = is_secret(path, "")
        if isinstance(event, yaml.AliasEvent):
            said = f"the alias *{'…' if secret else _short(str(event.anchor))} is refused"
            self._refuse(place, path, Complaint(Rule.DECORATION, said, "write the value out"))
            return True
        if event.anchor is not None:
            said = f"the anchor &{'…' if secret else _short(str(event.anchor))} is refused"
            self._refuse(place, path, Complaint(Rule.DECORATION, said, "remove it"))
        tag = getattr(event, "tag", None)
        if tag is not None:
            said = f"the tag {'…' if secret else _short(str(tag))} is refused"
            self._refuse(place, path, Complaint(Rule.DECORATION, said, "remove it"))
        return tag is not None


def _empty(event: yaml.CollectionStartEvent) -> dict[str, object] | list[object]:
    return {} if isinstance(event, yaml.MappingStartEvent) else []
