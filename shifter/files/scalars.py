"""What a single text of a file means, and which of its characters betray a slip of the keyboard.

YAML 1.1 reads `on` as true, `1:30` as ninety and `010` as eight. Here a plain text means what JSON would make of it,
or itself; where another reader of the same file would see something else, that is worth a warning. Characters that
look like others, or like nothing, are how a right-looking file is wrong: an input method's colon, a no-break space.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Final

import yaml

from shifter.files.rules import Complaint, Rule

_LONGEST_NUMBER: Final = 32
_LONGEST_WORD: Final = 60
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_INVISIBLE = re.compile(
    "[\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164\ufeff\uffa0]"
)
_BOOLEANS: Final = {"true": True, "false": False}
_QUOTES_AND_DASHES = "\u201c\u201d\u201e\u2018\u2019\u2013\u2014\u2212\u3002"
_LOOKALIKES: Final = dict(zip(_QUOTES_AND_DASHES, '"""\'\'---.', strict=True))
_OTHERS_READ: Final = {
    "bool": "a boolean",
    "int": "a number",
    "float": "a number",
    "null": "nothing",
    "timestamp": "a date",
}


def strange(text: str) -> Complaint | None:
    """Return what is wrong with a text's characters: controls, half characters, or what nobody can see."""
    if _UNPRINTABLE.search(text):
        return Complaint(Rule.CHARACTER, "control characters are refused")
    if found := _INVISIBLE.search(text):
        message = f"an invisible character, {_code(found[0])}, stands in this text"
        return Complaint(Rule.CHARACTER, message, "delete it, or type an ordinary space")
    return None


def scalar(text: str, *, plain: bool) -> tuple[object, Complaint | None]:
    """Return a scalar's value, and what is wrong with it if anything is; `plain` is without quotes or block."""
    if complaint := strange(text):
        return None, complaint
    if not plain:  # quoted and block scalars are texts, whatever they look like
        return text, None
    if text in {"", "null"}:  # no key is nullable, and `latency:` with its lines commented out must not mean "no guard"
        return None, Complaint(Rule.NO_VALUE, "has no value; give one or remove the key")
    return (_BOOLEANS[text], None) if text in _BOOLEANS else _number(text)


def surprise(text: str) -> Complaint | None:
    """Return what to warn of if YAML 1.1 makes something else of a plain text than a text."""
    for tag, pattern in yaml.SafeLoader.yaml_implicit_resolvers.get(text[:1], ()):
        other = _OTHERS_READ.get(tag.rpartition(":")[2])
        if other and len(text) <= _LONGEST_WORD and pattern.match(text):
            message = f'"{text}" is a text here, but {other} to YAML 1.1, which other tools read'
            return Complaint(Rule.SURPRISE, message, f'put it in quotes: "{text}"')
    return None


def lookalike(text: str) -> str:
    """Return a hint if a text has a character that only looks like one of the keyboard's; empty if it has none."""
    for char in text[:1000]:
        meant = _LOOKALIKES.get(char, "")
        if "\uff01" <= char <= "\uff5e":  # the full-width forms that Chinese and Japanese input methods type
            meant = unicodedata.normalize("NFKC", char)
        if meant:
            return f"{char} ({_code(char)}) is not the plain {meant}"
    return ""


def _code(char: str) -> str:
    return f"U+{ord(char):04X}"


def _number(text: str) -> tuple[object, Complaint | None]:
    """Return the number that a plain text spells as JSON would, else the text itself; and what is wrong with it."""
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text, None
    if len(text) > _LONGEST_NUMBER or not math.isfinite(float(text)):
        return None, Complaint(Rule.BAD_VALUE, "the number is too large")
    return (float(text) if number[2] or number[3] else int(text)), None
