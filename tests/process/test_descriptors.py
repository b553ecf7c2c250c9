"""What a process without a file descriptor says: the limit strikes every thread, so it is a process of its own."""

from __future__ import annotations

import subprocess
import sys

from tests.process.conftest import DEADLINE_SECONDS

PROGRAM = """
import resource
from shifter.service.daemon import out_of_descriptors

before = out_of_descriptors()
resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
print([before, out_of_descriptors()])
"""


def test_without_descriptors_it_is_said_what_to_do() -> None:
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=True
    ).stdout

    assert said == "['', 'too many open files (at most 3): nobody can be asked; raise the limit (ulimit -n)']\n"
