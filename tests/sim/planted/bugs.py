"""The bugs that the checker must find: each a small edit of shifter that a tired person could make.

A checker that was never seen to fail proves nothing. Each bug names the rules of which at least one must be broken
by it, and the number of seeds within which that has to happen. An old text must occur exactly once, so that a bug
cannot quietly stop being one when the code around it changes.
"""

from __future__ import annotations

from typing import Final

from tests.sim.planted.bug import Bug
from tests.sim.planted.of_cluster import OF_CLUSTER
from tests.sim.planted.of_deciding import OF_DECIDING
from tests.sim.planted.of_keeping import OF_KEEPING
from tests.sim.planted.of_writing import OF_WRITING

BUGS: Final[tuple[Bug, ...]] = (*OF_WRITING, *OF_KEEPING, *OF_DECIDING, *OF_CLUSTER)
