"""The simulated world: its runs break no rule, are the same for the same seed, and end in quiet once faults stop.

Few seeds, in every test run; `make sim` goes on from here for as long as one likes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shifter.lab.checker.judge import judge
from shifter.lab.checker.seen import Seen
from tests.sim import every
from tests.sim.__main__ import Outcome, main, run
from tests.sim.calls import Fate, Script
from tests.sim.drawing import plan_of
from tests.sim.plan import Mishap, Plan, What
from tests.sim.world import World

SEEDS = range(1, 21)
ROOT = Path(__file__).resolve().parents[2]
QUIET_SECONDS = 40.0


def regressions() -> list[tuple[int, str]]:
    lines = (Path(__file__).parent / "regressions.txt").read_text().splitlines()
    found = [line.split(maxsplit=2) for line in lines if line.strip() and not line.startswith("#")]
    return [(int(seed), mode) for seed, mode, _ in found]


def told(outcome: Outcome) -> str:
    wrong = "\n".join(f"{rule}: {said}" for rule, said in outcome.violations)
    return f"{outcome.replay}\n{wrong}"


def seen_of(plan: Plan, script: Script | None = None) -> tuple[Seen, World]:
    with tempfile.TemporaryDirectory() as folder:
        world = World(plan, Path(folder), fates=script)
        return world.run(), world


def wrong_in(seen: Seen) -> list[str]:
    return [f"{found.rule}: {each.told}" for found in judge(seen) for each in found.violations]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mode", ["safety", "liveness"])
def test_no_rule_is_broken(seed: int, mode: str) -> None:
    outcome = run(seed, mode)

    assert not outcome.violations, told(outcome)


@pytest.mark.parametrize(("seed", "mode"), regressions())
def test_what_was_broken_once_stays_mended(seed: int, mode: str) -> None:
    outcome = run(seed, mode)

    assert not outcome.violations, told(outcome)


def test_a_quiet_day_takes_every_shift_all_the_way() -> None:
    seen, world = seen_of(Plan(seed=1, ends_at=QUIET_SECONDS, calm_at=0.0))

    assert wrong_in(seen) == []
    assert {word.phase for word in seen.last_words} == {"Completed"}
    assert {world.cloud.share(route) for routes in world.routes.values() for route in routes} == {100.0}


@pytest.mark.parametrize(("seed", "mode"), [(3, "safety"), (100, "liveness")])
def test_a_run_is_the_same_in_every_process(seed: int, mode: str) -> None:
    command = f"from tests.sim.__main__ import run; print(run({seed}, '{mode}').digest)"
    digests = {
        subprocess.run(
            [sys.executable, "-c", command],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        ).stdout
        for hash_seed in ("1", "2")
    }

    assert len(digests) == 1
    assert digests == {f"{run(seed, mode).digest}\n"}


def test_another_seed_is_another_run() -> None:
    assert run(3, "safety").digest != run(4, "safety").digest


def test_everything_that_can_be_planned_is_planned_by_some_seed() -> None:
    planned = Counter(mishap.what for seed in range(1, 200) for mishap in plan_of(seed, liveness=False).mishaps)

    assert set(planned) == set(What)


@pytest.fixture(scope="module")
def ports() -> list[str]:
    return every.calls()


@pytest.mark.parametrize(
    ("port", "fate"),
    [
        ("provider.submit", Fate.CRASH_AFTER),
        ("provider.submit", Fate.LATE),
        ("store.save", Fate.HANG_AFTER),
        ("store.save", Fate.PAUSE_BEFORE),
        ("metrics.read", Fate.ERROR_BEFORE),
        ("workload.pin", Fate.CRASH_BEFORE),
    ],
)
def test_one_fault_at_one_call_keeps_nobody_from_the_end(port: str, fate: Fate, ports: list[str]) -> None:
    number = len(ports) - ports[::-1].index(port)

    seen, world = seen_of(*every.struck(number, fate))

    assert world.tally.fates == {(port, fate): 1}
    assert wrong_in(seen) == []
    assert {word.phase for word in seen.last_words} == {"Completed"}


fates = st.dictionaries(st.integers(1, 400), st.sampled_from(list(Fate)), max_size=4)
mishaps = st.lists(
    st.builds(
        Mishap,
        at=st.integers(0, 30).map(float),
        what=st.sampled_from([What.EDIT, What.BOUND, What.DEAD, What.DOWN, What.LOCK, What.FAILING, What.BROKEN]),
        whom=st.sampled_from(["shop", "pay"]),
        seconds=st.integers(1, 12).map(float),
        amount=st.sampled_from([0.0, 0.3, 0.9]),
    ),
    max_size=3,
)


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(fates=fates, mishaps=mishaps)
def test_no_script_of_faults_breaks_a_rule(fates: dict[int, Fate], mishaps: list[Mishap]) -> None:
    plan = Plan(seed=1, ends_at=35.0, calm_at=36.0, mishaps=tuple(sorted(mishaps, key=lambda each: each.at)))

    seen, _ = seen_of(plan, Script(fates))

    assert wrong_in(seen) == []


def test_the_command_ends_with_one_line_and_the_command_that_replays(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--seeds", "1..2", "--mode", "safety"])

    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("2 seeds, ")
    assert code == (0 if last.endswith(" 0 violations") else 1)
