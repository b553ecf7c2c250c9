"""The one place that knows which adapter is behind which port. Defaults are production; arguments are test seams."""

from __future__ import annotations

from shifter.wiring.checking import cluster_door, cluster_probe, file_door, surroundings
from shifter.wiring.outside import recorded_metrics
from shifter.wiring.serving import ServeOptions, serve
from shifter.wiring.stores import (
    ClusterAddress,
    cluster_closed,
    cluster_identity,
    cluster_may,
    cluster_served,
    cluster_transfer,
    file_transfer,
    is_served,
    look_into_store,
    open_cluster_store,
    open_store,
    shift_names,
    store_absence,
)

__all__ = [
    "ClusterAddress",
    "ServeOptions",
    "cluster_closed",
    "cluster_door",
    "cluster_identity",
    "cluster_may",
    "cluster_probe",
    "cluster_served",
    "cluster_transfer",
    "file_door",
    "file_transfer",
    "is_served",
    "look_into_store",
    "open_cluster_store",
    "open_store",
    "recorded_metrics",
    "serve",
    "shift_names",
    "store_absence",
    "surroundings",
]
