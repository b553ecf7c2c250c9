"""Whatever bytes are in a file: an answer, soon, and from lint and the service the same one."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from shifter.core.documents.policy import ShiftPolicy
from shifter.errors import ConfigError
from shifter.files.documents import load_policy
from shifter.files.lint import lint_files
from shifter.service.policy_files import PolicyFolder

GOOD = (Path(__file__).parents[2] / "policies" / "shop.yaml").read_bytes()
LATENCY = GOOD.index(b"    latency:")

_TOKENS = st.sampled_from(
    [
        *(b"\t", b"\n", b" ", b":", b": ", b"- ", b"&a", b"*a", b"!x", b"{", b"}", b"[", b"]", b"'", b'"', b"|", b"#"),
        *(b"%", b"0", b"on", b"1:30", b".nan", b"null", b"~", b"<<: ", b"---\n", b"\x00", b"\x1b", b"\xff"),
        *(b"\xe2\x80\x8b", b"\xc2\xa0", b"100", b"101", b"-1", b"5m", b"steps", b"spec:\n", b"kind: Fleet\n", b"true"),
        *(b"30080", b"31080", b"shop"),
    ]
)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A good policy with a few places cut out, doubled, or overwritten."""
    raw = GOOD if draw(st.booleans()) else GOOD[:LATENCY]
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(raw)))
        end = begin + draw(st.integers(0, 12))
        raw = raw[:begin] + draw(st.one_of(_TOKENS, st.binary(max_size=4), st.just(raw[begin:end] * 2))) + raw[end:]
    return raw


def _linted(path: Path) -> bool:
    return not lint_files([path]).problems


def _loaded(path: Path) -> ShiftPolicy | None:
    try:
        return load_policy(path)
    except ConfigError:  # anything else fails the test
        return None


def _served(path: Path) -> ShiftPolicy | None:
    try:
        found = PolicyFolder(path.parent).reload()
    except ConfigError:
        return None
    assert bool(found.problems) is not bool(found.policies)
    return next(iter(found.policies.values()), None)


@settings(deadline=timedelta(seconds=5))
@given(st.one_of(mutations(), st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode())))
def test_what_lint_accepts_the_service_serves_with_the_same_value_and_nothing_else(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:  # hypothesis has no tmp_path
        path = Path(directory) / "a.yaml"
        path.write_bytes(raw)
        accepted, loaded, served = _linted(path), _loaded(path), _served(path)

    # A file that says it is a Fleet is linted as one and is no policy to the others.
    assert loaded == served
    assert accepted == (loaded is not None) or (accepted and b"Fleet" in raw)


@settings(max_examples=20, deadline=None)
@given(st.permutations([b"soak: 1m", b"hold: 4m", b"steps: auto"]), st.integers(1, 59))
def test_a_good_edit_is_good_to_all_of_them(lines: list[bytes], seconds: int) -> None:
    raw = GOOD.replace(b"soak: 1m", b"soak: %ds" % seconds).replace(lines[0], lines[0] + b"  # edited")
    with tempfile.TemporaryDirectory() as directory:  # hypothesis has no tmp_path
        path = Path(directory) / "a.yaml"
        path.write_bytes(raw)
        accepted, loaded, served = _linted(path), _loaded(path), _served(path)

    assert accepted
    assert loaded is not None
    assert loaded == served
    assert loaded.spec.soak == timedelta(seconds=seconds)
