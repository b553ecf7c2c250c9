"""JSON that others read meanwhile: whole or not at all, and nothing left behind."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shifter.lab.json_files import write_json


def test_readers_see_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("the old one")

    with path.open() as reader:
        write_json(path, {"share": 25, "to": "istio → tcm"})
        read_meanwhile = reader.read()

    assert read_meanwhile == "the old one"
    assert json.loads(path.read_text(encoding="utf-8")) == {"share": 25, "to": "istio → tcm"}
    assert os.listdir(tmp_path) == ["report.json"]  # noqa: PTH208 - hidden files too


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("the old one")

    with pytest.raises(TypeError):
        write_json(path, {"cannot": object()})
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_json(tmp_path / "folder", {})

    assert path.read_text() == "the old one"
    assert sorted(os.listdir(tmp_path)) == ["folder", "report.json"]  # noqa: PTH208 - hidden files too


def test_writers_of_the_same_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"

    with ThreadPoolExecutor(8) as pool:
        writes = [pool.submit(write_json, path, {"weights": [number] * 1000}) for number in range(64)]
    for write in writes:
        write.result()

    [weight] = set(json.loads(path.read_text())["weights"])
    assert weight in range(64)
    assert os.listdir(tmp_path) == ["weights.json"]  # noqa: PTH208 - hidden files too


def test_whoever_may_read_the_folder_may_read_the_file(tmp_path: Path) -> None:
    (tmp_path / "any").touch()

    write_json(tmp_path / "report.json", {}, indent=2)

    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1
