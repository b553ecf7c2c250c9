"""Makes the real istioctl and pilot-discovery of the two releases that the mesh tests are about.

Istio's own release is a download, and nobody packages it. But it is a Go module, and its charts and profiles are inside
the program: so each release is one small Go program of ours (`istio-1.18/`, `istio-1.31/`) that is both. The first is
the guide's, and so TCM's; the second is one that is still supported. A Go module of Istio's has no version to speak of,
but the time and the commit of the release's tag; which release that is, a comment in `go.mod` says.

Without what the linker sets, Istio takes itself for a build of its own developers, and renders their images.

`python -m tests.mesh.tools` makes sure that both are there and says where; minutes on a cold cache.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.building import GO_WHEEL, GoProgram, Say, Wheel, announce, find_program, in_go_mod

HUB: Final = "docker.io/istio"
MAKES_THEM: Final = "python -m tests.mesh.tools"
_ISTIO: Final = r"^(?:require)?\s+istio\.io/istio v0\.0\.0-"


@dataclass(frozen=True, slots=True)
class Release:
    """How Istio's own scripts build a minor release: its `common/scripts/report_build_info.sh` and `Makefile.core.mk`.

    Attributes:
        minor: the release without its patch level; our program's folder has its name.
        stamped: the Go package whose variables the linker sets.
        tags: the build tags.
    """

    minor: str
    stamped: str
    tags: tuple[str, ...] = ()

    @property
    def source(self) -> Path:
        return Path(__file__).parent / f"istio-{self.minor}"


OF_THE_GUIDE: Final = Release("1.18", "istio.io/pkg/version")
CURRENT: Final = Release("1.31", "istio.io/istio/pkg/version", ("vtprotobuf", "disable_pgv"))
RELEASES: Final = (OF_THE_GUIDE, CURRENT)


@dataclass(frozen=True, slots=True)
class IstioTools:
    """The programs of a release, and which it is, e.g. `1.18.5`."""

    version: str
    istioctl: Path
    discovery: Path


def find_istio(
    release: Release, environment: Mapping[str, str], *, say: Say | None = None, go_wheel: Wheel = GO_WHEEL
) -> IstioTools:
    """The programs of a release: the cached build, else a new one.

    Args:
        release: one of `RELEASES`.
        environment: `PATH`, `HOME` and `SHIFTER_CACHE` are read; compilers see all of it.
        say: told about everything that takes long. None: nothing that takes long is begun.
        go_wheel: where Go comes from if PATH has none that is new enough.

    Raises:
        ToolError: they are missing and cannot be made, or may not be.
    """
    program = istio(release)
    home = find_program(program, environment, say, go_wheel=go_wheel)
    return IstioTools(program.version, *(home / part for part in program.parts))


def istio(release: Release) -> GoProgram:
    """A release in one program, as its `go.mod` has it.

    Raises:
        ToolError: the `go.mod` does not say which release it is.
    """
    version = in_go_mod(rf"{_ISTIO}\d+-\w+ // (\S+)$", release.source)
    said = {
        "Version": version,
        "Tag": version,
        "GitRevision": in_go_mod(rf"{_ISTIO}\d+-(\w+) ", release.source),
        "Status": "Clean",
        "Hub": HUB,
    }
    return GoProgram(
        title="Istio",
        name="istio",
        version=version,
        source=release.source,
        parts=("istioctl", "pilot-discovery"),
        variables=tuple(f"{release.stamped}.build{name}={value}" for name, value in said.items()),
        makes_it=MAKES_THEM,
        tags=release.tags,
    )


def main() -> int:
    """Make sure that the programs are there and print where.

    Returns:
        Exit code 0, or 1 with one line on stderr that says what is missing.
    """
    return announce(_places)


def _places(say: Say) -> str:
    found = [find_istio(release, os.environ, say=say) for release in RELEASES]
    return "".join(f"istio {tools.version:<7} {tools.istioctl.parent}\n" for tools in found)


if __name__ == "__main__":
    sys.exit(main())
