"""Finding and making Istio's programs, with a Go that a test writes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.building import ToolError
from tests.mesh.tools import CURRENT, OF_THE_GUIDE, RELEASES, Release, find_istio, istio

# It notes how it was called; the word after -o is where the program goes.
BUILDS = """#!/bin/sh
case "$1" in env) echo go1.99.1; exit;; esac
echo "$@" > "$HOME/called"
while [ "$1" != -o ]; do shift; done
mkdir -p "${2%/*}" && echo "#!/bin/sh" > "$2" && chmod +x "$2"
"""

each_release = pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.minor)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A machine whose Go builds at once, whatever it is given."""
    (tmp_path / "bin").mkdir()
    for known in ("mkdir", "chmod"):
        (tmp_path / "bin" / known).symlink_to(f"/bin/{known}")
    go = tmp_path / "bin" / "go"
    go.write_text(BUILDS)
    go.chmod(0o755)
    return {"PATH": f"{tmp_path}/bin", "HOME": str(tmp_path), "SHIFTER_CACHE": str(tmp_path / "cache")}


@each_release
def test_a_release_is_built_once_and_found_from_then_on(
    tmp_path: Path, environment: dict[str, str], release: Release
) -> None:
    said: list[str] = []

    built = find_istio(release, environment, say=said.append)
    found = find_istio(release, environment)

    home = tmp_path / "cache" / istio(release).cache_key
    assert built == found
    assert (built.istioctl, built.discovery) == (home / "istioctl", home / "pilot-discovery")
    assert os.access(built.istioctl, os.X_OK)
    assert os.access(built.discovery, os.X_OK)
    assert [line.split()[:2] for line in said] == [["building", "Istio"], ["built", "in"]]


@each_release
def test_a_build_takes_itself_for_the_release_and_not_for_a_developers(
    tmp_path: Path, environment: dict[str, str], release: Release
) -> None:
    find_istio(release, environment, say=lambda _: None)

    called = (tmp_path / "called").read_text()
    set_by_the_linker = dict(re.findall(r"-X (\S+)=(\S+)", called))
    version = istio(release).version
    assert version.startswith(f"{release.minor}.")
    assert set_by_the_linker[f"{release.stamped}.buildVersion"] == version
    assert set_by_the_linker[f"{release.stamped}.buildTag"] == version
    assert set_by_the_linker[f"{release.stamped}.buildHub"] == "docker.io/istio"
    assert f"-tags {','.join(release.tags)} -ldflags" in called


def test_the_guides_release_is_the_guides() -> None:
    assert istio(OF_THE_GUIDE).version == "1.18.5"


@each_release
def test_the_version_that_is_said_is_the_commit_that_is_required(release: Release) -> None:
    revision = next(each for each in istio(release).variables if ".buildGitRevision=" in each).split("=")[1]

    assert re.fullmatch(r"[0-9a-f]{12}", revision)
    assert f"-{revision} h1:" in (release.source / "go.sum").read_text()


def test_other_settings_are_another_build() -> None:
    program = istio(CURRENT)

    assert replace(program, variables=program.variables[:-1]).cache_key != program.cache_key
    assert replace(program, tags=()).cache_key != program.cache_key
    assert program.cache_key != istio(OF_THE_GUIDE).cache_key


def test_nothing_that_takes_long_is_begun_unasked(tmp_path: Path, environment: dict[str, str]) -> None:
    with pytest.raises(ToolError, match=r"Istio 1\.18\.5 is not built yet; get it with: python -m tests\.mesh\.tools"):
        find_istio(OF_THE_GUIDE, environment)

    assert not (tmp_path / "called").exists()


def test_the_command_line_prints_where_they_are(tmp_path: Path, environment: dict[str, str]) -> None:
    argv = [sys.executable, "-m", "tests.mesh.tools"]

    done = subprocess.run(
        argv, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )

    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows == [
        ["istio", istio(release).version, str(tmp_path / "cache" / istio(release).cache_key)] for release in RELEASES
    ]
