"""A cluster whose time passes when nobody has anything to do, and what is kept of the leases in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from shifter.adapters.kube.watching import Rhythm, Watched
from shifter.ports.kube import LEASES, Body
from tests.kube import MemoryApi, MemoryCluster

HERE = "shifter-system"


@dataclass
class World:
    """A cluster, somebody else at work in it, and a clock that only moves when there is nothing to do."""

    now: float = 1000.0
    script: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cluster = MemoryCluster(namespaces=(HERE, "elsewhere"), remembers=50)
        self.other = MemoryApi(self.cluster)
        self.api = MemoryApi(self.cluster, monotonic=lambda: self.now, waiting=self.wait)

    def wait(self, seconds: float) -> bool:
        """Let time pass until the next thing in the script, at most so long."""
        until = self.now + seconds
        if self.script and self.script[0][0] <= until:
            self.now, act = self.script.pop(0)
            act()
        else:
            self.now = until
        return True

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        self.script.append((self.now + seconds, act))

    def watched(self, dice: float = 1.0, **more: object) -> Watched[str]:
        return Watched(
            self.api,
            LEASES,
            HERE,
            keep=holder,
            monotonic=lambda: self.now,
            dice=lambda: dice,
            tell=self.told.append,
            rhythm=Rhythm(**more),  # type: ignore[arg-type]
        )

    def put(self, name: str, who: str = "a", namespace: str = HERE, **labels: str) -> None:
        spec = {"holderIdentity": who, "leaseDurationSeconds": 15}
        body = LEASES.body(metadata={"name": name, "labels": labels}, spec=spec)
        there = {each["metadata"]["name"]: each for each in self.other.list(LEASES, namespace).items}
        if name in there:
            self.other.replace(LEASES, namespace, there[name] | {"spec": spec})
        else:
            self.other.create(LEASES, namespace, body)

    def remove(self, name: str) -> None:
        self.other.delete(LEASES, HERE, name)

    def pass_by(self, watched: Watched[str], seconds: float) -> None:
        """Let a watched kind do what it does for so long."""
        until = self.now + seconds
        while self.now < until:
            pause_seconds = watched.turn()  # which lets time pass, too
            self.now += pause_seconds


def holder(body: Body) -> str:
    return str(body["spec"]["holderIdentity"])
