"""A control plane of one test run: etcd, kube-apiserver and the few controllers that matter, each a process of its own.

No nodes and no kubelet: pods stay pending, and whoever needs a Deployment to be ready writes its status. RBAC and
admission policies are on, as in production, and every request is in the audit log. All listen on 127.0.0.1 only. Each
part can be stopped, killed, frozen and started again; etcd keeps its data. All of them die with the tests, however
those die (`shifter.lab.processes`).
"""

from __future__ import annotations

import json
import random
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Final, Self

from shifter.lab.free_ports import LOOPBACK, reserve_ports
from shifter.lab.processes import Child, ProcessSpec, Supervisor
from tests.cluster.credentials import ISSUER, Credentials, account_token, make_credentials
from tests.cluster.tools import ClusterTools
from tests.cluster.wire import Wire

READY_SECONDS: Final = 60.0
ASK_SECONDS: Final = 2.0
KUBECTL_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05
CONTROLLERS: Final = (
    *("namespace-controller", "garbage-collector-controller", "serviceaccount-controller"),
    *("serviceaccount-token-controller", "root-ca-certificate-publisher-controller"),
    *("clusterrole-aggregation-controller", "disruption-controller", "validatingadmissionpolicy-status-controller"),
)
"""Those that keep the API's own promises. None that makes pods: their place in a test is a status that it writes."""

AUDIT_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


