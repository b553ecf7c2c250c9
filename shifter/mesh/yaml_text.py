"""An object as YAML text: the same bytes for the same object, on every machine and with every version of a library.

So nothing here depends on PyYAML's taste, which also leaves plain what it does not itself take for a number, while what
takes the text in is Go: to Go's YAML a tag `123e456` is a number and `0o17` another one. A word stands without quotes
only if no reader of YAML, old or new, could take it for anything else; everything else is quoted as in JSON. A text of
several lines (Lua in an EnvoyFilter, a certificate) is a block that a person can edit. What YAML cannot say (half a
character, a number that is none) is refused rather than written differently.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

MAX_DEPTH: Final = 64
"""Levels. The deepest EnvoyFilters have about twenty; nobody nests this deep but somebody who means harm."""

LONGEST_KEY: Final = 100
"""Characters. A longer key is written in the form that YAML has for long ones, as readers look no further than 1024."""

_PLAIN: Final = re.compile(r"[A-Za-z_/](?:[A-Za-z0-9_./@-]|:(?=[A-Za-z0-9_./@-]))*|[0-9]{1,9}(?:ms|s|m|h)")
_READ_OTHERWISE: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
_TO_ESCAPE: Final = re.compile("[^\x20-\x7e\xa1-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|[\u2028\u2029]")
_HALF: Final = re.compile("[\ud800-\udfff]")
_BLOCK: Final = re.compile("[\x20-\x7e\xa1-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff\n\t]+")
_STEP: Final = "  "


@dataclass(frozen=True, slots=True)
class Style:
    """How a text looks. `sorts`: mappings by key, else in their own order. `list_step`: how far lists stand in."""

    sorts: bool
    list_step: int


KUBECTL: Final = Style(sorts=True, list_step=0)
"""As kubectl writes objects."""

BY_HAND: Final = Style(sorts=False, list_step=1)
"""As people write files: what matters comes first."""


def yaml_text(value: Mapping[str, object], first: tuple[str, ...] = (), style: Style = KUBECTL) -> str:
    """Return a mapping as YAML.

    Args:
        value: what JSON can say; keys are texts.
        first: keys of the outermost mapping that come before all others, in this order.
        style: how it looks.

    Raises:
        ValueError: it has something that YAML cannot say, or is nested deeper than `MAX_DEPTH`.
    """
    rest = {key: each for key, each in value.items() if key not in first}
    keys = [*(key for key in first if key in value), *_keys(rest, style)]
    lines = list(_mapping(value, keys, 0, 1, style))
    return "".join(f"{line}\n" for line in lines) if lines else "{}\n"


def _keys(value: Mapping[str, object], style: Style) -> Sequence[str]:
    return sorted(value, key=str) if style.sorts else list(value)


def _mapping(value: Mapping[str, object], keys: Sequence[str], column: int, level: int, style: Style) -> Iterator[str]:
    """Yield the lines of a mapping that begins at `column` and is the `level`th collection around its entries."""
    indent = _STEP * column
    for key in keys:
        name = _key(key)
        if len(name) > LONGEST_KEY:
            yield f"{indent}? {name}"
            name = ""
        before = f"{indent}{name}:"
        if _is_block(value[key], level):
            yield before
            step = style.list_step if isinstance(value[key], list) else 1
            yield from _inside(value[key], column + step, level + 1, style)
        else:
            yield from _leaf(before, value[key], column + 1)


def _list(values: Sequence[object], column: int, level: int, style: Style) -> Iterator[str]:
    """Yield the entries of a list, whose dashes stand at `column`; a collection begins behind its dash."""
    indent = _STEP * column
    for value in values:
        if _is_block(value, level):
            lines = _inside(value, column + 1, level + 1, style)
            yield f"{indent}- {next(lines)[len(indent) + len(_STEP) :]}"
            yield from lines
        else:
            yield from _leaf(f"{indent}-", value, column + 1)


def _is_block(value: object, level: int) -> bool:
    """Say whether a value takes lines of its own; it stands in the `level`th collection.

    Raises:
        ValueError: that would be one too deep.
    """
    if isinstance(value, dict | list) and level >= MAX_DEPTH:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
    return isinstance(value, dict | list) and bool(value)


def _inside(value: object, column: int, level: int, style: Style) -> Iterator[str]:
    if isinstance(value, dict):
        return _mapping(value, _keys(value, style), column, level, style)
    assert isinstance(value, list)  # noqa: S101 - as `_is_block` said
    return _list(value, column, level, style)


def _leaf(before: str, value: object, column: int) -> Iterator[str]:
    """Yield what stands behind a key or a dash; a text of several lines stands below it, at `column`."""
    if isinstance(value, str) and "\n" in value and _BLOCK.fullmatch(value) and value.strip("\n "):
        yield from _block(before, value, column)
    else:
        yield f"{before} {_scalar(value)}"


def _block(before: str, text: str, column: int) -> Iterator[str]:
    body = text.rstrip("\n")
    ends = len(text) - len(body)
    lines = body.split("\n")
    # A reader guesses the indentation from the first line that has letters; who begins with a space has to say it.
    said = len(_STEP) if lines[0][:1] in {"", " ", "\t"} else ""
    yield f"{before} |{said}{'-' if ends == 0 else '' if ends == 1 else '+'}"
    indent = _STEP * column
    for line in (*lines, *("" for _ in range(ends - 1))):
        yield f"{indent}{line}" if line else ""


def _key(key: object) -> str:
    if not isinstance(key, str):
        said = f"has a key that is no text: {key!r}"
        raise ValueError(said[:200])  # noqa: TRY004 - one error for whatever YAML cannot say
    return _scalar(key)


def _scalar(value: object) -> str:
    match value:
        case str():
            return value if _is_plain(value) else _quoted(value)
        case True | False | None:
            return {True: "true", False: "false", None: "null"}[value]
        case int():
            return str(value)
        case float():
            return _number(value)
        case dict() | list():
            return "{}" if isinstance(value, dict) else "[]"
    raise ValueError(f"has a {type(value).__name__}, which JSON does not have")


def _is_plain(text: str) -> bool:
    return _PLAIN.fullmatch(text) is not None and text.lower() not in _READ_OTHERWISE


def _quoted(text: str) -> str:
    if _HALF.search(text):
        raise ValueError("has half a character: its text is no valid Unicode")
    return _TO_ESCAPE.sub(_escaped, json.dumps(text, ensure_ascii=False))


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04X}"


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError("has a number that is none: infinite, or the result of nothing")
    text = repr(value)
    # YAML 1.1 takes 1e-07 for a text: a number has a point there.
    return re.sub(r"^(-?\d+)e", r"\1.0e", text)
