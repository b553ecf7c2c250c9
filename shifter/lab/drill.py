"""Runs a scenario on the stage from its first beat to its verdict: what `shifter lab run` and `make demo` call."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from shifter.errors import ConfigError, StoreUnavailableError
from shifter.lab.files import LAB_PACE, Pace
from shifter.lab.narrator import Narrator, closing
from shifter.lab.plot import Chronicle, OrderFailedError, Progress, Scene
from shifter.lab.scenarios import SCENARIOS, Scenario
from shifter.lab.stage import Stage, StageSpec
from shifter.lab.tools import LabToolError
from shifter.lab.topology import GATEWAY_NAMESPACE, GATEWAY_WORKLOAD
from shifter.lab.verdict import Material, lab_report

_LOOK_SECONDS: Final = 0.25
_AFTERMATH_SECONDS: Final = 3.0
"""How long users go on after the last beat, so that the final share is measured too."""

_QUERY_SECONDS: Final = 5.0
_MARKER: Final = ".shifter-lab"


@dataclass(frozen=True, slots=True)
class DrillOptions:
    """What `shifter lab run` was told, and how fast to migrate.

    `directory` takes all files of the run, `report` is the JSON to write.
    """

    scenario: str
    directory: Path
    report: Path
    seed: int
    keep: bool = False
    pace: Pace = LAB_PACE


def run(options: DrillOptions, console: Console) -> int:
    """Run a scenario by name; return 0 if it ended as told, 1 if not.

    Raises:
        ConfigError: no such scenario, the directory is somebody else's or in use, or a program of the lab is missing.
    """
    return rehearse(_scenario(options.scenario), options, console)


def rehearse(scenario: Scenario, options: DrillOptions, console: Console) -> int:
    """Run any scenario, as `run` does."""
    began = time.time()
    with ExitStack() as stack:
        stack.enter_context(_claimed(options.directory))
        spec = StageSpec(options.directory, scenario.balancer_of, options.pace, options.seed, scenario.seconds_max + 60)
        console.print(f"{scenario.name}: {scenario.about}", markup=False, highlight=False)
        console.print("starting Envoys, Prometheus servers, the Tencent emulator and shifter ...", highlight=False)
        try:
            stage = Stage(spec)
        except LabToolError as error:
            raise ConfigError(str(error)) from error
        stack.enter_context(stage)
        director = _Director(stage, scenario, began)
        with Narrator(console, began) as narrator:
            director.play(narrator)
        report = lab_report(director.material(options.seed))
        _write(options.report, report)
        closing(console, report)
        if options.keep:
            _keep(stage, console)
    return 0 if report["verdict"] == "ok" else 1


def _scenario(name: str) -> Scenario:
    if name not in SCENARIOS:
        raise ConfigError(f"there is no scenario {name!r}; there are: {', '.join(SCENARIOS)}")
    return SCENARIOS[name]


@contextmanager
def _claimed(directory: Path) -> Iterator[None]:
    """Hold the lab's directory, emptied of the last run; never one that the lab did not make, or that it runs in."""
    marker = directory / _MARKER
    if directory.exists() and any(directory.iterdir()) and not marker.exists():
        raise ConfigError(f"{directory} is not empty and not the lab's; choose another with --directory")
    directory.mkdir(parents=True, exist_ok=True)
    with marker.open("a", encoding="utf-8") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another lab runs in {directory}; choose another with --directory") from error
        for entry in directory.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry != marker:
                entry.unlink()
        yield