class ControlPlane:
    """Runs inside a `with` block; `start` makes it ready.

    Args:
        tools: the programs.
        folder: where everything goes; must not exist.
        environment: what the programs see. Proxies are left out of it.
        more: flags of the API server, beside those that every plane has.
        controllers: controllers that run, beside those that always do.
    """

    def __init__(
        self,
        tools: ClusterTools,
        folder: Path,
        environment: Mapping[str, str],
        *,
        more: Sequence[str] = (),
        controllers: Sequence[str] = (),
    ) -> None:
        self.tools = tools
        self.folder = folder
        kept = {name: text for name, text in environment.items() if not name.lower().endswith("_proxy")}
        self.environment = {**kept, "HOME": str(folder), "KUBECONFIG": "/dev/null"}
        self._more = tuple(more)
        self._controlled = (*CONTROLLERS, *controllers)
        self._kubeconfigs: dict[str, Path] = {}
        self._is_full = False
        self._must_serve: tuple[str, ...] = ()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder.mkdir(parents=True)
            self.credentials: Credentials = make_credentials(self.folder / "credentials")
            reserved = stack.enter_context(reserve_ports(3, random.Random()))  # noqa: S311 - only a place to look
            self.port, self._etcd_port, self._peer_port = reserved.ports
            self._supervisor = stack.enter_context(Supervisor(self.folder / "logs", self.environment))
            self.trust = ssl.create_default_context(cafile=str(self.credentials.authority))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://{LOOPBACK}:{self.port}"

    @cached_property
    def version(self) -> str:
        """The API server's version, such as `v1.34.4`."""
        told = json.loads(self.kubectl("root", "version", "-o", "json").stdout)
        return str(told["serverVersion"]["gitVersion"])

    # -- the processes -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all parts and wait until the API server says that it is ready."""
        self.etcd: Child = self._supervisor.start(self._etcd())
        self.apiserver: Child = self._supervisor.start(self._apiserver())
        self.wait_ready()
        self.controllers: Child | None = None
        if self.tools.controllers is not None:
            self.controllers = self._supervisor.start(self._controllers(self.tools.controllers))

    def mend(self) -> None:
        """Whatever a test did to the processes: all of them run, and the API server is ready."""
        for part in self._parts:
            part.thaw()
        self.etcd.start()
        self.etcd.wait_ready(READY_SECONDS)
        if self._is_full:
            self.make_room()
        self.apiserver.start()
        self.wait_ready()
        if self.controllers is not None:
            self.controllers.start()

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until the API server answers that it is ready.

        Raises:
            AssertionError: the time is over, or it ended.
        """
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            excerpt = self.apiserver.log_path.read_text(errors="replace")[-2_000:]
            assert self.apiserver.running, f"kube-apiserver ended:\n{excerpt}"
            assert time.monotonic() < deadline, f"kube-apiserver is not ready after {seconds:g} s:\n{excerpt}"
            time.sleep(POLL_SECONDS)

    def is_ready(self) -> bool:
        """Whether the API server answers now that it is ready, and serves what it must."""
        try:
            with closing(HTTPSConnection(LOOPBACK, self.port, timeout=ASK_SECONDS, context=self.trust)) as connection:
                return all(self._answers(connection, path) for path in ("/readyz", *self._must_serve))
        except (OSError, HTTPException):
            return False

    def must_serve(self, *paths: str) -> None:
        """Wait until these paths are served, and count no server as ready from then on that does not serve them.

        A server that says that it is ready refuses to list new kinds for a moment: `storage is (re)initializing`.
        """
        self._must_serve += paths
        self.wait_ready()

    def restart_etcd(self) -> None:
        """Kill etcd with -9 and start it again with its data; the API server is ready when this returns."""
        self.etcd.kill()
        self.etcd.start()
        self.etcd.wait_ready(READY_SECONDS)
        self.wait_ready()

    def fill_up(self) -> None:
        """Let etcd be at its quota: it answers and takes no write, until `make_room`."""
        self._is_full = True
        self._alarm("ACTIVATE")

    def make_room(self) -> None:
        """Let etcd take writes again."""
        self.etcd.wait_ready(READY_SECONDS)
        self._alarm("DEACTIVATE")
        self._is_full = False

    def resident_mib(self) -> Mapping[str, float]:
        """How much memory each part holds now, MiB."""
        return {part.spec.name: _resident_kib(part.pid) / 1024 for part in self._parts}

    def audit(self) -> Iterator[Mapping[str, Any]]:
        """Every request so far, as audit.k8s.io/v1 Events. The last ones may come a moment after their answers."""
        with (self.folder / "audit.log").open(encoding="utf-8") as log:
            for line in log:
                if line.endswith("\n"):
                    yield json.loads(line)

    @contextmanager
    def wire(self) -> Iterator[Wire]:
        """A way to the API server that can break, until the end of the `with` block."""
        with Wire(self.port) as wire:
            yield wire

    # -- the people ----------------------------------------------------------------------------------------------

    def token(self, who: str) -> str:
        """A person's token; of nobody known for a name that is not in `PEOPLE`."""
        return self.credentials.tokens.get(who, f"no-token-of-{who}")

    def account_token(self, namespace: str, account: str, seconds: float = 3600.0) -> str:
        """A token of a service account that exists, taken for `seconds` from now; negative: expired before."""
        found = self.kubectl(
            "root", "get", "serviceaccount", account, "-n", namespace, "-o", "jsonpath={.metadata.uid}"
        )
        return account_token(self.credentials, namespace, account, found.stdout, now=time.time(), seconds=seconds)

    def kubeconfig(
        self, who: str, *, token: str | None = None, wire: Wire | None = None, namespace: str = "default"
    ) -> Path:
        """A new kubeconfig file.

        Args:
            who: a person, whose token is in it. Any name together with `token`.
            token: what is in it instead.
            wire: through which way it leads; None leads straight to the API server.
            namespace: of its context.
        """
        place = self.folder / "kubeconfigs" / f"{who}-{random.randrange(10**9):09}.yaml"  # noqa: S311 - a file's name
        place.parent.mkdir(exist_ok=True)
        server = self.url if wire is None else f"https://{LOOPBACK}:{wire.port}"
        authority = {"server": server, "certificate-authority": str(self.credentials.authority)}
        body = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": authority}],
            "users": [{"name": who, "user": {"token": self.token(who) if token is None else token}}],
            "contexts": [{"name": who, "context": {"cluster": "tests", "user": who, "namespace": namespace}}],
            "current-context": who,
        }
        place.write_text(json.dumps(body), encoding="utf-8")  # JSON is YAML
        return place

    def account_kubeconfig(
        self, namespace: str, account: str, *, seconds: float = 3600.0, wire: Wire | None = None
    ) -> Path:
        """A new kubeconfig file of a service account that exists; see `account_token` and `kubeconfig`."""
        token = self.account_token(namespace, account, seconds)
        return self.kubeconfig(account, token=token, wire=wire, namespace=namespace)

    def kubectl(
        self, who: str, *words: str, said: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as a person.

        Args:
            who: one of `PEOPLE`.
            words: what comes after `kubectl`.
            said: its standard input.
            check: fail, with what it said, when it does.
        """
        if who not in self._kubeconfigs:
            self._kubeconfigs[who] = self.kubeconfig(who)
        argv = [str(self.tools.kubectl), "--kubeconfig", str(self._kubeconfigs[who]), *words]
        done = subprocess.run(
            argv,
            input=said or "",
            capture_output=True,
            text=True,
            timeout=KUBECTL_SECONDS,
            env=self.environment,
            check=False,
        )
        assert done.returncode == 0 or not check, f"kubectl {' '.join(words)}: {done.stderr}"
        return done

    def add_namespace(self, name: str) -> None:
        """Create a namespace, without the tenth of a second that kubectl takes."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        asked = urllib.request.Request(  # noqa: S310 - our own address
            f"{self.url}/api/v1/namespaces",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.token('root')}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=KUBECTL_SECONDS, context=self.trust):  # noqa: S310 - our own address
            pass

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Let `root` apply objects."""
        self.kubectl(
            "root", "apply", "-f", "-", said=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )

    # -- how they are started ------------------------------------------------------------------------------------

    @property
    def _parts(self) -> Sequence[Child]:
        return (self.etcd, self.apiserver, *([self.controllers] if self.controllers else []))

    def _etcd(self) -> ProcessSpec:
        client, peer = f"http://{LOOPBACK}:{self._etcd_port}", f"http://{LOOPBACK}:{self._peer_port}"
        argv = (
            *(str(self.tools.etcd), "--data-dir", str(self.folder / "etcd"), "--log-level", "warn"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"default={peer}"),
            # What is killed here is a process and never the machine: what was written stays written.
            "--unsafe-no-fsync",
        )
        return ProcessSpec("etcd", argv, ready_url=f"{client}/readyz")

    def _apiserver(self) -> ProcessSpec:
        own = self.credentials
        policy = self.folder / "audit-policy.yaml"
        policy.write_text(json.dumps(AUDIT_POLICY), encoding="utf-8")
        argv = (
            *(str(self.tools.apiserver), f"--etcd-servers=http://{LOOPBACK}:{self._etcd_port}"),
            *(f"--bind-address={LOOPBACK}", f"--secure-port={self.port}", f"--advertise-address={LOOPBACK}"),
            *("--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24"),
            *(f"--tls-cert-file={own.certificate}", f"--tls-private-key-file={own.key}"),
            *("--authorization-mode=RBAC", f"--token-auth-file={own.people_file}"),
            *(f"--service-account-issuer={ISSUER}", f"--service-account-key-file={own.account_key}"),
            *(f"--service-account-signing-key-file={own.account_key}", "--profiling=false"),
            *(f"--audit-policy-file={policy}", f"--audit-log-path={self.folder / 'audit.log'}"),
            *("--audit-log-maxsize=1000", *self._more),
        )
        return ProcessSpec("kube-apiserver", argv)

    def _controllers(self, program: Path) -> ProcessSpec:
        own = self.credentials
        argv = (
            *(str(program), f"--kubeconfig={self.kubeconfig('root')}", "--leader-elect=false"),
            *("--secure-port=0", f"--controllers={','.join(self._controlled)}", "--profiling=false"),
            *(f"--root-ca-file={own.authority}", f"--service-account-private-key-file={own.account_key}"),
        )
        return ProcessSpec("kube-controller-manager", argv)

    def _answers(self, connection: HTTPSConnection, path: str) -> bool:
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.token('root')}"})
        answer = connection.getresponse()
        answer.read()
        return answer.status == HTTPStatus.OK

    def _alarm(self, action: str) -> None:
        asked = urllib.request.Request(
            f"http://{LOOPBACK}:{self._etcd_port}/v3/maintenance/alarm",
            json.dumps({"action": action, "alarm": "NOSPACE"}).encode(),
        )
        with urllib.request.urlopen(asked, timeout=ASK_SECONDS):  # noqa: S310 - our own address
            pass


def _resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
