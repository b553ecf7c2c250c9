"""Whether what is saved in an object was saved in that very object, or put there from a backup or another cluster.

What was put back does not know what happened since: a rollback, a pause, a failure. The API server gives every object a
uid, once, and nobody can choose it; so each status carries the uid of the object that it was written for, and one that
was restored under another is known. Until a person is certain to be told, every write keeps it so (`NOBODY`).

Where etcd was put back as a whole, uids came back with it, and so did all that could be compared. Only who lives
through it may notice: a version never goes down.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from shifter.adapters.kube.ledger import Ledger
from shifter.adapters.kube.objects import status_of
from shifter.core.chain import START
from shifter.ports.kube import Body

WRITTEN_FOR: Final = "writtenFor"
NOBODY: Final = "nobody"
"""Instead of a uid: what is there was written for an object of which nobody knows."""


class Origin:
    """What one process knows of where a state came from. `what` is whose, for people."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._uid = ""
        self._version = 0
        self._why = ""

    @property
    def why(self) -> str:
        """How what is saved came to be where it is, for people; empty if nothing is wrong with that."""
        return self._why

    @property
    def is_saved(self) -> bool:
        """Whether something was saved in the object when it was looked at last, and it was not forgotten since."""
        return self._version > 0

    def forget(self) -> None:
        """The object is gone: whatever comes under its name is another."""
        self._uid, self._version = "", 0

    def is_other(self, body: Body) -> bool:
        """Whether an object is another than the one that was looked at last."""
        return bool(body["metadata"]["uid"] != self._uid)

    def is_behind(self, body: Body) -> bool:
        """Whether an object is older than it was seen to be: by a listing that was slow, or since it was put back."""
        return bool(body["metadata"]["uid"] == self._uid) and version_of(body) < self._version

    def look(self, body: Body) -> None:
        """Look at an object as it is now."""
        uid, version = str(body["metadata"]["uid"]), version_of(body)
        if _is_strange(body):
            self.suspect(f"what is saved of {self._what} was written for another object than the one that it is in")
        elif self.is_behind(body):
            self.suspect(f"what is saved of {self._what} went back from version {self._version} to {version}")
        self._uid, self._version = uid, version

    def suspect(self, why: str) -> None:
        """Remember that what is there is not what was saved last."""
        self._why = self._why or why

    @contextmanager
    def believed(self) -> Iterator[None]:
        """Take what is there for what is true, in a write that says so; after one that failed it is as it was."""
        why, self._why = self._why, ""
        try:
            yield
        except BaseException:
            self._why = why
            raise

    def marked(self, body: Body, status: Body) -> Body:
        """Return a status that says for which object it is written."""
        uid = body["metadata"]["uid"]
        if not self._why:
            return {**status, WRITTEN_FOR: uid}
        before = status.get(WRITTEN_FOR, NOBODY)
        return {**status, WRITTEN_FOR: NOBODY if before == uid else before}


def version_of(body: Body | None) -> int:
    """Return the version of what is saved in an object; 0 if nothing is."""
    return int(status_of(body or {}).get("version", 0))


def counted_here(last_order: int, body: Body) -> int:
    """Return the newest order that was answered as this cluster counts them; 0 if another one counted it.

    An order is older than the object that says that it was answered. What was put back and knows of a later one comes
    from elsewhere, and would take every order that is given here for answered: a rollback, too.
    """
    return 0 if _is_strange(body) and last_order > int(body["metadata"]["resourceVersion"]) else last_order


def is_believed(body: Body) -> bool:
    """Whether an object without a state was taken for what counts: its history goes on after the records there are.

    That it was written for this very object says less: a report alone, or somebody's hand, writes that too.
    """
    status = status_of(body)
    return status.get(WRITTEN_FOR) == body["metadata"]["uid"] and Ledger.of(status).head.id > START.id


def _is_strange(body: Body) -> bool:
    """Whether a status was written for another object than the one that it is in."""
    uid = body["metadata"]["uid"]
    return bool(status_of(body).get(WRITTEN_FOR, uid) != uid)
