"""`shifter bundle`: what helps is in it, no secret is, and neither is anything changed but the one file."""

from __future__ import annotations

import io
import json
import os
import pty
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from shifter.adapters.sqlite import SqliteStore
from shifter.cli import bundle_contents
from shifter.cli.main import cli
from shifter.cli.session import Session
from shifter.core.deciding.orders import OrderRequest, Verb
from shifter.core.phases import Phase
from shifter.core.records import NewRecord, What
from shifter.core.state import Report, ShiftState
from shifter.files.documents import load_policy

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EXAMPLES = Path(__file__).parents[2] / "policies"
KEY = "canaryGu5t9xGARNpq86cd98joQYCN3"
PASSWORD = "canary-hunter2"
PLANTED = (KEY, PASSWORD, "AKIDcanary5678", "canaryBearer")


class Folder:
    """An installation with secrets in every place that a bundle looks at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.policies = folder / "policies"
        self.policies.mkdir()
        for name, text in (("id", "AKIDcanary5678"), ("key", KEY)):
            (folder / name).write_text(text, encoding="utf-8")
        fleet = (EXAMPLES / "fleet.yaml").read_text(encoding="utf-8")
        fleet = fleet.replace("/etc/shifter/tencent/secret-id", str(folder / "id"))
        fleet = fleet.replace("/etc/shifter/tencent/secret-key", KEY)  # the key itself where its file is to be named
        self.fleet = folder / "fleet.yaml"
        self.fleet.write_text(f"# old password: {PASSWORD}\n{fleet}\n", encoding="utf-8")
        self.shop = self.policies / "shop.yaml"
        shop = (EXAMPLES / "shop.yaml").read_text(encoding="utf-8")
        self.shop.write_text(shop, encoding="utf-8")
        (self.policies / "broken.yaml").write_text(f"token: |\n  {PASSWORD}\n  {KEY}\nkind: [", encoding="utf-8")
        self.log = folder / "shifter.log"
        self.log.write_text(
            json.dumps({"event": "x", "token": PASSWORD, "said": f"Authorization: Bearer canaryBearer {KEY}"})
            + f"\nGET http://ann:{PASSWORD}@prometheus.example.com/?key={PASSWORD}\nAKIDcanary5678 signed\n"
            + "shift.tick of shop: soaking\n",
            encoding="utf-8",
        )
        self.store = folder / "shifter.db"
        self._remember()

    def _remember(self) -> None:
        policy = load_policy(self.shop)
        said = f"password={PASSWORD} and {KEY} for AKIDcanary5678"
        store = SqliteStore(self.store)
        record = NewRecord(NOW, "shop", What.PHASE, "ann@desk", said, evidence={"token": PASSWORD, "said": [KEY]})
        store.save(ShiftState(name="shop", policy=policy, since=NOW), 0, [record])
        store.create_order(OrderRequest("shop", Verb.PAUSE, "ann@desk", said), NOW)
        store.report(
            Report(
                name="shop",
                at=NOW - timedelta(seconds=5),
                mode="act",
                namespaces=("shop",),
                phase=Phase.WAITING,
                since=NOW,
                step=0,
                steps=policy.spec.steps,
                wanted=0.0,
                written=0.0,
                observed=None,
                attempt=1,
                decision="hold",
                reason=f"Prometheus says Bearer canaryBearer, password: {PASSWORD}",
                verdict="no signal",
                warnings=(said,),
                members={"lb-front0001/lbl-https443/shop.example.com/": "tcm 1/1 healthy"},
            )
        )
        store.close()

    @property
    def everything(self) -> list[str]:
        return [
            *("--fleet", str(self.fleet), "--policies", str(self.policies), "--logs", str(self.log)),
        ]

    def run(self, *line: str) -> Result:
        session = Session(store_path=self.store, now=lambda: NOW)
        return CliRunner().invoke(cli, ["bundle", "-o", str(self.folder / "out.tar.gz"), *line], obj=session)

    def files(self, *line: str, code: int = 0) -> dict[str, str]:
        """Make a bundle and return its files by name."""
        ran = self.run(*line)
        assert ran.exit_code == code, ran.output
        return unpacked((self.folder / "out.tar.gz").read_bytes())

    def manifest(self, *line: str, code: int = 0) -> Any:  # noqa: ANN401 - a document
        return json.loads(self.files(*line, code=code)["manifest.json"])

    def left_out(self, *line: str, code: int = 0) -> dict[str, str]:
        return {each["what"]: each["why"] for each in self.manifest(*line, code=code)["leftOut"]}


def unpacked(packed: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        found = {}
        for member in tar.getmembers():
            file = tar.extractfile(member)
            assert file is not None
            found[member.name.removeprefix("shifter-bundle/")] = file.read().decode()
    return found


@pytest.fixture
def here(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


class Service:
    """A running service's address."""

    def __init__(self) -> None:
        self.status, self.body = 200, f'shifter_phase{{shift="shop"}} 1\n# password: {PASSWORD}\n'
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(service.status)
                self.end_headers()
                self.wfile.write(service.body.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.http.server_port}"


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    thread = threading.Thread(target=service.http.serve_forever, args=(0.01,))
    thread.start()
    yield service
    service.http.shutdown()
    service.http.server_close()
    thread.join()


