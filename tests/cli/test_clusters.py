"""A store in a cluster: which one is meant, who asks, what they may order, and what a Tab costs."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
import pytest
from click.testing import CliRunner

from shifter.adapters.memory_store import MemoryStore
from shifter.cli.addresses import ClusterFlags, chosen
from shifter.cli.clusters import Clusters, forbidden, grant
from shifter.cli.completing import answer_kubectl
from shifter.cli.exits import Exit
from shifter.cli.kubeconfigs import names
from shifter.cli.main import cli
from shifter.cli.session import KUBECTL_PROGRAM, Session
from shifter.core.chain import START, Link, Stretch
from shifter.core.deciding.orders import FLEET
from shifter.core.records import NewRecord, What
from shifter.core.state import FleetState, Freeze
from shifter.errors import ConfigError, NotFoundError, RefusedError, ShifterError, StoreUnavailableError
from shifter.wiring import ClusterAddress

if TYPE_CHECKING:
    from tests.cli.conftest import World

DEFAULT = ClusterAddress(None, "", "", "", "shifter-system", "", 10.0)
CLUSTER = ["-n", "shifter-system"]
"""What makes a cluster of any line, and changes nothing."""


class TestWhichStore:
    """A file or a cluster: what is typed wins over what is set, and both at once are refused."""

    @pytest.mark.parametrize(
        ("store", "flags", "environment", "in_cluster", "address"),
        [
            (None, {}, {"HOME": "/h"}, False, Path("/h/.local/state/shifter/shifter.db")),
            (None, {}, {"SHIFTER_STORE": "/a.db"}, False, Path("/a.db")),
            (None, {}, {"SHIFTER_STORE": "/a.db"}, True, Path("/a.db")),
            ("/b.db", {}, {"SHIFTER_STORE": "kubernetes"}, True, Path("/b.db")),
            ("./kubernetes", {}, {}, False, Path("kubernetes")),
            ("kubernetes", {}, {"SHIFTER_STORE": "/a.db"}, False, DEFAULT),
            (None, {}, {"SHIFTER_STORE": "kubernetes"}, False, DEFAULT),
            (None, {}, {}, True, DEFAULT),
            (None, {"context": "prod"}, {"SHIFTER_STORE": "/a.db"}, False, replace(DEFAULT, context="prod")),
            (None, {"cluster": "c1"}, {}, False, replace(DEFAULT, cluster="c1")),
            (None, {"user": "u1"}, {}, False, replace(DEFAULT, user="u1")),
            (None, {"impersonate": "bob"}, {}, False, replace(DEFAULT, impersonate="bob")),
            (None, {"kubeconfig": "k.yaml"}, {}, False, replace(DEFAULT, kubeconfig=Path("k.yaml"))),
            (None, {"request_timeout_seconds": 3.0}, {}, False, replace(DEFAULT, request_timeout_seconds=3.0)),
            ("kubernetes", {}, {"SHIFTER_NAMESPACE": "mine"}, False, replace(DEFAULT, namespace="mine")),
            (None, {"namespace": "ours"}, {"SHIFTER_NAMESPACE": "mine"}, False, replace(DEFAULT, namespace="ours")),
        ],
    )
    def test_the_store_that_is_meant(
        self,
        store: str | None,
        flags: dict[str, Any],
        environment: dict[str, str],
        address: Path | ClusterAddress,
        *,
        in_cluster: bool,
    ) -> None:
        assert chosen(store, ClusterFlags(**flags), environment, in_cluster=in_cluster) == address

    @pytest.mark.parametrize(
        ("flags", "first"),
        [(["--context", "prod"], "--context"), (["-n", "x"], "--namespace"), (["--as", "bob"], "--as")],
    )
    def test_a_file_and_a_cluster_at_once_are_refused(self, world: World, flags: list[str], first: str) -> None:
        ran = world.run("get", "--store", "/a.db", *flags)

        assert (ran.exit_code, ran.stdout) == (Exit.USAGE, "")
        assert ran.stderr.splitlines()[0] == (
            f"error: --store /a.db is a file, and {first} is for a store in a cluster: one of the two"
        )

    @pytest.mark.parametrize(
        "line",
        [
            ["--context", "prod", "-n", "ours", "get"],
            ["get", "--context", "prod", "--namespace", "ours"],
            ["--context", "stage", "-n", "theirs", "get", "--context=prod", "-nours"],
            ["--store", "kubernetes", "--context", "prod", "get", "-n", "ours"],
        ],
    )
    def test_flags_are_taken_before_and_after_the_command_and_the_later_counts(
        self, world: World, line: list[str]
    ) -> None:
        world.shift()
        ran = world.run(*line)

        assert ran.exit_code == 0
        assert "shop" in ran.stdout
        assert {(each.context, each.namespace) for each in world.door.addresses} == {("prod", "ours")}
        assert world.opened == []

    @pytest.mark.parametrize(
        ("typed", "seconds"), [("30s", 30.0), ("2m", 120.0), ("5", 5.0), ("1s", 1.0), ("10m", 600.0)]
    )
    def test_request_timeout_is_taken_as_kubectl_takes_it(self, world: World, typed: str, seconds: float) -> None:
        world.run("get", "--request-timeout", typed)

        assert world.door.addresses[0].request_timeout_seconds == seconds

    @pytest.mark.parametrize("typed", ["0", "500ms", "11m", "601"])
    def test_no_call_waits_for_ever(self, world: World, typed: str) -> None:
        ran = world.run("get", "--request-timeout", typed)

        assert ran.exit_code == Exit.USAGE
        assert f"{typed!r} is not from 1s to 10m: no call waits for ever" in ran.stderr

    def test_a_timeout_that_is_none_is_refused(self, world: World) -> None:
        ran = world.run("get", "--request-timeout", "soon")

        assert ran.exit_code == Exit.USAGE
        assert "not a duration" in ran.stderr

    def test_every_command_that_opens_a_store_takes_all_of_kubectls_flags(self) -> None:
        flags = {"--kubeconfig", "--context", "--cluster", "--user", "-n", "--namespace", "--as", "--request-timeout"}
        context = click.Context(cli)
        commands = [each for name in cli.list_commands(context) if (each := cli.get_command(context, name))]
        taking = {
            str(command.name)
            for command in commands
            if flags <= {name for param in command.params for name in param.opts}
        }

        assert taking >= {"get", "describe", "status", "watch", "history", "explain", "plan", "bundle", "doctor", "run"}
        assert taking >= {"pause", "resume", "approve", "promote", "rollback", "retry", "reconcile"}
        assert taking >= {"freeze", "unfreeze"}

    def test_the_roots_help_shows_the_flags_and_a_commands_own_leads_there(self, world: World) -> None:
        root, own = world.run("--help").stdout, world.run("get", "--help").stdout

        assert "--context NAME" in root
        assert "--context" not in own
        assert "or kubernetes (flags: `shifter --help`)" in " ".join(own.split())

    def test_the_program_kubectl_knows_means_a_cluster(self, world: World) -> None:
        world.shift()
        CliRunner().invoke(cli, ["get"], obj=world.session(program=KUBECTL_PROGRAM, store_path=None))

        assert world.door.addresses[0] == DEFAULT


class TestWhoAsks:
    """In a cluster an order is in the name that the cluster verified."""

    def test_an_order_is_in_the_verified_name(self, world: World) -> None:
        world.shift()
        world.door.identified = "system:serviceaccount:ops:bot"
        ran = world.run("pause", "shop", *CLUSTER)

        assert ran.exit_code == 0
        assert [order.request.by for order in world.store.open_orders()] == ["system:serviceaccount:ops:bot"]

    def test_as_asks_as_somebody_else_as_the_cluster_verified_it(self, world: World) -> None:
        world.shift()
        world.run("freeze", "--as", "bob")

        assert [order.request.by for order in world.store.open_orders()] == ["bob"]
        assert {each.impersonate for each in world.door.addresses} == {"bob"}

    def test_a_claimed_name_is_refused(self, world: World) -> None:
        world.shift()
        ran = world.run("pause", "shop", "--by", "bob", *CLUSTER)

        assert (ran.exit_code, ran.stdout) == (Exit.USAGE, "")
        assert ran.stderr == (
            "error: --by is for a store in a file: in a cluster an order is in the name that the cluster verified\n"
            "hint: --as asks as somebody else, if the cluster lets you\n"
        )
        assert list(world.store.open_orders()) == []

    def test_ones_own_freeze_is_ones_own_by_the_verified_name(self, world: World) -> None:
        world.shift()
        world.store.save_fleet(FleetState(freezes=(Freeze(by="ann", reason="", at=world.now),)), 0)

        assert world.run("unfreeze", *CLUSTER).exit_code == 0


class TestDeletedShifts:
    """A Shift that somebody took away can be stopped and taken back by its name while a service may still know it."""

    @pytest.fixture
    def gone(self, world: World) -> World:
        """A world with one shift that is there, and one of which only the history is left."""
        world.shift("pay")
        world.shift("shop")
        world.record(NewRecord(world.now, "shop", What.PHASE, "shifter", "it was here"))
        world.store.remove("shop")
        return world

    @pytest.mark.parametrize("line", [("rollback", "shop", "-y"), ("pause", "shop"), ("rollback", "shop", "pay", "-y")])
    def test_it_is_ordered_by_its_name_with_a_note(self, gone: World, line: tuple[str, ...]) -> None:
        ran = gone.run(*line, *CLUSTER)

        assert ran.exit_code == 0
        assert {"shop"} <= {order.request.shift for order in gone.store.open_orders()}
        assert (
            "note: shop: there is a history of it, and nothing is saved of it any more; it begins anew if its policy is"
            " there. The order is kept: a service that remembers the shift obeys it now"
        ) in ran.stderr

    @pytest.mark.parametrize("line", [("promote", "shop", "-y"), ("resume", "shop"), ("rollback", "shopp", "-y")])
    def test_what_raises_and_what_never_was_is_not_ordered(self, gone: World, line: tuple[str, ...]) -> None:
        ran = gone.run(*line, *CLUSTER)

        assert ran.exit_code == Exit.NOT_FOUND
        assert f"no shift {line[1]!r}" in ran.stderr
        assert list(gone.store.open_orders()) == []

    def test_where_no_service_runs_nobody_remembers_it(self, gone: World) -> None:
        gone.served = False

        assert gone.run("rollback", "shop", "-y", *CLUSTER).exit_code == Exit.NOT_FOUND

    def test_in_a_file_nobody_deletes_a_shift(self, gone: World) -> None:
        assert gone.run("rollback", "shop", "-y").exit_code == Exit.NOT_FOUND

    def test_who_waits_for_the_answer_is_told_that_there_is_none_yet(self, gone: World) -> None:
        ran = gone.run("rollback", "shop", "-y", "--wait", *CLUSTER)

        assert ran.exit_code == Exit.TIMED_OUT
        assert "it stays recorded; no need to repeat it" in ran.stderr


class TestPermissions:
    """RBAC says who may order what; a refusal names what is missing, and the line that grants it."""

    def test_a_denied_order_names_the_permission_and_grants_it(self, world: World) -> None:
        world.shift()
        world.door.denied = {"promote": set()}
        ran = world.run("promote", "shop", *CLUSTER)

        assert (ran.exit_code, ran.stdout) == (Exit.REFUSED, "")
        assert ran.stderr == (
            "error: ann may not promote shop: it needs the verb promote on shifts.shifter.io in namespace"
            " shifter-system\n"
            "hint: grant it with: kubectl create role shifter-promote-shop-ann --verb=promote"
            " --resource=shifts.shifter.io --resource-name=shop -n shifter-system"
            " && kubectl create rolebinding shifter-promote-shop-ann --role=shifter-promote-shop-ann --user=ann"
            " -n shifter-system\n"
        )
        assert list(world.store.open_orders()) == []

    def test_an_order_to_all_shifts_needs_it_on_all_of_them(self, world: World) -> None:
        world.shift()
        world.door.denied = {"freeze": set()}
        ran = world.run("freeze", *CLUSTER)

        assert ran.exit_code == Exit.REFUSED
        assert ran.stderr.startswith("error: ann may not freeze all shifts: it needs the verb freeze on shifts")
        assert "--resource-name" not in ran.stderr
        assert world.door.asked == [("freeze", "*")]

    def test_nobody_is_asked_to_confirm_what_they_may_not(self, world: World) -> None:
        world.shift()
        world.can_ask = True
        world.door.denied = {"rollback": set()}
        ran = world.run("rollback", "shop", *CLUSTER)

        assert ran.exit_code == Exit.REFUSED
        assert "Go ahead?" not in ran.stderr

    def test_of_several_shifts_those_that_are_allowed_are_ordered(self, world: World) -> None:
        world.shift("shop")
        world.shift("pay")
        world.door.denied = {"pause": {"pay"}}
        ran = world.run("pause", "--all", *CLUSTER)

        assert ran.exit_code == Exit.REFUSED
        assert ran.stdout == "order 1: pause shop recorded; the service will answer\n"
        assert "ann may not pause pay" in ran.stderr

    def test_who_may_do_it_to_all_is_asked_once(self, world: World) -> None:
        world.shift("shop")
        world.shift("pay")
        world.run("pause", "--all", *CLUSTER)

        assert world.door.asked == [("pause", FLEET)]

    @pytest.mark.parametrize("error", [StoreUnavailableError("timed out"), RefusedError("ann may not ask")])
    def test_what_cannot_be_asked_is_left_to_the_order_itself(self, world: World, error: ShifterError) -> None:
        world.shift()
        world.door.undecided = error

        assert world.run("pause", "shop", *CLUSTER).exit_code == 0

    def test_in_a_file_nobody_asks_for_permissions(self, world: World) -> None:
        world.shift()
        world.door.denied = {"pause": set()}

        assert world.run("pause", "shop").exit_code == 0
        assert world.door.addresses == []

    @pytest.mark.parametrize(
        ("by", "name", "subject"),
        [
            ("ann", "shifter-pause-shop-ann", "--user=ann"),
            ("Bob@Corp.example", "shifter-pause-shop-bob-corp.example", "--user=Bob@Corp.example"),
            ("o'neil", "shifter-pause-shop-o-neil", "--user=o'neil"),
            ("system:serviceaccount:ops:bot", "shifter-pause-shop-ops-bot", "--serviceaccount=ops:bot"),
            ("王", "shifter-pause-shop-somebody", "--user=王"),
        ],
    )
    def test_the_line_that_grants_can_be_pasted_whoever_it_is_for(self, by: str, name: str, subject: str) -> None:
        role, binding = grant(by, "pause", "shop", "ours")

        assert shlex.split(role)[:4] == ["kubectl", "create", "role", name]
        made = ["kubectl", "create", "rolebinding", name, f"--role={name}", subject, "-n", "ours"]
        assert shlex.split(binding) == made

    def test_the_refusal_ends_with_the_guards_code(self) -> None:
        assert forbidden("ann", "pause", "shop", "ours").code is Exit.REFUSED


class TestErrors:
    """What is wrong with the cluster is a sentence, with what mends it where that is known."""

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (ConfigError("the kubeconfig k.yaml has no context prod"), Exit.USAGE),
            (StoreUnavailableError("the cluster does not know you: the token is expired", remedy="log in"), 5),
            (
                RefusedError(
                    "the cluster has no shifts.shifter.io", remedy="helm install shifter deploy/chart -n shifter-system"
                ),
                Exit.REFUSED,
            ),
        ],
    )
    def test_an_error_is_one_line_its_remedy_another(self, world: World, error: Exception, code: int) -> None:
        world.door.failing = cast("Any", error)
        ran = world.run("get", *CLUSTER)
        remedy = getattr(error, "remedy", "")

        assert (ran.exit_code, ran.stdout) == (code, "")
        assert ran.stderr == f"error: {error}\n" + (f"hint: {remedy}\n" if remedy else "")

    def test_status_says_the_remedy_too(self, world: World) -> None:
        world.door.failing = StoreUnavailableError("nobody answers", remedy="look at the API server")
        ran = world.run("status", *CLUSTER)

        assert ran.exit_code == Exit.UNREACHABLE
        assert ran.stderr == "error: nobody answers\nhint: look at the API server\n"

    def test_who_may_not_look_at_the_lease_is_not_told_that_nobody_leads(self, world: World) -> None:
        world.shift()
        world.served = False
        world.door.unled = RefusedError("ann may not get leases")

        assert world.run("get", *CLUSTER).stderr == ""

    def test_where_nothing_is_the_namespace_is_named(self, world: World) -> None:
        ran = world.run("get", "-n", "wrong")

        assert ran.stderr.startswith("no shifts yet in namespace wrong: the service takes them")

    def test_a_namespace_where_nobody_leads_is_not_said_to_wait_for_policies(self, world: World) -> None:
        world.served = False
        ran = world.run("get", "-n", "nowhere")
        told = world.run("status", "-n", "nowhere")

        assert ran.stderr.splitlines()[0] == (
            "no shifts in namespace nowhere, and nobody leads there: is shifter installed in it? -n names another one"
        )
        assert "shifts    none in namespace nowhere: is shifter installed in it?" in told.stdout
        assert (ran.exit_code, told.exit_code) == (0, Exit.UNHEALTHY)

    @pytest.mark.parametrize(
        "line", [("get",), ("get", "-o", "json"), ("get", "-o", "name"), ("status",), ("status", "-o", "json")]
    )
    def test_a_namespace_that_does_not_exist_is_an_error(self, world: World, line: tuple[str, ...]) -> None:
        world.door.closed_by = NotFoundError("there is no namespace nowhere in this cluster", remedy="-n names it")
        ran = world.run(*line, "-n", "nowhere")

        assert (ran.exit_code, ran.stdout) == (Exit.NOT_FOUND, "")
        assert ran.stderr == "error: there is no namespace nowhere in this cluster\nhint: -n names it\n"

    @pytest.mark.parametrize("error", [StoreUnavailableError("timed out"), RefusedError("ann may not ask")])
    def test_whether_orders_can_be_given_is_not_said_where_it_cannot_be_told(
        self, world: World, error: ShifterError
    ) -> None:
        world.shift()
        world.door.closed_by = error

        assert world.run("status", *CLUSTER).exit_code == 0

    def test_a_cluster_that_takes_no_orders_is_unhealthy(self, world: World) -> None:
        world.shift()
        world.door.closed_by = why = "the definition of shiftorders.shifter.io is being deleted"
        ran, short = world.run("status", *CLUSTER), world.run("status", "--short", *CLUSTER)

        assert (ran.exit_code, short.exit_code) == (Exit.UNHEALTHY, Exit.UNHEALTHY)
        assert f"orders    none waits; none can be given: {why}\n" in ran.stdout
        assert short.stdout == "shifter: 1 shifting, no order possible\n"
        assert world.json("status", *CLUSTER)["noOrders"] == why

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (StoreUnavailableError("the API server does not know who asks"), Exit.UNREACHABLE),
            (RefusedError("shifts.shifter.io is forbidden"), Exit.REFUSED),
            (NotFoundError('namespaces "x" not found'), Exit.NOT_FOUND),
            (ConfigError("there is no kubeconfig"), Exit.USAGE),
        ],
    )
    def test_the_same_fault_ends_every_command_with_the_same_code(
        self, world: World, error: ShifterError, code: Exit
    ) -> None:
        world.door.failing = error
        lines = [("get",), ("status",), ("status", "--short"), ("history",), ("pause", "shop"), ("freeze",)]

        assert {world.run(*line, *CLUSTER).exit_code for line in lines} == {code}
        assert world.run("status", "--short", *CLUSTER).stdout == "shifter: the store cannot be read\n"

    def test_nobody_leads_in_the_cluster_and_it_is_said(self, world: World) -> None:
        world.shift()
        world.served = False

        assert "no service runs on this store" in world.run("get", *CLUSTER).stderr

    def test_a_support_dump_is_made_of_a_cluster_too(self, world: World, tmp_path: Path) -> None:
        world.shift()
        files = ["--fleet", str(tmp_path / "f.yaml"), "--policies", str(tmp_path)]
        ran = world.run("bundle", "-o", str(tmp_path / "dump.tar.gz"), *files, *CLUSTER)
        listed = subprocess.run(
            ["tar", "-tzf", str(tmp_path / "dump.tar.gz")],  # noqa: S607 - the tar of whoever tests
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        ).stdout

        assert "shifts.json" in listed
        assert "doctor.json: no cluster is asked for a bundle: add what `shifter doctor -o json` says" in ran.stderr


class TestCompletion:
    """A Tab asks the cluster for names with little patience, and never fails."""

    def _told(self, world: World, *words: str) -> list[str]:
        return answer_kubectl(cli, world.session(program=KUBECTL_PROGRAM, store_path=None), words)

    @pytest.mark.parametrize("words", [("get", ""), ("describe", ""), ("get", "--context", "prod", "")])
    def test_shifts_by_name_within_a_second(self, world: World, words: tuple[str, ...]) -> None:
        world.shift("shop")
        world.shift("pay")

        assert self._told(world, *words) == ["pay", "shop", ":4"]
        assert {each.request_timeout_seconds for each in world.door.addresses} == {1.0}
        assert world.closed == len(world.door.addresses)

    def test_shares_of_a_shift_too(self, world: World) -> None:
        world.shift("shop")

        assert self._told(world, "promote", "shop", "--to", "") == ["1", "25", "100", ":4"]
        assert world.door.addresses[0].request_timeout_seconds == 1.0

    def test_a_cluster_that_does_not_answer_offers_nothing(self, world: World) -> None:
        world.door.failing = StoreUnavailableError("nobody answers")

        assert self._told(world, "get", "") == [":4"]

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("get", "--context", "p"), ["prod", ":4"]),
            (("--context", ""), ["stage", "prod", ":4"]),
            (("get", "--cluster", ""), ["c1", ":4"]),
            (("get", "--user", ""), [":4"]),
        ],
    )
    def test_contexts_and_clusters_come_from_the_kubeconfig(
        self, world: World, tmp_path: Path, words: tuple[str, ...], told: list[str]
    ) -> None:
        path = tmp_path / "config"
        path.write_text(json.dumps({"contexts": [{"name": "stage"}, {"name": "prod"}], "clusters": [{"name": "c1"}]}))
        session = world.session(environment={"KUBECONFIG": str(path)}, store_path=None)

        assert answer_kubectl(cli, session, words) == told
        assert world.door.addresses == []

    def test_the_kubeconfig_that_was_typed_is_the_one_that_is_read(self, world: World, tmp_path: Path) -> None:
        path = tmp_path / "typed"
        path.write_text(json.dumps({"contexts": [{"name": "mine"}]}))

        assert self._told(world, "get", "--kubeconfig", str(path), "--context", "") == ["mine", ":4"]

    def test_several_kubeconfigs_are_read_as_one(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / name).write_text(json.dumps({"contexts": [{"name": name}, {"name": "both"}, "odd", {}]}))
        listed = {"KUBECONFIG": f"{tmp_path / 'a'}:{tmp_path / 'b'}::{tmp_path / 'none'}"}

        assert names("context", None, listed) == ("a", "both", "b")

    def test_without_kubeconfig_the_home_is_looked_at(self, tmp_path: Path) -> None:
        (tmp_path / ".kube").mkdir()
        (tmp_path / ".kube" / "config").write_text(json.dumps({"contexts": [{"name": "home"}]}))

        assert names("context", None, {"HOME": str(tmp_path)}) == ("home",)

    @pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[1", b"- 1", b"contexts: 3", b"", b"{" * 5000])
    def test_a_broken_kubeconfig_offers_nothing(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "config"
        path.write_bytes(content)

        assert names("context", str(path), {}) == ()

    def test_what_is_no_file_offers_nothing(self, tmp_path: Path) -> None:
        assert names("context", str(tmp_path), {}) == ()

    def test_help_and_version_import_nothing_of_a_cluster(self) -> None:
        code = """
