"""Which objects stay behind, and why: each is told in the manifest, so that nobody looks for it in vain.

The most dangerous one is not a person's at all. Until 1.17 every installation of Istio puts EnvoyFilters of its own
into the root namespace, and until 1.20 one whose metrics were changed in its settings: `stats-filter-1.18`,
`tcp-stats-filter-1.18`, in early releases `metadata-exchange-...`. They make the metrics. The new mesh brings its own;
with the old mesh's beside them every request would be counted twice, or the filter of another release would be put
into an Envoy that cannot load it. They are known by their names: istioctl gives them no label of an installer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from shifter.mesh.configuration.cleaning import mapping, sequence
from shifter.mesh.configuration.kinds import ENVOY_FILTER, SECRET, ConfigKind

_INSTALLED_FILTER: Final = re.compile(
    r"(?:(?:tcp-)?(?:stats-filter|metadata-exchange|stackdriver-filter)|stackdriver-sampling-accesslog-filter)"
    r"-\d+\.\d+(?:-.+)?"
)
_INSTALLERS: Final = ("install.operator.istio.io/owning-resource", "operator.istio.io/component")
"""Labels that istioctl and the operator put on everything they install, and on nothing else."""


def staying_behind(kind: ConfigKind, body: Mapping[str, Any], *, secrets: bool) -> str:
    """Return why an object does not go along; empty if it does.

    Args:
        kind: what it is.
        body: as the server sent it.
        secrets: whether somebody asked for Secrets to be written.
    """
    metadata = mapping(body.get("metadata"))
    if kind is SECRET and not secrets:
        return "a Secret, and nobody asked for Secrets to be written"
    if metadata.get("deletionTimestamp") is not None:
        return "is being deleted"
    if any(label in mapping(metadata.get("labels")) for label in _INSTALLERS):
        return "belongs to the old mesh's own installation; the new one brings its own"
    if kind is ENVOY_FILTER and _INSTALLED_FILTER.fullmatch(str(metadata.get("name"))):
        return "makes the old mesh's metrics; the new one brings its own, and with both everything is counted twice"
    return ""


def owner_of(body: Mapping[str, Any]) -> str:
    """Return which object made this one, as `Kind/name`; empty if a person did.

    The controller if there is one, for only it writes the object anew; else the first owner.
    """
    owners = [mapping(owner) for owner in sequence(mapping(body.get("metadata")).get("ownerReferences"))]
    first = next((owner for owner in owners if owner.get("controller") is True), owners[0] if owners else None)
    return f"{first.get('kind')}/{first.get('name')}" if first else ""
