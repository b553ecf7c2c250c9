"""A decision, computed again from its own record, and what of the record does not follow from that.

Pure: a record in, a `Replay` out. What the record carries may have been changed by anybody, so nothing in it is trusted
before it was looked at, and what cannot be computed is one sentence.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from shifter.cli.exits import CommandError, Exit
from shifter.core.criteria import Analysis
from shifter.core.measures import Metric, metrics_of
from shifter.core.records import Record
from shifter.core.replay import Trail, of_json
from shifter.core.sequential import MetricWealth, bound, open_wealth
from shifter.core.splits import FULL_PERCENT
from shifter.core.standing import Row, Standing, advance, evidence_of_harm, tests_of
from shifter.core.verdicts import odds, percent

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
        differences = _differences(record.record.evidence, standing, metrics, harm)
    except (ValueError, KeyError, TypeError, ArithmeticError, IndexError) as error:
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


def _bets(wealth: MetricWealth) -> tuple[int, int, int]:
    return len(wealth.start), len(wealth.latest), len(wealth.safety)


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return ": ".join(filter(None, (".".join(str(part) for part in first["loc"]), first["msg"])))
    return str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"


def _differences(
    recorded: Mapping[str, object], standing: Standing, metrics: Sequence[Metric], harm: float
) -> tuple[str, ...]:
    """Return what of the record does not follow from the counts it carries."""
    found = []
    then = recorded.get("harm")
    if not isinstance(then, int | float) or not math.isclose(then, harm, rel_tol=_SAME):
        found.append(f"odds {odds(harm)}, recorded was {odds_of(then)}")
    findings: Any = recorded.get("findings") or []
    by_name = {each["metric"]: each for each in findings}
    for metric, wealth, totals in zip(metrics, standing.wealth.metrics, standing.totals, strict=True):
        told = by_name.get(metric.name)
        if told is None or told.get("bound") is None:
            found.append(f"{metric.name}: not recorded")
            continue
        most = bound(wealth, metric.safety.rate)
        if abs(FULL_PERCENT * most - told["bound"]) > _BOUND_DIGITS:
            found.append(f"{metric.name}: excess < {percent(most, 1)}, recorded was {told['bound']:g} %")
        counts = [*(told.get("target_counts") or ()), *(told.get("source_counts") or ())]
        if len(counts) != len(totals) or not all(map(_is_same, counts, totals)):
            found.append(f"{metric.name}: {_counted(totals)}, recorded was {_counted(counts)}")
    return tuple(found)


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
