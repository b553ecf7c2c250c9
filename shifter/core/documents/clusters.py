"""The part of a fleet file that says where the gateways run: a cluster, a Deployment in it, what scales it.

Optional as a whole: without it nobody asks a cluster, and what the source could carry is known from the balancer's
health checks and the metrics alone.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from shifter.core.documents.schema import Name, StrictModel

OBJECT_NAME: Final = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
"""What Deployments and autoscalers may be called: a DNS subdomain."""

ObjectName = Annotated[str, Field(pattern=OBJECT_NAME)]


class Gateway(StrictModel):
    """The Deployment of the mesh's ingress gateway. `autoscaler` scales it; not given, it is looked for.

    `uid` is the Deployment's own: one of another uid is another cluster's, where the same names mean other things.
    """

    namespace: Name
    deployment: ObjectName
    autoscaler: ObjectName | None = None
    uid: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,64}$")] | None = None


class Cluster(StrictModel):
    """A cluster by a kubeconfig file and a context in it; without a file the one that shifter runs in."""

    kubeconfig_file: Annotated[str, Field(min_length=1)] | None = None
    context: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    gateway: Gateway

    @field_validator("context")
    @classmethod
    def _of_a_file(cls, context: str | None, info: ValidationInfo) -> str | None:
        if context is not None and info.data.get("kubeconfig_file", "") is None:
            said = "contexts are of a kubeconfigFile, and there is none: the cluster that shifter runs in has no others"
            raise PydanticCustomError("context", said)
        return context


class Clusters(StrictModel):
    """The clusters that are asked what runs in them; the target's is asked only if it is given, and told nothing."""

    source: Cluster
    target: Cluster | None = None

    @field_validator("target")
    @classmethod
    def _is_another(cls, target: Cluster | None, info: ValidationInfo) -> Cluster | None:
        source = info.data.get("source")
        if source is None or target is None:
            return target
        if _place(source) == _place(target):
            raise PydanticCustomError("clusters", "both sides' gateways are one and the same Deployment")
        return target


def _place(cluster: Cluster) -> tuple[str | None, ...]:
    gateway = cluster.gateway
    return cluster.kubeconfig_file, cluster.context, gateway.namespace, gateway.deployment
