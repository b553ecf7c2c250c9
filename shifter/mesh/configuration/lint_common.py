"""Rules about any object: whether the new mesh knows it and reads it, who else writes it, which namespaces it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from shifter.mesh.configuration.cleaning import REVISION_LABEL, mapping, sequence
from shifter.mesh.configuration.findings import FindingRule, Said, Subject, Target
from shifter.mesh.configuration.kinds import (
    DESTINATION_RULE,
    GATEWAY,
    REMOVED_GROUPS,
    SERVICE_ENTRY,
    SIDECAR,
    VIRTUAL_SERVICE,
    group_and_version,
    newest_first,
)
from shifter.mesh.configuration.reading import At

_CLUSTER_DOMAIN: Final = ".svc.cluster.local"
_EVERYWHERE: Final = frozenset({"*", ".", "~", ""})
_IN_EVERY_MESH: Final = frozenset({"default", "kube-system", "kube-public", "istio-system"})
_NO_QUESTION: Final = _EVERYWHERE | _IN_EVERY_MESH
_KEEPERS: Final = (
    ("annotations", "meta.helm.sh/release-name", "the Helm release"),
    ("annotations", "argocd.argoproj.io/tracking-id", "the Argo CD application"),
    ("labels", "argocd.argoproj.io/instance", "the Argo CD application"),
    ("labels", "kustomize.toolkit.fluxcd.io/name", "the Flux kustomization"),
    ("labels", "helm.toolkit.fluxcd.io/name", "the Flux release"),
)


def unknown_kind(body: Mapping[str, Any]) -> Said:
    """Return what is to be said of an object whose kind is not known here."""
    group, _ = group_and_version(str(body.get("apiVersion")))
    if group in REMOVED_GROUPS:
        said = f"is of {group}, which no release of Istio since 1.8 has"
        return Said(FindingRule.KIND_REMOVED, ("apiVersion",), said, REMOVED_GROUPS[group])
    said = f"{str(body.get('kind'))[:60]} of {str(body.get('apiVersion'))[:60]} is no kind of a mesh's configuration"
    return Said(FindingRule.KIND_UNKNOWN, ("kind",), said, "see that it is spelled right, or apply it by other means")


def common_rules(subject: Subject, target: Target) -> Iterator[Said]:
    """Yield what is to be said of an object whatever it is."""
    yield from _served(subject, target)
    metadata = mapping(subject.body.get("metadata"))
    revision = mapping(metadata.get("labels")).get(REVISION_LABEL)
    ours = target.revision or "default"
    if isinstance(revision, str) and revision != ours:
        said = f"is bound to the control plane of revision {revision[:60]}, and one of another revision ignores it"
        at: At = ("metadata", "labels", REVISION_LABEL)
        yield Said(FindingRule.REVISION_LABEL, at, said, f"remove the label {REVISION_LABEL}")
    for part, key, keeper in _KEEPERS:
        name = mapping(metadata.get(part)).get(key)
        if isinstance(name, str):
            said = f"is kept by {keeper} {name[:80]}"
            remedy = "let that write it in the new cluster: two who write one object undo each other's work"
            yield Said(FindingRule.KEPT_ELSEWHERE, ("metadata", part, key), said, remedy)
    yield from _namespaces(subject, target)


def made_by(owner: str) -> Said:
    """Return what is to be said of an object that another object made in the old cluster."""
    remedy = "if that controller runs in the new cluster, leave this file out: it makes the object itself"
    return Said(FindingRule.MADE_BY_CONTROLLER, ("metadata", "name"), f"was made by {owner[:120]}", remedy)


def _served(subject: Subject, target: Target) -> Iterator[Said]:
    _, version = group_and_version(str(subject.body.get("apiVersion")))
    if target.served is not None:
        served = tuple(target.served.get(subject.kind, ()))
    elif target.minor is not None:
        served = subject.kind.served_by(target.minor)
    else:
        return
    if version not in served:
        there = f"it serves {', '.join(newest_first(served))}" if served else "it has no such kind"
        said = f"{subject.kind.name} {version[:40]} is not served by the new mesh: {there}"
        remedy = (
            f"write {subject.kind.at(newest_first(served)[0]).api_version}"
            if served
            else "leave it out, or install the kind"
        )
        yield Said(FindingRule.VERSION_NOT_SERVED, ("apiVersion",), said, remedy)


def _namespaces(subject: Subject, target: Target) -> Iterator[Said]:
    if target.namespaces is None:
        return
    told: set[str] = set()
    for namespace, at in _named_namespaces(subject):
        if namespace not in _NO_QUESTION and namespace not in target.namespaces and namespace not in told:
            told.add(namespace)
            said = f"names the namespace {namespace[:80]}, which is neither exported nor in the new mesh"
            remedy = "bring what is in it along, or take it out here"
            yield Said(FindingRule.NAMESPACE_MISSING, at, said, remedy)


def _named_namespaces(subject: Subject) -> Iterator[tuple[str, At]]:
    spec = subject.spec
    if subject.kind in {VIRTUAL_SERVICE, DESTINATION_RULE, SERVICE_ENTRY}:
        for index, name in enumerate(sequence(spec.get("exportTo"))):
            yield str(name), ("spec", "exportTo", index)
    if subject.kind is GATEWAY:
        for index, server in enumerate(sequence(spec.get("servers"))):
            yield from _before_slash(mapping(server).get("hosts"), ("spec", "servers", index, "hosts"))
    elif subject.kind is SIDECAR:
        for index, egress in enumerate(sequence(spec.get("egress"))):
            yield from _before_slash(mapping(egress).get("hosts"), ("spec", "egress", index, "hosts"))
    elif subject.kind is DESTINATION_RULE:
        yield from _of_host(spec.get("host"), ("spec", "host"))
    elif subject.kind is VIRTUAL_SERVICE:
        for index, host in enumerate(sequence(spec.get("hosts"))):
            yield from _of_host(host, ("spec", "hosts", index))
        yield from _destinations(spec)


def _destinations(spec: Mapping[str, Any]) -> Iterator[tuple[str, At]]:
    for protocol in ("http", "tls", "tcp"):
        for index, rule in enumerate(mapping(each) for each in sequence(spec.get(protocol))):
            path: At = ("spec", protocol, index)
            yield from _of_host(mapping(rule.get("mirror")).get("host"), (*path, "mirror", "host"))
            for key in ("route", "mirrors"):
                for number, route in enumerate(sequence(rule.get(key))):
                    host = mapping(mapping(route).get("destination")).get("host")
                    yield from _of_host(host, (*path, key, number, "destination", "host"))
            delegate = mapping(rule.get("delegate")).get("namespace")
            if isinstance(delegate, str):
                yield delegate, (*path, "delegate", "namespace")


def _before_slash(hosts: object, path: At) -> Iterator[tuple[str, At]]:
    for index, host in enumerate(sequence(hosts)):
        namespace, slash, _ = str(host).partition("/")
        if slash:
            yield namespace, (*path, index)


def _of_host(host: object, path: At) -> Iterator[tuple[str, At]]:
    """Yield the namespace of a Service's full name: `cart.shop.svc.cluster.local`. Other names say nothing of one."""
    if isinstance(host, str) and host.endswith(_CLUSTER_DOMAIN):
        service, dot, namespace = host.removesuffix(_CLUSTER_DOMAIN).rpartition(".")
        if service and dot:
            yield namespace, path
