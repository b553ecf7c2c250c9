"""A namespace's labels: set for the new mesh, and put back as they were.

Both are one write each, made on what was read (compare-and-swap): labels and what is kept of the old ones change
together or not at all, so that a kill leaves no half of it, and nobody's change in between is overwritten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shifter.core.text import plain
from shifter.errors import RefusedError
from shifter.mesh.injecting.labels import KEPT, Choice, Kept, wanted
from shifter.mesh.injecting.pods import Carrying, Sidecar, found
from shifter.mesh.installing.site import Site
from shifter.mesh.installing.steps import Look
from shifter.ports.kube import Body, Failing, KubeError
from shifter.ports.mesh import NAMESPACES, PODS

ENFORCED: Final = "pod-security.kubernetes.io/enforce"
_STRICT: Final = frozenset({"baseline", "restricted"})
_TRIES: Final = 5
_VIOLATED: Final = "PodSecurity"


def refusal(site: Site, namespace: str) -> str:
    """Return why a namespace cannot be given sidecars at all; empty if it can."""
    return _lacking(namespace, site.find(NAMESPACES, "", namespace))


def _lacking(namespace: str, body: Body | None) -> str:
    if body is None:
        return f"there is no namespace {namespace}; make it first, or take it out of the file's inject"
    if body["metadata"].get("deletionTimestamp"):
        return f"namespace {namespace} is being deleted; wait until it is gone, or take it out of the file's inject"
    return ""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A namespace chooses the new mesh, and a new pod in it really gets the new mesh's sidecar.

    `has_cni`: the file has Istio's CNI plugin installed, so that pods need no privileges of their own.
    """

    site: Site
    namespace: str
    sidecar: Sidecar
    has_cni: bool = False

    @property
    def cluster(self) -> str:
        """As a step says."""
        return self.site.name

    @property
    def title(self) -> str:
        """As a step says."""
        return f"labels of namespace {self.namespace}"

    def look(self) -> Look:
        """Needed if it chooses something else, or a new pod gets no sidecar for all that it chooses it."""
        body = _body(self.site, self.namespace)
        choice, goal = Choice.of(body["metadata"].get("labels")), wanted(self.sidecar.revision)
        if choice == goal:
            missing = newcomer(self.site, self.namespace, self.sidecar)
            return Look(needed=bool(missing), says=missing or f"{goal}; a new pod gets the sidecar")
        self._refuse_changed(body, choice)
        says = [f"{goal} instead of {choice}{self._whose(choice)}"]
        level = (body["metadata"].get("labels") or {}).get(ENFORCED)
        if level in _STRICT and not self.has_cni:
            says.append(
                f"warning: {ENFORCED}={level} lets no pod in that needs NET_ADMIN, as sidecars without Istio's CNI"
                " plugin do"
            )
        return Look(needed=True, says="; ".join(says))

    def act(self) -> None:
        """Set the label, and wait until it has its effect. If it never has, the labels are put back.

        Raises:
            NotReadyError: a new pod got no sidecar in time.
            RefusedError: no pod with a sidecar may run there, or somebody changes the labels at the same time.
        """
        before = change(self.site, self.namespace, self._marked)
        patience = self.site.patience
        said = f"; the labels are {'as they were' if before else 'as shifter found them'}"
        try:
            missing = patience.until(lambda: newcomer(self.site, self.namespace, self.sidecar), patience.ready_seconds)
        except RefusedError as error:
            self._take_back(before)
            raise RefusedError(f"{error}{said}", remedy=error.remedy) from error
        if missing:
            self._take_back(before)
            raise self.site.not_ready(f"{missing}{said}", "", patience.ready_seconds)

    def _marked(self, body: Body) -> Body | None:
        """Return the namespace as it shall be; None if it is."""
        metadata = body["metadata"]
        choice, goal = Choice.of(metadata.get("labels")), wanted(self.sidecar.revision)
        if choice == goal:
            return None
        self._refuse_changed(body, choice)
        kept = _kept(self.site, body)
        return _with(body, goal, Kept(kept.before if kept else choice, goal))

    def _take_back(self, before: Body | None) -> None:
        """Put the labels back that this call has changed; `before` is the namespace as it was."""
        if before is None:
            return
        written, was = wanted(self.sidecar.revision), before["metadata"]

        def taken_back(body: Body) -> Body | None:
            if Choice.of(body["metadata"].get("labels")) != written:
                return None
            return _with(body, Choice.of(was.get("labels")), _kept(self.site, before))

        change(self.site, self.namespace, taken_back)

    def _refuse_changed(self, body: Body, choice: Choice) -> None:
        kept = _kept(self.site, body)
        if kept is not None and choice not in {kept.after, kept.before}:
            raise _changed(self.site, self.namespace, choice, kept)

    def _whose(self, choice: Choice) -> str:
        if choice.injection == "disabled":
            return ": somebody has switched injection off there"
        if choice.revision is None or choice.injection is not None:
            return ""
        return ", which is TCM's" if choice.revision in self.sidecar.tcm_revisions else ", which is another mesh's"


