"""Writing an export: as a whole or not at all, page by page, with nothing in memory but one page and the manifest.

Everything is written into a folder beside the wanted one, whose name says what it is (`.data.unfinished-...`), the
manifest last; then the folder takes the wanted name in one step. Whoever is killed in between leaves a folder that
nobody takes for an export: by its name, and because it has no manifest. Written files are brought to the disk all
together before the manifest is: one by one takes minutes for ten thousand, and each has a checksum.

A folder that is there is replaced only if it is an export that nobody has touched since, or if that is asked for: what
a person changed by hand in it, with lint's findings in the other window, is an hour's work. Files are readable for
their owner alone; a Lua filter or a header may hold a key, also without a single Secret in the export.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shifter.core.text import some
from shifter.errors import RefusedError
from shifter.files.archive import write_whole
from shifter.mesh.configuration import manifest as manifests
from shifter.mesh.configuration import settings
from shifter.mesh.configuration.choosing import owner_of, staying_behind
from shifter.mesh.configuration.cleaning import FIRST, cleaned, mapping
from shifter.mesh.configuration.kinds import ConfigKind
from shifter.mesh.configuration.layout import path_of
from shifter.mesh.configuration.manifest import Entry, LeftOut, Manifest, NeededSecret, Source, Tally
from shifter.mesh.configuration.opening import changes_of, is_export
from shifter.mesh.configuration.reading import MAX_BYTES
from shifter.mesh.configuration.references import secret_references
from shifter.mesh.configuration.settings import MeshSettings
from shifter.mesh.yaml_text import yaml_text
from shifter.ports.kube import Body

_MODE: Final = 0o600
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Page:
    """Some objects of one kind as the server sent them, and the version in which they shall be written.

    `bodies` is looked at once and let go of. A kind that the old cluster does not have comes as a page without bodies
    and with the reason.
    """

    kind: ConfigKind
    version: str
    bodies: Sequence[Body] = ()
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What whoever exports wants.

    `secrets`: write Secrets that come in, instead of telling which are needed. `discard_changes`: replace an export in
    the folder although a person has changed it. `revisions`: those of the old control plane (`1-18-5`).
    `settings`: what TCM keeps outside the cluster, if somebody asked it. `most_objects`: more end the export.
    """

    source: Source
    shifter: str
    exported_at: str
    secrets: bool = False
    discard_changes: bool = False
    revisions: Collection[str] = ()
    settings: MeshSettings | None = None
    most_objects: int = manifests.MAX_OBJECTS


def write_export(
    folder: Path, pages: Iterable[Page], asked: Asked, tell: Callable[[int], None] = lambda _: None
) -> Manifest:
    """Write an export into a folder and return its manifest.

    Args:
        folder: where; its parent must be there. It may be missing, empty, or an export that nobody has changed.
        pages: the objects. What the iterator raises ends the export, and nothing is left of it.
        asked: what whoever exports wants.
        tell: is told after each page how many objects there are so far.

    Raises:
        RefusedError: something else is in the folder, somebody has changed the export in it, or there are too
            many objects.
        OSError: the files cannot be written.
    """
    folder = folder.absolute()
    refuse_to_overwrite(folder, discard_changes=asked.discard_changes)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.unfinished-", dir=folder.parent))
    try:
        manifest = _written(unfinished, pages, asked, tell)
        _take_the_name(unfinished, folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return manifest


def refuse_to_overwrite(folder: Path, *, discard_changes: bool) -> None:
    """Return if an export may be written to a folder: before a cluster is asked for anything.

    Raises:
        RefusedError: it is a file or a link, has something else in it, or an export that a person has changed.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise RefusedError(f"{folder} is no folder; an export is written into one of its own")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not is_export(folder):
        raise RefusedError(
            f"{folder} is not empty, and what is in it is no export; name a folder that is not there yet"
        )
    if not discard_changes and (changed := changes_of(folder)):
        raise RefusedError(
            f"the export in {folder} was changed by hand ({some(changed, _SHOWN)}); export into another folder, or ask"
            " for the changes to be thrown away"
        )


def _written(folder: Path, pages: Iterable[Page], asked: Asked, tell: Callable[[int], None]) -> Manifest:
    tally = Tally()
    for page in pages:
        if page.missing:
            tally.left_out.add(LeftOut(kind=page.kind.folder, why=page.missing))
        for body in page.bodies:
            _write_one(folder, page, body, asked, tally)
        if len(tally.entries) > asked.most_objects:
            raise RefusedError(f"more than {asked.most_objects} objects; export some namespaces at a time")
        tell(len(tally.entries))
    if asked.settings is not None:
        text = asked.settings.text.encode()
        _put(folder / settings.NAME, text)
        tally.settings_sha256 = hashlib.sha256(text).hexdigest()
    manifest = tally.manifest(asked.source, asked.shifter, asked.exported_at, secrets=asked.secrets)
    os.sync()
    write_whole(folder / manifests.NAME, manifests.manifest_text(manifest).encode(), replace=False)
    return manifest


def _write_one(folder: Path, page: Page, body: Mapping[str, object], asked: Asked, tally: Tally) -> None:
    kind, metadata = page.kind, mapping(body.get("metadata"))
    namespace, name = str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
    why = staying_behind(kind, body, secrets=asked.secrets)
    try:
        clean = cleaned(body, kind.at(page.version), asked.revisions)
        path, text = path_of(kind, namespace, name), yaml_text(clean, FIRST).encode()
        why = why or (f"would be a file of more than {MAX_BYTES} bytes" if len(text) > MAX_BYTES else "")
    except ValueError as error:
        why = why or f"cannot be written as YAML: {error}"
    if why:
        tally.left_out.add(LeftOut(kind=kind.folder, namespace=namespace, name=name, why=why))
        return
    _put(folder / path, text)
    tally.folders[path] = kind.folder
    tally.entries[path] = Entry.model_validate(
        {
            "path": path,
            "sha256": hashlib.sha256(text).hexdigest(),
            "apiVersion": clean["apiVersion"],
            "kind": kind.name,
            "namespace": namespace,
            "name": name,
            "owner": owner_of(body),
        }
    )
    for needed in secret_references(kind, clean):
        at = ".".join(map(str, needed.path))
        tally.needed.add(NeededSecret(name=needed.name, namespace=needed.namespace, by=path, at=at))


def _put(path: Path, text: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)


def _take_the_name(unfinished: Path, folder: Path) -> None:
    """Let the whole export stand where it was wanted; what stood there before goes only after that."""
    if not folder.exists() or not any(folder.iterdir()):
        unfinished.replace(folder)  # an empty folder is replaced in the same step
        return
    replaced = Path(tempfile.mkdtemp(prefix=f".{folder.name}.replaced-", dir=folder.parent))
    folder.replace(replaced)
    try:
        unfinished.replace(folder)
    except OSError:
        with suppress(OSError):
            replaced.replace(folder)
        raise
    shutil.rmtree(replaced, ignore_errors=True)
