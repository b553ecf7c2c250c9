"""What people are told of a shift: the report, and the records of the history."""

from __future__ import annotations

import pytest

from shifter.adapters.saved_form import read_report
from shifter.core.balancing.splits import Health, Side
from shifter.core.deciding.orders import Verb
from shifter.core.phases import Phase
from shifter.core.records import SERVICE, What
from shifter.core.state import Report
from tests.service.conftest import NEW, NO_LATENCY, World


def fresh_report(world: World) -> Report:
    """An unchanged shift's report is refreshed only every few ticks: step until this tick's is there."""
    world.step()
    while world.report().at != world.now:
        world.step()
    return world.report()


def test_wanted_written_and_observed_are_three_numbers(world: World) -> None:
    world.until_share(25)
    world.memory.hold_lock(world.route().domain)
    while world.state().intent is None:
        world.step()
    world.step(4)
    report = world.report()

    assert (report.wanted, report.written, report.observed) == (50, 25, 25)


def test_a_report_names_the_step_the_soak_and_the_counts(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.step(2)
    report = fresh_report(world)
    ticks = report.target_requests / 100

    assert (report.step, report.steps) == (2, (5, 25, 50, 100))
    assert report.source_requests == 300 * ticks
    assert (report.soaked_seconds, report.soak_seconds) == (10 * ticks, 20), "what showed the share counts"


def test_a_report_shows_the_members_of_both_sides(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.memory.set_health(world.route(), NEW, Health.DEAD)
    world.step()

    assert "tcm 2/2 healthy" in world.report().members[world.route().id]
    assert "istio 1/2 healthy" in world.report().members[world.route().id]


def test_a_report_without_an_answer_of_the_provider_says_the_share_is_unknown(world: World) -> None:
    world.until_share(25)
    world.provider.bugs[f"observe {world.route().domain}"] = OSError("cable")
    world.step()

    assert world.report().written is None
    assert world.report().members == {}
    assert world.report().wanted == 25


def test_a_report_has_the_findings_with_values_and_limits(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.sides[Side.TARGET].error_percent = 0.25
    world.step(2)
    report = fresh_report(world)
    finding = next(each for each in report.findings if each.metric == "errors")
    ticks = report.target_requests / 100

    assert finding.verdict == "too little traffic"
    assert (finding.source, finding.unit, finding.dispersion) == (0, "%", 2)
    assert finding.source_counts == (300 * ticks, 0)
    assert finding.target_counts is not None
    assert finding.target_counts[0] == 100 * ticks
    assert finding.target == pytest.approx(100 * finding.target_counts[1] / finding.target_counts[0], abs=1e-4)
    assert 0 < (finding.bound or 0) < 100
    assert finding.text.startswith("istio fails 0.")
    assert finding.text.endswith("% (95 %)")


def test_a_report_says_the_odds_their_limit_and_whether_safety_is_proven(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.sides[Side.TARGET].error_percent = 3
    world.step()
    report = fresh_report(world)

    assert report.harm is not None
    assert 1 < report.harm < 100
    assert (report.harm_limit, report.proven) == (100, False)


def test_the_limit_of_a_policy_is_in_its_finding(world: World) -> None:
    world.write_policy("shop", analysis={**NO_LATENCY, "errors": {"maxPercent": 0.5}})
    world.until_share(25)
    world.step()
    finding = next(each for each in world.report().findings if each.metric == "errors")

    assert finding.limit == 0.5


def test_pods_of_which_nothing_was_counted_are_in_the_report_with_the_reason(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.step(2)
    world.sides[Side.TARGET].pod = "istio-2"
    world.step()
    dropped = world.report().dropped
    world.step()

    assert dropped == {"istio istio-2": "seen for the first time, and it served before that"}
    assert world.report().dropped == {}


def test_a_rolled_back_shift_says_why_in_its_report(world: World) -> None:
    world.until_share(25)
    world.sides[Side.TARGET].error_percent = 30
    world.until(Phase.ROLLED_BACK)

    assert world.report().failure.startswith("istio fail")
    assert (world.report().phase, world.report().wanted, world.report().written) == (Phase.ROLLED_BACK, 0, 0)


def test_the_history_of_a_migration_tells_it_in_order(world: World) -> None:
    world.until(Phase.COMPLETED)
    told = [record.what for record in world.history() if record.what is not What.HOLDS]

    assert told == [What.PHASE, *[What.INTENT, What.DONE] * 4, What.PHASE]
    assert all(record.by == SERVICE for record in world.history())


def test_an_intents_record_has_the_evidence_it_rests_on(world: World) -> None:
    world.until_share(25)
    intent = [record for record in world.history() if record.what is What.INTENT][-1]

    assert (intent.evidence["from"], intent.evidence["to"], intent.evidence["direction"]) == (5, 25, "climb")
    assert intent.evidence["verdict"] == "pass"
    assert intent.evidence["requests"] == {"tcm": 760.0, "istio": 40.0}
    assert (intent.sequence, intent.epoch) == (2, world.lease.epoch)


def test_a_done_record_says_what_was_read_back(world: World) -> None:
    world.until_share(25)
    done = [record for record in world.history() if record.what is What.DONE][-1]

    assert done.evidence["written"] == {world.route().id: 25.0}
    assert done.reason.startswith("read back: to 25 %")


def test_holds_are_recorded_when_they_begin_and_when_they_end(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.step(5)
    world.order(Verb.RESUME)
    world.step()
    told = [record.reason for record in world.history() if record.what is What.HOLDS]

    assert told[-2:] == ["pause: paused by ann: because", "no hold any more"]


def test_a_promotions_writes_are_in_the_name_of_who_promoted(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PROMOTE)
    world.step(2)
    climb = [record for record in world.history() if record.what in {What.INTENT, What.DONE}][-2:]

    assert [record.by for record in climb] == ["ann", "ann"]


def test_a_report_tells_the_rate_of_both_sides_and_the_services_timing(world: World) -> None:
    world.until_share(25)
    world.order(Verb.PAUSE)
    world.step(2)
    report = fresh_report(world)

    assert report.requests_per_second == world.PER_SECOND
    assert (report.tick_seconds, report.sample_max_age_seconds, report.settle_seconds) == (10, 20, 0)
    assert (report.read_deadline_seconds, report.operation_timeout_seconds) == (2, 60)
    assert report.silent_after_seconds == 90


def test_right_after_a_change_of_the_share_the_rate_is_the_one_before(world: World) -> None:
    world.until_share(25)

    assert (world.report().target_requests, world.report().requests_per_second) == (0, world.PER_SECOND)


def test_a_report_of_an_earlier_version_is_read_with_what_it_lacks_unknown(world: World) -> None:
    world.until_share(25)
    new = {"requests_per_second", "tick_seconds", "sample_max_age_seconds", "settle_seconds"}
    new |= {"read_deadline_seconds", "operation_timeout_seconds"}
    report = read_report("shop", world.report().model_dump_json(exclude=new))

    assert {getattr(report, name) for name in new} == {None}
