"""What a valid file does that its writer may not have meant: told by `lint` as warnings, and refused by nobody.

Each sentence is about an effect that follows from two values together, or from a rule elsewhere, so that the line alone
does not show it: a key that nothing reads, a limit that limits nothing, a protection that is off. What is certainly
wrong is not here but in the models and in `fleet.misfits`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shifter.core.analysis.measures import slo_edge
from shifter.core.analysis.steps import PLATEAU, candidates
from shifter.core.balancing.splits import FULL_PERCENT
from shifter.core.counts.answers import LEFT_FLAGS
from shifter.core.documents.criteria import CustomRules, ErrorRules
from shifter.core.documents.fleet import ISTIO_EDGES_MS, Fleet, Learning, Timing, common_edges_ms, late_calls
from shifter.core.documents.policy import PolicySpec, ShiftPolicy
from shifter.core.documents.schema import show_duration
from shifter.core.forecasts.worst_case import Premise, Pulse, first_cost
from shifter.core.text import did_you_mean
from shifter.files.located_yaml import At

_COMMON_RATES: Final = (10.0, 100.0, 1000.0)
"""Requests per second of both meshes for which a first step is looked at; what a namespace has is not in any file."""

_LONG_HOLD: Final = timedelta(days=1)
_ENDLESS_REQUESTS: Final = 1e6
_ENDLESS_SECONDS: Final = 600.0
"""What no step costs: a dead target is found out in ticks, and a first step is one to 25 % of the traffic."""

_ENVOY_FLAGS: Final = frozenset({
    "UH", "UF", "UO", "NR", "URX", "NC", "DT", "DC", "LH", "UT", "LR", "UR", "UC", "DI", "FI", "RL", "UAEX", "RLSE",
    "IH", "SI", "DPE", "UPE", "UMSDR", "RFCF", "NFCF", "OM", "DF", "DO", "DR", "UDO",
})  # fmt: skip
"""Envoy's response flags, the short names that Istio's metrics carry
(https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage, RESPONSE_FLAGS, and
`source/common/stream_info/utility.h`). An extension may register others, and an Envoy of tomorrow have more."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What is easily overlooked about the value at the dotted `path`."""

    path: At
    reason: str


def policy_advice(policy: ShiftPolicy, fleet: Fleet | None) -> Iterator[Advice]:
    """Yield what is easily overlooked in a policy; without a fleet, as with one of defaults."""
    spec = policy.spec
    yield from _limit_beside_an_edge(spec, fleet)
    yield from _hold_within_the_soak(spec)
    yield from _limits_without_effect(spec)
    yield from _answers_that_are_misjudged(spec)
    yield from _latency_keys_without_effect(spec)
    yield from _waits_and_costs_without_end(spec)
    yield from _first_step_too_costly(spec, fleet)
    if spec.on_failure == "hold":
        said = "nothing goes back by itself: a failing Istio keeps its share until a person acts; somebody is paged"
        yield Advice(("spec", "onFailure"), said)


def fleet_advice(fleet: Fleet) -> Iterator[Advice]:
    """Yield what is easily overlooked in a fleet file."""
    if not common_edges_ms(fleet):
        said = (
            "no edge of the source's edgesMs is among these: latency cannot be compared, and every policy that does not"
            " say `latency: {enabled: false}` is refused"
        )
        yield Advice(("spec", "datasources", "target", "edgesMs"), said)
    if late := late_calls(fleet):
        yield Advice(("spec", "provider", "tencent", "timeout"), f"{late}; in a cluster `shifter run` refuses it")


def _limit_beside_an_edge(spec: PolicySpec, fleet: Fleet | None) -> Iterator[Advice]:
    latency = spec.analysis.latency
    if not latency.enabled or latency.max_ms is None:
        return
    edges = ISTIO_EDGES_MS if fleet is None else common_edges_ms(fleet)
    edge = slo_edge(latency.max_ms, edges)
    if edge is not None and edge != latency.max_ms:
        below = max((each for each in edges if each < latency.max_ms), default=None)
        other = "" if below is None else f"; {below:.12g} is one as well"
        said = f"no bucket edge: what is slower than {latency.max_ms:.12g} ms cannot be counted, so the next edge is"
        yield Advice(("spec", "analysis", "latency", "maxMs"), f"{said} the limit, {edge:.12g} ms{other}")


def _hold_within_the_soak(spec: PolicySpec) -> Iterator[Advice]:
    hold, soak = spec.analysis.hold, spec.soak
    if hold > soak:
        return
    given = "hold" in spec.analysis.model_fields_set
    named = f"hold ({show_duration(hold)}{'' if given else ', the default'})"
    said = (
        f"{named} is over when the soak ({show_duration(soak)}) is: no step waits for proof or for the blast radius;"
        " make hold the longer one"
    )
    yield Advice(("spec", "analysis", "hold") if given else ("spec", "soak"), said)


