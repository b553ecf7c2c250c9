"""Which API server is meant and as whom: what kubectl would take, or a sentence that says what is wrong with it."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import Configuration

from shifter.adapters.kube.client import KubeClient
from shifter.adapters.kube.connecting import Cluster, closed, connect, identity, may
from shifter.adapters.kube.kinds import SHIFTS
from shifter.adapters.kube.kubeconfig import choose
from shifter.adapters.kube.places import Here, in_context
from shifter.errors import ConfigError, NotFoundError, RefusedError, StoreUnavailableError
from shifter.ports.kube import Body, Failing, Kind, KubeError
from tests.adapters.apiserver import FakeApiServer, running
from tests.http import send

NOBODY = Path("/nonexistent")
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SECRET = "very-secret-token"
VERSION = "client.authentication.k8s.io/v1"
UNKNOWN = {"kind": "Status", "status": "Failure", "code": 401, "reason": "Unauthorized", "message": "Unauthorized"}


@dataclass(frozen=True)
class Certificates:
    """An authority that is its server's certificate too, a person's certificate by it, and a stranger's key."""

    authority: Path
    authority_key: Path
    person: Path
    person_key: Path
    locked_key: Path


def openssl(*words: str | Path) -> None:
    argv = ["openssl", *map(str, words)]
    subprocess.run(argv, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    made = Certificates(*(folder / name for name in ("ca.crt", "ca.key", "ann.crt", "ann.key", "locked.key")))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    by = ("-CA", made.authority, "-CAkey", made.authority_key)
    names = ("-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1,DNS:kube.example")
    openssl("req", "-x509", *curve, *names, "-out", made.authority, "-keyout", made.authority_key)
    openssl("req", "-x509", *by, *curve, "-subj", "/CN=ann", "-out", made.person, "-keyout", made.person_key)
    openssl("ec", "-in", made.person_key, "-aes128", "-passout", "pass:x", "-out", made.locked_key)
    return made


@pytest.fixture
def server(certificates: Certificates) -> Iterator[FakeApiServer]:
    with running((certificates.authority, certificates.authority_key)) as fake:
        fake.answer(201, review("ann"))
        yield fake


def review(name: str) -> dict[str, object]:
    return {"kind": "SelfSubjectReview", "metadata": {}, "status": {"userInfo": {"username": name}}}


@dataclass
class Desk:
    """A person's files, and what connecting from there leads to."""

    folder: Path
    certificates: Certificates
    server: FakeApiServer
    stack: ExitStack

    @property
    def cluster(self) -> dict[str, Any]:
        return {"server": self.server.url, "certificate-authority": str(self.certificates.authority)}

    def write(self, name: str = "config", **changes: object) -> Path:
        """Write a kubeconfig with the context `work` (cluster `here`, user `ann`), changed at the top."""
        document = {
            "current-context": "work",
            "contexts": [{"name": "work", "context": {"cluster": "here", "user": "ann"}}],
            "clusters": [{"name": "here", "cluster": self.cluster}],
            "users": [{"name": "ann", "user": {"token": SECRET}}],
        }
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(document | changes))
        return path

    def as_user(self, user: object) -> Path:
        return self.write(users=[{"name": "ann", "user": user}])

    def as_cluster(self, **changes: object) -> Path:
        return self.write(clusters=[{"name": "here", "cluster": self.cluster | changes}])

    def connect(self, path: Path | str = "", environ: dict[str, str] | None = None, **flags: Any) -> KubeClient:  # noqa: ANN401 - any of Cluster's fields
        where = Cluster(kubeconfig=str(path), **flags)
        api = connect(where, environ or {}, service_account=NOBODY, now=lambda: NOW)
        self.stack.callback(api.close)
        return api

    def refusal(self, path: Path | str = "", environ: dict[str, str] | None = None, **flags: Any) -> str:  # noqa: ANN401 - any of Cluster's fields
        with pytest.raises(ConfigError) as caught:
            self.connect(path, environ, **flags)
        assert "\n" not in str(caught.value)
        assert SECRET not in repr(caught.value) + repr(caught.value.__cause__)
        return str(caught.value).replace(str(self.folder), "~")


@pytest.fixture
def desk(tmp_path: Path, certificates: Certificates, server: FakeApiServer) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(tmp_path, certificates, server, stack)


def shown(server: FakeApiServer) -> list[str | None]:
    return [each.headers["Authorization"] for each in server.asked]


# --- which cluster, as whom


def test_current_context_leads_to_its_server_as_its_user(desk: Desk) -> None:
    api = desk.connect(desk.write())

    assert identity(api) == "ann"
    assert shown(desk.server) == [f"Bearer {SECRET}"]
    assert api.server == desk.server.url


