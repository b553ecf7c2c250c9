"""Holds the documents to the code: commands parse, and what can be generated is current; names are `names.py`'s.

Run as a program, `python tests/docs/test_docs.py` rewrites the generated parts; prose, and the last column of the
tables of keys, is written by people and kept.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NoReturn

import click
import pytest
from prometheus_client import CollectorRegistry
from pydantic import TypeAdapter

from shifter.cli.exits import Exit
from shifter.cli.main import COMMANDS, cli
from shifter.cli.session import Session
from shifter.core import phases
from shifter.core.balancing.apportion import apportion
from shifter.core.balancing.splits import Health, Member, Side
from shifter.core.deciding import journal
from shifter.core.deciding.holds import RULES, HoldKind
from shifter.core.documents.fleet import Fleet
from shifter.core.documents.mesh import Mesh
from shifter.core.documents.policy import ShiftPolicy
from shifter.core.documents.schema import show_duration
from shifter.errors import RefusedError
from shifter.files.documents import value_of
from shifter.files.located_yaml import document_of
from shifter.files.words import MESH_WORDS
from shifter.lab.emulator import FaultKind
from shifter.lab.scenarios import SCENARIOS
from shifter.mesh.operators.releases import RELEASES
from shifter.service import log_stream, telemetry
from shifter.service.standby import Replica, Standby
from shifter.service.telemetry import Telemetry
from tests.docs import fault_matrix, invariants

ROOT = Path(__file__).parents[2]
DOCS = tuple(
    sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
)
READER_HAS = {"make", "shifter", "export"}
"""What a README command may start with: what `make setup` brings, and the shell."""

_SHELL = {"cat", "cp", "kill", "mkdir", "mv", "ps", "python3", "sqlite3", "systemctl", "umask", "xargs"}
_CLUSTER = {"docker", "helm", "jq", "kubectl"}
ON_CALL_HAS = READER_HAS | _SHELL | _CLUSTER | {"curl", "tccli"}
KINDS: Mapping[str, type[ShiftPolicy | Fleet | Mesh]] = {"ShiftPolicy": ShiftPolicy, "Fleet": Fleet, "Mesh": Mesh}

Json = dict[str, Any]

_PRIMARY, _MEMBERS = "spec.primary.", "spec.members[]."
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
_FILE = re.compile(r"`(shifter/[\w./-]+\.\w+)`")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _blocks(path: Path, language: str) -> Iterator[str]:
    for found in _BLOCK.finditer(path.read_text(encoding="utf-8")):
        if found[1] == language:
            yield found[2]


def _commands(path: Path) -> Iterator[list[str]]:
    for block in _blocks(path, "sh"):
        waiting = ""
        for line in block.replace("\\\n", " ").splitlines(keepends=True):
            waiting += line
            try:
                words = shlex.split(waiting, comments=True)
            except ValueError:  # a quotation that goes on in the next line
                continue
            waiting = ""
            yield from (list(part) for piped, part in groupby(words, "|".__ne__) if piped)
        assert not waiting, f"{path}: a quotation without an end"


COMMAND_LINES = [(_name(path), words) for path in DOCS for words in _commands(path)]
SHIFTER_LINES = [pytest.param(words[1:], id=f"{doc}: {shlex.join(words)}") for doc, words in COMMAND_LINES
                 if words[0] == "shifter"]  # fmt: skip


# ---- what is generated -------------------------------------------------------------------------------------------


def _diagram() -> str:
    return f"```mermaid\n{phases.diagram()}```"


def _journal_table() -> str:
    text = (journal.__doc__ or "").split("\n\n")
    (table,) = (part for part in text if part.startswith("    direction"))
    return "```text\n" + "\n".join(line.removeprefix("    ") for line in table.splitlines()) + "\n```"


def _modules() -> str:
    """Every module with the first line of its docstring: the tree cannot be described otherwise than it is."""
    rows = ["| module | what belongs there |", "|---|---|"]
    for path in sorted((ROOT / "shifter").rglob("*.py"), key=lambda each: (str(each.parent), each.name)):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if said:
            rows.append(f"| `{_name(path)}` | {said.splitlines()[0]} |")
    return "\n".join(rows)


def _shares() -> str:
    """What the usual steps become for some numbers of members on each side."""
    steps = (0.3, 1, 5, 25, 50, 75, 95, 99.7)
    rows = [
        "| source members | target members | " + " | ".join(f"{step:g} %" for step in steps) + " |",
        "|---" * (len(steps) + 2) + "|",
    ]
    counts = ((1, 1), (2, 3), (3, 1), (10, 10), (50, 50))
    rows += [f"| {s} | {t} | " + " | ".join(_share(s, t, step) for step in steps) + " |" for s, t in counts]
    return "\n".join(rows)


def _share(sources: int, targets: int, wanted: float) -> str:
    members = [Member(f"s{index}:1", Side.SOURCE, 0, Health.ALIVE) for index in range(sources)]
    members += [Member(f"t{index}:1", Side.TARGET, 0, Health.ALIVE) for index in range(targets)]
    try:
        return f"{apportion(members, wanted).achieved:.4g}"
    except RefusedError:
        return "refused"


def _holds() -> str:
    """What each kind of hold means to people's orders, from the table that decides."""
    rows = [
        "| hold | pages | `promote` | `promote --full --override` | `reconcile --restore` that raises |",
        "|---" * 5 + "|",
    ]
    for kind, rule in RULES.items():
        promote = "ends it" if kind is HoldKind.PAUSE else _passes(rule.promoting)
        override = promote if kind is HoldKind.PAUSE else _passes(rule.promoting or rule.overriding)
        rows.append(
            f"| {kind} | {'yes' if rule.pages else 'no'} | {promote} | {override} | {_passes(rule.restoring)} |"
        )
    return "\n".join(rows)


