from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import shifter
from shifter.core.deciding.orders import FLEET_VERBS, Verb
from shifter.core.documents.schema import API_VERSION

Objects = Sequence[Mapping[str, Any]]
Rule = tuple[str, str, str, str]

# What `adapters/kube` calls as the service, in its own namespace: group, resource, name (of any: empty), verb.
SERVICE: frozenset[Rule] = frozenset(
    [
        *(("shifter.io", "shifts", "", verb) for verb in ("get", "list", "create")),
        *(("shifter.io", "shiftfleets", "", verb) for verb in ("get", "create")),
        *(("shifter.io", "shiftorders", "", verb) for verb in ("get", "list", "watch", "delete")),
        *(("shifter.io", "shiftrecords", "", verb) for verb in ("get", "list", "create", "delete")),
        *(("shifter.io", f"{kind}/status", "", "update") for kind in ("shifts", "shiftfleets", "shiftorders")),
        ("coordination.k8s.io", "leases", "", "create"),
        *(("coordination.k8s.io", "leases", "shifter", verb) for verb in ("get", "update")),
        ("events.k8s.io", "events", "", "create"),
    ]
)
VIEWER: frozenset[Rule] = frozenset(
    [
        *(
            ("shifter.io", kind, "", verb)
            for kind in ("shifts", "shiftfleets", "shiftorders", "shiftrecords")
            for verb in ("get", "list", "watch")
        ),
        ("coordination.k8s.io", "leases", "shifter", "get"),
    ]
)
ADMIN_VERBS = frozenset({Verb.RECONCILE, *FLEET_VERBS})
OPERATOR = (
    VIEWER
    | {("shifter.io", "shiftorders", "", "create")}
    | {("shifter.io", "shifts", "", str(verb)) for verb in set(Verb) - ADMIN_VERBS}
)
ADMIN = OPERATOR | {("shifter.io", "shifts", "", str(verb)) for verb in ADMIN_VERBS}


def _the(installed: Objects, kind: str, name: str = "shifter") -> Mapping[str, Any]:
    [found] = [each for each in installed if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def _rights(role: Mapping[str, Any]) -> Iterator[Rule]:
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [""]):
                    for verb in rule["verbs"]:
                        yield group, resource, name, verb


def _pod(installed: Objects) -> Mapping[str, Any]:
    return _the(installed, "Deployment")["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def _container(installed: Objects) -> Mapping[str, Any]:
    [container] = _pod(installed)["containers"]
    return container  # type: ignore[no-any-return]


def test_the_service_may_do_exactly_what_its_adapters_do(installed: Objects) -> None:
    rights = list(_rights(_the(installed, "Role")))

    assert set(rights) == SERVICE
    assert len(rights) == len(SERVICE)


@pytest.mark.parametrize(("role", "expected"), [("viewer", VIEWER), ("operator", OPERATOR), ("admin", ADMIN)])
def test_a_role_for_people_allows_exactly_this(installed: Objects, role: str, expected: frozenset[Rule]) -> None:
    rights = list(_rights(_the(installed, "ClusterRole", f"{role}.shifter-system.shifter.io")))

    assert set(rights) == expected
    assert len(rights) == len(expected)


def test_no_right_is_granted_by_a_wildcard(installed: Objects) -> None:
    roles = [each for each in installed if each["kind"] in {"Role", "ClusterRole"}]
    words = {word for role in roles for right in _rights(role) for word in right}

    assert not {word for word in words if "*" in word}
    assert not words & {"escalate", "bind", "impersonate", "secrets", "pods", "pods/exec", "configmaps"}


def test_the_service_may_do_nothing_in_the_whole_cluster(installed: Objects) -> None:
    bound = [each for each in installed if each["kind"] in {"RoleBinding", "ClusterRoleBinding"}]

    assert [each["kind"] for each in bound] == ["RoleBinding"]
    assert bound[0]["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "shifter"}
    assert bound[0]["subjects"] == [{"kind": "ServiceAccount", "name": "shifter", "namespace": "shifter-system"}]


def test_nobody_but_the_pod_gets_the_accounts_token(installed: Objects) -> None:
    assert _the(installed, "ServiceAccount")["automountServiceAccountToken"] is False
    assert _pod(installed)["automountServiceAccountToken"] is True


def test_the_pod_fits_the_restricted_security_standard(installed: Objects) -> None:
    pod, container = _pod(installed)["securityContext"], _container(installed)["securityContext"]

    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] == pod["runAsGroup"] == 65532
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["allowPrivilegeEscalation"] is False
    assert container["readOnlyRootFilesystem"] is True
    assert container["capabilities"] == {"drop": ["ALL"]}
    namespace = _the(installed, "Namespace", "shifter-system")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_only_a_bounded_folder_can_be_written(installed: Objects) -> None:
    volumes = {each["name"]: each for each in _pod(installed)["volumes"]}
    writable = [each for each in _container(installed)["volumeMounts"] if not each.get("readOnly")]

    assert [(each["name"], each["mountPath"]) for each in writable] == [("tmp", "/tmp")]  # noqa: S108 - a path inside
    assert "sizeLimit" in volumes["tmp"]["emptyDir"]


def test_secrets_are_files_and_never_in_the_environment_or_on_the_command_line(installed: Objects) -> None:
    container, volumes = _container(installed), _pod(installed)["volumes"]

    assert {each["name"] for each in container["env"]} == {"SHIFTER_NAMESPACE", "POD_NAME"}
    assert all(set(each["valueFrom"]) == {"fieldRef"} for each in container["env"])
    assert "envFrom" not in container
    assert [each["secret"]["defaultMode"] for each in volumes if "secret" in each] == [0o440]
    assert not [each for each in container["args"] if "secret" in each or "token" in each]


def test_the_credentials_are_where_the_example_fleet_file_looks_for_them(installed: Objects, root: Path) -> None:
    fleet = yaml.safe_load((root / "policies" / "fleet.yaml").read_text(encoding="utf-8"))
    tencent = fleet["spec"]["provider"]["tencent"]
    folders = {each["mountPath"] for each in _container(installed)["volumeMounts"]}

    assert {str(Path(tencent[key]).parent) for key in ("secretIdFile", "secretKeyFile")} <= folders


def test_the_files_that_the_service_is_told_of_are_mounted(installed: Objects) -> None:
    container = _container(installed)
    folders = {each["mountPath"] for each in container["volumeMounts"]}
    given = dict(each.removeprefix("--").split("=", 1) for each in container["args"][1:])

    assert container["args"][0] == "run"
    assert given["store"] == "kubernetes"
    assert given["policies"] in folders
    assert str(Path(given["fleet"]).parent) in folders


def test_every_probe_asks_the_port_that_is_listened_on(installed: Objects) -> None:
    container = _container(installed)
    [port] = container["ports"]
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}

    assert f"--listen=0.0.0.0:{port['containerPort']}" in container["args"]
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/livez",
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    [served] = _the(installed, "Service")["spec"]["ports"]
    assert served["targetPort"] == port["name"]