@pytest.mark.fault(
    on="people",
    fault="give a support dump away, with secrets in files, orders, history, log and metrics",
    does="blacks them out; never opens a file of keys",
    sees="`***` in their place; `look through them before you send it`",
    safe_within="at once",
)
@pytest.mark.parametrize("more", [[], ["--anonymise"]])
def test_no_planted_secret_is_in_any_file_of_the_bundle(here: Folder, service: Service, more: list[str]) -> None:
    files = here.files(*here.everything, "--listen", service.address, *more)

    assert {"shifts.json", "states.json", "orders.json", "history.json", "log.txt", "metrics.txt"} <= files.keys()
    found = [(name, word) for name, text in files.items() for word in PLANTED if word in name + text]
    assert found == []


def test_what_helps_is_in_it(here: Folder, service: Service) -> None:
    files = here.files(*here.everything, "--listen", service.address)

    assert sorted(files) == [
        "config/fleet.yaml",
        "config/policies/broken.yaml",
        "config/policies/shop.yaml",
        "doctor.json",
        "fleet-state.json",
        "history.json",
        "log.txt",
        "manifest.json",
        "metrics.txt",
        "orders.json",
        "platform.json",
        "shifts.json",
        "states.json",
    ]
    documents = {name: json.loads(text) for name, text in files.items() if name.endswith(".json")}
    assert {name: each["kind"] for name, each in documents.items()} == {
        "doctor.json": "DoctorReport",
        "fleet-state.json": "SavedFleet",
        "history.json": "HistoryList",
        "manifest.json": "SupportBundle",
        "orders.json": "OrderList",
        "platform.json": "Platform",
        "shifts.json": "ShiftList",
        "states.json": "SavedStates",
    }
    assert all(each["apiVersion"] == "shifter.io/v1alpha1" for each in documents.values())
    assert documents["shifts.json"]["items"][0]["name"] == "shop"
    assert documents["orders.json"]["items"][0]["verb"] == "pause"
    assert documents["history.json"]["items"][0]["what"] == "phase"
    assert "shift.tick of shop: soaking" in files["log.txt"]
    assert 'shifter_phase{shift="shop"} 1' in files["metrics.txt"]
    assert "loadBalancer: lb-front0001" in files["config/policies/shop.yaml"]
    assert str(here.folder / "id") in files["config/fleet.yaml"]


def test_the_manifest_says_what_is_inside_and_what_was_left_out_and_why(here: Folder) -> None:
    manifest = here.manifest()

    assert (manifest["at"], manifest["anonymised"]) == ("2026-11-20T12:00:00.000Z", False)
    assert [each["name"] for each in manifest["contents"]] == [
        "fleet-state.json",
        "history.json",
        "orders.json",
        "platform.json",
        "shifts.json",
        "states.json",
    ]
    assert {each["what"]: each["why"] for each in manifest["leftOut"]} == {
        "fleet file": "not named: --fleet",
        "policy files": "not named: --policies",
        "doctor.json": "the check-up needs --fleet and --policies",
        "log": "not named: --logs",
        "metrics": "no address of a running service: --listen",
        "keys and tokens": "files of keys are never opened; whatever looks like a secret is blacked out",
    }


def test_files_of_keys_are_never_opened(here: Folder) -> None:
    (here.folder / "id").unlink()
    os.mkfifo(here.folder / "id")  # to open it would wait for ever

    assert "not a regular file" in here.files(*here.everything)["doctor.json"]


