"""The hands that do what the plan says to the stage, and undo it: cloud, console, members, files.

Each act returns a sentence and leaves behind what undoes it. Acts that find the world changed (a target that another
trouble has unbound, weights that somebody else has set since) do less and say so; they never fail the soak.
What concerns processes is in `processes`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import HealthNote, PolicyFile
from shifter.lab.emulator import Health, RuleKey, Target, TargetKey
from shifter.lab.emulator.weather import strike
from shifter.lab.soak.plan import Trouble
from shifter.lab.stage import Stage
from shifter.lab.topology import MESHES, SOURCE_MESH, TARGET_MESH

RESYNC_WEIGHT: Final = 10
"""What a controller that knows nothing of a migration gives every target."""

Undo = Callable[[], str]
_BROKEN: Final = "apiVersion: shifter.io/v1alpha1\nkind: ShiftPolicy\nmetadata: {name: \n"


def shown(target: TargetKey) -> str:
    """A target as the soak's rules name it."""
    return f"{target.address}:{target.port}"


@dataclass(slots=True)
class Notes:
    """What the hands did that no log has: the health check's opinions, and the policy files."""

    health: list[HealthNote] = field(default_factory=list)
    policies: list[PolicyFile] = field(default_factory=list)


class CloudHands:
    """Does what goes wrong in the cloud: faults of the API, other actors, the console, members."""

    def __init__(self, stage: Stage, notes: Notes) -> None:
        self._stage = stage
        self._notes = notes

    def acts(self) -> Mapping[Kind, Callable[[Trouble], tuple[str, Undo]]]:
        """Return what to do for each kind of trouble."""
        return {
            Kind.CLOUD: self._fault,
            Kind.LOCK: self._lock,
            Kind.EDIT: self._edit,
            Kind.RESYNC: self._resync,
            Kind.DEAD: self._die,
            Kind.GONE: self._unbind,
        }

    def set_health(self, namespace: str, key: TargetKey, *, alive: bool) -> None:
        """Let the health check of one rule come to an opinion, and remember when; a target that is gone has none."""
        place = self._stage.account.places[namespace]
        health = Health.ALIVE if alive else Health.DEAD
        try:
            self._stage.emulator.set_health(place.balancer, place.listener, place.location, key, health)
        except KeyError:
            return
        self._notes.health.append(HealthNote(time.time(), namespace, shown(key), alive))

    def targets(self, namespace: str, mesh: str) -> list[Target]:
        """Return the targets of a namespace's rule that belong to a mesh."""
        place = self._stage.account.places[namespace]
        rule = self._stage.emulator.balancer(place.balancer).rule(RuleKey(place.listener, place.location))
        ports = {gateway.port for gateway in self._stage.plane.topology.gateways_of(mesh)}
        return [target for target in rule.targets if self._stage.account.gateway_port[target.key] in ports]

    def _fault(self, trouble: Trouble) -> tuple[str, Undo]:
        assert trouble.event is not None  # noqa: S101 - the plan gives every fault of the cloud its event
        return strike(self._stage.emulator, trouble.event), lambda: "the cloud has mended itself"

    def _lock(self, trouble: Trouble) -> tuple[str, Undo]:
        self._stage.emulator.hold_lock(trouble.balancer, trouble.lasts_seconds)
        return f"somebody else's operation on {trouble.balancer}", lambda: "it has ended"

    def _edit(self, trouble: Trouble) -> tuple[str, Undo]:
        (namespace,) = trouble.namespaces
        share = round(trouble.amount)
        weights = {target.key: share for target in self.targets(namespace, TARGET_MESH)}
        weights |= {target.key: 101 - share for target in self.targets(namespace, SOURCE_MESH)}
        return self._set(namespace, weights, f"istio's weights to {share}, tcm's to {101 - share}")

    def _resync(self, trouble: Trouble) -> tuple[str, Undo]:
        (namespace,) = trouble.namespaces
        keys = [target.key for mesh in MESHES for target in self.targets(namespace, mesh)]
        return self._set(namespace, dict.fromkeys(keys, RESYNC_WEIGHT), f"every weight to {RESYNC_WEIGHT}")

    def _set(self, namespace: str, weights: Mapping[TargetKey, int], told: str) -> tuple[str, Undo]:
        before = self._weights(namespace)
        self._edit_weights(namespace, weights)

        def restore() -> str:
            if self._weights(namespace) != dict(weights):
                return "the weights are others by now; nothing is set back"
            self._edit_weights(namespace, before)
            return "set back as it was"

        return told, restore

    def _weights(self, namespace: str) -> dict[TargetKey, int]:
        return {target.key: target.weight for mesh in MESHES for target in self.targets(namespace, mesh)}

    def _edit_weights(self, namespace: str, weights: Mapping[TargetKey, int]) -> None:
        place = self._stage.account.places[namespace]
        self._stage.emulator.edit_weights(place.balancer, place.listener, place.location, weights)

    def _die(self, trouble: Trouble) -> tuple[str, Undo]:
        (namespace,), (mesh,) = trouble.namespaces, trouble.meshes
        chosen = [target.key for target in self.targets(namespace, mesh)][: int(trouble.amount)]
        for key in chosen:
            self.set_health(namespace, key, alive=False)

        def recover() -> str:
            for key in chosen:
                self.set_health(namespace, key, alive=True)
            return "alive again"

        return f"the health check calls {len(chosen)} of {mesh}'s targets dead", recover

    def _unbind(self, trouble: Trouble) -> tuple[str, Undo]:
        (namespace,), (mesh,) = trouble.namespaces, trouble.meshes
        found = self.targets(namespace, mesh)
        if len(found) < 2:  # noqa: PLR2004 - the last one stays
            return f"{mesh} has only one target left; it stays", lambda: "nothing to undo"
        target, place = found[-1], self._stage.account.places[namespace]
        self._stage.emulator.remove_target(place.balancer, place.listener, place.location, target.key)

        def bind() -> str:
            again = Target(kind=target.kind, ip=target.ip, port=target.port, instance_id=target.instance_id,
                           eni_id=target.eni_id, weight=int(trouble.amount))  # fmt: skip
            self._stage.emulator.add_target(place.balancer, place.listener, place.location, again)
            self._notes.health.append(HealthNote(time.time(), namespace, shown(target.key), alive=True))
            return f"bound again with weight {trouble.amount:g}"

        return f"{shown(target.key)} of {mesh} is unbound", bind


