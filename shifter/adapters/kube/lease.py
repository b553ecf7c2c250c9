"""The right to raise shares in a cluster: a Lease object that one process renews and everybody else waits for.

Kubernetes promises no fencing, and the cloud has none, so all safety is in when a process believes what. It believes in
its lease from before the renewal was sent, for less time than others wait after they saw it
(`core/documents/leasing.py` has the argument). Whatever it cannot be sure of, it looks at before it does anything else:
a renewal whose answer was lost, a conflict, a stretch of time in which it stood still. Who has once seen another holder
never believes again: whoever wants to lead anew makes another object, with nothing in memory of the time before.

Why not the client library's elector: it hangs with a server that hangs, dies of a broken connection without telling
anybody, counts no epochs and goes by the wall clock.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from shifter.adapters.kube.clocks import Clocks, Instant
from shifter.adapters.kube.lease_calls import OUTRUN, UNSURE, LeaseCalls
from shifter.adapters.kube.lease_news import LeaseNews
from shifter.adapters.kube.lease_record import Claim, LeaseRecord, let_go, read, renewed, taken
from shifter.core.documents.leasing import LeaseTiming
from shifter.errors import RefusedError, ShifterError
from shifter.ports.kube import Body, Failing, KubeApi, KubeError

_CALLS: Final = 4
"""So many calls a poll makes at most: a renewal, a look, and both once more."""

_LEAST_STUCK_SECONDS: Final = 10.0
_NEVER: Final = Instant(-math.inf, -math.inf)


@dataclass(frozen=True, slots=True)
class _Term:
    """The lease while it is ours: who held it before was last seen at `since`, and is waited out for `wait_seconds`."""

    epoch: int
    since: Instant
    wait_seconds: float
    renewed: Instant
    body: Body

    def left(self, now: Instant) -> float:
        """Return for how many seconds more somebody who held it before may not have stopped; 0 if all have."""
        return max(0.0, self.wait_seconds - now.least_since(self.since))


class KubeLease:
    """The `Leadership` port over one Lease object, for one time in office at most. Safe to call from several threads.

    It does nothing before `start`. A poll is four calls at most, and each is bounded by the API.

    Args:
        api: asked for this one object only.
        claim: who wants which lease.
        timing: how long who believes in what.
        clocks: this machine's.
        floor: the highest epoch that the store knows: a Lease that was deleted, or a store that was copied from
            elsewhere, must not let epochs begin anew. Asked before the lease is taken, and again before it is valid,
            since somebody may still have led meanwhile.
        tell: is told in a sentence what happens to the lease; must not raise.
    """

    def __init__(
        self,
        api: KubeApi,
        claim: Claim,
        timing: LeaseTiming,
        *,
        clocks: Clocks | None = None,
        floor: Callable[[], int] = lambda: 0,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._calls = LeaseCalls(api, claim, clocks or Clocks())
        self._claim = claim
        self._timing = timing
        self._clocks = clocks or Clocks()
        self._floor = floor
        self._tell = tell
        self._news = LeaseNews(claim.place, tell)
        self._stop = threading.Event()
        self._stepping = threading.Lock()
        self._lock = threading.Lock()
        # Below: of the polls, and read by others under the lock. `_alone`: everybody who led before has stopped.
        self._term: _Term | None = None
        self._unsure: _Term | None = None
        self._epoch = 0
        self._led = self._doubted = self._released = self._alone = False
        self._lost = self._refused = ""
        self._stepped: Instant | None = None
        # Below: of the polls alone.
        self._seen: tuple[str, str] | None = None
        self._seen_at: Instant | None = None
        self._highest = 0
        self._began = self._clocks.now()

    # -- the port --------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The lease's `leaseTransitions` when this process took it; 0 before."""
        return self._epoch

    def valid(self) -> bool:
        """Return whether a write that raises a share may start now: enough is left of the lease to end it."""
        now = self._clocks.now()
        with self._lock:
            holds = self._holds(now)
            self._led = self._led or holds
        return holds

    def may_lower(self) -> bool:
        """Return whether a share may be lowered: the lease is held, or it was when the API server stopped answering.

        Only we may be cut off, and another may lead. Against that stands that users would stay on a broken mesh for as
        long as nobody renews a lease: with the API server gone for all, there is no other leader to wait for, and none
        of us can tell the two apart. What a retreat beside another leader does is bounded: it only ever lowers, it is
        sent after reading back, and who leads sees it within a tick. It is wrong only where what we know has become
        old: the source was scaled away, or people want it otherwise and have told the other one. So this ends
        `lowering` after the last renewal: by default 15 minutes, three times as long as Kubernetes waits before it
        gives a node up, long enough to restore etcd, and short beside the hours in which a source is scaled away.

        Never where it was us who stood still, where somebody else wrote the lease, or before we led at all.
        """
        if self.valid():
            return True
        now, recent = self._clocks.now(), self._timing.renew_seconds + 2 * self._timing.call_seconds
        with self._lock:
            if self._term is None or self._calls.failed is None or not self._led or self._doubted or self._is_over():
                return False
            lasts = now.most_since(self._term.renewed) <= self._timing.lowering_seconds
            return lasts and now.most_since(self._calls.failed) <= recent

    def release(self) -> None:
        """Give the lease up so that the next leader need not wait for its end. Calling twice is harmless.

        Takes three calls at most. Without an answer the lease runs out by itself.
        """
        self._stop.set()
        with self._lock:
            first, self._released = not self._released, True
        if not first or not self._stepping.acquire(timeout=self._timing.call_seconds):
            return
        try:
            if self._term is not None and not self._lost:
                self._let_go(self._term)
        except KubeError as error:
            self._tell(f"the lease {self._claim.place} could not be released and runs out by itself: {error}")
        finally:
            self._stepping.release()

    # -- for who waits for it --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to poll, in a thread of its own, until the lease is lost or released."""
        threading.Thread(target=self._run, name="lease", daemon=True).start()

    def lost(self) -> str:
        """Return why this object will never be valid again, in a sentence; empty while it may.

        Raises:
            RefusedError: the lease is another installation's; waiting for it helps nobody.
        """
        if self._refused:
            raise RefusedError(self._refused)
        return self._lost

    def unread(self) -> str:
        """Return why the lease could not even be looked at yet; empty once it was."""
        why = self._news.why or "nobody has answered yet"
        return "" if self._calls.read else f"the lease {self._claim.place} was never read: {why}"

    def answered(self) -> float:
        """Return when the API server last answered a poll, in seconds of the monotonic clock; whatever it said."""
        return self._calls.answered

    def stuck(self) -> str:
        """Return why the polls do not count as alive; empty if they do. That nobody answers them is no reason."""
        patience = 2 * self._timing.renew_seconds + _CALLS * self._timing.call_seconds
        silent = self._clocks.now().least_since(self._stepped or self._began)
        over = self._lost or self._refused or self._released
        well = over or silent <= max(_LEAST_STUCK_SECONDS, patience)
        return "" if well else f"no poll of the lease for {silent:.0f} s"

    def _run(self) -> None:
        while not (self._stop.is_set() or self._is_over()):
            try:
                pause = self.step()
            except BaseException as error:  # noqa: BLE001 - not even SystemExit may end the renewals
                pause = self._timing.retry_seconds
                self._tell(f"a poll of the lease failed, which is a bug: {type(error).__name__}: {error}")
            self._stop.wait(pause)

    # -- one poll --------------------------------------------------------------------------------------------------

    def step(self) -> float:
        """Poll once: renew the lease, or see whether it can be had; return in how many seconds to poll again."""
        with self._stepping:
            if self._is_over():
                return self._timing.renew_seconds
            self._notice_standstill()
            try:
                pause = self._try_to_take() if self._term is None else self._renew(self._term)
            except ShifterError as error:
                self._news.failed("read" if self._term is None else "renewed", str(error))
                pause = self._timing.retry_seconds
            else:
                self._news.answered()
            self._stepped = self._clocks.now()
            return pause

    def _try_to_take(self) -> float:
        body = self._calls.get()
        now = self._clocks.now()
        record = None if body is None else read(body)
        version = ("", "") if record is None else record.version
        if version != self._seen or self._seen_at is None:
            self._seen, self._seen_at = version, now
        if record is None:
            return self._take(None, self._seen_at, self._waits_for(record))
        self._highest = max(self._highest, record.epoch)
        if self._is_foreign(record):
            return self._timing.renew_seconds
        if record.holder == self._claim.identity and body is not None:
            return self._adopt(body, record)
        wait = self._waits_for(record)
        if record.holder:
            self._news.held_by(record.holder)
            left = wait - self._timing.write_budget_seconds - now.least_since(self._seen_at)
            if left > 0:
                return min(self._timing.renew_seconds, left)
        return self._take(body, self._seen_at, wait)

    def _waits_for(self, record: LeaseRecord | None) -> float:
        """Return how long after a record was first seen whoever wrote it has stopped, and all it had begun has ended.

        One that was let go of in good order: only what was under way is waited for, since a process that was told
        twice to stop does not. One that is gone, or was emptied by hand: who holds it may not know yet.
        """
        if record is not None and record.released:
            return self._timing.write_budget_seconds
        theirs = 0 if record is None else record.duration_seconds
        return max(self._timing.duration_seconds, theirs) + self._timing.write_budget_seconds

    def _take(self, before: Body | None, since: Instant, wait_seconds: float) -> float:
        epoch = max(self._highest, self._floor()) + 1
        body = taken(before, self._claim, epoch, int(self._timing.duration_seconds), self._calls.stamp())
        attempt = _Term(epoch, since, wait_seconds, self._clocks.now(), body)
        try:
            answer = self._write(attempt, create=before is None)
        except KubeError as error:
            if error.failing in OUTRUN:
                return self._timing.retry_seconds
            raise
        return self._begin(attempt, answer)

    def _adopt(self, body: Body, record: LeaseRecord) -> float:
        """Take office by a write whose answer was lost; by one that is not known any more, as if it were somebody's."""
        attempt = self._unsure
        if attempt is None or read(attempt.body).renewal != record.renewal:
            attempt = _Term(record.epoch, self._clocks.now(), self._waits_for(record), _NEVER, body)
        return min(self._timing.retry_seconds, self._begin(attempt, body))

    def _begin(self, attempt: _Term, body: Body) -> float:
        with self._lock:
            self._term, self._unsure = replace(attempt, body=body), None
            self._epoch = attempt.epoch
        left = attempt.left(self._clocks.now())
        self._tell(f"took the lease {self._claim.place} as epoch {attempt.epoch}; leads in {left:.0f} s")
        return min(self._timing.renew_seconds, left)

    def _raise_epoch(self, term: _Term, epoch: int) -> float:
        body = taken(term.body, self._claim, epoch, int(self._timing.duration_seconds), self._calls.stamp())
        attempt = replace(term, epoch=epoch, renewed=self._clocks.now(), body=body)
        return self._begin(attempt, self._write(attempt, create=False))

    def _renew(self, term: _Term) -> float:
        known = self._compared(term) if self._doubted or self._unsure is not None else term
        if known is not None and not self._alone and known.left(self._clocks.now()) == 0:
            # Everybody before has stopped, so that no epoch that was led can come to be known later.
            if (led := self._floor()) >= known.epoch:
                return self._raise_epoch(known, led + 1)
            self._alone = True
        # A write of ours that arrived late may come between once; whoever else wrote is found by looking.
        for _ in range(2):
            if known is None:
                break
            body = renewed(known.body, self._calls.stamp())
            attempt = replace(known, renewed=self._clocks.now(), body=body)
            try:
                answer = self._write(attempt, create=False)
            except KubeError as error:
                if error.failing not in UNSURE | OUTRUN:
                    raise
                known = self._compared(known)
                if error.failing in UNSURE:
                    if known is not None and known.renewed != attempt.renewed:
                        raise
                    break
            else:
                with self._lock:
                    self._term = replace(attempt, body=answer)
                break
        return self._pause()

    def _pause(self) -> float:
        """Return when to renew next; earlier if the waiting ends before."""
        left = 0.0 if self._term is None else self._term.left(self._clocks.now())
        return min(self._timing.renew_seconds, left or self._timing.renew_seconds)

    def _compared(self, term: _Term) -> _Term | None:
        """Look at the lease after something that leaves it open who holds it; return what is ours, None if it is lost.

        Raises:
            KubeError: nobody answers; it stays open.
        """
        body = self._calls.get()
        record = None if body is None else read(body)
        if body is None or record is None:
            self._lose("it was deleted")
            return None
        if self._is_foreign(record):
            return None
        unsure = self._unsure
        landed = unsure is not None and read(unsure.body).renewal == record.renewal
        found = replace(unsure if unsure is not None and landed else term, body=body)
        if (record.holder, record.epoch) != (self._claim.identity, found.epoch):
            self._lose(f"{record.holder or 'nobody'} holds it, in epoch {record.epoch}")
            return None
        with self._lock:
            self._term, self._unsure, self._doubted, self._epoch = found, None, False, found.epoch
        return found

    def _let_go(self, term: _Term) -> None:
        for _ in range(2):
            body = let_go(term.body, term.epoch, self._calls.stamp(), in_good_order=self._alone)
            try:
                self._calls.replace(body)
            except KubeError as error:
                if error.failing is not Failing.CONFLICT:
                    raise
            else:
                self._tell(f"released the lease {self._claim.place}")
                return
            found = self._compared(term)
            if found is None:
                return
            term = found

    # -- small print -----------------------------------------------------------------------------------------------

    def _write(self, attempt: _Term, *, create: bool) -> Body:
        """Write the lease as it is in `attempt`, which is kept if it stays open whether that was done."""
        try:
            return self._calls.create(attempt.body) if create else self._calls.replace(attempt.body)
        except KubeError as error:
            if error.failing in UNSURE:
                self._unsure = attempt
            self._doubted = self._doubted or (error.failing in OUTRUN and self._term is not None)
            raise

    def _holds(self, now: Instant) -> bool:
        term = self._term
        if term is None or self._doubted or self._is_over() or not self._alone:
            return False
        left = self._timing.deadline_seconds - now.most_since(term.renewed)
        return left >= self._timing.write_budget_seconds

    def _is_over(self) -> bool:
        return self._released or bool(self._lost) or bool(self._refused)

    def _is_foreign(self, record: LeaseRecord) -> bool:
        """Refuse a lease that another installation writes: one of the two was given the wrong namespace."""
        if record.installation in {"", self._claim.installation}:
            return False
        self._refused = (
            f"the lease {self._claim.place} is of the installation {record.installation!r}, and this one is"
            f" {self._claim.installation!r}: give each a namespace of its own, or delete that Lease if it is left over"
        )
        self._tell(self._refused)
        return True

    def _lose(self, why: str) -> None:
        with self._lock:
            self._lost = f"the lease {self._claim.place} was lost: {why}"
        self._tell(self._lost)

    def _notice_standstill(self) -> None:
        """Believe nothing after a stretch in which nobody polled: stopped, suspended, or out of time to run in."""
        if self._term is None or self._stepped is None:
            return
        still = self._clocks.now().most_since(self._stepped)
        if still > 2 * self._timing.renew_seconds:
            self._doubted = True
            self._tell(
                f"this process stood still for {still:.0f} s: the lease is looked at before it is believed again"
            )
