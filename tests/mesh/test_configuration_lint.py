"""What lint finds in a configuration before it is applied, and what it keeps quiet about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shifter.errors import Problem
from shifter.mesh.configuration.findings import (
    MEANINGS,
    SEVERITIES,
    Finding,
    FindingRule,
    GatewayPods,
    Severity,
    Target,
    by_severity,
)
from shifter.mesh.configuration.kinds import (
    API_GATEWAY,
    AUTHORIZATION_POLICY,
    DESTINATION_RULE,
    ENVOY_FILTER,
    GATEWAY,
    KNOWN,
    PEER_AUTHENTICATION,
    SERVICE_ENTRY,
    SIDECAR,
    TELEMETRY,
    VIRTUAL_SERVICE,
    WASM_PLUGIN,
    ConfigKind,
)
from shifter.mesh.configuration.lint import findings_of
from shifter.mesh.configuration.opening import open_export
from tests.mesh.configurations import JSON, a_page, an_object, exported, said, stored

NOTHING = Target()
PUBLIC = GatewayPods("istio-system", "istio-ingressgateway", {"istio": "ingressgateway", "app": "istio-ingressgateway"})
STAGING = GatewayPods("staging", "istio-ingressgateway-staging", {"istio": "ingressgateway", "stage": "1"})
EVERYTHING = Target(
    release="1.18.5",
    gateways=(PUBLIC, STAGING),
    secrets={("istio-system", "shop-tls")},
    namespaces={"shop", "pay"},
    providers={"otel"},
    trust_domain="mesh.example.com",
)


def server(**parts: Any) -> dict[str, Any]:  # noqa: ANN401 - parts of a server
    """Return a server of a Gateway as TCM's documentation has it."""
    return {"port": {"number": 443, "name": "https-443", "protocol": "HTTPS"}, "hosts": ["shop.example.com"], **parts}


def rules(*found: Finding) -> list[str]:
    """Return which rules found something, by place."""
    return [str(each.rule) for each in found]


def test_every_rule_has_a_severity_and_a_meaning() -> None:
    assert set(SEVERITIES) == set(MEANINGS) == set(FindingRule)


def test_a_configuration_without_faults_has_no_findings() -> None:
    front = an_object(GATEWAY, "front", {"selector": {"stage": "1"}, "servers": [server()]})
    cart = an_object(
        VIRTUAL_SERVICE,
        "cart",
        {
            "hosts": ["cart.shop.svc.cluster.local"],
            "gateways": ["mesh", "front"],
            "exportTo": [".", "pay"],
            "http": [{"route": [{"destination": {"host": "cart.pay.svc.cluster.local"}}]}],
        },
    )

    assert said(EVERYTHING, front, cart) == ()


def test_tls_that_tcm_terminates_at_the_load_balancer_is_an_error() -> None:
    port = {"number": 6443, "name": "clb-https-6443-ABCDabcd", "protocol": "HTTP"}
    (found,) = said(NOTHING, an_object(GATEWAY, "front", {"servers": [server(), server(port=port)]}))

    assert (found.rule, found.severity, found.path) == (
        *(FindingRule.TCM_PORT_NAME, Severity.ERROR, "spec.servers.1.port.name"),
    )
    assert "for Istio this port is plain HTTP" in found.message
    assert "terminate TLS at the gateway" in found.remedy


@pytest.mark.parametrize("tls", [{"credentialName": "qcloud-abcdABCD"}, {"credentialNames": ["qcloud-abcdABCD"]}])
def test_a_certificate_of_tencents_ssl_service_is_an_error(tls: dict[str, Any]) -> None:
    (found,) = said(EVERYTHING, an_object(GATEWAY, "front", {"servers": [server(tls=tls)]}))

    assert (found.rule, found.severity) == (FindingRule.TCM_CERTIFICATE, Severity.ERROR)
    assert "qcloud-abcdABCD is a certificate of Tencent's SSL service" in found.message


