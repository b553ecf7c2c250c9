"""What a policy will do, key by key, in words that can be checked against what its writer meant.

`lint` says whether a file is allowed, this says what it does: defaults are filled in and marked, and numbers that only
mean something together (steps and soak, requests and share) are put together. A pure function of the values; a fleet
adds what depends on it. Each key has a sentence of its own in `SAYS`, and a test walks the model to find one without.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel

from shifter.core.analysis.assess import SUSPECTED, alpha_of
from shifter.core.analysis.climbing import DOUBTED, PATIENCE_IF_DOUBTED
from shifter.core.analysis.hypotheses import Margin
from shifter.core.analysis.measures import rules_of, slo_edge
from shifter.core.analysis.steps import LARGEST_FACTOR, LARGEST_FIRST, PLATEAU
from shifter.core.analysis.verdicts import odds
from shifter.core.documents.fleet import ISTIO_EDGES_MS, Fleet, common_edges_ms
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.documents.schema import show_duration
from shifter.files.located_yaml import At
from shifter.files.words import key_of

_UNJUDGED: Final = "latency is neither read nor judged"
_USUAL: Final = "twice what TCM had before the first step, and 2 points"
"""The limit of those who say none, as `standing.limit_rate` has it."""

_RATE: Final = 1000.0
"""Requests a second of an example."""


@dataclass(frozen=True, slots=True)
class Line:
    """One key: where it stands (`fleet:` before a key of the fleet), its value as JSON would hold it, what it does."""

    path: str
    value: Any
    is_default: bool
    words: str


@dataclass(frozen=True, slots=True)
class _Place:
    """What a sentence is made from: a value, where it stands, and all around it."""

    value: Any
    path: At
    policy: ShiftPolicy
    fleet: Fleet | None


def explanation_of(policy: ShiftPolicy, fleet: Fleet | None = None) -> tuple[Line, ...]:
    """Return every key of a policy with its value or default and what it will do, in the order of the format."""
    lines = []
    for path, value, is_default in _leaves(policy, ()):
        words = SAYS[key_of(path)](_Place(value, path, policy, fleet))
        lines.append(Line(".".join(map(str, path)), _plain(value, path), is_default, words))
    return (*lines, *_fleet_lines(policy, fleet)) if fleet else tuple(lines)


def shown_value(value: object) -> str:
    """Return a value on one line, as a file would say it; an absent one is `none`."""
    if value is None or value == []:
        return "none"
    if isinstance(value, list):
        return f"[{', '.join(shown_value(each) for each in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {shown_value(each)}' for key, each in value.items())}}}"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, int | float) else str(value)


def _leaves(model: BaseModel, path: At) -> Iterator[tuple[At, object, bool]]:
    """Yield every key that this version enforces, with whether its value is the default; lists before their entries."""
    for name, field in type(model).model_fields.items():
        if field.annotation is type(None):
            continue
        value, place = getattr(model, name), (*path, field.alias or name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, place)
            continue
        entries = value if isinstance(value, tuple) and all(isinstance(each, BaseModel) for each in value) else ()
        yield place, value, name not in model.model_fields_set
        for index, each in enumerate(entries):
            yield from _leaves(each, (*place, index))


def _plain(value: object, path: At) -> object:
    if value == () and path == ("spec", "steps"):
        return "auto"
    if isinstance(value, timedelta):
        return show_duration(value)
    if isinstance(value, tuple):
        return [each.model_dump(mode="json", by_alias=True) if isinstance(each, BaseModel) else each for each in value]
    return value


# ---- the sentences -----------------------------------------------------------------------------------------------


def _said(text: str) -> Callable[[_Place], str]:
    return lambda _: text


def _number(text: str) -> Callable[[_Place], str]:
    """Return a sentence with the value's number in it."""
    return lambda here: text.format(f"{here.value:.12g}")


def _namespaces(here: _Place) -> str:
    if not here.value:
        return "not given: the other of namespace and namespaces is"
    named = here.value if isinstance(here.value, str) else ", ".join(here.value)
    together = "" if isinstance(here.value, str) else ", together as one"
    return f"requests for services in {named} are counted and judged{together}; what moves are the routes below"


def _routes(here: _Place) -> str:
    rules = f"{len(here.value)} rule{'s' * (len(here.value) != 1)} of this CLB"
    return f"{rules}: weights are written here and nowhere else, the same split on all"