def test_flags_choose_another_context_cluster_and_user(desk: Desk) -> None:
    path = desk.write(
        contexts=[
            {"name": "work", "context": {"cluster": "away", "user": "ann"}},
            {"name": "home", "context": {"cluster": "here", "user": "ann"}},
        ],
        clusters=[
            {"name": "here", "cluster": desk.cluster},
            {"name": "away", "cluster": {"server": "http://127.0.0.1:1"}},
        ],
        users=[{"name": "ann", "user": {"token": "a"}}, {"name": "bob", "user": {"token": "b"}}],
    )
    choices: list[dict[str, Any]] = [{"context": "home"}, {"cluster": "here"}, {"cluster": "here", "user": "bob"}]
    for flags in choices:
        identity(desk.connect(path, **flags))

    assert shown(desk.server) == ["Bearer a", "Bearer a", "Bearer b"]


def test_cluster_and_user_are_enough_without_a_context(desk: Desk) -> None:
    without: dict[str, Any] = {"current-context": "", "contexts": None}
    path = desk.write(**without)

    assert identity(desk.connect(path, cluster="here", user="ann")) == "ann"


def test_of_several_files_the_first_ones_word_counts_as_with_kubectl(desk: Desk) -> None:
    first = desk.write("first", users=[], clusters=[])
    away = [{"name": "here", "cluster": desk.cluster}, {"name": "away", "cluster": {"server": "http://127.0.0.1:1"}}]
    second = desk.write(
        "second",
        clusters=away,
        contexts=[{"name": name, "context": {"cluster": "away", "user": "ann"}} for name in ("work", "other")],
        **{"current-context": "other"},
    )
    environ = {"KUBECONFIG": os.pathsep.join(map(str, ("", desk.folder / "missing", first, second)))}

    assert identity(desk.connect(environ=environ)) == "ann"


def test_file_named_by_flag_is_the_only_one(desk: Desk) -> None:
    named = desk.write("named")
    environ = {"KUBECONFIG": str(desk.write("other", **{"current-context": "none"}))}

    assert identity(desk.connect(named, environ)) == "ann"


def test_file_at_home_is_read_if_none_is_named(desk: Desk) -> None:
    desk.write(".kube/config")

    assert identity(desk.connect(environ={"HOME": str(desk.folder)})) == "ann"


def test_paths_in_a_file_start_from_its_folder(desk: Desk) -> None:
    (desk.folder / "pki").mkdir()
    (desk.folder / "pki" / "ca.crt").write_bytes(desk.certificates.authority.read_bytes())
    (desk.folder / "pki" / "token").write_text("from-file\n")
    path = desk.write(
        clusters=[{"name": "here", "cluster": {"server": desk.server.url, "certificate-authority": "pki/ca.crt"}}],
        users=[{"name": "ann", "user": {"tokenFile": "pki/token", "token": "stale"}}],
    )

    identity(desk.connect(path))
    assert shown(desk.server) == ["Bearer from-file"]


def test_somebody_is_impersonated_by_flag_before_the_files_own(desk: Desk) -> None:
    path = desk.as_user({"token": "a", "as": "bob"})
    identity(desk.connect(path))
    identity(desk.connect(path, impersonate="carol"))

    assert [each.headers["Impersonate-User"] for each in desk.server.asked] == ["bob", "carol"]


def test_name_and_password_are_shown_as_such(desk: Desk) -> None:
    identity(desk.connect(desk.as_user({"username": "ann", "password": "ü:x"})))

    assert shown(desk.server) == ["Basic " + base64.b64encode("ann:ü:x".encode()).decode()]


def test_user_without_anything_shows_nothing(desk: Desk) -> None:
    identity(desk.connect(desk.as_user(None)))
    identity(desk.connect(desk.write(contexts=[{"name": "work", "context": {"cluster": "here"}}])))

    assert shown(desk.server) == [None, None]


def test_request_timeout_bounds_a_call(desk: Desk) -> None:
    desk.server.reply = desk.server.hang
    api = desk.connect(desk.write(), request_timeout_seconds=0.3)
    began = time.monotonic()

    with pytest.raises(KubeError, match=r"no answer within 0\.3 s"):
        identity(api)
    assert time.monotonic() - began < 1.5


# --- what is wrong with the files


