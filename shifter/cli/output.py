"""How data leaves: tables for people, JSON and YAML for programs.

JSON and YAML are the stable API: every document names its `apiVersion`, `kind` and `schemaVersion`, and golden
tests pin them. Tables may change. What is stored was written by whoever could write an order or a policy, so
nothing of it reaches a terminal before control characters are gone: a reason must not repaint the screen.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import click

from shifter import API_VERSION
from shifter.cli.streams import carries
from shifter.core.analysis.verdicts import odds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SCHEMA_VERSION: Final = 1

_GAP: Final = "   "
_DRAWN_GAP: Final = 2
_NARROWEST: Final = {"SHIFT": 10, "VERDICT": 7, "HOLDS": 12, "REASON": 30}
"""Columns that may be broken over several lines, and how narrow they may get; all others are shown whole or not."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?")
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# What JSON and YAML would let through: C1 controls, half characters, and marks that reorder a line.
_SNEAKY = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


class Format(StrEnum):
    """What `-o` understands."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


def clean(text: str) -> str:
    """Return text that is safe on a terminal, on one line: no escape sequences, controls or invisible marks."""
    visible = _ESCAPES.sub("", text)
    return "".join(
        " " if char in "\t\n\r" else char
        for char in visible
        if char in "\t\n\r" or unicodedata.category(char) not in _HIDDEN_CATEGORIES
    ).strip()


def stamp(at: datetime | None) -> str | None:
    """Return an instant the way programs read it: RFC 3339 in UTC."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ago(at: datetime, now: datetime) -> str:
    """Return an instant the way people read it: `3m ago (15:04:05 +08:00)`, local time."""
    day, clock = local(at).split(" ", 1)
    return f"{span(now - at)} ago ({clock if now - at < timedelta(days=1) else f'{day} {clock}'})"


def local(at: datetime) -> str:
    """Return an instant in local time: `2026-11-20 15:04:05 +08:00`."""
    here = at.astimezone()
    offset = here.strftime("%z")
    return f"{here:%Y-%m-%d %H:%M:%S} {offset[:3]}:{offset[3:5]}"


def span(length: timedelta) -> str:
    """Return a span in the two largest units that matter: `45s`, `12m`, `3h5m`, `2d4h`."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < 2 * _MINUTE:
        return f"{seconds}s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE}m"
    if seconds < _DAY:
        minutes = seconds % _HOUR // _MINUTE
        return f"{seconds // _HOUR}h{minutes}m" if minutes else f"{seconds // _HOUR}h"
    hours = seconds % _DAY // _HOUR
    return f"{seconds // _DAY}d{hours}h" if hours else f"{seconds // _DAY}d"


def number(value: float) -> str:
    """Return a number in four digits that count, never with an exponent: `0.1235`, `700000`."""
    return format(Decimal(f"{value:.4g}"), "f")


def odds_shown(harm: float | None) -> str:
    """Return the odds against the target as `240:1`, `-` where there are none."""
    return "-" if harm is None else odds(harm)


def write_document(kind: str, body: Mapping[str, object], form: Format) -> None:
    """Write one document of the stable API to stdout, as JSON or YAML."""
    whole = {"apiVersion": API_VERSION, "kind": kind, "schemaVersion": SCHEMA_VERSION, **body}
    text = json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)
    plain = not carries(text)
    if form is Format.YAML:
        import yaml  # noqa: PLC0415 - for this one format

        escaped = plain or _SNEAKY.search(text) is not None
        click.echo(yaml.safe_dump(whole, sort_keys=False, allow_unicode=not escaped, width=1000), nl=False)
    elif plain:
        click.echo(json.dumps(whole, indent=2))
    else:
        click.echo(_SNEAKY.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def write_table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, terminal: bool) -> None:
    """Write a table to stdout: drawn by rich on a terminal that is wide enough, plain aligned lines anywhere else."""
    cells = [[clean(cell) for cell in row] for row in rows]
    if terminal and narrowest(headers, cells) <= (drawn := console()).width:
        drawn.print(rich_table(headers, cells))
        return
    for line in plain_table(headers, cells):
        click.echo(line)


def console() -> Console:
    """Return the terminal for tables: nothing in a text is markup."""
    from rich.console import Console  # noqa: PLC0415 - 60 ms that pipes need not pay

    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)


def drawn_room(headers: Sequence[str], rows: Sequence[Sequence[str]], column: str, width: int) -> int:
    """Return how many columns of a drawn table are left for one column, the others being as wide as they like."""
    at = headers.index(column)
    others = [max(shown_width(row[index]) for row in [headers, *rows]) for index in range(len(headers)) if index != at]
    return max(_NARROWEST.get(column, 0), width - sum(others) - _DRAWN_GAP * len(others))


def in_lines(text: str, width: int, most: int) -> str:
    """Return a text broken into at most so many lines of so many columns; one that was cut off ends with `…`."""
    lines: list[str] = []
    for word in text.split():
        if lines and shown_width(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines += _folded(word, width)
    if len(lines) > most:
        lines = [*lines[: most - 1], f"{_folded(lines[most - 1], width - 1)[0]}…"]
    return "\n".join(lines)


def _folded(word: str, width: int) -> list[str]:
    """Return a word in pieces that are no wider than `width` columns, but for a character that is."""
    pieces = [""]
    for char in word:
        if pieces[-1] and shown_width(pieces[-1] + char) > width:
            pieces.append("")
        pieces[-1] += char
    return pieces


def narrowest(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return how many columns a drawn table needs at least for no cell to be cut off."""
    widths = [max(shown_width(row[column]) for row in [headers, *rows]) for column in range(len(headers))]
    least = (min(width, _NARROWEST.get(header, width)) for header, width in zip(headers, widths, strict=True))
    return sum(least) + _DRAWN_GAP * (len(headers) - 1)


def plain_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as aligned lines without decoration; the last column is not padded."""
    everything = [headers, *rows]
    widths = [max(shown_width(row[column]) for row in everything) for column in range(len(headers))]
    return [
        _GAP.join(cell + " " * (width - shown_width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in everything
    ]


def rich_table(headers: Sequence[str], rows: Sequence[Sequence[str]], whole: str = "") -> Table:
    """Return a table that rich can print; cells are texts, never markup. Without style: there is no colour to miss.

    `whole` is a column whose cells are in lines already, and none of them is broken.
    """
    from rich.table import Table  # noqa: PLC0415 - 60 ms that pipes need not pay
    from rich.text import Text  # noqa: PLC0415 - 60 ms that pipes need not pay

    table = Table(box=None, pad_edge=False, padding=(0, _DRAWN_GAP, 0, 0), header_style="", caption_style="")
    for header in headers:
        table.add_column(header, overflow="fold", no_wrap=header not in _NARROWEST or header == whole)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def shown_width(text: str) -> int:
    """Return how many columns a text takes; Chinese characters take two each."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
