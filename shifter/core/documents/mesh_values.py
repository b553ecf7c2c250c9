"""The part of a mesh file that Istio's charts read: passed through, but for what shifter itself says there.

Every key of `OWNED` has a place of its own in the file. Were it said twice, one of the two would silently lose, and
which one depends on how a release of istioctl merges; `gateways` would even bring a public gateway that nobody asked
for. So those are refused where they stand, with what to write instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

OWNED: Final[Mapping[tuple[str, ...], str]] = {
    ("profile",): "shifter chooses the profile: default in the primary, remote in members",
    ("hub",): "write it as images.hub",
    ("tag",): "write it as images.tag",
    ("revision",): "write it as revision beside meshID",
    ("revisionTags",): "shifter installs one control plane and moves no tags",
    ("defaultRevision",): "shifter installs one control plane and moves no tags",
    ("ownerName",): "istioctl writes it",
    ("meshConfig",): "write it as meshConfig beside values",
    ("gateways",): "write gateways in the cluster where they run: here they would be changed in all, or come unasked",
    ("istiodRemote",): "follows from primary and members",
    ("global", "hub"): "write it as images.hub",
    ("global", "tag"): "write it as images.tag",
    ("global", "imagePullSecrets"): "write it as images.pullSecrets",
    ("global", "istioNamespace"): "the control plane is always in istio-system",
    ("global", "meshID"): "write it as meshID",
    ("global", "network"): "write it as network",
    ("global", "multiCluster"): "follows from cluster, of primary and members",
    ("global", "remotePilotAddress"): "is the address that eastWest's CLB gets",
    ("global", "externalIstiod"): "is set where the release needs it",
    ("global", "configCluster"): "configuration is the primary's",
    ("global", "omitSidecarInjectorConfigMap"): "follows from primary and members",
    ("global", "operatorManageWebhooks"): "istiod writes its own certificate into the webhooks",
    ("global", "defaultPodDisruptionBudget"): "write it as podDisruptionBudget",
    ("global", "platform"): "shifter is for TKE",
    ("pilot", "enabled"): "follows from primary and members",
    ("pilot", "hub"): "write it as images.hub",
    ("pilot", "tag"): "write it as images.tag",
    ("pilot", "configMap"): "follows from primary and members",
    ("pilot", "autoscaleEnabled"): "write it as primary.istiod.autoscaling",
    ("pilot", "autoscaleMin"): "write it as primary.istiod.autoscaling.min",
    ("pilot", "autoscaleMax"): "write it as primary.istiod.autoscaling.max",
    ("pilot", "cpu"): "write it as primary.istiod.autoscaling.cpuPercent",
    ("pilot", "replicaCount"): "write it as primary.istiod.replicas",
    ("pilot", "resources"): "write it as primary.istiod.resources",
    ("pilot", "env", "EXTERNAL_ISTIOD"): "is set where the release needs it",
}
"""What shifter says itself under `values`, and where a file says it."""


def _own_nothing_of_ours(values: dict[str, Any]) -> dict[str, Any]:
    """Refuse every key of ours, each at its place, and not only the first."""
    found = [_refusal(path, value, instead) for path, instead in OWNED.items() for value in _at(values, path)]
    if found:
        raise ValidationError.from_exception_data("values", found)
    return values


def _refusal(path: tuple[str, ...], value: object, instead: str) -> InitErrorDetails:
    said = PydanticCustomError("mesh", "shifter says this itself: {instead}", {"instead": instead})
    return InitErrorDetails(type=said, loc=path, input=value)


def _at(values: object, path: tuple[str, ...]) -> tuple[object, ...]:
    """Return what stands at a path, as the only one; nothing if the path leads nowhere."""
    for step in path:
        if not isinstance(values, dict) or step not in values:
            return ()
        values = values[step]
    return (values,)


Passed = dict[str, Any]
"""A mapping of which only Istio knows what it may hold."""

Values = Annotated[Passed, AfterValidator(_own_nothing_of_ours)]
