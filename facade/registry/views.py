"""What was found under a name or an id, kept for as long as it is so: a poll must not cost what its instances cost."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from facade.registry.catalogue import ApplicationKey, Catalogue
from facade.registry.model import Instance, Microservice, Revision, ServiceId, ServiceKey, ServiceName

KEPT_VIEWS = 10_000
KEPT_SHOWN = 200_000
"""Instances in all kept views together, about 90 bytes each. The app that is asked for is anybody's choice, so both
bound what a stranger can make us keep.
"""


class Shown(NamedTuple):
    """An instance as one consumer sees it: under the identity that was asked for (N3)."""

    instance: Instance
    face: ServiceKey
    service_id: str


class View(NamedTuple):
    """What is found under a name or an id, and the revision at which that last changed."""

    shown: tuple[Shown, ...]
    revision: Revision
    service_ids: frozenset[str]
    """The identities under which it is shown."""

    @classmethod
    def of(cls, shown: Iterable[Shown], revision: Revision) -> View:
        shown = tuple(shown)
        return cls(shown, revision, frozenset([one.service_id for one in shown]))


class Meaning(NamedTuple):
    """Whose instances are found under a name: those of services, and of an application that has a flat name."""

    name: ServiceName
    services: Collection[Microservice]
    application: ApplicationKey | None


class _Kept(NamedTuple):
    """One view, and why it is what it is."""

    meanings: int
    """The catalogue's count when this was the meaning."""
    meaning: Meaning
    since: Revision
    """From when on it was: what was meant before had revisions of its own, which must not come again."""
    view: View


class Views:
    """The oldest go first; a name that is found anew is the newest again."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._kept: OrderedDict[ServiceName | ServiceId, _Kept] = OrderedDict()
        self._shown = 0

    def meaning(self, asked: ServiceName | ServiceId) -> Meaning | None:
        """What it meant when it was last asked for, where that cannot have changed since."""
        kept = self._kept.get(asked)
        return kept.meaning if kept is not None and kept.meanings == self._catalogue.meanings else None

    def view(
        self,
        asked: ServiceName | ServiceId,
        meaning: Meaning,
        show: Callable[[Meaning], Iterable[Shown]],
        *,
        is_lasting: bool,
    ) -> View:
        """What is found, kept for as long as this meaning lasts.

        The ids of a name that nobody relies on are remembered for a while only, and have to be told anew each time.
        """
        kept, catalogue = self._kept.get(asked), self._catalogue
        if kept is not None and kept.meaning == meaning:
            since = kept.since
            if kept.meanings == catalogue.meanings and kept.view.revision == self._revision(meaning, since):
                return kept.view
        else:
            since = catalogue.revision
        view = View.of(show(meaning), self._revision(meaning, since))
        if is_lasting and catalogue.is_settled:
            self._keep(asked, _Kept(catalogue.meanings, meaning, since, view))
        return view

    def _revision(self, meaning: Meaning, since: Revision) -> Revision:
        """When what is found last changed."""
        catalogue = self._catalogue
        revision = max(since, catalogue.service_revision(meaning.name))
        for service in meaning.services:
            revision = max(revision, catalogue.service_revision(service.name.unversioned))
        if meaning.application is not None:
            revision = max(revision, catalogue.application_revision(*meaning.application))
        return revision

    def _keep(self, asked: ServiceName | ServiceId, kept: _Kept) -> None:
        self._drop(asked)
        self._kept[asked] = kept
        self._shown += len(kept.view.shown)
        while self._shown > KEPT_SHOWN or len(self._kept) > KEPT_VIEWS:
            self._drop(next(iter(self._kept)))

    def _drop(self, asked: ServiceName | ServiceId) -> None:
        kept = self._kept.pop(asked, None)
        self._shown -= len(kept.view.shown) if kept is not None else 0
