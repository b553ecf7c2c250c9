"""What lint says of a configuration before it is applied: a rule, how bad it is, where, why, and what to do about it.

An error breaks traffic on the new mesh, or the apply itself. A warning may, depending on what nobody can see from here.
A note is worth knowing. What depends on the new mesh is only looked for if it is known (`Target`): no finding about
Secrets does not mean that they are there if nobody told which there are, so `unchecked` tells what was not looked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from shifter.errors import Problem
from shifter.mesh.configuration.kinds import ConfigKind, Minor, minor_of
from shifter.mesh.configuration.reading import At


class Severity(StrEnum):
    """How bad a finding is. Programs may rely on the words; SARIF has the same."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class FindingRule(StrEnum):
    """Which kind of finding it is: stable names for programs, and for lists of what is known and accepted."""

    UNREADABLE = "unreadable"
    KIND_REMOVED = "kind-removed"
    KIND_UNKNOWN = "kind-unknown"
    VERSION_NOT_SERVED = "version-not-served"
    REVISION_LABEL = "revision-label"
    MADE_BY_CONTROLLER = "made-by-controller"
    KEPT_ELSEWHERE = "kept-elsewhere"
    NAMESPACE_MISSING = "namespace-missing"
    TCM_PORT_NAME = "tcm-port-name"
    TCM_CERTIFICATE = "tcm-certificate"
    CERTIFICATE_FILE = "certificate-file"
    SECRET_MISSING = "secret-missing"  # noqa: S105 - the name of a rule
    NO_SUCH_GATEWAY = "no-gateway-selected"
    GATEWAY_MISSING = "gateway-missing"
    GATEWAY_DEPLOYS = "gateway-deploys"
    ENVOY_FILTER = "envoy-filter"
    OTHER_RELEASE = "envoy-filter-other-release"
    OLD_FILTER_NAME = "envoy-filter-old-name"
    ENVOY_API_V2 = "envoy-api-v2"
    STRICT_MTLS = "strict-mtls"
    PRINCIPALS = "principal-authorization"
    TRUST_DOMAIN = "trust-domain"
    PROVIDER_MISSING = "provider-missing"


SEVERITIES: Final[Mapping[FindingRule, Severity]] = {
    FindingRule.UNREADABLE: Severity.ERROR,
    FindingRule.KIND_REMOVED: Severity.ERROR,
    FindingRule.KIND_UNKNOWN: Severity.WARNING,
    FindingRule.VERSION_NOT_SERVED: Severity.ERROR,
    FindingRule.REVISION_LABEL: Severity.ERROR,
    FindingRule.MADE_BY_CONTROLLER: Severity.NOTE,
    FindingRule.KEPT_ELSEWHERE: Severity.NOTE,
    FindingRule.NAMESPACE_MISSING: Severity.WARNING,
    FindingRule.TCM_PORT_NAME: Severity.ERROR,
    FindingRule.TCM_CERTIFICATE: Severity.ERROR,
    FindingRule.CERTIFICATE_FILE: Severity.WARNING,
    FindingRule.SECRET_MISSING: Severity.ERROR,
    FindingRule.NO_SUCH_GATEWAY: Severity.ERROR,
    FindingRule.GATEWAY_MISSING: Severity.ERROR,
    FindingRule.GATEWAY_DEPLOYS: Severity.WARNING,
    FindingRule.ENVOY_FILTER: Severity.WARNING,
    FindingRule.OTHER_RELEASE: Severity.WARNING,
    FindingRule.OLD_FILTER_NAME: Severity.NOTE,
    FindingRule.ENVOY_API_V2: Severity.ERROR,
    FindingRule.STRICT_MTLS: Severity.WARNING,
    FindingRule.PRINCIPALS: Severity.WARNING,
    FindingRule.TRUST_DOMAIN: Severity.WARNING,
    FindingRule.PROVIDER_MISSING: Severity.ERROR,
}

