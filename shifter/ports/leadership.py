"""Who may raise shares."""

from __future__ import annotations

from typing import Protocol


class Leadership(Protocol):
    """Says whether this process may raise shares, under which epoch, and whether it may still lower them."""

    @property
    def epoch(self) -> int:
        """The number stamped on every intent; it grows with each new leader."""

    def valid(self) -> bool:
        """Return whether the lease is held right now, and for long enough to end a write that starts now."""

    def may_lower(self) -> bool:
        """Return whether a share may be lowered: True while valid, and for a while where nobody could renew the lease.

        Never again once another holder was seen, where there can be another.
        """

    def release(self) -> None:
        """Give the lease up; last act of a shutdown."""
