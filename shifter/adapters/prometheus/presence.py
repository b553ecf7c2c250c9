"""Which pods an answer shows and when each was sampled, and the sentence for an answer that shows none.

Here "no data" is told apart: a clock that is wrong, a pod that is there twice, samples that are too old, nothing at
all. Every sentence says whose Prometheus it is, what is wrong, and what to do if that is short.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from shifter.adapters.prometheus.promql import AHEAD_SECONDS, selector
from shifter.adapters.prometheus.transport import Answer, Sample
from shifter.core.documents.fleet import Datasource
from shifter.core.text import some

MOST_AHEAD_SECONDS = 5.0
"""Clocks that are kept by NTP agree better. An answer of a clock that is ahead describes the past by as much."""

_FUTURE_SECONDS = 1.0
_VALUES_SHOWN = 3
_PODS_SHOWN = 3


def refuse_ahead(answer: Answer, now: float) -> None:
    """Refuse a datasource whose newest sample is from the future.

    Args:
        answer: of `Queries.newest`; empty if there is no sample at all.
        now: seconds since the epoch, by shifter's clock, when it was answered.

    Raises:
        MetricsUnavailableError: the newest sample is ahead of `now` by more than clocks may differ.
    """
    newest = max((sample.value for sample in answer.samples), default=now)
    ahead = newest - now
    if ahead > MOST_AHEAD_SECONDS:
        # Later samples than this were not asked for.
        more = "or more " if ahead > AHEAD_SECONDS - 2 * MOST_AHEAD_SECONDS else ""
        raise answer.refusal(f"a sample is {ahead:.0f} s {more}from the future: {_set_the_clocks('ahead of')}")


def instants_by_pod(answer: Answer, pod_label: str, at: float) -> dict[str, float]:
    """Return an instant (seconds since the epoch) per pod.

    Args:
        answer: rows whose values are instants.
        pod_label: the label that names the pod.
        at: the time of the read.

    Raises:
        MetricsUnavailableError: a row without a pod, a pod in two rows, or an instant after `at`.
    """
    rows: dict[str, Sample] = {}
    for sample in answer.samples:
        pod = pod_of(answer, sample, pod_label)
        if pod in rows:
            raise answer.refusal(_twice(pod, rows[pod].labels, sample.labels))
        if not 0 < sample.value <= at + _FUTURE_SECONDS:
            raise answer.refusal(f"answered {sample.value!r} for pod {pod!r}, which is no instant in the past")
        rows[pod] = sample
    return {pod: sample.value for pod, sample in rows.items()}


def pod_of(answer: Answer, sample: Sample, pod_label: str) -> str:
    """Return the pod that a row is about.

    Raises:
        MetricsUnavailableError: the row has no such label.
    """
    pod = sample.labels.get(pod_label, "")
    if not pod:
        raise answer.refusal(f"a series has no label {pod_label!r}; say in the fleet's labels what the pod is called")
    return pod


def _twice(pod: str, first: Mapping[str, str], second: Mapping[str, str]) -> str:
    differing = sorted(label for label in first.keys() | second.keys() if first.get(label) != second.get(label))
    said = ", ".join(
        f"{label} is {first.get(label, '')!r} and {second.get(label, '')!r}" for label in differing[:_VALUES_SHOWN]
    )
    why = f" ({said}): add a matcher that keeps one, to matchers and podMatchers" if said else ""
    return f"pod {pod!r} is there twice, its requests would count twice{why}"


def refuse_strangers(answer: Answer, up: AbstractSet[str], counted: AbstractSet[str], label: str) -> None:
    """Refuse request series that name none of the pods that are up, for instance one sum of all pods.

    Raises:
        MetricsUnavailableError: both are there and have no pod in common.
    """
    if up and counted and not up & counted:
        raise answer.refusal(
            f"requests are counted for {_pods(counted)}, but the pods that are up are {_pods(up)}: the label "
            f"{label!r} must name the gateway's pod in both (are requests recorded or federated without it?)"
        )


def why_none(
    datasource: Datasource, instants: Sequence[float], at: float, max_age_seconds: float, clock: Callable[[], float]
) -> str:
    """Return why no pod is fresh.

    Args:
        datasource: names and matchers, for the sentence.
        instants: the newest sample of every pod there is, none of them fresh (seconds since the epoch).
        at: the time of the read.
        max_age_seconds: the age up to which a sample counts as seen.
        clock: by how much Prometheus' clock is ahead of shifter's, seconds; NaN if nobody knows.
    """
    ahead = clock()
    behind = f"; its clock is {-ahead:.0f} s behind: {_set_the_clocks('behind')}" if ahead < -MOST_AHEAD_SECONDS else ""
    if not instants:
        metrics = datasource.metrics
        pods = selector(metrics.uptime, datasource.pod_matchers)
        requests = selector(metrics.requests, datasource.matchers)
        why = behind or ": it is gone or not scraped, or podMatchers and matchers in the fleet are wrong"
        return f"shows no gateway pod, neither {pods} nor {requests}{why}"
    age = at - max(instants)
    old = (
        f"shows no gateway pod with a fresh sample: the newest of {len(instants)} pods is {age:.0f} s old, "
        f"sampleMaxAge is {max_age_seconds:g} s"
    )
    return old + (behind or "; it scrapes no more, or samples reach it late")


def _set_the_clocks(how: str) -> str:
    other = "behind" if how == "ahead of" else "ahead"
    return f"Prometheus' clock is {how} shifter's, or shifter's is {other}; set them right"


def _pods(names: AbstractSet[str]) -> str:
    return some(sorted(names), _PODS_SHOWN)
