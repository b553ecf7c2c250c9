"""The API server as the installer needs it: the client's own exchange, asked for more.

Apart from the service's client, since none of this belongs into a tick: pages of other people's objects, applying, and
trying out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from shifter.adapters.kube.client import PAGE, KubeClient
from shifter.adapters.kube.requests import APPLIED, Request, collection, path_of, selecting
from shifter.ports.kube import Body, Kind


class ConfiguringClient(KubeClient):
    """See `MeshApi`."""

    def pages(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None) -> Iterator[Sequence[Body]]:
        """Yield all objects, a page at a time; see `MeshApi.pages`."""
        query = (*selecting(labels), ("limit", str(PAGE)))
        more = ""
        while True:
            rest = (("continue", more),) if more else ()
            items, metadata = self._page(kind, namespace, query + rest)
            yield items
            if not (more := str(metadata.get("continue") or "")):
                return

    def apply(
        self, kind: Kind, namespace: str, body: Body, *, manager: str, force: bool = False, dry_run: bool = False
    ) -> Body:
        """Let the server have what is said of an object; see `MeshApi.apply`."""
        query = [("fieldManager", manager), ("fieldValidation", "Strict")]
        if force:
            query.append(("force", "true"))
        if dry_run:
            query.append(("dryRun", "All"))
        path = path_of(kind, namespace, str(body["metadata"].get("name") or ""))
        request = Request("PATCH", path, tuple(query), body, writes=not dry_run, content=APPLIED)
        return self._object(kind, request)

    def rehearse(self, kind: Kind, namespace: str, body: Body) -> Body:
        """Return what would become of a new object; see `MeshApi.rehearse`."""
        path = collection(kind, namespace, whole=True)
        return self._object(kind, Request("POST", path, (("dryRun", "All"),), body))