MEANINGS: Final[Mapping[FindingRule, str]] = {
    FindingRule.UNREADABLE: "A file that cannot be read as one object.",
    FindingRule.KIND_REMOVED: "A kind that no release of Istio since 1.8 has.",
    FindingRule.KIND_UNKNOWN: "A kind that is no part of a mesh's configuration as it is known here.",
    FindingRule.VERSION_NOT_SERVED: "A version of a kind that the new mesh does not serve.",
    FindingRule.REVISION_LABEL: "An object that is bound to another control plane, and ignored by the new one.",
    FindingRule.MADE_BY_CONTROLLER: "An object that a controller made in the old cluster.",
    FindingRule.KEPT_ELSEWHERE: "An object that Helm, Argo CD or Flux keeps.",
    FindingRule.NAMESPACE_MISSING: "A namespace that is named, and neither exported nor in the new mesh.",
    FindingRule.TCM_PORT_NAME: "A port whose name makes TCM terminate TLS at the load balancer; Istio does not.",
    FindingRule.TCM_CERTIFICATE: "A certificate of Tencent's SSL service, which only TCM's gateways can load.",
    FindingRule.CERTIFICATE_FILE: "A certificate that is read from a file in the gateway's pod.",
    FindingRule.SECRET_MISSING: "A Secret that is needed, and not where it is needed.",
    FindingRule.NO_SUCH_GATEWAY: "A Gateway that selects no gateway of the new mesh.",
    FindingRule.GATEWAY_MISSING: "A Gateway that is named, and not exported.",
    FindingRule.GATEWAY_DEPLOYS: "A Gateway for which Istio creates a load balancer of its own.",
    FindingRule.ENVOY_FILTER: "A change to Envoy's own configuration, which is tied to one release of it.",
    FindingRule.OTHER_RELEASE: "A change to Envoy's configuration that proxies of the new release do not get.",
    FindingRule.OLD_FILTER_NAME: "An Envoy filter under a name that Envoy has given up.",
    FindingRule.ENVOY_API_V2: "Configuration in a form that Envoy has given up.",
    FindingRule.STRICT_MTLS: "Workloads that take no calls from the other mesh.",
    FindingRule.PRINCIPALS: "A rule about callers' identities, which callers from the other mesh do not have.",
    FindingRule.TRUST_DOMAIN: "A rule about identities of another trust domain than the new mesh's.",
    FindingRule.PROVIDER_MISSING: "A provider that is named, and not in the new mesh's settings.",
}
"""What each rule means, in a sentence."""


@dataclass(frozen=True, slots=True)
class GatewayPods:
    """A gateway of the new mesh: its namespace and the labels of its pods, by which a Gateway selects it."""

    namespace: str
    name: str
    labels: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Target:
    """What is known of the new mesh; what is None is not known, and what depends on it is not looked for.

    `release` is Istio's (1.18.5), `revision` that of its control plane (empty: `default`), `served` the versions by
    kind as discovery tells them (not known: what the release serves), `secrets` pairs of namespace and name,
    `namespaces` those that are in the new cluster or come with the export, `providers` the names in
    `meshConfig.extensionProviders`.
    """

    release: str | None = None
    revision: str = ""
    served: Mapping[ConfigKind, Collection[str]] | None = None
    gateways: tuple[GatewayPods, ...] | None = None
    secrets: Collection[tuple[str, str]] | None = None
    namespaces: Collection[str] | None = None
    providers: Collection[str] | None = None
    trust_domain: str | None = None

    @property
    def minor(self) -> Minor | None:
        """The release as far as it decides what is served."""
        return None if self.release is None else minor_of(self.release)

    @property
    def unchecked(self) -> tuple[str, ...]:
        """What could not be looked for, in words; empty if everything was known."""
        unknown = {
            "whether the new mesh serves the versions": self.release is None and self.served is None,
            "whether EnvoyFilters are for the new release": self.release is None,
            "whether Gateways select a gateway": self.gateways is None,
            "whether Secrets are there": self.secrets is None,
            "whether namespaces are there": self.namespaces is None,
            "whether providers are there": self.providers is None,
            "whether principals are of the new trust domain": self.trust_domain is None,
        }
        return tuple(words for words, missing in unknown.items() if missing)


@dataclass(frozen=True, slots=True)
class Said:
    """What a rule says of one place of one object."""

    rule: FindingRule
    path: At
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One finding with its place: `line` and `column` count from 1, 0 is the file as a whole.

    `about` is the object (`Gateway shop/front`), `path` the place in it, `source_line` the text of the line.
    """

    file: str
    line: int
    column: int
    path: str
    rule: FindingRule
    about: str
    message: str
    remedy: str = ""
    source_line: str = ""

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return SEVERITIES[self.rule]

    @property
    def problem(self) -> Problem:
        """The same as the other lints have it, for what shows problems: as text with a caret, JSON or SARIF."""
        message = f"{self.about}: {self.message}" if self.about else self.message
        return Problem(
            self.file, self.line, self.column, self.path, message, self.remedy, self.source_line, str(self.rule)
        )


def by_severity(findings: Iterable[Finding]) -> dict[Severity, tuple[Finding, ...]]:
    """Return findings by how bad they are, each in order; every severity is there."""
    found = sorted(findings)
    return {severity: tuple(each for each in found if each.severity is severity) for severity in Severity}


@dataclass(frozen=True, slots=True)
class Subject:
    """An object that rules look at. `kind` is one of those that are known."""

    kind: ConfigKind
    body: Mapping[str, Any] = field(hash=False)
    namespace: str = ""
    name: str = ""

    @property
    def spec(self) -> Mapping[str, Any]:
        """What a person wants of it; empty if nothing stands there."""
        spec = self.body.get("spec")
        return spec if isinstance(spec, Mapping) else {}