def test_a_short_key_written_where_its_file_is_to_be_named_is_not_told(here: Folder) -> None:
    fleet = here.fleet.read_text(encoding="utf-8").replace(KEY, PASSWORD)
    here.fleet.write_text(fleet, encoding="utf-8")
    files = here.files(*here.everything)

    assert "its name is not shown, it may be the key itself" in files["doctor.json"]
    assert [name for name, text in files.items() if PASSWORD in text] == []


def test_anonymised_names_are_replaced_consistently_and_structure_stays(here: Folder, service: Service) -> None:
    files = here.files(*here.everything, "--listen", service.address, "--anonymise")
    whole = "\n".join(f"{name}\n{text}" for name, text in files.items())

    for name in ("shop.example.com", "lb-front0001", "lbl-https443", "ann@desk", "prometheus.tcm.example.com"):
        assert name not in whole
    shift = json.loads(files["shifts.json"])["items"][0]
    assert shift["name"].startswith("name-")
    assert shift["namespaces"] == [shift["name"]]
    assert f"config/policies/{shift['name']}.yaml" in files
    assert f"name: {shift['name']}" in files[f"config/policies/{shift['name']}.yaml"]
    assert f'shift="{shift["name"]}"' in files["metrics.txt"]
    assert shift["phase"] == "Waiting"


def test_nothing_is_changed_but_the_one_file_which_is_for_its_owner_alone(here: Folder) -> None:
    def seen() -> dict[str, tuple[bytes, int]]:
        files = [path for path in here.folder.rglob("*") if path.is_file() and path.name != "out.tar.gz"]
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    before = seen()
    ran = here.run(*here.everything)

    assert seen() == before
    out = here.folder / "out.tar.gz"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert ran.stdout == f"{out}\n"
    assert "look through them before you send it" in ran.stderr


def test_the_same_state_gives_the_same_bytes(here: Folder) -> None:
    here.run()
    first = (here.folder / "out.tar.gz").read_bytes()
    here.run("--force")
    contents = [unpacked(raw) for raw in (first, (here.folder / "out.tar.gz").read_bytes())]
    for each in contents:
        platform = json.loads(each.pop("platform.json"))
        assert platform.pop("disk")  # the room left is what changes
        manifest = json.loads(each.pop("manifest.json"))
        manifest["contents"] = [entry for entry in manifest["contents"] if entry["name"] != "platform.json"]
        each["rest"] = json.dumps([platform, manifest])

    assert contents[0] == contents[1]
    assert list(contents[0]) == [*sorted(name for name in contents[0] if name != "rest"), "rest"]


def test_a_file_that_is_there_is_not_replaced_without_force(here: Folder) -> None:
    out = here.folder / "out.tar.gz"
    out.write_text("mine", encoding="utf-8")
    refused = here.run()

    assert refused.exit_code == 4
    assert refused.stderr == f"error: {out} is there already\nhint: choose another with -o, or --force replaces it\n"
    assert out.read_text(encoding="utf-8") == "mine"
    assert here.run("--force").exit_code == 0
    assert "manifest.json" in unpacked(out.read_bytes())
    assert [path.name for path in here.folder.iterdir() if path.name.startswith(".")] == []


def test_a_place_that_cannot_be_written_is_one_line(here: Folder) -> None:
    ran = here.run("-o", str(here.folder / "none" / "x.tar.gz"))

    assert ran.exit_code == 2
    assert ran.stderr == (
        f"error: the bundle {here.folder}/none/x.tar.gz cannot be written: No such file or directory\n"
        "hint: choose another with -o\n"
    )


def test_without_a_name_it_is_called_after_the_moment(here: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here.folder)
    ran = CliRunner().invoke(cli, ["bundle"], obj=Session(store_path=here.store, now=lambda: NOW))

    assert ran.stdout == "shifter-bundle-20261120-120000.tar.gz\n"


@pytest.mark.parametrize(
    ("garbage", "is_text"),
    [
        (b"", True),
        (b"\x00\xff" * 500, False),
        (b"{" * 9000, True),
        (b"SQLite format 3\x00" + b"x" * 4096, False),
    ],
)
def test_garbage_everywhere_still_gives_a_bundle_that_says_so(here: Folder, garbage: bytes, *, is_text: bool) -> None:
    for path in (here.fleet, here.shop, here.store, here.log):
        path.write_bytes(garbage)
    manifest = here.manifest(*here.everything)

    assert ("config/fleet.yaml" in {each["name"] for each in manifest["contents"]}) is is_text
    assert {"store", "shifts.json"} & {each["what"] for each in manifest["leftOut"]}


