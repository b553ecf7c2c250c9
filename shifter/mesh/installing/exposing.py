"""The way through the east-west gateway to istiod, which members take: two objects of Istio's configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import yaml

from shifter.core.documents.mesh_gateways import SYSTEM_NAMESPACE
from shifter.mesh.installing.site import Site
from shifter.mesh.installing.steps import Look
from shifter.ports.kube import Body, Kind

_GROUP: Final = "networking.istio.io"
_PLURALS: Final = {"Gateway": "gateways", "VirtualService": "virtualservices"}


@dataclass(frozen=True, slots=True)
class Exposed:
    """The east-west gateway leads to istiod. `documents` is the YAML text of what makes it do so."""

    site: Site
    documents: str
    title: str = "istiod exposed to members"

    @property
    def cluster(self) -> str:
        """As a step says."""
        return self.site.name

    def look(self) -> Look:
        """Needed if one of the two objects is not there, or says something else."""
        missing = [
            kind.name
            for kind, body in self._objects()
            if (self.site.find(kind, SYSTEM_NAMESPACE, body["metadata"]["name"]) or {}).get("spec") != body["spec"]
        ]
        return Look(needed=bool(missing), says=f"apply {' and '.join(missing)}" if missing else "is exposed")

    def act(self) -> None:
        """Apply both."""
        for kind, body in self._objects():
            self.site.apply(kind, SYSTEM_NAMESPACE, body)

    def _objects(self) -> Sequence[tuple[Kind, Body]]:
        return [(_kind_of(body), body) for body in yaml.safe_load_all(self.documents)]


def _kind_of(body: Body) -> Kind:
    version = str(body["apiVersion"]).removeprefix(f"{_GROUP}/")
    return Kind(_GROUP, version, _PLURALS[body["kind"]], body["kind"])
