"""Moments that people type: `2026-11-21T12:00:00+08:00`, `-6h` for six hours ago, `now`.

Beside `params.py`: only commands that look back pay for it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click
from pydantic_core import PydanticCustomError

from shifter.cli.session import Session
from shifter.core.documents.schema import parse_duration


class Moment(click.ParamType[datetime]):
    """An instant in RFC 3339, or a span before now with its unit, to the second."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:  # noqa: ANN401 - as click's
        """Return the instant; it has a time zone."""
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        now = (ctx.ensure_object(Session) if ctx is not None else Session()).now()
        try:
            found = now if text == "now" else now - parse_duration(text[1:]) if text[:1] == "-" else _instant(text)
        except (PydanticCustomError, OverflowError):
            self.fail(f"{text!r} is no span before now, such as -6h or -90m", param, ctx)
        except ValueError:
            self.fail(f"{text!r} is no time such as 2026-11-21T12:00:00Z, -6h or now", param, ctx)
        if found.tzinfo is None:
            self.fail(f"{text!r} has no time zone: add Z, or an offset such as +08:00", param, ctx)
        return found.replace(microsecond=0)


def _instant(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if len(text) <= len("2026-11-21"):
        raise ValueError("a day is no time")
    return found
