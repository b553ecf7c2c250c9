"""What people are told about a lease: every change once, and not at each poll."""

from __future__ import annotations

from collections.abc import Callable


class LeaseNews:
    """Says what is new about one lease. `why` is why the last poll came to nothing; empty if it did not.

    Args:
        place: which lease, as people write it.
        tell: is told in a sentence.
    """

    def __init__(self, place: str, tell: Callable[[str], None]) -> None:
        self._place = place
        self.tell = tell
        self.why = ""
        self._holder = ""

    def failed(self, what: str, why: str) -> None:
        """Tell that the lease cannot be `what` (read, renewed), once until it can."""
        if not self.why:
            self.tell(f"the lease {self._place} cannot be {what}: {why}")
        self.why = why

    def answered(self) -> None:
        """Tell that it can, if it could not."""
        if self.why:
            self.tell(f"the lease {self._place} is answered for again")
        self.why = ""

    def held_by(self, holder: str) -> None:
        """Tell who holds it, if that is somebody else than last time."""
        if holder != self._holder:
            self._holder = holder
            self.tell(f"standing by: {holder} holds the lease {self._place}")
