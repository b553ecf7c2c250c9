"""What shifter installed in a cluster, kept in that cluster: the IstioOperator, and how far its installation came.

A cluster does not say by itself which file it was made from, and after a kill nobody else remembers that istioctl was
at work. It is written before istioctl is called and again after it. It says nothing of whether what was installed still
runs: that is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shifter.core.documents.mesh_gateways import SYSTEM_NAMESPACE
from shifter.mesh.installing.site import Site
from shifter.ports.mesh import CONFIG_MAPS

NAME: Final = "shifter-mesh"
_OPERATOR: Final = "operator.yaml"


class Stage(StrEnum):
    """How far an installation came: begun without gateways, done without them, begun with all, done with all."""

    BEGUN_BARE = "begun without gateways"
    BARE = "without gateways"
    BEGUN = "begun"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Installed:
    """What is kept. `operator` is the last one that was given to istioctl, `release` is istioctl's."""

    operator: str
    release: str
    stage: Stage


def read(site: Site) -> Installed | None:
    """Return what shifter installed in a cluster; None if it installed nothing, or nobody can tell."""
    found = site.find(CONFIG_MAPS, SYSTEM_NAMESPACE, NAME)
    match (found or {}).get("data"):
        case {"operator.yaml": str(operator), "release": str(release), "stage": str(stage)} if stage in set(Stage):
            return Installed(operator, release, Stage(stage))
        case _:
            return None


def write(site: Site, installed: Installed) -> None:
    """Keep what was, or is being, installed."""
    said = {_OPERATOR: installed.operator, "release": installed.release, "stage": installed.stage.value}
    site.apply(CONFIG_MAPS, SYSTEM_NAMESPACE, {"metadata": {"name": NAME, "namespace": SYSTEM_NAMESPACE}, "data": said})
