"""`shifter mesh plan` and `install` up to the first cluster: what is asked, found and refused before one answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shifter.cli.holding import here, is_gone
from shifter.errors import ConfigError
from shifter.lab.free_ports import LOOPBACK
from shifter.wiring.meshes import connected
from tests.mesh.guide import guide_mesh

if TYPE_CHECKING:
    from tests.cli.conftest import World


@pytest.fixture
def mesh_file(tmp_path: Path) -> Path:
    """A mesh file whose cluster nobody answers for."""
    kubeconfig = tmp_path / "kubeconfig"
    parts = {
        "clusters": [{"name": "c", "cluster": {"server": f"https://{LOOPBACK}:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    kubeconfig.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **parts}), encoding="utf-8")
    spec = {
        "version": "1.18.5",
        "images": {"hub": "docker.io/istio", "tag": "1.18.5", "pullSecrets": []},
        "meshID": "mesh1",
        "network": "main",
        "primary": {"cluster": "cls-1", "context": "c", "kubeconfigFile": str(kubeconfig)},
    }
    body = {"apiVersion": "shifter.io/v1alpha1", "kind": "Mesh", "metadata": {"name": "main"}, "spec": spec}
    place = tmp_path / "mesh.yaml"
    place.write_text(json.dumps(body), encoding="utf-8")
    return place


@pytest.fixture
def istioctl(tmp_path: Path) -> Path:
    """A program that says that it is istioctl 1.18.5, and does nothing else."""
    place = tmp_path / "istioctl"
    place.write_text("""#!/bin/sh\necho '{"clientVersion": {"version": "1.18.5"}}'\n""", encoding="utf-8")
    place.chmod(0o755)
    return place


def test_an_installation_is_confirmed_first(world: World, mesh_file: Path) -> None:
    ended = world.run("mesh", "install", "-f", str(mesh_file))

    assert ended.exit_code == 2
    said = "install Istio 1.18.5 in cls-1 (context c): not confirmed, and there is no terminal to ask"
    assert ended.stderr.splitlines() == [f"error: {said}", "hint: pass --yes"]


@pytest.mark.parametrize("words", [("plan",), ("install", "--dry-run"), ("install", "--yes")])
def test_a_cluster_that_does_not_answer_ends_it_before_anything_is_written(
    world: World, mesh_file: Path, istioctl: Path, words: tuple[str, ...]
) -> None:
    ended = world.run("mesh", *words, "-f", str(mesh_file), "--istioctl", str(istioctl))

    assert ended.exit_code == 5
    assert ended.stderr.splitlines()[-1].startswith("error: cls-1: cannot read namespaces kube-system:")
    assert ended.stdout == ""


def test_who_asks_for_it_is_shown_where_it_failed(world: World, mesh_file: Path, istioctl: Path) -> None:
    ended = world.run("-v", "mesh", "plan", "-f", str(mesh_file), "--istioctl", str(istioctl))

    assert ended.exit_code == 5
    assert "Traceback" in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("error: cls-1: cannot read namespaces kube-system:")


def test_an_istioctl_that_is_not_there_is_named(world: World, mesh_file: Path, tmp_path: Path) -> None:
    ended = world.run("mesh", "plan", "-f", str(mesh_file), "--istioctl", str(tmp_path / "nothing"))

    assert ended.exit_code == 2
    assert "nothing cannot be started: no such file or directory" in ended.stderr


def test_a_pinned_istioctl_must_be_that_one(world: World, mesh_file: Path, istioctl: Path) -> None:
    words = ("--istioctl", str(istioctl), "--istioctl-sha256", "0" * 64)
    ended = world.run("mesh", "plan", "-f", str(mesh_file), *words)

    assert ended.exit_code == 2
    assert "is not the pinned program: its SHA-256 is" in ended.stderr


def test_a_mistake_in_the_file_is_told_with_its_line(world: World, mesh_file: Path) -> None:
    mesh_file.write_text("kind: Mesh\nmetadata: {name: main}\nspec:\n  meshIDD: mesh1\n", encoding="utf-8")

    ended = world.run("mesh", "plan", "-f", str(mesh_file))

    assert ended.exit_code == 2
    assert f"{mesh_file}:4:3" in ended.stderr


def test_several_kubeconfigs_are_not_guessed_among() -> None:
    with (
        pytest.raises(ConfigError, match="KUBECONFIG names several files, and istioctl is given one: write kubeconfig"),
        connected(guide_mesh("1.18.5"), {"KUBECONFIG": f"/a{os.pathsep}/b"}, ready_seconds=1, address_seconds=1),
    ):
        pass


def test_a_kubeconfig_that_is_not_there_is_not_replaced_by_another(tmp_path: Path) -> None:
    # istioctl 1.18 would go to localhost:8080 without a word.
    with (
        pytest.raises(ConfigError, match="config"),
        connected(guide_mesh("1.18.5"), {"HOME": str(tmp_path)}, ready_seconds=1, address_seconds=1),
    ):
        pass


class TestHolders:
    """Who holds a lock: gone only if that is certain."""

    def test_a_process_that_runs_is_not_gone(self) -> None:
        assert not is_gone(here(os.getpid()))

    def test_a_process_of_this_machine_that_has_ended_is_gone(self) -> None:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()

        assert is_gone(here(ended.pid))

    @pytest.mark.parametrize(
        "holder",
        ["ann@here, process 1 of 0123456789ab", "ann@here", "", "x, process 99999999999 of 0123456789ab"],
    )
    def test_a_process_of_another_machine_is_never_gone(self, holder: str) -> None:
        assert not is_gone(holder)
