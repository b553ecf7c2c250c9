"""The records as objects: each created once under a name that only it can have, never changed, dropped when old."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from shifter.adapters.kube.failures import store_errors
from shifter.adapters.kube.kinds import SHIFT_RECORDS
from shifter.adapters.kube.objects import CHAIN_LABEL, SHIFT_LABEL, label, link_from, record_body, record_name
from shifter.adapters.saved_records import read_moment
from shifter.core.chain import Link
from shifter.errors import RefusedError
from shifter.ports.kube import UNSURE, Body, Failing, KubeApi, KubeError


class Archive:
    """All records of an installation that are objects of their own."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    def file(self, chain: str, link: Link) -> None:
        """Make an object of a record; one that is there already with the same content will do.

        Raises:
            RefusedError: another record has its place: two histories were begun.
            StoreUnavailableError: it may or may not be there; file it again.
        """
        body = record_body(chain, link)
        with store_errors(f"record {link.id} of {chain} cannot be filed"):
            try:
                self._api.create(SHIFT_RECORDS, self._namespace, body)
            except KubeError as error:
                if error.failing not in {Failing.EXISTS, *UNSURE}:
                    raise
                self._compare(chain, link, error)

    def _compare(self, chain: str, link: Link, failed: KubeError) -> None:
        try:
            found = self._api.get(SHIFT_RECORDS, self._namespace, record_name(chain, link.id))
        except KubeError:
            raise failed from None
        if link_from(found.get("spec") or {}) != link:
            raise RefusedError(
                f"in the place of record {link.id} of {chain} is another: two histories were begun;"
                " `shifter history --verify` tells more"
            )

    def of_chain(self, chain: str) -> Sequence[Link]:
        """Return all records of a chain that are objects, by number."""
        found = [link_from(body.get("spec") or {}) for body in self._listed({CHAIN_LABEL: label(chain)})]
        return sorted(found, key=lambda link: link.id)

    def about(self, shift: str | None) -> Sequence[tuple[str, Link]]:
        """Return the records about a shift, or all, each with its chain, in the order in which they were filed."""
        found = self._listed({} if shift is None else {SHIFT_LABEL: label(shift)})
        found.sort(key=lambda body: int(body["metadata"]["resourceVersion"]))
        specs = [body.get("spec") or {} for body in found]
        return [(str(spec.get("chain", "")), link_from(spec)) for spec in specs]

    def drop(self, chain: str, numbers: Sequence[int]) -> int:
        """Delete records by number, oldest first; return how many. One that is gone already counts too."""
        for number in numbers:
            with store_errors(f"record {number} of {chain} cannot be dropped"):
                try:
                    self._api.delete(SHIFT_RECORDS, self._namespace, record_name(chain, number))
                except KubeError as error:
                    if error.failing is not Failing.MISSING:
                        raise
        return len(numbers)

    def _listed(self, labels: dict[str, str]) -> list[Body]:
        with store_errors("records cannot be listed"):
            return list(self._api.list(SHIFT_RECORDS, self._namespace, labels=labels or None).items)


def oldest(links: Sequence[Link], before: datetime, now: datetime | None) -> int:
    """Return how many records of a chain, from the first on, are older than `before`: up to the first that is not.

    One from after `now` is of a clock that was ahead, and keeps none before it; nor does one whose moment nobody can
    read.
    """
    young = [place for place, link in enumerate(links) if _at(link) >= before]
    dated = [place for place in young if now is None or _at(links[place]) <= now]
    return min(dated or young, default=len(links))


def _at(link: Link) -> datetime:
    try:
        return read_moment(link.at)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
