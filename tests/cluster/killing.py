"""Replicas that are killed at failpoints, one after another, each time whoever leads; and what must be true in the end.

There are two kinds of moments. Those of the lab (`shifter/lab/failpoints.py`) are both sides of every call of a port,
by what it carries; there the process kills itself. The others are both sides of every call to the API server, of which
one save makes several; there it is killed from outside, by whoever carries the call (`struck_api.py`). Which calls
there are is told by the roles of the chart: `test_rights_used.py` shows that the service makes each of them, and no
other.

The next one is armed as soon as the last one has struck: so a new leader may die while it takes up what the one before
it left behind, as a machine under which processes die does not wait for anybody either.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final, Self

import yaml

from shifter.adapters.kube.client import KubeClient
from shifter.adapters.kube.store import KubeStore
from shifter.core.deciding.orders import FLEET, FLEET_VERBS, Order, OrderRequest, Verb
from shifter.core.phases import Phase
from shifter.core.records import NewRecord, What
from shifter.core.state import Direction, ShiftState
from shifter.errors import StoreUnavailableError
from shifter.lab.emulator import Fault, FaultKind
from shifter.lab.failpoints import FAILPOINTS, Act, arm, disarm, fired
from shifter.lab.free_ports import LOOPBACK
from shifter.lab.kills.plan import NEEDS, Need
from shifter.wiring import ClusterAddress, ServeOptions
from tests.cluster.installation import ACCOUNT
from tests.cluster.lives import Life, Nursery, Spec
from tests.cluster.plane import ControlPlane
from tests.cluster.replicas import NAMES, Replicas
from tests.cluster.struck_api import EDGES, Call, StruckApi
from tests.contract.stores import examined
from tests.process.conftest import SHOP, STEPS, is_backed

QUICK: Final = {
    "duration": "3s",
    "deadline": "2s",
    "writeBudget": "900ms",
    "renew": "400ms",
    "call": "700ms",
    "lowering": "60s",
}
"""A lease that runs out sooner than that of other tests: here a hundred of them do."""

CALL_SECONDS: Final = 0.3
"""Of one wait of a call to the cloud: three of them fit into the write budget."""

HIT_SECONDS: Final = 180.0
"""How long a failpoint may take to be reached; a busy machine is no fault of shifter."""

END_SECONDS: Final = 90.0
LOOK_SECONDS: Final = 0.1
STORE_SECONDS: Final = 3.0
RENEWING: Final = "update leases.coordination.k8s.io"
_MOVING: Final = frozenset({Need.CLIMB, Need.RETREAT, Need.FAILURE, Need.MIXTURE})
_PORTS: Final = (
    *(Need.START, Need.OPENING, Need.FALL, Need.NOTHING, Need.ORDER, Need.FREEZE),
    *(Need.CLIMB, Need.RETREAT, Need.FAILURE, Need.MIXTURE),
)
_LEASE_CALLS: Final = ("takes it", "renews it", "lets it go")
_OF_CANDIDATES: Final = (
    *("create leases.coordination.k8s.io", "get leases.coordination.k8s.io", f"{RENEWING}: {_LEASE_CALLS[0]}"),
    "list shifts.shifter.io",
)
"""What is asked also by who does not lead yet: nobody leads then, or nobody has to be followed."""

_FAULT_OF: Final = {Need.FAILURE: FaultKind.TASK_FAILS, Need.MIXTURE: FaultKind.TASK_HALF}
_FAULTS: Final = 10

_NEED_OF_CALL: Final[Mapping[str, Need]] = {
    "get shiftorders.shifter.io": Need.ORDER,
    "update shiftorders.shifter.io/status": Need.ORDER,
    "update shifts.shifter.io/status": Need.CLIMB,
    "create shiftrecords.shifter.io": Need.CLIMB,
    "get shiftrecords.shifter.io": Need.CLIMB,
    "create events.events.k8s.io": Need.CLIMB,
    "update horizontalpodautoscalers.autoscaling": Need.CLIMB,
}
"""What must be going on for a call to be made; nothing, for those that every leader makes."""

_FIRST: Final = (
    *("create leases.coordination.k8s.io", "create shiftfleets.shifter.io"),
    *("get shifts.shifter.io", "create shifts.shifter.io"),
    *("delete shiftrecords.shifter.io", "delete shiftorders.shifter.io"),
    *("create shiftrecords.shifter.io", "get shiftrecords.shifter.io"),
)
"""What is asked only while something is not there, or still is, and what is asked after a death at the one before."""


@dataclass(frozen=True, slots=True)
class Failpoint:
    """One moment, and what must be going on for it to come. `call`: it is of a call to the API server."""

    name: str
    need: Need
    call: bool = False


def of_ports() -> Sequence[Failpoint]:
    """Return every failpoint that the lab knows."""
    found = [Failpoint(name, NEEDS[name.rpartition(":")[0]]) for name in FAILPOINTS]
    return sorted(found, key=lambda each: (_PORTS.index(each.need), "past" in each.name))


def of_calls(rights: Iterable[str]) -> Sequence[Failpoint]:
    """Return both sides of every call that somebody with these rights makes: `list shifts.shifter.io`."""
    calls = [call for right in sorted(set(rights)) for call in _kinds_of(right)]
    calls.sort(key=lambda call: _FIRST.index(call) if call in _FIRST else len(_FIRST))
    needs = {call: _NEED_OF_CALL.get(call, Need.NOTHING) for call in calls}
    return [Failpoint(f"{call}:{edge}", need, call=True) for call, need in needs.items() for edge in EDGES]


def _kinds_of(right: str) -> Sequence[str]:
    return [f"{right}: {kind}" for kind in _LEASE_CALLS] if right == RENEWING else [right]


def _name_of(call: Call) -> str:
    if call.right != RENEWING:
        return call.right
    spec = call.body["spec"]
    takes, renews, lets_go = _LEASE_CALLS
    kind = lets_go if not spec["holderIdentity"] else takes if spec["acquireTime"] == spec["renewTime"] else renews
    return f"{call.right}: {kind}"


class World(Replicas):
    """Two replicas that die where they are told to; inside a `with` block.

    Args:
        path: where its files go.
        plane: the control plane.
        namespace: where the chart is installed, with the rights of `RIGHTS`.
        people: the clients of `root`, `ann` and `adm`.
        nursery: forks the replicas.
        clusters: what the fleet file says of the meshes' clusters; nothing if it is empty.
    """

    def __init__(
        self,
        path: Path,
        plane: ControlPlane,
        namespace: str,
        people: Mapping[str, KubeClient],
        nursery: Nursery,
        clusters: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(path, plane, namespace, people["root"])
        self.deaths: list[tuple[str, str]] = []
        self.given: list[tuple[KubeStore, Order]] = []
        self._nursery = nursery
        self._clusters = clusters or {}
        names = (f"p{number}" for number in count())
        self._desks = {who: KubeStore(people[who], namespace, who, lambda: next(names)) for who in ("ann", "adm")}
        self._armed = path / "armed.json"
        self._calls: deque[str] = deque()
        self._lock = threading.Lock()
        self._told_to_stop = ""

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            ways = {name: self._stack.enter_context(self._way(name)) for name in NAMES}
            self.lives = {name: Life(self._nursery, self._spec_of(name, ways[name])) for name in NAMES}
            for life in self.lives.values():
                self._stack.callback(life.kill)
        except BaseException:
            self._stack.close()
            raise
        return self

    def write_fleet(self, **timing: str) -> None:
        super().write_fleet(**timing)
        place = self.path / "fleet.yaml"
        fleet = yaml.safe_load(place.read_text())
        fleet["spec"]["lease"] = QUICK
        fleet["spec"]["provider"]["tencent"]["timeout"] = f"{CALL_SECONDS}s"
        place.write_text(yaml.safe_dump(fleet))

    def _way(self, name: str) -> StruckApi:
        strike, caller = partial(self._strike, name), lambda: self.lives[name].pid
        return StruckApi(self.plane, strike, caller)

    def _spec_of(self, name: str, way: StruckApi) -> Spec:
        config = json.loads(self.plane.account_kubeconfig(self.namespace, ACCOUNT).read_text())
        config["clusters"][0]["cluster"] = {"server": way.url}
        kubeconfig = self.path / f"{name}.kubeconfig"
        kubeconfig.write_text(json.dumps(config))
        fleet = yaml.safe_load((self.path / "fleet.yaml").read_text())
        if self._clusters:
            sides = {side: {"kubeconfigFile": str(kubeconfig), **told} for side, told in self._clusters.items()}
            fleet["spec"]["clusters"] = sides
        place = self.path / f"{name}.fleet.yaml"
        place.write_text(yaml.safe_dump(fleet))
        address = ClusterAddress(kubeconfig, "", "", "", self.namespace, "", STORE_SECONDS)
        options = ServeOptions(place, self.path / "policies", address, LOOPBACK, self._ports[name])
        log = self.path / "logs" / f"{name}.log"
        return Spec(name, options, self._armed, log, {**self.environment, "POD_NAME": name})

    # -- to kill -------------------------------------------------------------------------------------------------

    def kill_at(self, failpoints: Sequence[Failpoint]) -> None:
        """Start the replicas, and let whoever comes to these failpoints, one after the other, die there."""
        with self._lock:
            # All at once: between a death and a look at it, the other replica may pass what is passed only once.
            self._calls = deque(each.name for each in failpoints if each.call)
        for life in self.lives.values():
            life.start()
        for number, failpoint in enumerate(failpoints):
            if failpoint.need is Need.FREEZE:
                self._see_obeyed(failpoint.need)  # or it would die as it starts, of the same call
            self._arm(failpoint)
            deadline = time.monotonic() + HIT_SECONDS
            while len(self._deaths()) == number:
                assert time.monotonic() < deadline, f"{failpoint.name} was never reached; {self.given}; {self.deaths}"
                with suppress(StoreUnavailableError):  # the next look tells
                    self._look_after(failpoint)
                time.sleep(LOOK_SECONDS)
            self.cloud.faults.clear()
            name, victim = self.deaths[number]
            assert name == failpoint.name
            assert self.lives[victim].ended_by() == "SIGKILL", f"{victim} did not die at {name}"
            self.lives[victim].start()

    def _arm(self, failpoint: Failpoint) -> None:
        if fault := _FAULT_OF.get(failpoint.need):
            self.cloud.faults.inject(Fault(action="BatchModifyTargetWeight", kind=fault, times=_FAULTS))
        if not failpoint.call:
            arm(self._armed, failpoint.name, Act.KILL)

    def _deaths(self) -> Sequence[tuple[str, str]]:
        """Return at what who died so far."""
        with self._lock:
            hit = fired(self._armed)
            gone = [name for name, life in self.lives.items() if not life.running]
            if hit is not None and gone and hit.failpoint not in dict(self.deaths):
                self.deaths.append((hit.failpoint, gone[0]))
            return self.deaths

    def _strike(self, name: str, call: Call, edge: str) -> bool:
        with self._lock:
            life = self.lives[name]
            # A process asks for several things at a time; what a dead one asked for is carried out all the same.
            if not self._calls or not life.running or call.by != life.pid:
                return False
            if self._calls[0] != f"{_name_of(call)}:{edge}":
                return False
            life.kill()
            self.deaths.append((self._calls.popleft(), name))
            return True

    def _look_after(self, failpoint: Failpoint) -> None:
        """Bring about what a failpoint needs."""
        if failpoint.name.startswith(f"{RENEWING}: {_LEASE_CALLS[2]}"):
            self._tell_to_stop()
        self._ask(failpoint.need)

    def _tell_to_stop(self) -> None:
        """Let the leader hand over; one that has done so is started again."""
        for life in self.lives.values():
            life.start()
        leader = self.lease().get("holderIdentity") or ""
        if leader and leader != self._told_to_stop:
            self._told_to_stop = leader
            self.lives[leader.partition("_")[0]].ask_to_stop()

    # -- to order ------------------------------------------------------------------------------------------------

    def _ask(self, need: Need | None) -> None:
        """Order what brings about what is needed, once the last order was answered; None: what leads to the end."""
        if self.given and self.given[-1][0].order(self.given[-1][1].id).answer is None:
            return
        state = self.state()
        if state is not None and (verb := self._verb(need, state)) is not None:
            who, whom = ("adm", FLEET) if verb in FLEET_VERBS else ("ann", SHOP)
            request = OrderRequest(whom, verb, who, "drill")
            self.given.append((self._desks[who], self._desks[who].create_order(request, datetime.now(UTC))))

    def _see_obeyed(self, need: Need) -> None:
        """Give an order, and wait until the leader has answered it."""
        before, deadline = len(self.given), time.monotonic() + HIT_SECONDS
        while len(self.given) < before + 2:  # the second is given when the first was answered
            assert time.monotonic() < deadline, f"no order is answered; {self.given}"
            with suppress(StoreUnavailableError):
                self._ask(need)
            time.sleep(LOOK_SECONDS)

    def _verb(self, need: Need | None, state: ShiftState) -> Verb | None:
        is_frozen = bool(self.store.load_fleet().state.freezes)
        if is_frozen or need is Need.FREEZE:
            return Verb.UNFREEZE if is_frozen else Verb.FREEZE
        if state.paused is not None or need is Need.ORDER:
            return Verb.PAUSE if state.paused is None else Verb.RESUME
        if state.phase is Phase.ROLLED_BACK:
            return Verb.RETRY
        over = state.phase is Phase.COMPLETED and need in _MOVING
        lower = state.phase is Phase.SHIFTING and need is Need.RETREAT and state.share > 0
        return Verb.ROLLBACK if over or lower else None

    def complete(self) -> None:
        """Let the migration come to its end."""
        disarm(self._armed)
        deadline = time.monotonic() + END_SECONDS
        done = False
        while not done:
            assert time.monotonic() < deadline, f"it does not complete; {self.given}"
            with suppress(StoreUnavailableError):
                self._ask(None)
                done = self._is_complete()
            time.sleep(LOOK_SECONDS)

    def _is_complete(self) -> bool:
        state = self.state()
        done = state is not None and state.phase is Phase.COMPLETED and state.intent is None
        return done and not self.store.open_orders()


def assert_nothing_lost(world: World) -> None:
    """No step is left out and none made twice, no share was above what was wanted, and no order was lost."""
    history = world.history()
    intents = [record for record in history if record.what is What.INTENT]
    ends = [record for record in history if record.what in {What.DONE, What.FAILED}]

    assert [record.sequence for record in intents] == list(range(1, len(intents) + 1)), "no number twice, none left out"
    assert [record.sequence for record in ends] == [record.sequence for record in intents], "every write has one end"
    assert [record.epoch for record in intents] == sorted(record.epoch for record in intents), "epochs grow"
    assert all(record.epoch for record in intents), "every write was begun in an epoch"
    leaders = [name for name, _ in world.deaths if not name.startswith(_OF_CANDIDATES)]
    assert int(world.lease()["leaseTransitions"]) > len(leaders), "each leader that died was followed by another"
    assert all(examined(world.store, of).sound for of in world.store.chains())
    _assert_step_by_step(zip(intents, ends, strict=True))
    _assert_never_above(world, intents)
    _assert_obeyed_once(world)


def _assert_step_by_step(writes: Iterable[tuple[NewRecord, NewRecord]]) -> None:
    share = 0.0
    for intent, end in writes:
        told = intent.evidence
        if told["direction"] == Direction.CLIMB:
            above = next(step for step in STEPS if step > share)
            assert (told["from"], told["to"]) == (share, above), "a climb goes from where the shift is to the next step"
        if end.what is What.DONE:
            share = float(str(told["to"]))


def _assert_never_above(world: World, intents: Sequence[NewRecord]) -> None:
    before = 0.0
    for write, share in zip(world.cloud.log, world.shares(), strict=True):
        assert not write.darkened, "nobody would get the traffic"
        begun = [intent for intent in intents if intent.at.timestamp() <= write.at]
        assert begun, f"{share:g} % came without a saved intent"
        told = begun[-1].evidence
        assert share <= max(float(str(told["from"])), float(str(told["to"]))), f"{share:g} % is more than was wanted"
        if share > before:
            assert told["direction"] == Direction.CLIMB, f"{share:g} % is more than before, and nobody meant to climb"
            assert is_backed(begun[-1]), f"{share:g} % came without evidence behind it"
        before = share


def _assert_obeyed_once(world: World) -> None:
    answers = [desk.order(order.id).answer for desk, order in world.given]
    kept = [each.record for each in world.store.history(limit=10_000)]
    told = [record.evidence["order"] for record in kept if record.what is What.ORDER]
    assert all(answers), "every order is answered"
    assert len(told) == len(set(told)), "no order was obeyed twice"
    assert {order.id for _, order in world.given} <= set(told), "and every order is in the history"
