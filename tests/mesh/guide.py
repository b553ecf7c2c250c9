"""The mesh of Tencent's migration guide, by its own names, and what is rendered for it at each of the guide's steps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shifter.core.documents.mesh import RELEASE_LINES, Mesh
from shifter.mesh.operators.rendering import exposing_istiod, operator_of_member, operator_of_primary

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = {"1.18": "1.18.5", "1.31": "1.31.0"}
ISTIOD_ADDRESS = "10.0.250.58"

Json = dict[str, Any]


def guide_mesh(version: str, **spec: Any) -> Mesh:  # noqa: ANN401 - JSON
    """The guide's primary with its east-west gateway, and the guide's member with its three gateways."""
    gateways = [
        {"name": "istio-ingressgateway", "loadBalancer": {"public": True}},
        {"name": "istio-ingressgateway-staging", "namespace": "staging", "loadBalancer": {"public": True}},
        {"name": "istio-ingressgateway-intranet", "loadBalancer": {"subnet": "subnet-19exjv5n"}},
    ]
    whole: Json = {
        "version": version,
        "images": {"hub": "docker.io/istio", "tag": version, "pullSecrets": []},
        "meshID": "mesh1",
        "network": "main",
        "primary": {
            "cluster": "cls-dxgdg1rl",
            "context": "tke-primary",
            "eastWest": {"loadBalancer": {"existing": "lb-lujb6a5a"}},
        },
        "members": [{"cluster": "cls-ne1cw84b", "context": "tke-member-1", "gateways": gateways}],
        **spec,
    }
    return mesh_of(whole)


def mesh_of(spec: Json) -> Mesh:
    """A mesh file's value."""
    return Mesh.model_validate_json(json.dumps({"kind": "Mesh", "metadata": {"name": "main"}, "spec": spec}))


def steps() -> Iterator[tuple[str, str, str]]:
    """Yield release line, file and text of everything that the guide has istioctl and kubectl read."""
    for line in RELEASE_LINES:
        mesh = guide_mesh(VERSIONS[line])
        (member,) = mesh.spec.members
        yield line, f"{line}-1-primary-istiod.yaml", operator_of_primary(mesh, bare=True).text
        yield line, f"{line}-2-primary.yaml", operator_of_primary(mesh).text
        yield line, f"{line}-3-expose-istiod.yaml", exposing_istiod(mesh)
        yield line, f"{line}-4-member-bare.yaml", operator_of_member(mesh, member, ISTIOD_ADDRESS, bare=True).text
        yield line, f"{line}-5-member.yaml", operator_of_member(mesh, member, ISTIOD_ADDRESS).text


if __name__ == "__main__":
    for _, name, text in steps():
        (GOLDEN / name).write_text(text, encoding="utf-8")