def test_what_a_pod_said_last_is_where_people_look_first(installed: Objects) -> None:
    assert _container(installed)["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_files_are_mounted_in_folders_so_that_a_new_version_arrives(installed: Objects) -> None:
    mounts = _container(installed)["volumeMounts"]

    assert not [each for each in mounts if "subPath" in each or "subPathExpr" in each]
    assert not [each for each in _pod(installed)["volumes"] if "items" in each.get("configMap", each.get("secret", {}))]


def test_a_drain_is_over_before_the_pod_is_killed(installed: Objects, root: Path) -> None:
    daemon = (root / "shifter" / "service" / "daemon.py").read_text(encoding="utf-8")
    [drain] = re.findall(r"^_DRAIN_SECONDS = ([0-9.]+)$", daemon, re.MULTILINE)

    assert _pod(installed)["terminationGracePeriodSeconds"] >= 2 * float(drain) + 20


def test_two_replicas_are_kept_apart_and_never_both_taken_away(installed: Objects) -> None:
    deployment, budget = _the(installed, "Deployment")["spec"], _the(installed, "PodDisruptionBudget")["spec"]
    spread = {each["topologyKey"] for each in _pod(installed)["topologySpreadConstraints"]}

    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 1
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == deployment["selector"]
    assert spread == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}


def test_an_order_is_refused_while_nobody_can_check_it(installed: Objects) -> None:
    policy = _the(installed, "ValidatingAdmissionPolicy", "orders.shifter-system.shifter.io")["spec"]
    binding = _the(installed, "ValidatingAdmissionPolicyBinding", "orders.shifter-system.shifter.io")["spec"]

    assert policy["failurePolicy"] == "Fail"
    assert "matchConditions" not in policy
    assert binding["validationActions"] == ["Deny"]
    assert binding["matchResources"]["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "shifter-system"
    }


def test_no_order_may_keep_itself_from_being_deleted(installed: Objects) -> None:
    policy = _the(installed, "ValidatingAdmissionPolicy", "orders.shifter-system.shifter.io")["spec"]
    said = [each["expression"] for each in policy["validations"]]

    assert [each for each in said if "metadata.finalizers" in each and "metadata.ownerReferences" in each]


def test_what_is_applied_has_the_definitions_of_the_chart(
    installed: Objects, definitions: Mapping[str, Mapping[str, Any]]
) -> None:
    applied = [each for each in installed if each["kind"] == "CustomResourceDefinition"]

    assert sorted(applied, key=lambda each: each["spec"]["names"]["plural"]) == [
        definitions[plural] for plural in sorted(definitions)
    ]


def test_the_chart_has_the_version_of_the_program(chart: Path, definitions: Mapping[str, Mapping[str, Any]]) -> None:
    told = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    groups = {f"{each['spec']['group']}/{each['spec']['versions'][0]['name']}" for each in definitions.values()}

    assert told["version"] == told["appVersion"] == shifter.__version__
    assert groups == {API_VERSION}