def _passes(yes: bool) -> str:  # noqa: FBT001 - one private caller
    return "passes" if yes else "refused"


def _keys(model: type[ShiftPolicy | Fleet], before: str) -> str:
    """Every key of a file with type and default; what people wrote about its effect is kept."""
    effects = {found[1]: found[2] for found in re.finditer(r"^\| `([^`]+)` \|.*\| ([^|]*) \|$", before, re.MULTILINE)}
    schema = model.model_json_schema()
    rows = ["| key | type | default | effect |", "|---|---|---|---|"]
    rows += [
        f"| `{key}` | {kind} | {default} | {effects.get(key, '')} |" for key, kind, default in _walk(schema, schema)
    ]
    return "\n".join(rows)


def _mesh_keys() -> str:
    """Every key of a mesh file, with what its words say; what all clusters have is told once."""
    schema = Mesh.model_json_schema()
    rows = ["| key | type | default | effect |", "|---|---|---|---|"]
    found = list(_walk(schema, schema))
    members = {key.removeprefix(_MEMBERS) for key, *_ in found if key.startswith(_MEMBERS)}
    shared = members & {key.removeprefix(_PRIMARY) for key, *_ in found if key.startswith(_PRIMARY)}
    for key, kind, default in found:
        both = key.removeprefix(_PRIMARY) if key.startswith(_PRIMARY) else ""
        if key.removeprefix(_MEMBERS) in shared and key.startswith(_MEMBERS):
            continue
        shown = f"spec.primary/members[].{both}" if both in shared else key
        rows.append(f"| `{shown}` | {kind} | {default} | {MESH_WORDS[key].about} |")
    return "\n".join(rows)


def _mesh_releases() -> str:
    rows = ["| Istio | released | support ends | Kubernetes |", "|---|---|---|---|"]
    for each in RELEASES.values():
        end = f"{each.end_of_life}{'' if each.announced else ', as istioctl expects'}"
        rows.append(
            f"| {each.line} | {each.released} | {end} | 1.{each.oldest_kubernetes} to 1.{each.newest_kubernetes} |"
        )
    return "\n".join(rows)


