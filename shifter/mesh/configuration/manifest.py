"""What an export is made of: every file with its checksum, what stayed behind and why, what has to be brought besides.

The manifest is written last, so a folder that has one is whole. It is JSON, as nobody is meant to edit it, with one
entry per object in the order of the paths: two exports of one cluster differ in what changed there, and in the time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import Field, ValidationError

from shifter.core.documents.schema import API_VERSION, StrictModel
from shifter.errors import ConfigError
from shifter.mesh.configuration.layout import is_inside

NAME: Final = "manifest.json"
KIND: Final = "MeshExport"
MAX_OBJECTS: Final = 100_000
"""So many objects no mesh has; without a bound a server that never ends its list would fill a disk."""


class Source(StrictModel):
    """Where the objects come from, as far as whoever exported knew it; all of it is for people to read.

    `uid` is that of the namespace `kube-system`, which tells clusters apart. `mesh` is TCM's id, `release` Istio's
    (1.18.5), `namespaces` those that were asked for; none means all.
    """

    cluster: str = ""
    context: str = ""
    uid: str = ""
    mesh: str = ""
    release: str = ""
    namespaces: tuple[str, ...] = ()


class Entry(StrictModel):
    """One file. `owner` is the object that made this one in the old cluster; empty if a person did."""

    path: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    api_version: str
    kind: str
    namespace: str
    name: str
    owner: str = ""


class LeftOut(StrictModel):
    """One object that stayed behind, or (without a name) a kind that the old cluster does not have."""

    kind: str
    namespace: str = ""
    name: str = ""
    why: str


class NeededSecret(StrictModel):
    """A Secret that an object of the export names. Without a namespace: that of the gateway which serves the object."""

    name: str
    namespace: str = ""
    by: str
    at: str


class Manifest(StrictModel):
    """The whole of it. `counts` is by kind and group as folders have it, `files` and the others in a fixed order.

    `settings_sha256` is of the file with the mesh's settings; empty if there is none.
    """

    api_version: str = API_VERSION
    kind: str = KIND
    shifter: str
    exported_at: str
    source: Source
    secrets: bool = False
    counts: Mapping[str, int]
    files: tuple[Entry, ...] = Field(max_length=MAX_OBJECTS)
    left_out: tuple[LeftOut, ...] = ()
    needed_secrets: tuple[NeededSecret, ...] = ()
    settings_sha256: str = ""


@dataclass(slots=True)
class Tally:
    """A manifest in the making; what comes in has any order, what goes out has one."""

    entries: dict[str, Entry] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)
    left_out: set[LeftOut] = field(default_factory=set)
    needed: set[NeededSecret] = field(default_factory=set)
    settings_sha256: str = ""

    def manifest(self, source: Source, shifter: str, exported_at: str, *, secrets: bool) -> Manifest:
        """Return what came in so far as a manifest."""
        counts = Counter(self.folders.values())
        return Manifest.model_validate(
            {
                "shifter": shifter,
                "exportedAt": exported_at,
                "source": source.model_dump(by_alias=True),
                "secrets": secrets,
                "counts": dict(sorted(counts.items())),
                "files": tuple(self.entries[path].model_dump(by_alias=True) for path in sorted(self.entries)),
                "leftOut": _sorted(self.left_out),
                "neededSecrets": _sorted(self.needed),
                "settingsSha256": self.settings_sha256,
            }
        )


def manifest_text(manifest: Manifest) -> str:
    """Return a manifest as it is written: the same bytes for the same manifest."""
    return json.dumps(manifest.model_dump(mode="json", by_alias=True), indent=1, ensure_ascii=True) + "\n"


def manifest_of(file: str, raw: bytes) -> Manifest:
    """Return what the bytes of a manifest say.

    Raises:
        ConfigError: they are no manifest of an export, or one of a shifter that writes them differently.
    """
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the text"
        raise ConfigError(f"{file} is no manifest that this version can read: {where}: {first['msg']}") from error
    if (manifest.api_version, manifest.kind) != (API_VERSION, KIND):
        raise ConfigError(
            f"{file} is a {manifest.kind[:60]} of {manifest.api_version[:60]}, not a {KIND} of {API_VERSION}"
        )
    for entry in manifest.files:
        if not is_inside(entry.path):
            raise ConfigError(f"{file} names a file outside its folder: {entry.path[:200]!r}")
    return manifest


def _sorted(values: set[LeftOut] | set[NeededSecret]) -> tuple[dict[str, str], ...]:
    return tuple(sorted((value.model_dump(by_alias=True) for value in values), key=lambda each: tuple(each.values())))
