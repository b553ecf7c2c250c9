"""Failpoints: each is met where its name says, ends the process there and once, and is nowhere outside the lab."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from shifter.core.balancing.splits import Side
from shifter.core.deciding import journal
from shifter.core.deciding.journal import Move, Step
from shifter.core.deciding.orders import Answer, OrderAnswer
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.records import NewRecord, What
from shifter.core.state import Direction, Intent, ShiftState
from shifter.errors import StoreUnavailableError
from shifter.lab.account import open_account
from shifter.lab.failing_service import main
from shifter.lab.failpoints import CALLS, FAILPOINTS, Act, Edge, Fuse, arm, disarm, fired, fused
from shifter.lab.files import LAB_PACE, policy, write_all
from shifter.lab.topology import MESHES, Namespace, lay_out, ports_needed
from shifter.ports import Change, Saved, Shelf
from shifter.service.tick import Parts
from shifter.wiring import ServeOptions, open_store, serve

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
NAMESPACES = (Namespace("shop"),)
ACCOUNT = open_account(
    NAMESPACES, {"shop": "lb-1"}, lay_out(NAMESPACES, range(20_000, 20_000 + ports_needed())).gateways
)
POLICY = ShiftPolicy.model_validate_json(json.dumps(policy("shop", ACCOUNT.places["shop"], LAB_PACE)))
(ROUTE,) = POLICY.routes
WRITE = (Change(ROUTE, {"a:1": 90}),)
AWAKE_SECONDS = 20.0

Wired: TypeAlias = Any
"""The service's parts, made of what answers with anything."""


class EndedError(Exception):
    """Stands for the end of the process."""


def end(_: Act) -> None:
    raise EndedError


class AStore:
    """Remembers what it was asked, and may hold one shift."""

    def __init__(self, *states: ShiftState) -> None:
        self.asked: list[str] = []
        self._states = states

    def load(self) -> Shelf[Saved]:
        self.asked.append("load")
        return Shelf({state.name: Saved(state, 1) for state in self._states})

    def save(self, *_: object, **__: object) -> int:
        self.asked.append("save")
        return 2

    def open_orders(self, **_: bool) -> tuple[int, ...]:
        raise StoreUnavailableError("gone")

    def order(self, order_id: int) -> int:
        return order_id


class AProvider:
    def submit(self, changes: object) -> object:
        return changes


class AMesh:
    """A datasource whose past is only asked for while it is gone through."""

    def past(self, *_: object) -> Iterator[int]:
        yield from range(3)


def parts_of(store: AStore) -> Parts:
    given: dict[str, Any] = dict.fromkeys(("folder", "leadership", "lanes", "telemetry"))
    given |= {"fleet": None, "store": store, "provider": AProvider(), "metrics": {side: AMesh() for side in Side}}
    return Parts(mode="act", stopwatch=time.monotonic, **given)


@pytest.fixture
def armed(tmp_path: Path) -> Path:
    return tmp_path / "armed.json"


@pytest.fixture
def store() -> AStore:
    return AStore()


@pytest.fixture
def parts(armed: Path, store: AStore) -> Wired:
    wired = fused(parts_of(store), Fuse(armed, end, lambda: 7.0))
    store.asked.clear()
    return wired


def an_intent(direction: Direction, **operations: str) -> Intent:
    weights = {ROUTE.id: {"a:1": 90}}
    return Intent(
        sequence=1, epoch=1, direction=direction, from_share=0, to_share=10, reason="why", by="shifter",
        created_at=NOON, deadline=NOON + timedelta(seconds=8), before=weights, weights=weights, operations=operations,
    )  # fmt: skip


def a_state(intent: Intent | None = None, abandoned: Intent | None = None) -> ShiftState:
    return ShiftState(name="shop", policy=POLICY, since=NOON, intent=intent, abandoned=abandoned)


def turned(intent: Intent, before: int, after: int) -> Intent:
    """An intent that leads from one weight to another."""
    weights = {"before": {ROUTE.id: {"a:1": before}}, "weights": {ROUTE.id: {"a:1": after}}}
    return intent.model_copy(update=weights)


def a_record(what: What, direction: str = "") -> NewRecord:
    return NewRecord(NOON, "shop", what, "shifter", "why", 1, 1, {"direction": direction} if direction else {})


