"""`shifter mesh`: build the mesh of a file, step by step, and say beforehand what that would be.

What the steps are is `shifter/mesh/installing`'s; here is how they are asked for and told of. `plan` and `install` go
through the same steps, so that what is shown is what is done.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from shifter.cli.exits import say
from shifter.cli.mesh_injecting import inject
from shifter.cli.mesh_steps import Collecting, Saying, ask, line_of, lock_of, row_of
from shifter.cli.output import Format, clean, write_document
from shifter.cli.params import Span
from shifter.cli.placing import confirmed
from shifter.cli.session import Session
from shifter.core.documents.mesh import Mesh
from shifter.errors import ShifterError
from shifter.files.documents import load_mesh
from shifter.mesh.installing.sequence import Plan
from shifter.mesh.installing.site import Site
from shifter.mesh.installing.steps import Outcome, carry_out, look_at
from shifter.mesh.operators.releases import warnings
from shifter.wiring.meshes import connected, find_istioctl


def _file_option(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("-f", "--file", "file", required=True, type=click.Path(path_type=Path), help="The mesh file."),
        click.option("--istioctl", metavar="PATH", default="", help="Istio's tool; else it is looked for on PATH."),
        click.option(
            "--istioctl-sha256", metavar="HEX", default="", help="Take an istioctl only if this is its digest."
        ),
        click.option("--ready-timeout", type=Span(), default="5m", show_default=True, help="How long pods may take."),
        click.option(
            "--address-timeout", type=Span(), default="5m", show_default=True, help="How long a CLB may take."
        ),
        click.option("--allow-removal", is_flag=True, help="Remove gateways that the file no longer has."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def mesh() -> None:
    """Build the new mesh in its clusters."""


mesh.add_command(inject)


@mesh.command("plan")
@_file_option
@click.option("--diff", is_flag=True, help="Show each IstioOperator, or how it differs from the installed one.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def plan(file: Path, *, diff: bool, output: str, **options: Any) -> None:  # noqa: ANN401 - click's
    """Look at every step of an installation, and change nothing.

    Steps marked + would be carried out, those marked = are done, and those marked ? need an earlier one first.
    """
    seen = Collecting()
    with ExitStack() as stack:
        steps = _opened(stack, load_mesh(file), options)
        needed = look_at(steps.steps(), seen, time.monotonic)
    if output == "json":
        body = {"mesh": steps.mesh.name, "needed": needed, "steps": list(map(row_of, seen.told))}
        write_document("MeshPlan", body, Format.JSON)
        return
    for each in seen.told:
        click.echo(line_of(each))
        if diff and each.look.detail:
            for line in each.look.detail.splitlines():
                click.echo(f"    {clean(line)}")
    say("there is something to do: shifter mesh install" if needed else "nothing is to be done")


@mesh.command("install")
@_file_option
@click.option("--dry-run", is_flag=True, help="Only look, as `plan` does.")
@confirmed
@click.pass_context
def install(context: click.Context, /, file: Path, *, dry_run: bool, yes: bool, **options: Any) -> None:  # noqa: ANN401 - click's
    """Carry every step out that is needed. A run that ended half-way is resumed by running it again."""
    if dry_run:
        context.invoke(plan, file=file, diff=False, output="text", **options)
        return
    given = load_mesh(file)
    clusters = ", ".join(f"{each.cluster} (context {each.context})" for each in given.clusters)
    if not yes:
        ask(context.ensure_object(Session), f"install Istio {given.spec.version} in {clusters}")
    began = time.monotonic()
    with ExitStack() as stack:
        steps = _opened(stack, given, options)
        # Before the lock, which is written into a cluster that may be another one.
        look_at(steps.guards(), Collecting(), time.monotonic)
        saying = Saying([stack.enter_context(lock_of(site)) for site in steps.sites.values()])
        carry_out(steps.steps(), saying, time.monotonic)
    acted = sum(each.outcome is Outcome.DONE for each in saying.told)
    took = time.monotonic() - began
    say(f"the mesh {given.name} is installed: {acted or 'no'} step{'s' * (acted != 1)} carried out, {took:.0f} s")


def _opened(stack: ExitStack, given: Mesh, options: Mapping[str, Any]) -> Plan:
    """Find the tool, connect to the clusters, say what a person should know, and return what the steps are made of."""
    tool = find_istioctl(given.spec.version, options["istioctl"], options["istioctl_sha256"], os.environ)
    ready: timedelta = options["ready_timeout"]
    address: timedelta = options["address_timeout"]
    sites = stack.enter_context(
        connected(given, os.environ, ready_seconds=ready.total_seconds(), address_seconds=address.total_seconds())
    )
    versions = {name: version for name, site in sites.items() if (version := _kubernetes(site))}
    for warned in warnings(given, versions, datetime.now(UTC).date()):
        say(clean(f"warning: {'.'.join(map(str, warned.path))}: {warned.reason}"))
    return Plan(given, sites, tool, allow_removal=options["allow_removal"])


def _kubernetes(site: Site) -> str:
    """Return the version of a cluster's API server; empty if it does not say, which the first step will tell better."""
    try:
        return str(site.api.document("/version").get("gitVersion", ""))
    except ShifterError:
        return ""
