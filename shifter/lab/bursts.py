"""Errors that come in clusters: requests through one gateway pod all fail for an instant, again and again.

Each pod has its own schedule, drawn from the same distribution. So both meshes fail at a similar rate and never at the
same instants, and so do the pods of one mesh among themselves: whoever learns from the source's own pods how much
errors cluster can see it there. Were whole meshes struck, their pods would agree and the clusters be invisible.
"""

from __future__ import annotations

import heapq
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

END_SECONDS = 10.0  # more than an Envoy's patience, which bounds every strike


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often bursts come, and how long they last.

    Args:
        every_seconds: from one burst of a pod to its next, on average; each gap is drawn from half to one and a half.
        lasts_seconds: above 0, and below half of `every_seconds`, so that bursts of one pod never touch.
        seconds_max: when it ends by itself.
    """

    every_seconds: float
    lasts_seconds: float
    seconds_max: float

    def __post_init__(self) -> None:
        if not 0 < self.lasts_seconds < self.every_seconds / 2 or self.seconds_max <= 0:
            raise ValueError(f"bursts of {self.lasts_seconds:g} s every {self.every_seconds:g} s cannot be told apart")


class Bursts:
    """A thread that strikes pods by a rhythm until `stop` or the rhythm's end; every pod is well again after it.

    Args:
        pods: whom to strike.
        rhythm: when.
        strike: begins (True) or ends (False) a burst of a pod.
        rng: of the gaps.
    """

    def __init__(
        self, pods: Sequence[str], rhythm: Rhythm, strike: Callable[[str, bool], None], rng: random.Random
    ) -> None:
        self._rhythm = rhythm
        self._strike = strike
        self._rng = rng
        self._stopping = threading.Event()
        self._error: Exception | None = None
        self._struck: set[str] = set()
        self._pods = pods
        self._thread = threading.Thread(target=self._run, name="bursts", daemon=True)

    def start(self) -> None:
        """Begin; the first bursts come within one and a half of `every_seconds`."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait until every pod is well.

        Raises:
            Exception: what kept it from striking; it ended then.
        """
        self._stopping.set()
        self._thread.join(END_SECONDS)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._go_on()
            for pod in self._struck:
                self._strike(pod, False)  # noqa: FBT003 - the burst's end
        except Exception as error:  # noqa: BLE001 - handed to whoever stops
            self._error = error

    def _go_on(self) -> None:
        began = time.monotonic()
        due = [(began + self._gap_seconds(), pod) for pod in self._pods]
        heapq.heapify(due)
        while due:
            at, pod = heapq.heappop(due)
            if at > began + self._rhythm.seconds_max or self._stopping.wait(max(0.0, at - time.monotonic())):
                return
            begins = pod not in self._struck
            self._strike(pod, begins)
            (self._struck.add if begins else self._struck.discard)(pod)
            lasts_seconds = self._rhythm.lasts_seconds
            heapq.heappush(due, (at + (lasts_seconds if begins else self._gap_seconds() - lasts_seconds), pod))

    def _gap_seconds(self) -> float:
        return self._rhythm.every_seconds * self._rng.uniform(0.5, 1.5)
