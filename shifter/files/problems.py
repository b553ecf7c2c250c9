"""What a model says about a document, in the words of the person who wrote the file.

pydantic knows what is wrong and names Python's types, aliases and validators; people know keys, lists and
lines. Paths are cut down to what the file really contains, messages lose the machinery, and an unknown key is
answered with the keys that the same mapping does know.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails, PydanticCustomError

from shifter.core.documents.schema import parse_duration
from shifter.core.text import closest, did_you_mean
from shifter.files.located_yaml import At, hidden, is_secret
from shifter.files.rules import Complaint, Rule
from shifter.files.scalars import lookalike
from shifter.files.words import LISTED_ONCE, example_of, key_of

_SHOWN_VALUE: Final = 60
_MESSAGES: Final[Mapping[str, str]] = {
    "missing": "required key is missing",
    "extra_forbidden": "unknown key",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "model_type": "should be a mapping (key: value)",
    "dict_type": "should be a mapping (key: value)",
    "float_type": "should be a number",
    "int_type": "should be a whole number",
    "string_type": "should be a text",
}
_HINTS: Final[Mapping[str, str]] = {
    "tuple_type": "write [first, second] or one '- ' line per entry",
    "float_type": "numbers are written plainly, e.g. 10 or 0.5, without quotes, leading zeros or units",
    "int_type": "numbers are written plainly, e.g. 443, without quotes, leading zeros or units",
}
_RULES: Final[Mapping[str, Rule]] = {
    "missing": Rule.MISSING_KEY,
    "extra_forbidden": Rule.UNKNOWN_KEY,
    "unsupported": Rule.UNSUPPORTED,
    "retired": Rule.RETIRED,
    "dns_label": Rule.BAD_NAME,
    "duration": Rule.BAD_DURATION,
    "literal_error": Rule.BAD_VALUE,
    "steps": Rule.STEPS,
    "approvals": Rule.STEPS,
    "sides": Rule.SIDES,
    "selector": Rule.SIDES,
    **dict.fromkeys(("namespace", "twice", "rule"), Rule.BETWEEN_KEYS),
    **dict.fromkeys(("edges", "matchers", "datasources", "scheme", "timing", "retention"), Rule.BETWEEN_KEYS),
    **dict.fromkeys(("margins", "failures", "custom", "learning", "mesh"), Rule.BETWEEN_KEYS),
}
_UNITS: Final = re.compile(
    r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|h|d|ms)(?:ecs?|econds?|ins?|inutes?|rs?|ours?|ays?)?", re.IGNORECASE
)
_CLOCK: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})")
_PREFIX: Final = re.compile(r"^(Input|Tuple|List|Dictionary|String) should")
_AT_KEY: Final = frozenset({"missing", "extra_forbidden", "unsupported", "retired"})
_INSTEAD: Final[Mapping[str, str]] = {
    "window": "`hold` says how long a share is kept for want of proof",
    "minRequests": "`blastRadius` says what a step may cost, `hold` how long it waits for evidence",
    "overSourcePercent": (
        "write `tolerance: {ratio: 1.1, percent: 0.5}, margin: {ratio: 1.5, percent: 1}`: up to the first Istio is not"
        " blamed, within the second it is no worse"
    ),
    "overSourceRatio": (
        "write `tolerance: {ratio: 1.5, percent: 0.2}, margin: {ratio: 2, percent: 0.5}`: up to the first Istio is not"
        " blamed, within the second it is no worse"
    ),
}
"""What a person who wrote a retired key may write now."""


@dataclass(frozen=True, slots=True)
class Explained:
    """One complaint of a model: the place (`at_key`: the key rather than its value), what is wrong, what to do."""

    path: At
    said: Complaint
    at_key: bool


def explain(errors: Iterable[ErrorDetails], model: type[BaseModel], value: object) -> Iterator[Explained]:
    """Yield pydantic's errors about `value`, which was to become `model`, as people read them."""
    meant: set[At] = set()
    lists: set[At] = set()
    missing: list[Explained] = []
    for error in errors:
        # pydantic counts the entries that are valid; a list that is long enough has its own complaints further down.
        entries = error["input"] if error["type"] == "too_short" else None
        if isinstance(entries, list | tuple) and len(entries) >= error["ctx"]["min_length"]:
            continue
        one = _explain_one(error, model, value)
        lists.update(one.path[:end] for end in range(len(one.path) + 1) if key_of(one.path[:end]) in LISTED_ONCE)
        if one.said.rule is Rule.MISSING_KEY:
            missing.append(one)
            continue
        if one.said.rule is Rule.UNKNOWN_KEY and (close := _closest(str(error["loc"][-1]), model, error["loc"][:-1])):
            meant.add((*one.path[:-1], close))
        yield one
    # Of one slip of the keyboard one problem: the key that is missing is the one that is misspelled.
    yield from (one for one in missing if one.path not in meant)
    for path in sorted(lists, key=key_of):
        yield from _also_twice(path, value)


