"""What people read of a shift in `kubectl get` and `describe`: taken from its state and its newest report.

Nothing rests on it: the service reads back what it saved, and not this.
"""

from __future__ import annotations

from typing import Final

from shifter.adapters.kube.objects import moment
from shifter.adapters.saved_form import plain
from shifter.core.phases import Phase
from shifter.core.state import FleetState, Report, ShiftState
from shifter.ports.kube import Body

_MESSAGE_LENGTH: Final = 1000
_NAMESPACES: Final = 256
"""So many are shown; the definition allows no more."""


def shift_spec(state: ShiftState) -> Body:
    """Return what is said of a shift when its object is made."""
    return {"namespaces": list(state.policy.namespaces[:_NAMESPACES]), "steps": list(state.policy.spec.ladder)}


def reported_spec(report: Report) -> Body:
    """Return the same from a report."""
    return {"namespaces": list(report.namespaces[:_NAMESPACES]), "steps": list(report.steps)}


def shift_shown(state: ShiftState) -> Body:
    """Return what a save tells people: the place, and the write under way."""
    intent = state.intent
    told: Body = {"phase": str(state.phase), "share": state.share, "holds": [plain(hold) for hold in state.holds]}
    told["intent"] = (
        None
        if intent is None
        else {"sequence": intent.sequence, "epoch": intent.epoch, "from": intent.from_share, "to": intent.to_share}
    )
    return told


def fleet_shown(state: FleetState) -> Body:
    """Return what a save of all shifts together tells people."""
    why = "; ".join(freeze.why for freeze in state.freezes)
    return {"frozen": bool(state.freezes), "message": _short(f"frozen by {why}" if why else "not frozen")}


def report_shown(report: Report, before: Body) -> Body:
    """Return what a report tells people.

    Args:
        report: the newest one.
        before: the status so far, whose conditions keep since when they hold.
    """
    return {
        "wanted": report.wanted,
        "written": report.written,
        "observed": report.observed,
        "step": f"{report.step}/{len(report.steps)}",
        "verdict": plain(report.verdict),
        "message": _short(report.reason),
        "conditions": _conditions(report, {each.get("type"): each for each in before.get("conditions") or ()}),
    }


def _conditions(report: Report, before: dict[object, Body]) -> list[Body]:
    held = ", ".join(dict.fromkeys(hold.kind for hold in report.holds))
    back = report.phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK}
    found = [
        ("Ready", not report.page, "AsExpected" if not report.page else "NeedsAttention", report.reason),
        ("Progressing", report.phase is Phase.SHIFTING and not held, _camel(str(report.decision)), report.reason),
        ("Degraded", back, str(report.phase), report.failure),
        ("Held", bool(held), "Holds" if held else "NoHolds", held),
    ]
    return [_condition(report, before.get(name), name, *rest) for name, *rest in found]


def _condition(report: Report, before: Body | None, name: str, *told: object) -> Body:
    is_true, reason, message = told
    status = "True" if is_true else "False"
    since = moment(report.at)[:-8] + "Z"  # whole seconds, as conditions are written
    if before is not None and before.get("status") == status:
        since = before.get("lastTransitionTime", since)
    return {
        "type": name,
        "status": status,
        "reason": reason or "Unknown",
        "message": _short(str(message)),
        "lastTransitionTime": since,
    }


def _camel(words: str) -> str:
    letters = "".join(part.capitalize() for part in words.replace("-", " ").split())
    return letters if letters.isascii() and letters.isalpha() else "Deciding"


def _short(text: str) -> str:
    text = plain(text)
    return text if len(text) <= _MESSAGE_LENGTH else f"{text[: _MESSAGE_LENGTH - 1]}…"
