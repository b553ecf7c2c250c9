"""Processes to be killed: `shifter run` in a cluster, with failpoints, forked and not loaded.

Python takes a second of a processor to load what the service is made of, and every kill costs one start. So all of it
is loaded once, by a server that does nothing but fork (`multiprocessing`), and what is forked is a process like any
other: with an id, signals and an exit code of its own, and nothing in common with the one that was killed before.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final

from shifter.lab.failpoints import Fuse, fused
from shifter.wiring import ServeOptions, serve

_MADE_OF: Final = (
    "uvicorn",
    "shifter.adapters.kube.connecting",
    "shifter.adapters.kube.lease",
    "shifter.adapters.kube.mesh_cluster",
    "shifter.adapters.kube.store",
    "shifter.adapters.kube.watching",
    "shifter.adapters.prometheus",
    "shifter.adapters.tencent.clb",
    "shifter.files.documents",
    "shifter.service.standby",
    __name__,
)
_DEATH_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Spec:
    """What a replica is started with. `armed` is the file that arms a failpoint, `log` takes what it says."""

    name: str
    options: ServeOptions
    armed: Path
    log: Path
    environment: Mapping[str, str]


class Nursery:
    """Forks replicas. `multiprocessing` looks at all its processes whenever it starts one: one thread at a time."""

    def __init__(self) -> None:
        self.forks = multiprocessing.get_context("forkserver")
        self.forks.set_forkserver_preload(list(_MADE_OF))
        self.lock = threading.RLock()


class Life:
    """One replica's process, which may be started again after it ended."""

    def __init__(self, nursery: Nursery, spec: Spec) -> None:
        self._nursery = nursery
        self._spec = spec
        self._process: ForkServerProcess | None = None

    @property
    def running(self) -> bool:
        """Whether it is alive."""
        with self._nursery.lock:
            return self._process is not None and self._process.is_alive()

    @property
    def pid(self) -> int:
        """Its process id, also after it ended; 0 before the first start."""
        with self._nursery.lock:
            return 0 if self._process is None else self._process.pid or 0

    def start(self) -> None:
        """Start it; does nothing when it runs."""
        with self._nursery.lock:
            if not self.running:
                target, name = partial(_live, self._spec), self._spec.name
                self._process = self._nursery.forks.Process(target=target, name=name, daemon=True)
                self._process.start()

    def kill(self) -> None:
        """SIGKILL; returns when it is dead."""
        with self._nursery.lock:
            if self._process is not None:
                self._process.kill()
                self._process.join(_DEATH_SECONDS)

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        with self._nursery.lock:
            if self._process is not None:
                self._process.terminate()

    def ended_by(self) -> str:
        """Return the name of the signal that ended it; empty if none did, or it lives."""
        with self._nursery.lock:
            code = 0 if self._process is None else self._process.exitcode or 0
            return signal.Signals(-code).name if code < 0 else ""


def _live(spec: Spec) -> None:
    """Be a replica, until a signal or a failpoint ends it, or whoever started it is gone."""
    os.environ.clear()
    os.environ.update(spec.environment)
    with spec.log.open("ab") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
    threading.Thread(target=_end_with_tests, daemon=True).start()
    serve(spec.options, partial(fused, fuse=Fuse(spec.armed)))


def _end_with_tests() -> None:
    tests = multiprocessing.parent_process()
    if tests is not None:
        tests.join()
        os.kill(os.getpid(), signal.SIGKILL)
