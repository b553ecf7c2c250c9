"""Plays the plots of a scenario side by side on the stage, and gathers what the verdict is made of.

It looks, lets each plot's next beat act if its time has come, and remembers when; it judges nothing.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from shifter.errors import StoreUnavailableError
from shifter.lab.counted import counted
from shifter.lab.narrator import Narrator
from shifter.lab.plot import OrderFailedError, Progress, Scene
from shifter.lab.stage import Stage
from shifter.lab.story import Scenario
from shifter.lab.topology import MESHES
from shifter.lab.verdict import Material

_LOOK_SECONDS: Final = 0.25
_AFTERMATH_SECONDS: Final = 3.0
"""How long users go on after the last beat, so that the final share is measured too."""


class Director:
    """One playing of one scenario. `began` is the Unix time at which its time limit began to run."""

    def __init__(self, stage: Stage, scenario: Scenario, began: float) -> None:
        self._stage = stage
        self._scenario = scenario
        self._began = began
        self._beats: dict[str, float] = {}
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
            beats=self._beats,
            finished=self._finished,
            trouble=self._trouble,
            history=self._stage.history(),
            reports=self._stage.reports(),
            users=users,
            counted={mesh: counted(self._stage.plane.prometheus_url(mesh)) for mesh in MESHES},
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
            self._play_beat(progress, Scene(now - progress.last_at, reports), narrator)

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
        self._beats[beat.name] = at
        progress.done += 1
        progress.last_at = time.time()
        narrator.tell(at, "story", f"{beat.name}{': ' if said else ''}{said}")
