"""The policy folder: what holds after every kind of edit, good, bad and half-way."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from pathlib import Path, PosixPath
from typing import Any, ClassVar, Self

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shifter.core.documents.policy import conflicts
from shifter.errors import ConfigError
from shifter.files.documents import load_fleet, yaml_files_in
from shifter.files.rules import Rule
from shifter.service.policy_files import PolicyFolder, PolicySet
from tests.service.conftest import World

EXAMPLE = Path(__file__).parents[2] / "policies" / "fleet.yaml"
FLEET = EXAMPLE.read_text()
MESH = EXAMPLE.with_name("mesh.yaml").read_text()


MISFIT = "  analysis: {latency: {maxMs: 700000}}\n"
"""What the histograms of the example fleet cannot measure."""


def _policy(name: str, *, namespace: str = "", route: str = "", soak: str = "5m") -> str:
    return f"""\
apiVersion: shifter.io/v1alpha1
kind: ShiftPolicy
metadata: {{name: {name}}}
spec:
  namespace: {namespace or name}
  traffic:
    clb:
      region: ap-guangzhou
      loadBalancer: lb-1
      routes: [{{listener: lbl-{route or name}, domain: shop.example.com, url: /}}]
      source: {{port: 30080}}
      target: {{port: 31080}}
  steps: [100]
  soak: {soak}
