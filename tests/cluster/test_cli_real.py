"""The command line against a real API server: who may look and order, in whose name, and a store that moves in."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shifter.adapters.kube.client import KubeClient
from shifter.adapters.kube.store import KubeStore
from shifter.adapters.sqlite import SqliteStore
from shifter.cli.main import cli
from shifter.cli.session import Session
from shifter.core.records import NewRecord, What
from shifter.core.state import ShiftState
from tests.cluster.installation import an_order, define
from tests.cluster.plane import ControlPlane
from tests.documents import a_policy
from tests.reports import a_report

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DEADLINE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Desk:
    """Somebody at a terminal whose kubeconfig leads to the installation."""

    plane: ControlPlane
    namespace: str

    def run(self, who: str, *line: str | Path) -> Result:
        """Run a command line as a person."""
        return self.with_kubeconfig(self.plane.kubeconfig(who), *line)

    def with_kubeconfig(self, kubeconfig: Path, *line: str | Path) -> Result:
        flags = ["--kubeconfig", str(kubeconfig), "-n", self.namespace]
        return CliRunner().invoke(cli, [*flags, *map(str, line)], obj=Session(environment={}))

    def orders(self) -> list[tuple[str, str, str]]:
        """Return shift, verb and `by` of the orders that there are."""
        listed = self.plane.kubectl("root", "get", "shiftorders", "-n", self.namespace, "-o", "json").stdout
        specs = [each["spec"] for each in json.loads(listed)["items"]]
        return [(spec["shift"], spec["verb"], spec["by"]) for spec in specs]


def _state(name: str) -> ShiftState:
    return ShiftState.model_validate({"name": name, "policy": a_policy(name), "since": NOON})


@pytest.fixture
def desk(plane: ControlPlane, installed: str, admin_api: KubeClient) -> Desk:
    """An installation that looks after one shift."""
    store = KubeStore(admin_api, installed, "tests", lambda: "n1")
    store.save(_state("shop"), 0, [NewRecord(NOON, "shop", What.HOLDS, "shifter", "held")])
    store.report(a_report(NOON, "shop"))
    return Desk(plane, installed)


def test_who_may_look_sees_the_shift_and_may_not_order(desk: Desk) -> None:
    looked, ordered = desk.run("vic", "get"), desk.run("vic", "pause", "shop")

    assert (looked.exit_code, "shop" in looked.stdout) == (0, True)
    assert ordered.exit_code == 4
    assert (
        "error: vic may not pause shop: it needs the verb pause on shifts.shifter.io in namespace"
        f" {desk.namespace}\n" in ordered.stderr
    )
    assert desk.orders() == []


def test_an_order_is_in_the_name_that_the_server_verified(desk: Desk) -> None:
    assert desk.run("ann", "pause", "shop").exit_code == 0
    assert desk.run("root", "freeze", "--as", "adm").exit_code == 0

    assert sorted(desk.orders()) == [("*", "freeze", "adm"), ("shop", "pause", "ann")]


def test_the_line_that_a_refusal_prints_grants_the_order(desk: Desk) -> None:
    line = ["reconcile", "shop", "--adopt", "--yes"]
    refused = desk.run("ann", *line)
    (hint,) = [each for each in refused.stderr.splitlines() if each.startswith("hint: grant it with: ")]
    for command in hint.removeprefix("hint: grant it with: ").split(" && "):
        desk.plane.kubectl("root", *shlex.split(command)[1:])
    granted = desk.run("ann", *line)

    assert (refused.exit_code, granted.exit_code, granted.stderr) == (4, 0, granted.stderr)
    assert desk.orders() == [("shop", "reconcile", "ann")]


def test_who_may_not_even_look_is_told_which_verb_on_what(desk: Desk) -> None:
    ran = desk.run("eve", "get")

    assert (ran.exit_code, ran.stdout) == (4, "")
    assert 'cannot list resource "shifts" in API group "shifter.io"' in ran.stderr


@pytest.mark.parametrize("line", [("get",), ("status",), ("pause", "shop"), ("freeze",)])
def test_a_token_that_nobody_knows_is_said_alike_by_every_command(desk: Desk, line: tuple[str, ...]) -> None:
    ran = desk.with_kubeconfig(desk.plane.kubeconfig("ann", token="expired"), *line)

    assert ran.exit_code == 5
    assert "the API server does not know who asks (Unauthorized): the token or certificate has expired" in ran.stderr
    assert "hint: log in again, until `kubectl auth whoami` knows you" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("flags", "says"),
    [(["--context", "nope"], "nope"), (["--kubeconfig", "/nowhere/config"], "/nowhere/config")],
)
def test_a_wrong_kubeconfig_is_an_invalid_file(desk: Desk, flags: list[str], says: str) -> None:
    ran = desk.run("ann", "get", *flags)

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert says in ran.stderr


def test_a_file_moves_in_with_its_history_and_back(
    plane: ControlPlane, installed: str, tmp_path: Path, client: Callable[[str], KubeClient]
) -> None:
    desk, old = Desk(plane, installed), tmp_path / "old.db"
    with closing(SqliteStore(old)) as store:
        for name in ("pay", "shop"):
            store.save(_state(name), 0, [NewRecord(NOON, name, What.HOLDS, "shifter", "held")])
        store.report(a_report(NOON, "shop"))
    moved = desk.run("root", "store", "copy", "--from", old, "--to", "kubernetes")

    assert (moved.exit_code, "copied, read back and compared" in moved.stdout) == (0, True), moved.stderr
    verified = desk.run("vic", "history", "--verify")
    assert (verified.exit_code, verified.stdout.splitlines()[-1]) == (0, "3 chains, 5 records: all of them unbroken")
    assert sorted(KubeStore(client("root"), installed, "tests", lambda: "n1").load()) == ["pay", "shop"]

    back = desk.run("root", "store", "copy", "--from", "kubernetes", "--to", tmp_path / "new.db")
    assert (back.exit_code, "copied, read back and compared" in back.stdout) == (0, True), back.stderr


def test_who_copies_without_the_services_rights_is_told_so_at_once(desk: Desk, tmp_path: Path) -> None:
    line = ("store", "copy", "--from", "kubernetes", "--to", tmp_path / "new.db")
    began = time.monotonic()
    for more in ((), ("--dry-run",)):
        ran = desk.run("ann", *line, *more)

        assert ran.exit_code == 4, ran.stderr
        assert (
            f"error: ann may not update leases.coordination.k8s.io shifter in namespace {desk.namespace}" in ran.stderr
        )
        assert f"kubectl -n {desk.namespace} create rolebinding copying --role=shifter --user=ann" in ran.stderr
    assert time.monotonic() - began < DEADLINE_SECONDS


def test_the_line_that_a_refused_copy_prints_grants_it(desk: Desk, tmp_path: Path) -> None:
    line = ("store", "copy", "--from", "kubernetes", "--to", tmp_path / "new.db", "--dry-run")
    (hint,) = [each for each in desk.run("ann", *line).stderr.splitlines() if each.startswith("hint: ")]
    desk.plane.kubectl("root", *shlex.split(hint.partition("kubectl ")[2]))
    ran = _until(lambda: desk.run("ann", *line), lambda ran: ran.exit_code != 4)

    assert ran.exit_code == 0, ran.stderr


@pytest.mark.parametrize("line", [("get",), ("get", "-o", "json"), ("status",), ("freeze",)])
def test_a_namespace_that_is_not_there_is_told(desk: Desk, line: tuple[str, ...]) -> None:
    ran = desk.run("root", *line, "-n", "nowhere")

    assert (ran.exit_code, ran.stdout) == (3, "")
    assert "nowhere" in ran.stderr
    assert "hint: -n names the namespace that shifter is installed in" in ran.stderr


@pytest.fixture
def departing(desk: Desk) -> Iterator[None]:
    """Somebody has deleted the definition of orders, and one of them, in another namespace, has a finalizer."""
    elsewhere, plane = f"{desk.namespace}-elsewhere", desk.plane
    plane.add_namespace(elsewhere)
    order = an_order(elsewhere, "root")
    order["metadata"]["finalizers"] = ["example.com/held"]
    name = plane.kubectl("root", "create", "-f", "-", "-o", "name", said=json.dumps(order)).stdout.strip()
    plane.kubectl("root", "delete", "crd", "shiftorders.shifter.io", "--wait=false")
    try:
        yield
    finally:
        loose = '{"metadata":{"finalizers":null}}'
        plane.kubectl("root", "patch", "-n", elsewhere, name, "--type=merge", "-p", loose)
        plane.kubectl("root", "wait", "--for=delete", "crd/shiftorders.shifter.io", "--timeout=60s", check=False)
        define(plane)


def test_a_definition_on_its_way_out_takes_no_orders_and_status_says_so(desk: Desk, departing: None) -> None:
    del departing
    said = "none can be given: the definition of shiftorders.shifter.io is being deleted"
    told = _until(lambda: desk.run("vic", "status"), lambda ran: said in ran.stdout)
    ordered = _until(lambda: desk.run("ann", "pause", "shop"), lambda ran: ran.exit_code != 0)

    assert told.exit_code == 6
    assert ordered.exit_code == 4
    assert "hint: the definition is being deleted, and waits for finalizers of its objects" in ordered.stderr
    assert "a role of shifter's" not in ordered.stderr


def _until(run: Callable[[], Result], is_so: Callable[[Result], bool]) -> Result:
    """Run until it is so: an API server takes over roles and definitions a moment later."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so(ran := run()):
        assert time.monotonic() < deadline, ran.output
        time.sleep(0.2)
    return ran
