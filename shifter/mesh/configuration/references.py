"""Which Secrets an object needs: told by name, so that a person can bring them; their content is never looked at.

Where a Secret has to be is not the Gateway's business but its pods': `credentialName: shop-tls` means the Secret of
that name in the namespace of the gateway that serves it, and `kubernetes://pki/shop-tls` one in `pki`
(`pilot/pkg/model/credentials/resource.go` of Istio 1.18 and 1.31). The Kubernetes Gateway API names the namespace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shifter.mesh.configuration.cleaning import mapping, sequence
from shifter.mesh.configuration.kinds import (
    API_GATEWAY,
    DESTINATION_RULE,
    GATEWAY,
    LISTENER_SET,
    WASM_PLUGIN,
    ConfigKind,
)
from shifter.mesh.configuration.reading import At

OF_TCM: Final = "qcloud-"
"""`credentialName: qcloud-{id}` is a certificate of Tencent's SSL service, which only TCM's gateways can load."""

_SCHEME: Final = "kubernetes://"
_ELSEWHERE: Final = ("configmap://", "builtin://", "invalid://", "kubernetes-gateway://")


@dataclass(frozen=True, slots=True)
class SecretReference:
    """A Secret that an object names, and where it names it. Without a namespace: that of the pods which need it."""

    name: str
    namespace: str
    path: At


def secret_references(kind: ConfigKind, body: Mapping[str, Any]) -> tuple[SecretReference, ...]:
    """Return the Secrets that an object needs, in the order in which it names them; TCM's own certificates are none."""
    spec = mapping(body.get("spec"))
    namespace = str(mapping(body.get("metadata")).get("namespace") or "")
    if kind is GATEWAY:
        return tuple(_of_servers(spec))
    if kind is DESTINATION_RULE:
        return tuple(_of_policies(spec))
    if kind is WASM_PLUGIN and isinstance(name := spec.get("imagePullSecret"), str):
        return (SecretReference(name, namespace, ("spec", "imagePullSecret")),)
    if kind in {API_GATEWAY, LISTENER_SET}:
        return tuple(_of_listeners(spec, namespace))
    return ()


def credentials_of(server: Mapping[str, Any]) -> Iterator[tuple[str, At]]:
    """Yield the names of certificates that a server of a Gateway names, with their place below the server.

    One by `credentialName`, several by `credentialNames`, which came after 1.18.
    """
    tls = mapping(server.get("tls"))
    if isinstance(name := tls.get("credentialName"), str) and name:
        yield name, ("tls", "credentialName")
    for index, name in enumerate(sequence(tls.get("credentialNames"))):
        if isinstance(name, str):
            yield name, ("tls", "credentialNames", index)


def _of_servers(spec: Mapping[str, Any]) -> Iterator[SecretReference]:
    for index, server in enumerate(sequence(spec.get("servers"))):
        for name, below in credentials_of(mapping(server)):
            yield from _named(name, ("spec", "servers", index, *below))


def _of_policies(spec: Mapping[str, Any]) -> Iterator[SecretReference]:
    policies: list[tuple[At, Any]] = [(("spec", "trafficPolicy"), spec.get("trafficPolicy"))]
    for index, subset in enumerate(sequence(spec.get("subsets"))):
        policies.append((("spec", "subsets", index, "trafficPolicy"), mapping(subset).get("trafficPolicy")))
    for path, policy in policies:
        parts: list[tuple[At, Any]] = [(path, policy)]
        for index, part in enumerate(sequence(mapping(policy).get("portLevelSettings"))):
            parts.append(((*path, "portLevelSettings", index), part))
        for at, part in parts:
            name = mapping(mapping(part).get("tls")).get("credentialName")
            if isinstance(name, str) and name:
                yield from _named(name, (*at, "tls", "credentialName"))


def _of_listeners(spec: Mapping[str, Any], namespace: str) -> Iterator[SecretReference]:
    for index, listener in enumerate(sequence(spec.get("listeners"))):
        references = sequence(mapping(mapping(listener).get("tls")).get("certificateRefs"))
        for number, reference in enumerate(mapping(each) for each in references):
            name, of = reference.get("name"), reference.get("namespace") or namespace
            if isinstance(name, str) and reference.get("kind", "Secret") == "Secret" and not reference.get("group"):
                yield SecretReference(name, str(of), ("spec", "listeners", index, "tls", "certificateRefs", number))


def _named(name: str, path: At) -> Iterator[SecretReference]:
    if name.startswith((OF_TCM, *_ELSEWHERE)):
        return
    namespace, _, last = name.removeprefix(_SCHEME).rpartition("/")
    yield SecretReference(last, namespace, path)
