"""The lab leaves no process behind: not after a clean end, a failed start, or its own violent death."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shifter.lab.dataplane import DataPlane, DataPlaneSpec
from shifter.lab.processes import TOKEN_VARIABLE
from shifter.lab.tools import Tools, find_tools
from shifter.lab.topology import Namespace


@pytest.fixture(scope="module")
def tools() -> Tools:
    return find_tools(os.environ)


def marked_processes(token: str) -> list[str]:
    """The commands of all living processes that a lab with this token started."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and f"{TOKEN_VARIABLE}={token}".encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def token_of(pid: int) -> str:
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    [token] = [line for line in environment if line.startswith(TOKEN_VARIABLE.encode())]
    return token.decode().partition("=")[2]


def all_end(token: str, timeout_seconds: float = 8) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while marked_processes(token):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_nothing_is_left_after_the_with_block(tools: Tools, tmp_path: Path) -> None:
    spec = DataPlaneSpec(tmp_path, [Namespace("shop")], rates={"shop": 50})

    with DataPlane(spec, tools, os.environ) as lab:
        token = token_of(lab.process("front").pid)
        lab.hang_prometheus("tcm")  # a frozen child cannot hear SIGTERM
        alive = marked_processes(token)

    assert len(alive) == 11  # front, 5 gateways, 2 workloads, 2 Prometheus servers, load
    assert marked_processes(token) == []


def test_nothing_is_left_after_the_lab_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys, time\n"
        "from shifter.lab.dataplane import DataPlane, DataPlaneSpec\n"
        "from shifter.lab.tools import find_tools\n"
        "from shifter.lab.topology import Namespace\n"
        f"spec = DataPlaneSpec(pathlib.Path({str(tmp_path)!r}), [Namespace('shop')], rates={{'shop': 50}})\n"
        "with DataPlane(spec, find_tools(os.environ), os.environ) as lab:\n"
        "    print(lab.process('front').pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        token = token_of(int(parent.stdout.readline()))
        alive = marked_processes(token)
        parent.send_signal(signal.SIGKILL)

    assert len(alive) == 11
    assert all_end(token)


def test_a_failed_start_leaves_nothing_and_shows_the_log(tools: Tools, tmp_path: Path) -> None:
    refused = tmp_path / "prometheus"
    refused.write_text("#!/bin/sh\necho no such flag >&2\nexit 3\n")
    refused.chmod(0o755)
    spec = DataPlaneSpec(tmp_path / "lab", [Namespace("shop")])

    lab = DataPlane(spec, Tools(tools.envoy, refused), os.environ)
    with pytest.raises(RuntimeError, match="no such flag"), lab:
        pass

    assert not lab.process("front").running
