"""An API server that was silent once is not asked again before somebody else has had an answer from it.

A tick asks the store many times: orders, each save, each report. A server that is gone refuses at once and costs
nothing, but one that hangs costs its whole patience, every time; a rollback that has to come within two ticks would
wait behind all of that. So one call waits, and those after it fail at once, as calls that were certainly not sent.

Whether the server is back is not tried here, for that would cost the same patience again, now and then in every
outage. The lease asks all the time, in a thread of its own that nobody waits for: what it heard is believed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar

from shifter.ports.kube import Body, Change, Failing, Kind, KubeApi, KubeError, Listing

T = TypeVar("T")

PATIENCE_SECONDS: Final = 0.5
"""A call that failed sooner held nobody up: after it the next one is made."""

_SILENCE: Final = frozenset({Failing.UNAVAILABLE, Failing.AMBIGUOUS})


def is_silence(error: KubeError) -> bool:
    """Return whether a call failed without any answer: not even a refusal, not even a server error."""
    return error.failing in _SILENCE and error.status == 0


class Breaker:
    """A `KubeApi` that asks another one, but waits for a silent server once only. Watches are always asked for.

    Calls that are under way together wait together: each has its own bound, and none is cut short.

    Args:
        api: whom to ask.
        answered: when the server last answered somebody else, by `monotonic`; before any time if it never did.
        monotonic: seconds that only grow.
    """

    def __init__(
        self, api: KubeApi, answered: Callable[[], float], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._answered = answered
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._silent: tuple[float, str] | None = None

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        """Return one object as it is now."""
        return self._asked(lambda: self._api.get(kind, namespace, name))

    def list(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None) -> Listing:
        """Return all objects as they are now; see `KubeApi.list`."""
        return self._asked(lambda: self._api.list(kind, namespace, labels=labels))

    def create(self, kind: Kind, namespace: str, body: Body) -> Body:
        """Create an object and return it as the server keeps it."""
        return self._asked(lambda: self._api.create(kind, namespace, body))

    def replace(self, kind: Kind, namespace: str, body: Body, *, status: bool = False) -> Body:
        """Write an object by its name and return it as kept; see `KubeApi.replace`."""
        return self._asked(lambda: self._api.replace(kind, namespace, body, status=status))

    def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Delete an object; one by that name with another uid is left alone."""
        self._asked(lambda: self._api.delete(kind, namespace, name, uid=uid))

    def watch(
        self,
        kind: Kind,
        namespace: str,
        resource_version: str,
        *,
        seconds: float,
        labels: Mapping[str, str] | None = None,
    ) -> Iterator[Change]:
        """Yield changes after `resource_version`; see `KubeApi.watch`."""
        return self._api.watch(kind, namespace, resource_version, seconds=seconds, labels=labels)

    def close(self) -> None:
        """Let go of connections. Calling twice is harmless."""
        self._api.close()

    def _asked(self, call: Callable[[], T]) -> T:
        self._must_not_be_silent()
        began = self._monotonic()
        try:
            answer = call()
        except KubeError as error:
            self._heard(error, began)
            raise
        self._forgive(self._monotonic())
        return answer

    def _must_not_be_silent(self) -> None:
        self._forgive(self._answered())
        with self._lock:
            silent = self._silent
        if silent is not None:
            # The same words every time: people are told once of what stays so.
            said = f"{silent[1]}; it was not asked again, since it has answered nobody else"
            raise KubeError(Failing.UNAVAILABLE, said)

    def _heard(self, error: KubeError, began: float) -> None:
        """Note how a call failed; by when it ended, for whatever was answered before then says nothing of now."""
        ended = self._monotonic()
        if not is_silence(error):
            self._forgive(ended)
        elif ended - began >= PATIENCE_SECONDS:
            with self._lock:
                self._silent = ended, str(error)

    def _forgive(self, answered_at: float) -> None:
        """Ask again if there was an answer after the silence."""
        with self._lock:
            if self._silent is not None and answered_at > self._silent[0]:
                self._silent = None
