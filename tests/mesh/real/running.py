"""The real command line as a process of its own, told a mesh file: what a person does, and what ends a person's run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.mesh.guide import Json, guide_mesh
from tests.mesh.towns import Town

PRIMARY: Final = "cls-dxgdg1rl"
MEMBER: Final = "cls-ne1cw84b"
RUN_SECONDS: Final = 180.0
ENDS_WITHIN_SECONDS: Final = 5.0
_PROGRAM: Final = "from shifter.cli.main import main; main()"


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended by itself."""

    code: int
    out: str
    said: str


@dataclass(slots=True)
class Person:
    """Somebody at a terminal with a mesh file, a kubeconfig and an istioctl.

    `spec` is what the file says; `patience` how long pods and balancers may take.
    """

    folder: Path
    spec: Json
    istioctl: Path
    patience: str = "90s"
    address_patience: str = "60s"
    environ: Mapping[str, str] = field(default_factory=dict)

    def command(self, verb: str, *words: str) -> list[str]:
        """Return the command line, and write the file that it names."""
        place = self.folder / "mesh.yaml"
        body = {"apiVersion": "shifter.io/v1alpha1", "kind": "Mesh", "metadata": {"name": "main"}, "spec": self.spec}
        place.write_text(json.dumps(body), encoding="utf-8")
        given = ("--file", str(place), "--istioctl", str(self.istioctl))
        patience = ("--ready-timeout", self.patience, "--address-timeout", self.address_patience)
        yes = ("--yes",) if verb == "install" else ()
        return [sys.executable, "-c", _PROGRAM, "mesh", verb, *given, *patience, *yes, *words]

    def runs(self, verb: str, *words: str) -> Ended:
        """Run a command to its end."""
        done = subprocess.run(
            self.command(verb, *words),
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def starts(self) -> subprocess.Popen[str]:
        """Start an installation; its stderr is to be read."""
        return subprocess.Popen(
            self.command("install"),
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def _environment(self) -> Mapping[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.environ}


def person_of(town: Town, folder: Path, version: str, istioctl: Path) -> Person:
    """Somebody with the guide's mesh in a file, by the contexts of a town."""
    kubeconfig = str(town.kubeconfig())
    spec: Json = guide_mesh(version).spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for each in (spec["primary"], *spec["members"]):
        each |= {"context": each["cluster"], "kubeconfigFile": kubeconfig}
    folder.mkdir(parents=True, exist_ok=True)
    return Person(folder, spec, istioctl)


def begun(run: subprocess.Popen[str]) -> Iterator[str]:
    """Yield `cluster  step` of each step that a run begins to act in, until it ends; say all that it says."""
    assert run.stderr is not None
    for line in run.stderr:
        sys.stderr.write(line)
        if line.startswith("  ") and line.rstrip().endswith("..."):
            yield line.strip().split(": ")[0]


def kill(run: subprocess.Popen[str]) -> None:
    """End a run as a machine ends it that loses its power."""
    run.kill()
    run.wait()
    assert run.stderr is not None
    run.stderr.close()


def child_of(pid: int, seconds: float) -> int | None:
    """Return the process of a run's istioctl once it is istioctl; None if there is none in that time."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        for each in _children(pid):
            with suppress(OSError):
                if Path(f"/proc/{each}/cmdline").read_bytes().split(b"\0")[1:2] in (
                    [b"install"],
                    [b"create-remote-secret"],
                ):
                    return each
        time.sleep(0.01)
    return None


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, task.read_text(encoding="ascii").split())
    return found


def is_over(pid: int) -> bool:
    """Wait until a process is gone, and say whether it is."""
    ends = time.monotonic() + ENDS_WITHIN_SECONDS
    while time.monotonic() < ends:
        try:
            if Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] == "Z":
                return True
            os.kill(pid, 0)
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


def steps_of(plan: Ended) -> Mapping[str, Mapping[str, Any]]:
    """Return the steps of a `plan -o json` by `cluster  step`."""
    assert plan.code == 0, plan.said
    return {f"{each['cluster']}  {each['step']}": each for each in json.loads(plan.out)["steps"]}