def test_missing_file_is_named(desk: Desk) -> None:
    assert desk.refusal(desk.folder / "none") == (
        "there is no kubeconfig ~/none; name one by --kubeconfig or KUBECONFIG, or log in to the cluster"
    )
    assert "there is no kubeconfig ~/a, ~/b;" in desk.refusal(
        environ={"KUBECONFIG": f"{desk.folder}/a{os.pathsep}{desk.folder}/b"}
    )
    assert "there is no kubeconfig ~/.kube/config;" in desk.refusal(environ={"HOME": str(desk.folder)})
    assert desk.refusal() == "nothing says which cluster is meant; name a kubeconfig: --kubeconfig"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (f"users:\n- token: {SECRET}\n  a: b: c", "the kubeconfig ~/config:3:7 is no YAML"),
        ("a: \x01", "the kubeconfig ~/config is no YAML"),
        ("!!python/object:os.system {}", "the kubeconfig ~/config:1:1 is no YAML"),
        ("[" * 5000, "the kubeconfig ~/config is no YAML"),
        ("just text", "~/config is no kubeconfig: it must be a mapping with clusters, users and contexts"),
        ("users: 5", "~/config is no kubeconfig: users must be a list of {name: ..., user: {...}}"),
        ("contexts: [work]", "~/config is no kubeconfig: contexts must be a list of {name: ..., context: {...}}"),
        ("clusters: [{name: a, cluster: b}]", "clusters must be a list of {name: ..., cluster: {...}}"),
        ("clusters: [{name: 5}]", "clusters must be a list of {name: ..., cluster: {...}}"),
        ("", "no context is current in ~/config; name one by --context or kubectl config use-context: none"),
        ("# " + "x" * 5_000_000, "the kubeconfig ~/config is larger than 4 MiB"),
    ],
)
def test_file_that_is_no_kubeconfig_is_refused_where_it_is_wrong(desk: Desk, content: str, sentence: str) -> None:
    path = desk.folder / "config"
    path.write_text(content)

    assert sentence in desk.refusal(path)


def test_folder_is_no_kubeconfig(desk: Desk) -> None:
    assert desk.refusal(desk.folder) == "the kubeconfig ~ cannot be read: is a directory"


@pytest.mark.fault(
    on="people",
    fault="a context is named that the kubeconfig does not have",
    does="refuses before anything is asked",
    sees="--context names the context ..., which is not in ...; there are: ...",
    safe_within="at once",
)
def test_wrong_names_are_said_with_those_that_there_are(desk: Desk) -> None:
    contexts = [{"name": name, "context": {"cluster": "gone", "user": "nobody"}} for name in ("work", "home")]
    path = desk.write(contexts=contexts)
    empty = desk.write("empty", contexts=contexts, clusters=None, **{"current-context": None})

    assert desk.refusal(path, context="hom") == (
        '--context names the context "hom", which is not in ~/config; there are: home, work; did you mean "home"?'
    )
    assert desk.refusal(path) == 'context "work" names the cluster "gone", which is not in ~/config; there are: here'
    assert desk.refusal(path, cluster="here") == (
        'context "work" names the user "nobody", which is not in ~/config; there are: ann'
    )
    assert desk.refusal(path, cluster="her").startswith('--cluster names the cluster "her", which is not in')
    assert desk.refusal(path, cluster="here", user="an").startswith('--user names the user "an", which is not in')
    assert desk.refusal(empty) == (
        "no context is current in ~/empty; name one by --context or kubectl config use-context: home, work"
    )
    assert "; there is none" in desk.refusal(empty, context="work")
    assert desk.refusal(desk.write("odd", **{"current-context": "x"})).startswith("current-context names the context")


@pytest.mark.parametrize(
    "address", [None, "", "kube.example:6443", "ftp://kube.example", "http://[bad", "https://", "https://a:b"]
)
def test_server_that_is_no_address_is_refused(desk: Desk, address: str | None) -> None:
    assert desk.refusal(desk.as_cluster(server=address)) == (
        f'server of cluster "here" in the kubeconfig is no address: "{address or ""}"'
    )


def test_field_that_is_no_text_is_refused(desk: Desk) -> None:
    assert desk.refusal(desk.as_cluster(server=5)) == 'server of cluster "here" in the kubeconfig is no text'


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"certificate-authority": "/nonexistent/ca.crt"},
            'authority of cluster "here" in the kubeconfig, cannot be read: no',
        ),
        (
            {"certificate-authority-data": "§"},
            'certificate-authority-data of cluster "here" in the kubeconfig is not base64',
        ),
        (
            {"certificate-authority-data": "aGVsbG8="},
            'certificate-authority of cluster "here" holds no certificate in PEM',
        ),
        ({"certificate-authority-data": "/w=="}, 'certificate-authority of cluster "here" holds no certificate in PEM'),
    ],
)
def test_authority_that_cannot_be_one_is_refused(desk: Desk, changes: dict[str, str], sentence: str) -> None:
    assert sentence in desk.refusal(desk.as_cluster(**changes))


