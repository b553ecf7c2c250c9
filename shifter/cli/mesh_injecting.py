"""`shifter mesh inject`: the sidecars of the new mesh for the namespaces of a mesh file, and the way back.

What the steps are is `shifter/mesh/injecting`'s. They are looked at before anything is asked or changed, so that who
confirms has read what a namespace says today; and in the end all pods are looked at, whatever was done to them.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from shifter.cli.exits import CommandError, Exit, say
from shifter.cli.mesh_steps import Collecting, Saying, ask, line_of, lock_of, row_of
from shifter.cli.output import Format, clean, write_document
from shifter.cli.params import Span
from shifter.cli.placing import confirmed
from shifter.cli.session import Session, pass_session, typed
from shifter.core.documents.mesh import Mesh
from shifter.files.documents import load_mesh
from shifter.mesh.injecting.checking import NamespaceSeen, PodSeen
from shifter.mesh.injecting.pods import Carrying
from shifter.mesh.injecting.sequence import AT_A_TIME, Injection, targets
from shifter.mesh.installing.steps import Outcome, carry_out, look_at
from shifter.wiring.meshes import connected


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was typed; no clusters or namespaces: all of the file's."""

    file: Path
    clusters: tuple[str, ...]
    namespaces: tuple[str, ...]
    restart: bool
    undo: bool
    at_a_time: int
    ready_timeout: timedelta


@click.command("inject")
@click.option("-f", "--file", "file", required=True, type=click.Path(path_type=Path), help="The mesh file.")
@click.option("--cluster", "clusters", multiple=True, metavar="ID", help="Only this one; may be given again.")
@click.option("-n", "--namespace", "namespaces", multiple=True, metavar="NAME", help="Only this one; again for more.")
@click.option("--restart", is_flag=True, help="Restart what makes the pods, a few at a time; wait until all are ready.")
@click.option("--undo", is_flag=True, help="Put the labels back as they were; with --restart the pods, too.")
@click.option("--at-a-time", type=click.IntRange(1, 50), default=AT_A_TIME, show_default=True, help="So many restarts.")
@click.option("--ready-timeout", type=Span(), default="5m", show_default=True, help="How long pods may take.")
@click.option("--dry-run", is_flag=True, help="Only look.")
@confirmed
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@pass_session
def inject(session: Session, /, **options: Any) -> None:  # noqa: ANN401 - click's
    """Give the pods of the file's namespaces the new mesh's sidecar.

    The namespaces are those that the file lists under inject of each cluster. What their labels were is kept in the
    cluster, and --undo puts exactly that back. A run that ended half-way is resumed by running it again. Exit code 6:
    not all pods carry what their namespace chooses; they are listed.
    """
    only_look, may_go, output = (options.pop(name) for name in ("dry_run", "yes", "output"))
    wish = _Wish(**options)
    given = load_mesh(wish.file)
    with ExitStack() as stack:
        injection = _opened(stack, given, wish)
        seen = Collecting()
        needed = look_at(injection.steps(), seen, time.monotonic)
        if only_look:
            _show_plan(given, seen, needed=needed, output=output)
            return
        if needed:
            if not may_go:
                _confirm(session, seen, wish)
            _carry_out(stack, injection)
        found, forgotten = injection.check(), injection.forgotten()
    for cluster, name in forgotten:
        how = f"{typed('mesh inject')} -f {shlex.quote(str(wish.file))} --cluster {cluster} --namespace {clean(name)}"
        say(f"note: {cluster}: namespace {clean(name)} has shifter's label and is not in the file: {how} --undo")
    _show(given, found, wish, output)


def _opened(stack: ExitStack, given: Mesh, wish: _Wish) -> Injection:
    meant = targets(given, wish.clusters, wish.namespaces, undone=wish.undo)
    if not meant:
        raise CommandError(
            Exit.USAGE,
            f"the mesh {given.name} lists no namespace under inject there",
            "name them in the file; to undo: --namespace",
        )
    seconds = wish.ready_timeout.total_seconds()
    sites = stack.enter_context(connected(given, os.environ, ready_seconds=seconds, address_seconds=seconds))
    return Injection(
        given,
        sites,
        meant,
        lambda: datetime.now(UTC),
        _back(wish),
        restarts=wish.restart,
        undone=wish.undo,
        at_a_time=wish.at_a_time,
    )