def _walk(node: Json, schema: Json, path: str = "", whole: Json | None = None) -> Iterator[tuple[str, str, str]]:
    """Yield key, type and default; `whole` is the default of the mapping around, whose keys go together."""
    sides = node["properties"].keys() >= {"source", "target"}
    for name, field in node["properties"].items():
        if sides and name == "target":
            continue  # the same keys as the source's, told together
        key = f"{path}source/target" if sides and name == "source" else f"{path}{name}"
        optional = "anyOf" in field
        inner = _resolved(field["anyOf"][0] if optional else field, schema)
        required = name in node.get("required", ())
        known = required and name in (whole or {})
        default = _default({**field, "default": (whole or {})[name]} if known else field, required and not known)
        if "properties" in inner:
            if optional:
                yield key, "mapping", default
            yield from _walk(inner, schema, f"{key}.", field.get("default"))
        else:
            yield key, _kind(inner, schema), default
        if inner.get("type") == "array" and "properties" in (item := _resolved(inner["items"], schema)):
            yield from _walk(item, schema, f"{key}[].")


def _resolved(field: Json, schema: Json) -> Json:
    return schema["$defs"][field["$ref"].rsplit("/", 1)[1]] if "$ref" in field else field


def _default(field: Json, required: bool) -> str:  # noqa: FBT001 - one private caller
    if required:
        return "required"
    value = field.get("default")
    if value is None or value in ([], {}):
        return "none"
    if field.get("format") == "duration":
        value = show_duration(TypeAdapter(timedelta).validate_python(value))
    if isinstance(value, list):
        return f"`{', '.join(each if isinstance(each, str) else f'{each:g}' for each in value)}`"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def _kind(inner: Json, schema: Json) -> str:
    kind = inner["type"]
    if "const" in inner:
        return f"`{inner['const']}`"
    if "enum" in inner:
        return " or ".join(f"`{each}`" for each in inner["enum"])
    if kind == "array":
        items = _resolved(inner["items"], schema)
        most = f", at most {inner['maxItems']}" if "maxItems" in inner else ""
        each, *range_words = ["mapping"] if "properties" in items else _kind(items, schema).split()
        if each == "whole":
            each, *range_words = " ".join((each, *range_words)).split(maxsplit=2)[1:]
            each = f"whole {each}"
        return " ".join([f"list of {each}s", *range_words]) + most
    if kind in {"integer", "number"}:
        return _number(inner)
    mapping = "label: value, at least one" if inner.get("minProperties") else "label: value"
    if inner.get("additionalProperties") is True:
        mapping = "mapping, as Istio has it"
    words = {"null": "refused: not in this version", "object": mapping, "boolean": "`true` or `false`"}
    return words.get(kind, "duration" if inner.get("format") == "duration" else "text")


def _number(inner: Json) -> str:
    words = ["whole number" if inner["type"] == "integer" else "number"]
    if "exclusiveMinimum" in inner:
        words.append(f"above {inner['exclusiveMinimum']:.12g}")
    elif "minimum" in inner:
        words.append(f"from {inner['minimum']:.12g}")
    if "exclusiveMaximum" in inner:
        words.append(f"below {inner['exclusiveMaximum']:.12g}")
    elif "maximum" in inner:
        words.append(f"to {inner['maximum']:.12g}")
    return " ".join(words)


GENERATED: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    ("docs/phases.md", "phases", lambda _: _diagram()),
    ("docs/architecture.md", "journal", lambda _: _journal_table()),
    ("docs/architecture.md", "modules", lambda _: _modules()),
    ("docs/providers.md", "shares", lambda _: _shares()),
    ("docs/policy.md", "policy keys", lambda before: _keys(ShiftPolicy, before)),
    ("docs/policy.md", "fleet keys", lambda before: _keys(Fleet, before)),
    ("docs/mesh.md", "mesh releases", lambda _: _mesh_releases()),
    ("docs/mesh.md", "mesh keys", lambda _: _mesh_keys()),
    ("docs/cli.md", "holds", lambda _: _holds()),
    ("docs/failures.md", "fault matrix", lambda _: fault_matrix.matrix(ROOT / "tests")),
    ("docs/reliability.md", "invariants", lambda _: invariants.table()),
    ("docs/reliability.md", "planted bugs", lambda _: invariants.planted()),
)


