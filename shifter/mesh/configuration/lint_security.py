"""Rules about who may call whom: what is right inside one mesh, and shuts the other one out while there are two.

The meshes have different roots: neither believes the other's certificates, also where both trust domains are called
`cluster.local`. So a call from one into the other is made without them (or fails), has no identity, and is refused
wherever an identity is asked for. Traffic that comes through a gateway of the same mesh is not concerned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from shifter.mesh.configuration.cleaning import mapping, sequence
from shifter.mesh.configuration.findings import FindingRule, Said, Subject, Target
from shifter.mesh.configuration.kinds import AUTHORIZATION_POLICY, PEER_AUTHENTICATION, TELEMETRY
from shifter.mesh.configuration.reading import At

BUILT_IN: Final = frozenset({"envoy", "prometheus", "stackdriver"})
"""Providers that every mesh has (`DefaultMeshConfig` in Istio's `pkg/config/mesh`)."""

_BY_IDENTITY: Final = (
    *("principals", "notPrincipals", "namespaces", "notNamespaces", "serviceAccounts", "notServiceAccounts"),
)
_CONDITIONS: Final = frozenset(
    {"source.principal", "source.namespace", "source.serviceAccount", "source.trustDomain"},
)
_WHILE_TWO: Final = (
    "while there are two meshes, let callers move before what they call, or lift this until all have moved"
)


def security_rules(subject: Subject, target: Target) -> Iterator[Said]:
    """Yield what is to be said of policies about peers and callers, and of the providers that policies name."""
    if subject.kind is PEER_AUTHENTICATION:
        yield from _strict(subject.spec)
    elif subject.kind is AUTHORIZATION_POLICY:
        yield from _identities(subject.spec, target)
        name = mapping(subject.spec.get("provider")).get("name")
        yield from _provider(name, ("spec", "provider", "name"), target)
    elif subject.kind is TELEMETRY:
        for section in ("tracing", "metrics", "accessLogging"):
            for index, part in enumerate(sequence(subject.spec.get(section))):
                for number, provider in enumerate(sequence(mapping(part).get("providers"))):
                    at: At = ("spec", section, index, "providers", number, "name")
                    yield from _provider(mapping(provider).get("name"), at, target)


def _strict(spec: Mapping[str, Any]) -> Iterator[Said]:
    places: list[tuple[object, At]] = [(spec.get("mtls"), ("spec", "mtls", "mode"))]
    places += [
        (each, ("spec", "portLevelMtls", port, "mode")) for port, each in mapping(spec.get("portLevelMtls")).items()
    ]
    for part, at in places:
        if mapping(part).get("mode") == "STRICT":
            said = "takes only calls with a certificate of its own mesh: the other mesh's callers get 503"
            yield Said(FindingRule.STRICT_MTLS, at, said, _WHILE_TWO)


def _identities(spec: Mapping[str, Any], target: Target) -> Iterator[Said]:
    for index, rule in enumerate(mapping(each) for each in sequence(spec.get("rules"))):
        path: At = ("spec", "rules", index)
        for number, origin in enumerate(sequence(rule.get("from"))):
            source = mapping(mapping(origin).get("source"))
            for key in _BY_IDENTITY:
                if names := sequence(source.get(key)):
                    yield from _identity(key, names, (*path, "from", number, "source", key), target)
        for number, condition in enumerate(mapping(each) for each in sequence(rule.get("when"))):
            if condition.get("key") in _CONDITIONS:
                names = sequence(condition.get("values")) + sequence(condition.get("notValues"))
                yield from _identity(str(condition["key"]), names, (*path, "when", number, "key"), target)


def _identity(key: str, names: list[Any], at: At, target: Target) -> Iterator[Said]:
    said = f"asks for the caller's identity ({key}), which callers from the other mesh do not have: they get 403"
    yield Said(FindingRule.PRINCIPALS, at, said, _WHILE_TWO)
    if target.trust_domain is None or "rincipal" not in key:
        return
    others = [name for name in names if isinstance(name, str) and _other_domain(name, target.trust_domain)]
    if others:
        said = f"names identities of another trust domain than {target.trust_domain}: {others[0][:120]}"
        remedy = "write the new mesh's trust domain, or */ns/.../sa/... for any"
        yield Said(FindingRule.TRUST_DOMAIN, at, said, remedy)


def _other_domain(principal: str, trust_domain: str) -> bool:
    """Return whether a principal (`cluster.local/ns/shop/sa/web`) names a trust domain that is not the given one."""
    domain, slash, _ = principal.partition("/ns/")
    # Istio takes cluster.local for the mesh's own, whatever that is called.
    return bool(slash) and "*" not in domain and domain not in {trust_domain, "cluster.local"}


def _provider(name: object, at: At, target: Target) -> Iterator[Said]:
    if target.providers is None or not isinstance(name, str) or name in BUILT_IN or name in target.providers:
        return
    said = f"names the provider {name[:120]}, which the new mesh's settings do not have"
    remedy = "add it to meshConfig.extensionProviders of the Mesh file; TCM keeps its own where DescribeMesh shows them"
    yield Said(FindingRule.PROVIDER_MISSING, at, said, remedy)
