"""`python -m tests.sim`: replay one seed, or look for trouble in many; ends with one line.

python -m tests.sim --seed 7 --mode safety --verbose
python -m tests.sim --seeds 1..500 --jobs 2 --minutes 5 --at-least 200
python -m tests.sim --week
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from shifter.lab.checker.judge import judge
from tests.sim import every, in_cluster, slowness, stages, week
from tests.sim.calls import PORTS, Fate, Fates
from tests.sim.drawing import plan_of
from tests.sim.plan import Plan
from tests.sim.world import World

_MODES = ("safety", "liveness")
_ALTERNATE = "alternate"
"""Even seeds in the first mode, odd ones in the second: for many seeds, each of which is another day anyway."""

MODES = (*_MODES, "both", _ALTERNATE, every.MODE, slowness.MODE, in_cluster.MODE, *stages.STAGES)

_AHEAD = 4
_MODE_HELP = (
    "faults for ever (safety), that stop (liveness), both or in turn (alternate); in turn with latency (latency), or "
    "in a cluster (kubernetes); "
    "each but an order at every call (every; a seed is a pair's number); or a stage"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run came to: how many port calls, what struck them, its log in brief, and what is wrong."""

    seed: int
    mode: str
    calls: int
    lines: int
    digest: str
    violations: tuple[tuple[str, str], ...]
    fates: dict[tuple[str, str], int] = field(default_factory=dict)
    looked_at: dict[str, int] = field(default_factory=dict)

    @property
    def replay(self) -> str:
        """The command that runs it again."""
        return f"make sim SEED={self.seed} MODE={self.mode}"

    @property
    def show_log(self) -> str:
        """The command that runs it again and shows its log."""
        return f"{self.replay} VERBOSE=1"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a block was to be: how many seeds, within how many minutes (0: any), and how many of them at the least."""

    seeds: int
    minutes: float = 0.0
    at_least: int = 1


def run(seed: int, mode: str, show: Callable[[str], None] | None = None) -> Outcome:
    """Run one seed in one mode and judge it; in the mode `every` a seed is the number of a pair, from 1."""
    if mode == every.MODE:
        return _run(seed, mode, *every.struck(*_pair(seed)), show)
    if mode == slowness.MODE:
        return _run(seed, mode, slowness.plan_of(seed), None, show)
    if mode == in_cluster.MODE:
        return _run(seed, mode, in_cluster.plan_of(seed), None, show)
    if mode in stages.STAGES:
        return _run(seed, mode, stages.plan_of(mode, seed), None, show)
    return _run(seed, mode, plan_of(seed, liveness=mode == "liveness"), None, show)


@cache
def _pairs() -> tuple[tuple[int, Fate], ...]:
    return tuple(every.pairs())


def _pair(number: int) -> tuple[int, Fate]:
    return _pairs()[(number - 1) % len(_pairs())]


def _run(seed: int, mode: str, plan: Plan, fates: Fates | None, show: Callable[[str], None] | None) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="sim-") as folder:
        world = World(plan, Path(folder), fates=fates, show=show)
        findings = judge(world.run())
    wrong = tuple(
        (found.rule, f"{each.shift or 'everything'} at {each.at - world.zero:.1f} s: {each.told}")
        for found in findings
        for each in found.violations
    )
    looked_at = {found.rule: found.looked_at for found in findings}
    log = world.journal
    return Outcome(seed, mode, world.tally.number, log.lines, log.digest, wrong, dict(world.tally.fates), looked_at)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; return 0 if all of it ran, no rule was broken and memory stayed flat, else 1."""
    asked = _parsed(arguments)
    if asked.week:
        return week.main(asked.seed or 1, _say)
    if asked.seed is not None:
        show, modes = _say if asked.verbose else None, _modes(asked.mode, asked.seed)
        return tell((_shown(run(asked.seed, mode, show)) for mode in modes), Asked(1), rules=asked.rules)
    first, last = asked.seeds
    if asked.mode == every.MODE:
        last = min(last, len(_pairs()))
    jobs = ((seed, mode) for seed in range(first, last + 1) for mode in _modes(asked.mode, seed))
    outcomes = _many(jobs, asked.jobs, time.monotonic() + 60 * asked.minutes if asked.minutes else None)
    block = Asked(max(0, last - first + 1), asked.minutes, asked.at_least)
    return tell(outcomes, block, first_only=asked.first, rules=asked.rules)


