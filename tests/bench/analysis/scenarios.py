"""What happens to the traffic in the analysis bench: every scenario as data, and which of them tuned the defaults.

A scenario says what is wrong with the target, with both sides, or with the measuring; `world.py` makes traffic of it.
Shares are parts of one here (0..1), rates requests per second of both sides together, times seconds since the first
step. The scenarios that are not `held_out` are those on which the engine's defaults were chosen: what is measured on
them flatters. The held-out ones, and the held-out traffic, had no part in any choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

RATES: Final = (0.2, 5.0, 100.0, 2000.0)
BASE_ERRORS: Final = (0.001, 0.01)

HELD_OUT_TRAFFIC: Final = ((1.0, 0.003), (30.0, 0.003), (600.0, 0.003))
"""Rates and a base error between those that the defaults were tuned on."""

MINUTE: Final = 60.0
HOUR: Final = 3600.0


class Group(StrEnum):
    """What a rule is expected to do in a scenario."""

    QUIET = "no regression"
    """A rollback is a false alarm."""

    MUST_CATCH = "must be caught"
    MAY_MISS = "regression"
    """A rollback is right; near or inside the margins nobody promises one."""

    LATE = "late regression"
    """As MUST_CATCH, but it begins after clean traffic at a share that is held."""

    SHOWN = "shown"
    """No goal is set; what happens is printed."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table. Fields left at their defaults change nothing."""

    name: str
    group: Group
    held_out: bool = False

    # The target, from `after_seconds` on and only while its share is above `above_share`.
    error_factor: float = 1.0
    error_points: float = 0.0
    failing: float = 0.0
    slower: float = 1.0
    missing_route: float = 0.0
    lost_requests: float = 0.0
    above_share: float = 0.0
    after_seconds: float = 0.0
    blip: float = 0.0

    # Both sides alike, or the source.
    source_factor: float = 1.0
    cluster: float = 1.0
    bursts: bool = False
    outage: float = 0.0
    retries: bool = False
    drift: float = 1.0
    sticky: bool = False
    """Clients stay where they are, as with session persistence: no rule is told that each request goes by weight."""

    # The measuring.
    lost_scrapes: float = 0.0
    restart: bool = False
    exporter_dies: bool = False

    held_share: float | None = None
    """The share at which a person keeps the migration; None for the rule's own ladder."""

    attempt: int = 1
    """Which try this is: after a rollback, a rule may be stricter."""

    max_minutes: float = 240.0
    """When to stop looking; a rule that has not ended by then holds."""

    @property
    def is_regression(self) -> bool:
        return self.group in {Group.MUST_CATCH, Group.MAY_MISS, Group.LATE}


LATE_SHARE: Final = 0.5
_LATE_MINUTES: Final = 60.0
"""How long a late regression is looked at."""


def _late(name: str, after_seconds: float) -> Scenario:
    return Scenario(
        name,
        Group.LATE,
        error_factor=5.0,
        after_seconds=after_seconds,
        held_share=LATE_SHARE,
        max_minutes=after_seconds / MINUTE + _LATE_MINUTES,
    )


SCENARIOS: Final = (
    Scenario("clean", Group.QUIET),
    Scenario("5% of scrapes lost", Group.QUIET, lost_scrapes=0.05),
    Scenario("at the tolerance", Group.QUIET, error_factor=1.1, error_points=0.0001),
    Scenario("clusters of 10", Group.QUIET, cluster=10.0),
    Scenario("common bursts x30", Group.QUIET, bursts=True),
    Scenario("both-sides outage", Group.QUIET, outage=0.3),
    Scenario("blip of one scrape", Group.QUIET, blip=0.2),
    Scenario("x1.5", Group.MAY_MISS, error_factor=1.5),
    Scenario("x2", Group.MAY_MISS, error_factor=2.0),
    Scenario("x5", Group.MUST_CATCH, error_factor=5.0),
    Scenario("x20", Group.MUST_CATCH, error_factor=20.0),
    Scenario("100%", Group.MUST_CATCH, failing=1.0),
    Scenario("lat+10%", Group.MAY_MISS, slower=1.1),
    Scenario("lat+50%", Group.MUST_CATCH, slower=1.5),
    Scenario("lat x3", Group.MUST_CATCH, slower=3.0),
    Scenario("capacity >50%", Group.MUST_CATCH, error_points=0.1, above_share=0.5),
    # Held at one share; the first is what the late ones are held against.
    _late("x5 at a step", 0.0),
    _late("x5 after 10 min", 10 * MINUTE),
    _late("x5 after 1 h", HOUR),
    _late("x5 after 24 h", 24 * HOUR),
    # Held out: nothing was tuned on these.
    Scenario("pod restart", Group.QUIET, held_out=True, restart=True),
    Scenario("target's exporter dies", Group.QUIET, held_out=True, exporter_dies=True, max_minutes=120),
    Scenario("retry storm", Group.QUIET, held_out=True, outage=0.2, retries=True),
    Scenario("sticky clients", Group.QUIET, held_out=True, sticky=True),
    Scenario("source worse", Group.QUIET, held_out=True, source_factor=5.0),
    Scenario("drift x10 in 20 min", Group.QUIET, held_out=True, drift=10.0),
    Scenario("fixed, second try", Group.QUIET, held_out=True, attempt=2),
    Scenario("x3 above 30%", Group.MAY_MISS, held_out=True, error_factor=3.0, above_share=0.3),
    Scenario("missing route 404", Group.MAY_MISS, held_out=True, missing_route=0.03),
    Scenario("x5 and sticky clients", Group.MAY_MISS, held_out=True, error_factor=5.0, sticky=True),
    Scenario("30% never arrive", Group.SHOWN, held_out=True, lost_requests=0.3),
)


def named(name: str) -> Scenario:
    """Return the scenario of this name."""
    return next(each for each in SCENARIOS if each.name == name)