@pytest.mark.parametrize(
    ("user", "sentence"),
    [
        (
            {"auth-provider": {"name": "oidc"}},
            "logs in by auth-provider, which shifter does not know; use an exec plugin",
        ),
        ({"token": "a", "as-groups": ["x"]}, "has as-groups: shifter acts for users, not for groups"),
        ({"token": "two words"}, 'token of user "ann" in the kubeconfig is no token'),
        ({"token": "a\nb"}, 'token of user "ann" in the kubeconfig is no token'),
        ({"tokenFile": "none"}, "the token file ~/none cannot be read (FileNotFoundError)"),
        ({"client-certificate-data": "aGVsbG8="}, "has one of client-certificate and client-key, without the other"),
        ({"client-certificate": "none", "client-key": "none"}, "~/none, the client-certificate of user"),
    ],
)
def test_user_that_shifter_cannot_be_is_refused(desk: Desk, user: dict[str, Any], sentence: str) -> None:
    assert sentence in desk.refusal(desk.as_user(user))


# --- certificates


def test_certificate_and_authority_in_the_file_itself_are_used_and_their_copies_removed(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))

    def encoded(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    pki = desk.certificates
    path = desk.write(
        clusters=[
            {
                "name": "here",
                "cluster": {"server": desk.server.url, "certificate-authority-data": encoded(pki.authority)},
            }
        ],
        users=[
            {
                "name": "ann",
                "user": {"client-certificate-data": encoded(pki.person), "client-key-data": encoded(pki.person_key)},
            }
        ],
    )
    api = desk.connect(path)
    identity(api)
    copies = [each for each in temporary.rglob("*") if each.is_file()]
    modes = {stat.S_IMODE(each.stat().st_mode) for each in copies}
    api.close()

    assert desk.server.asked[0].peer == "ann"
    assert (len(copies), modes) == (3, {0o600})
    assert list(temporary.iterdir()) == []


def test_certificate_in_files_is_used_where_it_lies(desk: Desk) -> None:
    pki = desk.certificates
    identity(desk.connect(desk.as_user({"client-certificate": str(pki.person), "client-key": str(pki.person_key)})))

    assert desk.server.asked[0].peer == "ann"


@pytest.mark.parametrize("key", ["authority_key", "locked_key", "authority"])
def test_key_that_is_not_the_certificates_is_refused_before_anything_is_asked(desk: Desk, key: str) -> None:
    user = {"client-certificate": str(desk.certificates.person), "client-key": str(getattr(desk.certificates, key))}

    assert desk.refusal(desk.as_user(user)) == 'the client-certificate and client-key of user "ann" are no pair in PEM'
    assert desk.server.asked == []


@pytest.mark.fault(
    on="Kubernetes",
    fault="another server answers in the API server's place",
    does="breaks off before the token is sent",
    sees="the API server ... does not answer ([SSL: CERTIFICATE_VERIFY_FAILED] ...",
    safe_within="at once",
)
def test_server_that_is_another_one_is_not_told_the_token(desk: Desk) -> None:
    path = desk.as_cluster(**{"certificate-authority": str(desk.certificates.person)})

    with pytest.raises(KubeError, match=r"does not answer \(\[SSL: CERTIFICATE_VERIFY_FAILED\] [^_]*\)$") as caught:
        desk.connect(path).create(SHIFTS, "ns", {"kind": "Shift"})
    assert caught.value.failing is Failing.UNAVAILABLE
    assert desk.server.asked == []


def test_name_that_the_certificate_must_have_can_be_given(desk: Desk) -> None:
    assert identity(desk.connect(desk.as_cluster(**{"tls-server-name": "kube.example"}))) == "ann"
    with pytest.raises(KubeError, match="CERTIFICATE_VERIFY_FAILED"):
        identity(desk.connect(desk.as_cluster(**{"tls-server-name": "other.example"})))


def test_server_is_trusted_blindly_only_where_the_file_says_so(desk: Desk) -> None:
    cluster = {"server": desk.server.url, "insecure-skip-tls-verify": True}

    assert identity(desk.connect(desk.write(clusters=[{"name": "here", "cluster": cluster}]))) == "ann"
    with pytest.raises(KubeError, match="CERTIFICATE_VERIFY_FAILED"):
        identity(desk.connect(desk.write(clusters=[{"name": "here", "cluster": {"server": desk.server.url}}])))


def test_other_clients_of_the_process_are_left_as_they_are(desk: Desk) -> None:
    identity(desk.connect(desk.write()))

    assert Configuration.get_default_copy().host != desk.server.url


# --- proxies


def test_proxy_of_the_file_or_the_environment_is_used_but_never_for_this_machine(desk: Desk) -> None:
    path = desk.write("elsewhere", clusters=[{"name": "here", "cluster": {"server": "http://kube.example"}}])
    nowhere = "http://127.0.0.1:1"

    with pytest.raises(KubeError, match="does not answer"):
        identity(desk.connect(path, {"HTTP_PROXY": nowhere}))
    assert identity(desk.connect(desk.write(), {"HTTPS_PROXY": nowhere})) == "ann"
    with running() as plain:
        plain.answer(201, review("bob"))
        assert identity(desk.connect(path, {"http_proxy": plain.url})) == "bob"
        assert plain.asked[0].headers["Host"] == "kube.example"
        through = {"server": "http://kube.example", "proxy-url": plain.url}
        assert identity(desk.connect(desk.write(clusters=[{"name": "here", "cluster": through}]))) == "bob"


# --- tokens that change


def test_token_file_is_read_for_every_request(desk: Desk) -> None:
    token = desk.folder / "token"
    token.write_text("first\n")
    api = desk.connect(desk.as_user({"tokenFile": "token"}))
    identity(api)
    token.write_text("second\n")
    identity(api)

    assert shown(desk.server) == ["Bearer first", "Bearer second"]


@pytest.mark.fault(
    on="Kubernetes",
    fault="the file of a pod's token becomes unreadable",
    does="asks nothing without it",
    sees="the API server ... was not asked: the token file ...",
    safe_within="at once",
)
@pytest.mark.parametrize("content", [None, b"", b"two words", b"a\nb", b"\xff"])
def test_token_file_that_becomes_unusable_asks_nothing(desk: Desk, content: bytes | None) -> None:
    token = desk.folder / "token"
    token.write_text("first\n")
    api = desk.connect(desk.as_user({"tokenFile": "token"}))
    token.unlink() if content is None else token.write_bytes(content)

    with pytest.raises(KubeError, match="was not asked: the token file") as caught:
        api.get(SHIFTS, "ns", "a")
    assert caught.value.failing is Failing.UNAVAILABLE
    assert desk.server.asked == []


# --- plugins


PLUGIN = """
import json, os, pathlib, sys
folder = pathlib.Path({folder!r})
runs = folder / "runs"
with runs.open("a") as file:
    file.write(json.dumps({{"argv": sys.argv[1:], "env": dict(os.environ)}}) + "\\n")
{body}
"""


class Plug:
    """A log-in plugin whose answer a test decides."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def answers(self, status: object = None, *, body: str = "", **changes: object) -> Path:
        credential = {"apiVersion": VERSION, "kind": "ExecCredential", "status": status}
        script = self.desk.folder / "plugin.py"
        body = body or f"print({json.dumps(json.dumps(credential))})"
        script.write_text(PLUGIN.format(folder=str(self.desk.folder), body=body))
        how = {"apiVersion": VERSION, "command": sys.executable, "args": [str(script), "login"]}
        return self.desk.as_user({"exec": how | changes})

    @property
    def runs(self) -> list[dict[str, Any]]:
        return [json.loads(each) for each in (self.desk.folder / "runs").read_text().splitlines()]


@pytest.fixture
def plug(desk: Desk) -> Plug:
    return Plug(desk)


def test_plugin_is_asked_once_for_a_token_that_lasts(desk: Desk, plug: Plug) -> None:
    path = plug.answers({"token": SECRET}, env=[{"name": "MODE", "value": "x"}])
    api = desk.connect(path, {"PATH": "/bin"})
    identity(api)
    identity(api)

    assert shown(desk.server) == [f"Bearer {SECRET}"] * 2
    assert [run["argv"] for run in plug.runs] == [["login"]]
    assert {key: plug.runs[0]["env"][key] for key in ("MODE", "PATH")} == {"MODE": "x", "PATH": "/bin"}
    assert json.loads(plug.runs[0]["env"]["KUBERNETES_EXEC_INFO"]) == {
        "apiVersion": VERSION,
        "kind": "ExecCredential",
        "spec": {"interactive": False},
    }


def test_plugin_is_asked_again_when_its_token_is_about_to_expire(desk: Desk, plug: Plug) -> None:
    late = (NOW + timedelta(seconds=20)).isoformat()
    api = desk.connect(plug.answers({"token": "a", "expirationTimestamp": late}))
    plug.answers({"token": "b", "expirationTimestamp": (NOW + timedelta(hours=1)).isoformat().replace("+00:00", "Z")})
    identity(api)
    identity(api)

    assert shown(desk.server) == ["Bearer b", "Bearer b"]
    assert len(plug.runs) == 2


def knows_only(desk: Desk, token: str) -> None:
    """Let the server know nobody else from now on: what it knew before was revoked."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        known = handler.headers["Authorization"] == f"Bearer {token}"
        send(handler, 201 if known else 401, json.dumps(review("ann") if known else UNKNOWN).encode())

    desk.server.reply = reply


def refused(api: KubeClient) -> bool:
    try:
        identity(api)
    except StoreUnavailableError:
        return True
    return False


@pytest.mark.fault(
    on="Kubernetes",
    fault="a log-in plugin's token is revoked, or expires without the plugin having said when",
    does="one call is refused; the plugin is run for the next one, and once in 30 s at most",
    sees="`... the API server does not know who asks (...): the token or certificate has expired, ...`, once",
    safe_within="one call",
)
def test_plugin_is_run_again_after_its_token_was_refused(desk: Desk, plug: Plug) -> None:
    knows_only(desk, "a")
    api = desk.connect(plug.answers({"token": "a"}))
    first = refused(api)
    plug.answers({"token": "b"})
    knows_only(desk, "b")

    assert (first, [refused(api) for _ in range(3)]) == (False, [True, False, False])
    assert len(plug.runs) == 2


def test_plugin_whose_every_token_is_refused_is_run_for_some_calls_only(desk: Desk, plug: Plug) -> None:
    clock = [NOW]
    where = Cluster(kubeconfig=str(plug.answers({"token": "a"})))
    api = connect(where, {}, service_account=NOBODY, now=lambda: clock[0])
    desk.stack.callback(api.close)
    knows_only(desk, "nobody's")

    runs = []
    for seconds in (0, 1, 29, 31, 32, 20):
        clock[0] = NOW + timedelta(seconds=seconds)
        assert refused(api)
        runs.append(len(plug.runs))

    assert runs == [1, 2, 2, 2, 3, 3]


def test_plugin_that_has_answered_otherwise_meanwhile_is_not_run_again(desk: Desk, plug: Plug) -> None:
    here = Here({}, may_ask=False, now=lambda: NOW)
    desk.stack.callback(here.folder.remove)
    source = in_context(choose((plug.answers({"token": "b"}),)), here).signing_in
    source.refused("Bearer a")

    assert source.authorization() == "Bearer b"
    assert len(plug.runs) == 1


def test_a_newer_certificate_of_the_plugin_is_shown_after_the_first_was_refused(desk: Desk, plug: Plug) -> None:
    pki = desk.certificates
    status = {"clientCertificateData": pki.person.read_text(), "clientKeyData": pki.person_key.read_text()}
    api = desk.connect(plug.answers(status))
    desk.server.answer(401, UNKNOWN)
    first = refused(api)
    desk.server.answer(201, review("ann"))

    assert (first, refused(api)) == (True, False)
    assert len(plug.runs) == 2
    assert desk.server.connections == 2


def test_plugin_is_told_of_the_cluster_if_it_wants_to(desk: Desk, plug: Plug) -> None:
    plug.answers({"token": "a"})
    user = yaml.safe_load((desk.folder / "config").read_text())["users"]
    user[0]["user"]["exec"]["provideClusterInfo"] = True
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}
    path = desk.write(users=user, clusters=[{"name": "here", "cluster": desk.cluster | {"extensions": [extension]}}])
    desk.connect(path)

    told = json.loads(plug.runs[0]["env"]["KUBERNETES_EXEC_INFO"])["spec"]["cluster"]
    assert told == {"server": desk.server.url, "config": {"audience": "x"}}


