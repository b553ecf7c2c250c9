"""What lives in a cluster, held against what istioctl would install there.

The record tells what was installed, not what became of it: somebody may have deleted istiod since. And istioctl does
without a word what cannot be taken back: it deletes what its manifest no longer has, and hands TKE another CLB for a
Service, upon which the old one goes with its address. So both are looked for before it is called.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from shifter.core.documents.mesh_gateways import EXISTING_CLB, INTERNAL_SUBNET
from shifter.core.text import some
from shifter.errors import RefusedError
from shifter.mesh.installing.manifests import annotations_of, images_of, is_public, labels_of, name_of, namespace_of
from shifter.mesh.installing.site import Site
from shifter.ports.kube import AUTOSCALERS, DEPLOYMENTS, Body, Kind
from shifter.ports.mesh import (
    CONFIG_MAPS,
    MUTATING_WEBHOOKS,
    SERVICE_ACCOUNTS,
    SERVICES,
    VALIDATING_WEBHOOKS,
)

COMPONENT: Final = "operator.istio.io/component"
"""istioctl writes it on what it installs, and prunes by it."""

BALANCER: Final = "service.kubernetes.io/loadbalance-id"
"""Where TKE's service controller says which CLB a Service has."""

_MOST: Final = 3
_GATEWAYS: Final = frozenset({"IngressGateways", "EgressGateways"})
_LOOKED_AT: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        *(DEPLOYMENTS, SERVICES, AUTOSCALERS, CONFIG_MAPS, SERVICE_ACCOUNTS),
        *(MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS),
    )
}
"""Without any of these a mesh does not work; the rest of a manifest comes and goes with them."""


def lacking(site: Site, objects: Sequence[Body]) -> str:
    """Say what of a manifest is not in a cluster, or runs other images than it says; empty if nothing is amiss."""
    gone: list[str] = []
    for wanted, found in _pairs(site, objects):
        what = f"{wanted['kind']} {_place(wanted)}"
        if found is None:
            gone.append(f"{what} is gone")
        elif not set(images_of(wanted)) <= set(images_of(found)):
            gone.append(f"{what} runs {some(images_of(found), _MOST)}")
        elif wanted["kind"] == "Service" and wanted["spec"].get("type", "ClusterIP") != found["spec"].get("type"):
            gone.append(f"{what} is of type {found['spec'].get('type')}")
    return some(gone, _MOST)


def living_gateways(site: Site) -> Sequence[str]:
    """Return `namespace/name` of the gateways in a cluster that istioctl installed, whoever called it."""
    return sorted(_place(each) for each in site.all(DEPLOYMENTS) if labels_of(each).get(COMPONENT) in _GATEWAYS)


def surplus(site: Site, objects: Sequence[Body]) -> Sequence[str]:
    """Return `namespace/name` of what istioctl installed in a cluster and its manifest does not have."""
    kept = {(body["kind"], _place(body)) for body in objects}
    living = [("Deployment", each) for each in site.all(DEPLOYMENTS) if COMPONENT in labels_of(each)]
    living += [("Service", each) for each in site.all(SERVICES) if labels_of(each).get(COMPONENT) in _GATEWAYS]
    stays = [(kind, _place(each)) for kind, each in living if not each["metadata"].get("deletionTimestamp")]
    return sorted({place for kind, place in stays if (kind, place) not in kept})


def refuse_removal(site: Site, objects: Sequence[Body]) -> None:
    """Refuse to let istioctl remove what lives in a cluster and is not in its manifest.

    Raises:
        RefusedError: it would.
    """
    if gone := surplus(site, objects):
        raise RefusedError(
            f"{site.name}: the file does not have {some(gone, _MOST)}: istioctl would remove that, together with the"
            " listeners of its CLB or the CLB itself",
            remedy="if that is meant: --allow-removal",
        )