def _back(wish: _Wish) -> Callable[[str, str], str]:
    """Return the command that leads back from what was asked for."""
    undo = "" if wish.undo else " --undo"
    start = typed("mesh inject")
    return lambda cluster, namespace: (
        f"{start} -f {shlex.quote(str(wish.file))} --cluster {cluster} --namespace {namespace}{undo} --restart"
    )


def _show_plan(given: Mesh, seen: Collecting, *, needed: bool, output: str) -> None:
    if output == "json":
        body = {"mesh": given.name, "needed": needed, "steps": list(map(row_of, seen.told))}
        write_document("MeshInjectionPlan", body, Format.JSON)
        return
    for each in seen.told:
        click.echo(line_of(each))
    say("nothing was changed: --dry-run" if needed else "nothing is to be done")


def _confirm(session: Session, seen: Collecting, wish: _Wish) -> None:
    for each in seen.told:
        if each.outcome is not Outcome.WAS_DONE:
            say(line_of(each))
    what = "put the labels of these namespaces back" if wish.undo else "have these namespaces injected"
    also = " and restart what makes their pods" if wish.restart else ""
    ask(session, f"{what}{also}")


def _carry_out(stack: ExitStack, injection: Injection) -> None:
    names = dict.fromkeys(each.cluster.cluster for each in injection.targets)
    locks = [stack.enter_context(lock_of(injection.sites[name])) for name in names]
    carry_out(injection.steps(), Saying(locks), time.monotonic)


def _show(given: Mesh, found: Sequence[NamespaceSeen], wish: _Wish, output: str) -> None:
    """Show all pods that have to be known of.

    Raises:
        CommandError: some carry something else than their namespace chooses.
    """
    wrong = sum(len(each.wrong) for each in found)
    if output == "json":
        body = {"mesh": given.name, "undone": wish.undo, "complete": not wrong, "namespaces": list(map(_row, found))}
        write_document("MeshInjection", body, Format.JSON)
    else:
        for each in found:
            _show_namespace(each)
    if wrong:
        pods = "1 pod does" if wrong == 1 else f"{wrong} pods do"
        hint = "see above which and why" if wish.restart else f"{_again(wish)} --restart replaces them"
        raise CommandError(Exit.UNHEALTHY, f"{pods} not carry what their namespace chooses", hint)


def _again(wish: _Wish) -> str:
    """Return the command that was typed, for the same namespaces."""
    words = [typed("mesh inject"), "-f", shlex.quote(str(wish.file))]
    words += [word for name in wish.clusters for word in ("--cluster", name)]
    words += [word for name in wish.namespaces for word in ("--namespace", name)]
    return " ".join([*words, "--undo"] if wish.undo else words)


def _show_namespace(seen: NamespaceSeen) -> None:
    counted = ", ".join(
        f"{count} {said}"
        for carrying, said in (
            (Carrying.OURS, "with this mesh's sidecar"),
            (Carrying.OTHERS, "with another one"),
            (Carrying.NONE, "without"),
            (Carrying.OPTED_OUT, "opted out"),
        )
        if (count := seen.count(carrying))
    )
    click.echo(clean(f"{seen.cluster}  {seen.namespace} ({seen.choice}): {counted or 'no pods'}"))
    for each in seen.pods:
        if not each.is_right or each.carrying is Carrying.OPTED_OUT:
            click.echo(f"    {clean(_told(each))}")


def _told(pod: PodSeen) -> str:
    mark, owner = ("-" if pod.is_right else "!"), f" ({pod.owner})" if pod.owner else ""
    return f"{mark} {pod.name}{owner}: {pod.says}"


def _row(seen: NamespaceSeen) -> Mapping[str, object]:
    return {
        "cluster": seen.cluster,
        "namespace": seen.namespace,
        "labels": dict(seen.choice.labels),
        "pods": [
            {
                "name": each.name,
                "owner": each.owner,
                "sidecar": each.carrying.value,
                "right": each.is_right,
                "says": each.says,
            }
            for each in seen.pods
        ],
    }