def test_plugin_may_answer_with_a_certificate(desk: Desk, plug: Plug) -> None:
    pki = desk.certificates
    status = {"clientCertificateData": pki.person.read_text(), "clientKeyData": pki.person_key.read_text()}
    identity(desk.connect(plug.answers(status)))

    assert desk.server.asked[0].peer == "ann"
    assert shown(desk.server) == [None]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"command": "no-such-plugin", "installHint": "brew\n install it"},
            'by which user "ann" logs in cannot be started: no such file or directory; brew install it',
        ),
        ({"command": "./none"}, "cannot be started: no such file or directory"),
        ({"command": ""}, f'exec of user "ann" needs a command and an apiVersion: {VERSION}'),
        (
            {"apiVersion": "client.authentication.k8s.io/v1alpha1"},
            'exec of user "ann" needs a command and an apiVersion',
        ),
        ({"body": "sys.exit('your login\\n expired')"}, "failed with exit code 1: your login expired"),
        ({"body": "sys.exit(3)"}, "failed with exit code 3"),
        ({"body": f"print({SECRET!r})"}, f"answers with no ExecCredential of {VERSION}"),
        (
            {"body": f"print(json.dumps(dict(kind='ExecCredential', apiVersion='v2', status=dict(token={SECRET!r}))))"},
            "no ExecCredential",
        ),
        ({"status": {}}, "answers neither with a token nor with a certificate and its key"),
        ({"status": {"token": f"{SECRET} x"}}, "answers neither with a token nor"),
        ({"status": {"clientCertificateData": "x", "clientKeyData": "y"}}, "are no pair in PEM"),
    ],
)
def test_plugin_that_does_not_log_in_is_a_sentence(
    desk: Desk, plug: Plug, changes: dict[str, Any], sentence: str
) -> None:
    assert sentence in desk.refusal(plug.answers(**changes))
    assert desk.server.asked == []