def _shown(outcome: Outcome) -> Outcome:
    """Say what tells one run from another."""
    _say(f"run {outcome.seed} {outcome.mode}: {outcome.lines:,} lines of log, digest {outcome.digest}")
    return outcome


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _modes(mode: str, seed: int) -> tuple[str, ...]:
    if mode == _ALTERNATE:
        return (_MODES[seed % len(_MODES)],)
    return _MODES if mode == "both" else (mode,)


def _many(jobs: Iterator[tuple[int, str]], workers: int, deadline: float | None) -> Iterator[Outcome]:
    """Run jobs in order, in several processes; after the deadline begin none any more."""
    if workers < 2:
        yield from (run(*job) for job in itertools.takewhile(lambda _: not _is_over(deadline), jobs))
        return
    with ProcessPoolExecutor(workers) as pool:
        waiting = [pool.submit(run, *job) for job in itertools.islice(jobs, workers * _AHEAD)]
        while waiting:
            yield waiting.pop(0).result()
            if not _is_over(deadline):
                waiting += [pool.submit(run, *job) for job in itertools.islice(jobs, 1)]


def _is_over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() > deadline


def tell(outcomes: Iterator[Outcome], asked: Asked, *, first_only: bool = False, rules: bool = False) -> int:
    """Print violations as they come, and one line at the end; return 1 if there were some, or too few seeds."""
    runs, seeds, calls, violations, first = 0, set[int](), 0, 0, ""
    looked_at: Counter[str] = Counter()
    fates: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes:
        runs, calls = runs + 1, calls + outcome.calls
        seeds.add(outcome.seed)
        looked_at.update(outcome.looked_at)
        fates.update(outcome.fates)
        violations += len(outcome.violations)
        _tell_violations(outcome)
        if outcome.violations:
            first = first or outcome.replay
            if first_only:
                break
    if rules:
        _tell_tables(looked_at, fates)
    again = f"; the first: {first}" if first else ""
    ended = _shortfall(asked, len(seeds), is_cut=first_only and bool(first))
    _say(f"{len(seeds):,} seeds, {runs:,} runs, {calls:,} port calls, {violations:,} violations{again}{ended}")
    return 1 if violations or len(seeds) < asked.at_least else 0


def _shortfall(asked: Asked, seeds: int, *, is_cut: bool) -> str:
    """Return what to say of seeds that did not run: none is as green as a block in which nothing is wrong."""
    told = ""
    if seeds < asked.seeds and not is_cut:
        told = f"; ended after {seeds:,} of {asked.seeds:,} seeds: MINUTES={asked.minutes:g}"
    return f"{told}; too few: at least {asked.at_least:,} are asked for" if seeds < asked.at_least else told


def _tell_violations(outcome: Outcome) -> None:
    for rule in dict.fromkeys(rule for rule, _ in outcome.violations):
        told = [told for name, told in outcome.violations if name == rule]
        more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
        _say(f"seed {outcome.seed}: {rule}: {told[0]}{more} [{outcome.mode}]")
    if outcome.violations:
        _say(f"its log: {outcome.show_log}")


def _tell_tables(looked_at: Mapping[str, int], fates: Mapping[tuple[str, str], int]) -> None:
    """Say how much each rule had to look at, and how often what happened to which call."""
    for rule, count in looked_at.items():
        _say(f"{count:>9,}  {rule}")
    for port in PORTS.values():
        said = ", ".join(f"{fate} {fates.get((port.name, fate), 0):,}" for fate in sorted(port.fates))
        _say(f"{port.name}: {said}")


def _span(text: str) -> tuple[int, int]:
    first, dots, last = text.partition("..")
    if not first.isdecimal() or (dots and not last.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text} is no span of seeds: write 1..500")
    if int(last or first) < int(first):
        raise argparse.ArgumentTypeError(f"{text} has no seed in it: write {last}..{first}")
    return int(first), int(last or first)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description="Hunt for a way to lose a place.")
    parser.add_argument("--seed", type=int, help="run this one again")
    parser.add_argument("--seeds", type=_span, default=(1, 100), help="run these: 1..500")
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="both",
        help=_MODE_HELP,
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--minutes", type=float, default=0, help="begin no seed after so many minutes")
    parser.add_argument("--at-least", type=int, default=1, help="fail if fewer seeds ran than this")
    parser.add_argument("--first", action="store_true", help="stop at the first violation")
    parser.add_argument("--verbose", action="store_true", help="with --seed: show the whole log")
    parser.add_argument("--week", action="store_true", help="one week in one process: what it holds must not grow")
    parser.add_argument("--rules", action="store_true", help="say how much each rule had to look at")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