def test_what_is_not_there_is_left_out_with_its_reason(here: Folder) -> None:
    here.store.unlink()
    pipe = here.folder / "pipe"
    os.mkfifo(pipe)
    none = here.folder / "none"
    line = ("--fleet", str(none), "--policies", str(none), "--logs", str(none), "--listen", "127.0.0.1:1")
    out = here.left_out(*line, code=1)

    assert out["store"] == f"there is no store at {here.store}"
    assert out["config/fleet.yaml"] == f"{none}: cannot be read: No such file or directory"
    assert out["policy files"] == f"{none}: No such file or directory"
    assert out["log"] == f"{none}: No such file or directory"
    assert "Connection refused" in out["metrics"]
    assert here.left_out("--force", "--logs", str(pipe), code=1)["log"] == f"{pipe}: not a regular file"


@pytest.mark.fault(
    on="people",
    fault="a support dump of a wrong path, a store, log or service that is not there",
    does="writes what there is; exit code 1 if that is nothing but facts of the machine",
    sees="`missing: store: there is no store at ...`, a line for each part",
    safe_within="at once",
)
def test_each_part_that_was_asked_for_and_is_missing_is_said_and_a_bundle_of_nothing_is_an_error(here: Folder) -> None:
    here.store.unlink()
    none = here.folder / "none"
    ran = here.run("--fleet", f"{none}", "--policies", f"{none}", "--logs", f"{none}", "--listen", "127.0.0.1:1")
    *missing, error, hint = ran.stderr.splitlines()

    assert (ran.exit_code, ran.stdout) == (1, f"{here.folder}/out.tar.gz\n")
    assert [line.split(": ")[:2] for line in missing] == [
        ["missing", what] for what in ("store", "config/fleet.yaml", "policy files", "log", "metrics")
    ]
    assert (error, hint) == (
        "error: nothing is in it but facts of this machine",
        "hint: name --store, --fleet, --policies, --logs or --listen as the service has them",
    )


def test_what_was_not_asked_for_or_was_only_cut_is_not_called_missing(here: Folder) -> None:
    here.log.write_text("x\n" * bundle_contents.MOST_LOG_BYTES, encoding="utf-8")

    assert "missing" not in here.run().stderr
    assert "missing" not in here.run("--force", *here.everything).stderr
    (here.policies / "gone.yaml").symlink_to(here.folder / "none")
    assert here.run("--force", *here.everything).stderr.startswith("missing: config/policies/gone.yaml: ")


def test_to_stdout_it_is_the_bundle_itself_and_no_file_is_left(here: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here.folder)
    before = sorted(here.folder.iterdir())
    ran = here.run("-o", "-")

    assert ran.exit_code == 0
    assert {"shifts.json", "manifest.json"} <= unpacked(ran.stdout_bytes).keys()
    assert ran.stderr.endswith("look through them before you send it: save it, and: tar -xzf FILE\n")
    assert sorted(here.folder.iterdir()) == before


def test_a_terminal_gets_no_bundle(here: Folder) -> None:
    main, other = pty.openpty()
    line = [sys.executable, "-m", "shifter", "bundle", "-o", "-", "--store", str(here.store)]
    ran = subprocess.run(line, stdout=other, stderr=subprocess.PIPE, text=True, check=False, timeout=50)
    os.close(other)
    os.close(main)

    assert ran.returncode == 2
    assert ran.stderr.startswith("error: a tar.gz is nothing for a terminal: name a file with -o, or send it on\n")


def test_a_full_disk_behind_stdout_is_said_as_ever(here: Folder) -> None:
    line = [sys.executable, "-m", "shifter", "bundle", "-o", "-", "--store", str(here.store)]
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=50)

    assert (ran.returncode, ran.stderr) == (1, "error: stdout: No space left on device\n")


@pytest.mark.parametrize(("name", "typed"), [("a b.tar.gz", "'a b.tar.gz'"), ("-x.tar.gz", "./-x.tar.gz")])
def test_the_hint_can_be_typed_as_it_is(here: Folder, monkeypatch: pytest.MonkeyPatch, name: str, typed: str) -> None:
    monkeypatch.chdir(here.folder)

    assert here.run(f"-o{name}").stderr.endswith(f": tar -xzf {typed}\n")


