"""`shifter doctor` of a store in a cluster, as people on call type it: with kubectl's flags, and without any file."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from shifter.adapters.kube.kinds import SHIFT_FLEETS, SHIFT_ORDERS, SHIFT_RECORDS, SHIFTS
from shifter.adapters.kube.objects import moment
from shifter.adapters.kube.probe import KubeProbe
from shifter.adapters.kube.store import KubeStore
from shifter.cli.exits import Exit
from shifter.cli.main import cli
from shifter.cli.session import KUBECTL_PROGRAM
from shifter.errors import ConfigError
from shifter.ports.kube import LEASES
from tests.kube import Fault, MemoryApi, MemoryCluster

if TYPE_CHECKING:
    from tests.cli.conftest import World

NAMESPACE = "shifter-system"


@pytest.fixture
def api(world: World) -> MemoryApi:
    """The door of ann to a cluster in which somebody leads, behind the command line."""
    api = MemoryApi(MemoryCluster(clock=lambda: datetime.now(UTC)), "ann")
    spec = {"holderIdentity": "pod-1_ab", "leaseTransitions": 3, "leaseDurationSeconds": 30}
    renewed = {"renewTime": moment(datetime.now(UTC))}
    body = LEASES.body(metadata={"name": "shifter"}, spec=spec | renewed)
    api.cluster.create(LEASES, NAMESPACE, body, "root")
    world.door.looked_at = KubeProbe(
        api, NAMESPACE, "https://10.0.0.1:6443", lambda: KubeStore(api, NAMESPACE, "doctor", lambda: "n1")
    )
    return api


def told(ran: Result, subject: str) -> list[dict[str, Any]]:
    return [each for each in json.loads(ran.stdout)["findings"] if each["subject"] == subject]


@pytest.mark.parametrize("line", [["-n", NAMESPACE], ["--store", "kubernetes"], ["--context", "prod"]])
def test_a_cluster_is_looked_at_without_any_file(world: World, api: MemoryApi, line: list[str]) -> None:
    ran = world.run("doctor", "-o", "json", *line)

    assert api.calls
    (service,) = told(ran, "service")
    assert service["found"].startswith("pod-1_ab holds the lease shifter-system/shifter in epoch 3")
    assert {each["untried"] for each in (*told(ran, "fleet"), *told(ran, "policies"))} == {True}
    assert told(ran, "provider")[0]["found"] == "not asked: no fleet file was named"
    assert told(ran, "store directory") == []


def test_people_who_type_kubectl_shifter_mean_the_cluster(world: World, api: MemoryApi) -> None:
    session = world.session(program=KUBECTL_PROGRAM, store_path=None)
    ran = CliRunner().invoke(cli, ["doctor"], obj=session)

    assert "  ok       API server: https://10.0.0.1:6443 answers and knows you as ann\n" in ran.stdout
    assert api.calls


def test_all_but_the_guard_of_orders_is_well_and_the_exit_code_says_which(world: World, api: MemoryApi) -> None:
    del api
    ran = world.run("doctor", "-o", "json", "-n", NAMESPACE)
    machine = {"open files"}  # those of whoever runs the tests
    bad = [each for each in json.loads(ran.stdout)["findings"] if each["level"] == "problem"]

    assert ran.exit_code == Exit.UNHEALTHY
    assert {each["subject"] for each in bad} - machine == {"admission"}


def test_the_api_server_is_not_reached_and_it_is_said_with_exit_code_5(world: World, api: MemoryApi) -> None:
    api.set(down=True)
    ran = world.run("doctor", "-n", NAMESPACE)

    assert ran.exit_code == Exit.UNREACHABLE
    assert "  unknown  API server: https://10.0.0.1:6443: who asks cannot be told: connection refused\n" in ran.stdout
    assert "fix: kubectl cluster-info" in ran.stdout


def test_a_definition_of_another_version_is_told_with_the_command_that_mends_it(world: World, api: MemoryApi) -> None:
    api.cluster.withdraw(SHIFT_RECORDS)
    (found,) = told(world.run("doctor", "-o", "json", "-n", NAMESPACE), "definitions")

    assert found["found"] == "shiftrecords.shifter.io is not defined in this cluster"
    assert found["fix"] == "kubectl apply --server-side --force-conflicts -f deploy/chart/crds"


def test_a_missing_permission_is_told_with_the_line_that_grants_it(world: World, api: MemoryApi) -> None:
    api.fail(Fault.DENIED, "list", kind=SHIFTS, times=None)
    (found,) = told(world.run("doctor", "-o", "json", "-n", NAMESPACE), "rights")

    assert found["found"] == f"ann may not list shifts.shifter.io in namespace {NAMESPACE}"
    assert found["fix"].startswith("kubectl create role shifter-list-ann --verb=list --resource=shifts.shifter.io")


def test_who_may_look_at_nothing_is_told_one_line_that_mends_it(world: World, api: MemoryApi) -> None:
    for kind in (SHIFTS, SHIFT_FLEETS, SHIFT_ORDERS, SHIFT_RECORDS):
        api.fail(Fault.DENIED, "get", "list", kind=kind, times=None)
    (found,) = told(world.run("doctor", "-o", "json", "-n", NAMESPACE), "rights")

    assert found["fix"] == (
        f"kubectl create rolebinding shifter-viewer-ann --clusterrole=viewer.{NAMESPACE}.shifter.io --user=ann"
        f" -n {NAMESPACE}"
    )


def test_offline_the_cluster_is_not_asked(world: World, api: MemoryApi) -> None:
    ran = world.run("doctor", "--offline", "-o", "json", "-n", NAMESPACE)

    assert api.calls == []
    assert told(ran, "API server")[0]["untried"]


def test_one_answer_is_waited_for_a_few_seconds_at_most(world: World, api: MemoryApi) -> None:
    del api
    world.run("doctor", "-n", NAMESPACE)
    world.run("doctor", "-n", NAMESPACE, "--request-timeout", "2s")
    world.run("doctor", "-n", NAMESPACE, "--request-timeout", "60s")

    assert [each.request_timeout_seconds for each in world.door.addresses] == [6.0, 2.0, 6.0]


def test_a_kubeconfig_that_is_wrong_is_one_error(world: World, api: MemoryApi) -> None:
    del api
    world.door.failing = ConfigError("there is no context prod in the kubeconfig")
    ran = world.run("doctor", "--context", "prod")

    assert (ran.exit_code, ran.stdout) == (Exit.USAGE, "")
    assert ran.stderr == "error: there is no context prod in the kubeconfig\n"


@pytest.mark.parametrize(("given", "missing"), [([], "--fleet"), (["--fleet", "f.yaml"], "--policies")])
def test_of_a_store_in_a_file_the_files_that_go_with_it_must_be_named(
    world: World, tmp_path: Path, given: list[str], missing: str
) -> None:
    ran = world.run("doctor", "--store", str(tmp_path / "shifter.db"), *given)

    assert ran.exit_code == Exit.USAGE
    assert f"Missing option '{missing}'" in ran.stderr


def test_an_old_renewal_is_a_problem_whatever_the_zone_of_its_time(world: World, api: MemoryApi) -> None:
    body = api.cluster.get(LEASES, NAMESPACE, "shifter")
    body["spec"]["renewTime"] = moment(datetime.now(UTC) - timedelta(minutes=10)).replace("Z", "+00:00")
    api.cluster.replace(LEASES, NAMESPACE, body, status=False, user="root")
    (found,) = told(world.run("doctor", "-o", "json", "-n", NAMESPACE), "service")

    assert found["level"] == "problem"
    assert "it is dead or cut off, nobody leads" in found["found"]
