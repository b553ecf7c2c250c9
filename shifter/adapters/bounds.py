"""How much of a text, of evidence and of a report is kept, whatever they quote: one place for every store.

A store in a cluster refuses what is larger than its definitions say, and would refuse it for ever: what cannot be saved
is given to it again in every tick. So what people read is shortened before it comes to a store. A state is not: where
one is too large for a cluster, that is said.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Final

from shifter.core.chain import Link
from shifter.core.state import FindingReport, HoldReport, Report
from shifter.core.text import shortened

LONGEST_TEXT: Final = 4_000
"""Most characters of a reason, or of what is answered to an order."""

LONGEST_EVIDENCE: Final = 200_000
"""Most characters of one record's evidence, ten times what any usual one has."""

LARGEST_REPORT_BYTES: Final = 128 * 1024
"""A report of which more would be kept is kept in brief."""

LARGEST_STATE_BYTES: Final = 768 * 1024
"""Most of a state in a cluster: beside it are records and a report, and etcd takes 1.5 MiB of one object."""

_BRIEF: Final = 500
_FEW: Final = 20
_SOME: Final = 50
_MANY: Final = 256


def kept_text(text: str) -> str:
    """Return a text as every store keeps it: no novel."""
    return shortened(text, LONGEST_TEXT)


def kept_link(link: Link) -> Link:
    """Return a record's texts as every store keeps them. Evidence has to be whole to be read, so it is all or none."""
    evidence = link.evidence
    if len(evidence) > LONGEST_EVIDENCE:
        evidence = f'{{"omitted":"{len(evidence)} characters of evidence"}}'
    return replace(link, reason=kept_text(link.reason), evidence=evidence)


def in_brief(report: Report) -> Report:
    """Return a report with a part of everything that a policy, a cloud or a mesh may have very much of."""
    return report.model_copy(
        update={
            "namespaces": report.namespaces[:_MANY],
            "reason": _brief(report.reason),
            "said": _brief(report.said),
            "failure": _brief(report.failure),
            "holds": tuple(HoldReport(kind=hold.kind, reason=_brief(hold.reason)) for hold in report.holds[:_FEW]),
            "findings": tuple(map(_brief_finding, report.findings[:_SOME])),
            "warnings": tuple(map(_brief, report.warnings[:_FEW])),
            "members": {route: _brief(told) for route, told in islice(report.members.items(), _SOME)},
            "dropped": {pod: _brief(why) for pod, why in islice(report.dropped.items(), _SOME)},
        }
    )


def _brief(text: str) -> str:
    return shortened(text, _BRIEF)


def _brief_finding(finding: FindingReport) -> FindingReport:
    return finding.model_copy(update={"text": _brief(finding.text)})
