"""The invariants of `docs/reliability.md`: what must hold, which rules of the checker judge it, which tests prove it.

A rule is named by the checker's own constant and a planted bug counts for the rules that it was seen to break, so that
the table cannot claim a judge that does not exist; one that no bug has ever made to convict is marked. That its tests
exist is checked with all other tests named in the documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shifter.lab.checker import back, chain, climbs, journal, looking, people, routes, stops, terms, users, writes
from tests.sim.planted.bugs import BUGS


@dataclass(frozen=True, slots=True)
class Invariant:
    """One invariant: its number, a sentence, the checker's rules, and the tests beside them."""

    number: int
    says: str
    rules: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


INVARIANTS: Final = (
    Invariant(
        1,
        "Outside of a write that was journalled, the live weights of every rule are those last verified",
        (writes.RAISES, writes.WRITTEN, looking.VERIFIED, climbs.FROM),
        ("test_outside_of_an_open_write_the_live_weights_are_those_last_verified",),
    ),
    Invariant(
        2,
        "No rule is ever left without weight, and no weight is one that the cloud refuses",
        (writes.DARK, writes.RANGE),
        ("test_between_0_and_100_both_sides_have_weight_that_serves",),
    ),
    Invariant(
        3,
        "One decision raises the share by one step of the policy; only a person may ask for more",
        (climbs.STEP, climbs.FROM),
        ("test_an_edit_between_the_read_and_the_write_never_ends_above_the_step",),
    ),
    Invariant(
        4,
        "A climb rests on a passing verdict about what was seen after its share was verified",
        (climbs.VERDICT, climbs.BLIND, climbs.USERS),
        ("test_after_a_clock_jump_a_share_that_has_soaked_does_not_rise_on_old_evidence",),
    ),
    Invariant(
        5,
        "A climb rests on at least the soak's worth of evidence gathered since",
        (climbs.SOAKED,),
        ("test_a_clock_set_forward_is_no_soak",),
    ),
    Invariant(
        6,
        "Only one process at a time raises shares, and epochs never fall",
        (terms.LEADS, terms.GROWS, journal.EPOCHS),
        ("test_another_process_cannot_have_the_lease_too_until_it_is_killed",),
    ),
    Invariant(
        7,
        "Who is not the leader any more saves no climb, and raises nothing but the one write that was on its way",
        (terms.LEADS, terms.COMMITS),
        ("test_a_lease_lost_while_a_climb_waits_withholds_it", "test_a_lost_lease_stops_the_climb"),
    ),
    Invariant(
        8,
        "Killed anywhere, shifter goes on where it was: no step is repeated or left out",
        (journal.ENDS, journal.SEQUENCES, writes.KILLED, writes.LATE, climbs.STEP),
        (
            "test_a_migration_killed_at_any_edge_completes_all_the_same",
            "test_a_migration_killed_twice_completes_all_the_same",
            "test_a_rollback_killed_at_any_edge_goes_back_all_the_same",
        ),
    ),
    Invariant(
        9,
        "After a rollback, whoever asked for it, nothing raises the share until somebody retries",
        (climbs.BACK, stops.FLYING, people.ASKED, back.RUNG, back.CEILING),
        ("test_a_rollback_ordered_last_wins_over_every_other_order_but_hands_off",),
    ),
    Invariant(
        10,
        "A rollback needs neither Prometheus nor the store, and a pause does not stop it",
        (users.WENT_BACK, people.STUCK),
        (
            "test_a_person_goes_back_whatever_prometheus_does",
            "test_an_automatic_rollback_during_an_outage_with_an_open_order_is_remembered_when_it_ends",
        ),
    ),
    Invariant(
        11,
        "No answer, no number and half an answer are never good evidence, and hold for as long as they last",
        (climbs.BLIND,),
        (
            "test_a_metrics_outage_holds_for_as_long_as_it_lasts",
            "test_a_partial_answer_holds",
            "test_after_a_metrics_outage_the_shift_goes_on",
        ),
    ),
    Invariant(
        12,
        "A call whose answer never came is read back before anything is sent again, and failed climbs wait longer",
        (looking.READ_BACK, looking.AGAIN, looking.LOOKED),
        ("test_each_setback_doubles_the_wait_up_to_a_limit",),
    ),
    Invariant(
        13,
        "A half-applied write is seen, told, never climbed upon, and mended toward tcm",
        (routes.HALF, routes.MENDED, people.STUCK),
        ("test_a_half_applied_climb_is_repaired_toward_the_source_and_tried_again",),
    ),
    Invariant(
        14,
        "What the cloud says of its own task is not believed before the weights are read back",
        (looking.VERIFIED,),
        ("test_a_task_that_lies_is_not_believed",),
    ),
    Invariant(
        15,
        "Weights that somebody else set are seen before the next write and never written over unasked",
        (climbs.DRIFT, looking.OVER, looking.LOOKED),
        ("test_drift_holds_and_is_never_overwritten", "test_a_promotion_against_drift_is_refused_and_says_why"),
    ),
    Invariant(
        16,
        "After an accepted pause or freeze no raise is sent; with hands off nothing is",
        (stops.FLYING, stops.WAITING, stops.HANDS_OFF, climbs.PAUSED, climbs.FROZEN),
        ("test_a_freeze_stops_every_shift_in_the_tick_that_reads_it",
         "test_hands_off_writes_nothing_and_pages_until_it_is_over"),
    ),
    Invariant(
        17,
        "Once faults stop, every shift completes, is back, or rests at a hold that says why",
        (people.STUCK, people.MOVES),
        ("test_a_migration_completes_while_members_come_and_go",),
    ),
    Invariant(
        18,
        "History has no gap and is chained; each write has one intent before it and one end, and no order is lost",
        (journal.IDS, chain.CHAINED, journal.SEQUENCES, journal.ENDS, writes.RAISES, writes.WRITTEN, people.KEPT,
         people.ANSWERED),
        ("test_an_ordered_rollback_during_an_outage_is_in_the_history_when_it_ends",),
    ),
    Invariant(
        19,
        "A clock that jumps, or is wrong, changes no decision but times that are shown",
        (climbs.SOAKED, climbs.BLIND, terms.LEADS),
        ("test_a_write_under_way_is_not_given_up_because_a_clock_was_set",
         "test_a_clock_set_back_silences_nobody_and_begins_the_soak_anew"),
    ),
    Invariant(
        20,
        "An edited policy moves no traffic by itself, and a broken one leaves the last good one in force",
        (climbs.FILE, climbs.STEP, climbs.SOAKED, climbs.APPROVED),
        ("test_an_edit_moves_no_traffic_by_itself",
         "test_a_broken_file_leaves_the_last_good_policy_in_force_and_holds"),
    ),
    Invariant(
        21,
        "What hangs delays nobody else's rollback beyond a stated bound",
        (),
        ("test_a_balancer_that_hangs_keeps_no_other_ones_namespaces_from_going_back",
         "test_metrics_that_hang_keep_no_namespace_from_going_back"),
    ),
    Invariant(
        22,
        "A freeze holds all shifts, whatever they are ordered, and keeps none from going back",
        (climbs.FROZEN,),
        ("test_a_freeze_stops_every_shift_in_the_tick_that_reads_it",
         "test_a_freeze_stops_climbs_and_promotions_and_no_rollback",
         "test_a_frozen_shift_still_goes_back_when_it_fails_and_when_ordered"),
    ),
    Invariant(
        23,
        "What people are told is where the shift is: phase, share and why",
        (people.STUCK,),
        ("test_what_people_are_told_is_where_the_shift_is_and_why",
         "test_a_rolled_back_shift_says_why_in_its_report"),
    ),
    Invariant(
        24,
        "Who only reads writes nothing",
        (),
        ("test_a_command_that_looks_asks_the_store_for_nothing_but_what_it_shows",
         "test_lint_opens_no_store_and_leaves_the_files_as_they_are",
         "test_looking_changes_no_byte_and_leaves_no_file",
         "test_an_observing_shifter_explains_and_writes_nothing"),
    ),
    Invariant(25, "The same seed gives the same run, byte for byte", (), ("test_a_run_is_the_same_in_every_process",)),
    Invariant(
        26, "No secret is in a log, a text or a bundle", (), ("test_no_planted_secret_is_in_any_file_of_the_bundle",)
    ),
    Invariant(
        27,
        "State of an earlier version is read, and state of a later one is not written over",
        (),
        ("test_what_a_version_saved_is_read_with_nothing_lost",
         "test_a_state_of_a_later_version_is_refused_and_named_as_one",
         "test_a_file_of_a_later_version_is_read_and_not_written"),
    ),
    Invariant(28, "*(Of taking the old gateways down. This version moves shares and takes nothing down.)*"),
    Invariant(
        29,
        "Whatever lives as long as the process is bounded",
        (),
        ("test_memory_is_flat_over_days_of_trouble",
         "test_a_flooded_lane_keeps_only_so_many_calls_and_every_retreat_that_fits"),
    ),
    Invariant(
        30,
        "Told to stop, it sends no climb any more, journals what comes back, and lets the lease go last",
        (),
        ("test_told_to_stop_it_lets_the_call_under_way_come_back_and_releases_the_lease_last",
         "test_shutting_down_withholds_a_climb_that_waits"),
    ),
)  # fmt: skip


def table() -> str:
    """Return the table of invariants; a rule that no planted bug was ever seen to break says so."""
    convicted = {rule for bug in BUGS for rule in bug.rules}
    rows = ["| | invariant | judged by the checker | planted bugs | tests |", "|---|---|---|---|---|"]
    for each in INVARIANTS:
        bugs = sum(bool(set(bug.rules) & set(each.rules)) for bug in BUGS)
        rules, tests = (
            "<br>".join(rule if rule in convicted else f"{rule} (*no bug yet*)" for rule in each.rules),
            "<br>".join(f"`{test}`" for test in each.tests),
        )
        rows.append(f"| I{each.number} | {each.says} | {rules or '-'} | {bugs or '-'} | {tests or '-'} |")
    return "\n".join(rows)


def planted() -> str:
    """Return the table of planted bugs: the rules one of which must find it, on what days, within how many seeds."""
    rows = ["| planted bug | must break one of | on | within seeds |", "|---|---|---|---|"]
    rows += [
        f"| {bug.name} | {'<br>'.join(bug.rules)} | {f'`{bug.stage}`' if bug.stage else 'random days'} | {bug.seeds} |"
        for bug in BUGS
    ]
    return "\n".join(rows)
