"""The hands on processes: Prometheus, shifter itself, gateways, applications; and everything that takes several acts.

shifter's lives are noted here, because its epochs are held against them.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import Life
from shifter.lab.processes import ProcessNotReadyError
from shifter.lab.soak.hands import CloudHands, Undo
from shifter.lab.soak.plan import Trouble
from shifter.lab.stage import Stage
from shifter.lab.topology import MESHES

HEALTH_CHECK_SECONDS: Final = 1.5
"""How long the balancer takes to notice a gateway that is gone, and one that is back."""

STOP_SECONDS: Final = 25.0
"""More than the 15 s for which a service that was told to stop may wait for its calls."""

_PULSE_SECONDS: Final = 1.0
_PULSE_FROZEN: Final = 0.7


class MachineHands:
    """Stops, freezes, slows and starts processes; breaks and mends applications."""

    def __init__(self, stage: Stage, cloud: CloudHands, began_at: float) -> None:
        self._stage = stage
        self._cloud = cloud
        self.lives = [Life(began_at)]
        self.troubles: list[str] = []
        self._slow: set[str] = set()
        self._later: list[tuple[float, Callable[[], None]]] = []

    def acts(self) -> Mapping[Kind, Callable[[Trouble], tuple[str, Undo]]]:
        """Return what to do for each kind of trouble."""
        return {
            Kind.NO_METRICS: self._stop_metrics,
            Kind.HUNG_METRICS: self._hang_metrics,
            Kind.SLOW_METRICS: self._slow_metrics,
            Kind.KILLED: self._kill,
            Kind.FROZEN: self._freeze,
            Kind.RESTARTED: self._restart,
            Kind.GATEWAY: self._lose_gateway,
            Kind.FAILING: self._fail,
            Kind.SLOW: self._slow_down,
        }

    def advance(self, now: float) -> None:
        """Do what is due by now: the health check's second thoughts, and the pulse of what is slow."""
        due = [act for at, act in self._later if at <= now]
        self._later = [(at, act) for at, act in self._later if at > now]
        for act in due:
            act()
        for mesh in self._slow:
            if now % _PULSE_SECONDS < _PULSE_FROZEN:
                self._stage.plane.hang_prometheus(mesh)
            else:
                self._stage.plane.resume_prometheus(mesh)

    def _stop_metrics(self, trouble: Trouble) -> tuple[str, Undo]:
        def start() -> str:
            for mesh in trouble.meshes:
                self._stage.plane.start_prometheus(mesh)
            return "answers again"

        for mesh in trouble.meshes:
            self._stage.plane.stop_prometheus(mesh)
        return f"{' and '.join(trouble.meshes)}: connections are refused", start

    def _hang_metrics(self, trouble: Trouble) -> tuple[str, Undo]:
        def resume() -> str:
            for mesh in trouble.meshes:
                self._stage.plane.resume_prometheus(mesh)
            return "answers again"

        for mesh in trouble.meshes:
            self._stage.plane.hang_prometheus(mesh)
        return f"{' and '.join(trouble.meshes)}: connections are taken and nothing is answered", resume

    def _slow_metrics(self, trouble: Trouble) -> tuple[str, Undo]:
        def resume() -> str:
            for mesh in trouble.meshes:
                self._slow.discard(mesh)
                self._stage.plane.resume_prometheus(mesh)
            return "as quick as ever"

        self._slow |= set(trouble.meshes)
        return f"{' and '.join(trouble.meshes)}: works {1 - _PULSE_FROZEN:.0%} of the time", resume

    def _kill(self, _: Trouble) -> tuple[str, Undo]:
        self._stage.service.kill()
        self._end_life(killed=True)
        return "kill -9", self.start_service

    def _freeze(self, _: Trouble) -> tuple[str, Undo]:
        def thaw() -> str:
            self._stage.service.thaw()
            return "SIGCONT"

        self._stage.service.freeze()
        return "SIGSTOP", thaw

    def _restart(self, _: Trouble) -> tuple[str, Undo]:
        def stopped() -> str:
            try:
                code = self._stage.service.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.troubles.append(f"shifter did not stop within {STOP_SECONDS:g} s of SIGTERM")
                self._stage.service.kill()
                code = 0
            if code:
                self.troubles.append(f"shifter ended with {code} after SIGTERM")
            self._end_life(killed=False)
            return self.start_service()

        self._stage.service.ask_to_stop()
        return "SIGTERM", stopped

    def _end_life(self, *, killed: bool) -> None:
        self.lives[-1] = replace(self.lives[-1], ended_at=time.time(), killed=killed)

    def start_service(self) -> str:
        """Start the service again; one that does not come up is remembered as trouble."""
        at = time.time()
        self._stage.service.start()
        self.lives.append(Life(at))
        try:
            self._stage.service.wait_ready()
        except ProcessNotReadyError as error:
            self.troubles.append(f"shifter did not come up: {error}")
        return f"started again, epoch {len(self.lives)}"

    def _lose_gateway(self, trouble: Trouble) -> tuple[str, Undo]:
        (mesh,) = trouble.meshes
        gateway = self._stage.plane.topology.gateways_of(mesh)[int(trouble.amount)]
        key = next(key for key, port in self._stage.account.gateway_port.items() if port == gateway.port)
        self._stage.plane.process(gateway.pod).kill()
        self._note_health(key_alive=False, key=key)

        def start() -> str:
            self._stage.plane.start_gateway(gateway.pod)
            self._note_health(key_alive=True, key=key)
            return "a new pod, its counters at 0"

        return f"{gateway.pod} is killed", start

    def _note_health(self, *, key_alive: bool, key: object) -> None:
        def note() -> None:
            for namespace in self._stage.account.places:
                found = [target.key for mesh in MESHES for target in self._cloud.targets(namespace, mesh)]
                for each in found:
                    if each == key:
                        self._cloud.set_health(namespace, each, alive=key_alive)

        self._later.append((time.time() + HEALTH_CHECK_SECONDS, note))

    def _fail(self, trouble: Trouble) -> tuple[str, Undo]:
        (namespace,), plane = trouble.namespaces, self._stage.plane
        gone = trouble.what == ("no pods",)

        def mend() -> str:
            for mesh in trouble.meshes:
                plane.revive_namespace(mesh, namespace) if gone else plane.mend(mesh, namespace)
            return "somebody fixed it"

        for mesh in trouble.meshes:
            if gone:
                plane.kill_namespace(mesh, namespace)
            else:
                plane.break_namespace(mesh, namespace, trouble.amount)
        said = "has no pods any more" if gone else f"fails {trouble.amount:g} % of requests"
        return f"{namespace} behind {' and '.join(trouble.meshes)} {said}", mend

    def _slow_down(self, trouble: Trouble) -> tuple[str, Undo]:
        (namespace,), plane = trouble.namespaces, self._stage.plane

        def mend() -> str:
            for mesh in trouble.meshes:
                plane.mend(mesh, namespace)
            return "somebody fixed it"

        for mesh in trouble.meshes:
            plane.slow_namespace(mesh, namespace, trouble.amount)
        return f"{namespace} behind {' and '.join(trouble.meshes)} takes {trouble.amount:g} s longer", mend
