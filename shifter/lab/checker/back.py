"""Steps back: a share that failed is left by one rung, for a reason on record, and not reached again unasked.

A ceiling is what the history calls the share at which a shift failed. Who may lift it is written out here a second
time: a person, or, if both meshes were bad, the incident itself by going on below it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shifter.lab.checker.climbs import accepted, policies_at
from shifter.lab.checker.kinds import Kind
from shifter.lab.checker.seen import SERVICE, SOURCE, Entry, Finding, Seen, Violation

RUNG: Final = "a step back goes to the rung below the share that failed"
CEILING: Final = "no climb to a share that failed, until somebody says so"

_TAIL_SECONDS: Final = 12.0
"""For how long after its end an incident of the source may still be what the service looks at."""


_SHORTENING: Final = frozenset({Kind.DEAD, Kind.GONE, Kind.CHURN})
"""After which a source may be short of what it had."""


@dataclass(slots=True)
class _Failed:
    """Where a shift is, and the share at which it failed; None if nothing stands against any share."""

    share: float = 0.0
    ceiling: float | None = None
    going_back: bool = False


def check(seen: Seen) -> list[Finding]:
    """Return what the rules about steps back found."""
    walked = [(entry, failed) for shift in seen.namespaces for entry, failed in _walked(seen, shift)]
    back = [(entry, failed) for entry, failed in walked if _is_step_back(entry, failed)]
    wrong = [(entry, said) for entry, failed in back if (said := _beside(seen, entry, failed.ceiling))]
    above = [
        (entry, f"it failed at {failed.ceiling:g} %")
        for entry, failed in walked
        if entry.evidence.get("direction") == "climb"
        and failed.ceiling is not None
        and entry.share("to") >= failed.ceiling
    ]
    ceilings = [entry for entry in seen.entries if entry.what == "ceiling" and entry.share("share") > 0]
    return [
        Finding(RUNG, len(back), tuple(_violation(RUNG, entry, said) for entry, said in wrong)),
        Finding(CEILING, len(ceilings), tuple(_violation(CEILING, entry, said) for entry, said in above)),
    ]


def _walked(seen: Seen, shift: str) -> Iterator[tuple[Entry, _Failed]]:
    """Walk a shift's history and yield its intents, each with what stood at that moment."""
    now = _Failed()
    orders = {row.id: row for row in seen.orders}
    for entry in seen.of(shift):
        if entry.what == "order" and (row := accepted(entry, orders)) is not None:
            if row.verb == "retry" or row.override or (row.verb == "reconcile" and row.adopt):
                now.ceiling = None
            if row.verb == "reconcile" and row.adopt:
                now.share = seen.share_at(shift, entry.at)
        elif entry.what == "ceiling" and entry.share("share") > 0:
            now.ceiling = entry.share("share")
        elif entry.what == "ceiling" and _source_was_bad(seen, entry):
            now.ceiling = None
        elif entry.what == "done":
            now.share = entry.share("to")
        elif entry.what == "phase":
            now.going_back = entry.evidence.get("to") == "RollingBack"
            now.share = 0.0 if entry.evidence.get("to") == "RolledBack" else now.share
        elif entry.what == "intent":
            yield entry, _Failed(now.share, now.ceiling, now.going_back)


def _is_step_back(entry: Entry, failed: _Failed) -> bool:
    """Whether the service lowers a verified share, and not to 0; what it sets back to that share is a repair.

    A whole rollback may go in stages where the source could not take everything back at once.
    """
    lowers = entry.evidence.get("direction") == "retreat" and 0 < entry.share("to") < failed.share
    return lowers and entry.by == SERVICE and not failed.going_back


def _beside(seen: Seen, entry: Entry, ceiling: float | None) -> str:
    if ceiling is None:
        return "nothing on record had failed"
    rungs = {
        max((step for step in file.steps if step < ceiling), default=0.0)
        for file in policies_at(seen, entry.shift, entry.at)
    }
    if any(each.kind in _SHORTENING and each.covers(seen.began_at, entry.at) for each in seen.incidents):
        return ""  # it goes no further back than the source can carry
    return "" if entry.share("to") in rungs else f"below {ceiling:g} % comes {' or '.join(f'{r:g} %' for r in rungs)}"


def _source_was_bad(seen: Seen, entry: Entry) -> bool:
    return any(
        SOURCE in each.hurts and entry.shift in each.namespaces and each.covers(entry.at, entry.at, _TAIL_SECONDS)
        for each in seen.incidents
    )


def _violation(rule: str, entry: Entry, said: str) -> Violation:
    told = f"intent {entry.sequence} ({entry.share('from'):g} to {entry.share('to'):g} %, record {entry.id}): {said}"
    return Violation(rule, entry.at, entry.shift, told)
