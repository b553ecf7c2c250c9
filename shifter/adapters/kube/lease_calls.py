"""The calls that a lease makes, and when one was last not answered: only that is known of whether the store is there.

An answer that is no Lease counts as none. A conflict is an answer: somebody else wrote.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from shifter.adapters.kube.breaker import is_silence
from shifter.adapters.kube.clocks import Clocks, Instant
from shifter.adapters.kube.lease_record import Claim, read
from shifter.ports.kube import LEASES, Body, Failing, KubeApi, KubeError

UNSURE: Final = frozenset({Failing.AMBIGUOUS, Failing.UNDECODABLE})
"""A write that fails so may have been carried out."""

OUTRUN: Final = frozenset({Failing.CONFLICT, Failing.EXISTS, Failing.MISSING})
"""A write that fails so was answered: somebody else wrote first."""


class LeaseCalls:
    """One Lease object behind an API. `read` is whether it was ever looked at, and be it to see that there is none.

    `failed`: when a call was last not answered, or refused; None if none ever was. `answered`: when one last was
    answered, and be it with a refusal or an error, on the monotonic clock; before any time if none ever was.
    """

    def __init__(self, api: KubeApi, claim: Claim, clocks: Clocks) -> None:
        self._api = api
        self._claim = claim
        self._clocks = clocks
        self._stamped = datetime.min.replace(tzinfo=UTC)
        self.read = False
        self.failed: Instant | None = None
        self.answered = -math.inf

    def get(self) -> Body | None:
        """Return the Lease; None if there is none.

        Raises:
            KubeError: nobody answers.
        """
        try:
            body = self._asked(lambda: self._api.get(LEASES, self._claim.namespace, self._claim.name))
        except KubeError as error:
            if error.failing is not Failing.MISSING:
                raise
            body = None
        self.read = True
        return body

    def create(self, body: Body) -> Body:
        """Make the Lease, and return it as it is kept.

        Raises:
            KubeError: see `UNSURE` and `OUTRUN`; in any other way it certainly was not made.
        """
        return self._asked(lambda: self._api.create(LEASES, self._claim.namespace, body))

    def replace(self, body: Body) -> Body:
        """Write the Lease over the version that `body` was made of, and return it as it is kept.

        A server makes a Lease that is missing where one is replaced, but not one that has a uid already.

        Raises:
            KubeError: as `create`.
        """
        return self._asked(lambda: self._api.replace(LEASES, self._claim.namespace, body))

    def stamp(self) -> datetime:
        """Return the time for people to read, but never the same twice: it tells one of our writes from another."""
        self._stamped = max(self._clocks.wall(), self._stamped + timedelta(microseconds=1))
        return self._stamped

    def _asked(self, call: Callable[[], Body]) -> Body:
        try:
            body = _as_lease(call())
        except KubeError as error:
            now = self._clocks.now()
            if error.failing not in OUTRUN:
                self.failed = now
            if not is_silence(error):
                self.answered = now.monotonic
            raise
        self.answered = self._clocks.now().monotonic
        return body


def _as_lease(body: Body) -> Body:
    if not all(read(body).version):
        raise KubeError(Failing.UNDECODABLE, "the answer has no uid or no resource version")
    return body
