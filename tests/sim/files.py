"""The policy files of a run as people keep them: written, edited, broken, removed; and what they said when."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shifter.lab.checker import seen
from tests.sim.plan import HOLD_SECONDS, SHIFTS, SOAK_SECONDS, STEPS, Layout, Plan

REGION, LISTENER = "ap-guangzhou", "lbl-https443"
_OWN = {Layout.SHARED: "lb-front0001", Layout.APART: "lb-{name}00001", Layout.WIDE: "lb-front0001"}


@dataclass(frozen=True, slots=True)
class Place:
    """One rule of a shift: which balancer, and which host."""

    balancer: str
    host: str


def places(plan: Plan, name: str) -> tuple[Place, ...]:
    """The rules of a shift. A policy names one balancer, so a second rule is another host on it."""
    first = Place(_OWN[plan.layout].format(name=name), f"{name}.example.com")
    if plan.layout is Layout.WIDE and name == SHIFTS[0]:
        return first, Place(first.balancer, f"www.{name}.example.com")
    return (first,)


class Desk:
    """The folder of policies, and who wrote what into it. All spans in policies grow with the tick."""

    def __init__(self, folder: Path, plan: Plan, tick_seconds: float = 1.0) -> None:
        self.versions: list[seen.PolicyFile] = []
        self._folder = folder
        self._plan = plan
        self._tick_seconds = tick_seconds
        self._written = 0

    def write(self, at: float, name: str, steps: Sequence[float] = STEPS, soak_seconds: float = SOAK_SECONDS) -> None:
        """Write a good policy; it soaks for as long as `soak_seconds` says for ticks of a second."""
        plan, soak_seconds = self._plan, soak_seconds * self._tick_seconds
        clb = {
            "region": REGION,
            "loadBalancer": places(plan, name)[0].balancer,
            "routes": [{"listener": LISTENER, "domain": place.host, "url": "/"} for place in places(plan, name)],
            "source": {"port": 30080},
            "target": {"port": 31080},
        }
        spec = {
            "namespace": name,
            "traffic": {"clb": clb},
            "steps": list(steps),
            "soak": f"{soak_seconds:g}s",
            "onFailure": plan.on_failure,
            "approvals": [{"before": gate} for gate in plan.gates],
            "analysis": {"latency": {"enabled": name in plan.timed}, "hold": f"{HOLD_SECONDS * self._tick_seconds:g}s"},
            "blastRadius": {"requests": 1e6},
        }
        said = {"apiVersion": "shifter.io/v1alpha1", "kind": "ShiftPolicy", "metadata": {"name": name}, "spec": spec}
        self._put(name, json.dumps(said))
        steps_back, stays = plan.on_failure == "stepBack", plan.on_failure == "hold"
        self.versions.append(seen.PolicyFile(at, name, tuple(steps), soak_seconds, plan.gates, steps_back, stays))

    def spoil(self, at: float, name: str) -> None:
        """Leave a file that is half written."""
        self._put(name, '{"apiVersion": "shifter.io/v1alpha1", "kind": ')
        self.versions.append(seen.PolicyFile(at, name, (), 0.0))

    def remove(self, at: float, name: str) -> None:
        """Delete a file."""
        self._path(name).unlink(missing_ok=True)
        self.versions.append(seen.PolicyFile(at, name, (), 0.0))

    def _put(self, name: str, text: str) -> None:
        """Move a whole file into place, with a time of its own: the filesystem's clock may stand still meanwhile."""
        self._written += 1
        fresh = self._folder / f".{name}.{self._written}"
        fresh.write_text(text)
        os.utime(fresh, ns=(self._written * 1_000_000_000,) * 2)
        fresh.rename(self._path(name))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.yaml"
