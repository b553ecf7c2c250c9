"""`backtest`: what a policy would have said about metrics that a real Prometheus recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import Result

from tests.recorded import Recording, steady

if TYPE_CHECKING:
    from tests.cli.conftest import World

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
TICK = timedelta(seconds=15)
FROM, TO = "2026-01-05T01:00:00Z", "2026-01-05T02:00:00Z"
TICKS = range(490)
BAD_FROM = 360
"""Half an hour into the range."""


def turning_bad(requests: int, seed: int) -> Callable[[int], tuple[float, float]]:
    """Return the traffic of a pod that fails a fifth of its requests from half an hour into the range on."""
    well = steady(requests, 0.5, seed)
    return lambda tick: (requests, requests / 5) if tick >= BAD_FROM else well(tick)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve two hours of many meshes; yield the address."""
    recording = Recording(BEGIN)
    for seed in (1, 2):
        recording.pod("tcm", f"tcm-{seed}", steady(60, 0.5, seed), TICKS)
        recording.pod("late", f"late-{seed}", steady(60, 0.5, seed), range(300, 490))
        recording.pod("quiet", f"quiet-{seed}", lambda _: (0, 0), TICKS)
    recording.pod("lopsided", "lopsided-1", steady(60, 0.1, 1), TICKS)
    recording.pod("lopsided", "lopsided-2", turning_bad(60, 2), TICKS)
    recording.pod("alone", "alone-1", steady(60, 0.5, 3), TICKS)
    recording.pod("istio", "istio-1", steady(40, 0.5, 4), TICKS)
    recording.pod("bad", "bad-1", turning_bad(40, 5), TICKS)
    recording.pod("moved", "moved-1", lambda tick: (1, 0) if tick < BAD_FROM else (100, 0), TICKS)
    with recording.served(tmp_path_factory.mktemp("recorded")) as url:
        yield url


class Asker:
    """Runs `backtest` with the files of one policy; `source` and `target` are names of recorded meshes."""

    def __init__(self, world: World, url: str, folder: Path) -> None:
        self.world, self.url, self.folder = world, url, folder
        self.source, self.target = "tcm", "istio"
        self.spec: dict[str, Any] = {}
        world.now = BEGIN + 2 * timedelta(hours=1)

    def run(self, *args: str, begin: str = FROM, end: str = TO) -> Result:
        sides = {
            side: {"url": self.url, "matchers": {"app": mesh}, "podMatchers": {"app": mesh}, "edgesMs": [5, 100, 500]}
            for side, mesh in (("source", self.source), ("target", self.target))
        }
        tencent = {"secretIdFile": "id", "secretKeyFile": "key"}
        fleet = {"kind": "Fleet", "metadata": {"name": "lab"}}
        fleet["spec"] = {"datasources": sides, "provider": {"tencent": tencent}}
        (self.folder / "fleet.yaml").write_text(json.dumps(fleet))
        (self.folder / "shop.yaml").write_text(json.dumps(self._policy()))
        files = ("--policy", str(self.folder / "shop.yaml"), "--fleet", str(self.folder / "fleet.yaml"))
        return self.world.run("backtest", *files, "--from", begin, "--to", end, *args)

    def json(self, *args: str, **more: str) -> Any:  # noqa: ANN401 - whatever the document holds
        ran = self.run(*args, "-o", "json", **more)
        assert ran.exit_code == 0, ran.stderr
        return json.loads(ran.stdout)

    def _policy(self) -> dict[str, Any]:
        clb = {
            "region": "ap-guangzhou",
            "loadBalancer": "lb-1",
            "routes": [{"listener": "lbl-1", "domain": "shop.example.com", "url": "/"}],
            "source": {"port": 30080},
            "target": {"port": 31080},
        }
        spec = {"namespace": "shop", "traffic": {"clb": clb}, "steps": "auto", "soak": "30s", **self.spec}
        return {"kind": "ShiftPolicy", "metadata": {"name": "shop"}, "spec": spec}


@pytest.fixture
def asker(world: World, prometheus: str, tmp_path: Path) -> Asker:
    return Asker(world, prometheus, tmp_path)


def test_healthy_target_goes_on_and_never_back(asker: Asker) -> None:
    found = asker.json()

    assert {each["said"] for each in found["said"]} == {"hold", "advance"}
    assert found["said"][-1]["said"] == "advance"
    assert (found["ticks"], found["countedTicks"]) == (240, 240)
    assert found["share"] == pytest.approx(25)
    assert found["shareObserved"]
    assert found["history"]["ticks"] == 240
    assert found["falseAlarms"]["alarms"] == []


def test_target_that_turned_bad_goes_back_within_three_minutes_and_again_after_the_rest(asker: Asker) -> None:
    asker.target = "bad"
    found = asker.json("--window", "10m")
    bad_from = BEGIN + BAD_FROM * TICK
    backs = [each for each in found["changes"] if each["said"] == "rollback"]
    first, second = (datetime.fromisoformat(each["at"]) for each in backs[:2])

    assert bad_from < first <= bad_from + timedelta(minutes=3)
    assert timedelta(minutes=10) < second - first <= timedelta(minutes=12)
    assert "istio fails" in backs[0]["reason"]
    assert "limit 100:1" in backs[0]["reason"]
    assert backs[0]["odds"] >= 100


