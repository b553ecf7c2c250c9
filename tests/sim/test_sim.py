"""The simulated world: its runs break no rule, are the same for the same seed, and end in quiet once faults stop.

Few seeds, in every test run; `make sim` goes on from here for as long as one likes.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from shifter.lab.checker.judge import judge
from shifter.lab.checker.seen import Seen
from tests.sim import every, in_cluster, slowness
from tests.sim.__main__ import Asked, Outcome, main, run, tell
from tests.sim.calls import PORTS, Fate
from tests.sim.chance import Script
from tests.sim.drawing import plan_of
from tests.sim.plan import CLUSTER, Mishap, Plan, What
from tests.sim.world import World

SEEDS = range(1, 21)
CLUSTER_SEEDS = range(1, 13)
ROOT = Path(__file__).resolve().parents[2]
QUIET_SECONDS = 40.0
MIGRATED_SECONDS = 24.0
IN_A_CLUSTER = replace(every.PLAN, store=CLUSTER)
"""The quiet migration of every call and fate, in a cluster."""

EXAMPLES = int(os.environ.get("SIM_EXAMPLES", "0"))
"""`make sim-hunt`: so many scripts at random, instead of the same few in every test run."""


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


@pytest.mark.parametrize("seed", SEEDS)
def test_no_rule_is_broken_where_latency_is_compared(seed: int) -> None:
    outcome = run(seed, slowness.MODE)

    assert not outcome.violations, told(outcome)


@pytest.mark.parametrize("seed", CLUSTER_SEEDS)
def test_no_rule_is_broken_in_a_cluster(seed: int) -> None:
    outcome = run(seed, in_cluster.MODE)

    assert not outcome.violations, told(outcome)


@pytest.mark.parametrize(("seed", "mode"), regressions())
def test_what_was_broken_once_stays_mended(seed: int, mode: str) -> None:
    outcome = run(seed, mode)

    assert not outcome.violations, told(outcome)


@pytest.mark.parametrize("store", ["memory", CLUSTER])
def test_a_quiet_day_takes_every_shift_all_the_way(store: str) -> None:
    seen, world = seen_of(Plan(seed=1, ends_at=QUIET_SECONDS, calm_at=0.0, store=store))

    assert wrong_in(seen) == []
    assert {word.phase for word in seen.last_words} == {"Completed"}
    assert {world.cloud.share(route) for routes in world.routes.values() for route in routes} == {100.0}


@pytest.mark.parametrize(("seed", "mode"), [(3, "safety"), (100, "liveness"), (3, in_cluster.MODE)])
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
    days = [
        day
        for seed in range(1, 200)
        for day in (plan_of(seed, liveness=False), slowness.plan_of(seed), in_cluster.plan_of(seed))
    ]

    assert {mishap.what for day in days for mishap in day.mishaps} == set(What)


def test_a_day_with_latency_is_the_same_day_but_for_slowness() -> None:
    drawn, timed = plan_of(2, liveness=False), slowness.plan_of(2)

    usual = tuple(mishap for mishap in timed.mishaps if mishap.what is not What.SLOW)
    assert replace(timed, mishaps=usual, timed=()) == drawn
    assert timed.timed


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
def test_one_fault_at_one_call_keeps_nobody_from_the_end(port: str, fate: Fate) -> None:
    ports = quiet_calls()
    number = len(ports) - ports[::-1].index(port)

    seen, world = seen_of(*every.struck(number, fate))

    assert world.tally.fates == {(port, fate): 1}
    assert wrong_in(seen) == []
    assert {word.phase for word in seen.last_words} == {"Completed"}


@pytest.mark.parametrize(
    ("port", "fate"),
    [
        ("kube.create", Fate.CRASH_AFTER),
        ("kube.create", Fate.LATE),
        ("kube.replace_status", Fate.CONFLICT),
        ("kube.replace_status", Fate.ERROR_AFTER),
        ("kube.replace_status", Fate.HANG_AFTER),
        ("kube.replace_status", Fate.INVALID),
        ("kube.replace_status", Fate.UNKNOWN_USER),
        ("kube.list", Fate.PAUSE_AFTER),
        ("kube.list", Fate.EXPIRED),
        ("kube.get", Fate.THROTTLED),
        ("orders.watch", Fate.CUT),
        ("orders.watch", Fate.SLOW),
        ("orders.watch", Fate.EXPIRED),
        ("orders.list", Fate.CRASH_AFTER),
        ("election.replace", Fate.DENIED),
        ("election.replace", Fate.LATE),
        ("election.replace", Fate.PAUSE_AFTER),
        ("election.replace", Fate.CRASH_BEFORE),
    ],
)
def test_one_fault_at_one_call_to_the_api_server_keeps_nobody_from_the_end(port: str, fate: Fate) -> None:
    ports = quiet_calls_in_a_cluster()
    number = len(ports) - ports[::-1].index(port)

    seen, world = seen_of(IN_A_CLUSTER, Script({number: fate}))

    assert world.tally.fates == {(port, fate): 1}
    assert wrong_in(seen) == []
    assert {word.phase for word in seen.last_words} == {"Completed"}


@cache
def quiet_calls_in_a_cluster() -> list[str]:
    """The ports of the calls of the quiet migration until it is done."""
    _, world = seen_of(replace(IN_A_CLUSTER, ends_at=MIGRATED_SECONDS), Script({}))
    return [port for _, port in world.tally.made]


def test_every_ambush_of_a_cluster_is_laid_by_some_seed_and_can_happen() -> None:
    planned = {(scene.port, scene.fate) for seed in range(1, 400) for scene in in_cluster.plan_of(seed).ambushes}

    struck = {(each.port, each.fate) for each in in_cluster.SCENES}
    assert struck <= planned
    assert all(fate in PORTS[port].fates for port, fate in struck)


@cache
def quiet_calls() -> list[str]:
    return every.calls()


@st.composite
def scripts(draw: st.DrawFn) -> dict[int, Fate]:
    """Draw what strikes one to five calls: of each what its port can suffer, as far as the calls are still the same."""
    ports = quiet_calls()
    numbers = draw(st.lists(st.integers(1, len(ports)), min_size=1, max_size=5, unique=True))
    return {number: draw(st.sampled_from(sorted(PORTS[ports[number - 1]].fates))) for number in sorted(numbers)}


mishaps = st.lists(
    st.builds(
        Mishap,
        at=st.integers(0, round(every.FAULTS_SECONDS) - 1).map(float),
        what=st.sampled_from([What.EDIT, What.BOUND, What.DEAD, What.DOWN, What.LOCK, What.FAILING, What.BROKEN]),
        whom=st.sampled_from(["shop", "pay"]),
        seconds=st.integers(1, 12).map(float),
        amount=st.sampled_from([0.0, 0.3, 0.9]),
    ),
    max_size=3,
)


@settings(
    max_examples=EXAMPLES or 20,
    derandomize=not EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(fates=scripts(), mishaps=mishaps)
def test_no_script_of_faults_breaks_a_rule(fates: dict[int, Fate], mishaps: list[Mishap]) -> None:
    plan = replace(every.PLAN, mishaps=tuple(sorted(mishaps, key=lambda each: each.at)))

    seen, world = seen_of(plan, Script(fates, until_seconds=every.FAULTS_SECONDS))
    event(f"{sum(world.tally.fates.values())} calls struck, {len(mishaps)} mishaps")

    assert seen.calm_at is not None, "what is stuck is judged"
    assert wrong_in(seen) == []


def test_the_command_ends_with_one_line_and_the_command_that_replays(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--seeds", "1..2", "--mode", "safety"])

    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("2 seeds, ")
    assert code == (0 if last.endswith(" 0 violations") else 1)


def test_one_seed_says_what_tells_its_run_from_another(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--seed", "3", "--mode", "safety"])
    brief = capsys.readouterr().out.splitlines()
    main(["--seed", "3", "--mode", "safety", "--verbose"])
    whole = capsys.readouterr().out.splitlines()

    log = whole[: -len(brief)]
    assert brief == whole[-len(brief) :]
    digest = hashlib.sha256("".join(f"{line}\n" for line in log).encode()).hexdigest()
    assert brief[0] == f"run 3 safety: {len(log):,} lines of log, digest {digest}"


def test_what_is_wrong_comes_with_the_command_that_shows_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = Outcome(7, "safety", 10, 5, "digest", (("a rule", "shop at 1.0 s: said"),))

    code = tell(iter([wrong]), Asked(1))

    assert code == 1
    assert capsys.readouterr().out.splitlines() == [
        "seed 7: a rule: shop at 1.0 s: said [safety]",
        "its log: make sim SEED=7 MODE=safety VERBOSE=1",
        "1 seeds, 1 runs, 10 port calls, 1 violations; the first: make sim SEED=7 MODE=safety",
    ]


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (Asked(1), 0, "0 violations"),
        (Asked(550, 0.02), 0, "0 violations; ended after 1 of 550 seeds: MINUTES=0.02"),
        (Asked(5, 1.4, 2), 1, "; ended after 1 of 5 seeds: MINUTES=1.4; too few: at least 2 are asked for"),
        (Asked(1, 0, 2), 1, "0 violations; too few: at least 2 are asked for"),
    ],
)
def test_a_block_that_hardly_ran_says_so_and_fails_if_too_few_did(
    asked: Asked, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell(iter([Outcome(7, "safety", 10, 5, "digest", ())]), asked) == code
    assert capsys.readouterr().out.rstrip().endswith(said)


def test_a_block_of_no_seeds_at_all_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(iter(()), Asked(3, 0.001)) == 1
    assert "too few" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seeds", "said"), [("5..1", "5..1 has no seed in it: write 1..5"), ("a..b", "no span"), ("1..", "no span")]
)
def test_a_span_without_a_seed_is_a_usage_error(seeds: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--seeds", seeds])

    assert ended.value.code == 2
    assert said in capsys.readouterr().err
