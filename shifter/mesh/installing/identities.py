"""Which mesh a control plane belongs to, and as which of its clusters: by what was given to istioctl.

A file with its contexts exchanged, or another mesh's file, renders well and installs well: istioctl turns a primary
into a member by deleting its istiod. So what was installed must be of the same mesh, the same cluster and the same role
before anything is installed over it. That holds for what somebody installed by hand as well, and only what says so of
itself is taken over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from shifter.core.documents.mesh import Member, Mesh
from shifter.core.documents.mesh_gateways import SYSTEM_NAMESPACE
from shifter.core.text import plain
from shifter.mesh.installing.living import COMPONENT
from shifter.mesh.installing.manifests import labels_of
from shifter.mesh.installing.site import Site
from shifter.ports.kube import DEPLOYMENTS, Kind
from shifter.ports.mesh import CONFIG_MAPS

INSTALLED_STATES: Final = Kind("install.istio.io", "v1alpha1", "istiooperators", "IstioOperator")
"""In which istioctl 1.18 keeps what it has installed."""

_STATE: Final = "installed-state"
_VALUES: Final = "values"
_MERGED: Final = "merged-values"
"""The ConfigMap in which a current istioctl keeps what it has installed, and its key."""

_CLUSTER: Final = "ISTIO_META_CLUSTER_ID"
_MESH: Final = "ISTIO_META_MESH_ID"

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Identity:
    """Of which mesh, as which of its clusters, and whether as a member; what is not said is empty or False."""

    mesh_id: str
    cluster: str
    is_member: bool


def of_operator(operator: str) -> Identity:
    """Return what an IstioOperator of ours says."""
    match yaml.load(operator, Loader=_LOADER):  # noqa: S506 - a safe one, written in C
        case {"spec": {"profile": str(profile), "values": dict(values)}}:
            return _of_values(values, is_member=profile == "remote")
        case _:
            return Identity("", "", is_member=False)


def differing(site: Site, mesh: Mesh, found: Identity) -> str:
    """Say in what a control plane is not the file's; empty if it is."""
    if found.mesh_id != mesh.spec.mesh_id:
        return f"its meshID is {plain(found.mesh_id)}, and the file says {mesh.spec.mesh_id}"
    if found.cluster != site.name:
        return f"it is the cluster {plain(found.cluster)} of its mesh, and the file says {site.name}"
    if found.is_member != isinstance(site.cluster, Member):
        return (
            "it is a member, and the file says primary" if found.is_member else "it has istiod, and the file's has none"
        )
    return ""


def by_hand(site: Site, mesh: Mesh, because: str) -> str:
    """Say what keeps a control plane from being taken over that shifter did not install; empty if nothing does.

    Args:
        site: where it is.
        mesh: the file.
        because: why there cannot be two.
    """
    start = "shifter did not install the istiod that serves here"
    states = site.all(INSTALLED_STATES, SYSTEM_NAMESPACE)
    if len(states) > 1:
        names = sorted(plain(str(each["metadata"]["name"])) for each in states)
        return (
            f"there are several IstioOperators here ({', '.join(names)}): each takes away what another one has"
            f" installed; keep {_STATE} and delete the record of the others: kubectl delete istiooperator NAME -n"
            f" {SYSTEM_NAMESPACE}"
        )
    found = [_of_state(each) for each in states] or _of_config_map(site) or _of_gateways(site)
    if not found:
        return f"{start}, and it does not say of which mesh it is: {because}"
    said = next(filter(None, (differing(site, mesh, each) for each in found)), "")
    return f"{start}, and it is another mesh's: {said}; {because}" if said else ""


def _of_state(body: dict[str, Any]) -> Identity:
    spec = body.get("spec") or {}
    return _of_values(spec.get("values") or {}, is_member=_is_member(spec))


def _is_member(spec: dict[str, Any]) -> bool:
    pilot = ((spec.get("components") or {}).get("pilot") or {}).get("enabled")
    return pilot is False or spec.get("profile") == "remote"


def _of_config_map(site: Site) -> Sequence[Identity]:
    found = site.find(CONFIG_MAPS, SYSTEM_NAMESPACE, _VALUES)
    text = ((found or {}).get("data") or {}).get(_MERGED, "")
    try:
        values = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe one, written in C
    except yaml.YAMLError:
        return ()
    if not isinstance(values, dict):
        return ()
    is_member = bool((values.get("istiodRemote") or {}).get("enabled")) or values.get("profile") == "remote"
    return (_of_values(values, is_member=is_member),)


def _of_gateways(site: Site) -> Sequence[Identity]:
    """Return what the gateways in a cluster are told: all that istioctl 1.18 leaves in a member."""
    is_member = site.find(DEPLOYMENTS, SYSTEM_NAMESPACE, "istiod") is None
    found: list[Identity] = []
    for gateway in site.all(DEPLOYMENTS):
        if COMPONENT not in labels_of(gateway):
            continue
        for container in gateway["spec"]["template"]["spec"]["containers"]:
            said = {str(each["name"]): str(each.get("value") or "") for each in container.get("env") or ()}
            if _CLUSTER in said:
                found.append(Identity(said.get(_MESH, ""), said[_CLUSTER], is_member))
    return found


def _of_values(values: dict[str, Any], *, is_member: bool) -> Identity:
    of_all = values.get("global") or {}
    cluster = str((of_all.get("multiCluster") or {}).get("clusterName") or "")
    return Identity(str(of_all.get("meshID") or ""), cluster, is_member)
