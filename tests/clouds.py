"""An emulated Tencent Cloud that runs, and the door to it: for tests of what goes through both.

The tests of the emulator itself build their own: what they are about is how it is built.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path

from shifter.adapters.tencent.api import ClbApi
from shifter.core.documents.fleet import Tencent
from shifter.lab import emulator as lab

REGION = "ap-guangzhou"


def running_cloud(
    keys: Path,
    balancers: Sequence[lab.LoadBalancer],
    *,
    task_delay_seconds: tuple[float, float] = (0.0, 0.0),
    timeout: str = "2s",
) -> tuple[lab.Emulator, ClbApi]:
    """Start a cloud of these balancers, and return it with what calls it; stopping it is the caller's.

    Args:
        keys: the directory in which the key files are written.
        balancers: what is there from the start.
        task_delay_seconds: how long a task takes, at least and at most.
        timeout: of one call, as the fleet file has it.
    """
    (keys / "id").write_text("AKIDtest\n")
    (keys / "key").write_text("key\n")
    emulator = lab.Emulator(
        balancers=balancers,
        region=REGION,
        secret_id="AKIDtest",
        secret_key="key",
        clock=time.time,
        rng=random.Random(11),  # noqa: S311 - dice of a test
        task_delay_seconds=task_delay_seconds,
    )
    where = {"secretIdFile": str(keys / "id"), "secretKeyFile": str(keys / "key"), "scheme": "http"}
    endpoint = f"127.0.0.1:{emulator.start()}"
    return emulator, ClbApi(Tencent.model_validate(where | {"endpoint": endpoint, "timeout": timeout}))
