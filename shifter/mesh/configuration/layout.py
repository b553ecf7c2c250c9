"""Which file of an export an object is in: `namespace/kind/name.yaml`, as the guide's script has it.

Names come from an API server, and a name becomes a path. Those of Istio's kinds are harmless: small letters, digits,
`-` and `.`, with a letter or digit at both ends. Other servers behind the same address may allow `..`, capital letters,
a colon. So a segment that has not the harmless form is written with `%` and hexadecimal digits instead of what it may
not have. `%` is in no harmless name, and no capital letter is left except in those digits: two names never meet in one
file, neither here nor on a disk that takes `A` for `a`. Names that Windows keeps for devices get the same treatment,
and too long ones (a name may have 253 characters, a file with its ending 255) are cut and end in a checksum.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from shifter.mesh.configuration.cleaning import mapping
from shifter.mesh.configuration.kinds import ConfigKind, group_and_version, kind_of

SUFFIX: Final = ".yaml"
CLUSTER: Final = "_cluster"
"""The folder of what has no namespace; none can have this name."""

LONGEST: Final = 200
"""Characters of a segment. Room is left for the ending and for a path of the folder itself."""

_HARMLESS: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_TO_ESCAPE: Final = re.compile(rb"[^a-z0-9.-]")
_AT_THE_ENDS: Final = re.compile(rb"^[.-]|[.-]$")
_DEVICE: Final = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")
_CHECKSUM: Final = 16


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """Which object: there is one of it in a cluster, whatever version it is written in. `namespace` may be empty."""

    namespace: str
    group: str
    kind: str
    name: str

    def __str__(self) -> str:
        """Return it as people say it: `VirtualService shop/checkout`."""
        return f"{self.kind} {f'{self.namespace}/' if self.namespace else ''}{self.name}"


def identity_of(body: Any) -> Identity | None:  # noqa: ANN401 - JSON
    """Return which object a body is; None if it does not say so."""
    whole = mapping(body)
    metadata = mapping(whole.get("metadata"))
    words = [whole.get("apiVersion"), whole.get("kind"), metadata.get("name")]
    if not all(isinstance(word, str) and word for word in words):
        return None
    namespace = metadata.get("namespace")
    return Identity(
        namespace if isinstance(namespace, str) else "",
        group_and_version(str(words[0]))[0],
        str(words[1]),
        str(words[2]),
    )


def path_of(kind: ConfigKind, namespace: str, name: str) -> str:
    """Return the path of an object's file below the folder of the export, with `/` on every system."""
    folder = segment(namespace) if kind.namespaced else CLUSTER
    return f"{folder}/{kind.folder}/{segment(name)}{SUFFIX}"


def path_of_body(body: Any) -> str | None:  # noqa: ANN401 - JSON
    """Return where a body would be written; None if nobody knows what it is."""
    kind, identity = kind_of(mapping(body)), identity_of(body)
    return None if kind is None or identity is None else path_of(kind, identity.namespace, identity.name)


def segment(name: str) -> str:
    """Return a name as part of a path: harmless, and another one for every other name.

    Raises:
        ValueError: the name is empty or has half a character; no server allows either.
    """
    if not name:
        raise ValueError("has no name or no namespace")
    if _HARMLESS.fullmatch(name) and not _DEVICE.fullmatch(name):
        shown = name
    else:
        escaped = _AT_THE_ENDS.sub(_escaped, _TO_ESCAPE.sub(_escaped, name.encode()))
        shown = escaped.decode() if escaped != name.encode() else f"%{ord(name[0]):02X}{name[1:]}"
    if len(shown) <= LONGEST:
        return shown
    # `~` is in no other segment: a cut name never meets a whole one.
    return f"{shown[: LONGEST - _CHECKSUM - 1]}~{hashlib.sha256(name.encode()).hexdigest()[:_CHECKSUM]}"


def is_inside(path: str) -> bool:
    """Return whether a path stays in the folder that it is told from: what a manifest says is not to be believed."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\\" not in path and "\0" not in path


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"%" + found[0].hex().upper().encode()