def _limits_without_effect(spec: PolicySpec) -> Iterator[Advice]:
    analysis = spec.analysis
    judged: list[tuple[At, ErrorRules | CustomRules]] = [(("errors",), analysis.errors)]
    judged += [(("custom", index), each) for index, each in enumerate(analysis.custom)]
    for path, rules in judged:
        at: At = ("spec", "analysis", *path, "maxPercent")
        if rules.max_percent is not None and rules.max_percent <= rules.tolerance.percent:
            points = f"the tolerance allows {rules.tolerance.percent:.12g} points more than TCM anyway"
            yield Advice(at, f"cannot be enforced: {points}, and what it allows over TCM's history is the limit then")
        if rules.max_percent == FULL_PERCENT:
            said = (
                "switches a protection off: nothing is above it, and it takes the place of twice TCM's history and 2"
                " points; leave the key out to keep that"
            )
            yield Advice(at, said)


def _answers_that_are_misjudged(spec: PolicySpec) -> Iterator[Advice]:
    errors, answers = spec.analysis.errors, spec.analysis.answers
    at: At = ("spec", "analysis", "errors")
    if not errors.codes and LEFT_FLAGS.issuperset(errors.flags):
        said = "only gRPC calls can fail by this: an Istio that answers 503 to all HTTP requests would look well"
        yield Advice((*at, "codes"), said)
    for index, flag in enumerate(errors.flags):
        if flag in LEFT_FLAGS:
            yield Advice((*at, "flags", index), "has no effect: a client that left is no failure, and in no count")
        elif flag not in _ENVOY_FLAGS:
            hint = did_you_mean(flag, sorted(_ENVOY_FLAGS))
            said = "none of Envoy's response flags: without one of this name it has no effect"
            yield Advice((*at, "flags", index), f"{said}; {hint}" if hint else said)
    for index, code in enumerate(answers.codes if "codes" in answers.model_fields_set else ()):
        if code in errors.codes:
            said = "has no effect: errors.codes counts these answers, as failures and more strictly"
            yield Advice(("spec", "analysis", "answers", "codes", index), said)
        elif f"{code[0]}xx" in errors.codes:
            said = f"compared twice: {code[0]}xx in errors.codes counts these answers as failures, and more strictly"
            yield Advice(("spec", "analysis", "answers", "codes", index), said)


def _latency_keys_without_effect(spec: PolicySpec) -> Iterator[Advice]:
    latency = spec.analysis.latency
    given = [
        (field.alias or name) for name, field in type(latency).model_fields.items() if name in latency.model_fields_set
    ]
    at: At = ("spec", "analysis", "latency")
    if not latency.enabled:
        for key in given:
            if key != "enabled":
                yield Advice((*at, key), "has no effect: latency is neither read nor judged (`enabled: false`)")
    elif "quantile" in given and latency.max_ms is None:
        yield Advice((*at, "quantile"), "has no effect without maxMs: which part must be faster than what is not said")


def _waits_and_costs_without_end(spec: PolicySpec) -> Iterator[Advice]:
    hold, blast = spec.analysis.hold, spec.blast_radius
    if hold > _LONG_HOLD:
        said = f"more than a day: without proof, as with little traffic, each share is kept for {show_duration(hold)}"
        yield Advice(("spec", "analysis", "hold"), said)
    nothing = "holds no step back: before a dead Istio is found out, no step costs as much as"
    if blast.requests > _ENDLESS_REQUESTS:
        said = f"{nothing} {blast.requests:.12g} failed requests"
        yield Advice(("spec", "blastRadius", "requests"), said)
    if blast.seconds > _ENDLESS_SECONDS:
        said = f"{nothing} all traffic failing for {show_duration(timedelta(seconds=blast.seconds))}"
        yield Advice(("spec", "blastRadius", "seconds"), said)


def _first_step_too_costly(spec: PolicySpec, fleet: Fleet | None) -> Iterator[Advice]:
    """A first step that the blast radius does not allow, and no waiting at 0 % will: it comes when the hold is over."""
    tick = (Timing() if fleet is None else fleet.spec.timing).tick.total_seconds()
    premise = Premise(lessons=(Learning() if fleet is None else fleet.spec.learning).lessons())
    first = candidates(spec.ladder, 0.0, None, auto=not spec.steps)[0]
    path: At = ("spec", "steps", 0) if spec.steps else ("spec", "steps")
    if first > PLATEAU:
        held = f"the first step to {first:g} % is above {PLATEAU:g} %: nothing can be proven before it"
        yield Advice(path, f"{held}, so it waits for the whole hold, and comes then unseen; begin with a smaller one")
        return
    for rate in _COMMON_RATES:
        cost = first_cost(spec, premise, Pulse(rate, tick), first)
        if not cost.fits:
            yield Advice(
                path,
                (
                    f"at {rate:g} requests a second a first step to {first:g} % could cost {cost.worst:.0f} failed"
                    f" requests before it is found out, and blastRadius allows {cost.allowed:.0f}: it waits for all of"
                    f" hold ({show_duration(spec.analysis.hold)}), and comes then all the same; begin with a smaller"
                    " step, or say `steps: auto`"
                ),
            )
            return
