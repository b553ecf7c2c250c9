"""What the real helm makes of the chart, and whether a real API server takes it, field by field."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.installation import CHART, HELM_SECONDS, KINDS, beside, render
from tests.cluster.plane import ControlPlane
from tests.cluster.tools import ClusterTools

Helm = Callable[..., subprocess.CompletedProcess[str]]

INSTALL = CHART.parent / "install.yaml"
NAMESPACE = "shifter-system"
DIGEST = f"sha256:{'0' * 64}"
EVERYTHING = (
    *("--set", "mode=observe", "--set", "logLevel=debug", "--set", "extraArgs={--verbose}"),
    *("--set", "priorityClassName=system-cluster-critical", "--set", "imagePullSecrets={mirror}"),
    *("--set", "nodeSelector.pool=shifter", "--set", "tolerations[0].operator=Exists"),
    *("--set", "podLabels.team=mesh", "--set", "podAnnotations.note=x", "--set", "roles.aggregate=true"),
    *("--set", "serviceMonitor.enabled=true", "--set", "serviceMonitor.labels.release=prometheus"),
    *("--set", "networkPolicy.enabled=true", "--set", "networkPolicy.ingressFrom[0].podSelector.matchLabels.app=prom"),
    *("--set", "networkPolicy.egress[0].ports[0].port=443"),
    *("--set", "fleet.file=kind: Fleet", "--set", r"policies.files.shop\.yaml=kind: ShiftPolicy"),
    *("--set", "secrets[0].secret=tencent", "--set", "secrets[0].directory=tencent"),
    *("--set", "secrets[1].secret=prometheus", "--set", "secrets[1].directory=prometheus"),
    *("--set", "sourceGateways[0].namespace=istio-system", "--set", "sourceGateways[0].deployment=ingress"),
)


@pytest.fixture
def helm(tools: ClusterTools, tmp_path: Path) -> Helm:
    """Runs helm, with a home of its own."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(tools.helm), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=HELM_SECONDS,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            check=False,
        )

    return run


def rendered(helm: Helm, *words: str) -> Sequence[Mapping[str, Any]]:
    done = helm("template", "shifter", str(CHART), "--namespace", NAMESPACE, *words)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def the(objects: Sequence[Mapping[str, Any]], kind: str, name: str = "shifter") -> Mapping[str, Any]:
    [found] = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def test_what_can_be_applied_without_helm_is_what_helm_renders(helm: Helm) -> None:
    words = ("--namespace", NAMESPACE, "--include-crds", "--set", "createNamespace=true")

    done = helm("template", "shifter", str(CHART), *words)

    again = f"helm template shifter deploy/chart {' '.join(words)} > deploy/install.yaml"
    assert done.returncode == 0, done.stderr
    assert done.stdout == INSTALL.read_text(encoding="utf-8"), f"render it again: {again}"


def test_helm_has_nothing_to_say_about_the_chart(helm: Helm) -> None:
    done = helm("lint", "--strict", str(CHART))

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("replica=3", "'replica' not allowed"),
        ("image.registry=x", "/image"),
        ("replicas=9", "/replicas"),
        ("mode=dry-run", "/mode"),
        ("fleet.configMap=", "/fleet/configMap"),
        (r"policies.files.shop\.txt=x", "/policies/files"),
        ("secrets[0].directory=policies", "/secrets/0/directory"),
        ("secrets[0].directory=../etc", "/secrets/0/directory"),
        ("sourceGateways[0].namespace=istio-system", "/sourceGateways/0"),
    ],
)
def test_a_value_that_nothing_reads_or_that_cannot_be_is_refused(helm: Helm, value: str, place: str) -> None:
    done = helm("template", "shifter", str(CHART), "--set", value)

    assert done.returncode != 0
    assert place in done.stderr


@pytest.mark.fault(
    on="Kubernetes",
    fault="has no admission policies (before 1.30)",
    does="helm installs nothing until somebody says that names are claimed",
    sees="`Kubernetes v1.29.0 has no ValidatingAdmissionPolicy: set admissionPolicy.enabled=false ...`",
    safe_within="at once",
)
def test_a_cluster_without_admission_policies_must_be_known_to_be_one(helm: Helm) -> None:
    asked = ("template", "shifter", str(CHART), "--kube-version", "1.29.0")

    refused, known = helm(*asked), helm(*asked, "--set", "admissionPolicy.enabled=false")

    assert "Kubernetes v1.29.0 has no ValidatingAdmissionPolicy: set admissionPolicy.enabled=false" in refused.stderr
    assert known.returncode == 0
    assert "ValidatingAdmissionPolicy" not in known.stdout


def test_every_part_of_the_images_name_comes_from_the_values(helm: Helm) -> None:
    ours = ("--set", "image.repository=mirror.example.com/mesh/shifter", "--set", "image.pullPolicy=Always")

    [tagged], [pinned] = (
        the(rendered(helm, *ours, "--set", last), "Deployment")["spec"]["template"]["spec"]["containers"]
        for last in ("image.tag=1.2.3", f"image.digest={DIGEST}")
    )

    assert tagged["image"] == "mirror.example.com/mesh/shifter:1.2.3"
    assert pinned["image"] == f"mirror.example.com/mesh/shifter@{DIGEST}"
    assert tagged["imagePullPolicy"] == "Always"


