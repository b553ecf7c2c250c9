"""An emulator of Tencent Cloud, driven by Tencent's own SDK, with a clock that only moves when a test moves it.

The clock stands still, so a rate limit is exact, a task is unfinished until told otherwise, and nothing here
ever sleeps. It starts at the real time because the SDK signs with the real one.

Every test has its own emulator, but all stand behind one HTTP server, because starting and stopping one takes
longer than most tests. The emulator's own start and stop are tested where they are the subject.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from tencentcloud.clb.v20180317.clb_client import ClbClient
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

from shifter.lab.emulator import Emulator, Health, Listener, LoadBalancer, Rule, Target, TargetGroup, TargetKind
from shifter.lab.emulator.api import Admitted
from shifter.lab.emulator.envelope import Reply
from shifter.lab.emulator.server import LoopbackServer, Web
from shifter.lab.emulator.signing import HttpRequest

SECRET_ID, SECRET_KEY = "AKIDlab", "lab-secret"


class StandingClock:
    def __init__(self) -> None:
        self.now = float(int(time.time())) + 0.5

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def advance(clock: StandingClock) -> Callable[[float], None]:
    return clock.advance


def rules_of_layer_7() -> tuple[Rule, ...]:
    """One rule with targets of two kinds, and one whose targets are a group's."""
    shop = Rule(
        location_id="loc-shop",
        domain="shop.example.com",
        url="/",
        session_expire_time_seconds=120,
        targets=(
            Target(kind=TargetKind.CVM, instance_id="ins-tcm1", ip="10.0.0.1", port=30080, weight=100),
            Target(kind=TargetKind.CVM, instance_id="ins-tcm2", ip="10.0.0.2", port=30080, weight=100),
            Target(kind=TargetKind.ENI, ip="10.1.0.1", port=8080, weight=0, eni_id="eni-1", instance_id="ins-node"),
            Target(kind=TargetKind.ENI, ip="10.1.0.2", port=8080, weight=0, eni_id="eni-2"),
        ),
    )
    grouped = Rule(
        location_id="loc-grouped",
        domain="grouped.example.com",
        url="/",
        target_type="TARGETGROUP",
        target_groups=(TargetGroup("lbtg-1", "group"),),
        targets=(Target(kind=TargetKind.CVM, instance_id="ins-tcm1", ip="10.0.0.1", port=30080),),
    )
    return shop, grouped


def rule_of_layer_4() -> Rule:
    """A listener's own rule, with a target of either kind."""
    return Rule(
        location_id="loc-tcp",
        scheduler="LEAST_CONN",
        targets=(
            Target(kind=TargetKind.CVM, instance_id="ins-tcm1", ip="10.0.0.1", port=30090, weight=100),
            Target(kind=TargetKind.ENI, ip="10.1.0.1", port=9090, weight=0, eni_id="eni-1", health=Health.DEAD),
        ),
    )


def odd_balancers() -> list[LoadBalancer]:
    """One that TKE manages, one of the classic kind, and one without health checks."""
    managed = Rule(
        location_id="loc-tke",
        targets=(Target(kind=TargetKind.CVM, instance_id="ins-9", ip="10.0.0.9", port=30080),),
    )
    unchecked = Rule(
        location_id="loc-unchecked",
        health_check_on=False,
        targets=(Target(kind=TargetKind.ENI, ip="10.1.0.9", port=53, health=Health.DEAD),),
    )
    return [
        LoadBalancer(
            load_balancer_id="lb-tke",
            name="cls-1_default_gateway",
            tags=(("tke-createdBy-flag", "yes"), ("tke-lb-serviceuuid", "0f0f")),
            listeners=(Listener(listener_id="lbl-tke", protocol="TCP", port=80, rules=(managed,)),),
        ),
        LoadBalancer(load_balancer_id="lb-classic", forward=False, listeners=()),
        LoadBalancer(
            load_balancer_id="lb-unchecked",
            listeners=(Listener(listener_id="lbl-unchecked", protocol="UDP", port=53, rules=(unchecked,)),),
        ),
    ]


