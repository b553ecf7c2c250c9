"""Bugs of what is kept and of what weights there are: what other layers refuse, were they not broken, too."""

from __future__ import annotations

from typing import Final

from shifter.lab.checker import journal, people, writes
from tests.sim.planted.bug import Bug, Edit

_MEMORY: Final = "shifter/adapters/memory_store.py"
_MEMBERSHIP: Final = "shifter/core/balancing/membership.py"
_WHOLE: Final = "    return {member.key: MAX_WEIGHT if member.side is side else 0 for member in members}\n"

OF_KEEPING: Final = (
    Bug(
        "a record now and then is not kept",
        (
            Edit(
                _MEMORY,
                "            self._history.append(Record(link.id, each.record, link.hash))\n",
                "            if link.id % 7:\n"
                "                self._history.append(Record(link.id, each.record, link.hash))\n",
            ),
        ),
        (journal.IDS,),
        5,
    ),
    Bug(
        "going back is not written down",
        (
            Edit(
                _MEMORY,
                "            self._history.append(Record(link.id, each.record, link.hash))\n",
                "            if 'retreat' not in str(each.record):\n"
                "                self._history.append(Record(link.id, each.record, link.hash))\n",
            ),
        ),
        (writes.WRITTEN,),
        80,
    ),
    Bug(
        "an order forgets who gave it",
        (
            Edit(
                _MEMORY,
                "            order = Order(self._last_order, at, request)\n",
                "            order = Order(self._last_order, at, replace(request, by='somebody'))\n",
            ),
        ),
        (people.KEPT,),
        5,
    ),
    Bug(
        "a whole mesh gets more weight than there is",
        (
            Edit("shifter/core/balancing/apportion.py", _WHOLE, _WHOLE.replace("MAX_WEIGHT", "2 * MAX_WEIGHT")),
            Edit(_MEMBERSHIP, " or not 0 <= weight <= MAX_WEIGHT:\n", ":\n"),
        ),
        (writes.RANGE,),
    ),
    Bug(
        "a whole mesh gets no weight at all",
        (
            Edit("shifter/core/balancing/apportion.py", _WHOLE, _WHOLE.replace("MAX_WEIGHT", "0")),
            Edit(_MEMBERSHIP, "    if not any(weights.values()):\n", "    if False:\n"),
        ),
        (writes.DARK,),
    ),
)