def test_a_certificate_from_a_file_is_told_once_per_server() -> None:
    tls = {"mode": "SIMPLE", "serverCertificate": "/etc/certs/servercert.pem", "privateKey": "/etc/certs/key.pem"}

    assert rules(*said(NOTHING, an_object(GATEWAY, "f", {"servers": [server(tls=tls)]}))) == ["certificate-file"]


def test_a_finding_has_its_place_its_line_and_what_to_do() -> None:
    (found,) = said(NOTHING, an_object(GATEWAY, "front", {"servers": [server(tls={"credentialName": "qcloud-x"})]}))

    assert found.source_line.strip() == "credentialName: qcloud-x"
    assert found.problem == Problem(
        "shop/Gateway/front.yaml",
        found.line,
        found.column,
        "spec.servers.0.tls.credentialName",
        "Gateway shop/front: qcloud-x is a certificate of Tencent's SSL service, which only TCM's gateways can load",
        "put the certificate into a Secret in the namespace of the new gateway and name that in credentialName",
        found.source_line,
    )
    assert found.problem.rule == "tcm-certificate"


@pytest.mark.parametrize(
    ("selector", "missing"),
    [
        ({"istio": "ingressgateway"}, ["staging"]),
        ({"app": "istio-ingressgateway"}, []),
        ({"stage": "1"}, ["staging"]),
        ({}, ["staging"]),
    ],
)
def test_a_secret_has_to_be_where_the_selected_gateways_are(selector: dict[str, str], missing: list[str]) -> None:
    spec = {"selector": selector, "servers": [server(tls={"credentialName": "shop-tls"})]}
    found = said(EVERYTHING, an_object(GATEWAY, "front", spec))

    assert rules(*found) == ["secret-missing"] * len(missing)
    assert all(f"is not in namespace {each} of the new cluster" in found[0].message for each in missing)


@pytest.mark.parametrize(
    ("body", "at"),
    [
        (
            an_object(GATEWAY, spec={"servers": [server(tls={"credentialName": "kubernetes://pki/other"})]}),
            "spec.servers.0.tls.credentialName",
        ),
        (an_object(WASM_PLUGIN, spec={"imagePullSecret": "pull"}), "spec.imagePullSecret"),
        (
            an_object(DESTINATION_RULE, spec={"subsets": [{"trafficPolicy": {"tls": {"credentialName": "client"}}}]}),
            "spec.subsets.0.trafficPolicy.tls.credentialName",
        ),
        (
            an_object(
                DESTINATION_RULE,
                spec={"trafficPolicy": {"portLevelSettings": [{"tls": {"credentialName": "client"}}]}},
            ),
            "spec.trafficPolicy.portLevelSettings.0.tls.credentialName",
        ),
        (
            an_object(
                API_GATEWAY,
                spec={
                    "addresses": [{}],
                    "listeners": [{"tls": {"certificateRefs": [{"name": "x"}, {"kind": "Other"}]}}],
                },
            ),
            "spec.listeners.0.tls.certificateRefs.0",
        ),
    ],
)
def test_whoever_needs_a_secret_is_asked(body: dict[str, Any], at: str) -> None:
    found = said(Target(secrets=set()), body)

    assert [(each.rule, each.path) for each in found] == [(FindingRule.SECRET_MISSING, at)]


@pytest.mark.parametrize("name", ["configmap://a/b", "builtin://", "qcloud-x"])
def test_what_is_no_secret_is_not_missed(name: str) -> None:
    found = said(Target(secrets=set()), an_object(GATEWAY, spec={"servers": [server(tls={"credentialName": name})]}))

    assert "secret-missing" not in rules(*found)


def test_a_gateway_that_selects_none_of_the_new_ones_is_an_error() -> None:
    (found,) = said(EVERYTHING, an_object(GATEWAY, spec={"selector": {"istio": "intranet"}}))

    assert (found.rule, found.severity) == (FindingRule.NO_SUCH_GATEWAY, Severity.ERROR)
    assert "selects no gateway of the new mesh (istio=intranet): nothing would listen" in found.message


