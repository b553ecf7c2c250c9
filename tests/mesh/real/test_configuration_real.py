"""What the real istioctl of both releases says of the kinds we know, and of the files that an export writes.

The programs are made by `tests.mesh.tools`, minutes on a cold cache. No cluster is asked.
"""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from shifter.mesh.configuration.choosing import staying_behind
from shifter.mesh.configuration.kinds import (
    AUTHORIZATION_POLICY,
    DESTINATION_RULE,
    ENVOY_FILTER,
    GATEWAY,
    KNOWN,
    TELEMETRY,
    VIRTUAL_SERVICE,
    WASM_PLUGIN,
    ConfigKind,
    minor_of,
)
from tests.mesh.configurations import a_page, an_object, exported
from tests.mesh.tools import RELEASES, Release, find_istio

Json = dict[str, Any]

SECONDS = 60
CHANGED_METRICS = "values.telemetry.v2.prometheus.configOverride.inboundSidecar.disable_host_header_fallback=true"
LUA = "function envoy_on_request(handle)\n  handle:logInfo('- a: b #')\n\nend\n"

each_release = pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.minor)


def istioctl(release: Release, *words: str) -> str:
    """Run it where it finds no cluster and no configuration; return what it says."""
    program = find_istio(release, os.environ).istioctl
    environment = {"HOME": "/nonexistent", "KUBECONFIG": "/nonexistent", "PATH": ""}
    done = subprocess.run(
        [program, *words], env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )

    assert done.returncode == 0, done.stderr
    return done.stdout if words[0] == "manifest" else f"{done.stdout}{done.stderr}"


@cache
def installed(release: Release, setting: str = "profile=default") -> list[Json]:
    """Return every object that an installation of a release consists of."""
    documents = yaml.load_all(istioctl(release, "manifest", "generate", "--set", setting), Loader=yaml.CSafeLoader)
    return [each for each in documents if each]


@each_release
def test_the_versions_that_a_release_serves_are_those_of_its_own_definitions(release: Release) -> None:
    definitions = [each["spec"] for each in installed(release) if each["kind"] == "CustomResourceDefinition"]
    served = {
        (each["group"], each["names"]["kind"], each["names"]["plural"]): {
            version["name"] for version in each["versions"] if version["served"]
        }
        for each in definitions
        if each["group"] != "install.istio.io"
    }
    ours = {(kind.group, kind.name, kind.plural): set(kind.served_by(minor_of(release.minor))) for kind in KNOWN}

    assert served == {key: versions for key, versions in ours.items() if versions and key[0].endswith("istio.io")}


@each_release
def test_what_istioctl_has_installed_is_known_by_its_labels(release: Release) -> None:
    objects = [each for each in installed(release) if each["kind"] in {"Deployment", "Service"}]

    assert len(objects) > 2
    assert all("own installation" in staying_behind(VIRTUAL_SERVICE, each, secrets=True) for each in objects)


def test_the_filters_that_make_an_older_releases_metrics_are_known_by_their_names() -> None:
    filters = [each for each in installed(RELEASES[0], CHANGED_METRICS) if each["kind"] == "EnvoyFilter"]
    bare = [{**each, "metadata": {"name": each["metadata"]["name"]}} for each in filters]

    assert len(bare) > 1
    assert all("makes the old mesh's metrics" in staying_behind(ENVOY_FILTER, each, secrets=True) for each in bare)


@each_release
def test_what_an_export_writes_is_valid(release: Release, tmp_path: Path) -> None:
    port = {"number": 443, "name": "https", "protocol": "HTTPS"}
    server = {"port": port, "hosts": ["*"], "tls": {"mode": "SIMPLE", "credentialName": "shop-tls"}}
    route = {"route": [{"destination": {"host": "cart", "subset": "v1"}}], "timeout": "3s"}
    value = {
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "inlineCode": LUA,
        },
    }
    match = {"context": "GATEWAY", "proxy": {"proxyVersion": r"^1\.18.*"}}
    patch = {"applyTo": "HTTP_FILTER", "match": match, "patch": {"operation": "INSERT_BEFORE", "value": value}}
    bodies: list[tuple[ConfigKind, Json]] = [
        (GATEWAY, {"selector": {"istio": "ingressgateway"}, "servers": [server]}),
        (VIRTUAL_SERVICE, {"hosts": ["cart"], "gateways": ["mesh", "one"], "http": [route]}),
        (DESTINATION_RULE, {"host": "cart", "trafficPolicy": {"outlierDetection": {}}, "subsets": [{"name": "v1"}]}),
        (AUTHORIZATION_POLICY, {"rules": [{}]}),
        (TELEMETRY, {"tracing": [{"randomSamplingPercentage": 1.5}]}),
        (WASM_PLUGIN, {"url": "oci://registry.example.com/filter:1", "phase": "AUTHN"}),
        (ENVOY_FILTER, {"configPatches": [patch]}),
    ]
    exported(tmp_path / "data", *(a_page(an_object(kind, spec=spec), kind=kind) for kind, spec in bodies))
    files = sorted(str(path) for path in (tmp_path / "data").rglob("*.yaml"))

    told = istioctl(release, "validate", *(word for file in files for word in ("-f", file)))

    assert len(files) == len(bodies)
    warned = [file for file in files if f'"{file}" is valid' not in told]
    assert all(f'"{file}" has warnings' in told and "/envoyfilters/" in file for file in warned)