def _also_twice(path: At, value: object) -> Iterator[Explained]:
    """Yield the entry that a list has twice: the model looks for one only when every entry is right by itself."""
    _, entries = _in_document(path, value, missing=False)
    seen: set[str] = set()
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        named = isinstance(entry, dict) and "name" in entry
        text = json.dumps(entry["name"] if named else entry, sort_keys=True)
        if text in seen:
            said = Complaint(Rule.BETWEEN_KEYS, f"{LISTED_ONCE[key_of(path)]} is listed twice")
            at: At = (*path, index, "name") if named else (*path, index)
            yield Explained(at, said, at_key=isinstance(entry, dict | list) and not named)
            return
        seen.add(text)


def _explain_one(error: ErrorDetails, model: type[BaseModel], value: object) -> Explained:
    kind, found = error["type"], error["input"]
    # A rule between keys is found by what they stand in; `at` says which of them is to be pointed at.
    loc = (*error["loc"], *error.get("ctx", {}).get("at", ()))
    path, part = _in_document(loc, value, missing=kind == "missing")
    if kind == "margins" and path != loc:
        # The margin is the default: what stands in the file is the other half.
        path, part = _in_document((*loc[:-1], "tolerance"), value, missing=False)
    message = _MESSAGES.get(kind) or _PREFIX.sub("should", error["msg"])
    if kind == "string_pattern_mismatch" and (example := _example(model, error["loc"])):
        message = f'has not the form of "{example}"'
    tellable = not is_secret(path, found)
    if tellable and kind not in _AT_KEY and (found is None or isinstance(found, str | int | float)):
        message = f"{message}, found {hidden(json.dumps(found, ensure_ascii=False))[:_SHOWN_VALUE]}"
    rule = _RULES.get(kind) or (Rule.WRONG_TYPE if kind.endswith("_type") else Rule.BAD_VALUE)
    said = Complaint(rule, message, _hint(error, model) if tellable or kind in _AT_KEY else "")
    return Explained(path, said, kind in _AT_KEY or isinstance(part, dict | list))


def _example(model: type[BaseModel], path: At) -> object:
    """Return the plainest value of a place; of a list's entry the first of the plainest list."""
    found = example_of(model.__name__, path)
    if found is None and path and isinstance(path[-1], int):
        listed = example_of(model.__name__, path[:-1])
        return listed[0] if isinstance(listed, list) else None
    return found


def known_keys(model: type[BaseModel], path: At) -> tuple[str, ...]:
    """Return the keys that the mapping at `path` may have and that this version enforces; empty if it is no model."""
    annotation: object = model
    for step in path:
        annotation = _inside(annotation, step)
    inner = _model_in(annotation)
    if inner is None:
        return ()
    return tuple(
        field.alias or name for name, field in inner.model_fields.items() if field.annotation is not types.NoneType
    )


