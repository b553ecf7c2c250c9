"""Every way in which a run is disturbed on purpose: what may explain that something was written or suffered."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """Every way in which a soak or a simulation disturbs."""

    CLOUD = "cloud fault"
    LOCK = "another actor's lock"
    EDIT = "weights edited by hand"
    RESYNC = "weights reset by TKE"
    DEAD = "members dead"
    GONE = "member unbound"
    NO_METRICS = "Prometheus stopped"
    HUNG_METRICS = "Prometheus hangs"
    SLOW_METRICS = "Prometheus slow"
    KILLED = "shifter killed"
    FROZEN = "shifter frozen"
    RESTARTED = "shifter restarted"
    GATEWAY = "gateway restarted"
    FAILING = "namespace fails"
    SLOW = "namespace slow"
    POLICY_BROKEN = "policy file broken"
    POLICY_GONE = "policy file gone"
    POLICY_EDITED = "policy file edited"
    ORDERS = "people give orders"
    STORE = "store away"
    STALE = "cloud reads stale"
    LEASE = "lease lost"
    CLOCK = "clock wrong"
    CHURN = "members come and go"
    ODD_METRICS = "a part of the metrics is odd"
    QUIET = "namespace without traffic"
    INCIDENT = "both meshes bad"
    WAITS = "shifter waits for a call"


SIMULATED: Final = frozenset(
    {
        Kind.STORE, Kind.STALE, Kind.LEASE, Kind.CLOCK, Kind.CHURN, Kind.ODD_METRICS, Kind.QUIET, Kind.INCIDENT,
        Kind.WAITS,
    }
)  # fmt: skip
"""What only a simulation does: a soak's machines would have to be broken for it."""