def _parts(path: Path, name: str) -> tuple[str, str, str]:
    """Return what stands before, in and after a generated part."""
    begin, end = f"<!-- generated: {name} -->\n", f"\n<!-- end: {name} -->"
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    inside, found, after = rest.partition(end)
    assert found, f"{path} has no part {name!r}"
    return before + begin, inside, end + after


def rewrite() -> None:
    """Write every generated part anew."""
    for file, name, generate in GENERATED:
        before, inside, after = _parts(ROOT / file, name)
        (ROOT / file).write_text(before + generate(inside) + after, encoding="utf-8")


# ---- the rules ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "name", "generate"), GENERATED, ids=[f"{each[0]}: {each[1]}" for each in GENERATED])
def test_what_is_generated_is_current(file: str, name: str, generate: Callable[[str], str]) -> None:
    _, inside, _ = _parts(ROOT / file, name)

    assert inside == generate(inside), "stale; run: .venv/bin/python tests/docs/test_docs.py"


def test_every_key_of_a_file_has_its_effect_written_down() -> None:
    text = (ROOT / "docs/policy.md").read_text(encoding="utf-8")

    assert not re.findall(r"^\| `([^`]+)` \|.*\|  \|$", text, re.MULTILINE)


@pytest.mark.parametrize("words", SHIFTER_LINES)
def test_every_shifter_command_line_parses(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    command: click.Command = cli
    context = cli.make_context("shifter", list(words), obj=Session())
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        command, context = found, found.make_context(name, rest, parent=context)


def test_policy_lint_runs_as_the_documents_say() -> None:
    lines = [words for _, words in COMMAND_LINES if words[:3] == ["shifter", "policy", "lint"]]
    codes = [subprocess.run([sys.executable, "-m", *words], cwd=ROOT, check=False).returncode for words in lines]

    assert codes
    assert set(codes) == {0}


def test_commands_need_nothing_that_the_reader_does_not_have() -> None:
    strange = [
        (doc, words[0])
        for doc, words in COMMAND_LINES
        if words[0] not in (READER_HAS if doc == "README.md" else ON_CALL_HAS)
    ]

    assert strange == []


def test_every_example_file_is_valid() -> None:
    examples = [(path, block) for path in DOCS for block in _blocks(path, "yaml")]
    documents = [document_of(_name(path), block.encode()) for path, block in examples]
    whole = [document for document in documents if document.kind in KINDS]

    assert {document.kind for document in whole} == set(KINDS)
    for document in whole:
        value_of(document, KINDS[str(document.kind)])


@pytest.mark.parametrize("path", DOCS, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    for file, anchor in _LINK.findall(path.read_text(encoding="utf-8")):
        if "://" in file:
            continue
        linked = (path.parent / file) if file else path
        assert linked.exists(), file
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {_slug(heading) for heading in headings}, f"{file}#{anchor}"


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def test_the_runbook_has_a_chapter_for_every_hold() -> None:
    text = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")

    assert set(re.findall(r"^### Hold: (.+)$", text, re.MULTILINE)) == {str(kind) for kind in HoldKind}


def test_every_party_that_may_fail_has_its_faults_proven() -> None:
    proven = fault_matrix.rows(ROOT / "tests")

    assert {row.on for row in proven} == set(fault_matrix.PARTIES)
    assert len({(row.on, row.fault) for row in proven}) == len(proven), "two tests prove one row: mark one of them"


@pytest.mark.parametrize(
    "marker",
    [
        'on="CLB", fault="f", does="d", sees="s"',
        'on="the moon", fault="f", does="d", sees="s", safe_within="t"',
        'on="CLB", fault="", does="d", sees="s", safe_within="t"',
        'on="CLB", fault="f", does="d\\ne", sees="s", safe_within="t"',
        'on="CLB", fault="f", does="d", sees="s", safe_within=3',
    ],
)
def test_a_marker_that_makes_no_row_is_refused_with_its_place(tmp_path: Path, marker: str) -> None:
    (tmp_path / "test_odd.py").write_text(f"@pytest.mark.fault({marker})\ndef test_x(): ...\n", encoding="utf-8")

    with pytest.raises(ValueError, match=r"test_odd\.py:1: "):
        fault_matrix.rows(tmp_path)


def test_the_metrics_named_are_the_metrics_there_are() -> None:
    telemetry = Telemetry(CollectorRegistry(), timedelta(minutes=5))
    # What a replica shows that waits: its own metrics, and those of every service.
    waiting = Standby(Replica(_nobody, _nobody, telemetry), SimpleQueue())
    there = {f"{each.name}_total" if each.type == "counter" else each.name for each in waiting.collect()}
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    mentioned = set(re.findall(r"\bshifter_[a-z_]+", text))

    assert set(re.findall(r"^\| `(shifter_[a-z_]+)`", text, re.MULTILINE)) == there
    assert mentioned - there - {f"shifter_tick_seconds_{part}" for part in ("bucket", "sum", "count")} == set()


def _nobody(*_: object) -> NoReturn:
    raise AssertionError("nobody is to lead here")


def _log_events() -> Iterator[str]:
    """The names of all events that are logged: told to telemetry, of its own, and that of lost lines."""
    yield json.loads(log_stream._LOST.format(lost=1))["event"]
    for path in (ROOT / "shifter").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="event" | "warn"), args=[ast.Constant(value=str(name)), *_]):
                    yield name
                case ast.Call(args=[ast.Constant(value=str(name)), *_]) if path == Path(telemetry.__file__):
                    yield from re.findall(r"^[a-z]+\.[a-z]+$", name)


