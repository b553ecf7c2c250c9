"""Files and limits of this machine: who may read the keys, where the store lies, how much room is left.

Files of keys are asked for their mode and size and never opened.
"""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shifter.core.documents.fleet import Fleet
from shifter.core.redaction import redacted
from shifter.core.text import why
from shifter.service.checkup.findings import Finding, Group, Level, Notes

LITTLE_DISK_BYTES: Final = 512 * 1024**2
"""Below this a warning: half a year's history of many shifts, a backup and a write-ahead log fit into it."""

TOO_LITTLE_DISK_BYTES: Final = 32 * 1024**2
"""Below this a problem: a write-ahead log that cannot be folded in grows to some MiB, and then nothing climbs."""

FEW_FILES: Final = 1024
"""The usual limit. Each lock domain, datasource and listener takes a connection, each store a few files."""

TOO_FEW_FILES: Final = 128

_NETWORK: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs"}
)
_NETWORK_PREFIX: Final = "fuse."
_OTHERS, _GROUP = 0o007, 0o070


def _mounts() -> str:
    return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")


def _free_bytes(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _open_files() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft


@dataclass(frozen=True, slots=True)
class Machine:
    """What the operating system says; tests say otherwise. `may` is `os.access`, `mounts` Linux's mountinfo."""

    may: Callable[[Path, int], bool] = os.access
    mounts: Callable[[], str] = _mounts
    free_bytes: Callable[[Path], int] = _free_bytes
    open_files: Callable[[], int] = _open_files


def findings(fleet: Fleet | None, store: Path | None, machine: Machine) -> Sequence[Finding]:
    """Return what is wrong with the files that the fleet names, with the place of a store's file, and with limits."""
    notes = Notes(Group.PERMISSIONS)
    if fleet is not None:
        tencent = fleet.spec.provider.tencent
        named = {
            "secretIdFile": tencent.secret_id_file,
            "secretKeyFile": tencent.secret_key_file,
            "tokenFile": tencent.token_file,
        }
        if fleet.spec.clusters is not None:
            named["kubeconfigFile"] = fleet.spec.clusters.source.kubeconfig_file
        sides = fleet.spec.datasources
        for side, datasource in (("source", sides.source), ("target", sides.target)):
            named[f"{side} bearerTokenFile"] = datasource.bearer_token_file
            if datasource.ca_file is not None:
                _readable(notes, f"{side} caFile", Path(datasource.ca_file), machine)
        for subject, name in named.items():
            if name is not None:
                _secret(notes, subject, Path(name), machine)
    if store is not None:
        _place_of_store(notes, store, machine)
    _limits(notes, machine)
    return notes.found


def _readable(notes: Notes, subject: str, path: Path, machine: Machine) -> os.stat_result | None:
    """Note whether a file can be used at all; return what the system says of it if so."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        text = f"{_named(path)}: {why(error)}"
        notes.problem(subject, text, "create the file, or name the right one in the fleet file")
        return None
    if not stat.S_ISREG(found.st_mode):
        notes.problem(subject, f"{path}: not a regular file", "name a file in the fleet file")
        return None
    if not machine.may(path, os.R_OK):
        notes.problem(subject, f"{path}: this user may not read it", f"chown {_user()} {path} && chmod 600 {path}")
        return None
    if found.st_size == 0:
        notes.problem(subject, f"{path}: is empty", f"write it again, one word: {path}")
        return None
    if not path.is_absolute():
        text = f"{path}: relative, so it depends on where the service is started"
        notes.warning(subject, text, f"write {path.absolute()} in the fleet file")
        return found
    if "caFile" in subject:
        notes.ok(subject, f"{path}: readable")
    return found


def _named(path: Path) -> str:
    """Return the name of a file that is not there: people paste a key where its file is to be named."""
    if len(path.parts) == 1:
        return "there is no such file, and its name is not shown, it may be the key itself"
    return redacted(str(path))


def _secret(notes: Notes, subject: str, path: Path, machine: Machine) -> None:
    found = _readable(notes, subject, path, machine)
    if found is None:
        return
    mode = stat.S_IMODE(found.st_mode)
    fix = f"chmod 600 {path}"
    if mode & _OTHERS:
        notes.problem(subject, f"{path}: mode {mode:04o}, everybody on this machine may use it", fix)
    elif mode & _GROUP:
        notes.warning(subject, f"{path}: mode {mode:04o}, its group may use it", fix)
    else:
        notes.ok(subject, f"{path}: readable, mode {mode:04o}")


def _place_of_store(notes: Notes, store: Path, machine: Machine) -> None:
    directory = store.absolute().parent
    if not directory.is_dir():
        text = f"{directory}: does not exist yet; `shifter run` makes it"
        notes.warning("store directory", text, f"if the path is right: mkdir -p -m 700 {directory}")
        return
    if not machine.may(directory, os.W_OK | os.X_OK):
        text = f"{directory}: this user may not write there, SQLite needs files beside the store"
        notes.problem("store directory", text, f"chown {_user()} {directory}")
    else:
        notes.ok("store directory", f"{directory}: writable")
    _mode_of_store(notes, store, machine)
    _room(notes, directory, machine)
    _filesystem(notes, directory, machine)


def _mode_of_store(notes: Notes, store: Path, machine: Machine) -> None:
    try:
        mode = stat.S_IMODE(store.stat().st_mode)
    except OSError:
        return  # what is there at all is told under the store
    if not machine.may(store, os.R_OK | os.W_OK):
        notes.problem("store file", f"{store}: this user may not write it", f"chown {_user()} {store}*")
    elif mode & (_OTHERS | _GROUP):
        text = f"{store}: mode {mode:04o}; who can write it can give orders"
        notes.warning("store file", text, f"chmod 600 {store}*")
    else:
        notes.ok("store file", f"{store}: mode {mode:04o}")


def _room(notes: Notes, directory: Path, machine: Machine) -> None:
    try:
        free = machine.free_bytes(directory)
    except OSError as error:
        notes.unknown("disk", f"{directory}: {why(error)}", f"df {directory}")
        return
    level = Level.OK
    if free < LITTLE_DISK_BYTES:
        level = Level.PROBLEM if free < TOO_LITTLE_DISK_BYTES else Level.WARNING
    text = f"{directory}: {free // 1024**2} MiB free; without room nothing climbs"
    notes.judged(level, "disk", text, f"free some space: df {directory}; du -x {directory}")


def _filesystem(notes: Notes, directory: Path, machine: Machine) -> None:
    try:
        kind = _kind_of_mount(machine.mounts(), directory.resolve())
    except OSError:
        kind = ""
    if not kind:
        notes.unknown("filesystem", f"{directory}: its kind cannot be told here", f"stat -f {directory}")
    elif kind in _NETWORK or kind.startswith(_NETWORK_PREFIX):
        text = f"{directory} is on {kind}: locks cannot be relied on there, two services could both write"
        notes.warning("filesystem", text, "move the store to a disk of this machine: --store")
    else:
        notes.ok("filesystem", f"{directory} is on {kind}")


def _kind_of_mount(mountinfo: str, path: Path) -> str:
    """Return the kind of filesystem that holds `path` (proc(5): mount point fifth, kind first after the dash)."""
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        fields, _, after = line.partition(" - ")
        words = fields.split()
        if len(words) < 5 or not after:  # noqa: PLR2004 - the fifth word is needed
            continue
        # The kernel writes spaces and the like as octal escapes.
        point = Path(words[4].encode("latin-1", "replace").decode("unicode_escape"))
        # Of two mounts on one point the later one covers the earlier.
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split()[0]
    return kind


def _limits(notes: Notes, machine: Machine) -> None:
    soft = machine.open_files()
    unlimited = soft == resource.RLIM_INFINITY
    level = Level.OK
    if not unlimited and soft < FEW_FILES:
        level = Level.PROBLEM if soft < TOO_FEW_FILES else Level.WARNING
    text = f"{'unlimited' if unlimited else soft} at a time for this shell; the service's own limit may differ"
    notes.judged(level, "open files", text, f"ulimit -n {FEW_FILES}, or LimitNOFILE={FEW_FILES} in the unit")


def _user() -> str:
    return str(os.getuid())
