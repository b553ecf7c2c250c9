"""The command line against a real API server: who may look and order, in whose name, and a store that moves in."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
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
from tests.cluster.plane import ControlPlane
from tests.documents import a_policy
from tests.reports import a_report

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


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


def test_a_token_that_nobody_knows_is_said(desk: Desk) -> None:
    ran = desk.with_kubeconfig(desk.plane.kubeconfig("ann", token="expired"), "get")

    assert ran.exit_code == 5
    assert "the credentials are wrong or have expired" in ran.stderr
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
