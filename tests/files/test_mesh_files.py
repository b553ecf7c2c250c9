"""Mesh files as people write them: every mistake at its place, all at once, and told beside policies and fleets."""

from __future__ import annotations

from pathlib import Path

import pytest

from shifter.errors import ConfigError
from shifter.files.documents import load_fleet, load_mesh
from shifter.files.lint import lint_files

EXAMPLE = Path(__file__).parents[2] / "policies" / "mesh.yaml"

BROKEN = """\
kind: Mesh
metadata: {name: main}
spec:
  version: 1.16.5
  images: {hub: docker.io/istio, tag: latest}
  tcm: {version: 1.18.5}
  meshId: mesh1
  meshID: mesh1
  network: main
  revision: 1-18-5
  values:
    global: {meshID: mesh1, network: main}
  primary:
    cluster: cls-dxgdg1rl
    context: tke-primary
    eastWest: {loadBalancer: {public: true}}
    istiod: {resources: {requests: {cpu: 2}}}
    gateways:
      - {name: istio-ingressgateway}
      - name: edge
        loadBalancer: {existing: lbl-1a2b3c4d}
        ports: [{name: https, port: 443, targetPort: 443}]
    inject: [istio-system]
  members:
    - {cluster: cls-ne1cw84b}
"""


def test_all_mistakes_of_a_mesh_are_told_at_their_places(tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text(BROKEN, encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        load_mesh(tmp_path / "mesh.yaml")

    assert [(each.line, each.column, each.path.removeprefix("spec.")) for each in caught.value.problems] == [
        (4, 12, "version"),
        (5, 3, "images.pullSecrets"),
        (5, 39, "images.tag"),
        (7, 3, "meshId"),
        (10, 13, "revision"),
        (12, 22, "values.global.meshID"),
        (12, 38, "values.global.network"),
        (16, 31, "primary.eastWest.loadBalancer.public"),
        (17, 42, "primary.istiod.resources.requests.cpu"),
        (19, 9, "primary.gateways.0"),
        (21, 34, "primary.gateways.1.loadBalancer.existing"),
        (22, 54, "primary.gateways.1.ports.0.targetPort"),
        (23, 14, "primary.inject.0"),
        (25, 7, "members.0.context"),
    ]
    hints = {each.path: each.hint for each in caught.value.problems}
    assert 'write it as meshID, found "mesh1"' in str(caught.value.problems[5])
    assert hints["spec.meshId"] == 'did you mean "meshID"?'
    assert hints["spec.primary.istiod.resources.requests.cpu"] == 'put it in quotes: "2"'


def test_a_value_of_another_form_is_answered_with_an_example(tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text(
        EXAMPLE.read_text(encoding="utf-8").replace("subnet-19exjv5n", "intranet"), encoding="utf-8"
    )

    with pytest.raises(ConfigError, match='has not the form of "subnet-19exjv5n", found "intranet"'):
        load_mesh(tmp_path / "mesh.yaml")


def test_a_mesh_is_no_fleet_and_a_fleet_no_mesh() -> None:
    fleet = EXAMPLE.with_name("fleet.yaml")

    with pytest.raises(ConfigError, match="should be 'Mesh', found \"Fleet\""):
        load_mesh(fleet)
    with pytest.raises(ConfigError, match="should be 'Fleet', found \"Mesh\""):
        load_fleet(EXAMPLE)


def test_a_mesh_is_checked_beside_the_policies_and_is_not_taken_for_the_fleet(tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text(BROKEN, encoding="utf-8")
    (tmp_path / "shop.yaml").write_text(EXAMPLE.with_name("shop.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    found = lint_files([tmp_path])

    assert {Path(each.file).name for each in found.problems} == {"mesh.yaml"}
    assert lint_files([EXAMPLE]).problems == []
