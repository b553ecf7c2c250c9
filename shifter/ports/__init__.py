"""What the service needs from outside, in shifter's own words. No adapter's vocabulary crosses this line.

One module per neighbour: what holds the splits, what is known of the meshes, what remembers, who may raise shares, and
what is only asked to find out what is wrong. Each port has one contract suite in `tests/contract/`, run against every
adapter.
"""

from __future__ import annotations

from shifter.ports.leadership import Leadership
from shifter.ports.looking import LeaseFacts, MeshProbe, ProviderClock, RemoteClock, StoreFacts
from shifter.ports.provider import Change, Operation, OperationState, Progress, TrafficProvider
from shifter.ports.sources import MeshMetrics, SourceWorkload, Unread
from shifter.ports.store import WHOLE, Saved, SavedFleet, Shelf, Store

__all__ = [
    "WHOLE",
    "Change",
    "Leadership",
    "LeaseFacts",
    "MeshMetrics",
    "MeshProbe",
    "Operation",
    "OperationState",
    "Progress",
    "ProviderClock",
    "RemoteClock",
    "Saved",
    "SavedFleet",
    "Shelf",
    "SourceWorkload",
    "Store",
    "StoreFacts",
    "TrafficProvider",
    "Unread",
]
