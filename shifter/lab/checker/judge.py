"""All rules over all that was seen. A rule that had nothing to look at is told as such: it proved nothing."""

from __future__ import annotations

from shifter.lab.checker import back, chain, climbs, journal, looking, people, routes, stops, terms, users, writes
from shifter.lab.checker.findings import Finding
from shifter.lab.checker.seen import Seen


def judge(seen: Seen) -> list[Finding]:
    """Return what every rule found."""
    rules = (writes, climbs, back, stops, terms, looking, routes, journal, chain, people, users)
    return [finding for rule in rules for finding in rule.check(seen)]
