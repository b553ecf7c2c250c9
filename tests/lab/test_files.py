"""The lab's files are such as a user would write: the service's own reader takes them as they are."""

import stat
from pathlib import Path

import pytest

from shifter.core.fleet import Fleet
from shifter.core.policy import ShiftPolicy
from shifter.files.documents import load_fleet, load_policy
from shifter.lab.account import SECRET_ID, SECRET_KEY, Account, open_account
from shifter.lab.files import LAB_PACE, Pace, write_all
from shifter.lab.topology import Namespace, lay_out, ports_needed
from shifter.service.policy_files import PolicyFolder

BALANCER_OF = {"shop": "lb-front0002", "pay": "lb-front0001", "search": "lb-front0001"}
URLS = {"tcm": "http://127.0.0.1:19090", "istio": "http://127.0.0.1:19091"}
QUICK = Pace(steps=(25, 100), tick_seconds=0.5, scrape_seconds=0.5, soak_seconds=1.5, window_seconds=2.0)


@pytest.fixture
def account() -> Account:
    namespaces = [Namespace(name) for name in BALANCER_OF]
    gateways = lay_out(namespaces, range(20_000, 20_000 + ports_needed())).gateways
    return open_account(namespaces, BALANCER_OF, gateways)


def written(directory: Path, account: Account, pace: Pace) -> tuple[Fleet, dict[str, ShiftPolicy]]:
    write_all(directory, account, 18_000, URLS, pace)
    policies = {path.stem: load_policy(path) for path in (directory / "policies").iterdir()}
    return load_fleet(directory / "fleet.yaml"), policies


@pytest.mark.parametrize("pace", [LAB_PACE, QUICK], ids=["lab", "quick"])
def test_every_file_passes_the_services_own_lint(tmp_path: Path, account: Account, pace: Pace) -> None:
    fleet, policies = written(tmp_path, account, pace)

    found = PolicyFolder(tmp_path / "policies").reload()

    assert fleet.spec.timing.tick.total_seconds() == pace.tick_seconds
    assert policies.keys() == BALANCER_OF.keys()
    assert (found.problems, dict(found.policies)) == ((), policies)


def test_a_policy_moves_the_namespaces_own_rule_between_both_gateways(tmp_path: Path, account: Account) -> None:
    _, policies = written(tmp_path, account, LAB_PACE)

    [route] = policies["pay"].routes

    place = account.places["pay"]
    assert (route.balancer, route.listener, route.host, route.path) == (
        place.balancer,
        place.listener,
        "pay.example.com",
        "/",
    )
    assert {key.port for key in account.gateway_port} == {*route.source.ports, *route.target.ports}
    assert not set(route.source.ports) & set(route.target.ports)


def test_the_pace_is_in_the_policy(tmp_path: Path, account: Account) -> None:
    _, policies = written(tmp_path, account, QUICK)

    spec = policies["shop"].spec

    assert spec.steps == QUICK.steps
    assert spec.soak.total_seconds() == QUICK.soak_seconds
    assert spec.analysis.window.total_seconds() == QUICK.window_seconds
    assert spec.analysis.min_requests == QUICK.min_requests


def test_each_side_reads_its_own_prometheus(tmp_path: Path, account: Account) -> None:
    fleet, _ = written(tmp_path, account, LAB_PACE)

    sources = fleet.spec.datasources

    assert (sources.source.url, sources.target.url) == (URLS["tcm"], URLS["istio"])


def test_keys_are_files_that_only_their_owner_reads(tmp_path: Path, account: Account) -> None:
    fleet, _ = written(tmp_path, account, LAB_PACE)

    tencent = fleet.spec.provider.tencent
    keys = [Path(tencent.secret_id_file), Path(tencent.secret_key_file)]

    assert [key.read_text() for key in keys] == [SECRET_ID, SECRET_KEY]
    assert [stat.S_IMODE(key.stat().st_mode) for key in keys] == [0o600, 0o600]
    assert stat.S_IMODE(keys[0].parent.stat().st_mode) == 0o700


def test_no_secret_is_in_a_file_that_is_not_a_key(tmp_path: Path, account: Account) -> None:
    written(tmp_path, account, LAB_PACE)

    texts = [path.read_text() for path in tmp_path.rglob("*.yaml")]

    assert len(texts) == 1 + len(BALANCER_OF)
    assert not [text for text in texts if SECRET_ID in text or SECRET_KEY in text]
