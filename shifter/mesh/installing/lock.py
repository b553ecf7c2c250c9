"""One installer per cluster: a Lease that the one at work renews.

Two at once would each see the other's half-made state as theirs. No clock is compared with another one: a lock is free
if nobody has renewed it while we looked at it for as long as it lasts. So after a kill the next run waits that long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Final, Self

from shifter.core.text import plain
from shifter.errors import RefusedError
from shifter.mesh.installing.guards import KUBE_SYSTEM
from shifter.mesh.installing.site import Site
from shifter.ports.kube import LEASES, Body, Failing, KubeError

NAME: Final = "shifter-mesh"
LASTS_SECONDS: Final = 15
_RENEW_EVERY_SECONDS: Final = 4.0
_CHANGED: Final = frozenset({Failing.CONFLICT, Failing.EXISTS, Failing.MISSING})


@dataclass(slots=True)
class Lock:
    """The lock of one cluster, held inside a `with` block.

    Args:
        site: the cluster.
        holder: who we are, for people: user, machine, process.
        now: the wall clock, with a timezone; only written for people.
        is_gone: whether a holder is known to be at work no more, so that nobody has to wait.
        waits: is told why it takes a while.
        lasts_seconds: how long it holds without being renewed.
    """

    site: Site
    holder: str
    now: Callable[[], datetime]
    is_gone: Callable[[str], bool] = lambda _: False
    waits: Callable[[str], None] = lambda _: None
    lasts_seconds: int = LASTS_SECONDS
    _held: Body = field(default_factory=dict, init=False)
    _renewed: float = field(default=0.0, init=False)
    _lost: threading.Event = field(default_factory=threading.Event, init=False)
    _over: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        """Take it.

        Raises:
            RefusedError: somebody else holds it.
        """
        with self.site.asked("take the installer's lock"):
            self._take()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of it, so that nobody has to wait."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if not self._lost.is_set():
            try:
                self._written("")
            except KubeError:
                return  # it runs out by itself

    def check(self) -> None:
        """Say whether it is still held; ask before every step.

        Raises:
            RefusedError: somebody else has it.
        """
        if self._lost.is_set():
            raise RefusedError(f"{self.site.name}: somebody else has taken the installer's lock meanwhile")
        if self.site.patience.monotonic() - self._renewed >= self.lasts_seconds:
            raise RefusedError(
                f"{self.site.name}: the installer's lock could not be renewed for {self.lasts_seconds} s",
                remedy="the API server did not answer; run it again",
            )

    def _take(self) -> None:
        found = self._found()
        if found is not None and (who := _holder(found)) and not self.is_gone(who):
            found = self._waited_out(found, who)
        try:
            if found is None:
                body = LEASES.body(metadata={"name": NAME, "namespace": KUBE_SYSTEM}, spec=self._spec(self.holder))
                self._held = self.site.api.create(LEASES, KUBE_SYSTEM, body)
                self._renewed = self.site.patience.monotonic()
            else:
                self._held = found
                self._written(self.holder)
        except KubeError as error:
            if error.failing in _CHANGED:
                raise self._refusal("somebody else") from error
            raise

    def _waited_out(self, found: Body, who: str) -> Body | None:
        """Return the lease once its holder has let go of it, or has not renewed it for as long as it lasts."""
        patience = self.site.patience
        self.waits(
            f"{self.site.name}: {plain(who)} has the installer's lock; if nobody renews it for {self.lasts_seconds} s,"
            " that run was killed"
        )
        ends = patience.monotonic() + self.lasts_seconds
        while patience.monotonic() < ends:
            patience.pause(min(1.0, patience.look_every_seconds))
            later = self._found()
            if later is None or not _holder(later):
                return later
            if _version(later) != _version(found):
                raise self._refusal(_holder(later))
        return found

    def _found(self) -> Body | None:
        try:
            return self.site.api.get(LEASES, KUBE_SYSTEM, NAME)
        except KubeError as error:
            if error.failing is Failing.MISSING:
                return None
            raise

    def _refusal(self, who: str) -> RefusedError:
        return RefusedError(
            f"{self.site.name}: {plain(who)} is installing there at this moment",
            remedy=f"wait, or look who that is: kubectl get lease {NAME} -n {KUBE_SYSTEM} -o yaml",
        )

    def _keep(self) -> None:
        while not self._over.wait(_RENEW_EVERY_SECONDS):
            try:
                self._written(self.holder)
            except KubeError as error:
                # One that does not answer is asked again; what somebody else has written is no longer ours.
                if error.failing in _CHANGED and not self._is_ours_still():
                    self._lost.set()
                    return

    def _is_ours_still(self) -> bool:
        """Look whether it was our own renewal that came between: one whose answer was lost."""
        try:
            found = self._found()
        except KubeError:
            return True  # it will be asked again
        if found is None or _holder(found) != self.holder:
            return False
        self._held = found
        return True

    def _written(self, holder: str) -> None:
        began = self.site.patience.monotonic()
        body = {**self._held, "spec": {**self._held.get("spec", {}), **self._spec(holder)}}
        self._held = self.site.api.replace(LEASES, KUBE_SYSTEM, body)
        self._renewed = began

    def _spec(self, holder: str) -> Body:
        moment = self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {"holderIdentity": holder, "leaseDurationSeconds": self.lasts_seconds, "renewTime": moment}


def _holder(lease: Body) -> str:
    return str(lease.get("spec", {}).get("holderIdentity") or "")


def _version(lease: Body) -> str:
    return str(lease["metadata"].get("resourceVersion", ""))
