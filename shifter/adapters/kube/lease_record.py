"""What stands in a Lease object, and how it is written. Pure: plain objects in, plain objects out.

`leaseTransitions` is the epoch. `renewTime` is for people, but it also tells one renewal from another, so that one
whose answer was lost is known again; nobody reckons with it. Two annotations are shifter's own: to which installation
the lease belongs, and that who held it let go of it in good order.

Fields: `coordination.k8s.io/v1` Lease of the Kubernetes API reference.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shifter.adapters.kube.objects import MANAGED, moment
from shifter.core.documents.leasing import LONGEST_SECONDS
from shifter.ports.kube import LEASES, Body

INSTALLATION: Final = "shifter.io/installation"
RELEASED: Final = "shifter.io/released"
"""The epoch that ended in good order: nothing that was begun in it is under way any more."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who wants which lease. `identity` is unique per process: one that starts again is another holder.

    `installation` tells two installations apart that were given one namespace by mistake.
    """

    namespace: str
    identity: str
    installation: str
    name: str = "shifter"

    @property
    def place(self) -> str:
        """As people write it: `shifter-system/shifter`."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A Lease as far as it matters: who holds it (empty: nobody), in which epoch, and for how long others wait.

    `version` tells every two writes apart. `renewal` is the text of its time. `released`: let go of in good order.
    """

    version: tuple[str, str]
    holder: str
    epoch: int
    duration_seconds: int
    renewal: str
    installation: str
    released: bool


def read(body: Body) -> LeaseRecord:
    """Return what stands in a Lease; what somebody left out or wrote by hand is as if it were not there."""
    metadata, spec = _mapping(body.get("metadata")), _mapping(body.get("spec"))
    notes = _mapping(metadata.get("annotations"))
    holder, epoch = _text(spec.get("holderIdentity")), _number(spec.get("leaseTransitions"))
    return LeaseRecord(
        version=(_text(metadata.get("uid")), _text(metadata.get("resourceVersion"))),
        holder=holder,
        epoch=epoch,
        # No shifter writes a longer one, and whoever did by hand must not keep everybody out for ever.
        duration_seconds=min(_number(spec.get("leaseDurationSeconds")), LONGEST_SECONDS),
        renewal=_text(spec.get("renewTime")),
        installation=_text(notes.get(INSTALLATION)),
        released=not holder and notes.get(RELEASED) == str(epoch),
    )


def taken(before: Body | None, claim: Claim, epoch: int, duration_seconds: int, at: datetime) -> Body:
    """Return the object by which somebody takes a lease that is there, or makes one."""
    body = copy.deepcopy(before) if before is not None else {}
    body |= {"apiVersion": LEASES.api_version, "kind": LEASES.name}
    metadata = body.setdefault("metadata", {"name": claim.name, "labels": dict(MANAGED)})
    notes = {**_mapping(metadata.get("annotations")), INSTALLATION: claim.installation}
    notes.pop(RELEASED, None)
    metadata["annotations"] = notes
    body["spec"] = {
        **_mapping(body.get("spec")),
        "holderIdentity": claim.identity,
        "leaseTransitions": epoch,
        "leaseDurationSeconds": int(duration_seconds),  # 30.0 would be refused
        "acquireTime": moment(at),
        "renewTime": moment(at),
    }
    return body


def renewed(before: Body, at: datetime) -> Body:
    """Return the object by which who holds a lease renews it."""
    return {**before, "spec": {**before["spec"], "renewTime": moment(at)}}


def let_go(before: Body, epoch: int, at: datetime, *, in_good_order: bool) -> Body:
    """Return the object by which who holds a lease gives it up."""
    metadata = dict(before["metadata"])
    notes = {**_mapping(metadata.get("annotations"))}
    if in_good_order:
        notes[RELEASED] = str(epoch)
    return {
        **before,
        "metadata": {**metadata, "annotations": notes},
        "spec": {**before["spec"], "holderIdentity": "", "renewTime": moment(at)},
    }


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
