"""The policies of a directory, as far as the fleet can give what they ask.

A policy may be right by itself and ask for what this fleet's histograms cannot measure; whoever accepted it would judge
by nothing. The rule is `core.fleet.misfits`, this is where it meets the folder.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from shifter.core.fleet import Fleet, misfits
from shifter.files.documents import read_document
from shifter.service.policy_files import PolicyFolder, PolicySet


class FittingFolder(PolicyFolder):
    """The policies of a directory, as far as the fleet can give what they ask.

    One that asks more counts as edited for the worse: the last good one stays in force, a new shift does not begin.
    """

    def __init__(self, directory: Path, fleet: Fleet) -> None:
        super().__init__(directory)
        self._fleet = fleet

    def reload(self) -> PolicySet:
        """Return the policies that hold now, those that do not fit marked stale, and everything that is wrong.

        Raises:
            ConfigError: as `PolicyFolder.reload`.
        """
        found = super().reload()
        problems, stale = set(found.problems), set(found.stale)
        for name, policy in found.policies.items():
            for misfit in misfits(policy, self._fleet):
                document = read_document(Path(found.files[name]))
                problems.add(document.problem(misfit.path, misfit.reason))
                stale.add(name)
        return replace(found, problems=tuple(sorted(problems)), stale=frozenset(stale))
