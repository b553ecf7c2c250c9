"""One request to an API server before it is sent: which path, which question, which body.

A name that is no name is refused here: a path with an empty one would mean all objects of a kind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from shifter.ports.kube import Body, Failing, Kind, KubeError

JSON: Final = "application/json"
APPLIED: Final = "application/apply-patch+yaml"
"""What is applied is YAML by name, and JSON is YAML."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for. `writes` says whether it may change something, `content` what its body is."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Body | None = None
    writes: bool = False
    content: str = JSON

    @property
    def sent(self) -> Body | str | None:
        """The body as the client library takes it: it writes JSON by itself, and anything else as it is."""
        return self.body if self.content == JSON or self.body is None else json.dumps(self.body)


def collection(kind: Kind, namespace: str, *, whole: bool = False) -> str:
    """Return the path of all objects of a kind; with `whole`, of those of one namespace, which must be named."""
    start = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.api_version}"
    if not kind.namespaced or (not namespace and not whole):
        return f"{start}/{kind.plural}"
    return f"{start}/namespaces/{_segment(namespace)}/{kind.plural}"


def path_of(kind: Kind, namespace: str, name: str) -> str:
    """Return the path of one object."""
    return f"{collection(kind, namespace, whole=True)}/{_segment(name)}"


def _segment(name: str) -> str:
    """Return a name as part of a path. A DELETE of an empty one would delete all there are."""
    if not name or name in {".", ".."} or "/" in name or "%" in name:
        raise KubeError(Failing.INVALID, f"{name[:100]!r} cannot be the name of an object")
    return quote(name, safe="")


def selecting(labels: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """Return the part of a question that asks only for what has these labels."""
    return (("labelSelector", ",".join(f"{key}={value}" for key, value in sorted(labels.items()))),) if labels else ()