def test_word_for_going_back_is_what_the_policy_says(asker: Asker) -> None:
    asker.target, asker.spec = "bad", {"onFailure": "stepBack"}

    assert "stepBack" in {each["said"] for each in asker.json()["said"]}


def test_share_that_is_given_is_what_is_judged_and_less_is_lost(asker: Asker) -> None:
    found = asker.json("--share", "90")

    assert found["share"] == 90
    assert not found["shareObserved"]
    assert "requests are lost on the way" in found["changes"][1]["reason"]


def test_halves_of_the_source_estimate_false_alarms_with_their_upper_limit(asker: Asker) -> None:
    alarms = asker.json("--window", "6m")["falseAlarms"]

    assert (alarms["windows"], alarms["skipped"], alarms["alarms"]) == (10, 0, [])
    assert alarms["upperLimitPercent"] == pytest.approx(100 * (1 - 0.05 ** (1 / 10)))
    assert 0 < alarms["highestOdds"] < 100


def test_pods_of_the_source_that_differ_are_false_alarms(asker: Asker) -> None:
    asker.source = "lopsided"
    alarms = asker.json("--window", "10m")["falseAlarms"]

    assert alarms["windows"] == 6
    assert [datetime.fromisoformat(each["at"]) >= BEGIN + BAD_FROM * TICK for each in alarms["alarms"]] == [True] * 3
    assert alarms["upperLimitPercent"] > 50


def test_one_window_is_one_and_a_whole_is_100_percent(asker: Asker) -> None:
    asker.source = "lopsided"
    said = " ".join(asker.run("--window", "1h").stdout.split())

    assert "1 of 1 window of 1h would have rolled back (95 % upper limit 100 %)" in said


def test_one_source_pod_cannot_be_held_against_itself(asker: Asker) -> None:
    asker.source = "alone"
    ran = asker.run()

    assert ran.exit_code == 0
    said = " ".join(ran.stdout.split())
    assert "false alarms: cannot be estimated: tcm showed no two gateway pods at a time" in said
    assert "dispersion 2 (assumed: one pod)" in said


def test_without_a_target_only_the_source_is_judged(asker: Asker) -> None:
    asker.target = "nobody"
    found = asker.json()

    assert found["share"] is None
    assert found["said"] == []
    assert "istio answered no request of it in this range" in found["remarks"][0]
    assert found["remarks"][1].startswith("istio is not recorded in this range: istio metrics (")
    assert 'neither envoy_server_uptime{app="nobody"} nor istio_requests_total{app="nobody"}' in found["remarks"][1]
    assert found["falseAlarms"]["windows"] == 2


def test_share_that_moved_is_told(asker: Asker) -> None:
    asker.target = "moved"
    (remark,) = asker.json()["remarks"]

    assert remark.startswith("istio's share was between 0.826 % and 45.5 %, and is taken to be")
    assert remark.endswith("give a range within one step")


def test_table_shows_changes_course_and_false_alarms_in_words(asker: Asker) -> None:
    asker.target = "bad"
    shown = asker.run().stdout
    lines = shown.splitlines()

    assert lines[0].startswith("shop: tcm 75 · istio 25, as the metrics show; 2026-01-05 09:00:00 +08:00 to")
    assert "it would have said: hold in " in shown
    assert ["TIME", "SAID", "ODDS", "REASON"] in [line.split() for line in lines]
    assert any(line.startswith("TIME ") and " ERRORS " in line and line.endswith(" ANSWERS") for line in lines)
    assert "false alarms, tcm's pods against each other: 0 of 2 windows of 30m would have rolled back" in " ".join(
        lines
    )
    assert "(95 % upper limit 78 %)" in " ".join(lines)


