"""The port to a mesh's workload in a cluster: a Deployment, and the autoscaler whose floor keeps it from shrinking.

What is ready is in the Deployment's status, the floor in the `minReplicas` of the HorizontalPodAutoscaler that scales
it. Two clusters that are migrated between have Deployments of the same names, so a kubeconfig that points at the wrong
one would find everything in place, count the target and pin it: where the fleet file says the Deployment's uid, another
one is an error. A Deployment that is gone is an error as well and not "none left": renamed, or looked for in the wrong
place, it looks the same, and a rollback must not wait for either.

Fields: `apps/v1` Deployment and `autoscaling/v2` HorizontalPodAutoscaler of the Kubernetes API reference.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol

from shifter.core.deciding.pinning import Workload
from shifter.core.text import plain, some
from shifter.errors import CapacityUnavailableError, InvariantError
from shifter.ports.kube import ACCESS_REVIEWS, AUTOSCALERS, DEPLOYMENTS, Body, Failing, Kind, KubeApi, KubeError

_TRIES: Final = 3
"""So often a floor is written at most: the controller writes into the same object every few seconds."""

_LEAST: Final = 1
"""What a floor is that nobody set (the API's default), and what one of 0 counts as: it would be no way back."""

_UNAUTHORIZED: Final = 401
_RENEW: Final = "give it a kubeconfig, or a token, that this cluster accepts"
_REACH: Final = "see whether this machine reaches that API server, and whether it is up"


@dataclass(frozen=True, slots=True)
class Scaled:
    """Which Deployment, in which namespace. `autoscaler`: the one that scales it, by name; empty: look for it.

    `uid` is the Deployment's, by which it is told from one of the same name in another cluster; empty: any. `mesh` is
    whose cluster it is, for people.
    """

    namespace: str
    deployment: str
    autoscaler: str = ""
    uid: str = ""
    mesh: str = "tcm"

    @property
    def name(self) -> str:
        """As people write it: `istio-system/istio-ingressgateway`."""
        return f"{self.namespace}/{self.deployment}"


class Connected(Protocol):
    """Whoever keeps the connection to a cluster (`mesh_cluster.py`)."""

    def api(self) -> KubeApi:
        """Return it; fails with `CapacityUnavailableError` where there is none to be had."""

    def forget(self) -> None:
        """Make it anew the next time: the cluster does not know who asks."""


class KubeWorkload:
    """The `SourceWorkload` port over one Deployment. Safe to call from several threads: it remembers nothing.

    A look asks twice, a pin up to eight times; each is as long as the API's own timeout at most.

    Args:
        connection: to the API server of the mesh's cluster.
        scaled: which Deployment.
    """

    def __init__(self, connection: Connected, scaled: Scaled) -> None:
        self._connection = connection
        self._scaled = scaled

    def observe(self) -> Workload:
        """Return what is ready, and the floor of whatever scales it, None if nothing does.

        Raises:
            CapacityUnavailableError: nobody answers, it may not be read, it is gone, or it is not the expected one.
        """
        deployment = self._deployment()
        autoscaler = self._autoscaler()
        ready = _count(deployment, ("status", "readyReplicas"), 0)
        return Workload(ready, None if autoscaler is None else _floor(autoscaler))

    def pin(self, floor: int) -> None:
        """Set the autoscaler's floor, in replicas from 1; nothing is written where it is that already.

        Raises:
            CapacityUnavailableError: it may or may not have been set; above the ceiling it was not.
            InvariantError: the floor is below 1.
        """
        if floor < _LEAST:
            raise InvariantError(f"a floor of {floor} replicas would be no way back")
        for attempt in range(1, _TRIES + 1):
            self._deployment()
            autoscaler = self._autoscaler()
            if autoscaler is None or _floor(autoscaler) == floor:
                return
            _below_the_ceiling(autoscaler, floor)
            try:
                self._connection.api().replace(AUTOSCALERS, self._scaled.namespace, _with_floor(autoscaler, floor))
            except KubeError as error:
                if error.failing is Failing.CONFLICT and attempt < _TRIES:
                    continue
                self._failed(error, "update", AUTOSCALERS, _name(autoscaler))
            return

    def pin_refusal(self) -> str:
        """Return why its autoscaler's floor may not be changed, as the cluster's rights say; empty if it may.

        Raises:
            CapacityUnavailableError: it cannot be told.
        """
        autoscaler = self._autoscaler()
        if autoscaler is None:
            return ""
        name = _name(autoscaler)
        asked = {"group": AUTOSCALERS.group, "resource": AUTOSCALERS.plural, "verb": "update"}
        asked |= {"namespace": self._scaled.namespace, "name": name}
        body: Body = {"apiVersion": ACCESS_REVIEWS.api_version, "kind": ACCESS_REVIEWS.name}
        body["spec"] = {"resourceAttributes": asked}
        try:
            review = self._connection.api().create(ACCESS_REVIEWS, "", body)
        except KubeError as error:
            self._failed(error, "create", ACCESS_REVIEWS, name)
        if _at(review, ("status", "allowed")) is True:
            return ""
        return f"may not update {AUTOSCALERS.plural}.{AUTOSCALERS.group} {self._scaled.namespace}/{name}"

    def _deployment(self) -> Body:
        scaled = self._scaled
        found = self._get(DEPLOYMENTS, scaled.deployment)
        uid = found.get("metadata", {}).get("uid", "")
        if scaled.uid and uid != scaled.uid:
            raise CapacityUnavailableError(
                f"the Deployment {scaled.name} that was found has the uid {plain(str(uid))}, not {scaled.uid}: it is"
                " another cluster's, or was made anew",
                remedy="mend kubeconfigFile or context in the fleet's clusters, or gateway.uid if it is the one",
            )
        return found

    def _autoscaler(self) -> Body | None:
        """Return what scales the Deployment: the one that was named, else the only one that says so."""
        scaled = self._scaled
        if scaled.autoscaler:
            found = self._get(AUTOSCALERS, scaled.autoscaler)
            if not _scales(found, scaled.deployment):
                raise CapacityUnavailableError(
                    f"the autoscaler {scaled.namespace}/{scaled.autoscaler} does not scale the Deployment"
                    f" {scaled.deployment}",
                    remedy="name the one that does, or none: then it is looked for",
                )
            return found
        try:
            items = self._connection.api().list(AUTOSCALERS, scaled.namespace).items
        except KubeError as error:
            self._failed(error, "list", AUTOSCALERS, "")
        matching = [item for item in items if _scales(item, scaled.deployment)]
        if len(matching) > 1:
            names = some(sorted(_name(item) for item in matching), 3)
            raise CapacityUnavailableError(
                f"the Deployment {scaled.name} has more than one autoscaler: {names}",
                remedy="delete all but one; they work against each other",
            )
        return matching[0] if matching else None

    def _get(self, kind: Kind, name: str) -> Body:
        try:
            return self._connection.api().get(kind, self._scaled.namespace, name)
        except KubeError as error:
            self._failed(error, "get", kind, name)

    def _failed(self, error: KubeError, verb: str, kind: Kind, name: str) -> NoReturn:
        if error.status == _UNAUTHORIZED:
            self._connection.forget()
        raise _translated(error, verb, kind, self._scaled, name) from error


def _translated(error: KubeError, verb: str, kind: Kind, scaled: Scaled, name: str) -> CapacityUnavailableError:
    """Return why a cluster could not be asked or told, as a clause, with what mends it."""
    namespace, cluster = scaled.namespace, f"{scaled.mesh}'s cluster"
    what = f"{namespace}/{name}" if name else f"in {namespace}"
    said, remedy = f"{cluster} does not tell {kind.plural} {what}", _REACH
    if error.failing is Failing.DENIED and error.status == _UNAUTHORIZED:
        said, remedy = f"{cluster} does not know who asks", _RENEW
    elif error.failing is Failing.DENIED:
        rule = f"apiGroups: [{kind.group}], resources: [{kind.plural}], verbs: [{verb}]"
        said = f"{cluster} refuses to {verb} {kind.plural}.{kind.group} {what}"
        remedy = f"a Role in its namespace {namespace} that grants it: {rule}"
    elif error.failing is Failing.MISSING and name:
        said = f"{cluster} has no {kind.name} {what}"
        remedy = "was it renamed or deleted, or is it another cluster's kubeconfig?"
    elif error.failing is Failing.AMBIGUOUS:
        said = f"whether {what} took its floor is not known"
    elif error.failing is Failing.CONFLICT:
        said, remedy = f"{what} is changed by others all the time", "see who else writes to it"
    elif error.failing is Failing.INVALID:
        said = f"{cluster} does not accept the floor of {what}"
        remedy = "raise the floor where it is kept, or mend what refuses it"
    return CapacityUnavailableError(f"{said}: {plain(str(error))}", remedy=remedy)


def _scales(autoscaler: Body, deployment: str) -> bool:
    target = _at(autoscaler, ("spec", "scaleTargetRef"))
    if not isinstance(target, dict) or target.get("name") != deployment or target.get("kind") != DEPLOYMENTS.name:
        return False
    # Left out it means whatever the server makes of it, and of Deployments there is one group.
    return str(target.get("apiVersion", DEPLOYMENTS.api_version)).startswith(f"{DEPLOYMENTS.group}/")


def _floor(autoscaler: Body) -> int:
    return max(_LEAST, _count(autoscaler, ("spec", "minReplicas"), _LEAST))


def _below_the_ceiling(autoscaler: Body, floor: int) -> None:
    most = _count(autoscaler, ("spec", "maxReplicas"), floor)
    if floor > most:
        raise CapacityUnavailableError(
            f"the autoscaler {_name(autoscaler)} goes up to {most} replicas, and {floor} are to be kept",
            remedy=f"raise its maxReplicas to {floor} at least",
        )


def _with_floor(autoscaler: Body, floor: int) -> Body:
    """Return the same autoscaler, of the same resource version, with another floor."""
    changed = copy.deepcopy(autoscaler)
    changed["spec"]["minReplicas"] = floor
    return changed


def _name(body: Body) -> str:
    return plain(str(_at(body, ("metadata", "name"))))


def _count(body: Body, path: tuple[str, str], default: int) -> int:
    """Return a number of replicas; a server leaves out what is 0, or the default."""
    value = _at(body, path)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise CapacityUnavailableError(f"{path[-1]} of {_name(body)} is no number of replicas: {plain(repr(value))}")
    return value


def _at(body: Body, path: tuple[str, str]) -> Any:  # noqa: ANN401 - JSON of somebody else's
    part = body.get(path[0])
    return part.get(path[1]) if isinstance(part, dict) else None
