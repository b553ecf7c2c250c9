"""`shifter doctor`, and the start of a replica, on a real API server: what is missing, who may what, what hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner

from shifter.adapters.kube.client import KubeClient
from shifter.adapters.kube.definitions import read_definitions
from shifter.adapters.kube.kinds import SHIFT_ORDERS, SHIFTS
from shifter.adapters.kube.store import KubeStore
from shifter.cli.main import cli
from shifter.cli.session import Session
from shifter.core.records import NewRecord, What
from shifter.core.state import ShiftState
from tests.cluster.installation import ACCOUNT, CHART, an_order, define
from tests.cluster.plane import ControlPlane
from tests.documents import a_policy, policy_document
from tests.reports import a_report

T = TypeVar("T")

DEADLINE_SECONDS = 20.0
HANGING_SECONDS = 15.0
FLEET: dict[str, Any] = {
    "apiVersion": "shifter.io/v1alpha1",
    "kind": "Fleet",
    "metadata": {"name": "lab"},
    "spec": {
        "datasources": {
            side: {"url": "http://127.0.0.1:9", "matchers": {"app": side}, "podMatchers": {"app": side}}
            for side in ("source", "target")
        },
        "provider": {"tencent": {"secretIdFile": "none", "secretKeyFile": "none"}},
    },
}


@dataclass(frozen=True, slots=True)
class Desk:
    """Somebody on call whose kubeconfig leads to the installation."""

    plane: ControlPlane
    namespace: str

    @property
    def account(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{ACCOUNT}"

    def look(self, who: str, *line: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
        """Return what a check-up tells, by group and subject, but for what is well; `ok` are those that are."""
        flags = ["--kubeconfig", str(self.plane.kubeconfig(who)), "-n", self.namespace]
        ran = CliRunner().invoke(cli, ["doctor", "-o", "json", *flags, *line], obj=Session(environment={}))
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for each in json.loads(ran.stdout)["findings"]:
            found.setdefault((each["group"], each["subject"]), []).append(each)
        return found


@pytest.fixture
def desk(plane: ControlPlane, installed: str, admin_api: KubeClient) -> Desk:
    """An installation that looks after one shift; nobody leads."""
    now = datetime.now(UTC)
    store = KubeStore(admin_api, installed, "tests", lambda: "n1")
    state = ShiftState.model_validate({"name": "shop", "policy": a_policy("shop"), "since": now})
    store.save(state, 0, [NewRecord(now, "shop", What.HOLDS, "shifter", "held")])
    store.report(a_report(now, "shop"))
    return Desk(plane, installed)


def test_what_is_well_is_told_to_an_administrator_and_nothing_else_is_found(desk: Desk) -> None:
    found = desk.look("root")
    said = {key: each["found"] for key, several in found.items() for each in several}
    bad = {each["subject"] for several in found.values() for each in several if each["level"] in {"problem", "unknown"}}

    untried = {each["subject"] for several in found.values() for each in several if each["untried"]}
    assert bad - untried - {"open files"} == set()
    assert said["store", "API server"] == f"{desk.plane.url} answers and knows you as root"
    assert said["store", "definitions"] == "all 4 keep everything that this shifter writes"
    assert said["store", "admission"].startswith(f"orders.{desk.namespace}.shifter.io is in force")
    assert said["store", "history"] == "the newest 1 records are as they were written"
    assert "give or take" in said["clocks", "API server"]


def test_the_service_account_may_all_it_needs_and_cannot_see_who_guards_orders(desk: Desk) -> None:
    found = desk.look("root", "--as", desk.account)

    assert [each["level"] for each in found["permissions", "rights"]] == ["ok"]
    assert [each["level"] for each in found["store", "admission"]] == ["unknown"]
    assert [each["level"] for each in found["store", "definitions"]] == ["ok"]


def test_who_looks_sees_everything_but_what_guards_orders(desk: Desk) -> None:
    found = desk.look("vic")

    assert [each["level"] for each in found["permissions", "rights"]] == ["ok"]
    assert "vic may not create shifts.shifter.io" in found["permissions", "service's rights"][0]["found"]
    assert found["permissions", "service's rights"][0]["untried"]
    assert [each["level"] for each in found["store", "definitions"]] == ["ok"]


def test_the_lines_that_are_named_grant_what_is_missing(desk: Desk) -> None:
    role = json.loads(desk.plane.kubectl("root", "get", "role", "shifter", "-n", desk.namespace, "-o", "json").stdout)
    for rule in role["rules"]:
        if "shiftorders/status" in rule["resources"] or rule["resources"] == ["shiftrecords"]:
            rule["resources"] = [each for each in rule["resources"] if each != "shiftorders/status"]
            rule["verbs"] = [each for each in rule["verbs"] if each != "create"]
    desk.plane.apply(role)
    missing = _until(lambda: desk.look("root", "--as", desk.account)["permissions", "rights"], _are_problems)
    for each in missing:
        for line in each["fix"].split(" && "):
            desk.plane.kubectl("root", *line.split()[1:])
    mended = _until(lambda: desk.look("root", "--as", desk.account)["permissions", "rights"], _are_well)

    assert [each["found"] for each in missing] == [
        f"{desk.account} may not update shiftorders.shifter.io/status in namespace {desk.namespace}",
        f"{desk.account} may not create shiftrecords.shifter.io in namespace {desk.namespace}",
    ]
    assert _are_well(mended)


def test_a_status_that_somebody_patches_is_told_with_the_tool(desk: Desk) -> None:
    patch = json.dumps({"status": {"share": 50}})
    line = ("patch", "shift", "shop", "-n", desk.namespace, "--subresource=status", "--type=merge", "-p", patch)
    desk.plane.kubectl("root", *line)
    told = [each["found"] for each in desk.look("vic")["store", "objects"] if each["level"] == "warning"]

    assert len(told) == 1
    assert "somebody else than shifter wrote its status: kubectl-patch at " in told[0]
    assert "status.share says 50, the saved state 0.0" in told[0]


def test_a_shift_that_is_being_deleted_and_an_order_that_nobody_answers_are_told(
    desk: Desk, admin_api: KubeClient
) -> None:
    admin_api.delete(SHIFTS, desk.namespace, "shop")
    order = an_order(desk.namespace, "root")
    made = admin_api.create(SHIFT_ORDERS, desk.namespace, order)
    found = desk.look("vic")

    assert "its finalizer keeps it" in found["store", "objects"][0]["found"]
    assert made["spec"]["by"] == "root"
    assert "1 orders wait" in found["store", "shifts"][0]["found"]


@pytest.fixture
def earlier(plane: ControlPlane, desk: Desk, admin_api: KubeClient) -> Iterator[None]:
    """The cluster has the definitions of an earlier shifter."""
    del desk
    told = plane.kubectl("root", "get", "crd", "shifts.shifter.io", "-o", "json").stdout
    definition = json.loads(told)
    definition["metadata"] = {key: definition["metadata"][key] for key in ("name", "resourceVersion")}
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["status"]["properties"]["savedBy"]
    plane.kubectl("root", "replace", "-f", "-", said=json.dumps(definition))
    try:
        _until(lambda: read_definitions(admin_api), lambda found: any(each.trouble for each in found))
        yield
    finally:
        plane.kubectl("root", "apply", "--server-side", "--force-conflicts", "-f", str(CHART / "crds"))
        _until(lambda: read_definitions(admin_api), lambda found: not any(each.trouble for each in found))


def test_definitions_of_an_earlier_shifter_are_told_by_their_field(desk: Desk, earlier: None) -> None:
    del earlier
    (found,) = desk.look("vic")["store", "definitions"]

    assert found["level"] == "problem"
    assert found["found"].startswith("shifts.shifter.io is defined without status.savedBy: ")


def test_a_replica_does_not_start_on_definitions_of_an_earlier_shifter(
    desk: Desk, earlier: None, tmp_path: Path
) -> None:
    del earlier
    ran = _start(desk, _files(tmp_path))

    assert ran.returncode == 4
    assert "error: shifts.shifter.io is defined without status.savedBy: " in ran.stderr
    assert "kubectl apply --server-side --force-conflicts -f deploy/chart/crds" in ran.stderr


@pytest.fixture
def leaving(plane: ControlPlane, desk: Desk, admin_api: KubeClient) -> Iterator[None]:
    """Somebody has deleted the definition of Shifts, of which one is in flight."""
    plane.kubectl("root", "delete", "crd", "shifts.shifter.io", "--wait=false")
    try:
        _until(lambda: admin_api.get(SHIFTS, desk.namespace, "shop"), _is_leaving)
        yield
    finally:
        for body in admin_api.list(SHIFTS, "").items:
            place = ("-n", body["metadata"]["namespace"], "shift", body["metadata"]["name"])
            plane.kubectl("root", "patch", *place, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        plane.kubectl("root", "wait", "--for=delete", "crd/shifts.shifter.io", "--timeout=60s", check=False)
        define(plane)


@pytest.mark.fault(
    on="Kubernetes",
    fault="somebody deletes the definition of Shifts while one is in flight",
    does="the finalizer of the Shift keeps both, and it is saved as before",
    sees="`shifter doctor`: `shop is being deleted since ..., its finalizer keeps it, and it holds`",
    safe_within="one tick",
)
def test_a_definition_that_is_deleted_is_kept_by_a_shift_in_flight_which_can_be_saved(
    desk: Desk, leaving: None, admin_api: KubeClient
) -> None:
    del leaving
    store = KubeStore(admin_api, desk.namespace, "tests", lambda: "n2")
    saved = store.load()["shop"]
    version = store.save(saved.state, saved.version, [NewRecord(datetime.now(UTC), "shop", What.HOLDS, "shifter", "h")])
    told = [each["found"] for each in desk.look("vic")["store", "objects"]]

    assert list(store.leaving()) == ["shop"]
    assert store.load()["shop"].version == version
    assert any("shop is being deleted since " in each for each in told)


def test_a_replica_does_not_start_without_its_policies_where_there_is_no_shift(
    plane: ControlPlane, installed: str, tmp_path: Path
) -> None:
    files = _files(tmp_path)
    (tmp_path / "policies").rename(tmp_path / "elsewhere")
    ran = _start(Desk(plane, installed), files)

    assert ran.returncode == 2
    assert "policies cannot be listed: " in ran.stderr


def test_a_server_that_hangs_is_told_in_time(desk: Desk) -> None:
    desk.plane.apiserver.freeze()
    began = time.monotonic()
    found = desk.look("vic")["store", "API server"]
    took = time.monotonic() - began

    assert (found[0]["level"], found[0]["unreachable"]) == ("unknown", True)
    assert took < HANGING_SECONDS


def _files(folder: Path) -> Sequence[str]:
    (folder / "policies").mkdir()
    (folder / "policies" / "shop.yaml").write_text(json.dumps(policy_document("shop")), encoding="utf-8")
    (folder / "fleet.yaml").write_text(json.dumps(FLEET), encoding="utf-8")
    return ("--fleet", str(folder / "fleet.yaml"), "--policies", str(folder / "policies"))


def _start(desk: Desk, files: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Start a replica that should end by itself."""
    kubeconfig = desk.plane.account_kubeconfig(desk.namespace, ACCOUNT)
    place = ("--kubeconfig", str(kubeconfig), "-n", desk.namespace)
    return subprocess.run(
        [sys.executable, "-m", "shifter", "run", *place, *files, "--listen", "127.0.0.1:0"],
        env=dict(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _is_leaving(body: dict[str, Any]) -> bool:
    return "deletionTimestamp" in body["metadata"]


def _are_problems(found: Sequence[dict[str, Any]]) -> bool:
    return [each["level"] for each in found] == ["problem", "problem"]


def _are_well(found: Sequence[dict[str, Any]]) -> bool:
    return [each["level"] for each in found] == ["ok"]


def _until(ask: Callable[[], T], is_so: Callable[[T], bool]) -> T:
    """Ask until it is so: an API server takes over roles and definitions a moment later."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so(found := ask()):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found
