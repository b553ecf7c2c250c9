"""The door to istioctl, against programs that misbehave as only a small script can be made to."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shifter.adapters.istioctl.ending import ending_with
from shifter.adapters.istioctl.program import Program, Wanted, digest, find
from shifter.adapters.istioctl.running import run
from shifter.adapters.istioctl.tool import IstioctlTool
from shifter.errors import ConfigError, NotFoundError
from shifter.ports.istioctl import IstioctlError, Reach

SAYS_1_18_5 = """if [ "$1" = version ]; then echo '{"clientVersion": {"version": "1.18.5"}}'; exit 0; fi\n"""
SOMEWHERE = Reach("/kube/config", "tke")

Script = Callable[..., Path]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    def made(body: str, folder: str = "bin", name: str = "istioctl") -> Path:
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}")
        path.chmod(0o755)
        return path

    return made


def _tool(path: Path, **environ: str) -> IstioctlTool:
    return IstioctlTool(Program(path, "1.18.5"), environ | {"PATH": os.environ["PATH"]})


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_program_is_told_and_heard_whole(script: Script) -> None:
    said = run([str(script("cat; echo complained >&2; exit 3"))], environ={}, stdin="x" * 300_000, timeout_seconds=10)

    assert (said.exit_code, len(said.out), said.complaints) == (3, 300_000, "complained\n")


def test_a_program_that_does_not_listen_is_heard_all_the_same(script: Script) -> None:
    said = run([str(script("echo done"))], environ={}, stdin="x" * 3_000_000, timeout_seconds=10)

    assert (said.exit_code, said.out) == (0, "done\n")


def test_a_program_that_hangs_is_ended_with_all_that_it_started(script: Script, tmp_path: Path) -> None:
    path = script(f"trap '' TERM\nsleep 60 &\necho $! > {tmp_path}/child\nwait; sleep 60")

    with pytest.raises(IstioctlError, match="had not ended in time and was ended") as caught:
        run([str(path)], environ={"PATH": os.environ["PATH"]}, timeout_seconds=1)

    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while _is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert caught.value.unfinished
    assert not _is_alive(child)


def test_a_program_that_prints_for_ever_is_ended(script: Script) -> None:
    path = script("yes")

    with pytest.raises(IstioctlError, match="said more than it may") as caught:
        run([str(path)], environ={"PATH": os.environ["PATH"]}, timeout_seconds=60, most_bytes=100_000)

    assert caught.value.unfinished


def test_a_program_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(IstioctlError, match="istioctl cannot be started: no such file or directory"):
        run([str(tmp_path / "istioctl")], environ={}, timeout_seconds=1)


def test_a_program_ends_with_a_run_that_is_killed(script: Script, tmp_path: Path) -> None:
    path = script(f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 60")
    runs = "import sys; from shifter.adapters.istioctl.running import run\n"
    runs += "run([sys.argv[1]], environ={'PATH': '/usr/bin:/bin'}, timeout_seconds=60, ends_with_us=True)"
    killed = subprocess.Popen([sys.executable, "-c", runs, str(path)])
    deadline = time.monotonic() + 10
    while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.02)

    killed.kill()
    killed.wait()

    program = int((tmp_path / "pid").read_text())
    while _is_alive(program) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _is_alive(program)


@pytest.mark.parametrize(("platform", "python"), [("darwin", "/python"), ("linux", "")])
def test_where_it_cannot_be_made_to_end_with_us_a_program_is_run_as_it_is(platform: str, python: str) -> None:
    assert ending_with(1, ["/istioctl", "version"], platform=platform, python=python) == ["/istioctl", "version"]


def test_only_the_part_of_the_environment_that_is_no_setting_is_passed_on(script: Script) -> None:
    tool = _tool(script("env"), HOME="/home/me", ISTIOCTL_ISTIONAMESPACE="elsewhere", KUBECONFIG="/other", HUB="evil")

    seen = dict(line.split("=", 1) for line in tool.manifest("").splitlines())

    assert seen.keys() - {"PWD", "SHLVL", "_", "OLDPWD"} == {"HOME", "PATH", "ISTIOCONFIG"}


def test_the_named_program_is_taken(script: Script) -> None:
    path = script(SAYS_1_18_5)

    assert find(Wanted("1.18.5", str(path)), os.environ) == Program(path, "1.18.5")


def test_a_verified_program_in_the_cache_is_taken_before_one_on_path(script: Script, tmp_path: Path) -> None:
    cached = script(SAYS_1_18_5, "cache/1.18.5")
    script(SAYS_1_18_5)

    assert find(Wanted("1.18.5", cache=tmp_path / "cache"), {"PATH": f"{tmp_path}/bin:/bin"}).path == cached


def test_a_wrong_one_in_the_cache_does_not_hide_the_right_one_on_path(script: Script, tmp_path: Path) -> None:
    script(SAYS_1_18_5.replace("1.18.5", "1.20.0"), "cache/1.18.5")
    right = script(SAYS_1_18_5)

    assert find(Wanted("1.18.5", cache=tmp_path / "cache"), {"PATH": f"{tmp_path}/bin:/bin"}).path == right


def test_without_any_it_is_said_what_is_missing_and_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no istioctl 1\.18\.5 on PATH or in the cache") as caught:
        find(Wanted("1.18.5", cache=tmp_path), {"PATH": str(tmp_path)})

    assert caught.value.remedy == "install istioctl 1.18.5, or name it: --istioctl PATH"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (SAYS_1_18_5.replace("1.18.5", "1.18.50"), r"is istioctl 1\.18\.50, and 1\.18\.5 is wanted"),
        ("echo 1.18.5", r"does not say which istioctl it is \(exit code 0\)"),
        (f"{SAYS_1_18_5}".replace("exit 0", "exit 1"), r"does not say which istioctl it is \(exit code 1\)"),
        ("echo '{\"clientVersion\": null}'", "does not say which istioctl it is"),
    ],
)
def test_a_program_that_is_not_the_release_that_is_wanted_is_refused(script: Script, body: str, said: str) -> None:
    path = script(body)

    with pytest.raises(ConfigError, match=said):
        find(Wanted("1.18.5", str(path)), os.environ)


def test_a_program_that_cannot_be_started_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be started"):
        find(Wanted("1.18.5", str(tmp_path)), os.environ)


def test_a_program_with_another_digest_than_the_pinned_one_is_never_run(script: Script, tmp_path: Path) -> None:
    path = script(f"touch {tmp_path}/ran\n{SAYS_1_18_5}")

    with pytest.raises(ConfigError, match=f"is not the pinned program: its SHA-256 is {digest(path)}, not {'0' * 64}"):
        find(Wanted("1.18.5", str(path), sha256="0" * 64), os.environ)

    assert not (tmp_path / "ran").exists()


def test_a_program_with_the_pinned_digest_is_taken(script: Script) -> None:
    path = script(SAYS_1_18_5)

    assert find(Wanted("1.18.5", str(path), sha256=digest(path).upper()), os.environ).path == path


def test_a_pinned_program_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: no such file or directory"):
        find(Wanted("1.18.5", str(tmp_path / "none"), sha256="0" * 64), os.environ)


def test_a_failure_is_told_with_the_last_that_the_program_said(script: Script) -> None:
    tool = _tool(script("echo unknown field: spec.componets >&2; exit 64"))

    with pytest.raises(IstioctlError, match=r"validate --filename=-` failed with exit code 64: unknown field: spec\.c"):
        tool.validate("spec: {}")


def test_a_failure_without_a_word_is_told_as_one(script: Script) -> None:
    tool = _tool(script("exit 1"))

    with pytest.raises(IstioctlError, match="failed with exit code 1: it said nothing"):
        tool.manifest("spec: {}")


def test_an_operator_goes_in_by_standard_input_and_the_cluster_by_name(script: Script) -> None:
    tool = _tool(script('echo "$@"; cat'))

    assert tool.install("spec: {}", SOMEWHERE, ready_within_seconds=300).splitlines() == [
        "install --filename=- --skip-confirmation --readiness-timeout=300s --kubeconfig=/kube/config --context=tke",
        "spec: {}",
    ]


@pytest.mark.parametrize(("server", "asked"), [("", ""), ("https://10.0.3.4:443", " --server=https://10.0.3.4:443")])
def test_a_remote_secret_is_asked_for_by_the_clusters_name_and_address(script: Script, server: str, asked: str) -> None:
    tool = _tool(script('echo "$@"'))

    said = tool.remote_secret(SOMEWHERE, name="cls-ne1cw84b", server=server)

    where = "--kubeconfig=/kube/config --context=tke"
    assert said == f"create-remote-secret --name=cls-ne1cw84b --namespace=istio-system{asked} {where}\n"


def test_the_tool_is_of_the_release_that_its_program_says(script: Script) -> None:
    assert _tool(script("")).version == "1.18.5"
