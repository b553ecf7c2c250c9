"""Waiting for what threads do: until it is so, and never longer than a deadline that only a broken test reaches."""

from __future__ import annotations

import time
from collections.abc import Callable

DEADLINE_SECONDS = 10.0


def wait_for(what: Callable[[], object], why: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.005)