def test_a_gateway_that_may_be_pinned_is_granted_by_name(helm: Helm) -> None:
    gateway = ("sourceGateways[0].namespace=istio-system", "sourceGateways[0].deployment=ingress")
    where = ("--set", gateway[0], "--set", gateway[1])

    named, sought = (
        the(rendered(helm, *where, *more), "Role", beside(NAMESPACE, "pins.ingress"))
        for more in (("--set", "sourceGateways[0].autoscaler=ingress-hpa"), ())
    )

    looks = {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["ingress"], "verbs": ["get"]}
    scales = {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"]}
    assert named["metadata"]["namespace"] == "istio-system"
    assert named["rules"] == [looks, {**scales, "resourceNames": ["ingress-hpa"], "verbs": ["get", "update"]}]
    assert sought["rules"] == [looks, {**scales, "verbs": ["list", "update"]}]


def test_a_new_fleet_file_starts_the_pods_anew_and_a_new_policy_does_not(helm: Helm) -> None:
    def template(*words: str) -> object:
        return the(rendered(helm, *words), "Deployment")["spec"]["template"]

    before = template("--set", "fleet.file=a", "--set", r"policies.files.shop\.yaml=a")

    assert template("--set", "fleet.file=b", "--set", r"policies.files.shop\.yaml=a") != before
    assert template("--set", "fleet.file=a", "--set", r"policies.files.shop\.yaml=b") == before


@pytest.mark.usefixtures("kinds")
@pytest.mark.parametrize("words", [(), EVERYTHING], ids=["defaults", "everything"])
def test_a_real_api_server_knows_every_field(plane: ControlPlane, namespace: str, words: Sequence[str]) -> None:
    objects = [each for each in render(plane, namespace, *words) if each["kind"] != "ServiceMonitor"]
    here = [each for each in objects if each["metadata"].get("namespace", namespace) == namespace]
    said = json.dumps({"apiVersion": "v1", "kind": "List", "items": here})

    done = plane.kubectl("root", "create", "--dry-run=server", "--validate=strict", "-f", "-", said=said)

    assert len(done.stdout.splitlines()) == len(here)
    assert done.stderr == ""


@pytest.mark.usefixtures("kinds")
def test_the_definitions_are_taken_without_a_complaint(plane: ControlPlane) -> None:
    told = plane.kubectl("root", "get", "crd", "-o", "json", *(f"{plural}.shifter.io" for plural in KINDS))

    conditions = {
        found["metadata"]["name"]: {each["type"]: each["status"] for each in found["status"]["conditions"]}
        for found in json.loads(told.stdout)["items"]
    }
    assert conditions == {f"{plural}.shifter.io": {"NamesAccepted": "True", "Established": "True"} for plural in KINDS}


@pytest.mark.usefixtures("kinds")
def test_the_pods_are_let_into_a_restricted_namespace(plane: ControlPlane, namespace: str) -> None:
    label = "pod-security.kubernetes.io/enforce=restricted"
    plane.kubectl("root", "label", "namespace", namespace, label)
    plane.kubectl("root", "create", "serviceaccount", "shifter", "-n", namespace)
    template = the(render(plane, namespace), "Deployment")["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": "shifter", "namespace": namespace},
        "spec": template["spec"],
    }

    done = plane.kubectl("root", "create", "-f", "-", said=json.dumps(pod))

    assert done.stderr == ""


@pytest.mark.usefixtures("kinds")
def test_helm_installs_upgrades_and_takes_away_all_but_the_state(
    helm: Helm, plane: ControlPlane, namespace: str
) -> None:
    to = ("--namespace", namespace, "--kubeconfig", str(plane.kubeconfig("root")))
    shift = {"apiVersion": "shifter.io/v1alpha1", "kind": "Shift", "metadata": {"name": "shop", "namespace": namespace}}

    installed = helm("install", "shifter", str(CHART), *to)
    plane.apply({**shift, "spec": {}})
    upgraded = helm("upgrade", "shifter", str(CHART), *to, "--reset-then-reuse-values", "--set", "replicas=3")
    replicas = plane.kubectl(
        "root", "get", "deployment", "shifter", "-n", namespace, "-o", "jsonpath={.spec.replicas}"
    ).stdout
    removed = helm("uninstall", "shifter", *to)

    assert [done.returncode for done in (installed, upgraded, removed)] == [0, 0, 0], installed.stderr + removed.stderr
    assert f"shifter get -n {namespace}" in installed.stdout
    assert replicas == "3"
    left = plane.kubectl("root", "get", "shifts,deployments,roles", "-n", namespace, "-o", "name").stdout.split()
    assert left == ["shift.shifter.io/shop"]
    policies = plane.kubectl("root", "get", "validatingadmissionpolicies", "-o", "name").stdout
    assert f"orders.{namespace}." not in policies