@pytest.fixture
def balancers() -> list[LoadBalancer]:
    """One balancer with both layers, every way to bind a target, and one of each odd kind."""
    both_layers = LoadBalancer(
        load_balancer_id="lb-shop",
        name="shop",
        vips=("203.0.113.7",),
        listeners=(
            Listener(listener_id="lbl-http", protocol="HTTP", port=80, rules=rules_of_layer_7()),
            Listener(listener_id="lbl-tcp", protocol="TCP", port=9000, rules=(rule_of_layer_4(),)),
        ),
    )
    return [both_layers, *odd_balancers()]


@pytest.fixture
def emulator(balancers: list[LoadBalancer], clock: StandingClock) -> Emulator:
    return Emulator(
        balancers=balancers,
        region="ap-guangzhou",
        secret_id=SECRET_ID,
        secret_key=SECRET_KEY,
        clock=clock,
        rng=random.Random(7),  # noqa: S311 - seeded on purpose
        task_delay_seconds=(0.2, 0.5),
    )


class Switch:
    """Serves whichever emulator is the present test's."""

    present: Emulator

    def admit(self, request: HttpRequest) -> Admitted | Reply:
        return self.present.admit(request)

    def perform(self, admitted: Admitted) -> Reply:
        return self.present.perform(admitted)

    def control(self, name: str, order: object) -> Mapping[str, Any]:
        return self.present.control(name, order)

    def state(self) -> Mapping[str, Any]:
        return self.present.state()


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[Switch, int]]:
    switch, stopping = Switch(), threading.Event()
    server = LoopbackServer(Web(switch, stopping=stopping, lost_reply_seconds=30.0).app())
    yield switch, server.start(0)
    stopping.set()
    server.stop()


@pytest.fixture
def port(served: tuple[Switch, int], emulator: Emulator) -> int:
    """The port at which this test's emulator answers."""
    switch, port = served
    switch.present = emulator
    return port


@pytest.fixture
def make_sdk(port: int) -> Iterator[Callable[..., ClbClient]]:
    """Build official clients of the running emulator; each part of the identity can be got wrong."""
    made: list[ClbClient] = []

    def make(
        *,
        secret_id: str = SECRET_ID,
        secret_key: str = SECRET_KEY,
        region: str = "ap-guangzhou",
        timeout_seconds: float = 5.0,
        at_port: int = port,
        **profile: object,
    ) -> ClbClient:
        http = HttpProfile(protocol="http", endpoint=f"127.0.0.1:{at_port}", reqTimeout=timeout_seconds)
        client_profile = ClientProfile(httpProfile=http)
        for name, value in profile.items():
            setattr(client_profile, name, value)
        client = ClbClient(Credential(secret_id, secret_key), region, client_profile)
        # The SDK reads proxies itself, and then requests reads them again.
        client.request.conn.proxy = None
        client.request.conn._session.trust_env = False
        made.append(client)
        return client

    yield make
    for client in made:
        client.request.conn._session.close()


@pytest.fixture
def sdk(make_sdk: Callable[..., ClbClient]) -> ClbClient:
    return make_sdk()


@pytest.fixture
def call(sdk: ClbClient) -> Callable[[str, Mapping[str, Any]], dict[str, Any]]:
    """Send any action with any parameters, signed by the SDK, and return what is inside Response."""

    def send(action: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        response: dict[str, Any] = sdk.call_json(action, dict(parameters))["Response"]
        return response

    return send


@pytest.fixture
def refused(sdk: ClbClient) -> Callable[[str, Mapping[str, Any]], str]:
    """Send what must be refused, and return the error code."""

    def send(action: str, parameters: Mapping[str, Any]) -> str:
        with pytest.raises(TencentCloudSDKException) as caught:
            sdk.call_json(action, dict(parameters))
        return str(caught.value.code)

    return send
