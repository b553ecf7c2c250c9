"""When a report is worth a write to etcd, and how young one is that was not written again since.

A shift that did not change is not written, however often its report is made: ten thousand idle shifts must not cost an
API server anything. So the age of what is there says nothing of whether anybody leads; the lease does.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from shifter.core.phases import Phase
from shifter.core.state import Report
from shifter.ports.kube import LEASES, Failing, KubeApi, KubeError

LEASE_NAME: Final = "shifter"

MOVING: Final = timedelta(seconds=30)
RESTING: Final = timedelta(minutes=5)
"""New numbers alone are written once in so long: of a shift on its way, and of one that rests."""

_ON_ITS_WAY: Final = frozenset({Phase.SHIFTING, Phase.ROLLING_BACK})
_NUMBERS: Final = {
    "at",
    "reason",
    "said",
    "observed",
    "findings",
    "warnings",
    "source_requests",
    "source_bad",
    "target_requests",
    "target_bad",
    "soaked_seconds",
    "harm",
    "harm_limit",
    "requests_per_second",
}
"""What differs from tick to tick without anything having happened; sentences have numbers in them too."""


def is_news(report: Report, told: Report | None) -> bool:
    """Return whether a report says enough that the one written last does not."""
    if told is None or report.model_copy(update={"at": told.at}) != told:
        if told is None or report.model_dump(exclude=_NUMBERS) != told.model_dump(exclude=_NUMBERS):
            return True
        span = MOVING if report.phase in _ON_ITS_WAY else RESTING
        return not told.at <= report.at < told.at + span
    return False


def is_led(api: KubeApi, namespace: str, now: datetime) -> bool:
    """Return whether somebody holds a lease that has not run out, for people: the clocks of two machines are compared.

    Raises:
        KubeError: it cannot be told.
    """
    try:
        spec = api.get(LEASES, namespace, LEASE_NAME).get("spec") or {}
    except KubeError as error:
        if error.failing is Failing.MISSING:
            return False
        raise
    try:
        until = datetime.fromisoformat(str(spec["renewTime"])) + timedelta(seconds=int(spec["leaseDurationSeconds"]))
    except (KeyError, ValueError, TypeError):
        return False
    return bool(spec.get("holderIdentity")) and now < until


def last_sign_of_life(api: KubeApi, namespace: str) -> datetime | None:
    """Return when the leader last renewed its lease, by its clock; None if nobody leads, or it cannot be told."""
    try:
        spec = api.get(LEASES, namespace, LEASE_NAME).get("spec") or {}
        if not spec.get("holderIdentity"):
            return None
        return datetime.fromisoformat(str(spec["renewTime"])).astimezone(UTC)
    except (KubeError, KeyError, ValueError):
        return None
