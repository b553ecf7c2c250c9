"""Why a shift may not climb. A hold forbids raising the share and nothing else: rollback passes every hold."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class HoldKind(StrEnum):
    """The reasons of this version."""

    PAUSE = "pause"
    NO_SIGNAL = "no signal"
    INCIDENT = "incident"
    DRIFT = "drift"
    PREFLIGHT = "preflight"
    HALF_APPLIED = "half-applied"
    COLD_SOURCE = "cold source"
    PROVIDER = "provider"
    POLICY = "policy"
    LEASE = "lease"


PROMOTE_PASSES: Final = frozenset({HoldKind.NO_SIGNAL})
"""The holds that `promote` skips. A pause it does not pass but end, if it is carried out; everything else stands."""

OVERRIDE_PASSES: Final = frozenset({HoldKind.INCIDENT, HoldKind.COLD_SOURCE})
"""What `promote --full --override` skips on top: the signs of a source mesh that is dying."""

PAGING: Final = frozenset(HoldKind) - {HoldKind.PAUSE, HoldKind.LEASE}
"""The holds that somebody should be told about."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One reason not to climb, with the sentence a person reads."""

    kind: HoldKind
    reason: str
