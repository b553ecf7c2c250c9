"""Which kinds are exported, and in which version."""

from __future__ import annotations

from typing import Any

import pytest

from shifter.mesh.configuration.kinds import (
    API_GATEWAY,
    EXPORTED,
    GATEWAY,
    KNOWN,
    NAMESPACE,
    PEER_AUTHENTICATION,
    PROXY_CONFIG,
    SECRET,
    TELEMETRY,
    VIRTUAL_SERVICE,
    WASM_PLUGIN,
    WORKLOAD_GROUP,
    ConfigKind,
    Origin,
    common_version,
    kind_of,
    minor_of,
    newest_first,
)

GUIDE = (
    "virtualservices gateways envoyfilters destinationrules sidecars peerauthentications authorizationpolicies "
    "requestauthentications telemetries proxyconfigs serviceentries"
)


def test_the_guides_eleven_kinds_come_first_and_as_its_script_names_them() -> None:
    assert " ".join(kind.folder for kind in EXPORTED if kind.origin is Origin.GUIDE) == GUIDE
    assert [kind.origin for kind in EXPORTED[:11]] == [Origin.GUIDE] * 11


def test_what_the_guide_forgets_is_exported_as_well() -> None:
    forgotten = {kind.name for kind in EXPORTED if kind.origin is Origin.FORGOTTEN}

    assert forgotten == {"WasmPlugin", "WorkloadEntry", "WorkloadGroup"}


def test_kinds_of_the_gateway_api_are_exported() -> None:
    found = {kind.name for kind in EXPORTED if kind.origin is Origin.GATEWAY_API}

    assert {"Gateway", "HTTPRoute", "GRPCRoute", "ReferenceGrant", "GatewayClass"} <= found


def test_secrets_are_never_asked_for_as_a_kind() -> None:
    assert SECRET not in EXPORTED


def test_no_two_kinds_share_a_folder() -> None:
    folders = [kind.folder for kind in KNOWN]

    assert sorted(set(folders)) == sorted(folders)


@pytest.mark.parametrize(
    ("kind", "release", "served"),
    [
        (VIRTUAL_SERVICE, "1.18.5", ("v1beta1", "v1alpha3")),
        (VIRTUAL_SERVICE, "1.22.0", ("v1", "v1beta1", "v1alpha3")),
        (WORKLOAD_GROUP, "1.12.5", ("v1alpha3",)),
        (PEER_AUTHENTICATION, "1.18.5", ("v1beta1",)),
        (WASM_PLUGIN, "1.10.3", ()),
        (PROXY_CONFIG, "1.12.9", ()),
        (TELEMETRY, "1.31", ("v1", "v1alpha1")),
        (API_GATEWAY, "1.18.5", ("v1beta1", "v1alpha2")),
    ],
)
def test_a_release_serves_the_versions_of_its_own_definitions(
    kind: ConfigKind, release: str, served: tuple[str, ...]
) -> None:
    assert kind.served_by(minor_of(release)) == served


def test_the_version_written_is_the_newest_that_both_meshes_serve() -> None:
    old, new = VIRTUAL_SERVICE.served_by((1, 18)), VIRTUAL_SERVICE.served_by((1, 31))

    assert common_version(VIRTUAL_SERVICE, old, new) == "v1beta1"
    assert common_version(VIRTUAL_SERVICE, new, new) == "v1"


def test_a_version_that_nobody_has_heard_of_is_not_written() -> None:
    assert common_version(VIRTUAL_SERVICE, {"v2", "v1beta1"}, {"v2", "v1beta1"}) == "v1beta1"


def test_meshes_without_a_common_version_have_none() -> None:
    assert common_version(WASM_PLUGIN, WASM_PLUGIN.served_by((1, 10)), WASM_PLUGIN.served_by((1, 18))) is None


def test_versions_are_ranked_as_kubernetes_ranks_them() -> None:
    told = newest_first(["v1alpha3", "foo", "v1", "v1beta1", "v2", "v1alpha1", "v1beta2"])

    assert told == ("v2", "v1", "v1beta2", "v1beta1", "v1alpha3", "v1alpha1", "foo")


@pytest.mark.parametrize("text", ["1.18.5", "v1.18", "1.18.5-tcm.2", "1.18.0+build"])
def test_a_release_is_read_down_to_its_minor(text: str) -> None:
    assert minor_of(text) == (1, 18)


@pytest.mark.parametrize("text", ["", "1", "one.two", "latest", "1.18/.."])
def test_what_is_no_release_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no release of Istio; they are written like 1\.18\.5"):
        minor_of(text)


def test_a_kind_is_known_in_whatever_version_it_is_written() -> None:
    found = [kind_of({"apiVersion": f"networking.istio.io/{each}", "kind": "Gateway"}) for each in ("v1", "v1alpha3")]

    assert found == [GATEWAY, GATEWAY]


def test_the_two_kinds_called_gateway_are_not_confused() -> None:
    assert kind_of({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway"}) is API_GATEWAY


@pytest.mark.parametrize("body", [{}, {"apiVersion": 1, "kind": "Gateway"}, {"apiVersion": "v1", "kind": ["Secret"]}])
def test_what_does_not_say_its_kind_has_none(body: dict[str, Any]) -> None:
    assert kind_of(body) is None


def test_a_kind_is_asked_for_as_kubernetes_spells_it() -> None:
    assert (GATEWAY.at("v1beta1").api_version, SECRET.at("v1").api_version) == ("networking.istio.io/v1beta1", "v1")
    assert not NAMESPACE.at("v1").namespaced
