"""What `backtest`, `plan` and `simulate` share: each supposes that a policy which nobody runs were in force."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shifter.core.documents.fleet import Fleet
from shifter.core.documents.policy import ShiftPolicy
from shifter.errors import ConfigError
from shifter.files.documents import misfit_problems, read_document, value_of

MOST_TICKS: Final = 40_320
"""A week of the default tick: minutes of reading and computing. What is longer is better looked at in parts."""


def policy_in(file: Path, fleet: Fleet | None) -> ShiftPolicy:
    """Return the policy in a file.

    Args:
        file: where it is.
        fleet: what it must fit; None for one of defaults.

    Raises:
        ConfigError: the file cannot be read or is wrong, or the fleet cannot give what the policy asks.
    """
    document = read_document(file)
    policy = value_of(document, ShiftPolicy)
    if problems := misfit_problems(document, policy, fleet):
        raise ConfigError(str(problems[0]), problems)
    return policy
