"""What a model says about a document, in the words of the person who wrote the file.

pydantic knows what is wrong and names Python's types, aliases and validators; people know keys, lists and
lines. Paths are cut down to what the file really contains, messages lose the machinery, and an unknown key is
answered with the keys that the same mapping does know.
"""

from __future__ import annotations

import difflib
import json
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from shifter.files.located_yaml import At, hidden

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
_PREFIX: Final = re.compile(r"^(Input|Tuple|List|Dictionary|String) should")
_AT_KEY: Final = frozenset({"missing", "extra_forbidden", "unsupported"})


@dataclass(frozen=True, slots=True)
class Explained:
    """One complaint of a model: the place (`at_key`: the key rather than its value), what is wrong, what to do."""

    path: At
    message: str
    hint: str
    at_key: bool


def explain(errors: Iterable[ErrorDetails], model: type[BaseModel], value: object) -> Iterator[Explained]:
    """Yield pydantic's errors about `value`, which was to become `model`, as people read them."""
    for error in errors:
        # pydantic counts the entries that are valid; a list that is long enough has its own complaints further down.
        entries = error["input"] if error["type"] == "too_short" else None
        if not isinstance(entries, list | tuple) or len(entries) < error["ctx"]["min_length"]:
            yield _explain_one(error, model, value)


def _explain_one(error: ErrorDetails, model: type[BaseModel], value: object) -> Explained:
    kind, found = error["type"], error["input"]
    # A rule between keys is found by what they stand in; `at` says which of them is to be pointed at.
    loc = (*error["loc"], *error.get("ctx", {}).get("at", ()))
    path, part = _in_document(loc, value, missing=kind == "missing")
    message = _MESSAGES.get(kind) or _PREFIX.sub("should", error["msg"])
    if kind not in _AT_KEY and (found is None or isinstance(found, str | int | float)):
        message = f"{message}, found {hidden(json.dumps(found, ensure_ascii=False))[:_SHOWN_VALUE]}"
    return Explained(path, message, _hint(error, model), kind in _AT_KEY or isinstance(part, dict | list))


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


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return a suggestion of the known word that comes closest; empty if none does."""
    close = difflib.get_close_matches(word, known, n=1)
    return f'did you mean "{close[0]}"?' if close else ""


def _hint(error: ErrorDetails, model: type[BaseModel]) -> str:
    kind, loc = error["type"], error["loc"]
    if kind == "extra_forbidden":
        known = known_keys(model, loc[:-1])
        suggestion = did_you_mean(str(loc[-1]), known)
        return suggestion or (f"known here: {', '.join(known)}" if known else "")
    if kind == "string_type" and isinstance(error["input"], int | float):
        return f'put it in quotes: "{json.dumps(error["input"])}"'
    return _HINTS.get(kind, "")


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
