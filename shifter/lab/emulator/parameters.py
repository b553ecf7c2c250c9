"""The shapes of parameters, and the refusal of everything that does not fit them.

Strict on purpose: a parameter the action does not know is refused, at any depth, because the SDK sends a
misspelt attribute without complaint and the real API would refuse it. Types are JSON types: `"5"` and `5.0` are
not whole numbers, and neither is `true`. What a parameter *means* is the business of `actions`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from shifter.lab.emulator.envelope import ApiError


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A string, optionally one of a few."""

    required: bool = False
    one_of: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A whole number in `low..high`."""

    low: int
    high: int
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Many:
    """A list of `at_least..at_most` things of one shape."""

    of: "Shape"
    at_most: int
    at_least: int = 0
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """An object with exactly these members, some of them required."""

    members: Mapping[str, "Shape"] = field(default_factory=dict)
    required: bool = False


Shape: TypeAlias = Text | Whole | Many | Structure


def check(shape: Shape, value: Any, path: str = "") -> None:  # noqa: ANN401 - it is JSON until this returns
    """Refuse a value that does not have the shape; `path` says where it stands, as in `Targets.0.Port`.

    Raises:
        ApiError: UnknownParameter, MissingParameter, InvalidParameter (wrong JSON type),
            InvalidParameterValue (not one of a few), .Range or .Length.
    """
    match shape:
        case Text():
            _check_text(shape, value, path)
        case Whole():
            _check_whole(shape, value, path)
        case Many():
            _check_many(shape, value, path)
        case Structure():
            _check_structure(shape, value, path)


def _check_text(shape: Text, value: object, path: str) -> None:
    if not isinstance(value, str):
        raise ApiError("InvalidParameter", f"The parameter `{path}` must be a string.")
    if shape.one_of and value not in shape.one_of:
        raise ApiError("InvalidParameterValue", f"The value of `{path}` must be one of {sorted(shape.one_of)}.")


def _check_whole(shape: Whole, value: object, path: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ApiError("InvalidParameter", f"The parameter `{path}` must be a whole number.")
    if not shape.low <= value <= shape.high:
        raise ApiError("InvalidParameterValue.Range", f"`{path}` must be within [{shape.low}, {shape.high}].")


def _check_many(shape: Many, value: object, path: str) -> None:
    if not isinstance(value, list):
        raise ApiError("InvalidParameter", f"The parameter `{path}` must be a list.")
    if not shape.at_least <= len(value) <= shape.at_most:
        raise ApiError(
            "InvalidParameterValue.Length",
            f"The length of `{path}` must be within [{shape.at_least}, {shape.at_most}], it is {len(value)}.",
        )
    for index, item in enumerate(value):
        check(shape.of, item, f"{path}.{index}")


def _check_structure(shape: Structure, value: object, path: str) -> None:
    if not isinstance(value, dict):
        raise ApiError("InvalidParameter", f"The parameter `{path or 'body'}` must be an object.")
    prefix = f"{path}." if path else ""
    for name in value:
        if name not in shape.members:
            raise ApiError("UnknownParameter", f"The parameter `{prefix}{name}` is not recognized.")
    for name, member in shape.members.items():
        if name in value:
            check(member, value[name], f"{prefix}{name}")
        elif member.required:
            raise ApiError("MissingParameter", f"The request is missing a required parameter `{prefix}{name}`.")