KEEP, CLIMB, RETREAT = an_intent(Direction.KEEP), an_intent(Direction.CLIMB), an_intent(Direction.RETREAT)
REPAIRING = [a_record(What.FAILED, "climb"), a_record(What.INTENT, "retreat")]
ANSWER = OrderAnswer(1, Answer.ACCEPTED, "paused", NOON)
SAVES: Mapping[str, tuple[Any, ...]] = {
    "store.save.climb": (a_state(CLIMB), 1, [a_record(What.INTENT, "climb")]),
    "store.save.keep": (a_state(KEEP), 1, [a_record(What.INTENT, "keep")]),
    "store.save.retreat": (a_state(RETREAT), 1, [a_record(What.INTENT, "retreat")]),
    "store.save.operation": (a_state(an_intent(Direction.CLIMB, lb="task-1")), 1),
    "store.save.done.climb": (a_state(), 1, [a_record(What.DONE, "climb")]),
    "store.save.done.retreat": (a_state(), 1, [a_record(What.DONE, "retreat")]),
    "store.save.failed": (a_state(), 1, [a_record(What.FAILED, "climb")]),
    "store.save.phase": (a_state(), 1, [a_record(What.PHASE)]),
    "store.save.order": (a_state(), 1, [], [ANSWER]),
}


def test_every_call_has_a_failpoint_on_each_side() -> None:
    assert len(set(CALLS)) == len(CALLS)
    assert len(FAILPOINTS) == 2 * len(CALLS)
    assert {"provider.submit.climb:before", "provider.submit.climb:after"} < set(FAILPOINTS)


