"""What must hold before anything is installed in a cluster. A guard looks, says why not, and never acts.

Two istiods in one cluster overwrite each other's root certificate in the ConfigMap `istio-ca-root-cert` of every
namespace, and sidecars that start afterwards trust the wrong mesh. TCM's is the one that production runs on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from shifter.core.documents.mesh import Mesh, Primary
from shifter.core.documents.mesh_gateways import SYSTEM_NAMESPACE
from shifter.core.text import plain, some
from shifter.errors import RefusedError
from shifter.mesh.installing.identities import by_hand, differing, of_operator
from shifter.mesh.installing.manifests import images_of, labels_of
from shifter.mesh.installing.record import read
from shifter.mesh.installing.site import Site
from shifter.mesh.installing.steps import Look
from shifter.ports.kube import ACCESS_REVIEWS, DEPLOYMENTS, Body
from shifter.ports.mesh import MUTATING_WEBHOOKS, NAMESPACES, SECRETS

TCM_MARK: Final = "tcm.cloud.tencent.com/managed-by"
"""The label that TCM's own objects carry."""

KUBE_SYSTEM: Final = "kube-system"
_INJECTORS: Final = ".sidecar-injector.istio.io"
_ISTIO_REVISION: Final = "istio.io/rev"
_NEEDED: Final = (
    ("create", "", "namespaces"),
    ("patch", "", "namespaces"),
    ("create", "", "pods"),
    ("patch", "", "secrets"),
    ("patch", "", "configmaps"),
    ("patch", "", "serviceaccounts"),
    ("patch", "", "services"),
    ("delete", "", "services"),
    ("patch", "apps", "deployments"),
    ("delete", "apps", "deployments"),
    ("patch", "autoscaling", "horizontalpodautoscalers"),
    ("patch", "policy", "poddisruptionbudgets"),
    ("patch", "apiextensions.k8s.io", "customresourcedefinitions"),
    ("patch", "rbac.authorization.k8s.io", "roles"),
    ("patch", "rbac.authorization.k8s.io", "clusterroles"),
    ("escalate", "rbac.authorization.k8s.io", "clusterroles"),
    ("bind", "rbac.authorization.k8s.io", "clusterroles"),
    ("patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("patch", "admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("update", "coordination.k8s.io", "leases"),
    ("patch", "networking.istio.io", "gateways"),
)
"""Verb, group and resource of what an installation does, in all namespaces."""

_MOST: Final = 4
_CA_PARTS: Final = ("ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem")


@dataclass(frozen=True, slots=True)
class Guard:
    """A step that only looks: `refusal` says why nothing may be installed, and what would change that."""

    site: Site
    title: str
    refusal: Callable[[Site], str]
    fine: str

    @property
    def cluster(self) -> str:
        """As a step says."""
        return self.site.name

    def look(self) -> Look:
        """Never needed; refuses."""
        if said := self.refusal(self.site):
            raise RefusedError(f"{self.site.name}: {said}")
        return Look(needed=False, says=self.fine)

    def act(self) -> None:
        """Nothing is to be done."""


def guards(mesh: Mesh, site: Site, uids: dict[str, str]) -> Sequence[Guard]:
    """Return the guards of a cluster, in the order in which they are asked.

    Args:
        mesh: the file.
        site: the cluster.
        uids: of the clusters that were looked at before, with their names; this one's is added when it is looked at.
    """
    return (
        Guard(site, "the cluster that is meant", lambda each: another_cluster(each, uids), "it is"),
        Guard(site, "permissions", missing_rights, "all there"),
        Guard(site, "no other control plane", lambda each: other_mesh(each, mesh), "none"),
    )


def another_cluster(site: Site, uids: dict[str, str]) -> str:
    """Say what is wrong if the context leads to a cluster that the file does not mean."""
    found = site.find(NAMESPACES, "", KUBE_SYSTEM)
    uid = str(found["metadata"].get("uid", "")) if found else ""
    if site.cluster.uid is not None and uid != site.cluster.uid:
        return (
            f'the context "{site.cluster.context}" leads to another cluster: its namespace {KUBE_SYSTEM} has the uid'
            f" {uid}, and the file says {site.cluster.uid}; mend the context, or the uid if the cluster was made anew"
        )
    if (twin := uids.setdefault(uid, site.name)) != site.name:
        return f'the context "{site.cluster.context}" leads to the same cluster as that of {twin}; mend the context'
    return ""


def other_mesh(site: Site, mesh: Mesh) -> str:
    """Say whose control plane already serves a cluster: TCM's, or one that is not the file's."""
    because = (
        "two istiods in one cluster overwrite each other's root certificate (ConfigMap istio-ca-root-cert in every"
        " namespace), and new pods trust the wrong one; install the new mesh in another cluster"
    )
    istiods = [each for each in site.all(DEPLOYMENTS) if _is_istiod(each)]
    injectors = list(_injectors(site))
    for each in istiods:
        if _is_tcms(each):
            return f"TCM's istiod runs here (Deployment {_place(each)}): {because}"
    for each in injectors:
        if _is_tcms(each):
            return f"TCM's injector serves here (webhook {each['metadata']['name']}): {because}"
    found = read(site)
    if found is not None and (said := differing(site, mesh, of_operator(found.operator))):
        return f"shifter has installed another mesh here: {said}; two cannot share a cluster"
    home = _homes(mesh, site)
    for each in istiods:
        if _place(each) not in home:
            return f"an istiod that is not the file's runs here (Deployment {_place(each)}): {because}"
    for each in injectors:
        if not _is_from_home(mesh, each):
            return f"an istiod that is not the file's injects here (webhook {each['metadata']['name']}): {because}"
    return by_hand(site, mesh, because) if found is None and (istiods or injectors) else ""


def _homes(mesh: Mesh, site: Site) -> Sequence[str]:
    """Return where an istiod of the file would stand: nowhere in a member."""
    name = f"istiod-{mesh.spec.revision}" if mesh.spec.revision else "istiod"
    return (f"{SYSTEM_NAMESPACE}/{name}",) if isinstance(site.cluster, Primary) else ()


def _is_from_home(mesh: Mesh, injector: Body) -> bool:
    told = (injector["metadata"].get("labels") or {}).get(_ISTIO_REVISION, "default")
    return told == (mesh.spec.revision or "default") and _leads_home(injector)


def missing_rights(site: Site) -> str:
    """Say which permissions of an installation are missing."""
    missing = [
        f"{verb} {resource}.{group}" if group else f"{verb} {resource}"
        for verb, group, resource in _NEEDED
        if not _may(site, verb, group, resource)
    ]
    if not missing:
        return ""
    return f"no permission to {some(missing, _MOST)}; an installation needs a cluster administrator's rights"


def authority_missing(site: Site) -> str:
    """Say what is missing of the plugged-in CA in the primary."""
    found = site.find(SECRETS, SYSTEM_NAMESPACE, "cacerts")
    if found is None:
        how = "kubectl create secret generic cacerts -n istio-system --from-file=..."
        return f"the Secret {SYSTEM_NAMESPACE}/cacerts, named by certificates, does not exist; {how}"
    missing = [each for each in _CA_PARTS if not (found.get("data") or {}).get(each)]
    return f"the Secret {SYSTEM_NAMESPACE}/cacerts lacks {', '.join(missing)}" if missing else ""


def _injectors(site: Site) -> Iterator[Body]:
    for each in site.all(MUTATING_WEBHOOKS):
        if any(str(webhook.get("name", "")).endswith(_INJECTORS) for webhook in each.get("webhooks") or ()):
            yield each


def _leads_home(injector: Body) -> bool:
    """Say whether a webhook asks istiod by its Service in istio-system, as istioctl makes it."""
    services = [each.get("clientConfig", {}).get("service") or {} for each in injector["webhooks"]]
    return all(each.get("namespace") == SYSTEM_NAMESPACE for each in services)


def _is_tcms(body: Body) -> bool:
    metadata = body["metadata"]
    return TCM_MARK in {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}


def _place(body: Body) -> str:
    return plain(f"{body['metadata'].get('namespace')}/{body['metadata']['name']}")


def _is_istiod(body: Body) -> bool:
    """Say whether a Deployment is an istiod: by its label or its image, and of TCM's own by its name as well."""
    images = (image.rsplit("/", 1)[-1] for image in images_of({"kind": "Deployment", **body}))
    by_name = _is_tcms(body) and str(body["metadata"]["name"]).startswith("istiod")
    return by_name or labels_of(body).get("app") == "istiod" or any(each.startswith("pilot:") for each in images)


def _may(site: Site, verb: str, group: str, resource: str) -> bool:
    asked = {"verb": verb, "group": group, "resource": resource}
    body = ACCESS_REVIEWS.body(spec={"resourceAttributes": asked}, metadata={})
    with site.asked("ask for its permissions"):
        answer = site.api.create(ACCESS_REVIEWS, "", body)
    return answer.get("status", {}).get("allowed") is True
