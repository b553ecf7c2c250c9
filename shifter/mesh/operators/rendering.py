"""Which release renders which cluster: the door to this room.

A member cannot be rendered before the primary's east-west gateway has an address, which TKE gives it. There is no
placeholder for it: a text that looks complete would be applied by somebody, and a member that looks for istiod at a
made-up address fails only when its first pod starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from types import MappingProxyType, ModuleType
from typing import Final

from shifter.core.documents.mesh import Member, Mesh, release_line
from shifter.errors import RefusedError
from shifter.mesh.operators import release_1_18, release_1_31
from shifter.mesh.operators.putting import Json
from shifter.mesh.yaml_text import BY_HAND, yaml_text

_RELEASES: Final[Mapping[str, ModuleType]] = MappingProxyType({"1.18": release_1_18, "1.31": release_1_31})


@dataclass(frozen=True, slots=True)
class Operator:
    """The one IstioOperator of a cluster: its content, and the text that istioctl is given."""

    mesh: str
    cluster: str
    body: Json

    @property
    def text(self) -> str:
        """The file, byte for byte the same for the same mesh."""
        return (
            f"# The IstioOperator of {self.cluster}, the only one, rendered by shifter from the Mesh {self.mesh}.\n"
            f"# Edit that file and not this one.\n{yaml_text(self.body, style=BY_HAND)}"
        )


def operator_of_primary(mesh: Mesh, *, bare: bool = False) -> Operator:
    """Return the primary's IstioOperator.

    Args:
        mesh: the file.
        bare: only istiod, for a first installation; where gateways are installed it would remove them.
    """
    if bare:
        primary = mesh.spec.primary.model_copy(update={"gateways": (), "east_west": None})
        mesh = mesh.model_copy(update={"spec": mesh.spec.model_copy(update={"primary": primary})})
    body: Json = _release(mesh).primary(mesh)
    return Operator(mesh.name, mesh.spec.primary.cluster, body)


def operator_of_member(mesh: Mesh, member: Member, istiod_address: str, *, bare: bool = False) -> Operator:
    """Return a member's IstioOperator.

    Args:
        mesh: the file.
        member: one of its members.
        istiod_address: the IPv4 address of the primary's east-west gateway.
        bare: only the way to istiod, for a first installation: before istiod knows the cluster, a gateway there gets
            no root certificate, and istioctl waits for it in vain. Where gateways are installed it would remove them.

    Raises:
        RefusedError: the address is none; anything else would become a Service that leads nowhere.
    """
    try:
        IPv4Address(istiod_address)
    except AddressValueError as error:
        said = f"{istiod_address!r:.60} is no IPv4 address: {member.cluster} would not find istiod by it"
        raise RefusedError(said) from error
    if bare:
        member = member.model_copy(update={"gateways": ()})
    body: Json = _release(mesh).member(mesh, member, istiod_address)
    return Operator(mesh.name, member.cluster, body)


def exposing_istiod(mesh: Mesh) -> str:
    """Return the configuration, two documents, by which the east-west gateway lets members through to istiod."""
    documents: tuple[Json, ...] = _release(mesh).exposing(mesh)
    return "---\n".join(yaml_text(each, style=BY_HAND) for each in documents)


def _release(mesh: Mesh) -> ModuleType:
    return _RELEASES[release_line(mesh.spec.version)]
