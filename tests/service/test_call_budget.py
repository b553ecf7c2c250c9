"""Does a replica start whose calls to the cloud may end after its lease did?"""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog
import yaml

from shifter.errors import ConfigError
from shifter.lab.account import open_account
from shifter.lab.files import LAB_PACE, write_all
from shifter.lab.topology import MESHES, Gateway, Namespace
from shifter.wiring.serving import ServeOptions, serve
from shifter.wiring.stores import ClusterAddress

NOWHERE = ClusterAddress(Path("nowhere"), "", "", "", "shifter-system", "", 5.0)


@pytest.mark.fault(
    on="Kubernetes",
    fault="a call to the cloud may take longer than the lease's write budget",
    does="does not start; nothing is adjusted",
    sees="exit 2: spec.provider.tencent.timeout: a call takes at most 3 x 3s = 9s, more than spec.lease.writeBudget",
    safe_within="at once",
)
def test_a_replica_whose_calls_outlast_its_lease_does_not_start(tmp_path: Path) -> None:
    account = open_account(
        [Namespace("shop")], {"shop": "lb-front0001"}, [Gateway(mesh, mesh, 1, 1) for mesh in MESHES]
    )
    urls = {mesh: f"http://127.0.0.1:{port}" for port, mesh in enumerate(MESHES, start=9)}
    write_all(tmp_path, account, 9, urls, LAB_PACE)
    place = tmp_path / "fleet.yaml"
    fleet = yaml.safe_load(place.read_text())
    fleet["spec"]["provider"]["tencent"]["timeout"] = "3s"
    place.write_text(yaml.safe_dump(fleet))
    options = ServeOptions(place, tmp_path / "policies", NOWHERE, "127.0.0.1", 0)

    with pytest.raises(ConfigError) as refused:
        serve(options)
    structlog.reset_defaults()

    assert str(refused.value) == (
        f"{place}: spec.provider.tencent.timeout: a call takes at most 3 x 3s = 9s, more than spec.lease.writeBudget"
        " (8s): a write that was begun in time could end when another replica leads; lower the one, or raise the other"
    )
