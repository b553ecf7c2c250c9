"""What `shifter lab run --keep` leaves: the lab as the story left it, with users on it, and what to type to poke it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Final

from rich.console import Console

from shifter.core.phases import Phase
from shifter.core.state import Report
from shifter.lab.free_ports import LOOPBACK
from shifter.lab.stage import Stage
from shifter.lab.topology import MESHES

KEPT_SECONDS_MAX: Final = 3_600.0
"""How long there are users; the rest of the lab stays until it is stopped."""


def keep(stage: Stage, console: Console) -> None:
    """Put users back on the lab, say how to poke it, and return on Ctrl-C or SIGTERM."""
    stage.plane.start_load(stage.rates, seconds_max=KEPT_SECONDS_MAX)
    for line in _told(stage):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()


def _told(stage: Stage) -> Iterator[str]:
    shift, place = next(iter(stage.account.places.items()))
    files = stage.spec.directory.resolve()
    cloud = f"http://{LOOPBACK}:{stage.emulator_port}"
    fault = '{"action": "BatchModifyTargetWeight", "kind": "lost_reply", "times": 1}'
    yield ""
    yield f"still running, with users for {KEPT_SECONDS_MAX / 60:g} minutes; Ctrl-C stops it. In another terminal:"
    yield f"  export SHIFTER_STORE={stage.store_path.resolve()}"
    yield f"  shifter get; shifter describe {shift}; shifter watch"
    yield from (f"  {line}" for line in moving_again(shift, stage.reports()))
    yield f"  $EDITOR {files}/policies/{shift}.yaml"
    yield f"  curl http://{LOOPBACK}:{stage.plane.front_port}/ -H 'Host: {place.domain}' -i"
    yield f"  curl {cloud}/lab/state"
    yield f"  curl {cloud}/lab/faults -d '{fault}'"
    yield f"  curl http://{LOOPBACK}:{stage.web_port}/metrics"
    yield from (f"  {mesh}: {stage.plane.prometheus_url(mesh)}" for mesh in MESHES)


def moving_again(shift: str, reports: Mapping[str, Report]) -> Iterator[str]:
    """Yield the orders that start a shift over; the story has brought it to an end, where nothing moves by itself."""
    report = reports.get(shift)
    if report is None or report.phase is not Phase.ROLLED_BACK:
        yield f"shifter rollback {shift} --reason 'just trying' --yes --wait"
    yield f"shifter retry {shift} --reason 'just trying' --wait  # once it is {Phase.ROLLED_BACK}: it moves again"