class FileHands:
    """Breaks, removes, edits and mends policy files."""

    def __init__(self, directory: Path, notes: Notes) -> None:
        self._directory = directory
        self._notes = notes
        self._first: dict[str, str] = {}

    def acts(self) -> Mapping[Kind, Callable[[Trouble], tuple[str, Undo]]]:
        """Return what to do for each kind of trouble."""
        return {Kind.POLICY_BROKEN: self._break, Kind.POLICY_GONE: self._remove, Kind.POLICY_EDITED: self._edit}

    def remember(self, namespace: str, at: float, gate: float | None) -> None:
        """Keep what a file says at first; every trouble is undone to that. A `gate` (percent) is added if given."""
        self._first[namespace] = self._path(namespace).read_text(encoding="utf-8")
        if gate is not None:
            document = yaml.safe_load(self._first[namespace])
            document["spec"]["approvals"] = [{"before": gate}]
            self._first[namespace] = yaml.safe_dump(document, sort_keys=False)
            self._path(namespace).write_text(self._first[namespace], encoding="utf-8")
        self._note(namespace, at, yaml.safe_load(self._first[namespace]))

    def _path(self, namespace: str) -> Path:
        return self._directory / f"{namespace}.yaml"

    def _note(self, namespace: str, at: float, document: Mapping[str, Any] | None) -> None:
        spec = document["spec"] if document else {}
        steps = tuple(float(step) for step in spec.get("steps", ()))
        gates = tuple(float(gate["before"]) for gate in spec.get("approvals", ()))
        soak_seconds = float(str(spec.get("soak", "0s"))[:-1])
        steps_back = spec.get("onFailure") == "stepBack"
        self._notes.policies.append(PolicyFile(at, namespace, steps, soak_seconds, gates, steps_back))

    def _mending(self, namespace: str) -> Undo:
        def mend() -> str:
            self._path(namespace).write_text(self._first[namespace], encoding="utf-8")
            self._note(namespace, time.time(), yaml.safe_load(self._first[namespace]))
            return "the file is as it was"

        return mend

    def _break(self, trouble: Trouble) -> tuple[str, Undo]:
        (namespace,) = trouble.namespaces
        self._note(namespace, time.time(), None)
        self._path(namespace).write_text(_BROKEN, encoding="utf-8")
        return "half a file was saved", self._mending(namespace)

    def _remove(self, trouble: Trouble) -> tuple[str, Undo]:
        (namespace,) = trouble.namespaces
        self._note(namespace, time.time(), None)
        self._path(namespace).unlink()
        return "the file was deleted", self._mending(namespace)

    def _edit(self, trouble: Trouble) -> tuple[str, Undo]:
        (namespace,) = trouble.namespaces
        document = yaml.safe_load(self._first[namespace])
        soak = float(document["spec"]["soak"][:-1]) + trouble.amount
        steps = document["spec"]["steps"]
        # A gate must stay a step.
        between = {*range(steps[0] + 10, 100, 20), *(gate["before"] for gate in document["spec"].get("approvals", ()))}
        document["spec"] |= {"soak": f"{soak:g}s", "steps": [steps[0], *sorted(between), 100]}
        self._note(namespace, time.time(), document)
        self._path(namespace).write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        return f"other steps, and a soak of {soak:g} s", self._mending(namespace)
