"""`shifter run` with failpoints: what the lab starts in its place, as a process of its own, to have it die on time.

It takes the words of `shifter --store ... run ...` that the lab uses, and wires the same parts in the same place.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from shifter.lab.failpoints import Fuse, fused
from shifter.wiring import ServeOptions, serve


def main(words: Sequence[str]) -> None:
    """Run the service until a signal, or a failpoint, ends it.

    Raises:
        ShifterError: as `serve`.
    """
    parser = argparse.ArgumentParser(prog="python -m shifter.lab.failing_service")
    parser.add_argument("--armed", type=Path, required=True, help="the file that arms a failpoint")
    parser.add_argument("--store", type=Path, required=True)
    run = parser.add_subparsers(required=True).add_parser("run")
    run.add_argument("--fleet", type=Path, required=True)
    run.add_argument("--policies", type=Path, required=True)
    run.add_argument("--listen", required=True, metavar="HOST:PORT")
    told = parser.parse_args(words)
    host, _, port = told.listen.rpartition(":")
    options = ServeOptions(told.fleet, told.policies, told.store, host, int(port))
    serve(options, partial(fused, fuse=Fuse(told.armed)))


if __name__ == "__main__":
    main(sys.argv[1:])