@dataclass(frozen=True, slots=True)
class PutBack:
    """A namespace has the labels that it had before shifter changed them."""

    site: Site
    namespace: str

    @property
    def cluster(self) -> str:
        """As a step says."""
        return self.site.name

    @property
    def title(self) -> str:
        """As a step says."""
        return f"labels of namespace {self.namespace}"

    def look(self) -> Look:
        """Needed if shifter changed them and has not put them back."""
        body = self.site.find(NAMESPACES, "", self.namespace)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return Look(needed=False, says="the namespace is gone, or will be")
        choice, kept = Choice.of(body["metadata"].get("labels")), _kept(self.site, body)
        if kept is None:
            return Look(needed=False, says=f"{choice}: nothing to put back")
        self._refuse_changed(choice, kept)
        return Look(needed=True, says=f"{kept.before} instead of {choice}, as it was")

    def act(self) -> None:
        """Put them back.

        Raises:
            RefusedError: somebody has changed them since.
        """
        change(self.site, self.namespace, self._as_before)

    def _as_before(self, body: Body) -> Body | None:
        kept = _kept(self.site, body)
        if kept is None:
            return None
        self._refuse_changed(Choice.of(body["metadata"].get("labels")), kept)
        return _with(body, kept.before, None)

    def _refuse_changed(self, choice: Choice, kept: Kept) -> None:
        if choice not in {kept.after, kept.before}:
            raise _changed(self.site, self.namespace, choice, kept)


def chosen(site: Site, namespace: str, *, undone: bool) -> Choice:
    """Return what a namespace chooses; `undone`: what it will choose once it has been put back."""
    body = site.find(NAMESPACES, "", namespace) or {"metadata": {"name": namespace}}
    kept = _kept(site, body) if undone else None
    return kept.before if kept else Choice.of(body["metadata"].get("labels"))


def newcomer(site: Site, namespace: str, sidecar: Sidecar) -> str:
    """Return what a pod that is made now in a namespace lacks; empty if it gets the sidecar, or nobody can tell.

    Nothing is created. A quota or a policy of the cluster may refuse a pod that asks for nothing: then the pods
    themselves will tell.

    Raises:
        RefusedError: the namespace's pod security lets no pod with a sidecar in.
    """
    with site.asked("have a pod made up"):
        try:
            made = site.api.rehearse(PODS, namespace, _modest_pod())
        except KubeError as error:
            if error.failing not in {Failing.DENIED, Failing.INVALID}:
                raise
            if _VIOLATED not in str(error):
                return ""
            raise RefusedError(
                f"{site.name}: no pod with a sidecar may run in namespace {namespace}: {plain(str(error))}",
                remedy="install Istio's CNI plugin with the mesh, relax the namespace's pod security, or take the"
                " namespace out of the file (first --undo, if it has the new label already)",
            ) from error
    carries = found(made, sidecar)
    return "" if carries.carrying is Carrying.OURS else f"a new pod in namespace {namespace} {carries.says}"


def change(site: Site, namespace: str, edit: Callable[[Body], Body | None]) -> Body | None:
    """Change a namespace as it is now; return what it was, None if nothing was to be changed.

    Args:
        site: the cluster.
        namespace: which.
        edit: returns what a namespace shall be, None if it is that; asked again if somebody else was faster.

    Raises:
        RefusedError: there is none, or others change it all the time.
    """
    for _ in range(_TRIES):
        body = _body(site, namespace)
        edited = edit(body)
        if edited is None:
            return None
        with site.asked(f"label namespace {namespace}"):
            try:
                site.api.replace(NAMESPACES, "", edited)
            except KubeError as error:
                if error.failing is not Failing.CONFLICT:
                    raise
            else:
                return body
    raise RefusedError(
        f"{site.name}: namespace {namespace} was changed by somebody else {_TRIES} times while shifter was to label it",
        remedy="find out what writes to it all the time, then try again",
    )


def _body(site: Site, namespace: str) -> Body:
    body = site.find(NAMESPACES, "", namespace)
    if said := _lacking(namespace, body):
        raise RefusedError(f"{site.name}: {said}")
    return body or {}


def _kept(site: Site, body: Body) -> Kept | None:
    try:
        return Kept.of(body["metadata"].get("annotations"))
    except ValueError as error:
        name = body["metadata"]["name"]
        raise RefusedError(
            f"{site.name}: namespace {name}: its annotation {KEPT} is not what shifter wrote, so nobody knows which"
            " labels it had",
            remedy=f"set its labels as they shall be, and then: kubectl annotate namespace {name} {KEPT}-",
        ) from error


def _with(body: Body, choice: Choice, kept: Kept | None) -> Body:
    metadata = body["metadata"]
    others = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != KEPT}
    annotations = others if kept is None else {**others, KEPT: str(kept)}
    return {
        **body,
        "metadata": {**metadata, "labels": choice.put_into(metadata.get("labels")), "annotations": annotations},
    }


def _changed(site: Site, namespace: str, choice: Choice, kept: Kept) -> RefusedError:
    return RefusedError(
        f"{site.name}: namespace {namespace} has {choice}, where shifter wrote {kept.after} and found {kept.before}:"
        " somebody has changed it since, and that is not overwritten",
        remedy=f"set the labels as they shall be, and then: kubectl annotate namespace {namespace} {KEPT}-",
    )


def _modest_pod() -> Body:
    """Return a pod that every pod security level lets in by itself."""
    container = {
        "name": "none",
        "image": "none",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    context = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return PODS.body(metadata={"name": "shifter-made-up"}, spec={"containers": [container], "securityContext": context})
