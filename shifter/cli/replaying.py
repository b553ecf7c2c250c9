"""A decision, computed again from its own record, and what of the record does not follow from that.

Pure: a record in, a `Replay` out. What the record carries may have been changed by anybody, so nothing in it is trusted
before it was looked at, and what cannot be computed is one sentence.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from shifter.cli.exits import CommandError, Exit
from shifter.core.analysis.assess import SUSPECTED, alpha_of
from shifter.core.analysis.measures import Metric, metrics_of
from shifter.core.analysis.replay import Trail, of_json
from shifter.core.analysis.sequential import MetricWealth, bound, open_wealth
from shifter.core.analysis.standing import Row, Standing, advance, evidence_of_harm, is_sound, tests_of
from shifter.core.analysis.verdicts import Verdict, odds, percent
from shifter.core.balancing.splits import FULL_PERCENT
from shifter.core.documents.criteria import Analysis
from shifter.core.records import Record

_SAME: Final = 1e-5
"""Numbers are recorded in six digits that count; the last one may differ between machines."""

_BOUND_DIGITS: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Step:
    """One tick of the replay: what was counted, and the standing that it led to."""

    row: Row
    standing: Standing


@dataclass(frozen=True, slots=True)
class Replay:
    """A record's decision, computed again. `differences` are sentences; empty if every number is as recorded."""

    record: Record
    trail: Trail
    metrics: tuple[Metric, ...]
    steps: tuple[Step, ...]
    harm: float
    differences: tuple[str, ...]

    @property
    def reached(self) -> Standing:
        """Where the trail leads to."""
        return self.steps[-1].standing if self.steps else self.trail.base


def carries_replay(record: Record) -> bool:
    """Return whether a record says from what it can be computed again."""
    return isinstance(record.record.evidence.get("replay"), Mapping)


def replayed(record: Record) -> Replay:
    """Return a record's decision, computed again.

    Raises:
        CommandError: what the record carries is no evidence.
    """
    kept: Any = record.record.evidence["replay"]
    try:
        trail = of_json(kept["trail"])
        analysis = Analysis.model_validate_json(json.dumps(kept["analysis"]))
        metrics = metrics_of(analysis, trail.base.history.edges_ms)
        _check_shape(trail, metrics)
        steps, standing = [], trail.base
        for row in trail.rows:
            standing = advance(standing, metrics, row)
            steps.append(Step(row, standing))
        harm = evidence_of_harm(standing, metrics)
        evidence = record.record.evidence
        limit = 1 / alpha_of(analysis, trail.base.attempt)
        differences = (*_judged_otherwise(evidence, harm, limit), *_counted_otherwise(evidence, standing, metrics))
    except (ValueError, KeyError, TypeError, ArithmeticError, IndexError, OSError) as error:
        # Whatever can be wrong with numbers that somebody changed; the arithmetic itself has no other way to fail.
        said = f"record {record.id} is damaged, it cannot be computed again: {_why(error)}"
        raise CommandError(Exit.UNHEALTHY, said, "what was decided and why is still in `history`") from error
    return Replay(record, trail, metrics, tuple(steps), harm, differences)


def _check_shape(trail: Trail, metrics: Sequence[Metric]) -> None:
    """Raise ValueError if what must have one entry for each metric has not."""
    base = trail.base
    per_metric = [base.history.metrics, base.wealth.metrics, base.totals, *base.recent]
    per_metric += [base.pending] if base.pending else []
    per_metric += [row.cells for row in trail.rows]
    if any(len(each) != len(metrics) for each in per_metric):
        raise ValueError(f"it is not about the {len(metrics)} metrics of its policy")
    fresh = open_wealth(tests_of(metrics, base.history)).metrics
    if [_bets(each) for each in base.wealth.metrics] != [_bets(each) for each in fresh]:
        raise ValueError("it has other bets than this shifter makes")
    numbers = [part for row in trail.rows for cell in row.cells if cell is not None for part in cell]
    numbers += [part for row in trail.rows for part in (row.seconds, row.at)]
    if not is_sound(base) or not all(math.isfinite(part) and part >= 0 for part in numbers):
        raise ValueError("it holds numbers that cannot have been counted")
    for at in (base.counted_until, *(row.at for row in trail.rows)):
        datetime.fromtimestamp(at, UTC).astimezone()  # raises for a moment that no calendar has


def _bets(wealth: MetricWealth) -> tuple[int, int, int]:
    return len(wealth.start), len(wealth.latest), len(wealth.safety)


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return ": ".join(filter(None, (".".join(str(part) for part in first["loc"]), first["msg"])))
    return str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"


def _judged_otherwise(recorded: Mapping[str, object], harm: float, limit: float) -> Iterator[str]:
    """Yield what of the judgement does not follow from the odds and the policy's limit."""
    for name, again in (("odds", harm), ("limit", limit)):
        then = recorded.get({"odds": "harm"}.get(name, name))
        if not isinstance(then, int | float) or not math.isclose(then, again, rel_tol=_SAME):
            yield f"{name} {odds(again)}, recorded was {odds_of(then)}"
    findings: Any = recorded.get("findings") or []
    verdict, guarded = recorded.get("verdict"), any(each.get("guard") for each in findings)
    # Nothing is judged while there is no signal, and a guard looks at more than the odds.
    if (verdict == Verdict.PASS and harm >= SUSPECTED) or (verdict == Verdict.FAIL and harm < limit and not guarded):
        yield f"verdict {verdict} does not follow from odds {odds(harm)} against {odds(limit)}"


def _counted_otherwise(recorded: Mapping[str, object], standing: Standing, metrics: Sequence[Metric]) -> Iterator[str]:
    """Yield what of the findings does not follow from the counts that the record carries."""
    findings: Any = recorded.get("findings") or []
    by_name = {each["metric"]: each for each in findings}
    for metric, wealth, totals in zip(metrics, standing.wealth.metrics, standing.totals, strict=True):
        told = by_name.get(metric.name)
        if told is None or told.get("bound") is None:
            yield f"{metric.name}: not recorded"
            continue
        most = bound(wealth, metric.safety.rate)
        if abs(FULL_PERCENT * most - told["bound"]) > _BOUND_DIGITS:
            yield f"{metric.name}: excess < {percent(most, 1)}, recorded was {told['bound']:g} %"
        counts = [*(told.get("target_counts") or ()), *(told.get("source_counts") or ())]
        if len(counts) != len(totals) or not all(map(_is_same, counts, totals)):
            yield f"{metric.name}: {_counted(totals)}, recorded was {_counted(counts)}"


def _is_same(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=_SAME, abs_tol=_SAME)


def _counted(counts: Sequence[float]) -> str:
    requests = " and ".join(
        f"{bad:.0f} of {so_many:.0f}" for so_many, bad in zip(counts[::2], counts[1::2], strict=False)
    )
    return requests or "nothing"


def odds_of(recorded: object) -> str:
    """Return odds as a record has them, `none` if it has none."""
    return odds(float(recorded)) if isinstance(recorded, int | float) else "none"


def excess(standing: Standing, metrics: Sequence[Metric], index: int) -> float:
    """Return U of one metric as a rate: by how much the target's may be above what the margin allows."""
    return bound(standing.wealth.metrics[index], metrics[index].safety.rate)
