"""`shifter run` with failpoints: what the lab starts in its place, as a process of its own, to have it die on time.

It takes the words of `shifter --store ... run ...` that the lab uses, and wires the same parts in the same place.
Started ahead, it loads what it is made of and waits to be told: its next life begins when the last one has ended, and
not as much later as Python takes to load.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final

from shifter.lab.failpoints import Fuse, fused
from shifter.wiring import ServeOptions, serve

_MADE_OF: Final = (
    "uvicorn",
    "shifter.adapters.prometheus",
    "shifter.adapters.sqlite.store",
    "shifter.adapters.tencent.clb",
    "shifter.service.daemon",
)
"""What takes long to load; the wiring loads it where it needs it, so that other commands stay fast."""


def main(words: Sequence[str]) -> None:
    """Run the service until a signal, or a failpoint, ends it; with `--ahead` not before a line on standard input.

    Raises:
        ShifterError: as `serve`.
    """
    parser = argparse.ArgumentParser(prog="python -m shifter.lab.failing_service")
    parser.add_argument("--armed", type=Path, required=True, help="the file that arms a failpoint")
    parser.add_argument("--ahead", action="store_true", help="load, then wait for a line on standard input")
    parser.add_argument("--store", type=Path, required=True)
    run = parser.add_subparsers(required=True).add_parser("run")
    run.add_argument("--fleet", type=Path, required=True)
    run.add_argument("--policies", type=Path, required=True)
    run.add_argument("--listen", required=True, metavar="HOST:PORT")
    told = parser.parse_args(words)
    if told.ahead and not _told_to_begin():
        return
    host, _, port = told.listen.rpartition(":")
    options = ServeOptions(told.fleet, told.policies, told.store, host, int(port))
    serve(options, partial(fused, fuse=Fuse(told.armed)))


def _told_to_begin() -> bool:
    """Load everything, then wait; return False if whoever would tell is gone."""
    for name in _MADE_OF:
        import_module(name)
    return bool(sys.stdin.readline())


if __name__ == "__main__":
    main(sys.argv[1:])