def refuse_what_cannot_change(site: Site, objects: Sequence[Body], *, allow_removal: bool) -> None:
    """Refuse what Kubernetes or TKE does not change in place: which pods a Deployment has, which CLB a Service has.

    Args:
        site: the cluster.
        objects: the manifest.
        allow_removal: a Service may lose its CLB altogether.

    Raises:
        RefusedError: the manifest says otherwise than the cluster.
    """
    for wanted, found in _pairs(site, objects):
        if found is None:
            continue
        if wanted["kind"] == "Deployment":
            _refuse_other_pods(site, wanted, found)
        if wanted["kind"] == "Service":
            _refuse_other_balancer(site, wanted, found, allow_removal=allow_removal)


def _refuse_other_pods(site: Site, wanted: Body, found: Body) -> None:
    said, has = (each["spec"].get("selector", {}).get("matchLabels") or {} for each in (wanted, found))
    if said != has:
        labels = ", ".join(f"{key}={value}" for key, value in sorted(has.items()))
        raise RefusedError(
            f"{site.name}: Deployment {_place(wanted)} selects its pods by {labels}, and the file by"
            f" {', '.join(f'{key}={value}' for key, value in sorted(said.items()))}; that cannot be changed in place",
            remedy="write those labels at the gateway in the file, or give it another name",
        )


def _refuse_other_balancer(site: Site, wanted: Body, found: Body, *, allow_removal: bool) -> None:
    if found["spec"].get("type") != "LoadBalancer":
        return
    if wanted["spec"].get("type") != "LoadBalancer":
        if allow_removal:
            return
        raise RefusedError(
            f"{site.name}: Service {_place(wanted)} has {balancer_of(found)}, and by the file it would have none:"
            " TKE removes the CLB or its listeners",
            remedy="if that is meant: --allow-removal",
        )
    if (before := balancer_of(found)) != (after := balancer_of(wanted)):
        raise RefusedError(
            f"{site.name}: Service {_place(wanted)} has {before}, and the file says {after};"
            " which CLB a Service has cannot be changed in place: TKE gives up the old one with its address",
            remedy="write what it had; for another CLB add a gateway of another name, and move the traffic first",
        )


def balancer_of(service: Body) -> str:
    """Return which CLB a Service asks for, in the words of the file."""
    annotations = annotations_of(service)
    if existing := annotations.get(EXISTING_CLB):
        return f"the existing CLB {existing}"
    if subnet := annotations.get(INTERNAL_SUBNET):
        return f"a CLB of its own in {subnet}"
    return "a public CLB of its own"


def difference(site: Site, objects: Sequence[Body]) -> str:
    """Return how what lives differs from a manifest, a line for each object of weight: for who takes a mesh over."""
    here = [{"kind": kind.name, **each} for kind in (DEPLOYMENTS, SERVICES) for each in site.all(kind)]
    before = sorted(_line(each) for each in here if COMPONENT in labels_of(each))
    after = sorted(_line(each) for each in objects if each["kind"] in {"Deployment", "Service"})
    return "\n".join(difflib.unified_diff(before, after, "lives", "file", lineterm="", n=0))


def _line(body: Body) -> str:
    said = [body["kind"], _place(body), *images_of(body)]
    if body["kind"] == "Service":
        said += [str(body["spec"].get("type", "ClusterIP"))]
        if body["spec"].get("type") == "LoadBalancer":
            said += ["public" if is_public(body) else balancer_of(body)]
    return " ".join(said)


def _pairs(site: Site, objects: Sequence[Body]) -> Iterator[tuple[Body, Body | None]]:
    """Yield each object that is looked at with what lives by its name."""
    known: dict[tuple[str, str], dict[str, Body]] = {}
    for body in objects:
        kind = _LOOKED_AT.get(body["kind"])
        if kind is None:
            continue
        namespace = namespace_of(body) if kind.namespaced else ""
        at = (kind.name, namespace)
        if at not in known:
            known[at] = {name_of(each): each for each in site.all(kind, namespace)}
        found = known[at].get(name_of(body))
        yield body, None if found is None else {"kind": kind.name, **found}


def _place(body: Body) -> str:
    if body["metadata"].get("namespace"):
        return f"{namespace_of(body)}/{name_of(body)}"
    return name_of(body)
