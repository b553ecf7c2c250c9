from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def steps(root: Path) -> Sequence[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, as one line each."""
    lines = (root / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return [(word, " ".join(rest.split())) for word, rest in pairs]


def _of(steps: Sequence[tuple[str, str]], word: str) -> list[str]:
    return [rest for found, rest in steps if found == word]


def _last_stage(steps: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    begins = [index for index, (word, _) in enumerate(steps) if word == "FROM"]
    return steps[begins[-1] :]


def test_both_stages_stand_on_the_same_base_that_can_be_chosen(steps: Sequence[tuple[str, str]]) -> None:
    assert steps[0][0] == "ARG"
    assert steps[0][1].startswith("BASE=python:3.")
    assert _of(steps, "FROM") == ["${BASE} AS build", "${BASE}"]


def test_the_image_runs_as_nobody_and_starts_without_a_shell(steps: Sequence[tuple[str, str]]) -> None:
    last = _last_stage(steps)

    assert _of(last, "USER") == ["65532:65532"]
    assert _of(last, "ENTRYPOINT") == ['["/opt/shifter/bin/shifter"]']
    assert _of(last, "RUN") == []


def test_every_package_of_the_image_is_a_wheel_with_a_locked_hash(steps: Sequence[tuple[str, str]]) -> None:
    installs = [
        command
        for step in _of(steps, "RUN")
        for command in step.split("&&")
        if "pip" in command and " install " in command
    ]
    ours = [command for command in installs if "/wheels/" in command]
    others = [command for command in installs if "/wheels/" not in command]

    assert [re.findall(r"requirements/\w+\.lock", command) for command in others] == [
        ["requirements/build.lock"],
        ["requirements/runtime.lock"],
    ]
    assert all("--require-hashes --only-binary :all:" in command for command in others)
    assert len(ours) == 1
    assert "--no-deps --no-index" in ours[0]
    assert not re.search(r"apt|apk|curl|wget|https?:", " ".join(_of(steps, "RUN")))
    assert not _of(steps, "ADD")


def test_the_lab_is_left_out_twice(steps: Sequence[tuple[str, str]], root: Path) -> None:
    ignored = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    [built] = [step for step in _of(steps, "RUN") if "hatchling build" in step]

    assert ignored.index("shifter/lab") > ignored.index("!shifter")
    assert built.index("rm -rf shifter/lab") < built.index("hatchling build")


def test_everything_that_is_copied_is_sent_to_the_builder(steps: Sequence[tuple[str, str]], root: Path) -> None:
    sent = {
        line.removeprefix("!")
        for line in (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {source for step in _of(steps, "COPY") if not step.startswith("--from") for source in step.split()[:-1]}

    assert copied == sent
    assert all((root / source).exists() for source in copied)


def test_what_builds_the_wheel_is_locked_as_for_development(root: Path) -> None:
    def locked(name: str) -> dict[str, str]:
        text = (root / "requirements" / name).read_text(encoding="utf-8").replace("\\\n", "")
        lines = (line for line in text.splitlines() if "==" in line)
        return {line.split("==")[0]: " ".join(line.split(" ; ")[0].split()) for line in lines}

    build, develop = locked("build.lock"), locked("dev.lock")

    assert "hatchling" in build
    assert {name: develop.get(name) for name in build} == build