def test_plugin_that_fails_later_asks_nothing(desk: Desk, plug: Plug) -> None:
    api = desk.connect(plug.answers({"token": "a", "expirationTimestamp": NOW.isoformat()}))
    plug.answers(body="sys.exit(1)")

    with pytest.raises(KubeError, match=r"was not asked: the plugin .* failed with exit code 1") as caught:
        identity(api)
    assert caught.value.failing is Failing.UNAVAILABLE
    assert desk.server.asked == []


def test_threads_share_one_run_of_the_plugin(desk: Desk, plug: Plug) -> None:
    api = desk.connect(plug.answers({"token": "a", "expirationTimestamp": NOW.isoformat()}))
    plug.answers({"token": "b"})
    threads = [threading.Thread(target=identity, args=(api,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert shown(desk.server) == ["Bearer b"] * 4
    assert len(plug.runs) == 2


# --- in a pod


@pytest.fixture
def account(tmp_path: Path, certificates: Certificates) -> Path:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("pods-own\n")
    (folder / "ca.crt").write_bytes(certificates.authority.read_bytes())
    return folder


def in_pod(server: FakeApiServer) -> dict[str, str]:
    return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": server.url.rsplit(":", 1)[1]}


def pods(account: Path, environ: dict[str, str], **flags: Any) -> KubeClient:  # noqa: ANN401 - any of Cluster's fields
    return connect(Cluster(**flags), environ, service_account=account)


def test_pods_own_account_is_used_and_its_token_read_anew(server: FakeApiServer, account: Path) -> None:
    api = pods(account, in_pod(server) | {"HOME": "/nonexistent"})
    identity(api)
    (account / "token").write_text("rotated")
    identity(api)
    api.close()

    assert shown(server) == ["Bearer pods-own", "Bearer rotated"]


def test_address_of_six_is_bracketed(account: Path) -> None:
    api = pods(account, {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"})
    api.close()

    assert api.server == "https://[fd00::1]:443"


def test_kubeconfig_that_is_named_comes_before_the_pods_account(desk: Desk, account: Path) -> None:
    api = connect(Cluster(), in_pod(desk.server) | {"KUBECONFIG": str(desk.write())}, service_account=account)
    identity(api)
    api.close()

    assert shown(desk.server) == [f"Bearer {SECRET}"]


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        (
            "KUBERNETES_SERVICE_HOST",
            "KUBERNETES_SERVICE_HOST and _PORT are not set; run it in a pod, or name a kubeconfig",
        ),
        ("KUBERNETES_SERVICE_PORT", "KUBERNETES_SERVICE_HOST and _PORT are not set"),
        ("ca.crt", "ca.crt cannot be read (FileNotFoundError)"),
        ("ca.crt's content", "ca.crt holds no certificate in PEM"),
    ],
)
def test_pod_without_all_that_it_needs_says_what(
    server: FakeApiServer, account: Path, missing: str, sentence: str
) -> None:
    environ = {name: text for name, text in in_pod(server).items() if name != missing}
    if missing == "ca.crt":
        (account / "ca.crt").unlink()
    if missing == "ca.crt's content":
        (account / "ca.crt").write_text("")

    with pytest.raises(ConfigError) as caught:
        pods(account, environ)
    assert sentence in str(caught.value)


# --- who one is, and may


@pytest.mark.fault(
    on="Kubernetes",
    fault="the token or certificate has expired",
    does="refuses; nothing was ordered",
    sees="the API server does not know who asks (Unauthorized): the token or certificate has expired, ...",
    safe_within="at once",
)
def test_expired_credentials_are_said_to_be(desk: Desk) -> None:
    desk.server.answer(401, {"kind": "Status", "code": 401, "reason": "Unauthorized", "message": "Unauthorized"})

    with pytest.raises(StoreUnavailableError) as caught:
        identity(desk.connect(desk.write()))
    assert str(caught.value) == (
        "the API server does not know who asks (Unauthorized): the token or certificate has expired, or is that of"
        " another cluster"
    )
    assert "kubectl auth whoami" in caught.value.remedy


def test_server_too_old_to_say_who_asks_is_said_to_be(desk: Desk) -> None:
    desk.server.answer(404, {"kind": "Status", "message": "could not find the requested resource"})

    with pytest.raises(RefusedError, match=r"could not find .* older than Kubernetes 1\.28"):
        identity(desk.connect(desk.write()))


@pytest.mark.parametrize("status", [None, {}, {"userInfo": {"username": ""}}, {"userInfo": {"username": 5}}])
def test_answer_without_a_name_is_not_taken_for_one(desk: Desk, status: object) -> None:
    desk.server.answer(201, review("x") | {"status": status})

    with pytest.raises(KubeError, match="holds no name"):
        identity(desk.connect(desk.write()))


def test_other_failures_of_asking_who_pass_as_they_are(desk: Desk) -> None:
    desk.server.answer(500, {"kind": "Status", "message": "etcd is gone"})

    with pytest.raises(KubeError, match="etcd is gone") as caught:
        identity(desk.connect(desk.write()))
    assert caught.value.failing is Failing.UNAVAILABLE


@pytest.mark.parametrize("allowed", [True, False])
def test_what_one_may_is_asked_by_verb_kind_and_name(desk: Desk, *, allowed: bool) -> None:
    desk.server.answer(201, {"kind": "SelfSubjectAccessReview", "metadata": {}, "status": {"allowed": allowed}})
    api = desk.connect(desk.write())

    assert may(api, "shifter-system", "rollback", SHIFTS, "shop") is allowed
    assert may(api, "", "list", SHIFTS) is allowed
    assert [each.body["spec"]["resourceAttributes"] for each in desk.server.asked] == [
        {
            "namespace": "shifter-system",
            "verb": "rollback",
            "group": "shifter.io",
            "resource": "shifts",
            "name": "shop",
        },
        {"verb": "list", "group": "shifter.io", "resource": "shifts"},
    ]


@pytest.mark.parametrize("status", [None, {}, {"allowed": "true"}])
def test_answer_that_does_not_say_what_one_may_is_not_taken_for_yes(desk: Desk, status: object) -> None:
    desk.server.answer(201, {"kind": "SelfSubjectAccessReview", "metadata": {}, "status": status})

    with pytest.raises(KubeError, match="what is allowed"):
        may(desk.connect(desk.write()), "ns", "get", SHIFTS)


# --- whether orders can be given at all


class Told:
    """A server that says what a test wants of a namespace and of the kinds that it serves."""

    def __init__(self, namespace: Body | KubeError, verbs: list[str] | None = None) -> None:
        self._namespace = namespace
        self._orders = {"name": "shiftorders"} | ({} if verbs is None else {"verbs": verbs})

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        assert (kind.plural, namespace, name) == ("namespaces", "", "ours")
        if isinstance(self._namespace, KubeError):
            raise self._namespace
        return self._namespace

    def document(self, path: str) -> Body:
        assert path == "/apis/shifter.io/v1alpha1"
        return {"resources": [{"name": "shifts", "verbs": ["list"]}, self._orders]}


ACTIVE: Body = {"status": {"phase": "Active"}}
NOT_FOUND = KubeError(Failing.MISSING, 'namespaces "ours" not found', status=404, reason="NotFound")
FORBIDDEN = KubeError(Failing.DENIED, 'User "ann" cannot get resource "namespaces"', status=403, reason="Forbidden")
UNAUTHORIZED = KubeError(Failing.DENIED, "Unauthorized", status=401, reason="Unauthorized")


@pytest.mark.parametrize(
    ("namespace", "verbs", "why"),
    [
        (ACTIVE, ["create", "get"], ""),
        (ACTIVE, None, ""),
        (FORBIDDEN, ["create"], ""),
        ({"status": {"phase": "Terminating"}}, ["create"], "the namespace ours is being deleted"),
        (ACTIVE, ["delete", "get", "list"], "the definition of shiftorders.shifter.io is being deleted"),
        (FORBIDDEN, ["delete", "get", "list"], "the definition of shiftorders.shifter.io is being deleted"),
    ],
)
def test_what_keeps_everybody_from_ordering_is_seen_without_a_right_of_ours(
    namespace: Body | KubeError, verbs: list[str] | None, why: str
) -> None:
    assert closed(Told(namespace, verbs), "ours") == why


def test_a_namespace_that_does_not_exist_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="there is no namespace ours in this cluster") as caught:
        closed(Told(NOT_FOUND), "ours")
    assert caught.value.remedy.startswith("-n names the namespace that shifter is installed in")


def test_who_is_not_known_is_not_told_that_orders_can_be_given() -> None:
    with pytest.raises(KubeError, match="Unauthorized"):
        closed(Told(UNAUTHORIZED), "ours")
