"""An object without what only its old cluster has put on it; what a person meant by it stays, to the last empty brace.

What goes, and why:

- `status`: what the old cluster found; the new one finds its own.
- Everything in `metadata` but name, namespace, labels and annotations. `uid`, `resourceVersion`, `generation`,
  `creationTimestamp`, `selfLink` and `managedFields` are the old server's bookkeeping; an apply that names a `uid` or
  `resourceVersion` of another server is refused. `ownerReferences` name owners by the old uid: the garbage collector of
  the new cluster would not find them and delete the object. `finalizers` wait for a controller that is not there: the
  object could never be deleted again. A list of what stays, rather than of what goes, so that a field which a later
  server invents does not travel by accident.
- The annotation in which `kubectl apply` remembers its last file: it would be compared with files of the new cluster.
- Labels and annotations of `tcm.cloud.tencent.com`: they name the old mesh.
- The label `istio.io/rev` if it names TCM's revision: an istiod of another revision ignores objects that have it
  (`ObjectInRevision` in Istio's `pkg/config/model.go`), silently. Another value stays, and lint tells it.

What `kubectl neat`, which the guide uses, takes away besides, and this does not: empty maps and lists. In Istio they
mean something. An AuthorizationPolicy with `rules: [{}]` allows everything and one without rules nothing; a match of
`source: {}`, an `outlierDetection: {}`, an `egress: []` and the empty configuration of an Envoy filter are the same.
Below `spec`, `data` and whatever else stands at the top nothing is touched.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from shifter.ports.kube import Body, Kind

FIRST: Final = ("apiVersion", "kind", "metadata")
"""What an object begins with, as people write it."""

REVISION_LABEL: Final = "istio.io/rev"

_KEPT: Final = ("name", "namespace", "labels", "annotations")
_DROPPED: Final = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})
_DOMAIN_OF_TCM: Final = "tcm.cloud.tencent.com"


def cleaned(body: Mapping[str, Any], kind: Kind, revisions: Collection[str] = ()) -> Body:
    """Return a clean copy of an object; what stands below `spec` is shared with the one that came.

    Args:
        body: the object as a server sent it. Of a list of Kubernetes' own kinds the items do not say what they are.
        kind: what it is, in the version that it shall name; a server turns one into another by the name alone.
        revisions: of the old control plane; an object that is bound to one of them is bound no longer.
    """
    metadata = mapping(body.get("metadata"))
    kept: Body = {key: metadata[key] for key in _KEPT if key in metadata}
    for key in ("labels", "annotations"):
        words = {name: value for name, value in mapping(kept.pop(key, None)).items() if not _is_of_old(name)}
        if key == "labels" and words.get(REVISION_LABEL) in set(revisions):
            del words[REVISION_LABEL]
        if words:
            kept[key] = words
    rest = {key: value for key, value in body.items() if key not in {*FIRST, "status"}}
    return kind.body(metadata=kept, **rest)


def mapping(value: object) -> Mapping[str, Any]:
    """Return a part of a body if it is a mapping, else an empty one: servers leave out what is empty, or say null."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> list[Any]:
    """Return a part of a body if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def _is_of_old(name: str) -> bool:
    domain = name.partition("/")[0]
    return name in _DROPPED or domain == _DOMAIN_OF_TCM or domain.endswith(f".{_DOMAIN_OF_TCM}")
