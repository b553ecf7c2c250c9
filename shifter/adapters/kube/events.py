"""Events: what happened to a shift, where people with kubectl look first. Copies of records that the cluster forgets.

Field rules: `events.k8s.io/v1` Event of the Kubernetes API reference (`note` 1,024 bytes, `reason` 128 letters).
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from shifter.adapters.kube.objects import MANAGED, kind_of, moment, object_name, record_name
from shifter.adapters.saved_records import read_moment
from shifter.core.chain import Link
from shifter.core.records import What
from shifter.ports.kube import EVENTS, Body, KubeApi, KubeError

CONTROLLER: Final = "shifter.io/shifter"

REASONS: Final = MappingProxyType(
    {
        What.ORDER: "Ordered",
        What.INTENT: "WriteBegun",
        What.DONE: "WriteDone",
        What.FAILED: "WriteFailed",
        What.ADOPTED: "Adopted",
        What.PHASE: "PhaseChanged",
        What.HOLDS: "HoldsChanged",
        What.POLICY: "PolicyChanged",
        What.CEILING: "CeilingChanged",
        What.PIN: "AutoscalerPinned",
        What.COPIED: "StoreCopied",
    }
)
"""The reason of an event by the kind of its record: a fixed word, for whoever alerts on one."""

_WARNINGS: Final = frozenset({What.FAILED, What.ADOPTED, What.CEILING})
_NOTE_BYTES: Final = 1024


def event_body(chain: str, uid: str, link: Link, instance: str) -> Body | None:
    """Return the event of a record; None of a kind that people need not see.

    Args:
        chain: whose record it is.
        uid: of the object that keeps the state, by which `kubectl describe` finds its events.
        link: the record.
        instance: which process says so.
    """
    if link.what not in REASONS:
        return None
    what, kind = What(link.what), kind_of(chain)
    return EVENTS.body(
        metadata={"name": record_name(chain, link.id), "labels": dict(MANAGED)},
        eventTime=moment(_at(link)),
        reportingController=CONTROLLER,
        reportingInstance=instance[:128] or "shifter",
        action=REASONS[what],
        reason=REASONS[what],
        regarding={"apiVersion": kind.api_version, "kind": kind.name, "name": object_name(chain), "uid": uid},
        note=_note(link),
        type="Warning" if what in _WARNINGS else "Normal",
    )


def tell(api: KubeApi, namespace: str, body: Body | None) -> None:
    """Create an event. One that cannot be is left out: the record is what counts, and it is kept."""
    if body is not None:
        body = {**body, "regarding": {**body["regarding"], "namespace": namespace}}
        with suppress(KubeError):
            api.create(EVENTS, namespace, body)


def _note(link: Link) -> str:
    by = f"{link.by}: " if link.by and link.by != "shifter" else ""
    return (by + link.reason).encode()[:_NOTE_BYTES].decode(errors="ignore") or link.what


def _at(link: Link) -> datetime:
    try:
        return read_moment(link.at)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
