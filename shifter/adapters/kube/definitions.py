"""The definitions of shifter's kinds that a cluster has, held against what this shifter writes.

A structural schema drops what it does not know, without a word. So a definition of an earlier shifter loses what a
later one saves, while one of a later shifter only has more: nothing of ours is lost in that. What is defined is read
where everybody who is logged in may read it, in the server's OpenAPI document: definitions themselves are objects of
the whole cluster, which neither the service nor who is on call has any business with.

Sources: "Kubernetes API Concepts" on OpenAPI v3 and discovery; the ClusterRole system:discovery.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from shifter.adapters.kube.failures import DEFINE
from shifter.adapters.kube.kinds import OUR_GROUP, OUR_VERSION, SHIFT_FLEETS, SHIFT_ORDERS, SHIFT_RECORDS, SHIFTS
from shifter.core.text import some
from shifter.errors import RefusedError
from shifter.ports.clusters import Definition
from shifter.ports.kube import Body, Failing, Kind, KubeError

_RECORD: Final = ("id", "at", "shift", "what", "by", "reason", "sequence", "epoch", "evidence", "hash")
_ANSWER: Final = ("id", "answer", "text", "at")
_STATUS: Final = (
    "version",
    "savedBy",
    "writtenFor",
    "epoch",
    "state",
    *(f"history.{seal}.{field}" for seal in ("head", "anchor") for field in ("id", "hash")),
    *(f"history.unflushed.{field}" for field in _RECORD),
    *(f"answers.{field}" for field in ("order", *_ANSWER)),
    "message",
)

WRITTEN: Final[Mapping[Kind, tuple[str, ...]]] = {
    SHIFTS: (
        *(f"spec.{field}" for field in ("namespaces", "steps")),
        *(f"status.{field}" for field in (*_STATUS, "report", "phase", "share", "wanted", "written")),
        *(f"status.{field}" for field in ("observed", "step", "verdict", "holds")),
        *(f"status.intent.{field}" for field in ("sequence", "epoch", "from", "to")),
    ),
    SHIFT_FLEETS: tuple(f"status.{field}" for field in (*_STATUS, "frozen")),
    SHIFT_ORDERS: (
        *(f"spec.{field}" for field in ("shift", "verb", "by", "reason", "full", "override", "share")),
        *(f"spec.{field}" for field in ("handsOffSeconds", "adopt")),
        *(f"status.{field}" for field in _ANSWER),
    ),
    SHIFT_RECORDS: tuple(f"spec.{field}" for field in ("chain", *_RECORD)),
}
"""What this shifter keeps in objects of each kind; entries of a list by the list's name."""

_LEFT_ALONE: Final = frozenset(
    {
        "spec",
        "status.observedGeneration",
        *(f"status.conditions.{each}" for each in ("type", "status", "reason", "message", "lastTransitionTime")),
        "status.conditions.observedGeneration",
    }
)
"""What is defined and holds nothing that shifter reads back."""

_GROUP_PATH: Final = f"/apis/{OUR_GROUP}"
_VERSION_PATH: Final = f"{_GROUP_PATH}/{OUR_VERSION}"
_SCHEMA_PATH: Final = f"/openapi/v3/apis/{OUR_GROUP}/{OUR_VERSION}"
_OURS: Final = frozenset({"spec", "status"})


class Documents(Protocol):
    """What an API server says of itself."""

    def document(self, path: str) -> Body:
        """Return what lies under a path that is no object's, such as `/apis/shifter.io`.

        Raises:
            KubeError: as any read.
        """


def read_definitions(api: Documents) -> tuple[Definition, ...]:
    """Return how the cluster defines each kind.

    Raises:
        KubeError: it cannot be told.
    """
    schemas = _schemas(_found(api, _SCHEMA_PATH))
    others: tuple[str, ...] = ()
    if lacking := [kind for kind in WRITTEN if kind.name not in schemas]:
        _refuse_unpublished(api, lacking)
        others = tuple(each for each in _versions(_found(api, _GROUP_PATH)) if each != OUR_VERSION)
    return tuple(
        _definition(kind, schemas[kind.name]) if kind.name in schemas else _undefined(_name(kind), others)
        for kind in WRITTEN
    )


def refuse_unfit(api: Documents) -> None:
    """Refuse to work with definitions that would lose what is saved, or that are not there.

    Raises:
        RefusedError: they would; says which, of what, and the command that mends it.
        KubeError: it cannot be told.
    """
    if unfit := [each for each in read_definitions(api) if each.trouble]:
        raise RefusedError("; ".join(each.trouble for each in unfit), remedy=unfit[0].remedy)


def _found(api: Documents, path: str) -> Body:
    try:
        return api.document(path)
    except KubeError as error:
        if error.failing is Failing.MISSING:
            return {}
        raise


def _refuse_unpublished(api: Documents, lacking: Sequence[Kind]) -> None:
    """Refuse to call a kind undefined that is served: a server that has just started publishes schemas last of all."""
    served = {str(each.get("name", "")) for each in _found(api, _VERSION_PATH).get("resources") or ()}
    if unpublished := [_name(kind) for kind in lacking if kind.plural in served]:
        said = f"the API server serves {', '.join(unpublished)} and does not say yet how they are defined"
        raise KubeError(Failing.UNAVAILABLE, said)


def _versions(group: Body) -> Iterator[str]:
    for each in group.get("versions") or ():
        yield str(each.get("version", ""))


def _schemas(document: Body) -> dict[str, Body]:
    """Return the schemas of our kinds, by the kind's name."""
    components = document.get("components") or {}
    wanted = {(OUR_GROUP, OUR_VERSION, kind.name): kind.name for kind in WRITTEN}
    found: dict[str, Body] = {}
    for schema in (components.get("schemas") or {}).values():
        for told in schema.get("x-kubernetes-group-version-kind") or ():
            name = wanted.get((told.get("group"), told.get("version"), told.get("kind")))
            if name is not None:
                found[name] = schema
    return found


def _definition(kind: Kind, schema: Body) -> Definition:
    name, known, written = _name(kind), set(_paths(schema)), WRITTEN[kind]
    more = tuple(sorted(known - set(written) - _LEFT_ALONE))
    if missing := [path for path in written if path not in known]:
        trouble = (
            f"{name} is defined without {some(missing, 5)}: the definition is of an earlier shifter, and the cluster"
            " would drop what is written there"
        )
        return Definition(name, trouble, DEFINE, more)
    return Definition(name, more=more)


def _undefined(name: str, others: Sequence[str]) -> Definition:
    if not others:
        return Definition(name, f"{name} is not defined in this cluster", DEFINE)
    trouble = (
        f"{name} is defined as {', '.join(others)} and not as {OUR_VERSION}, which this shifter speaks: the"
        " definitions are of a later one"
    )
    return Definition(name, trouble, "run the later version of shifter, which they were installed for")


def _paths(schema: Body, at: str = "") -> Iterator[str]:
    """Yield every field below `spec` and `status` that holds a value or takes anything."""
    properties = schema.get("properties") or (schema.get("items") or {}).get("properties") or {}
    if not properties and at:
        yield at
    for name, inner in properties.items():
        if at or name in _OURS:
            yield from _paths(inner, f"{at}.{name}" if at else name)


def _name(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}"
