"""`shifter doctor` as people call it: real adapters and store, the emulated cloud, Prometheus' API on the loopback."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from shifter.adapters.sqlite import SqliteLease, SqliteStore
from shifter.cli.doctor import lines, verdict
from shifter.cli.exits import Exit
from shifter.cli.main import cli
from shifter.cli.session import Session
from shifter.core.documents.fleet import ISTIO_EDGES_MS
from shifter.core.records import NewRecord, What
from shifter.core.state import ShiftState
from shifter.files.documents import load_policy
from shifter.lab import emulator as lab
from shifter.service.checkup.findings import Finding, Group, Level

REGION, BALANCER = "ap-guangzhou", "lb-front0001"
OLD = lab.Target(kind=lab.TargetKind.CVM, ip="10.0.0.1", port=30080, instance_id="ins-old00001", weight=100)
NEW = lab.Target(kind=lab.TargetKind.ENI, ip="10.0.1.1", port=31080, eni_id="eni-00000001", weight=0)
STARTED_AT = 1_700_000_000.0
EDGES = (*(f"{edge:g}" for edge in ISTIO_EDGES_MS), "+Inf")


class Prometheus:
    """Answers shifter's questions about one fresh pod per gateway; the pod is named after the matcher."""

    def __init__(self) -> None:
        self.status = 200
        self.asked: list[str] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = {key: value for key, (value, *_) in parse_qs(urlsplit(self.path).query).items()}
                fake.asked.append(self.command)
                answer = fake.matrix(asked) if "start" in asked else fake.vector(asked["query"])
                good, bad = {"status": "success", "data": answer}, {"status": "error", "error": "no"}
                body = json.dumps(good if fake.status == 200 else bad).encode()
                self.send_response(fake.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.http.server_port

    def vector(self, query: str) -> dict[str, Any]:
        """Answer as of now."""
        now = time.time()
        rows = [{"metric": metric, "value": [now, str(value)]} for metric, value in self.rows(query, now)]
        return {"resultType": "vector", "result": rows}

    def matrix(self, asked: dict[str, str]) -> dict[str, Any]:
        """Answer of every instant of a range."""
        start, end, step = (float(asked[key]) for key in ("start", "end", "step"))
        instants = [start + index * step for index in range(int((end - start) / step) + 1)]
        rows = [
            {
                "metric": metric,
                "values": [[at, str(self.rows(asked["query"], at)[index][1])] for at in instants],
            }
            for index, (metric, _) in enumerate(self.rows(asked["query"], start))
        ]
        return {"resultType": "matrix", "result": rows}

    @staticmethod
    def rows(query: str, at: float) -> list[tuple[dict[str, str], float]]:
        """One fresh pod of Istio's, two of TCM's; each counts one request a second."""
        if query.startswith("vector"):
            return [({}, at)]
        if query.startswith("max(count_over_time"):
            return [({}, 20.0)]
        pods = ("old-1", "old-2") if '"tcm"' in query else ("new-1",)
        if query.startswith("max by"):
            return [({"pod": pod}, at - 5 if " - " not in query else STARTED_AT) for pod in pods]
        if query.startswith("topk"):
            return [({"response_flags": "-"}, 1.0)] if "response_flags" in query else []
        labels = [{"pod": pod, "destination_service": "web.shop.svc.cluster.local"} for pod in pods]
        if "_bucket" in query:
            return [({**each, "le": edge}, 90.0) for each in labels for edge in EDGES]
        return [({**each, "response_code": "200"}, at - STARTED_AT + len(each["pod"])) for each in labels]


class Installation:
    """Files, a store, a cloud and a Prometheus; `folder` is what a check-up must leave as it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prometheus = Prometheus()
        rule = lab.Rule(location_id="loc-1", domain="shop.example.com", url="/", targets=(OLD, NEW))
        listener = lab.Listener(listener_id="lbl-https443", protocol="HTTPS", port=443, rules=(rule,))
        self.cloud = lab.Emulator(
            balancers=[lab.LoadBalancer(load_balancer_id=BALANCER, listeners=(listener,))],
            region=REGION,
            secret_id="AKIDtest",
            secret_key="key",
            clock=time.time,
            rng=random.Random(7),  # noqa: S311 - dice of a test
        )
        self.cloud_port = self.cloud.start()
        (folder / "policies").mkdir()
        self.keys("AKIDtest", "key")
        self.write_fleet(self.prometheus.port, self.cloud_port)
        (folder / "policies" / "shop.yaml").write_text(POLICY, encoding="utf-8")
        self.store = folder / "shifter.db"
        self._remember()

    def keys(self, secret_id: str, key: str) -> None:
        for name, text in (("id", secret_id), ("key", key)):
            (self.folder / name).write_text(text, encoding="utf-8")
            (self.folder / name).chmod(0o600)

    def write_fleet(self, prometheus: int, cloud: int, mode: str = "act") -> None:
        text = FLEET.format(prometheus=prometheus, cloud=cloud, folder=self.folder, mode=mode)
        (self.folder / "fleet.yaml").write_text(text, encoding="utf-8")

    def _remember(self) -> None:
        """Leave a store that a service wrote, with a write that was carried out."""
        policy = load_policy(self.folder / "policies" / "shop.yaml")
        at = Session().now()
        store = SqliteStore(self.store)
        done = NewRecord(at, "shop", What.DONE, "shifter", "tcm 99 · istio 1 is in force", 1, 1)
        store.save(ShiftState(name="shop", policy=policy, since=at), 0, [done])
        store.close()

    def run(self, *more: str) -> Result:
        line = ["doctor", "--fleet", f"{self.folder}/fleet.yaml", "--policies", f"{self.folder}/policies", *more]
        return CliRunner().invoke(cli, line, obj=Session(store_path=self.store))

    def snapshot(self) -> dict[str, tuple[bytes, int, int]]:
        """Return every file's bytes, mode and time; the index beside a store in use holds locks and nothing of ours."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and not path.name.endswith("-shm")]
        return {str(path): (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns) for path in sorted(files)}


FLEET = """
apiVersion: shifter.io/v1alpha1
kind: Fleet
metadata: {{name: lab}}
spec:
  mode: {mode}
  datasources:
    source: {{url: "http://127.0.0.1:{prometheus}", matchers: {{app: tcm}}, podMatchers: {{app: tcm}}, timeout: 2s}}
    target: {{url: "http://127.0.0.1:{prometheus}", matchers: {{app: new}}, podMatchers: {{app: new}}, timeout: 2s}}
  provider:
    tencent:
      secretIdFile: {folder}/id
      secretKeyFile: {folder}/key
      scheme: http
      endpoint: 127.0.0.1:{cloud}
      timeout: 1s
"""
POLICY = """
apiVersion: shifter.io/v1alpha1
kind: ShiftPolicy
metadata: {name: shop}
spec:
  namespace: shop
  traffic:
    clb:
      region: ap-guangzhou
      loadBalancer: lb-front0001
      routes: [{listener: lbl-https443, domain: shop.example.com, url: /}]
      source: {port: 30080}
      target: {port: 31080}
  steps: [1, 100]
  soak: 5m
  analysis: {latency: {maxMs: 500}}
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    here = Installation(tmp_path)
    thread = threading.Thread(target=here.prometheus.http.serve_forever, args=(0.01,))
    thread.start()
    yield here
    here.prometheus.http.shutdown()
    here.prometheus.http.server_close()
    thread.join()
    here.cloud.stop()


def worst(ran: Result) -> dict[str, str]:
    """Return the findings of a JSON report that are neither ok nor left out on purpose, with their texts."""
    found = json.loads(ran.stdout)["findings"]
    machine = {"disk", "open files", "filesystem"}  # those of whoever runs the tests
    return {
        each["subject"]: each["found"]
        for each in found
        if each["level"] not in {"ok", "warning"} and not each["untried"] and each["subject"] not in machine
    }


def test_all_is_well_beside_a_running_service_and_nothing_is_changed(here: Installation) -> None:
    lease = SqliteLease(here.store)
    serving = SqliteStore(here.store)
    serving.load()
    before, weights = here.snapshot(), here.cloud.balancer(BALANCER)
    ran = here.run("-o", "json")
    after = here.snapshot()
    held = lease.valid()
    serving.close()
    lease.release()

    assert worst(ran) == {}
    assert ran.exit_code == 0
    assert after == before
    assert here.cloud.log == []
    assert here.cloud.balancer(BALANCER) == weights
    assert set(here.prometheus.asked) == {"GET"}
    assert held


def test_a_store_that_nobody_serves_is_left_untouched_too(here: Installation) -> None:
    before = here.snapshot()
    ran = here.run()

    assert here.snapshot() == before
    assert "none runs on this store" in ran.stdout


def test_no_store_is_created(here: Installation) -> None:
    here.store.unlink()
    before = here.snapshot()
    here.run()

    assert here.snapshot() == before


def test_the_report_is_a_stable_document(here: Installation) -> None:
    report = json.loads(here.run("-o", "json", "--offline").stdout)

    assert [report[key] for key in ("apiVersion", "kind", "schemaVersion", "offline")] == [
        "shifter.io/v1alpha1",
        "DoctorReport",
        1,
        True,
    ]
    assert set(report) == {"apiVersion", "kind", "schemaVersion", "at", "offline", "exitCode", "counts", "findings"}
    assert set(report["counts"]) == {"ok", "warning", "problem", "unknown"}
    assert {key for each in report["findings"] for key in each} == {
        "group",
        "subject",
        "level",
        "found",
        "fix",
        "unreachable",
        "untried",
    }


def test_text_is_grouped_with_each_fix_below_its_finding(here: Installation) -> None:
    (here.folder / "key").chmod(0o644)
    ran = here.run("--offline")

    assert ran.exit_code == 6
    shown = ran.stdout.splitlines()
    problem = next(index for index, line in enumerate(shown) if line.startswith("  problem  secretKeyFile: "))
    assert shown[problem + 1] == f"           fix: chmod 600 {here.folder / 'key'}"
    assert [line for line in shown if line and not line.startswith(" ")] == [str(group) for group in Group]
    assert ran.stderr.split(", ")[2] == "1 problem"


def test_a_wrong_key_is_told_with_what_mends_it(here: Installation) -> None:
    here.keys("AKIDother", "key")
    ran = here.run("-o", "json")

    assert ran.exit_code == 6
    assert "AuthFailure.SecretIdNotFound" in worst(ran)[f"clb/{REGION}/{BALANCER}"]


def test_a_clock_that_tencent_refuses_is_told_with_what_mends_it(here: Installation) -> None:
    here.cloud.stop()
    here.cloud = lab.Emulator(
        balancers=[],
        region=REGION,
        secret_id="AKIDtest",
        secret_key="key",
        clock=lambda: time.time() + 900,
        rng=random.Random(7),  # noqa: S311 - dice of a test
    )
    here.write_fleet(here.prometheus.port, here.cloud.start())
    found = json.loads(here.run("-o", "json").stdout)["findings"]

    refused = next(each for each in found if "AuthFailure.SignatureExpire" in each["found"])
    assert "set this machine's clock by NTP" in refused["fix"]


class Denying(BaseHTTPRequestHandler):
    """Tencent's API for a key that may not do anything."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        error = {"Code": "UnauthorizedOperation", "Message": "not allowed by CAM"}
        body = json.dumps({"Response": {"Error": error, "RequestId": "r-1"}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_missing_permission_is_named_with_the_line_that_grants_it(here: Installation) -> None:
    denying = ThreadingHTTPServer(("127.0.0.1", 0), Denying)
    thread = threading.Thread(target=denying.serve_forever, args=(0.01,))
    thread.start()
    here.write_fleet(here.prometheus.port, denying.server_port)
    found = json.loads(here.run("-o", "json").stdout)["findings"]
    denying.shutdown()
    denying.server_close()
    thread.join()

    fixes = [each["fix"] for each in found if "UnauthorizedOperation" in each["found"]]
    assert fixes == [
        'allow it to this key in CAM: {"effect": "allow", "action": ["clb:DescribeLoadBalancers"], "resource": ["*"]}',
        'allow it to this key in CAM: {"effect": "allow", "action": ["clb:DescribeTaskStatus"], "resource": ["*"]}',
    ]


def test_a_datasource_that_refuses_us_is_told_apart_from_one_that_is_not_there(here: Installation) -> None:
    here.prometheus.status = 401
    refused = here.run("-o", "json")
    here.write_fleet(1, here.cloud_port)
    gone = here.run("-o", "json")

    assert "HTTP 401" in worst(refused)["tcm"]
    assert (refused.exit_code, gone.exit_code) == (5, 5)  # its clock could not be read either way
    assert "connection refused" in worst(gone)["tcm"]


def test_a_broken_policy_ends_with_2_whatever_else_is_wrong(here: Installation) -> None:
    (here.folder / "policies" / "shop.yaml").write_text("kind: ShiftPolicy\nspec: [", encoding="utf-8")
    here.write_fleet(1, 1)
    ran = here.run()

    assert ran.exit_code == 2
    assert f"edit {here.folder}/policies/shop.yaml:2" in ran.stdout


@pytest.mark.parametrize("garbage", [b"", b"\x00\xff" * 500, b"{" * 9000, b"kind: Fleet\n"])
def test_garbage_for_files_is_findings_and_no_traceback(here: Installation, garbage: bytes) -> None:
    for path in (here.folder / "fleet.yaml", here.folder / "policies" / "shop.yaml", here.store):
        path.write_bytes(garbage)
    ran = here.run("--offline")

    assert ran.exit_code == 2
    assert "Traceback" not in ran.output
    assert "config\n  problem  fleet: " in ran.stdout


@pytest.mark.parametrize("missing", ["fleet.yaml", "policies"])
def test_files_that_are_not_there_are_configuration_problems(here: Installation, missing: str) -> None:
    (here.folder / missing).rename(here.folder / "elsewhere")

    assert here.run("--offline").exit_code == 2


def test_an_outside_that_takes_connections_and_says_nothing_is_unreachable_in_time(here: Installation) -> None:
    hole = socket.create_server(("127.0.0.1", 0))
    here.write_fleet(hole.getsockname()[1], hole.getsockname()[1])
    began = time.monotonic()
    ran = here.run("-o", "json")
    took_seconds = time.monotonic() - began
    with suppress(OSError):
        hole.close()

    assert ran.exit_code == 5
    assert took_seconds < 15  # all at the same time, none longer than its bound
    assert {"tcm", "istio", f"clb/{REGION}/{BALANCER}", "provider"} <= worst(ran).keys()


def _a(level: Level, group: Group = Group.STORE, *, unreachable: bool = False, untried: bool = False) -> Finding:
    return Finding(group, "x", level, "y", unreachable=unreachable, untried=untried)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([_a(Level.OK), _a(Level.WARNING)], Exit.OK),
        ([_a(Level.UNKNOWN, untried=True)], Exit.OK),
        ([_a(Level.UNKNOWN)], Exit.UNHEALTHY),
        ([_a(Level.PROBLEM)], Exit.UNHEALTHY),
        ([_a(Level.PROBLEM), _a(Level.UNKNOWN, unreachable=True)], Exit.UNREACHABLE),
        ([_a(Level.UNKNOWN, unreachable=True), _a(Level.PROBLEM, Group.CONFIG)], Exit.USAGE),
    ],
)
def test_the_exit_code_is_that_of_what_is_to_be_mended_first(found: list[Finding], code: Exit) -> None:
    assert verdict(found) is code


def test_what_others_wrote_does_not_reach_the_terminal_as_controls() -> None:
    found = [Finding(Group.STORE, "shop\x1b[31m", Level.PROBLEM, "red\x07\nline", "do\x1b]0;x\x07 it")]

    assert list(lines(found)) == ["store", "  problem  shop: red line", "           fix: do it"]
