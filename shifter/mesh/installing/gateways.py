"""Gateways once istioctl has installed them: they run, and the cloud has given them the balancer that the file says."""

from __future__ import annotations

from dataclasses import dataclass

from shifter.errors import RefusedError
from shifter.mesh.installing.control_plane import rollout, waiting_pods
from shifter.mesh.installing.living import BALANCER
from shifter.mesh.installing.site import Site
from shifter.mesh.installing.steps import EarlierError, Look
from shifter.ports.mesh import SERVICES


@dataclass(frozen=True, slots=True)
class GatewayReady:
    """A gateway's pods are ready, and its Service has its address and its CLB.

    `balanced`: it has a CLB at all. `existing` is the one that it must be; empty for any.
    """

    site: Site
    namespace: str
    name: str
    balanced: bool
    existing: str = ""

    @property
    def cluster(self) -> str:
        """As a step says."""
        return self.site.name

    @property
    def title(self) -> str:
        """As a step says."""
        return f"gateway {self.namespace}/{self.name}"

    def look(self) -> Look:
        """Needed as long as something is missing."""
        missing = self._missing()
        if missing:
            return Look(needed=True, says=missing)
        return Look(
            needed=False, says=f"at {address_of(self.site, self.namespace, self.name)}" if self.balanced else "is ready"
        )

    def act(self) -> None:
        """Wait."""
        patience = self.site.patience
        if missing := patience.until(self._missing, patience.address_seconds):
            events = self.site.events_of(self.namespace, "Service", self.name) or waiting_pods(
                self.site, self.namespace
            )
            raise self.site.not_ready(missing, events, patience.address_seconds)

    def _missing(self) -> str:
        if missing := rollout(self.site, self.namespace, self.name):
            return missing
        if not self.balanced:
            return ""
        found = self.site.find(SERVICES, self.namespace, self.name)
        if found is None:
            return f"there is no Service {self.namespace}/{self.name}"
        if not _address(found):
            return f"Service {self.namespace}/{self.name} has no address"
        balancer = (found["metadata"].get("annotations") or {}).get(BALANCER, "")
        if not balancer:
            return f"Service {self.namespace}/{self.name} does not say which CLB it has"
        if self.existing and balancer != self.existing:
            raise RefusedError(
                f"{self.site.name}: Service {self.namespace}/{self.name} has the CLB {balancer},"
                f" and the file says {self.existing}; which CLB a Service has cannot be changed in place",
                remedy="look why the cloud gave it another one: kubectl describe service",
            )
        return ""


def address_of(site: Site, namespace: str, name: str) -> str:
    """Return the address that the cloud gave to a Service.

    Raises:
        EarlierError: it has none yet.
    """
    found = site.find(SERVICES, namespace, name)
    if found is None or not (address := _address(found)):
        raise EarlierError(f"Service {namespace}/{name} of {site.name} has no address yet")
    return address


def _address(service: dict[str, object]) -> str:
    match service.get("status"):
        case {"loadBalancer": {"ingress": [{"ip": str(address)}, *_]}}:
            return address
        case {"loadBalancer": {"ingress": [{"hostname": str(address)}, *_]}}:
            return address
        case _:
            return ""
