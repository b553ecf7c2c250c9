"""Collects what a soak has seen from where it really is: the store's file, the cloud's log, the load, the logs.

The store is read as SQLite, not through shifter's adapter: what is on the disk is what counts.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from shifter.lab.account import SOURCE_NODE_PORT
from shifter.lab.checker.seen import Bounds, Change, Entry, LastWord, Link, OrderRow, Seen
from shifter.lab.emulator import WriteRecord
from shifter.lab.soak.conduct import Conductor
from shifter.lab.soak.hands import shown
from shifter.lab.soak.people import Desk
from shifter.lab.stage import SERVICE, Stage

_BUSY_SECONDS: Final = 5.0
_TRACEBACKS_MOST: Final = 20
_LINE_MOST: Final = 600
_MARKS: Final = ("Traceback (most recent call last)", '"exception":')


@dataclass(frozen=True, slots=True)
class Rows:
    """What the store's file holds."""

    entries: tuple[Entry, ...]
    orders: tuple[OrderRow, ...]
    words: tuple[LastWord, ...]


def rows_of(path: Path) -> Rows:
    """Read the whole file, as it is at one moment.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_BUSY_SECONDS)) as connection:
        connection.execute("BEGIN")
        history = connection.execute(
            "SELECT id, at, shift, what, who, why, sequence, epoch, evidence FROM history ORDER BY id"
        )
        entries = tuple(_entry(row) for row in history)
        found = connection.execute("SELECT * FROM orders ORDER BY id")
        names = [column[0] for column in found.description]
        orders = tuple(_order(dict(zip(names, row, strict=True))) for row in found)
        reports = connection.execute("SELECT name, report FROM reports ORDER BY name")
        words = tuple(_word(name, json.loads(text)) for name, text in reports)
    return Rows(entries, orders, words)


def links_of(path: Path) -> tuple[Link, ...]:
    """Read the history as the chain of texts that it is kept as.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_BUSY_SECONDS)) as connection:
        rows = connection.execute(
            "SELECT id, at, shift, what, who, why, sequence, epoch, evidence, hash FROM history ORDER BY id"
        )
        return tuple(
            Link(number, (at, shift, what, who, why, str(sequence), str(epoch), evidence), kept)
            for number, at, shift, what, who, why, sequence, epoch, evidence, kept in rows
        )


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _entry(row: Sequence[Any]) -> Entry:
    number, at, shift, what, who, why, sequence, epoch, evidence = row
    return Entry(number, _unix(at), shift, what, who, why, sequence, epoch, json.loads(evidence))


def _order(row: Mapping[str, Any]) -> OrderRow:
    return OrderRow(
        id=row["id"],
        at=_unix(row["at"]),
        shift=row["shift"],
        verb=row["verb"],
        by=row["who"],
        answer=row["answer"] or "",
        full=bool(row["is_full"]),
        override=bool(row["is_override"]),
        share=row.get("share"),
        hands_off_seconds=(row.get("hands_off_us") or 0) / 1_000_000,
        adopt=bool(row.get("is_adopt")),
    )


def _word(name: str, report: Mapping[str, Any]) -> LastWord:
    holds = tuple(str(hold["kind"]) for hold in report.get("holds", ()))
    return LastWord(
        name, _unix(report["at"]), str(report["phase"]), report.get("written"), holds, str(report["reason"])
    )


def changes_of(stage: Stage, writes: Sequence[WriteRecord]) -> Iterator[Change]:
    """Yield the cloud's log, rule by rule; a write that left a rule as it was is no change."""
    namespaces = {
        (place.balancer, place.listener, place.location): name for name, place in stage.account.places.items()
    }
    for write in writes:
        for rule, after in write.after.items():
            before = write.before[rule]
            namespace = namespaces[write.lb_id, rule.listener_id, str(rule.location_id)]
            if before != after:
                yield Change(
                    at=write.at,
                    namespace=namespace,
                    balancer=write.lb_id,
                    action=write.action,
                    before={shown(key): weight for key, weight in before.items()},
                    after={shown(key): weight for key, weight in after.items()},
                    request_id=write.request_id,
                    outcome=str(write.outcome),
                )


def tracebacks_of(log: Path) -> list[str]:
    """Return the lines of shifter's log that carry a traceback, the first of them only."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        found = [line.strip()[-_LINE_MOST:] for line in lines if any(mark in line for mark in _MARKS)]
    return found[:_TRACEBACKS_MOST]


def on_stage(stage: Stage, desk: Desk, bounds: Bounds, began_at: float, ended_at: float) -> Seen:
    """Return what the stage itself has to show, once the load has stopped and nobody orders any more.

    What was done to it, and what that did to users, is its conductor's to add.
    """
    rows = rows_of(stage.store_path)
    return Seen(
        began_at=began_at,
        calm_at=None,
        ended_at=ended_at,
        bounds=bounds,
        namespaces=tuple(stage.spec.balancer_of),
        source_ports=frozenset({SOURCE_NODE_PORT}),
        entries=rows.entries,
        orders=rows.orders,
        given=desk.given,
        changes=tuple(changes_of(stage, stage.emulator.log)),
        last_words=rows.words,
        not_sent=sum(load.not_sent for load in stage.users().namespaces.values()),
        tracebacks=tracebacks_of(stage.spec.directory / "logs" / f"{SERVICE}.log"),
        chain=links_of(stage.store_path),
    )


def seen_by(stage: Stage, conductor: Conductor, desk: Desk, bounds: Bounds, ended_at: float) -> Seen:
    """Return everything that a soak has seen."""
    return replace(
        on_stage(stage, desk, bounds, conductor.began_at, ended_at),
        calm_at=conductor.kept.calm_at,
        health=tuple(conductor.notes.health),
        incidents=tuple(sorted(conductor.kept.incidents, key=lambda each: each.number)),
        lives=tuple(conductor.machines.lives),
        policies=tuple(conductor.notes.policies),
        seconds=tuple(conductor.kept.seconds[key] for key in sorted(conductor.kept.seconds)),
        troubles=tuple(conductor.machines.troubles),
    )