def _domain(here: _Place) -> str:
    if str(here.value).startswith(("*", "~")) or str(here.value).endswith("*"):
        return f"requests for every host that {here.value} matches and no rule of its own takes"
    return f"requests for host {here.value}"


def _selected(words: str) -> Callable[[_Place], str]:
    """Return a sentence about one criterion of a selector, which may be absent."""

    def say(here: _Place) -> str:
        whose = "TCM's" if "source" in here.path else "Istio's"
        if not here.value:
            return "not looked at"
        named = ", ".join(here.value) if isinstance(here.value, tuple) else here.value
        side = getattr(here.policy.spec.traffic.clb, "source" if "source" in here.path else "target")
        also = " if everything else given here matches as well" if len(side.model_fields_set) > 1 else ""
        return f"members {words} {named} are {whose} gateway{also}"

    return say


def _steps(here: _Place) -> str:
    spec = here.policy.spec
    if not here.value:
        rungs = ", ".join(f"{step:.12g}" for step in spec.ladder)
        return (
            f"each step goes as far up as blastRadius allows, to one of {rungs} %: at most to {LARGEST_FIRST:g} % first"
            f" and to {LARGEST_FACTOR:g} times the share after that, and above {PLATEAU:g} % from one to the next"
        )
    count = len(here.value)
    arrows = " → ".join(f"{step:.12g}" for step in here.value)
    top, done = _soonest(here, count - 1), _soonest(here, count)
    reached = f"100 % is reached {top} after the first step at the soonest" if count > 1 else "100 % is the first step"
    said = f"{arrows}: {count} step{'s' * (count != 1)}, each kept for {show_duration(spec.soak)} at least; {reached}"
    return f"{said}, and completed after {done} (writing and settling come on top)"


def _soonest(here: _Place, soaks: int) -> str:
    """Return how long so many soaks take at least; with a fleet each is a whole number of ticks."""
    soak = here.policy.spec.soak
    if here.fleet is not None:
        tick = here.fleet.spec.timing.tick
        soak = math.ceil(soak / tick) * tick
    return show_duration(soaks * soak)


def _soak(here: _Place) -> str:
    text = show_duration(here.value)
    return f"{text} of evidence at each step, counted from when balancer and metrics show the split; also at 100 %"


def _false_rollbacks(here: _Place) -> str:
    first, *later = (odds(1 / alpha_of(here.policy.spec.analysis, attempt)) for attempt in (1, 2, 3))
    goes = "goes" if here.value == 1 else "go"
    return (
        f"Istio goes back at odds of {first} against it; each further attempt has half of the chance of an error, which"
        f" takes {', '.join(later)} and so on: of 100 migrations that are within every tolerance at most"
        f" {here.value:.12g} {goes} back by chance, {2 * here.value:.12g} with all retries"
    )


def _hold(here: _Place) -> str:
    text = show_duration(here.value)
    return (
        f"up to {PLATEAU:g} % a share is kept for {text} at most if nothing is wrong: until the next step is within"
        f" blastRadius, at {PLATEAU:g} % until Istio is proven no worse. Then it goes on, and says `bounded, not"
        f" proven`. With odds of {DOUBTED:g}:1 against Istio it is {show_duration(PATIENCE_IF_DOUBTED * here.value)},"
        f" from {SUSPECTED:g}:1 on no step comes"
    )


def _codes(here: _Place) -> str:
    if not here.value:
        return "no response code is a failure; response flags and gRPC statuses may be"
    named = ", ".join(here.value)
    return f"answers with {named} are failures; a client that left before the answer is none, and counts nowhere"


def _flags(here: _Place) -> str:
    if not here.value:
        return "no response flag makes a failure; the code says it"
    return f"a request with one of the flags {', '.join(here.value)} is a failure whatever its code"


def _grpc_statuses(here: _Place) -> str:
    if not here.value:
        return "gRPC calls are judged by their HTTP code, which is 200 also where they fail"
    return f"a gRPC call that ends with status {', '.join(map(str, here.value))} is a failure although its code is 200"


def _max_percent(here: _Place) -> str:
    if here.value is None:
        return f"no limit of your own: held against Istio is more than {_USUAL}, as long as TCM is as it was"
    return (
        f"more than {here.value:.12g} % is held against Istio as long as TCM itself keeps to it, in place of more than"
        f" {_USUAL}: stricter or looser, but never less than the tolerance over what TCM had"
    )


