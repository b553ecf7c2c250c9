"""What goes into a support dump, in which form, and how much of it.

Every text passes the redaction on its way in, whatever it came from. Every part is bounded, and what was cut or
left out is in the manifest.
"""

from __future__ import annotations

import codecs
import http.client
import json
import os
import platform
import resource
import socket
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from shifter import API_VERSION, __version__
from shifter.cli.doctor import report as findings_document
from shifter.cli.output import SCHEMA_VERSION, stamp
from shifter.cli.views import order_document, record_document, shift_document, views
from shifter.core.aliases import Aliases
from shifter.core.redaction import CUT, LONGEST_LINE, redacted, redacted_log, redacted_value
from shifter.core.text import plain, why
from shifter.errors import ConfigError, ShifterError
from shifter.files.documents import raw_bytes, yaml_files_in
from shifter.ports import Store
from shifter.service.checkup import versions
from shifter.service.checkup.examination import examine
from shifter.wiring import file_door, surroundings

MOST_RECORDS: Final = 2_000
MOST_POLICIES: Final = 200
MOST_FILE_BYTES: Final = 256 * 1024
MOST_LOG_BYTES: Final = 1024 * 1024
MOST_METRICS_BYTES: Final = 1024 * 1024
MOST_ENTRY_CHARACTERS: Final = 4 * 1024 * 1024
MOST_LINE_CHARACTERS: Final = LONGEST_LINE
_METRICS_SECONDS: Final = 3.0
_NOT_TEXT: Final = "not UTF-8 text"
_NO_LINE: Final = f"... ({_NOT_TEXT})"
_NAMES_IN_FILES: Final = ("name", "namespace", "namespaces", "domain", "tag", "loadBalancer", "listener")


@dataclass(frozen=True, slots=True)
class Sources:
    """What was named on the command line. `listen` is host and port of a running service.

    `store` is the store's file, None if it is in a cluster; `look` opens it to look only, or says why there is none.
    """

    store: Path | None
    look: Callable[[], Store]
    fleet: Path | None
    policies: Path | None
    logs: Path | None
    listen: tuple[str, int] | None
    anonymise: bool


@dataclass(slots=True)
class _Contents:
    """The files so far, what was left out or cut, and the names to be replaced if that is asked for."""

    entries: dict[str, str] = field(default_factory=dict)
    left_out: list[dict[str, str]] = field(default_factory=list)
    names: dict[str, set[str]] = field(default_factory=lambda: {"name": set(), "host": set(), "user": set()})

    def omit(self, what: str, why: str) -> None:
        self.left_out.append({"what": what, "why": redacted(plain(why))})

    def add(self, name: str, text: str) -> None:
        if len(text) > MOST_ENTRY_CHARACTERS:
            self.omit(name, f"cut after {MOST_ENTRY_CHARACTERS} of {len(text)} characters")
            text = text[:MOST_ENTRY_CHARACTERS] + CUT
        self.entries[name] = text

    def document(self, name: str, kind: str, body: Mapping[str, object]) -> None:
        whole = {"apiVersion": API_VERSION, "kind": kind, "schemaVersion": SCHEMA_VERSION, **body}
        self.add(name, json.dumps(redacted_value(whole), indent=2, ensure_ascii=False, default=str) + "\n")


def collect(sources: Sources, now: datetime) -> dict[str, str]:
    """Return the texts of a bundle by name, the manifest among them; never fails for what cannot be read."""
    contents = _Contents()
    contents.document("platform.json", "Platform", _platform(sources.store))
    _add_store(contents, sources.look)
    _add_files(contents, sources)
    _add_findings(contents, sources, now)
    _add_log(contents, sources.logs)
    _add_metrics(contents, sources.listen)
    contents.omit("keys and tokens", "files of keys are never opened; whatever looks like a secret is blacked out")
    contents.names["host"].add(socket.gethostname())
    aliases = _aliases(contents) if sources.anonymise else None
    entries = {_alias(name, aliases): _alias(text, aliases) for name, text in contents.entries.items()}
    left_out = [{key: _alias(value, aliases) for key, value in each.items()} for each in contents.left_out]
    manifest = {
        "at": stamp(now),
        "shifter": __version__,
        "python": platform.python_version(),
        "anonymised": sources.anonymise,
        "contents": [
            {"name": name, "bytes": len(entries[name].encode("utf-8", "replace"))} for name in sorted(entries)
        ],
        "leftOut": left_out,
    }
    contents.document("manifest.json", "SupportBundle", manifest)
    return {**entries, "manifest.json": contents.entries["manifest.json"]}


