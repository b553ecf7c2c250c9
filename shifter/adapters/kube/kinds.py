"""The kinds of object that are shifter's own; `deploy/chart/crds` defines them."""

from __future__ import annotations

from typing import Final

from shifter.ports.kube import Kind

OUR_GROUP: Final = "shifter.io"
OUR_VERSION: Final = "v1alpha1"

SHIFTS: Final = Kind(OUR_GROUP, OUR_VERSION, "shifts", "Shift")
SHIFT_FLEETS: Final = Kind(OUR_GROUP, OUR_VERSION, "shiftfleets", "ShiftFleet")
SHIFT_ORDERS: Final = Kind(OUR_GROUP, OUR_VERSION, "shiftorders", "ShiftOrder")
SHIFT_RECORDS: Final = Kind(OUR_GROUP, OUR_VERSION, "shiftrecords", "ShiftRecord")
