"""The folder of policies, read again on every tick: hot reload that cannot take a running shift's rules away.

A bad edit keeps the last good policy and says so; a shift's rules must not change because somebody's editor
wrote half a file. No inotify: a ConfigMap is swapped by moving one symlink, which looks different on every
kernel and mount, while asking for a file's identity is cheap and always true. A policy disappears only with its
file: a folder that is gone or empty looks like a lost mount, so everything it held stays, marked stale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from shifter.core.documents.fleet import Fleet
from shifter.core.documents.policy import ShiftPolicy, conflicts
from shifter.core.text import why
from shifter.errors import ConfigError, Problem
from shifter.files.documents import FLEET, MESH, misfit_problems, raw_bytes, value_of, yaml_files_in
from shifter.files.located_yaml import Document, document_of
from shifter.files.rules import Rule

_CONFIG_MAP_LINK: Final = "..data"
_SWAP_RETRIES: Final = 3


@dataclass(frozen=True, slots=True)
class PolicySet:
    """What holds now. `policies` and `files` are by shift name; `stale` are the names whose file no longer says so."""

    policies: Mapping[str, ShiftPolicy] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    stale: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Known:
    """One file as last read; `raw` is None if it could not be.

    A policy with problems is right by itself and asks what the fleet cannot give.

    `settled`: read a second time under the same identity with the same result. Only then is the identity
    proof enough: a file written twice within one tick of the filesystem's clock keeps its times.
    """

    identity: tuple[int, ...]
    settled: bool
    raw: bytes | None
    document: Document
    policy: ShiftPolicy | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Claim:
    """The policy that a file stands for now; `stale` if that is the last good one instead of what it says."""

    policy: ShiftPolicy
    stale: bool


class PolicyFolder:
    """Reads one directory of policies, again and again; not for several threads at once.

    Args:
        directory: where they lie.
        fleet: what they may ask for; whoever accepted more would judge by nothing. None: everything is granted.
    """

    def __init__(self, directory: Path, fleet: Fleet | None = None) -> None:
        self._directory = directory
        self._fleet = fleet
        self._known: dict[str, _Known] = {}
        self._in_force: dict[str, ShiftPolicy] = {}
        self._last: PolicySet | None = None

    def reload(self) -> PolicySet:
        """Return the policies that hold now and everything that is wrong with the folder.

        Of two policies that claim one thing the one already in force stays, at the start the first by file name.
        A Fleet or Mesh file that never was a policy is ignored, so that all may lie in one folder. A policy that
        asks what the fleet cannot give is stale: it counts as edited for the worse, and if there is no better one to
        stay in force, nothing may begin by it.

        Raises:
            ConfigError: the directory is missing, unreadable or has no policy, and never had one since this
                object was made. Later the same thing is a problem, and every policy stays, stale.
        """
        known = self._read_all()
        if isinstance(known, Problem):
            return self._without_files(known)
        unchanged = self._last is not None and _same_documents(known, self._known)
        self._known = known
        if self._last is None or not unchanged:
            now = self._settle()
            if self._last is None and not now.policies and not now.problems:
                return self._without_files(self.trouble("holds no policy, only a Fleet"))
            self._last = now
        return self._last

    def trouble(self, message: str) -> Problem:
        """Return a problem of the directory as a whole."""
        hint = "pass the directory of the ShiftPolicy files"
        return Problem(str(self._directory), 0, 0, "", message, hint, rule=Rule.UNREADABLE)

    def _without_files(self, problem: Problem) -> PolicySet:
        if self._last is None:
            raise ConfigError(str(problem), (problem,))
        return replace(self._last, problems=(problem,), stale=frozenset(self._last.policies))

    def _read_all(self) -> dict[str, _Known] | Problem:
        """Return every file as it is now, or what is wrong with the directory."""
        known: dict[str, _Known] = {}
        for _ in range(_SWAP_RETRIES):
            generation = self._generation()
            try:
                paths = yaml_files_in(self._directory)
            except OSError as error:
                return self.trouble(f"cannot be listed: {why(error)}")
            if not paths:
                return self.trouble("has no *.yaml or *.yml file")
            looks = ((path.name, self._look(path)) for path in paths)
            known = {name: look for name, look in looks if look is not None}
            if self._generation() == generation:
                break
        return known

    def _generation(self) -> str | None:
        """Return what a ConfigMap's link points to: if it moves under our feet, we have read half of each."""
        try:
            return str((self._directory / _CONFIG_MAP_LINK).readlink())
        except OSError:
            return None

    def _look(self, path: Path) -> _Known | None:
        """Return a file as it is now, read only if need be; None if it vanished meanwhile."""
        before = self._known.get(path.name)
        identity = _identity(path)
        if not identity and not path.is_symlink():
            return None
        same = before is not None and before.identity == identity
        if before is not None and same and before.settled:
            return before
        try:
            raw = raw_bytes(path)
        except ConfigError as error:
            return _Known(identity, False, None, Document(str(path), whole=False), None, error.problems)  # noqa: FBT003
        if before is not None and raw == before.raw:
            return replace(before, identity=identity, settled=same)
        document = document_of(str(path), raw)
        try:
            policy = value_of(document, ShiftPolicy)
        except ConfigError as error:
            return _Known(identity, False, raw, document, None, error.problems)  # noqa: FBT003
        problems = () if self._fleet is None else misfit_problems(document, policy, self._fleet)
        return _Known(identity, False, raw, document, policy, problems)  # noqa: FBT003

    def _settle(self) -> PolicySet:
        """Decide which policy each file stands for, and remember it as the one in force."""
        claims: dict[str, _Claim] = {}
        problems: list[Problem] = []
        for file in sorted(self._known, key=self._precedence):
            known, good = self._known[file], self._in_force.get(file)
            if known.policy is not None and not known.problems:
                claims[file] = _Claim(known.policy, stale=False)
            elif (last := good or known.policy) is not None:
                claims[file] = _Claim(last, stale=True)
            if good is not None or known.document.kind not in {FLEET, MESH}:
                problems += known.problems
        while clash := next(iter(conflicts({file: claim.policy for file, claim in claims.items()})), None):
            problems.append(self._known[clash.file].document.problem(clash.path, clash.reason, rule=Rule.CONFLICT))
            del claims[clash.file]
            if clash.file in self._in_force:
                # To the front: what was in force together agrees, so only what changed can lose against it.
                claims = {clash.file: _Claim(self._in_force[clash.file], stale=True), **claims}
        self._in_force = {file: claim.policy for file, claim in claims.items()}
        return PolicySet(
            policies={claim.policy.name: claim.policy for _, claim in sorted(claims.items(), key=_by_file)},
            files={claim.policy.name: str(self._directory / file) for file, claim in claims.items()},
            problems=tuple(sorted(problems)),
            stale=frozenset(claim.policy.name for claim in claims.values() if claim.stale),
        )

    def _precedence(self, file: str) -> tuple[int, str]:
        """Sort files in force and unchanged before changed ones before new ones."""
        good, known = self._in_force.get(file), self._known[file]
        if good is None:
            return 2, file
        return (0 if known.problems or known.policy == good else 1), file


def refuse_unusable(folder: PolicyFolder, is_under_way: Callable[[], bool]) -> None:
    """Refuse to start with a folder that cannot be used, if nothing is under way: then it is a slip of the hand.

    Later, and where something is under way, it only holds: a shift that may have to go back must be watched.

    Args:
        folder: where the policies should be; never read before.
        is_under_way: returns whether a shift is remembered, or nobody knows; asked only if the folder cannot be used.

    Raises:
        ConfigError: the folder cannot be used.
    """
    try:
        folder.reload()
    except ConfigError:
        if not is_under_way():
            raise


def _by_file(item: tuple[str, _Claim]) -> str:
    return item[0]


def _same_documents(now: Mapping[str, _Known], before: Mapping[str, _Known]) -> bool:
    return now.keys() == before.keys() and all(
        look.document is before[file].document and look.problems == before[file].problems for file, look in now.items()
    )


def _identity(path: Path) -> tuple[int, ...]:
    """Return what tells one state of a file from another, links followed; empty if there is nothing."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
