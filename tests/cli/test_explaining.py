"""`explain`: a decision is computed again from its record alone, and whoever changed the record is found out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.shell_completion import ShellComplete
from click.testing import Result

from shifter.adapters.sqlite import SqliteStore
from shifter.cli.main import cli
from shifter.cli.session import Session
from shifter.core.analysis.replay import MAX_ROWS, Trail, with_row
from shifter.core.analysis.standing import Standing
from shifter.core.balancing.splits import Health, Member, RouteView, Side
from shifter.core.counts.evidence import Counts, Ledger, Tick
from shifter.core.deciding.basis import Evidence
from shifter.core.deciding.decide import decide
from shifter.core.deciding.gathering import Gathered, Terms, gather
from shifter.core.documents.fleet import Lessons
from shifter.core.phases import Phase
from shifter.core.records import SERVICE, NewRecord, What
from shifter.core.state import ShiftState
from shifter.service.reporting import evidence_of

if TYPE_CHECKING:
    from tests.cli.conftest import World

TICK = timedelta(seconds=15)
SOURCE, HEALTHY, ILL = Counts(3000, 12), Counts(1000, 4), Counts(1000, 31)
LARGEST_OF_A_METRIC = 5 * 1024
"""Bytes of a record; docs/cli.md says so."""

GOLDEN = Path(__file__).parent / "golden"


@dataclass(slots=True)
class Watched:
    """A shift that is watched tick by tick, as the service does, and what its evidence amounts to."""

    world: World
    state: ShiftState
    by_request: bool = True
    ledger: Ledger = field(default_factory=Ledger)
    standing: Standing | None = None
    trail: Trail | None = None

    def see(self, source: Counts, target: Counts = Counts(), *, whole: bool = True, times: int = 1) -> None:  # noqa: B008 - a frozen value
        """Count a tick, so many times."""
        for _ in range(times):
            self.world.now += TICK
            self.ledger = self.ledger.add(Tick(self.world.now, TICK.total_seconds(), source, target))
            terms = Terms(Lessons(), (), self.by_request)
            found = gather(self.standing, self.state, self.ledger, whole=whole, terms=terms)
            if found is not None:
                self._take(found)

    def _take(self, found: Gathered) -> None:
        self.trail = with_row(self.trail, found.before, found.row, unbroken=found.before is self.standing)
        self.standing = found.standing

    def to(self, share: float) -> None:
        """Verify a share."""
        weights = {route.id: {"old": round(100 - share), "new": round(share)} for route in self.state.policy.routes}
        moved = {"share": share, "phase": Phase.SHIFTING, "verified_at": self.world.now, "weights": weights}
        self.state = self.state.model_copy(update=moved)
        self.ledger = self.ledger.new_share()

    def found(self) -> dict[str, Any]:
        """Return what a decision taken now rests on, as it is read back from a store."""
        decision = decide(self.state, self._evidence(), self.world.now)
        found: dict[str, Any] = json.loads(json.dumps(evidence_of(decision, self.ledger, self.trail)))
        return found

    def keep(self, evidence: Mapping[str, Any]) -> None:
        """Put it into the history as a change of the phase."""
        said = f"Shifting → RollingBack: rolling back: {evidence['said']}"
        self.world.record(NewRecord(self.world.now, "shop", What.PHASE, SERVICE, said, evidence=evidence))

    def decided(self) -> dict[str, Any]:
        """Decide, remember it, and return what it rested on."""
        evidence = self.found()
        self.keep(evidence)
        return evidence

    def _evidence(self) -> Evidence:
        share = round(self.state.share)
        views = {
            route.id: RouteView(
                route,
                (
                    Member("old", Side.SOURCE, 100 - share, Health.ALIVE),
                    Member("new", Side.TARGET, share, Health.ALIVE),
                ),
            )
            for route in self.state.policy.routes
        }
        held: dict[str, Any] = {"standing": self.standing, "settled_at": self.state.verified_at}
        return Evidence(views, self.ledger, True, TICK * 2, TICK, **held)  # noqa: FBT003 - it leads


@pytest.fixture
def watched(world: World) -> Watched:
    """The shift `shop` at 25 %, of whose source 20 good ticks were learnt."""
    latency_off = {"latency": {"enabled": False}}
    base = world.state()
    document = base.policy.model_dump(mode="json", by_alias=True)
    document["spec"]["analysis"] = latency_off
    policy = type(base.policy).model_validate_json(json.dumps(document))
    found = Watched(world, base.model_copy(update={"policy": policy}))
    found.see(Counts(4000, 16), times=20)
    found.to(25)
    return found


def test_who_asks_why_it_rolled_back_gets_every_tick_and_the_numbers_as_recorded(watched: Watched) -> None:
    watched.see(SOURCE, HEALTHY, times=2)
    watched.see(SOURCE, ILL, times=3)
    watched.decided()
    ran = watched.world.run("explain", "shop")

    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout == (GOLDEN / "explain.txt").read_text(encoding="utf-8")


def test_the_document_has_every_tick_with_its_counts_and_what_they_came_to(watched: Watched) -> None:
    watched.see(SOURCE, ILL, times=3)
    recorded = watched.decided()
    found = watched.world.json("explain", "shop")

    assert (found["kind"], found["shift"], found["record"]["id"], found["attempt"]) == ("Replay", "shop", 1, 1)
    assert found["record"]["verdict"] == recorded["verdict"] == "fail"
    assert [tick["counts"]["errors"]["target"] for tick in found["ticks"]] == [{"requests": 1000, "bad": 31}] * 3
    assert [tick["share"] for tick in found["ticks"]] == [25] * 3
    assert found["odds"] == pytest.approx(recorded["harm"], rel=1e-5)
    assert found["odds"] == found["ticks"][-1]["odds"] > found["ticks"][0]["odds"]
    assert [tick["blamed"] for tick in found["ticks"]] == ["errors"] * 3
    assert (found["asRecorded"], found["differences"]) == (True, [])
    assert found["metrics"][0]["excessPercent"] == recorded["findings"][0]["bound"]
    assert yaml.safe_load(watched.world.run("explain", "shop", "-o", "yaml").stdout) == found


def test_what_was_counted_before_the_first_tick_of_the_record_is_its_first_line(watched: Watched) -> None:
    watched.see(SOURCE, HEALTHY, times=MAX_ROWS)
    watched.see(SOURCE, ILL, times=2)
    watched.decided()
    found = watched.world.json("explain", "shop")
    lines = watched.world.run("explain", "shop").stdout.splitlines()
    (first,) = [index for index, line in enumerate(lines) if "TIME" in line]

    assert lines[first - 1] == (
        "at tcm 75 · istio 25, attempt 1; `before` sums up what was counted until 2026-11-20 20:15:00 +08:00"
    )
    assert lines[first + 1].split()[:5] == ["before", "25", "%", "480/120000", "160/40000"]
    assert lines[first + 1].endswith("40 ticks in one line")
    assert (found["before"]["ticks"], found["before"]["until"]) == (40, "2026-11-20T12:15:00.000Z")
    counts = [found["before"]["counts"]["errors"], *(tick["counts"]["errors"] for tick in found["ticks"])]
    assert sum(each["target"]["bad"] for each in counts) == found["metrics"][0]["target"]["bad"]


def test_at_0_percent_it_is_said_that_nothing_is_compared_since_nothing_is_counted_there(watched: Watched) -> None:
    watched.to(0)
    watched.see(SOURCE, times=2)
    watched.decided()
    (before,) = [line for line in watched.world.run("explain", "shop").stdout.splitlines() if "before " in line[:9]]

    assert before.endswith("at 0 % nothing is compared")


def test_a_record_from_the_first_tick_on_has_nothing_before_it(watched: Watched) -> None:
    watched.see(SOURCE, HEALTHY)
    assert watched.trail is not None
    watched.trail = replace(watched.trail, base=replace(watched.trail.base, counted_until=0.0))
    watched.decided()
    ran = watched.world.run("explain", "shop")

    assert "at tcm 75 · istio 25, attempt 1, from the first tick on\n" in ran.stdout
    assert "before" not in ran.stdout
    assert watched.world.json("explain", "shop")["before"] is None


def test_nothing_is_blamed_while_the_odds_are_for_istio_or_nothing_bad_was_counted(watched: Watched) -> None:
    watched.see(SOURCE, HEALTHY)
    watched.see(SOURCE, ILL)
    watched.to(50)
    watched.see(SOURCE, Counts(3000))
    watched.see(SOURCE, Counts(3000, 200))
    watched.decided()
    found = watched.world.json("explain", "shop")
    ticks = [(tick["odds"] > 1, tick["blamed"]) for tick in found["ticks"]]

    assert (found["before"]["odds"] > 1, found["before"]["blamed"]) == (True, None)
    assert ticks == [(True, None), (True, "errors")]


def test_what_failed_while_the_share_changed_is_blamed_though_no_total_has_it(watched: Watched) -> None:
    watched.see(SOURCE, Counts(1000))
    watched.see(SOURCE, Counts(1000, 300), whole=False, times=2)
    watched.decided()
    found = watched.world.json("explain", "shop")

    assert found["metrics"][0]["target"]["bad"] == 0
    assert [(tick["odds"] > 1, tick["blamed"]) for tick in found["ticks"]] == [
        (False, None),
        (False, None),
        (True, "errors"),
    ]


def test_a_record_is_shown_in_the_words_of_every_other_document(watched: Watched) -> None:
    watched.see(SOURCE, ILL, times=3)
    recorded = watched.decided()
    watched.keep({**recorded, "findings": 7})
    (shown, damaged) = (item["evidence"] for item in watched.world.json("history", "shop")["items"])

    assert (shown["odds"], shown["oddsLimit"]) == (recorded["harm"], recorded["limit"])
    assert [each["excessPercent"] for each in shown["findings"]] == [each["bound"] for each in recorded["findings"]]
    assert "harm" not in shown
    assert "bound" not in shown["findings"][0]
    assert damaged["findings"] == 7


def test_the_newest_decision_is_explained_unless_another_is_named(watched: Watched) -> None:
    watched.see(SOURCE, HEALTHY)
    watched.decided()
    watched.see(SOURCE, HEALTHY)
    watched.decided()
    watched.world.record(NewRecord(watched.world.now, "shop", What.DONE, SERVICE, "read back"))

    assert watched.world.json("explain", "shop")["record"]["id"] == 2
    assert watched.world.json("explain", "shop", "--at", "1")["record"]["id"] == 1
    assert watched.world.run("history", "-o", "wide").stdout.splitlines()[0].split() == [
        *("TIME", "SHIFT", "WHO", "WHAT", "ID", "SEQ", "EPOCH", "REASON")
    ]


def test_what_was_special_about_a_tick_is_noted(watched: Watched) -> None:
    watched.see(SOURCE, HEALTHY, whole=False)
    watched.see(Counts(3000, 900), Counts(1000, 300))
    watched.see(SOURCE, Counts(1000, 700))
    watched.see(SOURCE, Counts(20))
    watched.decided()

    notes = [tick["notes"] for tick in watched.world.json("explain", "shop")["ticks"]]

    assert notes[:3] == [["not whole"], ["incident"], ["incident", "failing 1"]]
    assert re.fullmatch(r"traffic lost \d+:1", notes[3][-1])


def test_a_metric_that_one_side_did_not_show_is_noted_and_told_as_unknown(watched: Watched) -> None:
    watched.see(SOURCE, HEALTHY)
    assert watched.trail is not None
    (row,) = watched.trail.rows
    blind = replace(row, cells=(None, *row.cells[1:]))
    watched.trail = Trail(watched.trail.base, (blind,))
    watched.decided()
    ran = watched.world.run("explain", "shop")

    assert "?         ?" in ran.stdout
    assert "unmeasured: errors" in ran.stdout


def test_ticks_that_are_gathered_before_they_are_bet_on_are_noted(watched: Watched) -> None:
    watched.by_request = False
    watched.see(Counts(60), Counts(20), times=2)
    watched.decided()

    assert [tick["notes"] for tick in watched.world.json("explain", "shop")["ticks"]] == [["merged"]] * 2


def test_a_guard_that_decided_is_named_since_odds_did_not(watched: Watched) -> None:
    watched.see(SOURCE, Counts(1000, 1000))
    watched.decided()

    assert "; decided by a guard: dead target" in watched.world.run("explain", "shop").stdout


def _change(evidence: dict[str, Any], *path: Any, to: Any) -> None:  # noqa: ANN401 - JSON
    at = evidence
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = to


def _explained_with(watched: Watched, *path: Any, to: Any) -> Result:  # noqa: ANN401 - JSON
    """Change one thing in the record of a decision, and explain it."""
    watched.see(SOURCE, ILL)
    evidence = watched.found()
    _change(evidence, *path, to=to)
    watched.keep(evidence)
    return watched.world.run("explain", "shop")


@pytest.mark.parametrize(
    ("path", "to", "said"),
    [
        (("harm",), 3.0, "odds 13:1, recorded was 3:1"),
        (("harm",), None, "recorded was none"),
        (("limit",), 5.0, "limit 100:1, recorded was 5:1"),
        (("limit",), None, "limit 100:1, recorded was none"),
        (("replay", "analysis", "falseRollbackPercent"), 20.0, "limit 5:1, recorded was 100:1"),
        (("verdict",), "pass", "verdict pass does not follow from odds 13:1 against 100:1"),
        (("verdict",), "fail", "verdict fail does not follow from odds 13:1 against 100:1"),
        (("findings", 0, "bound"), 0.1, "errors: excess < 12 %, recorded was 0.1 %"),
        (("findings", 1, "target_counts"), [7.0, 1.0], "3xx: 0 of 1000 and 0 of 3000, recorded was 1 of 7 and 0 of"),
        (("findings", 1, "source_counts"), None, "3xx: 0 of 1000 and 0 of 3000, recorded was 0 of 1000"),
        (("findings",), [], "errors: not recorded"),
        (("replay", "trail", "rows", 0, "cells", 0, 1), 0.0, "errors: 0 of 1000 and 12 of 3000, recorded was 31 of"),
    ],
)
@pytest.mark.fault(
    on="SQLite",
    fault="a record of the history was changed",
    does="nothing: the history is not what decides",
    sees="`shifter explain` says DIFFERENT, exit code 6",
    safe_within="at once",
)
def test_a_record_that_was_changed_is_told_loudly_with_exit_code_6(
    watched: Watched,
    path: tuple[Any, ...],
    to: Any,  # noqa: ANN401 - JSON
    said: str,
) -> None:
    ran = _explained_with(watched, *path, to=to)

    assert ran.exit_code == 6
    assert "DIFFERENT: the record does not follow from the counts that it carries" in ran.stdout
    assert said in ran.stdout
    assert "as recorded" not in ran.stdout


@pytest.mark.parametrize(
    ("path", "to", "why"),
    [
        (("replay", "trail"), None, "Input should be a dictionary"),
        (("replay", "trail", "base", "share"), "half", "base.share: "),
        (("replay", "trail", "rows", 0, "cells"), [], "it is not about the 5 metrics of its policy"),
        (("replay", "trail", "base", "wealth", "metrics"), [], "it is not about the 5 metrics"),
        (("replay", "trail", "base", "wealth", "metrics", 0, "safety"), [], "it has other bets than"),
        (("replay", "trail", "base", "totals"), [], "it is not about the 5 metrics"),
        (("replay", "analysis"), {"errors": 7}, "errors: "),
        (("replay",), {}, "KeyError: 'trail'"),
        (("replay", "trail", "rows", 0, "at"), "nan", "it holds numbers that cannot have been counted"),
        (("replay", "trail", "rows", 0, "cells", 0, 1), "nan", "it holds numbers that cannot have been counted"),
        (("replay", "trail", "rows", 0, "cells", 0, 1), -1.0, "it holds numbers that cannot have been counted"),
        (("replay", "trail", "base", "lost"), "inf", "it holds numbers that cannot have been counted"),
        (("replay", "trail", "rows", 0, "at"), 1e12, "year 33658 is out of range"),
        (("replay", "trail", "rows", 0, "at"), 1e300, "OverflowError: "),
        (("replay", "trail", "base", "counted_until"), 1e300, "OverflowError: "),
        (("findings",), 7, "TypeError: "),
    ],
)
def test_a_damaged_record_is_one_sentence_and_exit_code_6(
    watched: Watched,
    path: tuple[Any, ...],
    to: Any,  # noqa: ANN401 - JSON
    why: str,
) -> None:
    ran = _explained_with(watched, *path, to=to)

    assert (ran.exit_code, ran.stdout) == (6, "")
    assert ran.stderr.startswith(f"error: record 1 is damaged, it cannot be computed again: {why}")
    assert ran.stderr.endswith("hint: what was decided and why is still in `history`\n")
    assert "Traceback" not in ran.stderr


def test_what_cannot_be_explained_is_said_with_what_can(watched: Watched) -> None:
    world = watched.world
    nothing = world.run("explain", "shop")
    unknown = world.run("explain", "shop", "--at", "9")
    world.record(NewRecord(world.now, "shop", What.DONE, SERVICE, "read back"))
    nowhere = world.run("explain", "shop", "--at", "1")
    watched.see(SOURCE, HEALTHY)
    watched.decided()
    world.record(NewRecord(world.now, "cart", What.DONE, SERVICE, "read back"))
    done, others = world.run("explain", "shop", "--at", "1"), world.run("explain", "shop", "--at", "3")

    assert [ran.exit_code for ran in (nothing, unknown, nowhere, done, others)] == [3] * 5
    assert nothing.stderr.startswith("error: no decision of shop can be replayed\nhint: it has taken none yet; ")
    assert unknown.stderr == "error: there is no record 9\nhint: `shifter history shop -o wide` has the ids\n"
    assert "error: record 1 (done) carries no evidence to compute it from\n" in nowhere.stderr
    assert done.stderr.endswith("hint: those that can be replayed, the newest first: 2 (phase)\n")
    assert others.stderr == "error: record 3 is of cart\nhint: `shifter explain cart --at 3`\n"


@pytest.mark.parametrize("line", [["explain", "shp"], ["explain", "shp", "--at", "1"]])
def test_of_an_unknown_shift_there_is_nothing_to_explain(watched: Watched, line: list[str]) -> None:
    ran = watched.world.run(*line)

    assert ran.exit_code == 3
    assert ran.stderr.startswith("error: no shift 'shp'\n")


def test_a_record_beyond_the_newest_thousand_is_found(watched: Watched) -> None:
    watched.see(SOURCE, HEALTHY)
    watched.decided()
    for index in range(1100):
        watched.world.record(NewRecord(watched.world.now, "shop", What.HOLDS, SERVICE, f"number {index}"))

    assert watched.world.json("explain", "shop")["record"]["id"] == 1
    assert watched.world.json("explain", "shop", "--at", "1")["record"]["id"] == 1


def test_what_a_record_carries_to_be_computed_again_is_bounded(watched: Watched) -> None:
    sizes = []
    for _ in range(3 * MAX_ROWS):
        watched.see(Counts(3_000_000.125, 12_000.5), Counts(1_000_000.125, 4_000.5))
        replay = watched.found()["replay"]
        sizes.append(len(json.dumps(replay)) / len(replay["trail"]["base"]["totals"]))

    assert max(sizes) < LARGEST_OF_A_METRIC


def test_the_shell_is_told_the_newest_decisions(watched: Watched, tmp_path: Path) -> None:
    for _ in range(2):
        watched.see(SOURCE, HEALTHY)
        watched.decided()
    path = tmp_path / "shifter.db"
    store = SqliteStore(path)
    store.save(watched.state, 0, [each.record for each in watched.world.store.history("shop")])
    store.close()
    asked = ShellComplete(cli, {"obj": Session(store_path=path)}, "shifter", "")

    assert [item.value for item in asked.get_completions(["explain", "shop", "--at"], "")] == ["2", "1"]
    assert [item.value for item in asked.get_completions(["explain", "--at"], "")] == []
