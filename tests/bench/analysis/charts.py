"""Charts of the bench as plain SVG, written here: three kinds of lines on two axes need no library.

Every chart works on a light and on a dark page: it brings its own background. Logarithmic axes take values above 0
only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 170, 40, 50
COLOURS: Final = ("#1a7f37", "#8250df", "#cf222e", "#bc4c00", "#9a6700", "#0969da", "#57606a", "#bf3989")
_TEXT: Final = 'font-family="sans-serif" font-size="12" fill="#24292f"'


@dataclass(frozen=True, slots=True)
class Line:
    """One named series of (x, y)."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its title and the values at which it is marked, growing; the first and last are its ends."""

    title: str
    marks: tuple[float, ...]
    logarithmic: bool = False

    def part(self, value: float) -> float:
        """Return where a value lies, 0 at the first mark and 1 at the last one."""
        low, high = self.marks[0], self.marks[-1]
        value = min(max(value, low), high)
        if self.logarithmic:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)


def decades(values: Sequence[float]) -> tuple[float, ...]:
    """Return the powers of ten that enclose the positive ones among the values."""
    positive = [value for value in values if value > 0 and math.isfinite(value)] or [1.0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    return tuple(10.0**power for power in range(low, max(high, low + 1) + 1))


def chart(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> str:
    """Return one SVG document."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-weight="bold" {_TEXT}>{escape(title)}</text>',
        *_grid(x, y),
    ]
    for index, line in enumerate(lines):
        parts += _drawn(line, x, y, index)
    return "\n".join([*parts, "</svg>", ""])


def _place(x: Axis, y: Axis, point: tuple[float, float]) -> tuple[float, float]:
    across, up = x.part(point[0]), y.part(point[1])
    return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def _grid(x: Axis, y: Axis) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for mark in x.marks:
        at, _ = _place(x, y, (mark, y.marks[0]))
        parts.append(f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{bottom}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle" {_TEXT}>{mark:g}</text>')
    for mark in y.marks:
        _, at = _place(x, y, (x.marks[0], mark))
        parts.append(f'<line x1="{LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end" {_TEXT}>{mark:g}</text>')
    middle = (LEFT + right) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle" {_TEXT}>{escape(x.title)}</text>')
    turned = f'transform="rotate(-90 16 {(TOP + bottom) / 2})"'
    parts.append(
        f'<text x="16" y="{(TOP + bottom) / 2}" text-anchor="middle" {turned} {_TEXT}>{escape(y.title)}</text>'
    )
    return parts


def _drawn(line: Line, x: Axis, y: Axis, index: int) -> list[str]:
    colour = COLOURS[index % len(COLOURS)]
    places = [_place(x, y, point) for point in line.points if all(map(math.isfinite, point))]
    path = " ".join(f"{across:.1f},{up:.1f}" for across, up in places)
    dots = [f'<circle cx="{across:.1f}" cy="{up:.1f}" r="3" fill="{colour}"/>' for across, up in places]
    row = TOP + 14 + 20 * index
    beside = WIDTH - RIGHT + 12
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *dots,
        f'<line x1="{beside}" y1="{row - 4}" x2="{beside + 20}" y2="{row - 4}" stroke="{colour}" stroke-width="3"/>',
        f'<text x="{beside + 26}" y="{row}" {_TEXT}>{escape(line.name)}</text>',
    ]
