"""Looking at a whole configuration: each object by itself, then what one object says of another.

Objects come one at a time and are let go of; what is kept is which Gateways there are, and the findings. So ten
thousand objects take as much memory as their findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from shifter.mesh.configuration.findings import Finding, FindingRule, Said, Subject, Target
from shifter.mesh.configuration.kinds import GATEWAY, kind_of
from shifter.mesh.configuration.lint_common import common_rules, made_by, unknown_kind
from shifter.mesh.configuration.lint_envoy import envoy_filter_rules
from shifter.mesh.configuration.lint_gateways import bound_gateways, gateway_rules
from shifter.mesh.configuration.lint_security import security_rules
from shifter.mesh.configuration.opening import Stored

MOST_FINDINGS: Final = 100_000
"""More are not told: whoever mends so many asks again."""

_RULES: Final[tuple[Callable[[Subject, Target], Iterator[Said]], ...]] = (
    common_rules,
    gateway_rules,
    security_rules,
    envoy_filter_rules,
)


def findings_of(objects: Iterable[Stored], target: Target, most: int = MOST_FINDINGS) -> tuple[Finding, ...]:
    """Return everything that is to be said of a configuration, by file, line and rule.

    Args:
        objects: the files of an export, in any order.
        target: what is known of the new mesh.
        most: once there are so many, no further object is looked at.
    """
    found: list[Finding] = []
    gateways: set[str] = set()
    bound: list[tuple[str, Finding]] = []
    for stored in objects:
        if len(found) >= most:
            break
        if stored.identity is None or stored.read.value is None:
            found += _unreadable(stored)
            continue
        kind = kind_of(stored.read.value)
        if kind is None:
            found.append(_finding(stored, unknown_kind(stored.read.value)))
            continue
        subject = Subject(kind, stored.read.value, stored.identity.namespace, stored.identity.name)
        found += [_finding(stored, said) for rule in _RULES for said in rule(subject, target)]
        if stored.entry is not None and stored.entry.owner:
            found.append(_finding(stored, made_by(stored.entry.owner)))
        if kind is GATEWAY:
            gateways.add(f"{subject.namespace}/{subject.name}")
        bound += [(name, _finding(stored, _not_there(name, at))) for name, at in bound_gateways(subject)]
    found += [finding for name, finding in bound if name not in gateways]
    return tuple(sorted(found))


def _not_there(name: str, at: tuple[str | int, ...]) -> Said:
    said = f"is bound to the Gateway {name[:120]}, which the export does not have: nobody would reach these routes"
    return Said(FindingRule.GATEWAY_MISSING, at, said, "export its namespace as well, or bind it to another Gateway")


def _finding(stored: Stored, said: Said) -> Finding:
    line, column = stored.read.place(said.path)
    path = ".".join(map(str, said.path))
    about = str(stored.identity)
    return Finding(stored.path, line, column, path, said.rule, about, said.message, said.remedy, stored.read.line(line))


def _unreadable(stored: Stored) -> Iterator[Finding]:
    for problem in stored.read.problems:
        yield Finding(
            *(stored.path, problem.line, problem.column, problem.path, FindingRule.UNREADABLE, ""),
            *(problem.message, problem.hint, problem.source_line),
        )
