"""Everything one decision rests on, gathered by the service in one tick and handed to `decide.py` as one value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shifter.core.analysis.standing import Standing
from shifter.core.balancing.splits import RouteView
from shifter.core.counts.evidence import Ledger
from shifter.core.deciding.orders import Order
from shifter.core.deciding.pinning import Workload
from shifter.core.state import Freeze, Pin


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything a decision rests on, as of now.

    `views` are the routes as read back, None if the provider did not answer (`provider_problem` says why; with
    views it says that they are not fresh, which is good enough to go back on and for nothing else).
    `signal_problem` says which datasource does not answer, `policy_problem` what is wrong with the file, `bug`
    which bug of shifter's own struck, `unreadable` why the saved state is not written over. `freezes`: who holds all
    shifts.
    `target_unseen`: the target's datasource answers and shows no pod, while
    the source's shows some. `settled_at` is when the metrics first showed the share in force. `max_age` is the
    oldest acceptable newest tick, `tick` how often the service looks. `standing` is what the ticks of this attempt
    amount to, None before the source is known; `lacking` says what is missing until then. `settling_since`: so long
    the metrics have been waited for to show the share, None if they do. `source` is what is believed of the source
    (`capacity.py`), `workloads` what its workloads say, without those of which nobody says it; `workload_problem` is
    why, empty where nobody is there to ask. `target_workloads` and `target_problem` are the same of the target's
    cluster. `pins` are those of other shifts, by workload. `first_look`: what is seen
    may be the first since this shift was loaded, since reads may be older than they are made.
    """

    views: Mapping[str, RouteView] | None
    ledger: Ledger
    leader: bool
    max_age: timedelta
    tick: timedelta
    provider_problem: str = ""
    signal_problem: str = ""
    policy_problem: str = ""
    bug: str = ""
    unreadable: str = ""
    freezes: Sequence[Freeze] = ()
    target_unseen: bool = False
    standing: Standing | None = None
    lacking: str = ""
    settled_at: datetime | None = None
    settling_since: datetime | None = None
    orders: Sequence[Order] = ()
    source: Mapping[str, int] = field(default_factory=dict)
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    workload_problem: str = ""
    target_workloads: Mapping[str, Workload] = field(default_factory=dict)
    target_problem: str = ""
    pins: Mapping[str, Sequence[Pin]] = field(default_factory=dict)
    first_look: bool = False
