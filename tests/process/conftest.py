"""The real `shifter run` as a process of its own, between an emulated Tencent Cloud and two scripted Prometheus.

Traffic flows all the time, split by the balancer's live weights, so a share is seen in the metrics because it is in
force and for no other reason. Ticks, soaks and timeouts are fractions of production's; no clock is faked. What is
judged is what the balancer's log and the history say, never what the service believes.
"""

from __future__ import annotations

import json
import os
import random
import resource
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from click.testing import CliRunner, Result

from shifter.cli.main import cli
from shifter.cli.session import Session
from shifter.core.deciding.orders import Order, OrderRequest, Verb
from shifter.core.phases import Phase
from shifter.core.records import NewRecord, What
from shifter.core.state import Direction, Report, ShiftState
from shifter.errors import StoreUnavailableError
from shifter.lab import files
from shifter.lab.account import REGION, SECRET_ID, SECRET_KEY, TARGET_POD_PORT, open_account
from shifter.lab.emulator import Emulator
from shifter.lab.emulator.api import Admitted
from shifter.lab.emulator.cloud import WriteRecord
from shifter.lab.emulator.envelope import Reply, bad_gateway
from shifter.lab.free_ports import LOOPBACK, reserve_ports
from shifter.lab.processes import Child, ProcessSpec, Supervisor
from shifter.lab.topology import MESHES, SOURCE_MESH, TARGET_MESH, Gateway, Namespace
from shifter.ports import Store
from shifter.wiring import open_store

SHOP = "shop"
BALANCER = "lb-front0001"
STEPS = (50, 100)
TICK_SECONDS = 0.2
SOAK_SECONDS = 0.8
OPERATION_SECONDS = 3.0
DEADLINE_SECONDS = 50.0
PER_SECOND = 400.0
WRITES = frozenset({"ModifyTargetWeight", "BatchModifyTargetWeight"})

_NOTHING_YET: Mapping[str, Any] = {"status": "success", "data": {"resultType": "matrix", "result": []}}
"""What a Prometheus that has just been set up answers about the past."""

Strike = Callable[[str], bool | None]


