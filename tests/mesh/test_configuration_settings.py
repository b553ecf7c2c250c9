"""What is known of both meshes besides their objects: TCM's settings, the new mesh's file, which kinds to ask for."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from shifter.core.documents.mesh import Mesh
from shifter.mesh.configuration.asking import missing_kinds, wishes
from shifter.mesh.configuration.kinds import EXPORTED, TELEMETRY, VIRTUAL_SERVICE, WASM_PLUGIN
from shifter.mesh.configuration.settings import settings_of
from shifter.mesh.configuration.targets import target_of
from tests.mesh.configurations import JSON

LOG_FORMAT = '{\n\t"authority": "%REQ(:AUTHORITY)%"\n}\n'
DESCRIBED: dict[str, Any] = {
    "Config": {
        "AccessLog": {
            "Address": "http://user:hunter2@10.10.10.10",
            "CLS": {"Enable": True, "Topic": "mesh-351lvuec-accesslog"},
            "Enable": True,
            "EnableServer": True,
            "EnableStdout": True,
            "Encoding": "JSON",
            "Format": LOG_FORMAT,
            "SelectedRange": {"All": False},
        },
        "Inject": {
            "ExcludeIPRanges": ["10.0.0.0/8", "172.16.0.0/12"],
            "HoldApplicationUntilProxyStarts": True,
            "HoldProxyUntilApplicationEnds": True,
        },
        "Istio": {
            "DisableHTTPRetry": True,
            "DisablePolicyChecks": True,
            "EnablePilotHTTP": True,
            "OutboundTrafficPolicy": "ALLOW_ANY",
            "SmartDNS": {"IstioMetaDNSAutoAllocate": False, "IstioMetaDNSCapture": True},
        },
        "Prometheus": {"InstanceId": "prom-63ad12yj", "CustomProm": {"Password": "hunter2"}},
        "SidecarResources": {
            "Limits": [{"Name": "cpu", "Quantity": "2"}],
            "Requests": [{"Name": "cpu", "Quantity": "100m"}, {"Name": "memory", "Quantity": "128Mi"}],
        },
        "Tracing": {
            "Enable": True,
            "Sampling": 1.5,
            "APM": {"Enable": True},
            "Zipkin": {"Address": "10.10.10.10:9411"},
        },
    }
}


def test_every_setting_that_istio_has_as_well_is_proposed() -> None:
    found = settings_of(DESCRIBED)

    assert found.mesh_config == {
        "outboundTrafficPolicy": {"mode": "ALLOW_ANY"},
        "defaultHttpRetryPolicy": {"attempts": 0},
        "accessLogFile": "/dev/stdout",
        "accessLogEncoding": "JSON",
        "accessLogFormat": LOG_FORMAT,
        "enableTracing": True,
        "defaultConfig": {
            "holdApplicationUntilProxyStarts": True,
            "proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true"},
            "tracing": {"sampling": 1.5, "zipkin": {"address": "10.10.10.10:9411"}},
        },
    }
    assert found.values == {
        "global": {
            "proxy": {
                "excludeIPRanges": "10.0.0.0/8,172.16.0.0/12",
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2"}},
            }
        },
        "pilot": {"env": {"PILOT_HTTP10": "1"}},
    }


@pytest.mark.parametrize(
    "words",
    [
        "for some namespaces and gateways only",
        "to the CLS topic mesh-351lvuec-accesslog",
        "to the gRPC server",
        "sends traces to Tencent's APM",
        "EXIT_ON_ZERO_ACTIVE_CONNECTIONS",
        "the new mesh must be scraped, too",
    ],
)
def test_what_a_person_has_to_decide_is_told(words: str) -> None:
    assert sum(words in note for note in settings_of(DESCRIBED).notes) == 1


def test_no_password_of_tcm_is_told() -> None:
    assert "hunter2" not in settings_of(DESCRIBED).text


def test_what_is_proposed_is_what_a_mesh_file_takes(mesh: dict[str, Any]) -> None:
    parts = yaml.safe_load(settings_of(DESCRIBED).text)
    spec = mesh["spec"] | {"meshConfig": parts["meshConfig"], "values": parts["values"]}

    assert Mesh.model_validate(mesh | {"spec": spec}).spec.mesh_config["accessLogFile"] == "/dev/stdout"


@pytest.mark.parametrize(
    "described", [{}, {"Config": None}, {"Config": {"AccessLog": {"Enable": False, "Format": "x"}}}]
)
def test_what_tcm_does_not_say_leaves_istios_own(described: dict[str, Any]) -> None:
    found = settings_of(described)

    assert (found.mesh_config, found.values, found.notes) == ({}, {}, ())
    assert yaml.safe_load(found.text) == {}


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        JSON,
        lambda inner: st.dictionaries(
            st.sampled_from(
                (
                    *(
                        "AccessLog",
                        "Istio",
                        "Inject",
                        "Tracing",
                        "SidecarResources",
                        "Enable",
                        "EnableStdout",
                        "Format",
                    ),
                    *(
                        "Zipkin",
                        "Address",
                        "Requests",
                        "SmartDNS",
                        "ExcludeIPRanges",
                        "CLS",
                        "Topic",
                        "APM",
                        "Prometheus",
                    ),
                )
            ),
            inner,
            max_size=4,
        ),
        max_leaves=8,
    )
)
def test_an_odd_answer_becomes_a_file_that_can_be_read(config: object) -> None:
    found = settings_of({"Config": config})

    assert yaml.safe_load(found.text) == {
        key: part for key, part in (("meshConfig", found.mesh_config), ("values", found.values)) if part
    }


@pytest.fixture
def mesh() -> dict[str, Any]:
    """Return a mesh file of one member."""
    public = {"name": "istio-ingressgateway", "loadBalancer": {"public": True}}
    off = {"name": "istio-ingressgateway-off", "enabled": False, "loadBalancer": {"public": True}}
    staging = {"name": "staging", "namespace": "staging", "labels": {"stage": "1"}, "loadBalancer": {"public": True}}
    return {
        "apiVersion": "shifter.io/v1alpha1",
        "kind": "Mesh",
        "metadata": {"name": "main"},
        "spec": {
            "version": "1.18.5",
            "images": {"hub": "docker.io/istio", "tag": "1.18.5", "pullSecrets": ()},
            "meshID": "mesh1",
            "network": "main",
            "meshConfig": {"extensionProviders": [{"name": "otel"}, {}], "trustDomain": "mesh.example.com"},
            "primary": {
                "cluster": "cls-dxgdg1rl",
                "context": "primary",
                "eastWest": {"loadBalancer": {"existing": "lb-lujb6a5a"}},
            },
            "members": ({"cluster": "cls-ne1cw84b", "context": "member", "gateways": (public, off, staging)},),
        },
    }


def test_lint_knows_from_the_mesh_file_what_there_will_be(mesh: dict[str, Any]) -> None:
    target = target_of(Mesh.model_validate(mesh))

    assert (target.release, target.revision, target.trust_domain) == ("1.18.5", "", "mesh.example.com")
    assert target.providers == {"otel"}
    assert [(each.namespace, each.name) for each in target.gateways or ()] == [
        ("istio-system", "istio-ingressgateway"),
        ("staging", "staging"),
    ]
    assert target.unchecked == ("whether Secrets are there", "whether namespaces are there")


def test_gateways_are_selected_by_the_labels_that_their_pods_will_have(mesh: dict[str, Any]) -> None:
    first, second = target_of(Mesh.model_validate(mesh)).gateways or ()

    assert first.labels == {"app": "istio-ingressgateway", "istio": "ingressgateway"}
    assert second.labels["stage"] == "1"


def test_the_trust_domain_is_istios_own_unless_told(mesh: dict[str, Any]) -> None:
    plain = mesh | {"spec": mesh["spec"] | {"meshConfig": {}}}

    assert target_of(Mesh.model_validate(plain)).trust_domain == "cluster.local"


def test_each_kind_is_asked_for_in_the_version_in_which_it_is_written() -> None:
    old = {kind: kind.served_by((1, 18)) for kind in EXPORTED}
    new = {kind: kind.served_by((1, 31)) for kind in EXPORTED}
    asked = dict(wishes(old, new))

    assert asked[VIRTUAL_SERVICE].api_version == "networking.istio.io/v1beta1"
    assert asked[TELEMETRY].api_version == "telemetry.istio.io/v1alpha1"
    assert [kind for kind in asked if kind.name == "ListenerSet"] == []


def test_without_a_new_mesh_the_newest_version_of_the_old_one_is_written() -> None:
    assert dict(wishes({VIRTUAL_SERVICE: ["v1alpha3", "v1beta1"]}, None))[VIRTUAL_SERVICE].version == "v1beta1"


@pytest.mark.parametrize(("served", "version"), [(["v1beta1"], "v1beta1"), (["v3"], "v3")])
def test_a_kind_without_a_common_version_is_exported_all_the_same(served: list[str], version: str) -> None:
    assert dict(wishes({VIRTUAL_SERVICE: served}, {VIRTUAL_SERVICE: ["v1"]}))[VIRTUAL_SERVICE].version == version


def test_kinds_that_the_old_cluster_does_not_have_are_told() -> None:
    pages = list(missing_kinds({kind: ["v1"] for kind in EXPORTED if kind is not WASM_PLUGIN}))

    assert [(page.kind, page.missing) for page in pages] == [(WASM_PLUGIN, "the old cluster has no such kind")]
