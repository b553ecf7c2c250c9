"""Started on a bad day: it refuses with a sentence where nothing is under way, else it holds and goes on by itself."""

from __future__ import annotations

import re
import subprocess

import pytest

from shifter.core.phases import Phase
from shifter.lab.account import SECRET_KEY
from tests.process.conftest import DEADLINE_SECONDS, Stage, assert_safe


def refused(stage: Stage) -> subprocess.CompletedProcess[str]:
    """Start another service as a person would, and wait until it refuses."""
    return subprocess.run(
        stage.argv, env=stage.environment, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )


@pytest.mark.fault(
    on="process",
    fault="is started while the provider's keys are wrong",
    does="starts, holds at 0 %, and goes on when the files are right",
    sees="hold `provider`: AuthFailure",
    safe_within="at once",
)
def test_started_with_wrong_keys_it_holds_until_the_file_is_right(stage: Stage) -> None:
    key = stage.path / "keys" / "secret-key"
    key.write_text("not-the-key")
    stage.start()
    stage.until(lambda: "AuthFailure" in str(stage.holds()), "it does not say so")
    shares = stage.shares()
    key.write_text(SECRET_KEY)
    stage.until_phase(Phase.COMPLETED)

    assert shares == []
    assert_safe(stage)


@pytest.mark.fault(
    on="process",
    fault="is started while the provider cannot be reached",
    does="starts, holds at 0 %, and goes on when it answers",
    sees="hold `provider`: cannot connect",
    safe_within="at once",
)
def test_started_while_the_provider_is_down_it_holds_until_it_answers(stage: Stage) -> None:
    stage.cloud_goes_away()
    stage.start()
    stage.until(lambda: "cannot connect" in str(stage.holds()), "it does not say so")
    stage.cloud_comes_back()
    stage.until_phase(Phase.COMPLETED)

    assert_safe(stage)


@pytest.mark.fault(
    on="process",
    fault="is started while Prometheus is down",
    does="starts, holds at 0 %, and goes on when it answers",
    sees="hold `no signal`: what Prometheus said",
    safe_within="at once",
)
def test_started_while_prometheus_is_down_it_holds_until_it_answers(stage: Stage) -> None:
    for mesh in stage.meshes.values():
        mesh.down = True
    stage.start()
    stage.until(lambda: "the disk is full" in stage.holds().get("no signal", ""), "it does not say so")
    shares = stage.shares()
    for mesh in stage.meshes.values():
        mesh.down = False
    stage.until_phase(Phase.COMPLETED)

    assert shares == []
    assert_safe(stage)


@pytest.mark.fault(
    on="process",
    fault="is started without its policy folder, with nothing under way",
    does="refuses to start",
    sees="exit 2: the directory cannot be listed; pass the directory of the ShiftPolicy files",
    safe_within="at once",
)
def test_started_without_its_policies_it_refuses_if_nothing_is_under_way(stage: Stage) -> None:
    (stage.path / "policies").rename(stage.path / "elsewhere")
    ended = refused(stage)

    assert ended.returncode == 2
    assert "cannot be listed" in ended.stderr
    assert "pass the directory of the ShiftPolicy files" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.fault(
    on="process",
    fault="is started without its policy folder, in the middle of a migration",
    does="starts, holds, can still go back, and goes on when the folder is back",
    sees="hold `policy`: its policy file is gone",
    safe_within="at once",
)
def test_started_without_its_policies_in_the_middle_it_holds_until_they_are_back(stage: Stage) -> None:
    stage.start()
    stage.until_share(50)
    stage.service.kill()
    (stage.path / "policies").rename(stage.path / "elsewhere")
    stage.start()
    stage.until(lambda: "policy" in stage.holds(), "it does not say so")
    shares = stage.shares()
    (stage.path / "elsewhere").rename(stage.path / "policies")
    stage.until_phase(Phase.COMPLETED)

    assert shares[-1] == 50
    assert_safe(stage)


@pytest.mark.fault(
    on="process",
    fault="a second one is started on the same store",
    does="refuses to start; the first goes on",
    sees="exit 4: another shifter runs on this store, its pid and since when",
    safe_within="at once",
)
def test_a_second_service_on_the_same_store_refuses_and_names_the_first(stage: Stage) -> None:
    stage.start()
    ended = refused(stage)
    since = r"\(since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)"
    said = rf"error: another shifter runs on this store: pid {stage.service.pid} {since} holds .*shifter\.db\.lock\n"

    assert ended.returncode == 4
    assert re.fullmatch(said, ended.stderr)
    assert stage.ask("/livez") == (200, "ok")


@pytest.mark.fault(
    on="process",
    fault="is started on a full disk",
    does="refuses to start: it could not say who leads",
    sees="exit code 5: free some space, until it starts nothing goes back by itself",
    safe_within="a person must make room",
)
def test_started_on_a_full_disk_it_says_what_follows_from_it(stage: Stage) -> None:
    stage.store_path.parent.mkdir(parents=True)
    ended = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *stage.argv],
        env=stage.environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )

    assert ended.returncode == 5
    assert "free some space: until it starts nothing goes back by itself" in ended.stderr
    assert "Traceback" not in ended.stderr
