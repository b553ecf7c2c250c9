"""A story of ticks and what they amount to: gathered by the real core, tick by tick, as the service would.

`learnt()` begins one at a share of 0 with a history; `at` verifies another share; `tick` adds what one tick counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shifter.core.analysis.assess import assess
from shifter.core.analysis.learning import History, MetricHistory
from shifter.core.analysis.measures import Metric
from shifter.core.analysis.standing import Standing, begin
from shifter.core.analysis.verdicts import Assessment, Situation
from shifter.core.counts.evidence import INFINITY_MS, Counts, Ledger, Tick
from shifter.core.deciding.gathering import Terms, gather, metrics_for
from shifter.core.documents.fleet import Lessons
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.phases import Phase
from shifter.core.state import Direction, Intent, ShiftState

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
TICK_SECONDS = 15.0
EDGES_MS = (100.0, 250.0, 500.0, 1000.0)
ERRORS_ALONE = {"latency": {"enabled": False}, "answers": {"codes": ()}}
NOTHING = Counts()


def a_policy(analysis: Mapping[str, Any] | None = None, **spec: object) -> ShiftPolicy:
    """One namespace on one route, steps of 5, 25 and 100 %; errors alone are judged unless said."""
    clb = {
        "region": "ap-guangzhou",
        "loadBalancer": "lb-1",
        "routes": ({"listener": "lbl-1", "domain": "shop.example.com", "url": "/"},),
        "source": {"port": 30080},
        "target": {"port": 31080},
    }
    body: dict[str, object] = {"namespace": "shop", "traffic": {"clb": clb}, "steps": (5, 25, 100), "soak": "1m"}
    body |= {"analysis": ERRORS_ALONE if analysis is None else analysis, **spec}
    return ShiftPolicy.model_validate({"kind": "ShiftPolicy", "metadata": {"name": "shop"}, "spec": body})


def an_intent(from_share: float, to_share: float) -> Intent:
    """A write of the service's that was decided at noon."""
    return Intent(
        sequence=1,
        epoch=1,
        direction=Direction.CLIMB if to_share > from_share else Direction.RETREAT,
        from_share=from_share,
        to_share=to_share,
        reason="said so",
        by="shifter",
        created_at=NOON,
        deadline=NOON + timedelta(minutes=2),
        before={},
        weights={},
    )


def timed(requests: float, bad: float = 0.0, slow: Mapping[float, float] | None = None) -> Counts:
    """Requests with a histogram; `slow` says how many were slower than an edge."""
    over = slow or {}
    finite = tuple((edge, requests - over.get(edge, 0.0)) for edge in EDGES_MS)
    return Counts(requests, bad, (*finite, (INFINITY_MS, requests)))


def a_history(rate: float = 0.01, requests: float = 18_000.0, *, dispersion: float = 1.0) -> History:
    """What is known of a source whose errors alone are judged."""
    errors = MetricHistory("errors", rate, requests, dispersion, halves=True)
    return History(ticks=12, requests=requests, per_tick=requests / 12, edges_ms=(), metrics=(errors,))


@dataclass(frozen=True, slots=True)
class Story:
    """A shift's state, the ticks of its share, and its standing so far. `now` is when the newest tick ended."""

    state: ShiftState
    terms: Terms
    now: datetime = NOON
    ledger: Ledger = field(default_factory=Ledger)
    standing: Standing | None = None

    @property
    def known(self) -> Standing:
        """The standing, which there is by now."""
        assert self.standing is not None
        return self.standing

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of the policy, at the edges that history fixed."""
        return metrics_for(self.state, self.known.history)

    def tick(
        self,
        source: Counts,
        target: Counts = NOTHING,
        count: int = 1,
        *,
        whole: bool = True,
        **more: Any,  # noqa: ANN401 - any field of a tick
    ) -> Story:
        """Return the story after `count` such ticks."""
        story = self
        for _ in range(count):
            now = story.now + timedelta(seconds=TICK_SECONDS)
            ledger = story.ledger.add(Tick(now, TICK_SECONDS, source, target, **more))
            gathered = gather(story.standing, story.state, ledger, whole=whole, terms=story.terms)
            standing = story.standing if gathered is None else gathered.standing
            story = replace(story, now=now, ledger=ledger, standing=standing)
        return story

    def at(self, share: float, **changes: object) -> Story:
        """Return the story once a share (percent) has been verified, just now."""
        fields = {"share": share, "verified_at": self.now, "phase": Phase.SHIFTING, **changes}
        return replace(self, state=self.state.model_copy(update=fields), ledger=self.ledger.new_share())

    def situation(self, **changes: Any) -> Situation:  # noqa: ANN401 - any field of a situation
        """Return what the evidence is judged against, now."""
        return Situation(
            **{
                "share": self.state.share,
                "verified_at": self.state.verified_at,
                "now": self.now,
                "max_age": timedelta(seconds=45),
                "tick": timedelta(seconds=TICK_SECONDS),
                **changes,
            }
        )

    def judged(self, **changes: Any) -> Assessment:  # noqa: ANN401 - any field of a situation
        """Return the assessment, now."""
        return assess(self.state.policy.spec, self.standing, self.ledger, self.situation(**changes))


def a_story(policy: ShiftPolicy | None = None, lessons: Lessons | None = None, **terms: Any) -> Story:  # noqa: ANN401
    """Return a story at a share of 0 before its first tick; `terms`: any other field of them."""
    state = ShiftState(name="shop", policy=policy or a_policy(), since=NOON)
    return Story(state, Terms(**{"lessons": lessons or Lessons(), "edges_ms": EDGES_MS, **terms}))


def learnt(policy: ShiftPolicy | None = None, source: Counts | None = None, **terms: Any) -> Story:  # noqa: ANN401
    """Return a story at a share of 0 that knows its source: by default 100 requests per second, 1 % of which fail."""
    usual = timed(1500, 15, {100: 150, 250: 60, 500: 15, 1000: 3}) if source is None else source
    half = Counts(
        usual.requests / 2, usual.bad / 2, tuple((edge, upto / 2) for edge, upto in usual.buckets), (), (), 0.0
    )
    return a_story(policy, **terms).tick(usual, count=8, source_half=half)


def a_standing(
    history: History | None = None, policy: ShiftPolicy | None = None
) -> tuple[Standing, tuple[Metric, ...]]:
    """Return the standing before the first step with a history that is given, not learnt."""
    state = ShiftState(name="shop", policy=policy or a_policy(), since=NOON)
    known = history or a_history()
    metrics = metrics_for(state, known)
    return begin(metrics, known, attempt=1), metrics
