"""The chart installed by the real helm into a cluster that never saw it: once, beside another one, and upgraded."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.installation import CHART, KINDS, an_order, await_admission, helm
from tests.cluster.plane import ControlPlane
from tests.cluster.tools import ClusterTools

OPERATIONS = CHART.parents[1] / "docs" / "operations.md"
NAMESPACES = ("blue", "green")
OF_THE_CLUSTER = "clusterroles,validatingadmissionpolicies,validatingadmissionpolicybindings"
GATEWAY = ("sourceGateways[0].namespace=istio-system", "sourceGateways[0].deployment=ingress")


@pytest.fixture(scope="module")
def cluster(tools: ClusterTools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A cluster of its own with two installations by helm, which pin the same gateway."""
    with ControlPlane(tools, tmp_path_factory.mktemp("plane") / "run", os.environ) as plane:
        plane.start()
        for namespace in (*NAMESPACES, "istio-system"):
            plane.add_namespace(namespace)
        for namespace in NAMESPACES:
            done = install(plane, "shifter", namespace)
            assert done.returncode == 0, done.stderr
            await_admission(plane, namespace)
        yield plane


def install(plane: ControlPlane, release: str, namespace: str) -> subprocess.CompletedProcess[str]:
    gateway = (word for value in GATEWAY for word in ("--set", value))
    return helm(plane, "install", release, str(CHART), "--namespace", namespace, *gateway)


def definitions(plane: ControlPlane) -> Mapping[str, Mapping[str, Any]]:
    told = plane.kubectl("root", "get", "crd", "-o", "json", *(f"{plural}.shifter.io" for plural in KINDS))
    return {each["spec"]["names"]["plural"]: each for each in json.loads(told.stdout)["items"]}


def ours(plane: ControlPlane, kinds: str, *words: str) -> set[str]:
    """Return the names of everything of these kinds that some installation of shifter brought."""
    label = ("-l", "app.kubernetes.io/part-of=shifter", "-o", "name")
    return set(plane.kubectl("root", "get", kinds, *label, *words).stdout.split())


def forge(plane: ControlPlane, namespace: str) -> str:
    """Return what is said of an order in another's name; empty if it is taken."""
    forged = json.dumps(an_order(namespace, "somebody"))
    return plane.kubectl("root", "create", "--dry-run=server", "-f", "-", said=forged, check=False).stderr


def test_helm_defines_the_kinds_in_a_cluster_that_does_not_know_them(cluster: ControlPlane) -> None:
    conditions = {
        plural: {each["type"]: each["status"] for each in found["status"]["conditions"]}
        for plural, found in definitions(cluster).items()
    }

    assert conditions == {plural: {"NamesAccepted": "True", "Established": "True"} for plural in KINDS}


def test_two_installations_share_nothing_but_the_definitions(cluster: ControlPlane) -> None:
    whole, beside = ours(cluster, OF_THE_CLUSTER), ours(cluster, "roles,rolebindings", "-n", "istio-system")
    of = {
        name: ({each for each in whole if f".{name}." in each}, {each for each in beside if f".{name}." in each})
        for name in NAMESPACES
    }

    assert whole == of["blue"][0] | of["green"][0]
    assert beside == of["blue"][1] | of["green"][1]
    assert {name: (len(found), len(there)) for name, (found, there) in of.items()} == {"blue": (5, 2), "green": (5, 2)}
    assert all("spec.by must be who gives the order" in forge(cluster, name) for name in NAMESPACES)


def test_an_installation_that_goes_takes_nothing_of_the_others_with_it(cluster: ControlPlane) -> None:
    before = ours(cluster, OF_THE_CLUSTER), ours(cluster, "roles,rolebindings", "-A"), definitions(cluster)
    cluster.add_namespace("gone")

    came, went = install(cluster, "shifter", "gone"), helm(cluster, "uninstall", "shifter", "--namespace", "gone")

    assert (came.returncode, went.returncode) == (0, 0), came.stderr + went.stderr
    assert (ours(cluster, OF_THE_CLUSTER), ours(cluster, "roles,rolebindings", "-A"), definitions(cluster)) == before
    assert "spec.by must be who gives the order" in forge(cluster, "blue")


@pytest.mark.fault(
    on="people",
    fault="install the chart a second time into one namespace, under another name",
    does="helm installs nothing of it; the first goes on",
    sees="`... exists and cannot be imported into the current release`, and the first one's name",
    safe_within="at once",
)
def test_a_second_release_in_one_namespace_is_refused(cluster: ControlPlane) -> None:
    before = ours(cluster, "all,roles,configmaps,serviceaccounts", "-n", "blue")

    refused = install(cluster, "another", "blue")

    assert refused.returncode != 0
    assert 'in namespace "blue" exists and cannot be imported into the current release' in refused.stderr
    assert 'must equal "another": current value is "shifter"' in refused.stderr
    assert ours(cluster, "all,roles,configmaps,serviceaccounts", "-n", "blue") == before


def test_definitions_are_upgraded_by_the_documented_command_and_not_by_helm(
    cluster: ControlPlane, tmp_path: Path
) -> None:
    newer, column = tmp_path / "chart", {"name": "Newer", "type": "string", "jsonPath": ".spec.newer"}
    shutil.copytree(CHART, newer)
    place = newer / "crds" / "shiftrecords.yaml"
    definition = yaml.safe_load(place.read_text(encoding="utf-8"))
    definition["spec"]["versions"][0]["additionalPrinterColumns"].append(column)
    place.write_text(yaml.safe_dump(definition), encoding="utf-8")

    by_helm = helm(cluster, "upgrade", "shifter", str(newer), "--namespace", "blue", "--reset-then-reuse-values")
    after_helm = columns(cluster)
    for command in documented("Upgrade")[:2]:
        assert command[0] == "kubectl"
        cluster.kubectl("root", *(word.replace("deploy/chart", str(newer)) for word in command[1:]))
    after_kubectl = columns(cluster)

    assert by_helm.returncode == 0, by_helm.stderr
    assert "helm leaves the definitions as they are" in by_helm.stdout
    assert "Newer" not in after_helm
    assert after_kubectl == [*after_helm, "Newer"]


def columns(plane: ControlPlane) -> list[str]:
    [version] = definitions(plane)["shiftrecords"]["spec"]["versions"]
    return [each["name"] for each in version["additionalPrinterColumns"]]


def documented(chapter: str) -> list[list[str]]:
    """Return the commands of a chapter's first block in the documentation."""
    text = OPERATIONS.read_text(encoding="utf-8").partition(f"## {chapter}\n")[2]
    [block] = re.findall(r"```sh\n(.*?)```", text.partition("\n## ")[0], re.DOTALL)[:1]
    return [shlex.split(line) for line in block.replace("\\\n", "").splitlines()]