"""


class Folder:
    """A directory and its reader."""

    def __init__(self, path: Path, **files: str) -> None:
        self.path = path
        path.mkdir(exist_ok=True)
        for stem, text in files.items():
            self.write(stem, text)
        self.reader = PolicyFolder(path)

    def write(self, stem: str, text: str) -> None:
        (self.path / f"{stem}.yaml").write_text(text)

    def reload(self) -> PolicySet:
        return self.reader.reload()


def _soak_minutes(policies: PolicySet, name: str) -> float:
    return policies.policies[name].spec.soak.total_seconds() / 60


def test_every_yaml_file_is_a_policy_by_its_name(tmp_path: Path) -> None:
    folder = Folder(tmp_path, a=_policy("shop"))
    (tmp_path / "b.yml").write_text(_policy("cart"))
    now = folder.reload()

    assert set(now.policies) == {"shop", "cart"}
    assert now.files == {"shop": str(tmp_path / "a.yaml"), "cart": str(tmp_path / "b.yml")}
    assert (now.problems, now.stale) == ((), frozenset())


@pytest.mark.fault(
    on="policy files",
    fault="an editor's temporary and backup files lie beside a policy",
    does="ignores them",
    sees="nothing",
    safe_within="at once",
)
@pytest.mark.parametrize(
    "name",
    [
        *(".shop.yaml.swp", ".#shop.yaml", "#shop.yaml", "#shop.yaml#", "~shop.yaml", "shop.yaml~", "shop.yaml.tmp"),
        *("4913", "a.json", "sedX1y2Z", "shop.yaml.bak", "shop.yaml.orig", "shop.yaml___jb_tmp___", ".goutputstream-X"),
    ],
)
def test_dotfiles_and_editors_temporary_files_are_ignored(tmp_path: Path, name: str) -> None:
    folder = Folder(tmp_path, shop=_policy("shop"))
    (tmp_path / name).write_text("[half")

    assert folder.reload().problems == ()
    assert [path.name for path in yaml_files_in(tmp_path)] == ["shop.yaml"]


def test_an_edit_holds_from_the_next_reload(tmp_path: Path) -> None:
    folder = Folder(tmp_path, shop=_policy("shop"))
    folder.reload()
    folder.write("shop", _policy("shop", soak="7m"))

    assert _soak_minutes(folder.reload(), "shop") == 7


def test_nothing_changed_gives_the_very_same_answer(tmp_path: Path) -> None:
    folder = Folder(tmp_path, shop=_policy("shop"), bad="[half")
    first = folder.reload()

    assert all(folder.reload() is first for _ in range(3))


class _Counting(PosixPath):
    """A directory that counts how often its files are opened."""

    opened: ClassVar[list[str]] = []

    def open(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as pathlib's own
        self.opened.append(self.name)
        return super().open(*args, **options)


def test_a_file_is_opened_twice_and_then_no_more_until_it_changes(tmp_path: Path) -> None:
    folder = Folder(tmp_path, shop=_policy("shop"))
    reader = PolicyFolder(_Counting(tmp_path))
    for _ in range(5):
        reader.reload()
    unchanged = len(_Counting.opened)
    folder.write("shop", _policy("shop", soak="7m"))
    reader.reload()

    assert (unchanged, len(_Counting.opened)) == (2, 3)


@pytest.mark.fault(
    on="policy files",
    fault="one of 1,000 files is broken",
    does="the other 999 hold; what is unchanged is not opened again",
    sees="the one file's problem in `policy.problem` and in its hold `policy`",
    safe_within="one tick",
)
def test_one_broken_file_of_a_thousand_costs_nobody_else_anything(tmp_path: Path) -> None:
    folder = Folder(tmp_path, **{f"s{number}": _policy(f"s{number}") for number in range(1000)})
    reader = PolicyFolder(_Counting(tmp_path))
    before = [reader.reload() for _ in range(2)][-1]
    folder.write("s500", "[half")
    del _Counting.opened[:]
    broken = [reader.reload() for _ in range(4)][-1]
    opened = list(_Counting.opened)

    assert opened == ["s500.yaml"] * 2
    assert broken.policies == before.policies
    assert (len(broken.policies), set(broken.stale)) == (1000, {"s500"})
    assert {problem.file for problem in broken.problems} == {str(tmp_path / "s500.yaml")}


@pytest.mark.parametrize("way", ["replaced", "rewritten", "moved away and written anew"])
def test_every_way_in_which_an_editor_saves_is_one_edit(tmp_path: Path, way: str) -> None:
    folder = Folder(tmp_path, shop=_policy("shop"))
    folder.reload()
    if way == "replaced":
        (tmp_path / "new").write_text(_policy("shop", soak="7m"))
        (tmp_path / "new").rename(tmp_path / "shop.yaml")
    elif way == "moved away and written anew":
        (tmp_path / "shop.yaml").rename(tmp_path / "shop.yaml~")
        folder.write("shop", _policy("shop", soak="7m"))
    else:
        folder.write("shop", _policy("shop", soak="7m"))
    now = folder.reload()

    assert (_soak_minutes(now, "shop"), now.problems, now.stale) == (7, (), frozenset())


def test_a_file_caught_half_written_keeps_the_last_good_policy_until_the_rest_is_there(tmp_path: Path) -> None:
    text = _policy("shop", soak="7m")
    folder = Folder(tmp_path, shop=_policy("shop"))
    folder.reload()
    seen = []
    for end in (0, len(text) // 2, text.index("  soak"), len(text)):
        folder.write("shop", text[:end])
        now = folder.reload()
        seen.append((_soak_minutes(now, "shop"), bool(now.stale)))

    assert seen == [(5, True), (5, True), (5, True), (7, False)]


class _CoarseClock(PosixPath):
    """A directory on a filesystem whose times do not show an edit that came at once."""

    seen: ClassVar[dict[str, os.stat_result]] = {}

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return self.seen.setdefault(self.name, super().stat(follow_symlinks=follow_symlinks))


@pytest.mark.fault(
    on="policy files",
    fault="a file is written twice within one tick of the disk's clock",
    does="reads every new file a second time",
    sees="history: an edited policy is in force",
    safe_within="one tick",
)
def test_an_edit_that_the_filesystems_clock_does_not_show_is_seen(tmp_path: Path) -> None:
    folder = Folder(tmp_path, shop=_policy("shop", soak="5m"))
    reader = PolicyFolder(_CoarseClock(tmp_path))
    reader.reload()
    folder.write("shop", _policy("shop", soak="7m"))

    assert _soak_minutes(reader.reload(), "shop") == 7


def test_a_file_that_became_broken_keeps_its_last_good_policy_and_says_so(tmp_path: Path) -> None:
    folder = Folder(tmp_path, shop=_policy("shop"), cart=_policy("cart"))
    folder.reload()
    folder.write("shop", _policy("shop").replace("soak", "soack"))
    now = folder.reload()

    assert _soak_minutes(now, "shop") == 5
    assert now.stale == {"shop"}
    assert {problem.file for problem in now.problems} == {str(tmp_path / "shop.yaml")}
    assert now.files["shop"] == str(tmp_path / "shop.yaml")


def test_a_mended_file_is_no_longer_stale(tmp_path: Path) -> None:
    folder = Folder(tmp_path, shop=_policy("shop"))
    folder.reload()
    folder.write("shop", "")
    folder.reload()
    folder.write("shop", _policy("shop", soak="7m"))
    now = folder.reload()

    assert (_soak_minutes(now, "shop"), now.stale, now.problems) == (7.0, frozenset(), ())


def test_a_broken_file_that_never_was_good_is_just_a_problem(tmp_path: Path) -> None:
    now = Folder(tmp_path, shop=_policy("shop"), cart="[half").reload()

    assert set(now.policies) == {"shop"}
    assert now.stale == frozenset()
    assert len(now.problems) == 1


def test_only_broken_files_start_with_problems_and_no_policy(tmp_path: Path) -> None:
    now = Folder(tmp_path, cart="[half").reload()

    assert (now.policies, len(now.problems)) == ({}, 1)


def test_a_file_that_vanished_takes_its_policy_along(tmp_path: Path) -> None:
    folder = Folder(tmp_path, shop=_policy("shop"), cart=_policy("cart"))
    folder.reload()
    (tmp_path / "cart.yaml").unlink()
    now = folder.reload()

    assert (set(now.policies), now.problems, now.stale) == ({"shop"}, (), frozenset())


def test_a_renamed_file_keeps_its_policy(tmp_path: Path) -> None:
    folder = Folder(tmp_path, shop=_policy("shop"))
    folder.reload()
    (tmp_path / "shop.yaml").rename(tmp_path / "a.yaml")

    assert folder.reload().files == {"shop": str(tmp_path / "a.yaml")}


@pytest.mark.parametrize("make", ["nothing", "empty", "fleet"])
def test_a_folder_without_policies_is_an_error_at_the_start(tmp_path: Path, make: str) -> None:
    directory = tmp_path / "policies"
    if make != "nothing":
        directory.mkdir()
    if make == "fleet":
        (directory / "fleet.yaml").write_text(FLEET)

    with pytest.raises(ConfigError, match="pass the directory of the ShiftPolicy files") as caught:
        PolicyFolder(directory).reload()
    assert caught.value.problems[0].file == str(directory)


def test_a_folder_that_was_missing_at_first_may_appear(tmp_path: Path) -> None:
    reader = PolicyFolder(tmp_path / "policies")
    with pytest.raises(ConfigError):
        reader.reload()
    Folder(tmp_path / "policies", shop=_policy("shop"))

    assert set(reader.reload().policies) == {"shop"}


@pytest.mark.fault(
    on="policy files",
    fault="the whole folder is gone or empty, as after a lost mount",
    does="every last good policy stays in force; holds",
    sees="hold `policy`: the folder cannot be listed, or has no *.yaml or *.yml file",
    safe_within="one tick",
)
@pytest.mark.parametrize("lose", ["directory", "files"])
def test_a_folder_that_got_lost_keeps_everything_stale_until_it_is_back(tmp_path: Path, lose: str) -> None:
    folder = Folder(tmp_path / "policies", shop=_policy("shop"), cart=_policy("cart"))
    before = folder.reload()
    away = tmp_path / "away"
    folder.path.rename(away)
    if lose == "files":
        folder.path.mkdir()
    lost = folder.reload()
    if lose == "files":
        folder.path.rmdir()
    away.rename(folder.path)

    assert lost.policies == before.policies
    assert lost.stale == {"shop", "cart"}
    assert [problem.file for problem in lost.problems] == [str(folder.path)]
    assert folder.reload() == before


@pytest.mark.parametrize("other", [FLEET, MESH, MESH.replace("version:", "versoin:")], ids=["fleet", "mesh", "broken"])
def test_a_file_of_another_kind_in_the_folder_is_left_alone(tmp_path: Path, other: str) -> None:
    now = Folder(tmp_path, shop=_policy("shop"), other=other).reload()

    assert (set(now.policies), now.problems) == ({"shop"}, ())


def test_a_policy_file_that_turned_into_a_fleet_keeps_its_policy_and_is_a_problem(tmp_path: Path) -> None:
    folder = Folder(tmp_path, shop=_policy("shop"))
    folder.reload()
    folder.write("shop", FLEET)
    now = folder.reload()

    assert now.stale == {"shop"}
    assert "kind" in {problem.path for problem in now.problems}


@pytest.mark.fault(
    on="policy files",
    fault="two files claim one name, namespace or route",
    does="the one in force stays; at the start the first by file name",
    sees="`already has a policy, in a.yaml` at the place in the other file",
    safe_within="one tick",
)
def test_of_two_files_with_one_name_the_first_by_file_name_holds_at_the_start(tmp_path: Path) -> None:
    now = Folder(tmp_path, b=_policy("shop", soak="2m"), a=_policy("shop", soak="1m")).reload()

    assert _soak_minutes(now, "shop") == 1
    (problem,) = now.problems
    assert (Path(problem.file).name, problem.line, problem.path) == ("b.yaml", 3, "metadata.name")
    assert "in a.yaml" in problem.message


def test_a_new_file_cannot_take_over_what_a_policy_in_force_claims(tmp_path: Path) -> None:
    folder = Folder(tmp_path, z=_policy("shop"))
    folder.reload()
    folder.write("a", _policy("other", namespace="shop"))
    now = folder.reload()

    assert set(now.policies) == {"shop"}
    assert now.stale == frozenset()
    assert [(Path(each.file).name, each.path) for each in now.problems] == [("a.yaml", "spec.namespace")]


def test_an_edit_that_conflicts_keeps_the_last_good_policy(tmp_path: Path) -> None:
    folder = Folder(tmp_path, a=_policy("shop"), b=_policy("cart"))
    folder.reload()
    folder.write("a", _policy("shop", route="cart", soak="9m"))
    now = folder.reload()

    assert (_soak_minutes(now, "shop"), now.stale) == (5.0, frozenset({"shop"}))
    assert [problem.path for problem in now.problems] == ["spec.traffic.clb.routes.0"]


def test_a_claim_that_falls_back_is_not_lost_to_an_edit_that_wanted_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path, a=_policy("a"), b=_policy("b"), c=_policy("c"))
    folder.reload()
    folder.write("a", _policy("a", namespace="b"))  # free only if b's own edit holds,
    folder.write("b", _policy("b", namespace="x", route="c"))  # which conflicts with c
    now = folder.reload()

    assert {name: policy.namespaces for name, policy in now.policies.items()} == {"a": ("a",), "b": ("b",), "c": ("c",)}
    assert now.stale == {"a", "b"}
    assert len(now.problems) == 2


def test_two_files_may_swap_what_they_claim(tmp_path: Path) -> None:
    folder = Folder(tmp_path, a=_policy("a"), b=_policy("b"))
    folder.reload()
    folder.write("a", _policy("a", namespace="b"))
    folder.write("b", _policy("b", namespace="a"))
    now = folder.reload()

    assert (now.problems, now.policies["a"].namespaces) == ((), ("b",))


def test_a_conflict_that_ended_lets_the_edit_through(tmp_path: Path) -> None:
    folder = Folder(tmp_path, a=_policy("shop"), b=_policy("cart"))
    folder.reload()
    folder.write("a", _policy("shop", namespace="cart"))
    folder.reload()
    (tmp_path / "b.yaml").unlink()
    now = folder.reload()

    assert (now.policies["shop"].namespaces, now.stale, now.problems) == (("cart",), frozenset(), ())


def _config_map(directory: Path, generation: str, text: str) -> None:
    """Lay a generation down the way the kubelet does: a new directory, then one link moved over."""
    (directory / generation).mkdir()
    (directory / generation / "shop.yaml").write_text(text)
    (directory / "..tmp").symlink_to(generation)
    (directory / "..tmp").rename(directory / "..data")


@pytest.mark.fault(
    on="policy files",
    fault="the kubelet swaps a ConfigMap's link, also while it is read",
    does="reads again, at most three times; never half of each",
    sees="history: an edited policy is in force",
    safe_within="one tick",
)
def test_a_config_map_swap_is_an_edit(tmp_path: Path) -> None:
    _config_map(tmp_path, "..1", _policy("shop"))
    (tmp_path / "shop.yaml").symlink_to("..data/shop.yaml")
    folder = Folder(tmp_path)
    folder.reload()
    _config_map(tmp_path, "..2", _policy("shop", soak="7m"))
    now = folder.reload()

    assert (_soak_minutes(now, "shop"), now.problems) == (7, ())


class _SwappedWhileReading(PosixPath):
    """A directory whose ConfigMap is replaced right after each of the next listings."""

    swaps: ClassVar[list[str]] = []

    def iterdir(self) -> Generator[Self, None, None]:
        found = list(super().iterdir())
        if self.swaps:
            minutes = self.swaps.pop(0)
            _config_map(Path(self), f"..{minutes}", _policy("shop", soak=minutes))
        yield from found


@pytest.mark.parametrize("swaps", [["7m"], ["1m", "2m", "3m", "4m", "5m", "7m"]])
def test_a_swap_during_the_reading_is_read_again_and_not_for_ever(tmp_path: Path, swaps: list[str]) -> None:
    _config_map(tmp_path, "..0", _policy("shop"))
    (tmp_path / "shop.yaml").symlink_to("..data/shop.yaml")
    _SwappedWhileReading.swaps[:] = swaps
    reader = PolicyFolder(_SwappedWhileReading(tmp_path))
    first, second = reader.reload(), reader.reload()

    assert first.problems == ()
    assert _soak_minutes(second, "shop") == 7


class _VanishesAfterListing(PosixPath):
    """A directory that still lists one file that is gone already."""

    def iterdir(self) -> Generator[Self, None, None]:
        yield from super().iterdir()
        yield self / "gone.yaml"


def test_a_file_that_vanished_during_the_reading_is_gone(tmp_path: Path) -> None:
    folder = Folder(tmp_path, shop=_policy("shop"))
    now = PolicyFolder(_VanishesAfterListing(folder.path)).reload()

    assert (set(now.policies), now.problems) == ({"shop"}, ())


@pytest.mark.fault(
    on="policy files",
    fault="a link leads nowhere, or a file cannot be read",
    does="the last good policy stays in force; holds",
    sees="hold `policy`: cannot be read",
    safe_within="one tick",
)
def test_a_dangling_link_is_a_problem_and_keeps_the_last_good_policy(tmp_path: Path) -> None:
    (tmp_path / "real").write_text(_policy("shop"))
    (tmp_path / "shop.yaml").symlink_to("real")
    folder = Folder(tmp_path)
    folder.reload()
    (tmp_path / "real").unlink()
    now = folder.reload()

    assert now.stale == {"shop"}
    assert "cannot be read" in now.problems[0].message
    assert folder.reload() == now


@pytest.mark.fault(
    on="policy files",
    fault="a pipe or device in the folder that would never answer",
    does="never opens it; the other files hold",
    sees="`policy.problem`: is not a regular file",
    safe_within="at once",
)
def test_a_pipe_does_not_stop_the_service(tmp_path: Path) -> None:
    folder = Folder(tmp_path, shop=_policy("shop"))
    os.mkfifo(tmp_path / "pipe.yaml")

    assert [problem.message for problem in folder.reload().problems] == ["is not a regular file"]


_STEMS = st.sampled_from("abc")
_WORDS = st.sampled_from(["shop", "cart", "pay"])


def test_a_policy_that_asks_what_the_fleet_cannot_give_is_stale_from_the_start_until_it_is_mended(
    tmp_path: Path,
) -> None:
    folder = Folder(tmp_path, shop=_policy("shop") + MISFIT)
    reader = PolicyFolder(tmp_path, load_fleet(EXAMPLE))
    before = reader.reload()
    folder.write("shop", _policy("shop"))
    mended = reader.reload()

    assert before.stale == {"shop"}
    (problem,) = before.problems
    assert (problem.path, problem.rule, problem.line) == ("spec.analysis.latency.maxMs", Rule.MISFIT, 15)
    assert (mended.stale, mended.problems) == (frozenset(), ())


def test_an_edit_that_asks_what_the_fleet_cannot_give_leaves_the_last_good_policy_in_force(tmp_path: Path) -> None:
    folder = Folder(tmp_path, shop=_policy("shop"))
    reader = PolicyFolder(tmp_path, load_fleet(EXAMPLE))
    good = reader.reload()
    folder.write("shop", _policy("shop", soak="7m") + MISFIT)
    edited = reader.reload()

    assert edited.policies == good.policies
    assert edited.stale == {"shop"}
    assert [each.rule for each in edited.problems] == [Rule.MISFIT]


def test_without_a_fleet_nothing_is_beyond_it(tmp_path: Path) -> None:
    found = Folder(tmp_path, shop=_policy("shop") + MISFIT).reload()

    assert (found.stale, found.problems) == (frozenset(), ())


def test_a_policy_that_does_not_fit_is_opened_no_more_often_than_a_good_one(tmp_path: Path) -> None:
    Folder(tmp_path, shop=_policy("shop") + MISFIT)
    reader = PolicyFolder(_Counting(tmp_path), load_fleet(EXAMPLE))
    del _Counting.opened[:]
    first, *later = [reader.reload() for _ in range(10)]

    assert _Counting.opened == ["shop.yaml"] * 2
    assert all(each is first for each in later)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"soak":', '"pwd": "hunter2", "soak":'),
        ('"soak":', '"credentials": {"user": "hunter2"}, "soak":'),
        ('"soak":', '"token": &hunter2 1, "soak":'),
        ('"soak": "20s"', '"soak": "Authorization: Bearer hunter2"'),
        ('"soak": "20s"', '"soak": "http://ann:hunter2@host/"'),
    ],
)
def test_the_log_tells_what_is_wrong_with_a_file_and_no_secret_of_it(world: World, before: str, after: str) -> None:
    file = world.path / "shop.yaml"
    text = file.read_text()
    file.write_text(text.replace(before, after))
    world.step()

    assert file.read_text() != text
    assert "policy.problem" in world.log.getvalue()
    assert "hunter2" not in world.log.getvalue()
    assert "hunter2" not in str(world.saved.reports())


class AnyEdits(RuleBasedStateMachine):
    """Whatever people do to the folder, a policy in force goes only with its file or by a valid edit of it."""

    def __init__(self) -> None:
        super().__init__()
        self._temporary = tempfile.TemporaryDirectory()  # hypothesis has no tmp_path
        self.folder = Folder(Path(self._temporary.name), keep=_policy("keep"))
        self.now = self.folder.reload()

    def teardown(self) -> None:
        self._temporary.cleanup()

    @rule(stem=_STEMS, name=_WORDS, namespace=_WORDS, route=_WORDS)
    def write_policy(self, stem: str, name: str, namespace: str, route: str) -> None:
        self.folder.write(stem, _policy(name, namespace=namespace, route=route))

    @rule(stem=_STEMS)
    def break_file(self, stem: str) -> None:
        self.folder.write(stem, "[half")

    @rule(stem=_STEMS)
    def remove_file(self, stem: str) -> None:
        (self.folder.path / f"{stem}.yaml").unlink(missing_ok=True)

    @rule()
    def look(self) -> None:
        before, self.now = self.now, self.folder.reload()
        lost = set(before.files.values()) - set(self.now.files.values())

        assert not any(Path(file).exists() for file in lost)

    @invariant()
    def what_holds_agrees_with_itself(self) -> None:
        held = {self.now.files[name]: policy for name, policy in self.now.policies.items()}

        assert not list(conflicts(held))
        assert "keep" in self.now.policies
        assert self.now.stale <= set(self.now.policies)


TestAnyEdits = AnyEdits.TestCase
TestAnyEdits.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
