"""One object that keeps one state: everything about it is saved in one compare-and-swap of its status.

The resource version guards the write, and a version of our own, which only a save counts up, is what callers name: a
report or a label that somebody adds must not look like somebody else's save.

A write whose answer was lost may have been kept, or may still be. So the object is read again, and what is found is
compared with what was sent, by a token that no other write has: two leaders may save the very same state, and the one
that was late must not take the other's save for its own. Where that cannot be told now, it is told at the next save.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from shifter.adapters.kube.entries import Entry, Filing
from shifter.adapters.kube.failures import DEFINE, store_error, store_errors
from shifter.adapters.kube.ledger import MOST_UNFILED, Ledger, fitting
from shifter.adapters.kube.objects import IN_FLIGHT, MANAGED, kind_of, object_name, status_of
from shifter.adapters.kube.origin import WRITTEN_FOR, Origin, version_of
from shifter.adapters.kube.packing import Remembered
from shifter.core.chain import Link, Seal
from shifter.core.deciding.orders import FLEET
from shifter.errors import ConflictError, RefusedError, ShifterError, StoreUnavailableError
from shifter.ports.kube import UNSURE, Body, Failing, KubeApi, KubeError

_TRIES: Final = 4
"""So often is a write tried that lost against a write of somebody who saved nothing."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A write that the caller does not know of: where it was kept, the object has its `token` and its `version`.

    The caller named version `expected` for it. `links` and `answers` are what it had given so far.
    """

    expected: int
    version: int
    token: str
    text: str
    links: Sequence[Link]
    answers: Sequence[Body]

    def begins(self, entry: Entry) -> bool:
        """Whether a caller that gives this gives again what was sent, and not something else in its place."""
        told = [(each["id"], each["answer"]) for each in self.answers]
        again = [(each["id"], each["answer"]) for each in entry.answers[: len(told)]]
        return self.links == entry.links[: len(self.links)] and told == again


class Cell:
    """The object of one shift, or of all shifts together, and what this process knows of it.

    Args:
        api: the API server.
        namespace: where the object is.
        chain: the shift's name, or `FLEET`.
        filing: where records and answers go afterwards.
        understood: raises if a saved text must not be written over.
        writer: what no other process is called.
    """

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        chain: str,
        filing: Filing,
        understood: Callable[[str], object],
        writer: str,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._chain = chain
        self._filing = filing
        self._understood = understood
        self._writer = writer
        self._what = "all shifts together" if chain == FLEET else chain
        self._origin = Origin(self._what)
        self._writes = 0
        self._lock = threading.RLock()
        self._memory = Remembered()
        self._is_tidy = False
        self._sent: list[_Sent] = []
        self._filed = 0
        self._delivered: set[int] = set()

    def save(self, entry: Entry, expected: int) -> int:
        """Save by compare-and-swap and return the new version; file what can be filed.

        Raises:
            ConflictError: the saved version is another, or the object is gone.
            RefusedError: what is saved is not understood, or the server refuses.
            StoreUnavailableError: it may have been kept, all or a part of the records; save it again.
        """
        with self._lock:
            self._sent = [each for each in self._sent if each.expected == expected]
            return self._in_parts(entry, expected)

    def show(self, shown: Callable[[Body], Body], spec: Body) -> bool:
        """Write what people read, made from the status so far, and nothing else; return whether it was written.

        Nothing is where there is history and no state: a status that begins with a report looks like a shift.

        Raises:
            ConflictError: the object is gone.
        """
        with self._lock:
            for _ in range(_TRIES):
                body = self._known()
                if not _text_of(body) and self._filing.filed():
                    return False
                body = body or self._made(spec)
                status = status_of(body)
                if self._written(body, {**status, **shown(status)}):
                    return True
            raise self._crowded()

    def give_up(self, anchor: Seal) -> None:
        """Remember that the records up to `anchor` are being dropped, before the first of them is."""
        with self._lock:
            for _ in range(_TRIES):
                body = self._read()
                if body is None:
                    return
                status = status_of(body)
                if self._written(body, {**status, "history": Ledger.of(status).pruned(anchor).entry()}):
                    return
            raise self._crowded()

    @property
    def leaving(self) -> bool:
        """Whether somebody is deleting the object, as far as is known here."""
        return self._memory.leaving

    @property
    def put_back(self) -> str:
        """How it shows that somebody put back what is saved, for people; empty if nothing shows it."""
        return self._origin.why

    def suspect_emptied(self) -> None:
        """Remember that something was saved here once, until it is believed that it counts no more."""
        self._origin.suspect(f"nothing is saved any more of {self._what}, though there is history")

    def believe(self) -> None:
        """Write down that what is there counts from now on; its history goes on after the records that there are."""
        with self._lock:
            for _ in range(_TRIES):
                body = self._read()
                with self._origin.believed():
                    if body is None:
                        return
                    status = status_of(body)
                    ledger = Ledger.of(status).caught_up(self._filing.filed())
                    if self._written(body, {**status, "history": ledger.entry()}):
                        return
            raise self._crowded()

    def learn(self, body: Body) -> None:
        """Take over what a listing has just shown."""
        with self._lock:
            if self._origin.is_behind(body):
                self._read()  # a listing may be late
            else:
                self._saw(body)

    def is_gone(self, listed: Body | None) -> bool:
        """Take over how a listing shows an object that was there; return whether nothing is saved in it any more."""
        with self._lock:
            if not self._origin.is_saved:
                return False  # nothing ever was, or it was told already
            if listed is None:
                self._body = None
            elif self._origin.is_other(listed) or self.leaving is not ("deletionTimestamp" in listed["metadata"]):
                self.learn(listed)
            gone = not _text_of(listed)
            if gone:
                self._origin.forget()
            return gone

    def tidied(self) -> ShifterError | None:
        """File and deliver what is waiting; return why something could not be, which then stays for the next time."""
        try:
            with self._lock:
                self._tidy()
        except ShifterError as error:
            return error
        return None

    def _tidy(self) -> None:
        if self._is_tidy or (body := self._body) is None:
            return
        status, uid = status_of(body), body["metadata"]["uid"]
        for link in Ledger.of(status).filed(self._filed).unfiled:
            self._filing.file(link, uid)
            self._filed = link.id
        for answer in self._waiting(status):
            self._filing.deliver(answer)
            self._delivered.add(answer["id"])
        self._is_tidy = True

    def _in_parts(self, entry: Entry, expected: int) -> int:
        """Save as many parts as there must be; all but the last keep the state that was."""
        body = self._current(expected, entry)
        done = self._kept(body, expected, entry)
        links, answers = list(entry.links), list(entry.answers)
        if done is not None:
            links, answers = links[len(done.links) :], answers[len(done.answers) :]
            if not links and not answers and done.text == entry.text:
                self._sent.clear()
                return done.version
        version = expected if done is None else done.version
        while True:
            for_links, for_answers = self._room()
            taken = fitting(links, for_links)
            part, links = links[:taken], links[taken:]
            told, answers = answers[:for_answers], answers[for_answers:]
            last = not links and not answers
            text = entry.text if last else _text_of(self._body) or entry.text
            given = entry.links[: len(entry.links) - len(links)], entry.answers[: len(entry.answers) - len(answers)]
            self._writes += 1
            sent = _Sent(expected, version + 1, f"{self._writer}.{self._writes}", text, *given)
            self._write(Entry(text, part, told, entry.shown, entry.spec), version, sent)
            version += 1
            self.tidied()  # what fails now is in the status, and is filed before the next save
            if last:
                self._sent.clear()
                return version

    def _current(self, expected: int, entry: Entry) -> Body | None:
        """Return the object, asked again if it cannot be what the caller knows.

        A climb that could not be saved is decided anew. If it was kept after all, what is decided now is of another
        version: the caller has to read what there is, or one intent would be written down twice.

        Raises:
            ConflictError: its version is another.
        """
        body = self._known()
        if body is None or version_of(body) != expected or self._sent:
            body = self._read()
        if _text_of(body):
            self._understood(_text_of(body))
        if version_of(body) != expected and self._kept(body, expected, entry) is None:
            raise self._conflict(body, expected)
        return body

    def _kept(self, body: Body | None, expected: int, entry: Entry) -> _Sent | None:
        """Return the write of ours that the caller does not know was kept, and that `entry` goes on from."""
        found = status_of(body or {}).get("savedBy")
        mine = (each for each in self._sent if (each.token, each.expected) == (found, expected))
        return next((each for each in mine if each.begins(entry)), None)

    def _crowded(self) -> StoreUnavailableError:
        return StoreUnavailableError(f"{self._what} cannot be saved: somebody else writes it all the time")

    def _conflict(self, body: Body | None, expected: int) -> ConflictError:
        is_ = "are" if self._chain == FLEET else "is"
        return ConflictError(f"{self._what} {is_} saved as version {version_of(body)}, not {expected}")

    def _write(self, entry: Entry, version: int, sent: _Sent) -> None:
        """Make one compare-and-swap of everything, and see that it was kept."""
        self._sent.append(sent)
        for _ in range(_TRIES):
            body = self._known() or (None if version else self._made(entry.spec))
            if body is None or version_of(body) != version:
                raise self._conflict(body, version)
            if self._written(body, self._status(body, entry, sent), sent):
                return
        raise self._crowded()

    def _status(self, body: Body, entry: Entry, sent: _Sent) -> Body:
        status = status_of(body)
        ledger = Ledger.of(status) if "history" in status else Ledger.after(self._filing.filed())
        self._filed = min(self._filed, ledger.head.id)  # an object that was put back as it had been
        ledger = ledger.filed(self._filed).appended(entry.links)
        waiting = self._waiting(status)
        self._delivered &= {each["id"] for each in status.get("answers") or ()}
        return {
            **status,
            **entry.shown,
            "version": sent.version,
            "savedBy": sent.token,
            **_epoch(status, entry.links),
            "state": entry.text,
            "history": ledger.entry(),
            "answers": [*waiting, *entry.answers],
        }

    def _written(self, body: Body, status: Body, sent: _Sent | None = None) -> bool:
        """Write a status; False if the object was another by then and is to be looked at again.

        Raises:
            ConflictError: the object is gone.
            StoreUnavailableError: it cannot be told whether it was kept.
        """
        kind = kind_of(self._chain)
        metadata = {"name": object_name(self._chain), "resourceVersion": body["metadata"]["resourceVersion"]}
        marked = self._origin.marked(body, status)
        wanted = kind.body(metadata=metadata, spec=body.get("spec") or {}, status=marked)
        self._body = None  # until it is known
        try:
            self._saw(self._api.replace(kind, self._namespace, wanted, status=True))
        except KubeError as error:
            if error.failing is Failing.CONFLICT:
                self._read()
                return sent is not None and self._is(sent)
            if error.failing is Failing.MISSING:
                raise ConflictError(f"{self._what} was deleted from the cluster: {error}") from error
            if error.failing not in UNSURE:
                self._body = body
            elif sent is not None and self._read() is not None and self._is(sent):
                return True
            raise store_error(f"{self._what} cannot be saved", error) from error
        if sent is not None and not (self._is(sent) and WRITTEN_FOR in status_of(self._body or {})):
            raise RefusedError(
                f"{self._what} was saved without what tells the save: the cluster's definitions are of an earlier"
                " shifter, and drop what they do not know",
                remedy=DEFINE,
            )
        return True

    def _is(self, sent: _Sent) -> bool:
        """Whether the object is what was sent: then the answer to that was lost, and no more."""
        return bool(status_of(self._body or {}).get("savedBy") == sent.token)

    def _saw(self, body: Body) -> None:
        self._origin.look(body)
        self._body = body

    @property
    def _body(self) -> Body | None:
        return self._memory.body

    @_body.setter
    def _body(self, body: Body | None) -> None:
        self._memory.keep(body)
        self._is_tidy = False

    def _known(self) -> Body | None:
        return self._body or self._read()

    def _read(self) -> Body | None:
        """Ask for the object; None if there is none."""
        with store_errors(f"{self._what} cannot be read"):
            try:
                self._saw(self._api.get(kind_of(self._chain), self._namespace, object_name(self._chain)))
            except KubeError as error:
                if error.failing is not Failing.MISSING:
                    raise
                self._body = None
        return self._body

    def _made(self, spec: Body) -> Body:
        """Make the object, which begins without a status."""
        metadata: Body = {"name": object_name(self._chain), "labels": dict(MANAGED)}
        if self._chain != FLEET:
            metadata["finalizers"] = [IN_FLIGHT]
        kind = kind_of(self._chain)
        with store_errors(f"{self._what} cannot be saved"):
            try:
                self._saw(self._api.create(kind, self._namespace, kind.body(metadata=metadata, spec=spec)))
            except KubeError as error:
                if error.failing not in {Failing.EXISTS, *UNSURE} or self._read() is None:
                    raise
        assert self._body is not None  # noqa: S101 - created, or read
        return self._body

    def _room(self) -> tuple[int, int]:
        """Return how many records and how many answers the status can take, filing first what waits in it.

        Raises:
            ShifterError: what waits cannot be filed, and nothing more can be appended.
        """
        failed = self.tidied()
        status = status_of(self._body or {})
        waiting = len(Ledger.of(status).filed(self._filed).unfiled)
        undelivered = len(self._waiting(status))
        if failed is not None and MOST_UNFILED in {waiting, undelivered}:
            raise failed
        return MOST_UNFILED - waiting, MOST_UNFILED - undelivered

    def _waiting(self, status: Body) -> list[Body]:
        return [each for each in status.get("answers") or () if each["id"] not in self._delivered]


def _epoch(status: Body, links: Sequence[Link]) -> Body:
    """Return the highest epoch that a record was ever written in; nothing before the first."""
    highest = max([int(status.get("epoch", 0)), *(int(link.epoch) for link in links)])
    return {"epoch": highest} if highest else {}


def _text_of(body: Body | None) -> str:
    return str(status_of(body or {}).get("state", ""))