def _closest(word: str, model: type[BaseModel], path: At) -> str:
    return closest(word, known_keys(model, path))


def _hint(error: ErrorDetails, model: type[BaseModel]) -> str:
    kind, loc, found = error["type"], error["loc"], error["input"]
    if kind == "extra_forbidden":
        known = known_keys(model, loc[:-1])
        elsewhere = f"known here: {', '.join(known)}" if known else ""
        return did_you_mean(str(loc[-1]), known) or lookalike(str(loc[-1])) or elsewhere
    if kind == "retired":
        return _INSTEAD.get(str(loc[-1]), "")
    if isinstance(found, str) and (typed := lookalike(found) or _word_for_the_list(found, loc, model)):
        return typed
    return _duration_hint(found) if kind == "duration" else _form_hint(kind, found, example_of(model.__name__, loc))


def _word_for_the_list(found: str, loc: At, model: type[BaseModel]) -> str:
    """Return the word that may stand instead of a list, to whom wrote it as an entry of one."""
    word = example_of(model.__name__, loc[:-1]) if loc and isinstance(loc[-1], int) else None
    return f"write `{loc[-2]}: {word}`" if isinstance(word, str) and found.lower() == word else ""


def _form_hint(kind: str, found: object, example: object) -> str:
    """Return how a value of the wanted type is written."""
    if kind == "string_type" and isinstance(found, int | float):
        return f'put it in quotes: "{json.dumps(found)}"'
    if kind == "tuple_type" and isinstance(example, str):
        return f"write {example}, or {_HINTS[kind].removeprefix('write ')}"
    return _HINTS.get(kind, "")


def _duration_hint(found: object) -> str:
    """Return the duration that was probably meant; empty if that cannot be told, or would be refused as well."""
    text = str(found)[:_SHOWN_VALUE]
    meant: tuple[str, ...] = ()
    if isinstance(found, int | float) and not isinstance(found, bool):
        meant = (f"{found:g}s",)
    elif clock := _CLOCK.fullmatch(text):
        meant = (f"{int(clock[1])}m{int(clock[2])}s", f"{int(clock[1])}h{int(clock[2])}m")
    elif unit := _UNITS.fullmatch(text.strip()):
        meant = (f"{unit[1]}{unit[2].lower()}",)
    usable = " or ".join(f'"{each}"' for each in meant if _is_duration(each))
    return f"did you mean {usable}?" if usable else ""


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except PydanticCustomError:
        return False
    return True


def _in_document(loc: At, value: object, *, missing: bool) -> tuple[At, object]:
    """Return the part of a model's location that the document has (plus the key it lacks), and the value there.

    pydantic adds what no file contains: validators' names, union members, `[key]` behind a refused key.
    """
    path: At = ()
    for step in loc:
        parts: Mapping[str | int, object] = {}
        if isinstance(value, dict):
            parts = value
        elif isinstance(value, list):
            parts = dict(enumerate(value))
        if step in parts:
            path, value = (*path, step), parts[step]
    return ((*path, loc[-1]) if missing else path), value


def _inside(annotation: object, step: str | int) -> object:
    """Return the type of what stands at `step` in a value of the annotated type; None if that has no parts."""
    inner = _model_in(annotation)
    if inner is not None and isinstance(step, str):
        fields = (field for name, field in inner.model_fields.items() if step == (field.alias or name))
        return next((field.annotation for field in fields), None)
    for each in _parts(annotation):
        if get_origin(each) in {tuple, list} and isinstance(step, int):
            return get_args(each)[0]
        if get_origin(each) is dict:
            return get_args(each)[1]
    return None


def _model_in(annotation: object) -> type[BaseModel] | None:
    for each in _parts(annotation):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None


def _parts(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401 - annotations have no common type
    """Return the alternatives of an optional or annotated type, or the type itself."""
    if get_origin(annotation) in {None, tuple, list, dict}:
        return (annotation,)
    return tuple(part for each in get_args(annotation) for part in _parts(each))
