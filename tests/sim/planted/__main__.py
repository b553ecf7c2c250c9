"""`python -m tests.sim.planted`: plants every bug in turn and tells which seed found it; fails if one was not found."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tests.sim.planted.bug import Bug
from tests.sim.planted.bugs import BUGS
from tests.sim.planted.plant import Found, hunt, plant


def main() -> int:
    """Hunt for all bugs, or for those whose name contains a word; return 1 if one was missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.planted", description=__doc__)
    parser.add_argument("--only", default="", help="a part of a bug's name")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--seeds", type=int, default=0, help="look no further than this seed")
    given = parser.parse_args()
    began = time.monotonic()
    chosen = [bug for bug in BUGS if given.only in bug.name]
    if given.seeds:
        chosen = [replace(bug, seeds=min(bug.seeds, given.seeds)) for bug in chosen]
    print(f"{'bug':58} {'seed':>5} {'mode':19} {'seconds':>7}  rule")  # noqa: T201 - the table is the product
    with ThreadPoolExecutor(given.jobs) as pool:
        found = list(pool.map(_told, chosen))
    missed = [each for each in found if not each.as_expected]
    seconds = time.monotonic() - began
    print(f"{len(found)} planted bugs, {len(missed)} not found, {seconds:.0f} s")  # noqa: T201 - as above
    return 1 if missed or not found else 0


def _told(bug: Bug) -> Found:
    with tempfile.TemporaryDirectory(prefix="shifter-planted-") as scratch:
        directory = Path(scratch).resolve()
        try:
            plant(bug, directory)
            found = hunt(bug, directory)
        except (ValueError, RuntimeError) as error:  # this one found nothing, and the others are still to be tried
            print(f"{bug.name}: {error}", file=sys.stderr, flush=True)  # noqa: T201 - as above
            found = Found(bug, None, "", (), 0.0)
    seed = "-" if found.seed is None else str(found.seed)
    told = "; ".join(rule for rule in found.rules if rule in bug.rules) or f"NOT FOUND ({'; '.join(found.rules)})"
    print(f"{bug.name:58} {seed:>5} {found.mode:19} {found.seconds:7.1f}  {told}", flush=True)  # noqa: T201 - as above
    return found


if __name__ == "__main__":
    sys.exit(main())
