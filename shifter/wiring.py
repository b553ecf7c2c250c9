"""The one place that knows which adapter is behind which port. Defaults are production; arguments are test seams."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from shifter.core.fleet import Fleet, misfits
from shifter.core.splits import Side
from shifter.files.documents import read_document
from shifter.ports import Store
from shifter.service.policy_files import PolicyFolder, PolicySet


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `shifter run` was told. `mode` overrides the fleet file's; `listen` is `host:port`."""

    fleet: Path
    policies: Path
    store: Path
    listen_host: str
    listen_port: int
    mode: str | None = None
    log_level: str = "info"


class FittingFolder(PolicyFolder):
    """The policies of a directory, as far as the fleet can give what they ask.

    One that asks more counts as edited for the worse: the last good one stays in force, a new shift does not begin.
    """

    def __init__(self, directory: Path, fleet: Fleet) -> None:
        super().__init__(directory)
        self._fleet = fleet

    def reload(self) -> PolicySet:
        """Return the policies that hold now, those that do not fit marked stale, and everything that is wrong.

        Raises:
            ConfigError: as `PolicyFolder.reload`.
        """
        found = super().reload()
        problems, stale = set(found.problems), set(found.stale)
        for name, policy in found.policies.items():
            for misfit in misfits(policy, self._fleet):
                document = read_document(Path(found.files[name]))
                problems.add(document.problem(misfit.path, misfit.reason))
                stale.add(name)
        return replace(found, problems=tuple(sorted(problems)), stale=frozenset(stale))


def open_store(path: Path) -> Store:
    """Open the embedded store, creating it if need be.

    Raises:
        StoreUnavailableError: it cannot be opened.
    """
    from shifter.adapters.sqlite import SqliteStore  # noqa: PLC0415 - commands that need no store stay fast

    return SqliteStore(path)


def is_served(path: Path) -> bool:
    """Return whether a service runs on the embedded store at `path`; True also where that cannot be told."""
    from shifter.adapters.sqlite import is_held  # noqa: PLC0415 - commands that need no store stay fast

    return is_held(path)


def serve(options: ServeOptions) -> None:
    """Run the service on the embedded store, the real cloud and both datasources, until it is told to stop.

    Raises:
        ConfigError: the fleet file or the policy folder cannot be used.
        RefusedError: another shifter holds the lease of this store.
        StoreUnavailableError: the store cannot be opened.
    """
    # Imported here: these cost half a second and 100 MB, and `shifter get` needs none of them.
    from prometheus_client import CollectorRegistry  # noqa: PLC0415

    from shifter.adapters.prometheus import PrometheusMetrics  # noqa: PLC0415
    from shifter.adapters.sqlite import SqliteLease, SqliteStore  # noqa: PLC0415
    from shifter.adapters.tencent.api import ClbApi  # noqa: PLC0415
    from shifter.adapters.tencent.clb import ClbProvider  # noqa: PLC0415
    from shifter.files.documents import load_fleet  # noqa: PLC0415
    from shifter.service import daemon, telemetry  # noqa: PLC0415
    from shifter.service.lanes import Lanes  # noqa: PLC0415
    from shifter.service.observe import MESH  # noqa: PLC0415
    from shifter.service.tick import Parts  # noqa: PLC0415

    telemetry.configure_logs(options.log_level)
    fleet = load_fleet(options.fleet)
    folder = FittingFolder(options.policies, fleet)
    store = SqliteStore(options.store)
    if not store.load():
        # Nothing is under way, so a wrong folder is a slip of the hand and stops the start. Later it only holds.
        folder.reload()
    max_age = fleet.spec.timing.sample_max_age.total_seconds()
    sources = {Side.SOURCE: fleet.spec.datasources.source, Side.TARGET: fleet.spec.datasources.target}
    parts = Parts(
        fleet=fleet,
        mode=options.mode or fleet.spec.mode,
        folder=folder,
        store=store,
        leadership=SqliteLease(options.store),
        provider=ClbProvider(ClbApi(fleet.spec.provider.tencent)),
        metrics={side: PrometheusMetrics(source, max_age, MESH[side]) for side, source in sources.items()},
        lanes=Lanes(),
        telemetry=telemetry.Telemetry(CollectorRegistry(), timedelta(minutes=5)),
        stopwatch=time.monotonic,
    )
    daemon.run(parts, options.listen_host, options.listen_port)
