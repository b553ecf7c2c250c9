"""Nobody takes the log lines: the service goes on as if somebody did."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shifter.core.phases import Phase
from tests.process.conftest import DEADLINE_SECONDS, Stage, assert_safe

SMALL_PIPE_BYTES = 4096


@contextmanager
def running(stage: Stage, *argv: str, stderr: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start the service with a standard error of the test's own; end it with the block."""
    environment = stage.environment
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, env=environment
    ) as it:
        try:
            yield it
        finally:
            it.kill()
            it.wait(DEADLINE_SECONDS)


@pytest.mark.fault(
    on="process",
    fault="nobody reads its log, and the pipe is full",
    does="goes on; lines that cannot be written are left out",
    sees="`log.lost` with their number, when somebody reads again",
    safe_within="at once",
)
def test_a_log_that_nobody_reads_stops_nothing(stage: Stage) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, SMALL_PIPE_BYTES)
    with running(stage, *stage.argv, "--log-level", "debug", stderr=writing) as service:
        os.close(writing)
        stage.until_phase(Phase.COMPLETED)
        alive = service.poll() is None
        taken = len(os.read(reading, 2 * SMALL_PIPE_BYTES))
    os.close(reading)

    assert alive
    assert taken > SMALL_PIPE_BYTES / 2
    assert_safe(stage)


@pytest.mark.fault(
    on="process",
    fault="whoever read its log is gone (a closed pipe)",
    does="goes on without a log",
    sees="`shifter get` and /metrics, as always",
    safe_within="at once",
)
def test_a_log_whose_reader_is_gone_stops_nothing(stage: Stage) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with running(stage, *stage.argv, stderr=writing) as service:
        os.close(writing)
        stage.until_phase(Phase.COMPLETED)
        alive = service.poll() is None

    assert alive
    assert_safe(stage)


def test_a_service_started_without_any_standard_error_runs(stage: Stage) -> None:
    closed = ("/bin/sh", "-c", 'exec "$0" "$@" 2>&-', *stage.argv)
    with running(stage, *closed, stderr=subprocess.DEVNULL) as service:
        stage.until_phase(Phase.COMPLETED)
        alive = service.poll() is None

    assert alive
    assert_safe(stage)
