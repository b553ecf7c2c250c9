"""A soak on real parts, short: it ends by itself, with a verdict on everything, and leaves no process behind."""

import io
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from shifter.adapters.sqlite import SqliteStore
from shifter.core.deciding.orders import Answer, OrderAnswer, OrderRequest, Verb
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.records import NewRecord, What
from shifter.core.state import ShiftState
from shifter.errors import ConfigError
from shifter.lab.account import open_account
from shifter.lab.files import LAB_PACE, policy
from shifter.lab.soak.gather import rows_of, tracebacks_of
from shifter.lab.soak.run import BALANCER_OF, SOAK_PACE, SoakOptions, run
from shifter.lab.topology import Namespace, lay_out, ports_needed

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def quiet() -> Console:
    return Console(file=io.StringIO(), width=160, force_terminal=False)


def options(tmp_path: Path, minutes: float) -> SoakOptions:
    return SoakOptions(minutes, 5, tmp_path / "reports" / "soak.json", tmp_path / "lab")


def shift(name: str) -> ShiftState:
    namespaces = (Namespace(name),)
    gateways = lay_out(namespaces, range(20_000, 20_000 + ports_needed())).gateways
    place = open_account(namespaces, {name: "lb-1"}, gateways).places[name]
    return ShiftState(
        name=name, policy=ShiftPolicy.model_validate_json(json.dumps(policy(name, place, LAB_PACE))), since=NOON
    )


def started_in(directory: Path) -> list[str]:
    """Every process of the machine whose command names the directory."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if entry.name.isdigit() and int(entry.name) != os.getpid() and str(directory) in command:
            found.append(command)
    return found


def test_the_load_of_a_soak_is_below_200_requests_a_second() -> None:
    assert len(BALANCER_OF) * SOAK_PACE.requests_per_second < 200


@pytest.mark.parametrize("minutes", [0, -1, 241, float("nan")])
def test_a_soak_without_an_end_or_a_beginning_is_refused(tmp_path: Path, minutes: float) -> None:
    with pytest.raises(ConfigError, match="more than 0 and at most 240 minutes"):
        run(options(tmp_path, minutes), quiet())

    assert list(tmp_path.iterdir()) == []


def test_a_short_soak_ends_with_a_verdict_on_every_rule_and_leaves_no_process(tmp_path: Path) -> None:
    told, given = quiet(), options(tmp_path, 0.5)

    code = run(given, told)

    found = json.loads(given.report.read_text())
    assert found["violations"] == []
    assert (code, found["verdict"], found["seed"]) == (0, "ok", 5)
    assert found["replay"] == "shifter lab soak --seed 5 --minutes 0.5"
    assert sum(found["counts"]["intents"].values()) > 0
    assert all(row["requests"] > 0 for row in found["users"].values())
    assert started_in(tmp_path) == []
    assert isinstance(told.file, io.StringIO)
    assert told.file.getvalue().startswith("soak: seed 5, 0.5 minutes")
    assert "✔ verdict: ok" in told.file.getvalue()


def test_the_store_is_read_as_it_is_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "shifter.db"
    store = SqliteStore(path)
    state = shift("shop")
    version = store.save(state, 0, [NewRecord(NOON, "shop", What.INTENT, "shifter", "why", 1, 2, {"to": 10.0})])
    first = store.create_order(OrderRequest("shop", Verb.PAUSE, "ann", "lunch"), NOON)
    store.create_order(OrderRequest("shop", Verb.PROMOTE, "bo", "now", full=True), NOON)
    store.save(state, version, answers=[OrderAnswer(first.id, Answer.ACCEPTED, "paused", NOON + timedelta(seconds=2))])

    rows = rows_of(path)

    (entry,) = rows.entries
    assert (entry.id, entry.at, entry.what, entry.sequence, entry.epoch) == (1, NOON.timestamp(), "intent", 1, 2)
    assert entry.share("to") == 10
    assert [(row.id, row.verb, row.by, row.answer, row.full) for row in rows.orders] == [
        (1, "pause", "ann", "accepted", False),
        (2, "promote", "bo", "", True),
    ]
    assert rows.words == ()


def test_tracebacks_are_found_in_the_log_and_nothing_else(tmp_path: Path) -> None:
    log = tmp_path / "shifter.log"
    bug = json.dumps({"event": "shift.error", "exception": "Traceback (most recent call last):\n  ..."})
    log.write_text(f'{{"event": "shift.tick", "reason": "fine"}}\n{bug}\n{{"event": "service.stopped"}}\n')

    assert tracebacks_of(log) == [bug]
