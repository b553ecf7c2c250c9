"""What the installer needs of a cluster beyond what the service needs: other people's kinds, and whole configurations.

Who configures a cluster says what he wants of an object and leaves the rest of it to others, so he applies (the server
merges, and refuses where two want different things); and he asks first what would come of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from shifter.ports.kube import Body, Kind, KubeApi

NAMESPACES: Final = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
NODES: Final = Kind("", "v1", "nodes", "Node", namespaced=False)
PODS: Final = Kind("", "v1", "pods", "Pod")
SERVICES: Final = Kind("", "v1", "services", "Service")
SECRETS: Final = Kind("", "v1", "secrets", "Secret")
CONFIG_MAPS: Final = Kind("", "v1", "configmaps", "ConfigMap")
CORE_EVENTS: Final = Kind("", "v1", "events", "Event")
ENDPOINT_SLICES: Final = Kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
SERVICE_ACCOUNTS: Final = Kind("", "v1", "serviceaccounts", "ServiceAccount")
MUTATING_WEBHOOKS: Final = Kind(
    *("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration"),
    namespaced=False,
)
VALIDATING_WEBHOOKS: Final = Kind(
    *("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration"),
    namespaced=False,
)


class MeshApi(KubeApi, Protocol):
    """An API server, as the installer sees it. Each call is bounded in time and fails with `KubeError`."""

    def document(self, path: str) -> Body:
        """Return what the server says of itself under a path that is no object's, such as `/version`."""

    def pages(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None) -> Iterator[Sequence[Body]]:
        """Yield all objects of a kind, a page at a time, so that no more than one page is in memory.

        Args:
            kind: of which kind.
            namespace: where; empty for all namespaces.
            labels: only those that have these labels.
        """

    def apply(
        self, kind: Kind, namespace: str, body: Body, *, manager: str, force: bool = False, dry_run: bool = False
    ) -> Body:
        """Let the server have what is said of an object, and return it as it then is; what was said before goes.

        Args:
            kind: of which kind.
            namespace: where.
            body: what `manager` wants of it, and nothing else.
            manager: in whose name; what others said of the object stays.
            force: take what another manager wants otherwise; else that is a conflict.
            dry_run: change nothing, and return what would be. Admission is asked all the same.
        """

    def rehearse(self, kind: Kind, namespace: str, body: Body) -> Body:
        """Return what would become of an object if it was created now, admission webhooks included; creates nothing."""