class Mesh:
    """One mesh's gateway and the Prometheus that scrapes it: answers the adapter's queries, and nothing else."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bad_percent = 0.0
        self.down = False
        self._share = 0.0
        self._counted_at = time.monotonic()
        self._counts = {"200": 0.0, "503": 0.0}
        self._began_at = time.time() - 3600
        self._lock = threading.Lock()
        mesh = self

        class Answers(BaseHTTPRequestHandler):
            timeout = 5.0

            def do_GET(self) -> None:
                asked = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
                told = mesh.answer(asked["query"], float(asked["time"])) if "time" in asked else _NOTHING_YET
                body = json.dumps(told).encode()
                self.send_response(503 if mesh.down else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Answers)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_port}"

    def serve(self, share: float) -> None:
        """From now on, get this share of the requests (0..1)."""
        with self._lock:
            self._count()
            self._share = share

    def fail(self, bad_percent: float) -> None:
        with self._lock:
            self._count()
            self.bad_percent = bad_percent

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(DEADLINE_SECONDS)

    def answer(self, query: str, at: float) -> Mapping[str, Any]:
        if self.down:
            return {"status": "error", "errorType": "unavailable", "error": "the disk is full"}
        with self._lock:
            self._count()
            rows = self._rows(query, at)
        return {"status": "success", "data": {"resultType": "vector", "result": rows}}

    def _rows(self, query: str, at: float) -> list[Mapping[str, Any]]:
        """Answer by the shape of the question; every sample was taken just now."""
        pod = {"pod": f"{self.name}-gateway-0"}
        if query.startswith("sum by (pod, destination_service"):
            of = pod | {"destination_service": f"web.{SHOP}.svc.cluster.local", "destination_service_namespace": SHOP}
            counted = [(of | {"response_code": code}, count) for code, count in self._counts.items()]
        elif " - " in query:
            counted = [(pod, self._began_at)]
        else:
            assert "timestamp(" in query, query
            counted = [({} if query.startswith("max(") else pod, min(at, time.time()))]
        return [{"metric": labels, "value": [at, repr(value)]} for labels, value in counted]

    def _count(self) -> None:
        now = time.monotonic()
        requests = PER_SECOND * self._share * (now - self._counted_at)
        self._counted_at = now
        bad = requests * self.bad_percent / 100
        self._counts["200"] += requests - bad
        self._counts["503"] += bad


class StruckEmulator(Emulator):
    """An emulator that tells when a write arrives, before anything is done, and when it is accepted, before the reply.

    `strike` is called with `arrives` or `accepted` in the server's own thread, so whoever kills there kills between
    the two for certain. A write at whose arrival it returns True got lost on its way.
    """

    strike: Strike = staticmethod(lambda _: None)

    def perform(self, admitted: Admitted) -> Reply:
        if admitted.action not in WRITES:
            return super().perform(admitted)
        if self.strike("arrives"):
            return bad_gateway(502)
        reply = super().perform(admitted)
        self.strike("accepted")
        return reply


class Forward:
    """A way to a port on this machine that is not there until it is started: connections are refused before."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listening = socket.socket()
        self._listening.bind((LOOPBACK, 0))
        self.port = int(self._listening.getsockname()[1])

    def start(self) -> None:
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listening.accept()
                cloud = socket.create_connection((LOOPBACK, self._to), DEADLINE_SECONDS)
                for pair in ((caller, cloud), (cloud, caller)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        with one, suppress(OSError):
            while piece := one.recv(65536):
                other.sendall(piece)
            other.shutdown(socket.SHUT_WR)


class Stage:
    """Everything around one `shifter run`, inside a `with` block. Starts nothing by itself."""

    def __init__(
        self,
        path: Path,
        *,
        steps: Sequence[int] = STEPS,
        soak_seconds: float = SOAK_SECONDS,
        operation_seconds: float = OPERATION_SECONDS,
        call_seconds: float = 1.0,
    ) -> None:
        self.path = path
        self.store_path = path / "state" / "shifter.db"
        self.operation_seconds = operation_seconds
        self.soak_seconds = soak_seconds
        self._call_seconds = call_seconds
        self._steps = steps
        self._stack = ExitStack()
        self.meshes = {name: Mesh(name) for name in MESHES}
        for mesh in self.meshes.values():
            self._stack.callback(mesh.stop)
        gateways = [Gateway(mesh, f"{mesh}-{index}", 1, 1) for mesh in MESHES for index in range(2)]
        self.account = open_account([Namespace(SHOP)], {SHOP: BALANCER}, gateways)
        self.cloud = StruckEmulator(
            balancers=self.account.balancers,
            region=REGION,
            secret_id=SECRET_ID,
            secret_key=SECRET_KEY,
            clock=time.time,
            rng=random.Random(1),  # noqa: S311 - the same dice in every run
            task_delay_seconds=(0.1, 0.1),
            on_change=lambda _: self._flow(),
        )
        self.cloud_port = 0
        self.port = 0

    def __enter__(self) -> Self:
        with self._stack as stack:
            self.cloud_port = self.cloud.start()
            stack.callback(self.cloud.stop)
            self._flow()
            reserved = stack.enter_context(reserve_ports(1, random.Random()))  # noqa: S311 - other labs run, too
            self.port = reserved.ports[0]
            urls = {name: mesh.url for name, mesh in self.meshes.items()}
            files.write_all(self.path, self.account, self.cloud_port, urls, files.Pace())
            self.write_fleet()
            self.write_policy()
            environment = {name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")}
            self.environment = environment | {"PYTHONDONTWRITEBYTECODE": "1"}
            self._supervisor = stack.enter_context(Supervisor(self.path / "logs", self.environment))
            self.store: Store = self.open_store()
            stack.callback(self.store.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open_store(self) -> Store:
        """Open the store that the service will use, to look and to order."""
        return open_store(self.store_path)

    # -- what people write ---------------------------------------------------------------------------------------

    def write_fleet(self, **timing: str) -> None:
        place = self.path / "fleet.yaml"
        fleet = yaml.safe_load(place.read_text())
        fleet["spec"]["timing"] = {
            "tick": f"{TICK_SECONDS}s",
            "sampleMaxAge": "2s",
            "readDeadline": "1s",
            "operationTimeout": f"{self.operation_seconds:g}s",
            "reportEvery": f"{TICK_SECONDS}s",
            **timing,
        }
        fleet["spec"]["learning"] = {"minTicks": 2, "minRequests": 20}
        fleet["spec"]["provider"]["tencent"]["timeout"] = f"{self._call_seconds}s"
        place.write_text(yaml.safe_dump(fleet))

    def write_policy(self) -> None:
        place = self.path / "policies" / f"{SHOP}.yaml"
        policy = yaml.safe_load(place.read_text())
        policy["spec"] |= {
            "steps": list(self._steps),
            "soak": f"{self.soak_seconds}s",
            # The gateways have no histogram, and no test here is about how large a step may be.
            "analysis": {"latency": {"enabled": False}, "hold": "1s"},
            "blastRadius": {"requests": 1e6},
        }
        place.write_text(yaml.safe_dump(policy))

    def order(self, verb: Verb) -> Order:
        return self.store.create_order(OrderRequest(SHOP, verb, "ann", "because"), datetime.now(UTC))

    def shifter(self, *words: str) -> Result:
        """Run a command as a person would, in this process."""
        return CliRunner().invoke(cli, list(words), obj=Session(store_path=self.store_path))

    def cloud_goes_away(self) -> None:
        """Let nobody be at the address that the fleet file names, until `cloud_comes_back`."""
        place = self.path / "fleet.yaml"
        self._forward = Forward(self.cloud_port)
        self._stack.callback(self._forward.stop)
        fleet = yaml.safe_load(place.read_text())
        fleet["spec"]["provider"]["tencent"]["endpoint"] = f"{LOOPBACK}:{self._forward.port}"
        place.write_text(yaml.safe_dump(fleet))

    def cloud_comes_back(self) -> None:
        self._forward.start()

    # -- the process ---------------------------------------------------------------------------------------------

    @property
    def argv(self) -> tuple[str, ...]:
        return (
            *(sys.executable, "-m", "shifter", "--store", str(self.store_path), "run"),
            *("--fleet", str(self.path / "fleet.yaml"), "--policies", str(self.path / "policies")),
            *("--listen", f"{LOOPBACK}:{self.port}"),
        )

    def start(self, *, ready: bool = True) -> Child:
        """Start the service, or start it again; its log is `log`."""
        if not hasattr(self, "service"):
            spec = ProcessSpec("shifter", self.argv, ready_url=f"http://{LOOPBACK}:{self.port}/readyz")
            self.service = self._supervisor.start(spec)
        else:
            self.service.start()
        if ready:
            self.service.wait_ready(DEADLINE_SECONDS)
        return self.service

    def limit(self, what: int, soft: int) -> None:
        """Set a resource limit of the running service; its hard limit stays."""
        _, hard = resource.prlimit(self.service.pid, what)
        resource.prlimit(self.service.pid, what, (hard if soft == resource.RLIM_INFINITY else soft, hard))

    def lines(self, event: str = "", of: str = "shifter") -> list[Mapping[str, Any]]:
        """What the service logged in all its lives, one object per line; only one kind of event if it is named."""
        texts = (self.path / "logs" / f"{of}.log").read_text(errors="replace").splitlines()
        found = [json.loads(text) for text in texts if text.startswith("{") and text.endswith("}")]
        return [line for line in found if not event or line["event"] == event]

    def log(self) -> str:
        return (self.path / "logs" / "shifter.log").read_text(errors="replace")

    def ask(self, path: str) -> tuple[int, str]:
        """Ask the service's web side; status 0 is no answer."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    # -- what is to be seen --------------------------------------------------------------------------------------

    def until(self, what: Callable[[], object], why: str, seconds: float = DEADLINE_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, f"{why}; {self.told()}"
            time.sleep(0.01)

    def until_phase(self, phase: Phase) -> None:
        self.until(
            lambda: (state := self.state()) is not None and state.phase is phase and state.intent is None,
            f"not {phase}",
        )

    def until_share(self, share: float) -> None:
        self.until(
            lambda: (state := self.state()) is not None and state.share == share and state.intent is None,
            f"not at {share:g} %",
        )

    def state(self) -> ShiftState | None:
        try:
            saved = self.store.load().get(SHOP)
        except StoreUnavailableError:  # the service is making it at this moment
            return None
        return None if saved is None else saved.state

    def report(self) -> Report | None:
        return self.store.reports().get(SHOP)

    def told(self) -> str:
        report = self.report()
        return "nothing was reported" if report is None else f"{report.phase} at {report.written}: {report.reason}"

    def holds(self) -> Mapping[str, str]:
        report = self.report()
        return {} if report is None else {hold.kind: hold.reason for hold in report.holds}

    def share(self) -> float:
        """What the balancer's weights amount to now, percent."""
        place = self.account.places[SHOP]
        serving = self.cloud.serving(place.balancer, place.listener, place.location)
        return _share({key.port: weight for key, weight in serving.items()})

    def shares(self) -> list[float]:
        """What they amounted to after each write, by whomever."""
        return [_share_after(record) for record in self.cloud.log]

    def history(self) -> list[NewRecord]:
        return [each.record for each in self.store.history(SHOP, limit=10_000)]

    def climbs(self, what: What = What.DONE) -> list[float]:
        found = [record for record in self.history() if record.what is what]
        return [float(str(each.evidence["to"])) for each in found if each.evidence["direction"] == Direction.CLIMB]

    def _flow(self) -> None:
        share = self.share() / 100
        self.meshes[TARGET_MESH].serve(share)
        self.meshes[SOURCE_MESH].serve(1 - share)


def _share(weights: Mapping[int, int]) -> float:
    total = sum(weights.values())
    return 100 * weights.get(TARGET_POD_PORT, 0) / total if total else 0.0


def _share_after(record: WriteRecord) -> float:
    (weights,) = record.after.values()
    of_port: dict[int, int] = {}
    for key, weight in weights.items():
        of_port[key.port] = of_port.get(key.port, 0) + weight
    return _share(of_port)


def assert_safe(stage: Stage) -> None:
    """What holds of any run, whatever happened to the process in between."""
    history = stage.history()
    intents = [record for record in history if record.what is What.INTENT]
    outcomes = [record.sequence for record in history if record.what in {What.DONE, What.FAILED}]
    ids = [each.id for each in stage.store.history(limit=10_000)]
    before = 0.0

    assert [record.epoch for record in intents] == sorted(record.epoch for record in intents), "epochs grow"
    assert [record.sequence for record in intents] == list(range(1, len(intents) + 1)), "no number twice, none left out"
    assert len(outcomes) == len(set(outcomes)), "an intent has one outcome"
    assert ids == list(range(1, len(ids) + 1)), "history has no gaps"
    for record in stage.cloud.log:
        assert not record.darkened, "nobody would get the traffic"
        share = _share_after(record)
        if share > before:
            journalled = [each for each in intents if each.at.timestamp() <= record.at and each.evidence["to"] == share]
            assert journalled, f"{share:g} % came without a saved intent"
            assert any(is_backed(each) for each in journalled), f"{share:g} % came without evidence behind it"
        before = share


def is_backed(intent: NewRecord) -> bool:
    requests = intent.evidence["requests"]
    assert isinstance(requests, dict)
    return intent.evidence["verdict"] == "pass" and requests["tcm"] > 0


@pytest.fixture
def make_stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Set stages up, each in a folder of its own; whatever runs on them ends with the test."""
    with ExitStack() as stack:
        count = 0

        def make(**options: Any) -> Stage:  # noqa: ANN401 - Stage's own
            nonlocal count
            count += 1
            path = tmp_path / f"stage-{count}"
            path.mkdir()
            return stack.enter_context(Stage(path, **options))

        yield make


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> Stage:
    return make_stage()
