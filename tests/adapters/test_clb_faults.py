"""Every way in which the emulated cloud can fail, driven through the real SDK and the adapter: which error, how soon,
and what was really done. Nothing is ever sent twice, and nothing but shifter's own errors comes out.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from shifter.adapters.tencent.clb import ClbProvider
from shifter.core.balancing.splits import Route, Selector
from shifter.errors import AmbiguousWriteError, ProviderRefusedError, ProviderUnavailableError, ShifterError
from shifter.lab import emulator as lab
from shifter.lab.emulator import FaultKind
from shifter.lab.emulator.faults import READ_KINDS, TASK_KINDS, WRITE_KINDS
from shifter.ports import Change, Operation, Progress
from tests.clouds import running_cloud

REGION, BALANCER = "ap-guangzhou", "lb-front0001"
TIMEOUT_SECONDS = 0.5
LONGEST_CALL_SECONDS = 3 * TIMEOUT_SECONDS + 0.5
WRITE = "BatchModifyTargetWeight"
READS = ("DescribeLoadBalancers", "DescribeListeners", "DescribeTargetHealth", "DescribeTargets")
SHOP = Route(REGION, BALANCER, "lbl-1", "shop.example.com", "/", Selector(ports=(30080,)), Selector(ports=(31080,)))
OLD, NEW = "ins-old00001:30080", "10.0.1.1:31080"
BEFORE, AFTER = {OLD: 100, NEW: 0}, {OLD: 90, NEW: 10}

Outcome: TypeAlias = type[ShifterError] | None

# What a read of each kind raises; nothing means that the answer is right and is believed.
ON_READ: dict[FaultKind, Outcome] = {
    FaultKind.THROTTLE: ProviderUnavailableError,
    FaultKind.LOST_REPLY: ProviderUnavailableError,
    FaultKind.SLOW: ProviderUnavailableError,
    FaultKind.ERROR_BEFORE: ProviderUnavailableError,
    FaultKind.ERROR_AFTER: ProviderUnavailableError,
    FaultKind.RESET_BEFORE: ProviderUnavailableError,
    FaultKind.RESET_AFTER: ProviderUnavailableError,
    FaultKind.TRUNCATED: ProviderUnavailableError,
    FaultKind.WRONG_CONTENT_TYPE: ProviderUnavailableError,
    FaultKind.WRONG_CONTENT_TYPE_AFTER: None,
    FaultKind.HTML_502: ProviderUnavailableError,
}

# What a write of each kind raises, and whether the cloud has done it all the same.
ON_WRITE: dict[FaultKind, tuple[Outcome, bool]] = {
    FaultKind.THROTTLE: (ProviderUnavailableError, False),
    FaultKind.QUOTA: (ProviderRefusedError, False),
    FaultKind.LOCKED: (ProviderUnavailableError, False),
    FaultKind.LOST_REPLY: (AmbiguousWriteError, True),
    FaultKind.SLOW: (AmbiguousWriteError, True),
    FaultKind.ERROR_BEFORE: (AmbiguousWriteError, False),
    FaultKind.ERROR_AFTER: (AmbiguousWriteError, True),
    FaultKind.RESET_BEFORE: (AmbiguousWriteError, False),
    FaultKind.RESET_AFTER: (AmbiguousWriteError, True),
    FaultKind.TRUNCATED: (AmbiguousWriteError, True),
    FaultKind.WRONG_CONTENT_TYPE: (AmbiguousWriteError, False),
    FaultKind.WRONG_CONTENT_TYPE_AFTER: (None, True),
    FaultKind.HTML_502: (AmbiguousWriteError, False),
}

# How the task of an accepted write ends, and whether its weights come into force.
ON_TASK: dict[FaultKind, tuple[Progress, bool]] = {
    FaultKind.TASK_FAILS: (Progress.FAILED, False),
    FaultKind.TASK_LIES: (Progress.DONE, False),
    FaultKind.TASK_HALF: (Progress.FAILED, False),
    FaultKind.TASK_ENDLESS: (Progress.RUNNING, False),
}


class Cloud:
    """A started emulator of one rule, and a provider with little patience that talks to it."""

    def __init__(self, keys: Path) -> None:
        targets = (
            lab.Target(kind=lab.TargetKind.CVM, ip="10.0.0.1", port=30080, instance_id="ins-old00001", weight=100),
            lab.Target(kind=lab.TargetKind.ENI, ip="10.0.1.1", port=31080, instance_id="ins-host0001", weight=0),
        )
        rule = lab.Rule(location_id="loc-1", domain="shop.example.com", url="/", targets=targets)
        listener = lab.Listener(listener_id="lbl-1", protocol="HTTPS", port=443, rules=(rule,))
        balancer = lab.LoadBalancer(load_balancer_id=BALANCER, listeners=(listener,))
        self.emulator, api = running_cloud(keys, [balancer], timeout=f"{TIMEOUT_SECONDS * 1000:.0f}ms")
        self.provider = ClbProvider(api)

    def fails(self, kind: FaultKind, action: str = WRITE, *, times: int = 1, seconds: float = 1.0) -> None:
        self.emulator.inject(lab.Fault(action=action, kind=kind, times=times, seconds=seconds))

    def weights(self) -> dict[str, int]:
        rule = self.emulator.balancer(BALANCER).rule(lab.RuleKey("lbl-1", "loc-1"))
        return {f"{key.address}:{key.port}": weight for key, weight in rule.weights.items()}

    def tasks(self) -> int:
        return len(self.emulator.state()["tasks"])

    def write(self) -> Operation:
        return self.provider.submit([Change(SHOP, AFTER)])

    def read(self) -> dict[str, int]:
        return self.provider.observe([SHOP])[SHOP.id].weights

    def done(self) -> bool:
        """Whether the write is carried out in the end; a slow one is by then."""
        deadline = time.monotonic() + 2 * LONGEST_CALL_SECONDS
        while self.weights() != AFTER and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.weights() == AFTER


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    cloud = Cloud(tmp_path)
    # The connection is open and kept alive, as it is in the middle of a migration.
    assert cloud.read() == BEFORE
    yield cloud
    cloud.emulator.stop()


def test_every_kind_of_fault_is_tried_on_every_call_it_can_strike() -> None:
    assert ON_READ.keys() == set(FaultKind) - WRITE_KINDS - READ_KINDS
    assert ON_WRITE.keys() == set(FaultKind) - TASK_KINDS - READ_KINDS
    assert ON_TASK.keys() == TASK_KINDS


@pytest.mark.fault(
    on="Tencent API",
    fault="a read fails: throttled, reset, cut off, slow, HTML, wrong Content-Type, InternalError",
    does="calls it unavailable, sends nothing twice, recovers with the next read",
    sees="hold `provider`: the action and what was said",
    safe_within="3 x timeout",
)
@pytest.mark.parametrize("action", READS)
@pytest.mark.parametrize("kind", ON_READ)
def test_a_read_that_fails_is_unavailable_and_the_next_one_is_right(cloud: Cloud, kind: FaultKind, action: str) -> None:
    cloud.fails(kind, action)
    began = time.monotonic()

    if (expected := ON_READ[kind]) is None:
        assert cloud.read() == BEFORE
    else:
        with pytest.raises(ShifterError, match=action) as caught:
            cloud.read()
        assert type(caught.value) is expected
    assert time.monotonic() - began < LONGEST_CALL_SECONDS
    assert cloud.read() == BEFORE


@pytest.mark.fault(
    on="Tencent API",
    fault="a write fails before it is carried out: throttled, quota, locked, reset, HTML, InternalError",
    does="not sent twice; busy is tried again, the rest is read back first",
    sees="the provider's own words in the reason",
    safe_within="3 x timeout",
)
@pytest.mark.parametrize("kind", [kind for kind, (_, done) in ON_WRITE.items() if not done])
def test_a_write_that_fails_before_is_not_carried_out(cloud: Cloud, kind: FaultKind) -> None:
    cloud.fails(kind)
    began = time.monotonic()

    with pytest.raises(ShifterError, match=WRITE) as caught:
        cloud.write()
    assert type(caught.value) is ON_WRITE[kind][0]
    assert time.monotonic() - began < LONGEST_CALL_SECONDS
    assert cloud.tasks() == 0
    assert cloud.read() == BEFORE


@pytest.mark.fault(
    on="Tencent API",
    fault="a write's answer fails after it was carried out: lost, reset, cut off, slow, InternalError",
    does="not sent twice; found in force by reading back",
    sees="nothing, or `it is not known whether the write was carried out`",
    safe_within="3 x timeout",
)
@pytest.mark.parametrize("kind", [kind for kind, (_, done) in ON_WRITE.items() if done])
def test_a_write_that_fails_after_is_carried_out_once(cloud: Cloud, kind: FaultKind) -> None:
    cloud.fails(kind)
    began = time.monotonic()

    if (expected := ON_WRITE[kind][0]) is None:
        cloud.write()
    else:
        with pytest.raises(ShifterError, match=WRITE) as caught:
            cloud.write()
        assert type(caught.value) is expected
    assert time.monotonic() - began < LONGEST_CALL_SECONDS
    assert cloud.done()
    assert cloud.tasks() == 1


@pytest.mark.fault(
    on="Tencent API",
    fault="a task fails, lies, is half applied or never ends",
    does="what the task says is passed on and never believed without reading back",
    sees="what the task said",
    safe_within="at once",
)
@pytest.mark.parametrize("kind", ON_TASK)
def test_what_a_task_says_is_passed_on_as_it_says_it(cloud: Cloud, kind: FaultKind) -> None:
    cloud.fails(kind)
    operation = cloud.write()

    progress, _ = ON_TASK[kind]
    assert cloud.provider.check(operation).progress is progress
    assert cloud.read() != AFTER


@pytest.mark.parametrize("kind", [kind for kind in ON_READ if kind is not FaultKind.SLOW])
def test_a_task_that_cannot_be_asked_after_is_asked_after_again(cloud: Cloud, kind: FaultKind) -> None:
    operation = cloud.write()
    cloud.fails(kind, "DescribeTaskStatus")

    if (expected := ON_READ[kind]) is not None:
        with pytest.raises(ShifterError, match="DescribeTaskStatus") as caught:
            cloud.provider.check(operation)
        assert type(caught.value) is expected
    assert cloud.provider.check(operation).progress is Progress.DONE


def test_a_task_that_never_ends_keeps_the_balancer_busy_until_somebody_releases_it(cloud: Cloud) -> None:
    cloud.fails(FaultKind.TASK_ENDLESS, seconds=60)
    operation = cloud.write()

    with pytest.raises(ProviderUnavailableError, match="ResourceInOperating"):
        cloud.write()
    cloud.emulator.release_lock(BALANCER)
    again = cloud.write()
    assert cloud.provider.check(operation).progress is Progress.RUNNING
    assert cloud.provider.check(again).progress is Progress.DONE
    assert cloud.read() == AFTER


def test_a_balancer_locked_by_another_actor_is_busy_for_as_long_as_that_lasts(cloud: Cloud) -> None:
    cloud.fails(FaultKind.LOCKED, seconds=0.3)

    for _ in range(2):
        with pytest.raises(ProviderUnavailableError, match="ResourceInOperating"):
            cloud.write()
    deadline = time.monotonic() + 5
    while not cloud.tasks() and time.monotonic() < deadline:
        try:
            cloud.write()
        except ProviderUnavailableError:
            time.sleep(0.05)
    assert cloud.read() == AFTER


@pytest.mark.fault(
    on="Tencent API",
    fault="answers have null where the documents allow it",
    does="reads the rest; what it needs and does not find refuses the route for this look",
    sees="nothing, or hold `preflight`: no rule for the host",
    safe_within="one tick",
)
def test_answers_with_nulls_are_read_or_refused_and_never_misread(cloud: Cloud) -> None:
    for action in (*READS, "DescribeTaskStatus"):
        cloud.fails(FaultKind.NULLS, action, times=1000)
    for _ in range(15):
        view = cloud.provider.observe([SHOP])[SHOP.id]

        assert view.refusal or view.weights == BEFORE


def test_a_storm_of_everything_raises_nothing_foreign_and_does_no_more_than_was_asked(cloud: Cloud) -> None:
    dice = random.Random(9)  # noqa: S311 - dice of a test
    asked, said = 0, ["nothing"]
    quick = [kind for kind in FaultKind if kind not in {FaultKind.SLOW, FaultKind.LOST_REPLY, FaultKind.LOCKED}]
    for _ in range(40):
        kind = dice.choice(quick)
        cloud.fails(kind, dice.choice(READS) if kind in READ_KINDS else WRITE, seconds=0.0)
        asked += 1
        try:
            cloud.provider.check(cloud.write())
        except ShifterError as error:
            said.append(str(error))

    assert cloud.tasks() <= asked
    assert all(sentence.isprintable() for sentence in said)
