"""What makes a cluster a member: its istio-system, and the Secret by which the primary's istiod reads it.

istiod writes its root certificate into a member's namespaces, and its own certificate into the member's webhook, only
if the member's istio-system names the primary in an annotation. Without it pods get no sidecar, or one that trusts
nobody, and nothing says why.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from shifter.core.documents.mesh_gateways import SYSTEM_NAMESPACE
from shifter.core.text import plain
from shifter.errors import RefusedError
from shifter.mesh.installing.control_plane import injection
from shifter.mesh.installing.site import Site
from shifter.mesh.installing.steps import InstallError, Look
from shifter.ports.istioctl import Istioctl
from shifter.ports.kube import Body
from shifter.ports.mesh import CONFIG_MAPS, NAMESPACES, SECRETS

ROOT: Final = "istio-ca-root-cert"
_TOKEN_SECRET: Final = "istio-reader-service-account-istio-remote-secret-token"  # noqa: S105 - an object's name
"""In which istioctl keeps the credential of a member's reader, in the member."""


@dataclass(frozen=True, slots=True)
class NamespaceReady:
    """A namespace exists and says what it must."""

    site: Site
    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def cluster(self) -> str:
        """As a step says."""
        return self.site.name

    @property
    def title(self) -> str:
        """As a step says."""
        return f"namespace {self.name}"

    def look(self) -> Look:
        """Needed if there is none, or it does not say all of that."""
        found = self.site.find(NAMESPACES, "", self.name)
        if found is None:
            return Look(needed=True, says="create it")
        metadata = found["metadata"]
        if metadata.get("deletionTimestamp"):
            raise RefusedError(
                f"{self.site.name}: namespace {self.name} is being deleted",
                remedy="wait until it is gone, or find out what keeps it: kubectl describe namespace",
            )
        missing = _missing(self.labels, metadata.get("labels")) + _missing(
            self.annotations, metadata.get("annotations")
        )
        return Look(needed=bool(missing), says=f"say {', '.join(missing)}" if missing else "is there")

    def act(self) -> None:
        """Create it, or add what it does not say."""
        metadata = {"name": self.name, "labels": dict(self.labels), "annotations": dict(self.annotations)}
        self.site.apply(NAMESPACES, "", {"metadata": {key: said for key, said in metadata.items() if said}})


def _missing(wanted: Mapping[str, str], found: Mapping[str, str] | None) -> list[str]:
    return [f"{key}={value}" for key, value in wanted.items() if (found or {}).get(key) != value]


@dataclass(frozen=True, slots=True)
class RemoteSecret:
    """The primary's istiod may read a member: a Secret in the primary holds how.

    It is made by istioctl in the member and applied to the primary without touching a disk. `server` is the address of
    the member's API as istiod reaches it; empty: the kubeconfig's.
    """

    primary: Site
    member: Site
    istioctl: Istioctl
    server: str

    @property
    def cluster(self) -> str:
        """As a step says."""
        return self.primary.name

    @property
    def title(self) -> str:
        """As a step says."""
        return f"remote secret of {self.member.name}"

    @property
    def _name(self) -> str:
        return f"istio-remote-secret-{self.member.name}"

    def look(self) -> Look:
        """Needed if there is none, or one that leads elsewhere, or whose credential is no longer the member's."""
        found = self.primary.find(SECRETS, SYSTEM_NAMESPACE, self._name)
        if found is None or not (kept := (found.get("data") or {}).get(self.member.name)):
            return Look(needed=True, says="istioctl create-remote-secret")
        server, token = _credential(kept)
        if self.server and server != self.server:
            return Look(needed=True, says=f"make it anew: it leads to {plain(server) or 'nowhere'}")
        if not token or token != self._token():
            return Look(needed=True, says=f"make it anew: its credential is not {self.member.name}'s any more")
        return Look(needed=False, says="is there")

    def _token(self) -> str:
        """Return the credential that the member has for istiod now. It is compared and never shown."""
        found = self.member.find(SECRETS, SYSTEM_NAMESPACE, _TOKEN_SECRET)
        return _decoded(((found or {}).get("data") or {}).get("token", "")).decode("utf-8", "replace")

    def act(self) -> None:
        """Make it and apply it."""
        text = self.istioctl.remote_secret(self.member.reach, name=self.member.name, server=self.server)
        secret = _secret_of(text, self.member.name)
        metadata = secret["metadata"]
        data = {key: base64.b64encode(str(said).encode()).decode() for key, said in secret["stringData"].items()}
        body = {
            "metadata": {
                "name": self._name,
                "namespace": SYSTEM_NAMESPACE,
                "labels": metadata.get("labels") or {},
                "annotations": metadata.get("annotations") or {},
            },
            "data": data,
            "type": "Opaque",
        }
        # Whoever made one by hand made it of the same account; by its name and label it is nothing else.
        self.primary.apply(SECRETS, SYSTEM_NAMESPACE, body, force=True)


def _credential(kept: str) -> tuple[str, str]:
    """Return the server and the token of the kubeconfig in a remote Secret; empty where it has none."""
    try:
        found: Any = yaml.safe_load(_decoded(kept))
    except yaml.YAMLError:
        found = None
    match found:
        case {"clusters": [{"cluster": {"server": str(server)}}], "users": [{"user": {"token": str(token)}}]}:
            return server, token
        case _:
            return "", ""


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except ValueError:
        return b""


def _secret_of(text: str, cluster: str) -> Body:
    """Return the Secret that istioctl printed. What it printed is never quoted: it is a credential."""
    try:
        found: Any = [each for each in yaml.safe_load_all(text) if each]
    except yaml.YAMLError:
        found = ()
    match found:
        case [{"kind": "Secret", "metadata": {"labels": {"istio/multiCluster": "true"}}, "stringData": dict(data)}] if (
            set(data) == {cluster}
        ):
            body: Body = found[0]
            return body
        case _:
            raise InstallError(f"istioctl did not print the one remote Secret of {cluster} that it was asked for")


_LOOKED_ONCE: Final = (
    "istiod looks at a member when its Secret appears: if istio-system was not annotated then, kubectl rollout restart"
    " deployment/istiod -n istio-system in the primary; else look at istiod's log for the cluster's name"
)


@dataclass(frozen=True, slots=True)
class Joined:
    """istiod serves a member: it has written its root there, and the member's webhook injects.

    Both are istiod's own doing, by the Secret and through the east-west gateway: nothing else shows that they work.
    """

    site: Site
    image: str
    revision: str | None
    title: str = "istiod serves it"

    @property
    def cluster(self) -> str:
        """As a step says."""
        return self.site.name

    def look(self) -> Look:
        """Needed as long as something is missing."""
        missing = self._missing()
        return Look(needed=bool(missing), says=missing or "it has istiod's root, and its webhook injects")

    def act(self) -> None:
        """Wait."""
        patience = self.site.patience
        if missing := patience.until(self._missing, patience.ready_seconds):
            raise self.site.not_ready(missing, "", patience.ready_seconds, remedy=_LOOKED_ONCE)

    def _missing(self) -> str:
        root = self.site.find(CONFIG_MAPS, SYSTEM_NAMESPACE, ROOT)
        if root is None or not (root.get("data") or {}).get("root-cert.pem"):
            return "istiod has not written its root certificate there yet"
        return injection(self.site, self.image, self.revision)