@pytest.mark.parametrize("name", ["front", "./front", "shop/front", "front.shop", "front.shop.svc.cluster.local"])
def test_a_gateway_is_found_by_every_name_that_istio_knows(name: str) -> None:
    route = an_object(VIRTUAL_SERVICE, spec={"hosts": ["a"], "gateways": [name]})

    assert said(NOTHING, route, an_object(GATEWAY, "front")) == ()
    assert rules(*said(NOTHING, route)) == ["gateway-missing"]


def test_a_route_that_is_bound_to_a_gateway_that_stays_behind_is_an_error() -> None:
    (found,) = said(NOTHING, an_object(VIRTUAL_SERVICE, spec={"gateways": ["mesh", "istio-system/public"]}))

    assert (found.severity, found.path) == (Severity.ERROR, "spec.gateways.1")
    assert "is bound to the Gateway istio-system/public, which the export does not have" in found.message


def test_a_gateway_of_the_other_api_makes_a_load_balancer_of_its_own() -> None:
    (found,) = said(NOTHING, an_object(API_GATEWAY, spec={"gatewayClassName": "istio"}))

    assert found.rule is FindingRule.GATEWAY_DEPLOYS
    assert "on TKE a public CLB" in found.message


def patch(**parts: Any) -> dict[str, Any]:  # noqa: ANN401 - parts of a patch
    """Return an EnvoyFilter with one patch."""
    return an_object(ENVOY_FILTER, "lua", {"configPatches": [{"applyTo": "HTTP_FILTER", **parts}]})


def test_an_envoy_filter_is_always_told() -> None:
    (found,) = said(EVERYTHING, patch())

    assert (found.rule, found.severity) == (FindingRule.ENVOY_FILTER, Severity.WARNING)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        (r"^1\.18.*", None),
        ("1.18", None),
        (r"^1\.16.*", "is for proxies of ^1\\.16.* and will be left out for 1.18.5, without a word"),
        ("^1.2[0-9", "is for releases that an expression says which is not tried here"),
        ("(a+)+$", "is for releases that an expression says which is not tried here"),
        ("**", "will be left out for 1.18.5"),
    ],
)
def test_a_patch_for_another_release_is_told(pattern: str, told: str | None) -> None:
    found = said(EVERYTHING, patch(match={"proxy": {"proxyVersion": pattern}}))
    others = [each for each in found if each.rule is FindingRule.OTHER_RELEASE]

    assert [told is not None and told in each.message for each in others] == [True] * (told is not None)


def test_old_names_of_filters_are_told_wherever_they_stand() -> None:
    chain = {"filter": {"name": "envoy.http_connection_manager", "subFilter": {"name": "envoy.router"}}}
    found = said(
        NOTHING, patch(match={"listener": {"filterChain": chain}}, patch={"value": {"name": "envoy.filters.http.lua"}})
    )

    assert rules(*found) == ["envoy-filter", "envoy-filter-old-name", "envoy-filter-old-name"]
    assert "uses the old name envoy.http_connection_manager" in found[1].message


@pytest.mark.parametrize(
    ("kind", "is_old"),
    [
        ("envoy.config.filter.http.lua.v2.Lua", True),
        ("envoy.config.filter.network.http_connection_manager.v2.HttpConnectionManager", True),
        ("envoy.api.v2.Cluster", True),
        ("envoy.config.transport_socket.tap.v2alpha.Tap", True),
        ("envoy.extensions.filters.http.lua.v3.Lua", False),
        ("envoy.config.cluster.v3.Cluster", False),
    ],
)
def test_configuration_of_envoys_version_2_is_an_error(kind: str, *, is_old: bool) -> None:
    value = {"name": "x", "list": [{"typed_config": {"@type": f"type.googleapis.com/{kind}"}}]}
    found = [each for each in said(NOTHING, patch(patch={"value": value})) if each.severity is Severity.ERROR]

    assert rules(*found) == ["envoy-api-v2"] * is_old