def _alias(text: str, aliases: Aliases | None) -> str:
    return text if aliases is None else aliases.apply(text)


def _aliases(contents: _Contents) -> Aliases:
    user = os.environ.get("USER", "")
    contents.names["user"] |= {user} if user not in {"", "root"} else set()
    return Aliases(contents.names)


def _platform(store: Path | None) -> Mapping[str, object]:
    found = versions.installed()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        room = os.statvfs((store or Path()).absolute().parent)
        disk: object = {"freeBytes": room.f_bavail * room.f_frsize, "freeInodes": room.f_favail}
    except OSError as error:
        disk = {"trouble": error.strerror}
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "python": found.python,
        "sqlite": found.sqlite,
        "shifter": found.shifter,
        "libraries": {each.name: {"installed": each.installed, "range": each.range} for each in found.dependencies},
        "processors": os.cpu_count(),
        "timeZone": time.strftime("%z"),
        "user": os.getuid(),
        "openFiles": {"soft": soft, "hard": hard},
        "disk": disk,
    }


def _add_store(contents: _Contents, look: Callable[[], Store]) -> None:
    try:
        store = look()
    except ShifterError as error:
        contents.omit("store", str(error))
        return
    try:
        for name, add in _STORE_PARTS.items():
            try:
                add(contents, store)
            except ShifterError as error:  # of a damaged store, what can be read helps most
                contents.omit(name, str(error))
    finally:
        store.close()


def _add_shifts(contents: _Contents, store: Store) -> None:
    found = views(store, ())
    contents.names["name"] |= {each.name for each in found}
    contents.names["name"] |= {namespace for each in found for namespace in each.report.namespaces}
    contents.document("shifts.json", "ShiftList", {"items": [shift_document(each) for each in found]})


def _add_states(contents: _Contents, store: Store) -> None:
    found = store.load()
    states = {name: saved.state.model_dump(mode="json") for name, saved in found.readable.items()}
    contents.names["name"] |= {*found}
    for name, reason in found.unreadable.items():
        contents.omit(f"states.json: {name}", reason)
    contents.document("states.json", "SavedStates", {"states": states})


def _add_fleet_state(contents: _Contents, store: Store) -> None:
    contents.document("fleet-state.json", "SavedFleet", {"state": store.load_fleet().state.model_dump(mode="json")})


def _add_orders(contents: _Contents, store: Store) -> None:
    contents.document("orders.json", "OrderList", {"items": [order_document(each) for each in store.open_orders()]})


def _add_history(contents: _Contents, store: Store) -> None:
    records = store.history(limit=MOST_RECORDS)
    if len(records) == MOST_RECORDS:
        contents.omit("history.json", f"only the newest {MOST_RECORDS} records")
    contents.names["name"] |= {each.record.shift for each in records}
    contents.document("history.json", "HistoryList", {"items": [record_document(each) for each in records]})


_STORE_PARTS: Final[Mapping[str, Callable[[_Contents, Store], None]]] = {
    "shifts.json": _add_shifts,
    "states.json": _add_states,
    "fleet-state.json": _add_fleet_state,
    "orders.json": _add_orders,
    "history.json": _add_history,
}


def _add_files(contents: _Contents, sources: Sources) -> None:
    if sources.fleet is None:
        contents.omit("fleet file", "not named: --fleet")
    else:
        _add_file(contents, "config/fleet.yaml", sources.fleet)
    if sources.policies is None:
        contents.omit("policy files", "not named: --policies")
        return
    try:
        files = yaml_files_in(sources.policies)
    except (OSError, ValueError) as error:
        said = why(error)
        contents.omit("policy files", f"{sources.policies}: {said}")
        return
    if len(files) > MOST_POLICIES:
        contents.omit("policy files", f"only the first {MOST_POLICIES} of {len(files)}")
    for file in files[:MOST_POLICIES]:
        _add_file(contents, f"config/policies/{file.name}", file)


