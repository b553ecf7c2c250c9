"""The emulator as the lab holds it: one object, thread-safe, with the API, its server and the ticking of tasks.

What others do to the balancers is in `neighbours`, which also owns the lock. Listeners of `on_change` are called
from the ticking thread alone, outside the lock, so they may call back in.
"""

import logging
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from shifter.lab.emulator.actions import ACTIONS, Pace
from shifter.lab.emulator.api import Admitted, Api
from shifter.lab.emulator.balancers import LoadBalancer
from shifter.lab.emulator.cloud import Cloud
from shifter.lab.emulator.controls import control
from shifter.lab.emulator.envelope import Reply
from shifter.lab.emulator.faults import Fault, Faults
from shifter.lab.emulator.neighbours import Neighbours
from shifter.lab.emulator.server import LoopbackServer, Web
from shifter.lab.emulator.signing import HttpRequest, Keys
from shifter.lab.emulator.views import balancer_view, declaration_view, fault_view, task_view

_TICK_SECONDS = 0.02
_JOIN_SECONDS = 10.0
_TASKS_SHOWN = 50


class Emulator(Neighbours):
    """Tencent Cloud's CLB API over balancers that exist only here.

    Args:
        balancers: what the account holds in `region`.
        region: where it holds it; other regions exist and are empty.
        secret_id: the id of the only key pair accepted.
        secret_key: its key.
        clock: seconds since the epoch. Callers sign with their own clock, so it may be off by 300 s at most.
        rng: decides delays, request ids, half-applied tasks and which of the official samples' quirks show.
        task_delay_seconds: shortest and longest time between accepting a write and its effect.
        lock_linger_seconds: how long a balancer stays locked after its task has ended.
        lost_reply_seconds: how long a lost reply leaves its client waiting at most.
        on_change: called with a load balancer's id after its weights, health or members changed; changes in
            quick succession may be told once. Only while started.

    Raises:
        ValueError: the region is not one of Tencent's, or a delay is negative or the wrong way round.
    """

    def __init__(  # noqa: PLR0913 - the lab's one constructor: every argument is named and most have defaults
        self,
        *,
        balancers: Iterable[LoadBalancer],
        region: str,
        secret_id: str,
        secret_key: str,
        clock: Callable[[], float],
        rng: random.Random,
        task_delay_seconds: tuple[float, float] = (0.3, 0.3),
        lock_linger_seconds: float = 0.0,
        lost_reply_seconds: float = 30.0,
        on_change: Callable[[str], None] = lambda _: None,
    ) -> None:
        if not 0 <= task_delay_seconds[0] <= task_delay_seconds[1]:
            raise ValueError(f"task_delay_seconds must be shortest and longest, not {task_delay_seconds}")
        self.faults = Faults(
            reads=[name for name, action in ACTIONS.items() if not action.writes],
            writes=[name for name, action in ACTIONS.items() if action.writes],
            clock=clock,
        )
        super().__init__(Cloud(balancers, rng), clock, lock_seconds=task_delay_seconds[1])
        self._on_change = on_change
        self._lost_reply_seconds = lost_reply_seconds
        self._api = Api(
            cloud=self._cloud,
            faults=self.faults,
            keys=Keys(secret_id, secret_key),
            region=region,
            pace=Pace(delay_seconds=task_delay_seconds, lock_linger_seconds=lock_linger_seconds),
            rng=rng,
        )
        self._stopping = threading.Event()
        self._server: LoopbackServer | None = None
        self._ticker: threading.Thread | None = None

    def start(self, port: int = 0) -> int:
        """Serve on 127.0.0.1 and return the port; 0 picks a free one. An emulator starts once.

        Raises:
            RuntimeError: it was started before.
            OSError: the port is taken.
        """
        if self._server is not None:
            raise RuntimeError("this emulator was started before; make a new one")
        web = Web(self, stopping=self._stopping, lost_reply_seconds=self._lost_reply_seconds)
        self._server = LoopbackServer(web.app())
        chosen = self._server.start(port)
        self._ticker = threading.Thread(target=self._tick, name="tencent-emulator-tasks", daemon=True)
        self._ticker.start()
        return chosen

    def stop(self) -> None:
        """Drop every connection, also those waiting for a lost reply, and end both threads. May be repeated."""
        self._stopping.set()
        with self._wake:
            self._wake.notify_all()
        if self._server is not None:
            self._server.stop()
        if self._ticker is not None:
            self._ticker.join(_JOIN_SECONDS)

    def state(self) -> Mapping[str, Any]:
        """Return balancers, tasks, waiting faults and what TKE declares, as JSON values."""
        with self._settled() as (cloud, now):
            return {
                "now": now,
                "balancers": [
                    balancer_view(balancer, locked=cloud.is_locked(balancer.load_balancer_id, now))
                    for balancer in cloud.balancers
                ],
                "tasks": [task_view(task) for task in cloud.tasks[-_TASKS_SHOWN:]],
                "faults": [fault_view(fault) for fault in self.faults.waiting],
                "declared": [declaration_view(one) for one in self._tke.declarations],
                "writes": len(cloud.log),
            }

    def inject(self, fault: Fault) -> None:
        """Let a fault wait for its calls; short for `faults.inject`."""
        self.faults.inject(fault)

    def clear_faults(self) -> None:
        """Forget every waiting fault; short for `faults.clear`."""
        self.faults.clear()

    def control(self, name: str, order: object) -> Mapping[str, Any]:
        """Carry out one of the controls under `/lab/`; see `controls.control`."""
        return control(self, name, order)

    def admit(self, request: HttpRequest) -> Admitted | Reply:
        """Take a request of the API in; for the server."""
        with self._settled() as (_, now):
            return self._api.admit(request, now)

    def perform(self, admitted: Admitted) -> Reply:
        """Work on an admitted call; for the server."""
        with self._settled() as (_, now):
            return self._api.perform(admitted, now)

    def _tick(self) -> None:
        while not self._stopping.is_set():
            with self._wake:
                self._settle(self._clock())
                changed = self._cloud.take_changed()
                if not changed:
                    # The clock may be a test's own, so its distance to what is next says nothing about ours.
                    idle = self._cloud.next_due() is None and self._agenda.next_due() is None
                    self._wake.wait(None if idle else _TICK_SECONDS)
            for lb_id in sorted(changed):
                self._announce(lb_id)

    def _announce(self, lb_id: str) -> None:
        try:
            self._on_change(lb_id)
        except Exception:
            # A listener's failure is its own; the balancers must go on changing.
            logging.getLogger(__name__).exception("the listener of changes to %s failed", lb_id)