def test_a_service_that_answers_something_else_has_no_metrics(here: Folder, service: Service) -> None:
    service.status = 404

    assert here.left_out("--listen", service.address)["metrics"].endswith("/metrics answers HTTP 404")


def test_long_logs_and_lines_and_files_are_cut_and_the_manifest_says_so(here: Folder, service: Service) -> None:
    first = f"password={PASSWORD}\n"
    line = "x " * 40_000 + "\n"
    here.log.write_text(first + line * 30 + "the end\n", encoding="utf-8")
    here.shop.write_text("# " + "x " * 200_000, encoding="utf-8")
    service.body = "metric 1\n" * 200_000
    files = here.files(*here.everything, "--listen", service.address)

    out = {each["what"]: each["why"] for each in json.loads(files["manifest.json"])["leftOut"]}
    assert out["log.txt"].startswith(f"only the last {bundle_contents.MOST_LOG_BYTES} of ")
    assert out["config/policies/shop.yaml"] == f"cut after {bundle_contents.MOST_FILE_BYTES} bytes"
    assert out["metrics.txt"] == f"cut after {bundle_contents.MOST_METRICS_BYTES} bytes"
    assert files["log.txt"].endswith("the end\n")
    assert "... (cut)" in files["log.txt"]
    assert max(map(len, files["log.txt"].splitlines())) < bundle_contents.MOST_LINE_CHARACTERS + 20
    assert len((here.folder / "out.tar.gz").read_bytes()) < 1024 * 1024


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_what_is_not_utf_8_is_left_out_and_the_manifest_says_why(here: Folder, encoding: str) -> None:
    here.fleet.write_bytes(f"secretKey: {PASSWORD}\n".encode(encoding))
    here.log.write_bytes(b"started\n" + f"secretKey: {PASSWORD}".encode(encoding))
    files = here.files(*here.everything)

    out = {each["what"]: each["why"] for each in json.loads(files["manifest.json"])["leftOut"]}
    assert out["config/fleet.yaml"] == f"{here.fleet}: not UTF-8 text"
    assert out["log.txt"] == "1 of 2 lines: not UTF-8 text"
    assert files["log.txt"] == "started\n... (not UTF-8 text)"
    assert "config/fleet.yaml" not in files
    assert [name for name, text in files.items() if PASSWORD in text.replace("\0", "")] == []


def test_a_log_that_was_emptied_while_it_was_written_to_keeps_its_first_line(here: Folder) -> None:
    here.log.write_bytes(b"\0" * 100 + b"started\n")

    assert here.files(*here.everything)["log.txt"] == "started\n"


@pytest.mark.parametrize("before", ["#", "# ", "#  "])
def test_a_letter_that_the_limit_cuts_in_two_leaves_the_file_in(here: Folder, before: str) -> None:
    here.shop.write_text(before + "码" * bundle_contents.MOST_FILE_BYTES, encoding="utf-8")

    assert "config/policies/shop.yaml" in here.files(*here.everything)


def test_a_password_with_a_slash_in_a_url_of_the_fleet_is_in_no_file(here: Folder) -> None:
    text = here.fleet.read_text(encoding="utf-8")
    here.fleet.write_text(text.replace("http://", f"http://prom:Sl/{PASSWORD}@"), encoding="utf-8")
    files = here.files(*here.everything)

    assert "url: http://***@prometheus.tcm.example.com" in files["config/fleet.yaml"]
    assert [name for name, content in files.items() if PASSWORD in content] == []


def test_of_a_long_history_the_newest_is_kept(here: Folder) -> None:
    store = SqliteStore(here.store)
    saved = store.load()["shop"]
    new = [NewRecord(NOW, "shop", What.HOLDS, "shifter", f"number {index}") for index in range(2_500)]
    store.save(saved.state, saved.version, new)
    store.close()
    files = here.files()

    items = json.loads(files["history.json"])["items"]
    assert (len(items), items[-1]["reason"]) == (2_000, "number 2499")
    assert "only the newest 2000 records" in files["manifest.json"]


def test_of_many_policies_the_first_are_kept(here: Folder) -> None:
    for index in range(205):
        (here.policies / f"p{index:03}.yaml").write_text("kind: ShiftPolicy\n", encoding="utf-8")

    assert here.left_out("--policies", str(here.policies))["policy files"] == "only the first 200 of 207"