@pytest.mark.parametrize(
    ("spec", "paths"),
    [
        ({"mtls": {"mode": "STRICT"}}, ["spec.mtls.mode"]),
        (
            {"mtls": {"mode": "PERMISSIVE"}, "portLevelMtls": {"8080": {"mode": "STRICT"}}},
            ["spec.portLevelMtls.8080.mode"],
        ),
        ({"mtls": {"mode": "PERMISSIVE"}}, []),
        ({}, []),
    ],
)
def test_workloads_that_shut_the_other_mesh_out_are_told(spec: dict[str, Any], paths: list[str]) -> None:
    found = said(NOTHING, an_object(PEER_AUTHENTICATION, spec=spec))

    assert [(each.rule, each.path) for each in found] == [(FindingRule.STRICT_MTLS, path) for path in paths]


@pytest.mark.parametrize("key", ["principals", "notPrincipals", "namespaces", "notNamespaces", "serviceAccounts"])
def test_a_policy_about_callers_identities_is_told(key: str) -> None:
    spec = {"rules": [{"from": [{"source": {key: ["x"]}}]}]}
    (found,) = said(NOTHING, an_object(AUTHORIZATION_POLICY, spec=spec))

    assert (found.rule, found.path) == (FindingRule.PRINCIPALS, f"spec.rules.0.from.0.source.{key}")
    assert "which callers from the other mesh do not have: they get 403" in found.message


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ({"when": [{"key": "source.principal", "values": ["x"]}]}, ["principal-authorization"]),
        ({"when": [{"key": "request.headers[a]", "values": ["x"]}]}, []),
        ({"from": [{"source": {"ipBlocks": ["10.0.0.0/8"], "requestPrincipals": ["*"]}}]}, []),
        ({}, []),
    ],
)
def test_a_policy_about_anything_else_is_not(rule: dict[str, Any], found: list[str]) -> None:
    assert rules(*said(EVERYTHING, an_object(AUTHORIZATION_POLICY, spec={"rules": [rule]}))) == found


@pytest.mark.parametrize(
    ("principal", "is_other"),
    [
        ("old.example.com/ns/shop/sa/web", True),
        ("mesh.example.com/ns/shop/sa/web", False),
        ("cluster.local/ns/shop/sa/web", False),
        ("*/ns/shop/sa/web", False),
        ("*", False),
    ],
)
def test_identities_of_another_trust_domain_are_told(principal: str, *, is_other: bool) -> None:
    spec = {"rules": [{"from": [{"source": {"principals": [principal]}}]}]}
    found = said(EVERYTHING, an_object(AUTHORIZATION_POLICY, spec=spec))

    assert ("trust-domain" in rules(*found)) == is_other


@pytest.mark.parametrize(
    ("kind", "spec", "path"),
    [
        (TELEMETRY, {"tracing": [{"providers": [{"name": "apm"}]}]}, "spec.tracing.0.providers.0.name"),
        (TELEMETRY, {"accessLogging": [{}, {"providers": [{"name": "cls"}]}]}, "spec.accessLogging.1.providers.0.name"),
        (AUTHORIZATION_POLICY, {"action": "CUSTOM", "provider": {"name": "authz"}}, "spec.provider.name"),
        (TELEMETRY, {"metrics": [{"providers": [{"name": "prometheus"}, {"name": "otel"}]}]}, ""),
    ],
)
def test_providers_have_to_be_in_the_new_meshs_settings(kind: ConfigKind, spec: dict[str, Any], path: str) -> None:
    found = said(EVERYTHING, an_object(kind, spec=spec))

    assert [(each.rule, each.path) for each in found] == [(FindingRule.PROVIDER_MISSING, path)] * bool(path)
    assert said(NOTHING, an_object(kind, spec=spec)) == ()


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (an_object(SERVICE_ENTRY, spec={"exportTo": ["gone"]}), "spec.exportTo.0"),
        (an_object(GATEWAY, spec={"servers": [{"hosts": ["gone/a.example.com"]}]}), "spec.servers.0.hosts.0"),
        (an_object(SIDECAR, spec={"egress": [{"hosts": ["./*", "~/*", "gone/*"]}]}), "spec.egress.0.hosts.2"),
        (an_object(DESTINATION_RULE, spec={"host": "cart.gone.svc.cluster.local"}), "spec.host"),
        (an_object(VIRTUAL_SERVICE, spec={"hosts": ["*.gone.svc.cluster.local"]}), "spec.hosts.0"),
        (
            an_object(
                VIRTUAL_SERVICE, spec={"tcp": [{"route": [{"destination": {"host": "a.gone.svc.cluster.local"}}]}]}
            ),
            "spec.tcp.0.route.0.destination.host",
        ),
        (
            an_object(VIRTUAL_SERVICE, spec={"http": [{"mirror": {"host": "a.gone.svc.cluster.local"}}]}),
            "spec.http.0.mirror.host",
        ),
        (
            an_object(VIRTUAL_SERVICE, spec={"http": [{"delegate": {"name": "a", "namespace": "gone"}}]}),
            "spec.http.0.delegate.namespace",
        ),
    ],
)
def test_a_namespace_that_does_not_come_along_is_told(body: dict[str, Any], path: str) -> None:
    found = said(Target(namespaces={"shop"}), body)

    assert [(each.rule, each.path) for each in found] == [(FindingRule.NAMESPACE_MISSING, path)]
    assert "names the namespace gone, which is neither exported nor in the new mesh" in found[0].message


