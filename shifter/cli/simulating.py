"""`shifter simulate`: what a migration by a policy would look like, with a chart of it.

The decisions are the service's own (`service/rehearsal.py`), the traffic is made up (`forecasts/simulation.py`), custom
metrics too. A migration that comes to no end is no answer, and has an exit code of its own. The chart is plain text, so
that it can be pasted into a ticket: 80 columns, no colour, ASCII where the terminal knows no more.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from textwrap import wrap
from types import MappingProxyType
from typing import Final

import click

from shifter.cli.amounts import Amount, requests_per_second
from shifter.cli.exits import Exit
from shifter.cli.output import Format, clean, number, odds_shown, write_document, write_table
from shifter.cli.params import Span
from shifter.cli.session import Session, pass_session
from shifter.cli.streams import carries
from shifter.cli.supposing import MOST_TICKS, policy_in
from shifter.core.balancing.splits import FULL_PERCENT, shown
from shifter.core.deciding.gathering import Terms
from shifter.core.documents.fleet import ISTIO_EDGES_MS, Learning, Timing, common_edges_ms
from shifter.core.documents.schema import show_duration
from shifter.core.forecasts.simulation import PAIR_BAD, SCENARIOS, Load
from shifter.core.phases import Phase
from shifter.files.documents import load_fleet
from shifter.service.rehearsal import Cast, Moment, Rehearsal

_FILE: Final = click.Path(path_type=Path)
_COLUMNS: Final = 79
_HEIGHT: Final = 10
_CHART: Final = 72
_MARKS: Final = ("█", "·", "─", "└")
_ASCII_MARKS: Final = ("#", ".", "-", "+")
_MOST_ROWS: Final = 30
_ENDS: Final = MappingProxyType({Phase.COMPLETED: "completed", Phase.ROLLED_BACK: "rolled back"})


@dataclass(frozen=True, slots=True)
class Played:
    """A simulation that is over: what it was of, and every tick of it."""

    cast: Cast
    scenario: str
    seed: int
    moments: tuple[Moment, ...]

    @property
    def last(self) -> Moment:
        """The last tick."""
        return self.moments[-1]

    @property
    def is_over(self) -> bool:
        """Whether it arrived or went back; else the time was over first."""
        return self.last.phase in _ENDS

    @property
    def unmoved_seconds(self) -> float:
        """For how long the last share has been in force, or being written."""
        moved = [each.seconds for each in self.moments if each.wanted != each.share]
        return self.last.seconds - max(moved, default=0.0)

    @property
    def turns(self) -> tuple[Moment, ...]:
        """The ticks in which the share was changed or the shift arrived."""
        before = [None, *self.moments[:-1]]
        return tuple(
            now
            for now, last in zip(self.moments, before, strict=True)
            if now.wanted != now.share or now.phase is not (last.phase if last else Phase.WAITING)
        )


@click.command()
@click.option("--policy", "policy_file", type=_FILE, required=True, help="The policy file.")
@click.option("--fleet", "fleet_file", type=_FILE, help="The fleet file, for its timing. Default: the defaults.")
@click.option(
    "--scenario", type=click.Choice(list(SCENARIOS)), default="clean", show_default=True, help="What is wrong."
)
@click.option("--rps", type=requests_per_second(), required=True, help="Requests per second of both meshes together.")
@click.option("--base-errors", type=Amount(50), default=0.1, show_default=True, help="What tcm fails, percent.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed is another day.")
@click.option("--for", "longest", type=Span(), default="6h", show_default=True, help="When to stop at the latest.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", show_default=True)
@pass_session
def simulate(  # noqa: PLR0913, PLR0917 - one argument per option
    session: Session,
    policy_file: Path,
    fleet_file: Path | None,
    scenario: str,
    rps: float,
    base_errors: float,
    seed: int,
    longest: timedelta,
    output: str,
) -> int:
    """Show what a migration would look like: how the share would rise, or when it would go back and at what cost.

    Nothing is read and nothing is written. The traffic is made up; the decisions are those of the service. Exit code 1:
    it was not over after --for.
    """
    fleet = None if fleet_file is None else load_fleet(fleet_file)
    policy = policy_in(policy_file, fleet)
    timing = Timing() if fleet is None else fleet.spec.timing
    ticks = round(longest / timing.tick)
    if not 1 <= ticks <= MOST_TICKS:
        tick = show_duration(timing.tick)
        said = f"--for {show_duration(longest)} is {ticks} ticks of {tick}; it must be 1 to {MOST_TICKS}"
        raise click.UsageError(said, click.get_current_context())
    learning = Learning() if fleet is None else fleet.spec.learning
    edges = ISTIO_EDGES_MS if fleet is None else common_edges_ms(fleet)
    load = Load(rps, base_errors / FULL_PERCENT, edges, tuple(each.name for each in policy.spec.analysis.custom))
    cast = Cast(policy, timing, Terms(learning.lessons(), edges), SCENARIOS[scenario], load)
    chance = random.Random(seed)  # noqa: S311 - a simulation, no secret
    played = Played(cast, scenario, seed, tuple(Rehearsal(cast, chance).moments(ticks)))
    if output == "text":
        _write_text(played, terminal=session.is_terminal())
    else:
        write_document("Simulation", simulation_document(played), Format(output))
    return Exit.OK if played.is_over else Exit.UNEXPECTED


def _write_text(played: Played, *, terminal: bool) -> None:
    load = played.cast.load
    heading = (
        f"{played.cast.policy.name}: {played.scenario} ({played.cast.scenario.says}), "
        f"{number(load.requests_per_second)} requests/s, tcm fails {number(FULL_PERCENT * load.base_errors)} %"
    )
    for said in (heading, *_made_up(load), _ended(played), _cost(played)):
        for line in wrap(clean(said), _COLUMNS):
            click.echo(line)
    click.echo("")
    marks = _MARKS if carries("".join(_MARKS)) else _ASCII_MARKS
    for line in chart(played.moments, marks):
        click.echo(line)
    click.echo("")
    turns = played.turns
    rows = [
        [_time(each.seconds), shown(each.wanted), odds_shown(each.harm), each.reason] for each in turns[:_MOST_ROWS]
    ]
    write_table(["TIME", "SPLIT", "ODDS", "REASON"], rows, terminal=terminal)
    if len(turns) > _MOST_ROWS:
        click.echo(f"and {len(turns) - _MOST_ROWS} more; -o json has all")


def _made_up(load: Load) -> Iterator[str]:
    """Name what the scenario says nothing of and is made up all the same, since a policy asks for it."""
    if load.pairs:
        names = ", ".join(load.pairs)
        bad = number(FULL_PERCENT * PAIR_BAD)
        yield f"custom metrics made up as well: {names}; {bad} % bad on both sides in every scenario"


def _ended(played: Played) -> str:
    """Say how it ended; of what did not end, where it stays, and what it says it is waiting for."""
    last = played.last
    if played.is_over:
        return f"{_ENDS[last.phase]} after {_time(last.seconds)}: {last.reason}"
    stays = f"{shown(last.wanted)} for the last {_time(played.unmoved_seconds)}"
    return f"NOT OVER after {_time(last.seconds)}, the longest it may take (--for); {stays}; the reason: {last.reason}"


def _cost(played: Played) -> str:
    failed, requests = (round(sum(getattr(each, name) for each in played.moments)) for name in ("failed", "requests"))
    excess = round(sum(each.excess for each in played.moments))
    total = f"{requests} request{'s' * (requests != 1)}"
    return f"istio failed {failed} of {total}, {excess:+d} against what tcm would have failed"


def chart(moments: Sequence[Moment], marks: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a chart of the share over time, at most 79 columns wide.

    Args:
        moments: at least one.
        marks: what stands for the share, for the largest odds of the column (one row, 0 to 9 powers of ten), for the
            axis and for its corner; each one column wide.
    """
    full, empty, axis, corner = marks
    width = min(_CHART, len(moments))
    columns = [moments[len(moments) * at // width : len(moments) * (at + 1) // width] for at in range(width)]
    shares = [max(each.share for each in column) for column in columns]
    yield "istio's share, %"
    for row in range(_HEIGHT, 0, -1):
        level = FULL_PERCENT * row / _HEIGHT
        # A share that is too small for a row is shown in the lowest one.
        cells = (full if share >= level or (row == 1 and share > 0) else " " for share in shares)
        label = f"{level:>3.0f} |" if row % 2 == 0 else "    |"
        yield (label + "".join(cells)).rstrip()
    yield f"  0 {corner}{axis * width}"
    first, end = _time(0), _time(moments[-1].seconds)
    yield f"     {first}{end:>{max(len(end) + 1, width - len(first))}}"
    powers = (max((_power(each.harm) for each in column), default=0) for column in columns)
    yield f"odds {''.join(str(power) if power else empty for power in powers)}"
    yield f"     powers of ten of the odds against istio; {empty} is less than 10:1"


def _power(harm: float | None) -> int:
    return 0 if harm is None else next((power for power in range(9, 0, -1) if harm >= 10**power), 0)


def _time(seconds: float) -> str:
    return show_duration(timedelta(seconds=seconds)) if seconds else "0"


def simulation_document(played: Played) -> dict[str, object]:
    """Return the simulation as a document of the stable API; shares in percent, times in seconds since it began."""
    load = played.cast.load
    return {
        "policy": played.cast.policy.name,
        "scenario": played.scenario,
        "requestsPerSecond": load.requests_per_second,
        "baseErrorPercent": FULL_PERCENT * load.base_errors,
        "customBadPercent": dict.fromkeys(load.pairs, FULL_PERCENT * PAIR_BAD),
        "seed": played.seed,
        "tickSeconds": played.cast.timing.tick.total_seconds(),
        "phase": str(played.last.phase),
        "seconds": played.last.seconds,
        "reason": played.last.reason,
        "requests": sum(each.requests for each in played.moments),
        "failed": sum(each.failed for each in played.moments),
        "excessFailed": sum(each.excess for each in played.moments),
        "ticks": [
            {
                "seconds": each.seconds,
                "share": each.share,
                "wanted": each.wanted,
                "phase": str(each.phase),
                "odds": each.harm,
                "requests": each.requests,
                "failed": each.failed,
            }
            for each in played.moments
        ],
        "turns": [{"seconds": each.seconds, "wanted": each.wanted, "reason": each.reason} for each in played.turns],
    }
