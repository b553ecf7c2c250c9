"""Ours and what is passed through, put together: ours first, and ours wins; nothing without content is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]


def together(ours: Mapping[str, Any], passed: Mapping[str, Any]) -> Json:
    """Return one mapping of two: our keys in our order, then the other ones by name, all the way down.

    By name, since what a file passes through means the same in any order, and must not look like a change.
    """
    found = {key: _joined(value, passed[key]) if key in passed else value for key, value in ours.items()}
    found |= {key: by_name(passed[key]) for key in sorted(passed) if key not in ours}
    return found


def _joined(ours: object, passed: object) -> object:
    return together(ours, passed) if isinstance(ours, dict) and isinstance(passed, dict) else ours


def by_name(value: object) -> Any:  # noqa: ANN401 - whatever Istio has
    """Return a value whose mappings are sorted by key."""
    if isinstance(value, Mapping):
        return {key: by_name(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [by_name(each) for each in value]
    return value


def filled(**keys: object) -> Json:
    """Return those of the keys that have content; 0 and false are content, empty mappings, lists and None are not."""
    return {key: value for key, value in keys.items() if value not in (None, {}, [], ())}
