"""What to ask the old cluster for: each kind in a version that it has, to be written in one that the new mesh reads.

A list can be asked for in the very version in which it is written: the server translates. Where the two meshes have no
version in common the newest of the old one is written, and lint says that the new one does not serve it: a file that a
person can mend is better than none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from shifter.mesh.configuration.archive import Page
from shifter.mesh.configuration.kinds import EXPORTED, ConfigKind, common_version, newest_first
from shifter.ports.kube import Kind

NO_SUCH_KIND: Final = "the old cluster has no such kind"


def wishes(
    source: Mapping[ConfigKind, Collection[str]], target: Mapping[ConfigKind, Collection[str]] | None
) -> Iterator[tuple[ConfigKind, Kind]]:
    """Yield what to list, in the order of `EXPORTED`: the kind, and the same in the version to ask for and to write.

    Args:
        source: the versions by kind that the old cluster serves. What it does not have is not asked for.
        target: those of the new mesh; None if nobody knows, then the newest that the old one has and that is known.
    """
    for kind in EXPORTED:
        served = source.get(kind, ())
        version = common_version(kind, served, served if target is None else target.get(kind, ()))
        version = version or common_version(kind, served, served) or next(iter(newest_first(served)), None)
        if version is not None:
            yield kind, kind.at(version)


def missing_kinds(source: Mapping[ConfigKind, Collection[str]]) -> Iterator[Page]:
    """Yield pages that say which kinds the old cluster does not have, for the manifest to tell."""
    yield from (Page(kind, "", missing=NO_SUCH_KIND) for kind in EXPORTED if not source.get(kind))
