"""What every key of a mesh file is; a part of `words`, which says what such words are for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shifter.files.wording import Words


def _workload(key: str, what: str, replicas: str) -> Mapping[str, Words]:
    """Return the words of what all Deployments of a mesh have."""
    return {
        f"{key}.resources": Words(f"What {what} asks of its node; what is not said is as Istio's charts have it."),
        f"{key}.resources.requests": Words("What the node must have left."),
        f"{key}.resources.requests.cpu": Words("Processor, a text.", ("500m", "2")),
        f"{key}.resources.requests.memory": Words("Memory.", ("2Gi",)),
        f"{key}.resources.limits": Words("What it may take at most."),
        f"{key}.resources.limits.cpu": Words("Processor, a text.", ("2000m",)),
        f"{key}.resources.limits.memory": Words("Memory.", ("4Gi",)),
        f"{key}.replicas": Words(f"So many pods, always. {replicas}", (2,)),
        f"{key}.autoscaling": Words("A HorizontalPodAutoscaler instead of a fixed number."),
        f"{key}.autoscaling.min": Words("So many pods at least.", (2,)),
        f"{key}.autoscaling.max": Words("So many pods at most.", (5,)),
        f"{key}.autoscaling.cpuPercent": Words("The processor used, in percent of what is requested.", (80,)),
    }


def _cluster(key: str) -> Mapping[str, Words]:
    """Return the words of what every cluster has."""
    gateway = f"{key}.gateways[]"
    return {
        f"{key}.cluster": Words("The TKE cluster's id, which is its name in the mesh.", ("cls-dxgdg1rl",)),
        f"{key}.context": Words("The kubeconfig's context that reaches it; never the current one.", ("tke-primary",)),
        f"{key}.kubeconfigFile": Words(
            "The kubeconfig; without it the one that kubectl takes.", ("/etc/shifter/clusters/primary.yaml",)
        ),
        f"{key}.uid": Words(
            "The uid of its namespace kube-system: a cluster with another one is refused, whatever the context says.",
            ("7c1d0c9e-3f1a-4a53-9d0e-2a6b8f5f1c11",),
        ),
        f"{key}.gateways": Words("The ingress gateways of this cluster; no other one appears."),
        f"{gateway}.name": Words("Its name, once per cluster.", ("istio-ingressgateway",)),
        f"{gateway}.namespace": Words("Its namespace, made if it is missing.", ("staging",)),
        f"{gateway}.enabled": Words("`false`: it is not there, and is removed if it was.", (False,)),
        f"{gateway}.loadBalancer": Words("Its CLB. Say this or `service`, and one of the three keys."),
        f"{gateway}.loadBalancer.public": Words("A public CLB that TKE makes.", (True,)),
        f"{gateway}.loadBalancer.subnet": Words("An internal CLB that TKE makes in this subnet.", ("subnet-19exjv5n",)),
        f"{gateway}.loadBalancer.existing": Words(
            "A CLB of your own, in the cluster's VPC, for this gateway alone.", ("lb-1a2b3c4d",)
        ),
        f"{gateway}.service": Words("The Service's type if it has no CLB of its own."),
        f"{gateway}.externalTrafficPolicy": Words("`Local` keeps the clients' addresses; without it as Istio has it."),
        f"{gateway}.annotations": Words(
            "More annotations of its Service; which CLB it has is said above.",
            ({"service.cloud.tencent.com/direct-access": "true"},),
        ),
        f"{gateway}.labels": Words(
            "Labels of its pods besides `app` (its name) and `istio` (its name without `istio-`).",
            ({"istio": "ingressgateway"},),
        ),
        f"{gateway}.ports": Words("The Service's ports besides 15021; without it 80 to 8080 and 443 to 8443."),
        f"{gateway}.ports[].name": Words("The port's name, which says the protocol.", ("https",)),
        f"{gateway}.ports[].port": Words("The Service's port, which is the CLB's.", (443,)),
        f"{gateway}.ports[].targetPort": Words("The pods' port, above 1023.", (8443,)),
        f"{gateway}.ports[].protocol": Words("UDP is for HTTP/3."),
        f"{gateway}.ports[].nodePort": Words(
            "The nodes' port, for CLBs whose real servers are kept by hand; without it Kubernetes chooses.", (31443,)
        ),
        **_workload(gateway, "a pod of it", "Without this and `autoscaling` it has 2 to 5 at 80 % processor."),
        f"{key}.inject": Words("Namespaces of this cluster whose pods get sidecars.", (["shop"],)),
    }


MESH_WORDS: Final[Mapping[str, Words]] = {
    "metadata.name": Words("What people call this mesh.", ("main",)),
    "spec": Words("The Istio that takes over from TCM."),
    "spec.version": Words("Istio's version; best the one that TCM runs.", ("1.18.5",)),
    "spec.images": Words("Where the images come from. All three keys must be written."),
    "spec.images.hub": Words("The registry and the folder in it.", ("docker.io/istio",)),
    "spec.images.tag": Words("The images' tag.", ("1.18.5",)),
    "spec.images.pullSecrets": Words("The Secrets for pulling them; `[]` for none.", (["registry"],)),
    "spec.tcm": Words("What is known of the mesh that goes away."),
    "spec.tcm.version": Words("The version that TCM runs.", ("1.18.5",)),
    "spec.tcm.revision": Words("Its revision; without it its version with dashes.", ("1-18-5",)),
    "spec.tcm.meshID": Words("Its id.", ("mesh-mn8gnn1g",)),
    "spec.meshID": Words("The id of the new mesh, the same in all its clusters; not TCM's.", ("mesh1",)),
    "spec.network": Words("The network of all its clusters, whose pods reach each other directly.", ("main",)),
    "spec.revision": Words(
        "The control plane's revision, never TCM's. Without it namespaces say `istio-injection=enabled`.", ("next",)
    ),
    "spec.certificates": Words("The mesh's own CA. Without it istiod signs with a root that it makes for itself."),
    "spec.certificates.secret": Words("The Secret in istio-system of the primary."),
    "spec.podDisruptionBudget": Words(
        "Whether of istiod, and of each gateway, one pod must stay while nodes are drained.", (True,)
    ),
    "spec.meshConfig": Words("Istio's MeshConfig, passed through.", ({"accessLogFile": "/dev/stdout"},)),
    "spec.values": Words(
        "Values of Istio's charts, passed through to all clusters, but for those that have a place in this file.",
        ({"global": {"proxy": {"logLevel": "warning"}}},),
    ),
    "spec.primary": Words("The cluster in which istiod runs."),
    "spec.primary.istiod": Words("The control plane's Deployment."),
    **_workload("spec.primary.istiod", "a pod of it", "Without this and `autoscaling` it has 2."),
    "spec.primary.eastWest": Words(
        "The gateway by which members reach istiod, istio-eastwestgateway. Needed as soon as there are members."
    ),
    "spec.primary.eastWest.loadBalancer": Words("Its CLB, always an internal one. Say one of the two keys."),
    "spec.primary.eastWest.loadBalancer.existing": Words("An internal CLB of your own.", ("lb-lujb6a5a",)),
    "spec.primary.eastWest.loadBalancer.subnet": Words("TKE makes one in this subnet.", ("subnet-oz2k2du5",)),
    "spec.primary.eastWest.annotations": Words(
        "More annotations of its Service.", ({"service.cloud.tencent.com/direct-access": "true"},)
    ),
    **_workload(
        "spec.primary.eastWest", "a pod of it", "Without this and `autoscaling` it has 2 to 5 at 80 % processor."
    ),
    **_cluster("spec.primary"),
    "spec.members": Words("The clusters that istiod serves from the primary."),
    **_cluster("spec.members[]"),
    "spec.members[].server": Words(
        "Its API's address as istiod reaches it; without it the kubeconfig's.", ("https://10.0.3.4:443",)
    ),
}