def _compared(here: _Place) -> str:
    codes = rules_of(here.policy.spec.analysis).compared
    if not codes:
        return "no other answers are compared"
    named = ", ".join(codes)
    return (
        f"the share of answers with {named}, each by itself, is compared with TCM's: most mistakes of routing are these"
    )


def _latency(here: _Place) -> str:
    if not here.value:
        return _UNJUDGED
    return (
        "compared is the share of requests above two of the histogram's edges, one in the tail and one in the body,"
        " chosen by TCM's own latency before the first step; no quantile is computed"
    )


def _quantile(here: _Place) -> str:
    if not here.policy.spec.analysis.latency.enabled:
        return _UNJUDGED
    if here.policy.spec.analysis.latency.max_ms is None:
        return "without maxMs it says nothing"
    return f"{here.value * 100:.12g} % of Istio's requests must be faster than maxMs"


def _max_ms(here: _Place) -> str:
    if not here.policy.spec.analysis.latency.enabled:
        return _UNJUDGED
    if here.value is None:
        return f"no limit of your own: Istio is held against TCM, and at each edge against {_USUAL}"
    edges = ISTIO_EDGES_MS if here.fleet is None else common_edges_ms(here.fleet)
    edge, part = slo_edge(here.value, edges), 100 * (1 - here.policy.spec.analysis.latency.quantile)
    if edge is None:
        return "beyond the last edge of the histogram: nothing slower can be told apart"
    slower = f"more than {part:.4g} % of requests slower than {edge:.12g} ms"
    held = f"{slower} are held against Istio as long as TCM itself keeps to it, in place of more than {_USUAL}"
    if edge == here.value:
        return f"{held}; {edge:.12g} ms is an edge of the histogram"
    return f"{held}: the first edge of the histogram at or above {here.value:.12g} ms"


def _ratio(here: _Place) -> str:
    """Say both halves of an edge at once, with an example: neither means much alone."""
    excess: Any = here.policy.spec.analysis
    for step in here.path[2:-1]:
        excess = excess[step] if isinstance(step, int) else getattr(excess, step)
    what = f"{excess.ratio:.12g} times TCM's share and {excess.percent:.12g} points"
    example = f"where TCM has 1 %, Istio may have {Margin(excess.ratio, excess.percent).of(1.0):.4g} %"
    if here.path[-2] == "tolerance":
        return f"up to {what} Istio is not blamed: {example}"
    return f"within {what} Istio is no worse, which is what is to be proven: {example}"


def _custom(here: _Place) -> str:
    if not here.value:
        return "no counters of your own are compared"
    return "pairs of counters that the fleet file defines, each compared with TCM's as failures are"


def _blast(here: _Place) -> str:
    spec = here.policy.spec.blast_radius
    if here.path[-1] == "requests":
        return (
            f"a step may cost {here.value:.12g} failed requests before it is found out, or what `seconds` allows if"
            " that is more; what it could cost follows from what is not ruled out yet"
        )
    return (
        f"with {_RATE:g} requests a second that are {max(spec.requests, here.value * _RATE):.12g} failed requests; the"
        " longer a share was kept, the more: twice as many after 10 ticks. A larger step waits until hold is over"
    )


def _on_failure(here: _Place) -> str:
    told = {
        "rollback": (
            "when Istio is worse or dead, or requests are lost on the way to it, everything goes back to TCM at once,"
            " in the middle of a soak too"
        ),
        "stepBack": (
            "when Istio is worse the share goes one step down and never again as high before a retry; below the first"
            " step, and when Istio is dead, everything goes back to TCM"
        ),
        "hold": "when Istio is worse nothing goes back by itself: the share stays, no step comes, somebody is paged",
    }
    return told[here.value]


def _approvals(here: _Place) -> str:
    if not here.value:
        return "nobody is asked: the share climbs by evidence alone"
    times = f"{len(here.value)} time{'s' * (len(here.value) != 1)}"
    return f"{times} the climb waits for `shifter approve {here.policy.name}`"


