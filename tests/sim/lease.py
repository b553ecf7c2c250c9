"""A lease as Kubernetes has it: a record that the holder renews, and everybody judges by a clock of their own.

The holder believes in it for less time than the others wait, each by their own monotonic clock: as long as clocks run
alike, two never hold it at once. A process that is stopped in between knows nothing of that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

DURATION_SECONDS = 5.0
"""After so long without a renewal others take it."""

RENEW_WITHIN_SECONDS = 3.0
"""So long the holder believes in its last renewal."""

LOWER_WITHIN_SECONDS = 90.0
"""So long the holder may lower shares after its last renewal, if it is cut off."""

RETRY_SECONDS = 0.5


@dataclass(slots=True)
class LeaseRecord:
    """What the lease says: who holds it (empty: nobody), how often it changed hands, how often it was renewed."""

    holder: str = ""
    transitions: int = 0
    renewals: int = 0


class Lease:
    """One process's part in it: the `Leadership` port, and taking and renewing it.

    Args:
        record: shared by all.
        holder: who this process is.
        monotonic: its own clock.
        reachable: whether it can read and write the record now.
    """

    def __init__(
        self, record: LeaseRecord, holder: str, monotonic: Callable[[], float], reachable: Callable[[], bool]
    ) -> None:
        self._record = record
        self._holder = holder
        self._monotonic = monotonic
        self._reachable = reachable
        self._epoch = 0
        self._renewed_at = 0.0
        self._noticed: tuple[str, int, int] | None = None
        self._noticed_at = 0.0
        self._lost = False

    @property
    def epoch(self) -> int:
        """The number of times it had changed hands when this process got it."""
        return self._epoch

    def valid(self) -> bool:
        """Whether this process may believe that it holds it."""
        within = self._monotonic() < self._renewed_at + RENEW_WITHIN_SECONDS
        return self._epoch > 0 and not self._lost and within

    def may_lower(self) -> bool:
        """Whether this process may still lower shares: it held it when it was cut off, and saw nobody else since."""
        if self.valid():
            return True
        cut_off = self._epoch > 0 and not self._lost and not self._reachable()
        return cut_off and self._monotonic() < self._renewed_at + LOWER_WITHIN_SECONDS

    def release(self) -> None:
        """Give it up, so that nobody has to wait."""
        self._lost = True
        if self._record.holder == self._holder and self._reachable():
            self._record.holder = ""

    def revoke(self) -> None:
        """Have it taken away: the record says so, this process does not know yet."""
        if self._record.holder == self._holder:
            self._record.holder = ""

    def try_to_take(self) -> bool:
        """Take it if nobody holds it, or whoever did has not renewed it for too long by this process's clock."""
        if not self._reachable():
            return False
        record, now = self._record, self._monotonic()
        notice = record.holder, record.transitions, record.renewals
        if notice != self._noticed:
            self._noticed, self._noticed_at = notice, now
        if record.holder and now < self._noticed_at + DURATION_SECONDS:
            return False
        record.holder, record.transitions = self._holder, record.transitions + 1
        self._epoch, self._renewed_at = record.transitions, now
        return True

    def renew(self) -> None:
        """Renew it, or find out that somebody else has it."""
        if self._lost or not self._reachable():
            return
        if self._record.holder != self._holder:
            self._lost = True
            return
        self._record.renewals += 1
        self._renewed_at = self._monotonic()
