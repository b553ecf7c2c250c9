"""Child processes end when they are told to, when they cannot hear it, and when nobody is left to tell them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shifter.lab.processes import Child, ProcessNotReadyError, ProcessSpec, Supervisor

DEAF = ("/bin/sh", "-c", "trap '' TERM; touch ready; while :; do sleep 0.05; done")
ORDERLY = ("/bin/sh", "-c", "trap 'exit 7' TERM; touch ready; while :; do sleep 0.05; done")
SLEEPER = ("/bin/sleep", "60")


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with Supervisor(tmp_path, os.environ) as running:
        yield running


def is_alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def eventually_dead(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while is_alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    child = supervisor.start(ProcessSpec("deaf", DEAF, ready_file=tmp_path / "ready"))
    child.wait_ready()

    started = time.monotonic()
    child.stop(grace_seconds=0.3)

    assert not child.running
    assert 0.3 <= time.monotonic() - started < 2


def test_a_frozen_child_ends_in_order(supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    child = supervisor.start(ProcessSpec("orderly", ORDERLY, ready_file=tmp_path / "ready"))
    child.wait_ready()
    child.freeze()

    child.stop()

    assert child.wait(timeout_seconds=1) == 7


def test_a_frozen_child_does_nothing_from_then_on(supervisor: Supervisor) -> None:
    busy = "import threading as t\nfor _ in range(4): t.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()"
    child = supervisor.start(ProcessSpec("busy", (sys.executable, "-c", busy)))
    deadline = time.monotonic() + 5
    while len(os.listdir(f"/proc/{child.pid}/task")) < 5:  # noqa: PTH208 - threads of a process that runs
        assert time.monotonic() < deadline

    child.freeze()
    stats = [(task / "stat").read_text() for task in Path(f"/proc/{child.pid}/task").iterdir()]

    assert {stat.rpartition(")")[2].split()[0] for stat in stats} == {"T"}


def test_a_killed_child_can_be_started_again(supervisor: Supervisor) -> None:
    child = supervisor.start(ProcessSpec("sleeper", SLEEPER))
    first = child.pid

    child.kill()
    child.start()

    assert child.running
    assert child.pid != first


def test_starting_a_running_child_changes_nothing(supervisor: Supervisor) -> None:
    child = supervisor.start(ProcessSpec("sleeper", SLEEPER))
    pid = child.pid

    child.start()

    assert child.pid == pid


WAITING = ("/bin/sh", "-c", "echo $$ >> loaded; read line && echo $$ >> begun && touch ready && exec sleep 60")


def eventually_written(path: Path, lines: int) -> list[str]:
    deadline = time.monotonic() + 5
    while not path.exists() or len(path.read_text().splitlines()) < lines:
        assert time.monotonic() < deadline, f"{path.name} never had {lines} lines"
        time.sleep(0.02)
    return path.read_text().splitlines()


def test_a_life_that_was_started_ahead_begins_when_the_last_one_has_ended(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    child = supervisor.start(ProcessSpec("waiting", WAITING, ready_file=tmp_path / "ready", ahead=True))
    child.wait_ready()

    child.start_ahead()
    child.start_ahead()
    loaded = eventually_written(tmp_path / "loaded", 2)
    begun = (tmp_path / "begun").read_text().splitlines()
    child.kill()
    child.start()

    assert begun == loaded[:1]
    assert eventually_written(tmp_path / "begun", 2) == loaded == [*begun, str(child.pid)]


def test_what_waits_to_begin_ends_with_its_child(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    child = supervisor.start(ProcessSpec("waiting", WAITING, ahead=True))
    child.start_ahead()
    pids = [int(pid) for pid in eventually_written(tmp_path / "loaded", 2)]

    child.stop()

    assert all(eventually_dead(pid) for pid in pids)


def test_what_died_while_it_waited_is_started_anew(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    child = supervisor.start(ProcessSpec("waiting", WAITING, ahead=True))
    child.start_ahead()
    (waiting,) = {int(pid) for pid in eventually_written(tmp_path / "loaded", 2)} - {child.pid}

    os.kill(waiting, signal.SIGKILL)
    assert eventually_dead(waiting)
    child.kill()
    child.start()

    assert eventually_written(tmp_path / "begun", 2)[1] == str(child.pid)


def test_what_begins_at_once_is_not_started_ahead(supervisor: Supervisor) -> None:
    child = supervisor.start(ProcessSpec("sleeper", SLEEPER))

    with pytest.raises(RuntimeError, match="sleeper would begin at once"):
        child.start_ahead()


def test_a_name_is_taken_while_its_child_runs(supervisor: Supervisor) -> None:
    supervisor.start(ProcessSpec("sleeper", SLEEPER))

    with pytest.raises(RuntimeError, match="sleeper runs already"):
        supervisor.start(ProcessSpec("sleeper", SLEEPER))


def test_a_child_that_ends_at_once_shows_its_log(supervisor: Supervisor) -> None:
    child = supervisor.start(ProcessSpec("broken", ("/bin/sh", "-c", "echo bad option >&2"), "http://127.0.0.1:9/"))

    with pytest.raises(ProcessNotReadyError, match=r"broken ended at once:\nbad option"):
        child.wait_ready()


def test_a_child_that_never_answers_is_not_ready_in_time(supervisor: Supervisor) -> None:
    child = supervisor.start(ProcessSpec("mute", SLEEPER, "http://127.0.0.1:9/"))

    with pytest.raises(ProcessNotReadyError, match=r"mute was not ready after 0\.1 s"):
        child.wait_ready(timeout_seconds=0.1)


def test_an_unknown_child_is_named(supervisor: Supervisor) -> None:
    supervisor.start(ProcessSpec("sleeper", SLEEPER))

    with pytest.raises(KeyError, match="the lab has no process 'nobody'; it has sleeper"):
        supervisor.child("nobody")


def test_a_child_that_does_not_run_has_no_pid_and_no_end(tmp_path: Path) -> None:
    child = Child(ProcessSpec("sleeper", SLEEPER), tmp_path / "sleeper.log", os.environ)

    with pytest.raises(RuntimeError, match="sleeper does not run"):
        _ = child.pid
    with pytest.raises(RuntimeError, match="sleeper was never started"):
        child.wait(timeout_seconds=1)


def test_children_start_only_inside_the_with_block(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a supervisor starts children only inside its `with` block"):
        Supervisor(tmp_path, os.environ).start(ProcessSpec("sleeper", SLEEPER))


def test_children_and_grandchildren_die_with_a_killed_parent_and_strangers_do_not(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, time\n"
        "from shifter.lab.processes import ProcessSpec, Supervisor\n"
        f"with Supervisor(pathlib.Path({str(tmp_path)!r}), os.environ) as supervisor:\n"
        "    argv = ('/bin/sh', '-c', 'sleep 60 & echo $!; wait')\n"
        "    child = supervisor.start(ProcessSpec('family', argv))\n"
        f"    log = pathlib.Path({str(tmp_path / 'family.log')!r})\n"
        "    while not log.read_text(): time.sleep(0.01)\n"
        "    print(child.pid, log.read_text(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    with (
        subprocess.Popen(SLEEPER) as stranger,
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent,
    ):
        assert parent.stdout is not None
        family = [int(pid) for pid in parent.stdout.readline().split()]
        alive = [is_alive(pid) for pid in family]
        parent.kill()

        assert alive == [True, True]
        assert all(eventually_dead(pid) for pid in family)
        assert stranger.poll() is None
        stranger.kill()
