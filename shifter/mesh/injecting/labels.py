"""Which mesh a namespace chooses by its labels, and what is kept of them for the way back: pure rules.

Two labels decide. `istio.io/rev` names a revision; `istio-injection` is older and wins wherever it stands: with any
value it keeps the webhooks of all revisions away. So exactly one of them is left on a namespace, since of two the one
that loses would tell a reader the wrong thing. TCM reads `istio.io/rev` alone, with its version in dashes
(https://cloud.tencent.com/document/product/1261/63059).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

INJECTION: Final = "istio-injection"
REVISION: Final = "istio.io/rev"
INJECT: Final = "sidecar.istio.io/inject"
KEPT: Final = "shifter.io/labels-before"
"""The annotation of a namespace that holds what shifter found on it and what it wrote."""

_ENABLED: Final = "enabled"
_DEFAULT: Final = "default"
_NEITHER: Final = "no label"


@dataclass(frozen=True, slots=True)
class Choice:
    """The two labels by which a namespace chooses its mesh; None where it does not have one."""

    injection: str | None = None
    revision: str | None = None

    @classmethod
    def of(cls, labels: Mapping[str, str] | None) -> Self:
        """Return what a namespace's labels choose."""
        given = labels or {}
        return cls(given.get(INJECTION), given.get(REVISION))

    @property
    def labels(self) -> Mapping[str, str]:
        """Those of the two that there are."""
        both = {INJECTION: self.injection, REVISION: self.revision}
        return {key: value for key, value in both.items() if value is not None}

    def put_into(self, labels: Mapping[str, str] | None) -> dict[str, str]:
        """Return a namespace's labels with these two as chosen; all others stay."""
        others = {key: value for key, value in (labels or {}).items() if key not in {INJECTION, REVISION}}
        return {**others, **self.labels}

    def __str__(self) -> str:
        """Return them as people write them."""
        return ", ".join(f"{key}={value}" for key, value in self.labels.items()) or _NEITHER


def wanted(revision: str | None) -> Choice:
    """Return what a namespace of the new mesh says: its revision, or `istio-injection` for the default one."""
    return Choice(injection=_ENABLED) if revision is None else Choice(revision=revision)


def selects(choice: Choice, pod_labels: Mapping[str, str] | None, revision: str | None) -> bool:
    """Say whether the new mesh's webhook is asked about a pod, as istiod writes its selectors.

    Args:
        choice: of the pod's namespace.
        pod_labels: of the pod, or of its template.
        revision: the new mesh's; None for the default one.
    """
    labels = pod_labels or {}
    if labels.get(INJECT) == "false":
        return False
    if choice.injection is not None:
        return revision is None and choice.injection == _ENABLED
    if choice.revision is not None:
        return choice.revision == (revision or _DEFAULT)
    if REVISION in labels:
        return labels[REVISION] == (revision or _DEFAULT)
    return revision is None and labels.get(INJECT) == "true"


@dataclass(frozen=True, slots=True)
class Kept:
    """What shifter found on a namespace before it first changed it, and what it wrote last."""

    before: Choice
    after: Choice

    def __str__(self) -> str:
        """Return it as the annotation holds it: one line of JSON."""
        return json.dumps({"before": self.before.labels, "after": self.after.labels}, sort_keys=True)

    @classmethod
    def of(cls, annotations: Mapping[str, str] | None) -> Self | None:
        """Return what an annotation holds; None if shifter changed nothing there.

        Raises:
            ValueError: somebody has written something else into it.
        """
        text = (annotations or {}).get(KEPT)
        if text is None:
            return None
        match json.loads(text):
            case {"before": dict(before), "after": dict(after)} if _are_labels(before) and _are_labels(after):
                return cls(Choice.of(before), Choice.of(after))
            case _:
                raise ValueError(text)


def _are_labels(found: Mapping[object, object]) -> bool:
    return all(isinstance(each, str) for pair in found.items() for each in pair)
