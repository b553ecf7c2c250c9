"""Bugs of how a cluster keeps things: writes whose answer is lost, records that wait, and whose lease it is."""

from __future__ import annotations

from typing import Final

from shifter.lab.checker import chain, journal, people, terms
from tests.sim.planted.bug import Bug, Edit

_CELL: Final = "shifter/adapters/kube/cell.py"
_STORE: Final = "shifter/adapters/kube/store.py"
_LEASE: Final = "shifter/adapters/kube/lease.py"

OF_CLUSTER: Final = (
    Bug(
        "a lost answer is taken for a failure, and written again",
        (
            Edit(
                _CELL,
                "        if _version(body) != expected and self._kept(body, expected, entry) is None:\n",
                "        if _version(body) != expected and not self._sent:\n",
            ),
            Edit(
                _CELL,
                "        version = expected if done is None else done.version\n",
                "        version = _version(body)\n",
            ),
            Edit(_CELL, "        done = self._kept(body, expected, entry)\n", "        done = None\n"),
        ),
        (journal.ENDS, journal.SEQUENCES),
        40,
        stage="unanswered-save",
    ),
    Bug(
        "what is decided anew counts as what was saved",
        (
            Edit(
                _CELL,
                "        return self.links == entry.links[: len(self.links)] and told == again\n",
                "        return True\n",
            ),
        ),
        (people.STUCK,),
        40,
        stage="unanswered-save",
    ),
    Bug(
        "what the last process saved and did not file is not filed",
        (
            Edit(
                _CELL,
                "        with self._lock:\n            self._body = body\n",
                "        with self._lock:\n"
                "            self._filed = self._filed or Ledger.of(status_of(body)).head.id\n"
                "            self._body = body\n",
            ),
        ),
        (chain.CHAINED, journal.IDS),
        stage="killed-saving",
    ),
    Bug(
        "a lease is believed in for as long as nobody says otherwise",
        (
            Edit(
                _LEASE,
                "        return left >= self._timing.write_budget_seconds\n",
                "        return left >= self._timing.write_budget_seconds or not self._lost\n",
            ),
        ),
        (terms.LEADS, terms.COMMITS, journal.EPOCHS),
        stage="unrenewed",
    ),
    Bug(
        "epochs begin anew with a new Lease",
        (
            Edit(
                _STORE,
                " for body in self._shifts().values()), default=0)\n",
                " for body in self._shifts().values() if not body), default=0)\n",
            ),
        ),
        (journal.EPOCHS,),
        stage="unleased",
    ),
)
