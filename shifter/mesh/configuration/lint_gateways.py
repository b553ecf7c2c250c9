"""Rules about what opens ports and what is bound to it: gateways, their certificates, the routes that name them.

TCM's Gateways have two things that look like Istio's and are none (its documentation on Gateway configuration): a port
of protocol HTTP called `clb-https-{port}-{certificate}` makes TCM terminate TLS at the load balancer, and
`credentialName: qcloud-{certificate}` loads a certificate from Tencent's SSL service. Istio takes the first for plain
HTTP on a port where clients speak TLS, and has no certificate for the second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from shifter.mesh.configuration.cleaning import mapping, sequence
from shifter.mesh.configuration.findings import FindingRule, GatewayPods, Said, Subject, Target
from shifter.mesh.configuration.kinds import API_GATEWAY, GATEWAY, VIRTUAL_SERVICE
from shifter.mesh.configuration.reading import At
from shifter.mesh.configuration.references import OF_TCM, credentials_of, secret_references

MESH: Final = "mesh"
"""What a VirtualService calls the proxies inside the mesh, among its gateways."""

_AT_THE_LOAD_BALANCER: Final = re.compile(r"clb-https-\d{1,5}-.+", re.IGNORECASE)
_FILES: Final = ("serverCertificate", "privateKey", "caCertificates")
_AT_THE_GATEWAY: Final = (
    "put the certificate into a Secret in the namespace of the new gateway and name that in credentialName"
)


def gateway_rules(subject: Subject, target: Target) -> Iterator[Said]:
    """Yield what is to be said of what opens ports, and of the Secrets that any object needs."""
    if subject.kind is GATEWAY:
        for index, server in enumerate(sequence(subject.spec.get("servers"))):
            yield from _server(mapping(server), ("spec", "servers", index))
        yield from _selected(subject, target)
    elif subject.kind is API_GATEWAY and not sequence(subject.spec.get("addresses")):
        said = "makes Istio create a Deployment and a Service of type LoadBalancer: on TKE a public CLB, with its costs"
        remedy = "name the new mesh's gateway in spec.addresses, or annotate it for an internal CLB"
        yield Said(FindingRule.GATEWAY_DEPLOYS, ("spec", "gatewayClassName"), said, remedy)
    yield from _secrets(subject, target)


def bound_gateways(subject: Subject) -> Iterator[tuple[str, At]]:
    """Yield the Gateways that a VirtualService is bound to, as `namespace/name`, with their place.

    Istio knows `name`, `namespace/name`, `./name`, and from its early days `name.namespace` with or without a domain.
    """
    if subject.kind is not VIRTUAL_SERVICE:
        return
    for index, name in enumerate(sequence(subject.spec.get("gateways"))):
        if isinstance(name, str) and name and name != MESH:
            yield _full_name(name, subject.namespace), ("spec", "gateways", index)


def serving(spec: Mapping[str, Any], gateways: tuple[GatewayPods, ...]) -> tuple[GatewayPods, ...]:
    """Return the gateways that a Gateway's selector selects: in every namespace; without a selector all of them."""
    wanted = mapping(spec.get("selector"))
    return tuple(each for each in gateways if all(each.labels.get(key) == value for key, value in wanted.items()))


def _full_name(name: str, namespace: str) -> str:
    if "/" in name:
        return f"{namespace}/{name[2:]}" if name.startswith("./") else name
    first, dot, rest = name.partition(".")
    return f"{rest.partition('.')[0]}/{first}" if dot else f"{namespace}/{name}"


def _server(server: Mapping[str, Any], path: At) -> Iterator[Said]:
    name = mapping(server.get("port")).get("name")
    if isinstance(name, str) and _AT_THE_LOAD_BALANCER.fullmatch(name):
        said = f"port name {name[:80]} makes TCM terminate TLS at the load balancer; for Istio this port is plain HTTP"
        remedy = (
            "terminate TLS at the gateway (protocol HTTPS, tls.mode SIMPLE, credentialName), or at a listener of the"
            " front CLB and rename the port"
        )
        yield Said(FindingRule.TCM_PORT_NAME, (*path, "port", "name"), said, remedy)
    for credential, below in credentials_of(server):
        if credential.startswith(OF_TCM):
            said = f"{credential[:80]} is a certificate of Tencent's SSL service, which only TCM's gateways can load"
            yield Said(FindingRule.TCM_CERTIFICATE, (*path, *below), said, _AT_THE_GATEWAY)
    tls = mapping(server.get("tls"))
    for key in _FILES:
        if isinstance(file := tls.get(key), str) and file:
            said = f"reads a certificate from {file[:120]}, a file that the new gateway's pods may not have"
            yield Said(FindingRule.CERTIFICATE_FILE, (*path, "tls", key), said, _AT_THE_GATEWAY)
            return


def _selected(subject: Subject, target: Target) -> Iterator[Said]:
    if target.gateways is None or serving(subject.spec, target.gateways):
        return
    selector = mapping(subject.spec.get("selector"))
    words = ", ".join(f"{key}={value}" for key, value in sorted(selector.items()))
    remedy = "write the labels of one of the new mesh's gateways, or give one of them these labels in the Mesh file"
    said = f"selects no gateway of the new mesh ({words[:200]}): nothing would listen"
    yield Said(FindingRule.NO_SUCH_GATEWAY, ("spec", "selector"), said, remedy)


def _secrets(subject: Subject, target: Target) -> Iterator[Said]:
    if target.secrets is None:
        return
    for needed in secret_references(subject.kind, subject.body):
        if needed.namespace:
            namespaces: tuple[str, ...] = (needed.namespace,)
        elif subject.kind is GATEWAY and target.gateways is not None:
            namespaces = tuple(sorted({each.namespace for each in serving(subject.spec, target.gateways)}))
        else:
            # Where its pods are is not known: a Secret of that name anywhere is the most that can be asked for.
            namespaces = () if any(name == needed.name for _, name in target.secrets) else ("",)
        for namespace in namespaces:
            if (namespace, needed.name) not in target.secrets:
                where = f"namespace {namespace}" if namespace else "any namespace"
                said = f"needs the Secret {needed.name[:120]}, which is not in {where} of the new cluster"
                remedy = "create it before traffic comes: Secrets are not exported unless asked for"
                yield Said(FindingRule.SECRET_MISSING, needed.path, said, remedy)
