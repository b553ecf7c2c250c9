"""A gateway and its pods in an IstioOperator: what is Kubernetes' own there, which every release hands on as it is.

Replicas, resources, ports, labels and annotations mean the same to all of them, and each golden file is checked by the
istioctl of its release. What a release takes in its own way (profile, values, which gateways there are unasked) does
not belong here.
"""

from __future__ import annotations

from typing import Final

from shifter.core.documents.mesh import autoscaling_of
from shifter.core.documents.mesh_gateways import (
    EAST_WEST,
    SYSTEM_NAMESPACE,
    Autoscaling,
    EastWest,
    GatewayPort,
    IngressGateway,
    Resources,
    Workload,
)
from shifter.mesh.operators.putting import Json, by_name, filled

_PODS: Final = Autoscaling(min=2, max=5)


def ingress(gateway: IngressGateway) -> Json:
    """Return an ingress gateway; of one that is switched off only where it would be."""
    place = {"name": gateway.name, "namespace": gateway.namespace, "enabled": gateway.enabled}
    if not gateway.enabled:
        return place
    balancer = {} if gateway.load_balancer is None else gateway.load_balancer.annotations()
    service = filled(
        type=gateway.service,
        externalTrafficPolicy=gateway.external_traffic_policy,
        ports=_ports(gateway.ports),
    )
    settings = filled(
        **_pods(gateway),
        serviceAnnotations=by_name({**gateway.annotations, **balancer}),
        service=service,
    )
    return {**place, "label": by_name(gateway.selector()), "k8s": settings}


def east_west(gateway: EastWest, network: str) -> Json:
    """Return the gateway by which members reach istiod; `network` is the mesh's."""
    numbers = {"status-port": 15021, "tls": 15443, "tls-istiod": 15012, "tls-webhook": 15017}
    ports = [{"name": name, "port": number, "targetPort": number} for name, number in numbers.items()]
    labels = {"app": EAST_WEST, "istio": "eastwestgateway", "topology.istio.io/network": network}
    settings = {
        "env": [{"name": "ISTIO_META_REQUESTED_NETWORK_VIEW", "value": network}],
        **_pods(gateway),
        "serviceAnnotations": by_name({**gateway.annotations, **gateway.load_balancer.annotations()}),
        "service": {"ports": ports},
    }
    return {"name": EAST_WEST, "namespace": SYSTEM_NAMESPACE, "enabled": True, "label": labels, "k8s": settings}


def _pods(workload: Workload) -> Json:
    scaling = autoscaling_of(workload, _PODS)
    hpa: Json = {"minReplicas": scaling.min, "maxReplicas": scaling.max}
    target = {"type": "Utilization", "averageUtilization": scaling.cpu_percent}
    hpa["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    return filled(hpaSpec=hpa, resources=resources_of(workload.resources))


def resources_of(resources: Resources) -> Json:
    """Return what a container asks for and may have; empty where the file says nothing."""
    return filled(
        requests=filled(cpu=resources.requests.cpu, memory=resources.requests.memory),
        limits=filled(cpu=resources.limits.cpu, memory=resources.limits.memory),
    )


def _ports(ports: tuple[GatewayPort, ...]) -> list[Json]:
    """Return the ports of a Service, that of the pods' status first; none if Istio's own are wanted."""
    if not ports:
        return []
    status = {"name": "status-port", "port": 15021, "targetPort": 15021, "protocol": "TCP"}
    named = (
        filled(
            name=each.name,
            port=each.port,
            targetPort=each.target_port,
            protocol=each.protocol,
            nodePort=each.node_port,
        )
        for each in ports
    )
    return [status, *named]
