"""A log that cannot be written, or that nobody reads: it hurts nobody, and what was lost is counted."""

from __future__ import annotations

import fcntl
import io
import json
import os

from shifter.service.log_stream import MOST_WAITING, patient
from tests.service.waiting import wait_for

PIPE_BYTES = 4096


class Reluctant(io.StringIO):
    """A stream that raises what a test says, and counts that, or takes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.error: OSError | None = None
        self.refused = 0

    def write(self, text: str) -> int:
        if self.error is not None:
            self.refused += 1
            raise self.error
        return super().write(text)


def test_log_lines_arrive_whole_and_in_order() -> None:
    stream = Reluctant()
    with patient(stream) as log:
        for number in range(100):
            print(number, file=log, flush=True)

    assert stream.getvalue().split() == [str(number) for number in range(100)]


def test_a_log_that_cannot_be_written_hurts_nobody_and_says_how_much_it_lost() -> None:
    stream = Reluctant()
    stream.error = OSError(28, "No space left on device")
    with patient(stream) as log:
        for _ in range(3):
            print("lost", file=log, flush=True)
        wait_for(lambda: stream.refused == 3, "nobody tried to write them")
        stream.error = None
        print("taken", file=log, flush=True)

    assert stream.getvalue() == '{"event": "log.lost", "level": "warning", "lost": 3}\ntaken\n'


def test_a_log_that_nobody_reads_keeps_nobody_waiting_and_only_so_much() -> None:
    line = "x" * 99 + "\n"
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    with os.fdopen(writing, "w") as full, patient(full) as log:
        for _ in range(2 * MOST_WAITING):
            log.write(line)
        taken = b""
        while taken.count(b"x\n") + lost(taken) < 2 * MOST_WAITING:
            taken += os.read(reading, 65536)
    os.close(reading)

    assert lost(taken) > 0
    # What waited, what was being written, and what the pipe had room for.
    assert taken.count(b"x\n") <= MOST_WAITING + 1 + PIPE_BYTES // len(line)


def lost(taken: bytes) -> int:
    """How many lines are told to be lost, in what was read so far."""
    told = [json.loads(line) for line in taken.splitlines() if line.startswith(b"{") and line.endswith(b"}")]
    return sum(each["lost"] for each in told)