def test_a_namespace_that_every_mesh_has_is_not_missed() -> None:
    spec = {"egress": [{"hosts": ["istio-system/*", "default/*", "kube-system/*"]}]}

    assert said(Target(namespaces=set()), an_object(SIDECAR, spec=spec)) == ()


def test_a_namespace_is_told_once_per_object() -> None:
    found = said(Target(namespaces=set()), an_object(SERVICE_ENTRY, spec={"exportTo": ["gone", "gone"]}))

    assert rules(*found) == ["namespace-missing"]


@pytest.mark.parametrize("host", ["api.example.com", "cart", "svc.cluster.local", ".svc.cluster.local", "*", 7])
def test_a_host_that_names_no_namespace_is_none(host: object) -> None:
    assert said(Target(namespaces=set()), an_object(DESTINATION_RULE, spec={"host": host})) == ()


def test_a_version_that_the_new_mesh_does_not_serve_is_an_error() -> None:
    body = an_object(VIRTUAL_SERVICE) | {"apiVersion": "networking.istio.io/v1"}
    (found,) = said(Target(release="1.18.5"), body)

    assert (found.rule, found.severity) == (FindingRule.VERSION_NOT_SERVED, Severity.ERROR)
    assert "VirtualService v1 is not served by the new mesh: it serves v1beta1, v1alpha3" in found.message
    assert found.remedy == "write networking.istio.io/v1beta1"


def test_what_discovery_says_counts_more_than_the_release() -> None:
    target = Target(release="1.31.0", served={VIRTUAL_SERVICE: ["v1"]})

    assert rules(*said(target, an_object(VIRTUAL_SERVICE), an_object(WASM_PLUGIN))) == ["version-not-served"] * 2
    assert "it has no such kind" in said(target, an_object(WASM_PLUGIN))[0].message


def test_a_kind_that_is_gone_for_long_is_an_error() -> None:
    body = {"apiVersion": "rbac.istio.io/v1alpha1", "kind": "ServiceRole", "metadata": {"name": "a", "namespace": "b"}}
    (found,) = said(NOTHING, body)

    assert (found.rule, found.severity) == (FindingRule.KIND_REMOVED, Severity.ERROR)
    assert "is of rbac.istio.io, which no release of Istio since 1.8 has" in found.message
    assert "AuthorizationPolicy" in found.remedy


def test_a_kind_that_nobody_knows_is_told() -> None:
    body = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualServices", "metadata": {"name": "a"}}
    (found,) = said(NOTHING, body)

    assert (found.rule, found.severity) == (FindingRule.KIND_UNKNOWN, Severity.WARNING)
    assert "VirtualServices of networking.istio.io/v1 is no kind of a mesh's configuration" in found.message


