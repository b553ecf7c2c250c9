"""Keys in files: read when they change, never mixed, never shown."""

from __future__ import annotations

import os
import threading
import traceback
from pathlib import Path

import pytest

from shifter.adapters.tencent.credentials import FileCredentials
from shifter.errors import ProviderRefusedError


def pair(folder: Path, *, token: bool = False) -> FileCredentials:
    return FileCredentials(str(folder / "id"), str(folder / "key"), str(folder / "token") if token else None)


def write_pair(folder: Path, number: int) -> None:
    for name in ("id", "key", "token"):
        (folder / name).write_text(f"{name}-{number}\n")


def test_the_pair_is_what_the_files_hold_without_the_line_end(tmp_path: Path) -> None:
    write_pair(tmp_path, 1)
    with_token, without = pair(tmp_path, token=True), pair(tmp_path)
    with_token.refresh()
    without.refresh()

    assert with_token.get_credential_info() == ("id-1", "key-1", "token-1")
    assert without.get_credential_info() == ("id-1", "key-1", None)


def test_a_changed_file_counts_from_the_next_refresh_on(tmp_path: Path) -> None:
    write_pair(tmp_path, 1)
    credentials = pair(tmp_path)
    credentials.refresh()
    write_pair(tmp_path, 22)
    before = credentials.get_credential_info()
    credentials.refresh()

    assert before == ("id-1", "key-1", None)
    assert credentials.get_credential_info() == ("id-22", "key-22", None)


def test_a_pair_that_is_replaced_while_it_is_read_is_never_mixed(tmp_path: Path) -> None:
    # A pipe stops the reader between the two files; by the time it goes on, both are new.
    (tmp_path / "id").write_text("id-1")
    os.mkfifo(tmp_path / "key")

    def rotate() -> None:
        with (tmp_path / "key").open("w") as pipe:
            write_pair(tmp_path / "fresh", 2)
            for name in ("id", "key"):
                (tmp_path / "fresh" / name).rename(tmp_path / name)
            pipe.write("key-2")

    (tmp_path / "fresh").mkdir()
    rotation = threading.Thread(target=rotate)
    rotation.start()
    credentials = pair(tmp_path)
    credentials.refresh()
    rotation.join()

    assert credentials.get_credential_info() == ("id-2", "key-2", None)


def test_a_pair_that_never_rests_is_refused_and_read_again_the_next_time(tmp_path: Path) -> None:
    # As above, and each time the reader stops at a pipe, a new one takes its place.
    write_pair(tmp_path, 1)
    (tmp_path / "key").unlink()
    os.mkfifo(tmp_path / "key")

    def rotate() -> None:
        for _ in range(3):
            with (tmp_path / "key").open("w") as pipe:
                os.mkfifo(tmp_path / "next")
                (tmp_path / "next").rename(tmp_path / "key")
                pipe.write("key-1")

    rotation = threading.Thread(target=rotate)
    rotation.start()
    credentials = pair(tmp_path)
    with pytest.raises(ProviderRefusedError, match="id keeps changing while it is read"):
        credentials.refresh()
    rotation.join()
    (tmp_path / "key").unlink()
    write_pair(tmp_path, 2)
    credentials.refresh()

    assert credentials.get_credential_info() == ("id-2", "key-2", None)


@pytest.mark.parametrize("name", ["id", "key", "token"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read: No such file"),
        (b"", "must hold exactly one word"),
        (b" \n", "must hold exactly one word"),
        (b"two canaries", "must hold exactly one word"),
        (b"\xff\xfe\x00canary", "is not plain text"),
        ("canäry".encode(), "is not plain text"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_but_not_quoted(
    tmp_path: Path, name: str, content: bytes | None, why: str
) -> None:
    write_pair(tmp_path, 1)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ProviderRefusedError) as caught:
        pair(tmp_path, token=True).refresh()
    told = "".join(traceback.format_exception(caught.value))

    assert str(caught.value).startswith(f"credential file {tmp_path / name} {why}")
    assert "canar" not in told.replace(str(tmp_path), "")


def test_a_directory_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    write_pair(tmp_path, 1)
    (tmp_path / "key").unlink()
    (tmp_path / "key").mkdir()

    with pytest.raises(ProviderRefusedError, match="key cannot be read: Is a directory"):
        pair(tmp_path).refresh()


def test_a_file_that_became_unreadable_is_noticed(tmp_path: Path) -> None:
    write_pair(tmp_path, 1)
    credentials = pair(tmp_path)
    credentials.refresh()
    (tmp_path / "key").unlink()

    with pytest.raises(ProviderRefusedError, match="cannot be read: No such file"):
        credentials.refresh()


def test_secrets_are_hidden_in_texts_and_in_its_own_picture(tmp_path: Path) -> None:
    write_pair(tmp_path, 1)
    credentials = pair(tmp_path, token=True)
    credentials.refresh()

    assert credentials.hide("with id-1 and key-1 and token-1") == "with *** and *** and ***"
    assert "id-1" not in repr(credentials)
