"""A program that ends with us, however we end: killed with -9 as well.

What outlives a killed run goes on changing a cluster while the next run looks at it. Linux ends a process with the one
that started it if the process has asked for that, and istioctl does not ask; so a few lines of Python ask in its place
and then become istioctl. They run in a process of their own, since code between fork and exec is unsafe with threads.
Elsewhere than on Linux istioctl goes on, for as long as it may take to become ready.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

_DEATH_SIGNAL: Final = 1
"""PR_SET_PDEATHSIG of prctl(2); it stays over an exec."""

_BECOMES: Final = (
    "import ctypes, os, signal, sys\n"
    f"ctypes.CDLL(None).prctl({_DEATH_SIGNAL}, signal.SIGKILL)\n"
    # The one who started it may have gone before it asked.
    "os.getppid() == int(sys.argv[1]) or sys.exit(1)\n"
    # Python itself may have added this one.
    "os.environ.pop('LC_CTYPE', None)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


def ending_with(
    pid: int, argv: Sequence[str], *, platform: str = sys.platform, python: str = sys.executable
) -> list[str]:
    """Return the command that runs a program so that it ends with the process that starts it.

    Args:
        pid: of the process that will start it, and wait for it in the thread that did.
        argv: the program, by its path, and its arguments.
        platform: of this machine.
        python: the interpreter; empty where there is none to call.
    """
    if platform != "linux" or not python:
        return list(argv)
    return [python, "-I", "-S", "-c", _BECOMES, str(pid), *argv]
