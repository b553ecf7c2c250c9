"""What istioctl 1.31 is told: the current release.

Where it differs from what one might expect, and from 1.18:

- a member is `profile: remote`, which now is the control plane's own chart without the control plane: it makes the
  Service `istiod`, with the revision in its name, and an EndpointSlice on the primary's east-west gateway;
- that istiod serves other clusters is `values.global.externalIstiod`, which sets `EXTERNAL_ISTIOD`;
- the webhook's path tells istiod which cluster and network a pod is in; without it sidecars of a member would take
  themselves for the primary's;
- a list of gateways takes the place of the profile's; switching one off by name that the file does not have is still
  needed where it has none;
- a gateway's labels are `label`; `labels` is an unknown field;
- an autoscaler cannot be left out for one gateway alone: a fixed number of pods is one with equal ends;
- no IstioOperator is kept in the cluster any more; what is installed is known by its labels alone.

Facts: manifests/profiles/{default,remote}.yaml, manifests/charts/istio-control/istio-discovery,
manifests/charts/gateways/istio-ingress and operator/pkg/{apis,render} of istio.io/istio at 1.31.0.
"""

from __future__ import annotations

from typing import Final

from shifter.core.documents.mesh import Istiod, Member, Mesh, Primary
from shifter.core.documents.mesh_gateways import SYSTEM_NAMESPACE
from shifter.mesh.operators.gateways import east_west, ingress, resources_of
from shifter.mesh.operators.putting import Json, by_name, filled, together

_API: Final = "install.istio.io/v1alpha1"
_NETWORKING: Final = "networking.istio.io/v1"
_USUAL_GATEWAY: Final = "istio-ingressgateway"
_ISTIOD_PODS: Final = 2


def primary(mesh: Mesh) -> Json:
    """Return the primary's IstioOperator."""
    cluster = mesh.spec.primary
    gateways = _ingress_gateways(cluster)
    if cluster.east_west is not None:
        gateways.append(east_west(cluster.east_west, mesh.spec.network))
    values = {
        "global": {**_global(mesh, cluster.cluster), "externalIstiod": True},
        "pilot": _istiod(cluster.istiod),
    }
    return _operator(mesh, "default", gateways, values)


def member(mesh: Mesh, cluster: Member, istiod_address: str) -> Json:
    """Return a member's IstioOperator; `istiod_address` is that of the primary's east-west gateway."""
    values = {
        "global": {**_global(mesh, cluster.cluster), "remotePilotAddress": istiod_address},
        "istiodRemote": {"injectionPath": f"/inject/cluster/{cluster.cluster}/net/{mesh.spec.network}"},
    }
    return _operator(mesh, "remote", _ingress_gateways(cluster), values)


def exposing(mesh: Mesh) -> tuple[Json, ...]:
    """Return the Gateway and the VirtualService by which the east-west gateway lets through to istiod.

    Istio's samples/multicluster/expose-istiod.yaml, for this mesh's revision.
    """
    revision = "" if mesh.spec.revision is None else f"-{mesh.spec.revision}"
    host = f"istiod{revision}.{SYSTEM_NAMESPACE}.svc.cluster.local"
    passing = {"protocol": "TLS"}
    servers = [
        {"port": {"name": name, "number": number, **passing}, "tls": {"mode": "PASSTHROUGH"}, "hosts": ["*"]}
        for name, number in (("tls-istiod", 15012), ("tls-istiodwebhook", 15017))
    ]
    routes = [
        {
            "match": [{"port": port, "sniHosts": ["*"]}],
            "route": [{"destination": {"host": host, "port": {"number": number}}}],
        }
        for port, number in ((15012, 15012), (15017, 443))
    ]
    gateway = {"selector": {"istio": "eastwestgateway"}, "servers": servers}
    service = {"hosts": ["*"], "gateways": ["istiod-gateway"], "tls": routes}
    return (
        _configuration("Gateway", "istiod-gateway", gateway),
        _configuration("VirtualService", "istiod-vs", service),
    )


def _configuration(kind: str, name: str, spec: Json) -> Json:
    metadata = {"name": name, "namespace": SYSTEM_NAMESPACE}
    return {"apiVersion": _NETWORKING, "kind": kind, "metadata": metadata, "spec": spec}


def _operator(mesh: Mesh, profile: str, gateways: list[Json], values: Json) -> Json:
    spec = mesh.spec
    body = filled(
        profile=profile,
        hub=spec.images.hub,
        tag=spec.images.tag,
        revision=spec.revision,
        meshConfig=by_name(spec.mesh_config),
        components={"ingressGateways": gateways},
        values=together(values, spec.values),
    )
    return {"apiVersion": _API, "kind": "IstioOperator", "spec": body}


def _global(mesh: Mesh, cluster: str) -> Json:
    return filled(
        meshID=mesh.spec.mesh_id,
        multiCluster={"clusterName": cluster},
        network=mesh.spec.network,
        imagePullSecrets=list(mesh.spec.images.pull_secrets),
        defaultPodDisruptionBudget={"enabled": mesh.spec.pod_disruption_budget},
    )


def _istiod(istiod: Istiod) -> Json:
    if istiod.autoscaling is None:
        pods: Json = {"autoscaleEnabled": False, "replicaCount": istiod.replicas or _ISTIOD_PODS}
    else:
        scaling = istiod.autoscaling
        pods = {"autoscaleEnabled": True, "autoscaleMin": scaling.min, "autoscaleMax": scaling.max}
        pods["cpu"] = {"targetAverageUtilization": scaling.cpu_percent}
    return {**pods, **filled(resources=resources_of(istiod.resources))}


def _ingress_gateways(cluster: Primary | Member) -> list[Json]:
    """Return the file's gateways, and the one that the profile would bring unasked, switched off."""
    found = [ingress(each) for each in cluster.gateways]
    if all(each.name != _USUAL_GATEWAY for each in cluster.gateways):
        found.insert(0, {"name": _USUAL_GATEWAY, "enabled": False})
    return found