def test_an_object_that_only_another_revision_reads_is_an_error() -> None:
    body = an_object(VIRTUAL_SERVICE, labels={"istio.io/rev": "1-18-5"})
    (found,) = said(NOTHING, body)

    assert (found.rule, found.severity) == (FindingRule.REVISION_LABEL, Severity.ERROR)
    assert said(Target(revision="1-18-5"), body) == ()


@pytest.mark.parametrize(
    ("part", "key", "keeper"),
    [
        ("annotations", "meta.helm.sh/release-name", "the Helm release cart"),
        ("labels", "argocd.argoproj.io/instance", "the Argo CD application cart"),
        ("labels", "kustomize.toolkit.fluxcd.io/name", "the Flux kustomization cart"),
    ],
)
def test_who_keeps_an_object_is_told(part: str, key: str, keeper: str) -> None:
    (found,) = said(NOTHING, an_object(VIRTUAL_SERVICE) | {"metadata": {"name": "a", part: {key: "cart"}}})

    assert (found.rule, found.severity) == (FindingRule.KEPT_ELSEWHERE, Severity.NOTE)
    assert f"is kept by {keeper}" in found.message


def test_what_a_controller_made_is_told() -> None:
    (found,) = said(NOTHING, an_object(VIRTUAL_SERVICE), owner="Canary/cart")

    assert (found.rule, found.severity) == (FindingRule.MADE_BY_CONTROLLER, Severity.NOTE)
    assert "was made by Canary/cart" in found.message


def test_what_is_not_known_of_the_new_mesh_is_told() -> None:
    assert len(NOTHING.unchecked) == 7
    assert EVERYTHING.unchecked == ()
    assert Target(release="1.18.5").unchecked[0] == "whether Gateways select a gateway"


def test_files_that_cannot_be_read_are_findings_too(tmp_path: Path) -> None:
    exported(tmp_path, a_page(an_object(VIRTUAL_SERVICE), kind=VIRTUAL_SERVICE))
    (tmp_path / "shop/virtualservices/one.yaml").write_text("a: 1\na: 2\n")
    (found,) = findings_of(open_export(tmp_path).objects(), NOTHING)

    assert (found.rule, found.severity, found.line) == (FindingRule.UNREADABLE, Severity.ERROR, 2)
    assert str(found.problem) == "shop/virtualservices/one.yaml:2:1 a second 'a' (remove one)"


def test_findings_are_told_by_severity_and_place() -> None:
    front = an_object(GATEWAY, "front", {"servers": [server(tls={"credentialName": "qcloud-x"})]})
    found = by_severity(
        said(NOTHING, patch(), front, an_object(PEER_AUTHENTICATION, spec={"mtls": {"mode": "STRICT"}}))
    )

    assert {severity: rules(*each) for severity, each in found.items()} == {
        Severity.ERROR: ["tcm-certificate"],
        Severity.WARNING: ["envoy-filter", "strict-mtls"],
        Severity.NOTE: [],
    }


def test_whoever_has_very_many_faults_is_told_the_first_of_them() -> None:
    bodies = [stored(an_object(ENVOY_FILTER, f"f{number}")) for number in range(9)]

    assert len(findings_of(bodies, NOTHING, most=3)) == 3


OBJECTS = st.builds(
    lambda kind, spec: an_object(kind, spec=spec),
    st.sampled_from(KNOWN),
    st.recursive(
        JSON,
        lambda inner: st.dictionaries(
            st.sampled_from(
                (
                    *("servers", "tls", "port", "hosts", "http", "route", "rules", "from", "source", "configPatches"),
                    *("match", "patch", "value", "exportTo", "selector", "gateways", "mtls", "portLevelMtls", "egress"),
                )
            ),
            inner | st.lists(inner, max_size=2),
            max_size=4,
        ),
        max_leaves=12,
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(OBJECTS, max_size=4, unique_by=lambda body: str(body["kind"])))
def test_whatever_stands_in_an_object_lint_does_not_stumble(bodies: list[dict[str, Any]]) -> None:
    found = said(EVERYTHING, *bodies)

    assert found == tuple(sorted(findings_of([stored(body) for body in reversed(bodies)], EVERYTHING)))