def test_a_failpoint_that_does_not_exist_is_not_armed(armed: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no failpoint 'store\.sav:before'"):
        arm(armed, "store.sav:before", Act.KILL)

    assert not armed.exists()


def test_without_an_armed_failpoint_every_call_goes_through(parts: Wired, store: AStore) -> None:
    assert parts.store.save(a_state(), 1) == 2
    assert parts.provider.submit(WRITE) == WRITE
    assert store.asked == ["save"]


def test_what_has_no_failpoint_is_passed_on_as_it_is(parts: Wired) -> None:
    assert parts.store.order(5) == 5
    with pytest.raises(AttributeError):
        parts.store.nonsense  # noqa: B018 - a slip must not look like a call


@pytest.mark.parametrize("call", SAVES)
def test_a_save_goes_by_what_it_carries(call: str, parts: Wired, store: AStore, armed: Path) -> None:
    others = [each for name, each in SAVES.items() if name != call]
    arm(armed, f"{call}:{Edge.BEFORE}", Act.KILL)

    for other in others:
        parts.store.save(*other)
    with pytest.raises(EndedError):
        parts.store.save(*SAVES[call])

    assert len(store.asked) == len(others)


def test_a_save_of_several_things_goes_by_each_of_them(parts: Wired, armed: Path) -> None:
    records = [a_record(What.FAILED, "climb"), a_record(What.INTENT, "retreat"), a_record(What.PHASE)]
    reached = []

    for call in ("store.save.failed", "store.save.retreat", "store.save.phase", "store.save.order"):
        arm(armed, f"{call}:{Edge.AFTER}", Act.KILL)
        with pytest.raises(EndedError):
            parts.store.save(a_state(RETREAT), 1, records, [ANSWER])
        reached.append(fired(armed))

    assert [each.failpoint for each in reached if each] == [
        "store.save.failed:after",
        "store.save.retreat:after",
        "store.save.phase:after",
        "store.save.order:after",
    ]


def test_what_the_journal_begins_after_half_of_a_climb_is_a_repair(parts: Wired, armed: Path) -> None:
    half_applied = Move(Step.FAILED, "half of it", repair=True)
    state = journal.failed(a_state(turned(CLIMB, 10, 50)), turned(CLIMB, 10, 50), half_applied, 1, NOON)
    arm(armed, "store.save.repair:before", Act.KILL)

    with pytest.raises(EndedError):
        parts.store.save(state, 1, REPAIRING)


@pytest.mark.parametrize(
    ("state", "records", "answers"),
    [
        (a_state(turned(RETREAT, 50, 10), turned(CLIMB, 10, 50)), REPAIRING, [ANSWER]),
        (a_state(turned(RETREAT, 30, 0), turned(CLIMB, 10, 50)), REPAIRING, []),
        (a_state(turned(RETREAT, 50, 10), turned(CLIMB, 10, 50)), REPAIRING[1:], []),
        (a_state(turned(KEEP, 10, 50), turned(KEEP, 10, 50)), REPAIRING[:1], []),
    ],
    ids=["by an order", "all the way back", "a share that rose by itself", "nothing is taken back"],
)
def test_another_retreat_is_no_repair(
    state: ShiftState, records: list[NewRecord], answers: list[OrderAnswer], parts: Wired, armed: Path
) -> None:
    arm(armed, "store.save.repair:before", Act.KILL)

    parts.store.save(state, 1, records, answers)

    assert fired(armed) is None


def test_before_a_call_it_has_had_no_effect_and_after_it_it_has(parts: Wired, store: AStore, armed: Path) -> None:
    asked = []

    for edge in Edge:
        arm(armed, f"store.save.phase:{edge}", Act.KILL)
        with pytest.raises(EndedError):
            parts.store.save(*SAVES["store.save.phase"])
        asked.append(list(store.asked))

    assert asked == [[], ["save"]]


def test_a_call_that_failed_is_not_met_on_its_other_side(parts: Wired, armed: Path) -> None:
    arm(armed, "store.open_orders:after", Act.KILL)

    with pytest.raises(StoreUnavailableError):
        parts.store.open_orders()

    assert fired(armed) is None


def test_a_failpoint_fires_once_and_says_when(parts: Wired, store: AStore, armed: Path) -> None:
    arm(armed, "store.save.phase:after", Act.KILL)

    with pytest.raises(EndedError):
        parts.store.save(*SAVES["store.save.phase"])
    parts.store.save(*SAVES["store.save.phase"])
    told = fired(armed)

    assert told is not None
    assert (told.failpoint, told.at) == ("store.save.phase:after", 7.0)
    assert store.asked == ["save", "save"]


def test_arming_forgets_what_fired_before_and_can_be_taken_back(parts: Wired, armed: Path) -> None:
    arm(armed, "store.save.phase:after", Act.KILL)
    with pytest.raises(EndedError):
        parts.store.save(*SAVES["store.save.phase"])

    arm(armed, "store.save.phase:after", Act.KILL)
    forgotten = fired(armed)
    disarm(armed)
    parts.store.save(*SAVES["store.save.phase"])

    assert (forgotten, fired(armed)) == (None, None)


@pytest.mark.parametrize("intent", [KEEP, CLIMB, RETREAT], ids=["keep", "climb", "retreat"])
def test_a_write_goes_by_the_intent_that_was_saved_for_it(intent: Intent, parts: Wired, armed: Path) -> None:
    parts.store.save(a_state(intent), 1)
    arm(armed, f"provider.submit.{intent.direction}:before", Act.KILL)

    with pytest.raises(EndedError):
        parts.provider.submit(WRITE)


def test_a_write_that_an_earlier_life_began_goes_by_its_intent(armed: Path) -> None:
    parts: Wired = fused(parts_of(AStore(a_state(RETREAT))), Fuse(armed, end))
    arm(armed, "provider.submit.climb:before", Act.KILL)
    parts.provider.submit(WRITE)
    arm(armed, "provider.submit.retreat:before", Act.KILL)

    with pytest.raises(EndedError):
        parts.provider.submit(WRITE)


def test_the_past_has_been_read_when_it_has_been_gone_through(parts: Wired, armed: Path) -> None:
    arm(armed, "metrics.past:after", Act.KILL)
    past = parts.metrics[Side.SOURCE].past(NOON, NOON, timedelta(seconds=1), ())
    seen = [next(past) for _ in range(3)]

    with pytest.raises(EndedError):
        next(past)

    assert seen == [0, 1, 2]


ENDING = """
import sys, threading
from pathlib import Path
from shifter.lab.failpoints import Edge, Fuse
fuse = Fuse(Path(sys.argv[1]))
def work():
    print("reached", flush=True)
    fuse.reach(["store.report"], Edge.BEFORE)
    print("passed", flush=True)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def started(armed: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", ENDING, str(armed)], stdout=subprocess.PIPE, text=True)


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + AWAKE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.01)


def test_a_killed_process_does_not_come_one_line_further_in_any_thread(armed: Path) -> None:
    arm(armed, "store.report:before", Act.KILL)

    with started(armed) as process:
        said, _ = process.communicate(timeout=AWAKE_SECONDS)

    assert (process.returncode, said) == (-signal.SIGKILL, "reached\n")


def test_a_stopped_process_does_not_come_one_line_further_until_it_is_continued(armed: Path) -> None:
    arm(armed, "store.report:before", Act.STOP)

    with started(armed) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        was_fired = fired(armed)
        os.kill(process.pid, signal.SIGCONT)
        said, _ = process.communicate(timeout=AWAKE_SECONDS)

    assert os.WIFSTOPPED(status)
    assert was_fired is not None
    assert (process.returncode, said) == (0, "reached\npassed\n")


IMPORTING = """
import sys
import shifter.cli.main, shifter.wiring, shifter.service.daemon, shifter.adapters.sqlite.store
import shifter.adapters.tencent.clb, shifter.adapters.prometheus
print([name for name in sys.modules if name.startswith("shifter.lab")])
"""


def test_the_service_knows_nothing_of_the_lab_and_of_its_failpoints() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", IMPORTING], capture_output=True, text=True, timeout=AWAKE_SECONDS, check=True
    )

    assert ran.stdout == "[]\n"


class SeenError(Exception):
    """Carries the parts out of a start that goes no further."""

    def __init__(self, parts: Parts) -> None:
        super().__init__("seen")
        self.parts = parts


def written(tmp_path: Path) -> ServeOptions:
    urls = {mesh: f"http://127.0.0.1:{port}" for port, mesh in enumerate(MESHES, start=9)}
    write_all(tmp_path, ACCOUNT, 9, urls, LAB_PACE)
    return ServeOptions(tmp_path / "fleet.yaml", tmp_path / "policies", tmp_path / "shifter.db", "127.0.0.1", 0)


def test_the_wiring_hands_over_all_its_parts_before_it_runs_them(tmp_path: Path) -> None:
    def refit(parts: Parts) -> Parts:
        raise SeenError(parts)

    with pytest.raises(SeenError) as caught:
        serve(written(tmp_path), refit)
    parts = caught.value.parts
    parts.store.close()
    parts.leadership.release()

    assert (parts.mode, parts.leadership.epoch) == ("act", 1)
    assert set(parts.metrics) == set(Side)


def test_the_labs_service_starts_in_the_words_of_the_real_one_and_dies_at_its_first_read(
    tmp_path: Path, armed: Path
) -> None:
    options = written(tmp_path)
    arm(armed, "store.load:before", Act.KILL)

    ran = subprocess.run(
        [
            *(sys.executable, "-m", "shifter.lab.failing_service", "--armed", str(armed)),
            *("--store", str(options.store), "run", "--fleet", str(options.fleet)),
            *("--policies", str(options.policies), "--listen", "127.0.0.1:0"),
        ],
        timeout=2 * AWAKE_SECONDS,
        check=False,
    )
    assert isinstance(options.store, Path)
    store = open_store(options.store)
    saved = store.load()
    store.close()

    assert ran.returncode == -signal.SIGKILL
    assert fired(armed) is not None
    assert saved == {}


def test_the_labs_service_started_ahead_touches_nothing_when_nobody_tells_it_to_begin(
    tmp_path: Path, armed: Path
) -> None:
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "shifter.lab.failing_service", "--armed", str(armed), "--ahead"),
            *("--store", str(tmp_path / "shifter.db"), "run", "--fleet", "nowhere.yaml"),
            *("--policies", "nowhere", "--listen", "127.0.0.1:0"),
        ],
        stdin=subprocess.DEVNULL,
        timeout=2 * AWAKE_SECONDS,
        check=False,
    )

    assert ran.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_the_labs_service_needs_the_file_that_arms(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--store", "s.db", "run", "--fleet", "f", "--policies", "p", "--listen", "127.0.0.1:0"])

    assert "are required: --armed" in capsys.readouterr().err
