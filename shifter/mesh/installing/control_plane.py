"""What istioctl installs: first the control plane of a cluster without gateways, then all of its IstioOperator.

Gateways come second because they cannot become ready before istiod knows their cluster, which a member's istiod learns
by a Secret that can only be made when the member is set up. It is the same IstioOperator, with the gateways left out,
and only in a cluster that has none yet: given to istioctl later, it would take them away.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from shifter.core.documents.mesh import Mesh
from shifter.core.documents.mesh_gateways import SYSTEM_NAMESPACE
from shifter.core.text import plain, some
from shifter.mesh.installing.living import (
    difference,
    lacking,
    living_gateways,
    refuse_removal,
    refuse_what_cannot_change,
    surplus,
)
from shifter.mesh.installing.manifests import Manifests, refuse_unwanted
from shifter.mesh.installing.record import Installed, Stage, read, write
from shifter.mesh.installing.site import Site
from shifter.mesh.installing.steps import InstallError, Look
from shifter.ports.istioctl import Istioctl, IstioctlError
from shifter.ports.kube import DEPLOYMENTS, Body, KubeError
from shifter.ports.mesh import MUTATING_WEBHOOKS, PODS

ISTIOD: Final = "istiod"
_NOT_CALLED: Final = "failed calling webhook"
"""In the API server's sentence where nobody answers as a webhook must."""

_MOST_PODS: Final = 4
_PROXY: Final = "istio-proxy"
_WITH_GATEWAYS: Final = frozenset({Stage.BEGUN, Stage.WHOLE})

Rendering = Callable[[], str]
"""Renders an IstioOperator; fails with `EarlierError` while the address of istiod is not known."""


