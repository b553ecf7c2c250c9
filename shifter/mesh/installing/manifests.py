"""What an IstioOperator amounts to, as istioctl renders it: asked before istioctl is let at a cluster.

istioctl does not refuse what nobody wants: an empty file is a public gateway, a program of Istio's own developers
installs their images. So what it would install is looked at first, and refused by what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from shifter.core.documents.mesh import ClusterOfMesh, Mesh
from shifter.core.documents.mesh_gateways import EXISTING_CLB, INTERNAL_SUBNET, SYSTEM_NAMESPACE
from shifter.core.text import some
from shifter.errors import RefusedError
from shifter.mesh.installing.steps import InstallError
from shifter.ports.istioctl import Istioctl
from shifter.ports.kube import Body

_MOST: Final = 3
_BETWEEN: Final = re.compile(r"^---\s*$", re.MULTILINE)
_DEFINITION: Final = re.compile(r"^kind: CustomResourceDefinition\s*$", re.MULTILINE)
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where it is there: a manifest is most of a megabyte."""


@dataclass(frozen=True, slots=True)
class Manifests:
    """What istioctl renders, by the IstioOperator; each is rendered once."""

    istioctl: Istioctl
    _known: dict[str, Sequence[Body]] = field(default_factory=dict)

    def of(self, operator: str) -> Sequence[Body]:
        """Return the objects of an IstioOperator, without the definitions of Istio's kinds.

        Raises:
            IstioctlError: istioctl does not render it.
            InstallError: what it printed is no manifest.
        """
        if operator not in self._known:
            self._known[operator] = tuple(_objects(self.istioctl.manifest(operator)))
        return self._known[operator]


def _objects(manifest: str) -> Iterator[Body]:
    for document in _BETWEEN.split(manifest):
        if _DEFINITION.search(document):
            continue
        try:
            body = yaml.load(document, Loader=_LOADER)  # noqa: S506 - a safe one, written in C
        except yaml.YAMLError as error:
            raise InstallError("what istioctl rendered is no YAML") from error
        match body:
            case None:
                continue
            case {"kind": str(), "metadata": {"name": str()}}:
                yield body
            case _:
                raise InstallError("what istioctl rendered holds something that is no object of Kubernetes")


def refuse_unwanted(mesh: Mesh, cluster: ClusterOfMesh, objects: Sequence[Body]) -> None:
    """Refuse what no file can have asked for: other images, and Services that everybody can reach.

    Raises:
        RefusedError: istioctl renders such a thing.
    """
    images, release = mesh.spec.images, mesh.spec.version
    strange = sorted(
        {image for body in objects for image in images_of(body) if not _is_from(image, images.hub, images.tag)}
    )
    if strange:
        raise RefusedError(
            f"{cluster.cluster}: this istioctl renders the images {some(strange, _MOST)}, and the file says"
            f" {images.hub} and {images.tag}",
            remedy=f"take Istio's own istioctl {release}; a build of its developers installs their images",
        )
    asked = {
        (each.namespace, each.name) for each in cluster.gateways if each.enabled and _is_public(each.load_balancer)
    }
    public = sorted(
        f"{namespace_of(body)}/{name_of(body)}"
        for body in objects
        if is_public(body) and (namespace_of(body), name_of(body)) not in asked
    )
    if public:
        raise RefusedError(
            f"{cluster.cluster}: istioctl renders the public Service {some(public, _MOST)}, and the file asks for none",
            remedy="look at spec.values, and which istioctl this is: --istioctl",
        )


def _is_from(image: str, hub: str, tag: str) -> bool:
    return image.startswith(f"{hub}/") and image.endswith(f":{tag}")


def _is_public(balancer: Any) -> bool:  # noqa: ANN401 - either model of a CLB
    return balancer is not None and bool(balancer.public)


def is_public(body: Body) -> bool:
    """Say whether TKE would give a Service a CLB that everybody can reach."""
    return (
        body["kind"] == "Service"
        and body["spec"].get("type") == "LoadBalancer"
        and not {EXISTING_CLB, INTERNAL_SUBNET} & annotations_of(body).keys()
    )


def images_of(body: Body) -> Sequence[str]:
    """Return the images of what makes pods; none of anything else."""
    template = (body.get("spec") or {}).get("template") if body["kind"] in {"Deployment", "DaemonSet"} else None
    spec = (template or {}).get("spec") or {}
    return [str(each.get("image")) for part in ("initContainers", "containers") for each in spec.get(part) or ()]


def name_of(body: Body) -> str:
    """Return an object's name."""
    return str(body["metadata"]["name"])


def namespace_of(body: Body) -> str:
    """Return an object's namespace; for kinds that have none it means nothing."""
    return str(body["metadata"].get("namespace") or SYSTEM_NAMESPACE)


def annotations_of(body: Body) -> dict[str, str]:
    """Return an object's annotations."""
    return body["metadata"].get("annotations") or {}


def labels_of(body: Body) -> dict[str, str]:
    """Return an object's labels."""
    return body["metadata"].get("labels") or {}
