"""Chance, and nothing else decides it: one seed, and a stream of its own for everybody who throws.

Streams are apart so that a fault more in the store does not change what the cloud does next: a failing seed stays
close to itself while it is looked into.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """One stream of chance."""

    def __init__(self, seed: int, name: str) -> None:
        # A text is hashed by its letters, not by this process's hash seed.
        self._random = random.Random(f"{seed}/{name}")  # noqa: S311 - dice of a test

    def hits(self, probability: float) -> bool:
        """Whether something of this probability (0 to 1) happens now."""
        return probability > 0 and self._random.random() < probability

    def between(self, low: float, high: float) -> float:
        """A number of a span, to the millisecond."""
        return round(self._random.uniform(low, high), 3)

    def whole(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return self._random.randint(low, high)

    def one_of(self, things: Sequence[T]) -> T:
        """One of several things."""
        return self._random.choice(things)

    def some_of(self, things: Sequence[T], count: int) -> list[T]:
        """So many different things, in their order."""
        chosen = set(self._random.sample(range(len(things)), min(count, len(things))))
        return [thing for index, thing in enumerate(things) if index in chosen]

    def rounded(self, number: float) -> int:
        """A whole number that is `number` on average."""
        return int(number + self._random.random())