@dataclass(frozen=True, slots=True)
class Doing:
    """What installing in one cluster takes.

    `allow_removal`: gateways that live there and are not in the file may be removed.
    """

    site: Site
    mesh: Mesh
    istioctl: Istioctl
    manifests: Manifests
    allow_removal: bool = False

    def objects(self, operator: str) -> Sequence[Body]:
        """Return what an IstioOperator amounts to, once it is sure that nothing of it is unwanted.

        Raises:
            RefusedError: something is, or something would go that cannot be had again.
        """
        objects = self.manifests.of(operator)
        refuse_unwanted(self.mesh, self.site.cluster, objects)
        if not self.allow_removal:
            refuse_removal(self.site, objects)
        refuse_what_cannot_change(self.site, objects, allow_removal=self.allow_removal)
        return objects

    def install(self, operator: str, begun: Stage, done: Stage) -> None:
        """Let istioctl install it, and keep how far that came."""
        site, version = self.site, self.istioctl.version
        objects = self.objects(operator)
        write(site, Installed(operator, version, begun))
        try:
            self.istioctl.install(operator, site.reach, ready_within_seconds=site.patience.ready_seconds)
        except IstioctlError as error:
            said = waiting_pods(site)
            raise InstallError(
                f"{site.name}: {error}" + (f"; of its pods the cluster says: {said}" if said else ""),
                remedy="mend that and run it again: what was installed stays, and the rest is caught up on",
            ) from error
        if left := surplus(site, objects):
            # It prunes by release: what another one installed stays, and serves on.
            raise InstallError(
                f"{site.name}: istioctl has left {', '.join(left)}, which another release of it had installed",
                remedy="remove that by hand: kubectl delete deployment,service NAME -n NAMESPACE",
            )
        write(site, Installed(operator, version, done))


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A cluster has its control plane: istiod in the primary, the way to it in a member; gateways come later.

    `operator` renders the cluster's IstioOperator without gateways. Where gateways live it would remove them, so there
    the whole one is installed at once, by `whole`.
    """

    doing: Doing
    operator: Rendering
    whole: Operator
    title: str

    @property
    def cluster(self) -> str:
        """As a step says."""
        return self.doing.site.name

    def look(self) -> Look:
        """Needed in a cluster in which that is not installed, or not to its end, or in which some of it is gone."""
        found = read(self.doing.site)
        if self._comes_whole(found):
            return self.whole.look()
        wanted = self.operator()
        objects = self.doing.objects(wanted)
        if found is None or found.stage is not Stage.BARE:
            return Look(needed=True, says="istioctl install, without gateways", detail=wanted)
        if found.operator != wanted:
            differs = _difference(found.operator, wanted)
            return Look(needed=True, says="istioctl install, without gateways: it differs", detail=differs)
        return _as_it_is(self.doing, found, objects, "is there")

    def act(self) -> None:
        """Install it."""
        if self._comes_whole(read(self.doing.site)):
            self.whole.act()
            return
        self.doing.install(self.operator(), Stage.BEGUN_BARE, Stage.BARE)

    def _comes_whole(self, found: Installed | None) -> bool:
        return (found is not None and found.stage in _WITH_GATEWAYS) or bool(living_gateways(self.doing.site))


@dataclass(frozen=True, slots=True)
class Operator:
    """A cluster has all that its IstioOperator says, gateways too."""

    doing: Doing
    operator: Rendering
    title: str = "its IstioOperator"

    @property
    def cluster(self) -> str:
        """As a step says."""
        return self.doing.site.name

    def look(self) -> Look:
        """Needed where another one was installed last, by another release, or not to its end, or some of it is gone."""
        wanted, found = self.operator(), read(self.doing.site)
        objects = self.doing.objects(wanted)
        if found is None and (living := living_gateways(self.doing.site)):
            says = f"istioctl install: take over what somebody installed ({', '.join(living)})"
            return Look(needed=True, says=says, detail=difference(self.doing.site, objects))
        if found is None or found.stage is not Stage.WHOLE:
            before = found.operator if found else ""
            return Look(needed=True, says="istioctl install", detail=_difference(before, wanted))
        if found.operator != wanted:
            return Look(needed=True, says="istioctl install: it differs", detail=_difference(found.operator, wanted))
        return _as_it_is(self.doing, found, objects, "as installed")

    def act(self) -> None:
        """Install it."""
        self.doing.install(self.operator(), Stage.BEGUN, Stage.WHOLE)


def _as_it_is(doing: Doing, found: Installed, objects: Sequence[Body], fine: str) -> Look:
    """Return what is to be done where the right IstioOperator was installed to its end."""
    if found.release != doing.istioctl.version:
        return Look(needed=True, says=f"istioctl install: from {found.release} to {doing.istioctl.version}")
    if missing := lacking(doing.site, objects):
        return Look(needed=True, says=f"istioctl install: {missing}")
    return Look(needed=False, says=fine)


def _difference(before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "installed", "file", lineterm="")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Serving:
    """istiod runs in the primary, is of the release that was installed, and its webhook answers.

    That it runs is no proof that it serves: a pod is made up, never created, and what comes back must have a sidecar of
    the image that the file says.
    """

    site: Site
    image: str
    revision: str | None
    title: str = "istiod serves"

    @property
    def cluster(self) -> str:
        """As a step says."""
        return self.site.name

    def look(self) -> Look:
        """Needed as long as something is missing."""
        missing = self._missing()
        return Look(needed=bool(missing), says=missing or "its webhook injects the file's proxy")

    def act(self) -> None:
        """Wait."""
        patience = self.site.patience
        if missing := patience.until(self._missing, patience.ready_seconds):
            name = self._deployment()
            events = self.site.events_of(SYSTEM_NAMESPACE, "Deployment", name)
            raise self.site.not_ready(missing, events or waiting_pods(self.site), patience.ready_seconds)

    def _deployment(self) -> str:
        return f"{ISTIOD}-{self.revision}" if self.revision else ISTIOD

    def _missing(self) -> str:
        return rollout(self.site, SYSTEM_NAMESPACE, self._deployment()) or injection(
            self.site, self.image, self.revision
        )


def waiting_pods(site: Site, namespace: str = SYSTEM_NAMESPACE) -> str:
    """Return why pods of a namespace do not run, as their containers say; empty if all do."""
    waiting = {
        f"{pod['metadata']['name']}: {plain(str(state.get('reason')))}"
        for pod in site.all(PODS, namespace)
        for each in pod.get("status", {}).get("containerStatuses", ())
        if (state := each.get("state", {}).get("waiting"))
    }
    return some(sorted(waiting), _MOST_PODS)


def rollout(site: Site, namespace: str, name: str) -> str:
    """Return what is missing until a Deployment runs as it was last said; empty if nothing is."""
    found = site.find(DEPLOYMENTS, namespace, name)
    if found is None:
        return f"there is no Deployment {namespace}/{name}"
    wanted, status = found["spec"].get("replicas", 1), found.get("status", {})
    if status.get("observedGeneration", 0) < found["metadata"].get("generation", 0):
        return f"Deployment {namespace}/{name}: what was changed is not looked at yet"
    ready = min(int(status.get(each, 0)) for each in ("updatedReplicas", "availableReplicas"))
    if ready < wanted or status.get("replicas", 0) > wanted:
        return f"Deployment {namespace}/{name}: {ready} of {wanted} pods are ready"
    return ""


def injection(site: Site, image: str, revision: str | None) -> str:
    """Return what keeps a new pod of a cluster from getting the mesh's sidecar; empty if it gets it.

    Args:
        site: the cluster.
        image: what the sidecar must be.
        revision: the mesh's; None for the default one.
    """
    if unpatched := _unpatched(site, revision):
        return unpatched
    labels = {"sidecar.istio.io/inject": "true", **({"istio.io/rev": revision} if revision else {})}
    pod: Body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "shifter-made-up", "labels": labels},
        "spec": {"containers": [{"name": "none", "image": "none"}]},
    }
    with site.asked("have a pod made up"):
        try:
            made = site.api.rehearse(PODS, SYSTEM_NAMESPACE, pod)
        except KubeError as error:
            if _NOT_CALLED not in str(error):
                raise
            return f"its webhook does not answer: {plain(str(error))}"
    # A release may inject it as a container or as an init container that stays.
    containers = [*made["spec"]["containers"], *made["spec"].get("initContainers", ())]
    found = [each.get("image") for each in containers if each.get("name") == _PROXY]
    if not found:
        return "the webhook adds no sidecar to a new pod"
    return "" if found == [image] else f"the webhook injects {found[0]}, and {image} is wanted"


def _unpatched(site: Site, revision: str | None) -> str:
    name = f"istio-sidecar-injector-{revision}" if revision else "istio-sidecar-injector"
    found = site.find(MUTATING_WEBHOOKS, "", name)
    if found is None:
        return f"there is no webhook {name}"
    if not all(each.get("clientConfig", {}).get("caBundle") for each in found.get("webhooks", ())):
        return f"istiod has not written its certificate into the webhook {name} yet"
    return ""
