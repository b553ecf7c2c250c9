"""Whose sidecar a pod carries: pure rules.

A pod says so itself: the proxy's image, and the cluster and mesh that the injector wrote into its environment. TCM's
sidecars and the new ones may well be of the same image; only the mesh's id tells them apart then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from shifter.core.text import plain
from shifter.mesh.injecting.labels import INJECT, REVISION, Choice, selects
from shifter.ports.kube import Body

_PROXY: Final = "istio-proxy"
_PROXY_IMAGE: Final = "proxyv2"
_CLUSTER_VARIABLE: Final = "ISTIO_META_CLUSTER_ID"
_MESH_VARIABLE: Final = "ISTIO_META_MESH_ID"
_INJECTED: Final = frozenset({"", "y", "yes", "true", "on"})
"""What istiod takes for a yes, or for no answer at all; every other value is a no."""

_OVER: Final = frozenset({"Succeeded", "Failed"})


class Carrying(StrEnum):
    """What a pod carries."""

    OURS = "this mesh's"
    OTHERS = "another's"
    NONE = "none"
    OPTED_OUT = "opted out"


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What the new mesh's sidecar is in a cluster. `tcm_revisions` and `tcm_mesh` are what is known of TCM's."""

    image: str
    cluster: str
    mesh: str
    revision: str | None = None
    tcm_revisions: frozenset[str] = frozenset()
    tcm_mesh: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a pod was found to carry; `says` is why that is so, in a few words."""

    carrying: Carrying
    says: str


def runs(pod: Body) -> bool:
    """Say whether a pod counts: it is neither over nor on its way out."""
    return pod.get("status", {}).get("phase") not in _OVER and not pod["metadata"].get("deletionTimestamp")


def opted_out(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    """Return why no mesh gives a pod a sidecar, by what its template says itself; empty if it does not say so."""
    if spec.get("hostNetwork"):
        return "uses its node's network"
    # istiod asks the label first, and the annotation of that name only if there is none.
    for place in ("labels", "annotations"):
        if (said := (metadata.get(place) or {}).get(INJECT)) is not None:
            return "" if str(said).lower() in _INJECTED else f"says {INJECT}={plain(str(said), 60)}"
    return ""


def wants(choice: Choice, metadata: Mapping[str, Any], spec: Mapping[str, Any], sidecar: Sidecar) -> bool:
    """Say whether a pod that is made now gets the new mesh's sidecar.

    Args:
        choice: of its namespace.
        metadata: of the pod's template.
        spec: of the pod's template.
        sidecar: the new mesh's.
    """
    return selects(choice, metadata.get("labels"), sidecar.revision) and not opted_out(metadata, spec)


def selects_pod(choice: Choice, pod: Body, sidecar: Sidecar) -> bool:
    """Say whether a pod that exists would get the new mesh's sidecar if it was made now."""
    return wants(choice, pod["metadata"], pod["spec"], sidecar)


def found(pod: Body, sidecar: Sidecar) -> Found:
    """Return what a pod carries."""
    proxies = list(_proxies(pod["spec"]))
    if not proxies:
        why = opted_out(pod["metadata"], pod["spec"])
        return Found(Carrying.OPTED_OUT, why) if why else Found(Carrying.NONE, "has no sidecar")
    if len(proxies) > 1:
        return Found(
            Carrying.OTHERS, f"has {len(proxies)} sidecars: {', '.join(str(each.get('name')) for each in proxies)}"
        )
    difference = _difference(pod["metadata"], proxies[0], sidecar)
    return Found(Carrying.OTHERS, difference) if difference else Found(Carrying.OURS, "")


def _proxies(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the containers that are proxies; an init container only if it stays, which is what a native sidecar is."""
    staying = (each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always")
    for each in (*(spec.get("containers") or ()), *staying):
        repository = str(each.get("image", "")).split("@", maxsplit=1)[0].rpartition("/")[2].split(":")[0]
        if each.get("name") == _PROXY or repository == _PROXY_IMAGE:
            yield each


def _difference(metadata: Mapping[str, Any], proxy: Mapping[str, Any], sidecar: Sidecar) -> str:
    """Return by what a proxy is not the new mesh's; empty if it is."""
    said = {each.get("name"): each.get("value", "") for each in proxy.get("env") or ()}
    # The injector writes an annotation. A label of that name is the template's own, and may ask for something else.
    revision = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}.get(REVISION)
    mesh = said.get(_MESH_VARIABLE, sidecar.mesh)
    if (revision in sidecar.tcm_revisions and revision != sidecar.revision) or mesh == sidecar.tcm_mesh:
        return "has TCM's sidecar"
    expected = (
        ("image", proxy.get("image"), sidecar.image),
        ("mesh", mesh, sidecar.mesh),
        ("cluster", said.get(_CLUSTER_VARIABLE, sidecar.cluster), sidecar.cluster),
        ("revision", revision or (sidecar.revision or "default"), sidecar.revision or "default"),
    )
    differs = [f"{what} {plain(str(is_), 120)} instead of {shall}" for what, is_, shall in expected if is_ != shall]
    return f"has another sidecar: {', '.join(differs)}" if differs else ""