def test_table_fits_a_terminal_of_80_columns(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    asker.world.terminal, asker.target = True, "bad"

    assert max(len(line) for line in asker.run().stdout.splitlines()) <= 80


@pytest.mark.parametrize(
    ("begin", "end", "sentence"),
    [
        (TO, FROM, "the range is empty: --from 2026-01-05 10:00:00 +08:00 is not before --to"),
        (FROM, FROM, "the range is empty"),
        ("now", "2026-01-05T03:00:00Z", "is in the future; nothing is recorded yet"),
        ("-20s", "now", "the range is shorter than 2 ticks of 15s"),
        ("-8d", "now", "the range has 46080 ticks of 15s; at most 40320 (7d) at a time"),
        ("2026-01-05T01:00:00", "now", "has no time zone: add Z, or an offset such as +08:00"),
        ("yesterday", "now", "is no time such as 2026-11-21T12:00:00Z, -6h or now"),
        ("2026-01-05", "now", "is no time such as"),
        ("-6", "now", "is no span before now, such as -6h or -90m"),
        ("-9999999d", "now", "is no span before now"),
    ],
)
def test_range_that_cannot_be_judged_is_a_usage_error(asker: Asker, begin: str, end: str, sentence: str) -> None:
    ran = asker.run(begin=begin, end=end)

    assert ran.exit_code == 2
    assert sentence in ran.stderr


def test_window_of_less_than_two_ticks_is_a_usage_error(asker: Asker) -> None:
    ran = asker.run("--window", "20s")

    assert ran.exit_code == 2
    assert "--window is shorter than 2 ticks of 15s" in ran.stderr


def test_window_longer_than_the_range_estimates_nothing(asker: Asker) -> None:
    ran = asker.run("--window", "6h")

    assert ran.exit_code == 0
    assert "false alarms: cannot be estimated: no window of 6h has enough in it; 1 more had" in " ".join(
        ran.stdout.split()
    )


def test_range_before_the_sources_first_metrics_is_refused_with_when_they_begin(asker: Asker) -> None:
    asker.source = "late"
    ran = asker.run()

    assert ran.exit_code == 3
    assert "nothing of tcm is recorded before 2026-01-05 09:15, and the range begins 2026-01-05 09:00" in ran.stderr
    assert "keeps less (retention)" in ran.stderr
    assert "\nhint: begin later: --from 2026-01-05T09:15:00+08:00\n" in ran.stderr
    assert asker.run(begin="2026-01-05T09:15:00+08:00").exit_code == 0


def test_source_that_is_not_recorded_at_all_is_not_found(asker: Asker) -> None:
    asker.source = "nobody"
    ran = asker.run()

    assert ran.exit_code == 3
    assert "nothing of tcm is recorded from 2026-01-05 08:00 to 2026-01-05 10:00" in ran.stderr
    assert "shows no gateway pod, neither envoy_server_uptime" in ran.stderr
    assert "hint: ask its Prometheus for these series over these times; if it keeps less" in ran.stderr


def test_range_that_ends_before_the_source_is_known_says_what_is_missing(asker: Asker) -> None:
    asker.source = "late"
    ran = asker.run(begin="2026-01-05T01:15:00Z", end="2026-01-05T01:16:00Z")

    assert ran.exit_code == 3
    assert "the range ends before tcm is known: learning what tcm is like" in ran.stderr
    assert "hint: make the range longer, or begin where more is recorded before it" in ran.stderr


LACKS = (
    'no series of istio_requests_total{app="%s"} names shoop in destination_service or destination_service_namespace '
    "(named are: shop); if it had requests then, check `namespace` in the policy, and `matchers` and `labels` in the "
    "fleet"
)


def test_namespace_that_no_series_names_is_told_with_what_was_asked_and_what_is_there(asker: Asker) -> None:
    asker.spec = {"namespace": "shoop"}

    assert asker.json()["remarks"][1:] == [f"{mesh}: {LACKS % mesh}" for mesh in ("tcm", "istio")]


def test_namespace_that_no_series_names_is_the_hint_where_nothing_can_be_learnt_of_it(asker: Asker) -> None:
    asker.source, asker.spec = "late", {"namespace": "shoop"}
    ran = asker.run(begin="2026-01-05T01:15:00Z")

    assert ran.exit_code == 3
    assert "the range ends before tcm is known" in ran.stderr
    assert f"hint: tcm: {LACKS % 'late'}\n" in ran.stderr


def test_target_whose_recording_begins_late_is_told_with_from_when_on_to_ask(asker: Asker) -> None:
    asker.target = "late"
    (remark,) = asker.json()["remarks"]

    assert remark.startswith("istio is recorded from 2026-01-05 09:15 on, and nothing before that says anything:")
    assert remark.endswith("leave it out with --from 2026-01-05T09:15:00+08:00")
    assert asker.json(begin="2026-01-05T09:15:00+08:00")["remarks"] == []


def test_namespace_that_nobody_uses_can_be_judged_all_the_same(asker: Asker) -> None:
    asker.source = asker.target = "quiet"
    asker.target = "istio"
    found = asker.json()

    assert found["history"]["requests"] == 0
    assert found["falseAlarms"]["windows"] == 0
    assert found["falseAlarms"]["skipped"] == 2


def test_prometheus_that_does_not_answer_is_unreachable(asker: Asker) -> None:
    asker.url = "http://127.0.0.1:1"
    ran = asker.run()

    assert ran.exit_code == 5
    assert "tcm metrics (http://127.0.0.1:1)" in ran.stderr


def test_policy_that_does_not_fit_the_fleet_is_refused(asker: Asker) -> None:
    asker.spec = {"analysis": {"custom": [{"name": "checkout"}]}}
    ran = asker.run()

    assert ran.exit_code == 2
    assert "the fleet's customMetrics define no 'checkout'" in ran.stderr


def test_yaml_is_the_same_document(asker: Asker) -> None:
    shown = asker.run("-o", "yaml").stdout

    assert shown.startswith("apiVersion: shifter.io/v1alpha1\nkind: Backtest\n")