def _add_file(contents: _Contents, name: str, path: Path) -> None:
    try:
        raw = raw_bytes(path)
    except ConfigError as error:
        contents.omit(name, str(error))
        return
    try:
        # A letter that the limit cuts in two is no reason to leave the file out.
        text, _ = codecs.utf_8_decode(raw[:MOST_FILE_BYTES], "strict", len(raw) <= MOST_FILE_BYTES)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # UTF-16 without its mark is valid UTF-8 full of them, and hides every secret from the redaction
        contents.omit(name, f"{path}: {_NOT_TEXT}")
        return
    if len(raw) > MOST_FILE_BYTES:
        contents.omit(name, f"cut after {MOST_FILE_BYTES} bytes")
    contents.names["name"] |= _names_in(text)
    contents.add(redacted(name), redacted(text))


def _names_in(text: str) -> set[str]:
    """Return what a file calls shifts, namespaces, hosts and balancers; of a broken file too, so by its lines."""
    found: set[str] = set()
    for line in text.split("\n"):
        for part in line.replace("{", ",").replace("- ", ",").split(","):
            key, _, value = part.partition(":")
            if key.strip(" '\"") in _NAMES_IN_FILES:
                words = value.split("#")[0].strip(" []'\"}")
                found |= {words} if words and " " not in words else set()
        if "namespaces:" in line:
            listed = line.partition("[")[2].partition("]")[0]
            found |= {word.strip(" '\"") for word in listed.split(",")}
    return {word for word in found if len(word) > 1}


def _add_findings(contents: _Contents, sources: Sources, now: datetime) -> None:
    if sources.fleet is None or sources.policies is None:
        contents.omit("doctor.json", "the check-up needs --fleet and --policies")
        return
    if sources.store is None:
        contents.omit("doctor.json", "no cluster is asked for a bundle: add what `shifter doctor -o json` says")
        return
    found = examine(surroundings(sources.fleet, sources.policies, file_door(sources.store)), offline=True)
    body = {"at": stamp(now), **findings_document(found, offline=True)}
    contents.document("doctor.json", "DoctorReport", body)


def _add_log(contents: _Contents, path: Path | None) -> None:
    if path is None:
        contents.omit("log", "not named: --logs")
        return
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            contents.omit("log", f"{path}: not a regular file")
            return
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - MOST_LOG_BYTES))
            raw = file.read(MOST_LOG_BYTES)
    except (OSError, ValueError) as error:
        said = why(error)
        contents.omit("log", f"{path}: {said}")
        return
    lines = raw.split(b"\n")
    if size > MOST_LOG_BYTES:
        # The first line has lost its beginning, and with it what would tell that a secret follows.
        lines = lines[1:]
        contents.omit("log.txt", f"only the last {MOST_LOG_BYTES} of {size} bytes")
    contents.add("log.txt", redacted_log(_read(contents, "log.txt", lines)))


def _read(contents: _Contents, name: str, lines: Iterable[bytes]) -> str:
    """Return lines as text; of those that are none a mark, for nobody knows what they say."""
    texts = [_text_of(line) for line in lines]
    if strange := texts.count(_NO_LINE):
        contents.omit(name, f"{strange} of {len(texts)} lines: {_NOT_TEXT}")
    return "\n".join(texts)


def _text_of(line: bytes) -> str:
    try:
        text = line.lstrip(b"\0").decode("utf-8")  # a log that was cut while it was written to begins with zeros
    except UnicodeDecodeError:
        return _NO_LINE
    return _NO_LINE if "\0" in text else text


def _add_metrics(contents: _Contents, listen: tuple[str, int] | None) -> None:
    if listen is None:
        contents.omit("metrics", "no address of a running service: --listen")
        return
    host, port = listen
    until = time.monotonic() + _METRICS_SECONDS
    connection = http.client.HTTPConnection(host, port, timeout=_METRICS_SECONDS)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        raw = b""
        while len(raw) <= MOST_METRICS_BYTES and time.monotonic() < until and (piece := answer.read1(64 * 1024)):
            raw += piece
    except (OSError, http.client.HTTPException) as error:
        contents.omit("metrics", f"http://{host}:{port}/metrics: {type(error).__name__}: {error}")
        return
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        contents.omit("metrics", f"http://{host}:{port}/metrics answers HTTP {answer.status}")
        return
    if len(raw) > MOST_METRICS_BYTES:
        contents.omit("metrics.txt", f"cut after {MOST_METRICS_BYTES} bytes")
    contents.add("metrics.txt", redacted(_read(contents, "metrics.txt", raw[:MOST_METRICS_BYTES].split(b"\n"))))
