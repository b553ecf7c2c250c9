"""The lab's files are such as a user would write: the service's own reader takes them as they are."""

import stat
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from shifter.core.documents.fleet import Fleet
from shifter.core.documents.policy import ShiftPolicy
from shifter.files.documents import load_fleet, load_policy
from shifter.lab.account import SECRET_ID, SECRET_KEY, Account, open_account
from shifter.lab.files import LAB_PACE, NOTHING_OWN, Own, Pace, merged, write_all
from shifter.lab.scenarios import SCENARIOS
from shifter.lab.story import Scenario
from shifter.lab.topology import Namespace, lay_out, ports_needed
from shifter.service.policy_files import PolicyFolder

BALANCER_OF = {"shop": "lb-front0002", "pay": "lb-front0001", "search": "lb-front0001"}
URLS = {"tcm": "http://127.0.0.1:19090", "istio": "http://127.0.0.1:19091"}
QUICK = Pace(steps=(25, 100), tick_seconds=0.5, scrape_seconds=0.5, soak_seconds=1.5, hold_seconds=2.0)


@pytest.fixture
def account() -> Account:
    return account_of(BALANCER_OF)


def account_of(balancer_of: Mapping[str, str]) -> Account:
    namespaces = [Namespace(name) for name in balancer_of]
    gateways = lay_out(namespaces, range(20_000, 20_000 + ports_needed())).gateways
    return open_account(namespaces, balancer_of, gateways)


def written(
    directory: Path, account: Account, pace: Pace, own: Own = NOTHING_OWN
) -> tuple[Fleet, dict[str, ShiftPolicy]]:
    write_all(directory, account, 18_000, URLS, pace, own=own)
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
    assert spec.analysis.hold.total_seconds() == QUICK.hold_seconds


@pytest.mark.parametrize("told", SCENARIOS.values(), ids=list(SCENARIOS))
def test_every_scenarios_files_pass_the_services_own_lint(tmp_path: Path, told: Scenario) -> None:
    own = Own(told.spec_of, told.fleet_spec)

    _, policies = written(tmp_path, account_of(told.balancer_of), LAB_PACE, own)
    found = PolicyFolder(tmp_path / "policies").reload()

    assert (found.problems, dict(found.policies)) == ((), policies)


def test_a_scenario_gives_each_namespace_and_the_fleet_their_own_parts(tmp_path: Path, account: Account) -> None:
    parts = {"pay": {"steps": "auto", "onFailure": "stepBack", "analysis": {"falseRollbackPercent": 5}}}
    own = Own(spec_of=parts, fleet_spec={"timing": {"tick": "2s"}})

    fleet, policies = written(tmp_path, account, QUICK, own)

    pay, shop = policies["pay"].spec, policies["shop"].spec
    assert (pay.steps, pay.on_failure, shop.steps, shop.on_failure) == ((), "stepBack", QUICK.steps, "rollback")
    assert (pay.analysis.false_rollback_percent, pay.analysis.hold) == (5, timedelta(seconds=QUICK.hold_seconds))
    assert fleet.spec.timing.tick == timedelta(seconds=2)
    assert fleet.spec.timing.report_every == timedelta(seconds=QUICK.tick_seconds)


def test_parts_for_a_namespace_that_is_not_there_are_refused(tmp_path: Path, account: Account) -> None:
    with pytest.raises(ValueError, match="no policy is written for cart"):
        written(tmp_path, account, QUICK, Own(spec_of={"cart": {}}))


@pytest.mark.parametrize(
    ("own", "together"),
    [
        ({}, {"a": 1, "b": {"c": 2, "d": 3}}),
        ({"a": 5}, {"a": 5, "b": {"c": 2, "d": 3}}),
        ({"b": {"c": 5}}, {"a": 1, "b": {"c": 5, "d": 3}}),
        ({"b": 5}, {"a": 1, "b": 5}),
        ({"a": {"e": 5}}, {"a": {"e": 5}, "b": {"c": 2, "d": 3}}),
        ({"a": None, "b": {"d": None}}, {"b": {"c": 2}}),
        ({"f": None}, {"a": 1, "b": {"c": 2, "d": 3}}),
    ],
)
def test_own_parts_are_laid_over_what_all_have(own: Mapping[str, object], together: Mapping[str, object]) -> None:
    base = {"a": 1, "b": {"c": 2, "d": 3}}

    assert merged(base, own) == together
    assert base == {"a": 1, "b": {"c": 2, "d": 3}}


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