def test_the_log_events_named_are_the_events_there_are() -> None:
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")

    assert sorted(re.findall(r"^\| `([a-z]+\.[a-z]+)` \|", text, re.MULTILINE)) == sorted(set(_log_events()))


def test_wall_time_is_read_in_the_service_only_where_the_architecture_says() -> None:
    (row,) = re.findall(
        r"^\| reads the wall clock \| (.+?);", (ROOT / "docs/architecture.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    readers = {
        _name(path)
        for path in (ROOT / "shifter/service").rglob("*.py")
        if re.search(r"datetime\.now\(|time\.time\(", path.read_text(encoding="utf-8"))
    }

    assert set(_FILE.findall(row)) == readers


def test_the_holds_that_call_nobody_are_named() -> None:
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"^Any hold but (.+?) pages", text, re.MULTILINE)

    assert set(re.findall(r"`([a-z -]+)`", sentence)) == {str(kind) for kind, rule in RULES.items() if not rule.pages}


def test_the_command_reference_has_every_command_and_exit_code() -> None:
    text = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"^\| `shifter ([a-z]+)", text, re.MULTILINE))
    codes = set(re.findall(r"^\| (\d+) \|", text, re.MULTILINE))

    assert commands == {*COMMANDS, "version"}
    assert codes == {str(int(code)) for code in Exit}


def test_the_lab_page_has_every_scenario_and_every_fault() -> None:
    text = (ROOT / "docs/lab.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `([a-z0-9_-]+)` \|", text, re.MULTILINE))

    assert rows == {*SCENARIOS, *(str(kind) for kind in FaultKind)}


@pytest.mark.parametrize("path", [path for path in DOCS if re.match(r"\d{4}-", path.name)], ids=_name)
def test_a_decision_says_its_status_its_alternatives_and_its_price(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)

    assert re.search(r"^Status: (accepted|rejected|superseded by \d{4})", text, re.MULTILINE)
    assert headings == ["Situation", "Decision", "Rejected", "Consequences"]
    assert path.name in (ROOT / "docs/adr/README.md").read_text(encoding="utf-8")


def test_documents_name_no_machine_of_their_authors() -> None:
    foreign = re.compile(r"/(?:work|home|tmp)/|/root\b|\broot@|localhost:\d")
    lines = [(_name(path), line) for path in DOCS for line in path.read_text(encoding="utf-8").splitlines()]

    assert [line for line in lines if foreign.search(line[1])] == []


if __name__ == "__main__":
    rewrite()