SAYS: Final[Mapping[str, Callable[[_Place], str]]] = {
    "apiVersion": _said("the format this file is written in"),
    "kind": _said("one shift; what all shifts share is in the Fleet"),
    "metadata.name": lambda here: f"people order it as `shifter pause {here.value}`; another name is another shift",
    "spec.namespace": _namespaces,
    "spec.namespaces": _namespaces,
    "spec.traffic.clb.region": lambda here: f"the CLB is asked and written through the API of {here.value}",
    "spec.traffic.clb.loadBalancer": lambda here: f"of all shifts on {here.value} one is written at a time",
    "spec.traffic.clb.routes": _routes,
    "spec.traffic.clb.routes[].listener": lambda here: f"a rule of listener {here.value}, which must be HTTP or HTTPS",
    "spec.traffic.clb.routes[].domain": _domain,
    "spec.traffic.clb.routes[].url": _said(
        "paths that the CLB gives to this rule; those of a longer rule are that one's"
    ),
    "spec.traffic.clb.source/target.port": _selected("on port"),
    "spec.traffic.clb.source/target.ids": _selected("with one of the ids"),
    "spec.traffic.clb.source/target.ips": _selected("with one of the addresses"),
    "spec.traffic.clb.source/target.tag": _selected("with the tag"),
    "spec.steps": _steps,
    "spec.soak": _soak,
    "spec.analysis.falseRollbackPercent": _false_rollbacks,
    "spec.analysis.hold": _hold,
    "spec.analysis.errors.codes": _codes,
    "spec.analysis.errors.flags": _flags,
    "spec.analysis.errors.grpcStatuses": _grpc_statuses,
    "spec.analysis.errors.maxPercent": _max_percent,
    "spec.analysis.answers.codes": _compared,
    "spec.analysis.latency.enabled": _latency,
    "spec.analysis.latency.quantile": _quantile,
    "spec.analysis.latency.maxMs": _max_ms,
    "spec.analysis.custom": _custom,
    "spec.analysis.custom[].name": lambda here: f"the pair {here.value} of the fleet's customMetrics",
    "spec.analysis.custom[].maxPercent": _max_percent,
    **{
        f"spec.analysis.{metric}.{edge}.{half}": say
        for metric in ("errors", "answers", "latency", "custom[]")
        for edge in ("tolerance", "margin")
        for half, say in (
            ("ratio", _ratio),
            ("percent", _said("the points of the line above: all there is where TCM has none")),
        )
    },
    "spec.blastRadius.requests": _blast,
    "spec.blastRadius.seconds": _blast,
    "spec.onFailure": _on_failure,
    "spec.wayBack.keepPercent": _number(
        "while less than {} % is left of what TCM had before the first step (healthy members, gateway pods, replicas),"
        " no step comes, it pages, and going back takes as much as the rest can carry; all at once if Istio is dead"
    ),
    "spec.wayBack.deployments": lambda here: (
        f"{', '.join(here.value) or 'none'}: counted in TCM's cluster and kept from shrinking, as its gateway is"
    ),
    "spec.approvals": _approvals,
    "spec.approvals[].before": _number("the share does not reach {} % before a person has approved"),
}
"""One sentence for each key, by the path of the documentation's tables."""


def _fleet_lines(policy: ShiftPolicy, fleet: Fleet) -> Iterator[Line]:
    """Yield what of the fleet bears on this policy."""
    spec, timing = fleet.spec, fleet.spec.timing
    mode = "writes nothing, only explains" if spec.mode == "observe" else "writes weights"
    yield Line("fleet:spec.mode", spec.mode, "mode" not in spec.model_fields_set, f"the service {mode}")
    for name, side in (("source", spec.datasources.source), ("target", spec.datasources.target)):
        labels = ", ".join(f'{label}="{text}"' for label, text in side.matchers.items())
        words = f"{'TCM' if name == 'source' else 'Istio'}'s requests are the series with {labels} at {side.url}"
        yield Line(f"fleet:spec.datasources.{name}.matchers", side.matchers, is_default=False, words=words)
    rows = (
        ("tick", f"{policy.name} is looked at, and may take a step, every {show_duration(timing.tick)}"),
        ("sample_max_age", f"evidence older than {show_duration(timing.sample_max_age)} is no signal: no climb"),
        ("operation_timeout", f"a climb not in force after {show_duration(timing.operation_timeout)} has failed"),
    )
    for name, words in rows:
        alias = type(timing).model_fields[name].alias or name
        default = name not in timing.model_fields_set
        yield Line(f"fleet:spec.timing.{alias}", show_duration(getattr(timing, name)), default, words)
