"""The image's contents, made by the Dockerfile's own steps: there may be no container runtime where tests run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COPIED = ("LICENSE", "README.md", "pyproject.toml", "requirements", "shifter")
INSTALL_SECONDS = 600
RUN_SECONDS = 60
LOCKED = ("--require-hashes", "--only-binary", ":all:", "--requirement")

EVERY_MODULE = """
import importlib, pkgutil, sys, shifter
names = [each.name for each in pkgutil.walk_packages(shifter.__path__, "shifter.")]
assert len(names) > 100, names
assert not [name for name in names if name.startswith("shifter.lab")], names
for name in (each for each in names if not each.endswith("__main__")):
    importlib.import_module(name)
assert not [name for name in sys.modules if name.startswith("shifter.lab")]
"""


def run(argv: Sequence[str | Path], folder: Path, seconds: float = RUN_SECONDS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in argv],
        cwd=folder,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONPATH": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that the image has in /opt/shifter."""
    folder = tmp_path_factory.mktemp("image")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "lab", "*.db*"))
        else:
            shutil.copy(source, folder / name)
    build, made = folder / "build" / "bin" / "python", folder / "opt"
    pip = (build, "-m", "pip", "--quiet")
    into = (*pip, "--python", made / "bin" / "python", "install")
    for argv in (
        (sys.executable, "-m", "venv", folder / "build"),
        (*pip, "install", *LOCKED, "requirements/build.lock"),
        (sys.executable, "-m", "venv", "--without-pip", made),
        (*into, *LOCKED, "requirements/runtime.lock"),
        (build.with_name("hatchling"), "build", "--target", "wheel", "--directory", folder / "wheels"),
    ):
        done = run(argv, folder, INSTALL_SECONDS)
        assert done.returncode == 0, done.stderr
    done = run((*into, "--no-deps", "--no-index", *(folder / "wheels").glob("*.whl")), folder, INSTALL_SECONDS)
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.timeout(INSTALL_SECONDS)
def test_every_module_of_the_image_can_be_imported_without_the_lab(image: Path, tmp_path: Path) -> None:
    done = run((image / "bin" / "python", "-I", "-c", EVERY_MODULE), tmp_path)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [("version",), ("--help",), ("run", "--help"), ("policy", "schema")])
def test_commands_of_the_image_run(image: Path, tmp_path: Path, words: Sequence[str]) -> None:
    done = run((image / "bin" / "shifter", *words), tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_nothing_can_be_installed_from_within_the_image(image: Path, tmp_path: Path) -> None:
    done = run((image / "bin" / "python", "-I", "-c", "import pip"), tmp_path)

    assert "No module named 'pip'" in done.stderr
