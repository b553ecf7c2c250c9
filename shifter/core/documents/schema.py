"""What every file that people write has in common: strictness, names, durations, keys that come later.

Files are strict on purpose. An unknown key is an error, a number is never a boolean or a string, a duration
carries its unit, and a key that this version does not enforce is refused instead of accepted and ignored:
a person who wrote `approvals:` must not learn in production that nobody read it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Final, NoReturn

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

import shifter

API_VERSION: Final = shifter.API_VERSION
"""What every file names as its format; said at the root, where `shifter version` needs no pydantic to read it."""

_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+")
_LONGEST = timedelta(days=3650)
_DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class StrictModel(BaseModel):
    """Base of everything read from files: unknown keys refused, frozen, camelCase outside."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        alias_generator=to_camel,
        populate_by_name=False,
    )


def parse_duration(text: Any) -> timedelta:  # noqa: ANN401 - a validator is handed whatever the file holds
    """Return the duration that a text such as `90s`, `5m` or `1h30m` means.

    Raises:
        PydanticCustomError: not a text, no unit, shorter than 1 ms (so never zero) or longer than 3650 days.
    """
    if isinstance(text, timedelta):
        span = text
    elif isinstance(text, str) and _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
        # An absurd number of digits is infinite as a float; cut here, timedelta would overflow.
        span = timedelta(seconds=round(min(seconds, 2 * _LONGEST.total_seconds()), 3))
    else:
        raise PydanticCustomError("duration", 'not a duration; write a number with a unit, e.g. "90s", "5m" or "1h30m"')
    if not timedelta(milliseconds=1) <= span <= _LONGEST:
        raise PydanticCustomError("duration", "a duration must be at least 1ms and at most 3650d")
    return span


def show_duration(span: timedelta) -> str:
    """Return a duration the way files write it: `1h30m`, `5m`, `1.5s`."""
    left = span.total_seconds()
    words = []
    for unit in ("d", "h", "m"):
        count, left = divmod(left, _UNIT_SECONDS[unit])
        if count:
            words.append(f"{count:g}{unit}")
    if left or not words:
        words.append(f"{round(left, 3):g}s")
    return "".join(words)


def _dns_label(text: str) -> str:
    if not _DNS_LABEL.fullmatch(text):
        raise PydanticCustomError(
            "dns_label", "not a Kubernetes name; use lower-case letters, digits and '-', at most 63"
        )
    return text


def _not_yet(_: object) -> NoReturn:
    raise PydanticCustomError("unsupported", "not supported yet by this version of shifter; remove the key")


def _no_longer(_: object) -> NoReturn:
    raise PydanticCustomError(
        "retired", "not used any more: evidence is weighed instead of held against a fixed window; remove the key"
    )


def second_of_its_kind(values: Sequence[object]) -> int | None:
    """Return the position of the first value that was there before, None if there is none."""
    return next((index for index, value in enumerate(values) if value in values[:index]), None)


def distinct(what: str) -> AfterValidator:
    """Return a validator that refuses a list in which something stands twice."""

    def check(values: tuple[Any, ...]) -> tuple[Any, ...]:
        if (twice := second_of_its_kind(values)) is not None:
            raise PydanticCustomError("twice", "{what} is listed twice", {"what": what, "at": (twice,)})
        return values

    return AfterValidator(check)


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(show_duration, return_type=str)]
"""A span of time written with its unit."""

Name = Annotated[str, AfterValidator(_dns_label)]
"""An RFC 1123 label, as Kubernetes names namespaces."""

Unsupported = Annotated[None, BeforeValidator(_not_yet), Field(default=None, exclude=True)]
"""A key of the format that this version does not enforce: refused by name instead of ignored."""

Retired = Annotated[None, BeforeValidator(_no_longer), Field(default=None, exclude=True)]
"""A key that an earlier version used: refused with the reason, since who wrote it relied on it."""

Percent = Annotated[float, Field(ge=0, le=100)]
"""0..100."""


class Metadata(StrictModel):
    """The name by which people order and the service remembers."""

    name: Name
