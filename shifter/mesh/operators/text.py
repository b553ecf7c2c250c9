"""Plain values as YAML, byte for byte the same for the same values, and read the same by every YAML reader.

Not PyYAML's: it leaves plain what it does not itself take for a number, and what takes the text in is Go. To Go's YAML
a tag `123e456` is a number and `0o17` another one. So whatever is not evidently a word stands in quotes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

_WORD: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*(:[A-Za-z0-9_./-]+)*")
_NOT_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\ufeff\ufffe\uffff\u2028\u2029\U0001fffe-\U0010ffff]")


def text_of(value: dict[str, Any]) -> str:
    """Return a document: mappings in their own order, one key or entry a line."""
    return "".join(f"{line}\n" for line in _mapping(value))


def _lines(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _mapping(value)
    elif isinstance(value, list | tuple):
        for each in value:
            first, *rest = _lines(each) if _is_block(each) else (_scalar(each),)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)


def _mapping(value: dict[str, Any]) -> Iterator[str]:
    for key, each in value.items():
        if not _is_block(each):
            yield f"{_scalar(key)}: {_scalar(each)}"
            continue
        yield f"{_scalar(key)}:"
        yield from (f"  {line}" for line in _lines(each))


def _is_block(value: object) -> bool:
    return isinstance(value, dict | list | tuple) and bool(value)


def _scalar(value: object) -> str:
    if isinstance(value, str):
        plain = _WORD.fullmatch(value) and value.lower() not in _NOT_WORDS
        return value if plain else _UNPRINTABLE.sub(_escaped, json.dumps(value, ensure_ascii=False))
    return json.dumps(value)  # numbers, true, false, null, [] and {} are the same in both


def _escaped(found: re.Match[str]) -> str:
    return f"\\U{ord(found[0]):08X}"
