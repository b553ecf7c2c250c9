"""Every way in which a run is disturbed on purpose: what may explain that something was written or suffered."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """Every way in which a soak disturbs."""

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