class _Director:
    """Plays the plots of a scenario side by side and remembers when each beat came."""

    def __init__(self, stage: Stage, scenario: Scenario, began: float) -> None:
        self._stage = stage
        self._scenario = scenario
        self._began = began
        self._chronicle = Chronicle()
        self._progress = [Progress(plot, time.time()) for plot in scenario.plots]
        self._finished = False
        self._trouble = ""
        self._pause = threading.Event()

    def play(self, narrator: Narrator) -> None:
        """Go through all beats, until the last one, the time limit, or the first trouble."""
        deadline = self._began + self._scenario.seconds_max
        while time.time() < deadline and not self._trouble:
            self._look(narrator)
            if all(progress.next is None for progress in self._progress):
                self._finished = True
                self._pause.wait(_AFTERMATH_SECONDS)
                return
            self._pause.wait(_LOOK_SECONDS)

    def material(self, seed: int) -> Material:
        """Stop the load and gather everything the verdict is made of."""
        users = self._stage.plane.stop_load()
        self._pause.wait(2 * self._stage.spec.pace.scrape_seconds)
        return Material(
            scenario=self._scenario,
            chronicle=self._chronicle,
            finished=self._finished,
            trouble=self._trouble,
            history=self._stage.history(),
            reports=self._stage.reports(),
            users=users,
            counted={mesh: _counted(self._stage.plane.prometheus_url(mesh)) for mesh in ("tcm", "istio")},
            writes=self._stage.emulator.log,
            faults_left=len(self._stage.emulator.faults.waiting),
            seconds=time.time() - self._began,
            seed=seed,
        )

    def _look(self, narrator: Narrator) -> None:
        try:
            reports, users = self._stage.reports(), self._stage.users()
        except StoreUnavailableError as error:
            self._trouble = str(error)
            return
        now = time.time()
        narrator.look(now, reports, users)
        for progress in self._progress:
            self._play_beat(progress, Scene(now, now - progress.last_at, reports, users), narrator)

    def _play_beat(self, progress: Progress, scene: Scene, narrator: Narrator) -> None:
        beat = progress.next
        if beat is None or not beat.when(scene):
            return
        # The instant before the act: a fault is felt from here on.
        at = time.time()
        try:
            said = beat.do(self._stage)
        except OrderFailedError as error:
            self._trouble = str(error)
            said = self._trouble
        self._chronicle.note(beat.name, at, said)
        progress.done += 1
        progress.last_at = time.time()
        narrator.tell(at, "story", f"{beat.name}{': ' if said else ''}{said}")


def _counted(url: str) -> dict[str, float]:
    """What a mesh's Prometheus says its gateway answered, by namespace; written apart from shifter's own queries."""
    matchers = f'reporter="source",source_workload="{GATEWAY_WORKLOAD}",source_workload_namespace="{GATEWAY_NAMESPACE}"'
    query = f"sum by (destination_service_namespace) (istio_requests_total{{{matchers}}})"
    address = f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(address, timeout=_QUERY_SECONDS) as answer:  # noqa: S310 - our own loopback server
        rows = json.load(answer)["data"]["result"]
    return {row["metric"].get("destination_service_namespace", "unknown"): float(row["value"][1]) for row in rows}


def _write(path: Path, report: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    scratch.replace(path)


def _keep(stage: Stage, console: Console) -> None:
    """Leave everything running until Ctrl-C, and say how to poke it."""
    stage.plane.start_load(dict.fromkeys(stage.account.places, stage.spec.pace.requests_per_second))
    cloud = f"http://127.0.0.1:{stage.emulator_port}"
    fault = '{"action": "BatchModifyTargetWeight", "kind": "lost_reply", "times": 1}'
    lines = (
        "",
        "still running; Ctrl-C stops it. In another terminal:",
        f"  export SHIFTER_STORE={stage.store_path}",
        "  shifter get; shifter describe shop; shifter watch",
        "  shifter rollback shop --reason 'just trying' --yes --wait",
        f"  $EDITOR {stage.spec.directory}/policies/shop.yaml",
        f"  curl http://127.0.0.1:{stage.plane.front_port}/ -H 'Host: shop.example.com' -i",
        f"  curl {cloud}/lab/state",
        f"  curl {cloud}/lab/faults -d '{fault}'",
        f"  curl http://127.0.0.1:{stage.web_port}/metrics",
        *(f"  {mesh}: {stage.plane.prometheus_url(mesh)}" for mesh in ("tcm", "istio")),
    )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
