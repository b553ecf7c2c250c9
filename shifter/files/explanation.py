"""What a policy will do, key by key, in words that can be checked against what its writer meant.

`lint` says whether a file is allowed, this says what it does: defaults are filled in and marked, and numbers that only
mean something together (steps and soak, requests and share) are put together. A pure function of the values; a fleet
adds what depends on it. Each key has a sentence of its own in `SAYS`, and a test walks the model to find one without.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel

from shifter.core.fleet import ISTIO_EDGES_MS, Fleet
from shifter.core.policy import ShiftPolicy
from shifter.core.schema import show_duration
from shifter.files.located_yaml import At
from shifter.files.words import key_of

_SHOWN_STEPS: Final = 3


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
        lines.append(Line(".".join(map(str, path)), _plain(value), is_default, words))
    return (*lines, *_fleet_lines(policy, fleet)) if fleet else tuple(lines)


def shown_value(value: object) -> str:
    """Return a value on one line, as a file would say it; an absent one is `none`."""
    if value is None or value == []:
        return "none"
    if isinstance(value, list):
        return f"[{', '.join(shown_value(each) for each in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {shown_value(each)}' for key, each in value.items())}}}"
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


def _plain(value: object) -> object:
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


def _name(here: _Place) -> str:
    return f"people order it as `shifter pause {here.value}`; another name would be another shift"


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
    steps, spec = here.value, here.policy.spec
    count = len(steps)
    arrows = " → ".join(f"{step:.12g}" for step in steps)
    top, done = _soonest(here, count - 1), _soonest(here, count)
    reached = f"100 % is reached {top} after the first step at the soonest" if count > 1 else "100 % is the first step"
    said = (
        f"{arrows}: {count} step{'s' * (count != 1)}, each with {show_duration(spec.soak)} of good evidence; {reached}"
    )
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


def _window(here: _Place) -> str:
    return f"a verdict looks at the newest {show_duration(here.value)} and never across a change of the share"


def _min_requests(here: _Place) -> str:
    analysis = here.policy.spec.analysis
    seconds = analysis.window.total_seconds()
    needed = [
        f"at {step:.12g} % that takes {here.value / seconds / step * 100:.3g} requests a second in all"
        for step in here.policy.spec.steps[:_SHOWN_STEPS]
    ]
    less = "fewer than this in the window at Istio is too little traffic, which waits"
    return f"{less}; {', '.join(needed)}"


def _latency(_: _Place) -> str:
    return "no latency guard: latency is neither read nor judged"


def _quantile(here: _Place) -> str:
    return f"judged is the time that {here.value * 100:.12g} % of the requests do not exceed"


def _max_ms(here: _Place) -> str:
    edges = ISTIO_EDGES_MS if here.fleet is None else here.fleet.spec.datasources.target.edges_ms
    above = bisect_left(edges, here.value)
    if above == len(edges):
        measured = "beyond the last edge of the histogram: nothing slower can be told apart"
    elif edges[above] == here.value:
        measured = f"{here.value:.12g} ms is an edge of the histogram"
    else:
        below = edges[above - 1] if above else 0
        measured = f"interpolated between the histogram's edges {below:.12g} and {edges[above]:.12g} ms"
    return f"slower than {here.value:.12g} ms at Istio fails; {measured}"


def _approvals(here: _Place) -> str:
    if not here.value:
        return "nobody is asked: the share climbs by evidence alone"
    times = f"{len(here.value)} time{'s' * (len(here.value) != 1)}"
    return f"{times} the climb waits for `shifter approve {here.policy.name}`"


SAYS: Final[Mapping[str, Callable[[_Place], str]]] = {
    "apiVersion": _said("the format this file is written in"),
    "kind": _said("one shift; what all shifts share is in the Fleet"),
    "metadata.name": _name,
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
    "spec.analysis.window": _window,
    "spec.analysis.minRequests": _min_requests,
    "spec.analysis.errors.maxPercent": _number("more than {} % of Istio's requests answered with 500-599 fails"),
    "spec.analysis.errors.overSourcePercent": _number(
        "more than TCM's own percentage plus {} points fails as well; the lower limit counts"
    ),
    "spec.analysis.latency": _latency,
    "spec.analysis.latency.quantile": _quantile,
    "spec.analysis.latency.maxMs": _max_ms,
    "spec.analysis.latency.overSourceRatio": _number(
        "more than {} times TCM's own quantile fails as well; the lower limit counts"
    ),
    "spec.onFailure": _said("a failing verdict sends everything back to TCM at once, in the middle of a soak too"),
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
