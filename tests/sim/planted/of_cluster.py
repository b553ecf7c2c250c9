"""Bugs of how a cluster keeps things: writes whose answer is lost, records that wait, and whose lease it is."""

from __future__ import annotations

from typing import Final

from shifter.lab.checker import chain, journal, people, terms, writes
from tests.sim import in_cluster
from tests.sim.planted.bug import Bug, Edit

_CELL: Final = "shifter/adapters/kube/cell.py"
_STORE: Final = "shifter/adapters/kube/store.py"
_LEASE: Final = "shifter/adapters/kube/lease.py"
_BREAKER: Final = "shifter/adapters/kube/breaker.py"
_NOTICING: Final = "shifter/adapters/kube/noticing.py"
_WATCHING: Final = "shifter/adapters/kube/watching.py"
_ACT: Final = "shifter/service/act.py"

OF_CLUSTER: Final = (
    Bug(
        "a lost answer is taken for a failure, and written again",
        (
            Edit(
                _CELL,
                "        if version_of(body) != expected and self._kept(body, expected, entry) is None:\n",
                "        if version_of(body) != expected and not self._sent:\n",
            ),
            Edit(
                _CELL,
                "        version = expected if done is None else done.version\n",
                "        version = version_of(body)\n",
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
                "                self._saw(body)\n",
                "                self._filed = self._filed or Ledger.of(status_of(body)).head.id\n"
                "                self._saw(body)\n",
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
                " for body in self._bodies().values()), default=0)\n",
                " for body in self._bodies().values() if not body), default=0)\n",
            ),
        ),
        (journal.EPOCHS,),
        stage="unleased",
    ),
    Bug(
        "only a watch tells of orders, and never asks for what it missed",
        (
            Edit(
                _NOTICING,
                "        self._due_at = self._monotonic() + LIST_SECONDS\n",
                "        self._due_at = self._monotonic() + 1e9 * LIST_SECONDS\n",
            ),
            Edit(
                _WATCHING,
                "        self._list_at = -math.inf\n        return self._paused(sort, why)\n",
                "        return self._paused(sort, why)\n",
            ),
            Edit(
                _WATCHING,
                "        self._list_at = asked_at + self._rhythm.list_seconds * (1.0 - self._dice() / 4)\n",
                "        self._list_at = math.inf\n",
            ),
        ),
        (people.ANSWERED,),
        60,
        stage=in_cluster.MODE,
    ),
    Bug(
        "while orders cannot be listed only those that stop something are told",
        (
            Edit(
                _NOTICING,
                "            raise self._failed\n",
                "            raise self._failed\n"
                "        if self._failed is not None:\n"
                "            waiting = [order for order in waiting if order.request.verb in STOPPING_VERBS]\n",
            ),
        ),
        (people.ANSWERED,),
        200,
        stage=in_cluster.MODE,
    ),
    Bug(
        "a server that was silent once counts as silent for ever",
        (Edit(_BREAKER, "answered_at > self._silent[0]:\n", "answered_at > 1e9 + self._silent[0]:\n"),),
        (people.STUCK, people.ANSWERED),
        60,
        stage=in_cluster.MODE,
    ),
    Bug(
        "a climb is sent though the store refuses to take it",
        (Edit(_ACT, "            if not may_wait:\n", "            if not (may_wait or place.refused):\n"),),
        (writes.RAISES,),
        60,
        stage=in_cluster.MODE,
    ),
)