import sys
from shifter.cli.main import cli
from shifter.cli.session import KUBECTL_PROGRAM, Session
for line in (["--help"], ["version"], ["get", "--help"]):
    try:
        cli.main(line, obj=Session(program=KUBECTL_PROGRAM))
    except SystemExit:
        pass
    if line != ["get", "--help"]:
        assert not {"pydantic", "yaml", "rich"} & set(sys.modules), line
    assert "kubernetes" not in sys.modules, line
"""
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)

        assert (ran.returncode, ran.stderr) == (0, "")


class _Apart(MemoryStore):
    """The store of a world whose history is kept in a chain per shift."""

    def __init__(self, chains: dict[str, list[Link]]) -> None:
        super().__init__()
        self._of = chains

    def chains(self) -> list[str]:
        return list(self._of)

    def chain(self, first: int, limit: int, of: str = "") -> Stretch:
        if of not in self._of:
            raise NotFoundError(of)
        kept = MemoryStore()
        kept.rewrite(self._of[of])
        links = self._of[of]
        stretch = kept.chain(first, limit)
        return replace(stretch, head=START if not links else replace(START, id=links[-1].id, hash=links[-1].hash))


class TestChainsApart:
    """In a cluster every shift has a chain of its own, and numbers of its own."""

    @pytest.fixture
    def apart(self, world: World) -> World:
        """Two shifts, whose records are in chains of their own."""
        from shifter.adapters.saved_records import link_of  # noqa: PLC0415 - for this one fixture
        from shifter.core.chain import Seal, chained  # noqa: PLC0415 - as above
        from shifter.core.records import NewRecord, What  # noqa: PLC0415 - as above

        chains: dict[str, list[Link]] = {FLEET: [], "pay": [], "shop": []}
        for shift in ("pay", "shop", "shop"):
            links = chains[shift]
            head = Seal(links[-1].id, links[-1].hash) if links else START
            links.append(chained(head, link_of(NewRecord(world.now, shift, What.HOLDS, "shifter", "held"))))
        world.store = _Apart(chains)
        for name in ("pay", "shop"):
            world.shift(name)
        return world

    def test_all_of_them_are_verified(self, apart: World) -> None:
        ran = apart.run("history", "--verify", *CLUSTER)
        told = ran.stdout.splitlines()

        assert ran.exit_code == 0
        assert told[0] == "all shifts: no records"
        assert told[1].startswith("pay: 1 record, unbroken from 2026-11-20 20:00:00 ")
        assert told[2].startswith("pay: record 1 has the hash ")
        assert told[-1] == "3 chains, 3 records: all of them unbroken"

    def test_one_alone_can_be_verified(self, apart: World) -> None:
        told = apart.run("history", "shop", "--verify", *CLUSTER).stdout.splitlines()

        assert told[0].startswith("shop: 2 records, unbroken")
        assert told[-1] == "1 chain, 2 records: all of them unbroken"

    def test_an_unknown_one_is_not_found(self, apart: World) -> None:
        assert apart.run("history", "shp", "--verify", *CLUSTER).exit_code == Exit.NOT_FOUND

    def test_a_broken_one_is_told_of_by_name(self, apart: World) -> None:
        store = cast("_Apart", apart.store)
        store._of["shop"][0] = replace(store._of["shop"][0], reason="nothing")
        ran = apart.run("history", "--verify", *CLUSTER)

        assert ran.exit_code == Exit.UNHEALTHY
        assert "shop:   record 1 was changed after it was written" in ran.stdout
        assert ran.stdout.splitlines()[-1] == "3 chains, 3 records: 1 of them not as written"
        assert ran.stderr == (
            "hint: keep a copy of it: `kubectl get shiftrecords -o yaml`; see 'The store' in docs/runbook.md\n"
        )

    def test_the_document_has_each_chain(self, apart: World) -> None:
        document = apart.json("history", "--verify", *CLUSTER)

        assert (document["sound"], document["records"]) == (True, 3)
        assert [(each["name"], each["records"]) for each in document["chains"]] == [("*", 0), ("pay", 1), ("shop", 2)]


def test_the_real_ways_in_end_where_no_cluster_is(tmp_path: Path) -> None:
    nowhere = replace(DEFAULT, kubeconfig=tmp_path / "none")
    door = Clusters()

    for call in (
        door.open,
        door.identity,
        door.served,
        door.closed,
        lambda address: door.may(address, "pause", "shop"),
    ):
        with pytest.raises(ConfigError):
            call(nowhere)


def test_the_service_is_given_the_address(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("kind: Fleet\nspec: {mod: act}\n")
    line = ["run", "--fleet", str(fleet), "--policies", str(tmp_path), "--store", "kubernetes", "-n", "ours"]
    session = Session(environment={})
    ran = CliRunner().invoke(cli, line, obj=session)

    assert ran.exit_code == Exit.USAGE
    assert "spec.mod unknown key" in ran.stderr
    assert session.address == replace(DEFAULT, namespace="ours")
