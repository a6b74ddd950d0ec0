"""What the dashboard shows, computed from the registry: applications, their instances, how they fare. No HTML here."""

from __future__ import annotations

import os
import resource
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple, overload
from urllib.parse import quote

from facade import __version__
from facade.registry import rules
from facade.registry.changes import KEPT_CHANGES
from facade.registry.eviction import Protection
from facade.registry.model import Cause, Change, Instance, Origin, Space, Status
from facade.registry.registry import Registry

ROWS = 500
"""Applications on one page; the filter finds the rest."""

RECENT_CHANGES = 50

LATEST = 1_000
"""Registrations, and ends of leases, on the page that Eureka's users know as /lastn."""


class InstanceRow(NamedTuple):
    instance_id: str
    portable_id: str
    origin: Origin
    status: Status
    override: Status | None
    address: str
    remaining_s: int | None
    """None: another node hears it renewed."""
    term_s: int
    other_names: Sequence[str]
    """Where readers of the other protocol find it; none when it is hidden from them."""
    metadata: Sequence[tuple[str, str]]
    documents: Sequence[tuple[str, str]]
    """Where clients of each protocol read it, on this server."""


class ApplicationRow(NamedTuple):
    name: str
    space: Space
    origins: Sequence[Origin]
    versions: Sequence[tuple[str, str]]
    """Each with the id of the service."""
    statuses: Sequence[tuple[Status, int]]
    instances: Sequence[InstanceRow]


class ApplicationRows(Sequence[ApplicationRow]):
    """Each row is made when it is read: the page of a large registry is written bit by bit, between other answers."""

    def __init__(self, registry: Registry, names: Sequence[tuple[str, Space]]) -> None:
        self._registry = registry
        self._names = names

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, at: int) -> ApplicationRow: ...
    @overload
    def __getitem__(self, at: slice) -> ApplicationRows: ...
    def __getitem__(self, at: int | slice) -> ApplicationRow | ApplicationRows:
        if isinstance(at, slice):
            return ApplicationRows(self._registry, self._names[at])
        name, space = self._names[at]
        return _application_row(self._registry, space, name)


class ChangeRow(NamedTuple):
    at_ms: int
    cause: Cause
    what: str


class Health(NamedTuple):
    store_is_writable: bool
    store: str
    data_age_s: float
    protections: Sequence[tuple[Origin, Protection]]
    """Per protocol: whether it holds lapsed leases back, and why."""
    has_protection: bool
    """Whether a setting has not switched it off."""


class Overview(NamedTuple):
    revision: int
    instances: int
    applications: int
    shown: Sequence[ApplicationRow]
    changes: Sequence[ChangeRow]
    health: Health
    few: int = rules.FEW
    """Self-preservation needs more leases than this."""


def overview(registry: Registry, wanted: str = "") -> Overview:
    """The whole page; `wanted` is a part of a name, in any case of letters."""
    catalogue = registry.catalogue
    names = [(space, name) for space in catalogue.spaces() for name in catalogue.applications(space)]
    matching = sorted((name, space) for space, name in names if wanted.upper() in name)
    changes = [_change_row(change) for change in registry.feed.recent(RECENT_CHANGES)]
    return Overview(
        revision=registry.revision,
        instances=len(catalogue),
        applications=len(names),
        shown=ApplicationRows(registry, matching[:ROWS]),
        changes=[row for row in changes if row is not None],
        health=health(registry),
    )


class Latest(NamedTuple):
    """Newest first."""

    registered: Sequence[ChangeRow]
    ended: Sequence[ChangeRow]


def latest(registry: Registry) -> Latest:
    """What registered and what ended of late, as far as the change feed remembers."""
    kept = registry.feed.recent(KEPT_CHANGES)
    registered = (change for change in kept if change.cause is Cause.REGISTERED)
    ended = (change for change in kept if change.after is None)
    return Latest(_first_rows(registered), _first_rows(ended))


def _first_rows(changes: Iterable[Change]) -> list[ChangeRow]:
    return list(islice((row for change in changes if (row := _change_row(change)) is not None), LATEST))


class General(NamedTuple):
    """What Eureka's users look for under general information."""

    version: str
    up_s: int
    memory_mb: int
    """At most, since the start."""
    processors: int


def general(registry: Registry) -> General:
    return General(
        version=__version__,
        up_s=int(registry.clock.monotonic_s() - registry.opened_s),
        memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        processors=os.cpu_count() or 1,
    )


def health(registry: Registry) -> Health:
    store = registry.store_health()
    protections = [(origin, registry.protection(origin)) for origin in Origin]
    return Health(store.is_writable, store.text, registry.data_age_s, protections, registry.policy.self_preservation)


def _application_row(registry: Registry, space: Space, name: str) -> ApplicationRow:
    instances = registry.catalogue.in_application(space, name)
    statuses = Counter(instance.status for instance in instances)
    return ApplicationRow(
        name=name,
        space=space,
        origins=sorted({instance.key.origin for instance in instances}),
        versions=sorted({(instance.service.version, service_id_of(instance)) for instance in instances}),
        statuses=sorted(statuses.items()),
        instances=[instance_row(registry, instance) for instance in instances],
    )


def instance_row(registry: Registry, instance: Instance) -> InstanceRow:
    return InstanceRow(
        instance_id=instance.key.instance_id,
        portable_id=instance.portable_id,
        origin=instance.key.origin,
        status=instance.status,
        override=instance.override,
        address=", ".join(instance.endpoints) or instance.host,
        remaining_s=registry.remaining_s(instance.key),
        term_s=instance.lease.renewed_ms // 1000,
        other_names=_other_names(registry, instance),
        metadata=sorted(instance.metadata.items()),
        documents=_documents(registry, instance),
    )


def service_id_of(instance: Instance) -> str:
    """Of the service that it belongs to, or of its application under its own name."""
    is_native = instance.key.origin is Origin.SERVICECENTER
    return instance.key.group if is_native else instance.service.derived_id


def _documents(registry: Registry, instance: Instance) -> list[tuple[str, str]]:
    """Addresses that a browser can open: other domains are named in a header, so theirs it cannot."""
    space, found = instance.service.space, []
    if instance.key.origin is Origin.EUREKA and space == Space():
        found.append(("Eureka", _path("eureka", "apps", instance.application, instance.key.instance_id)))
    if space.domain == Space().domain and rules.is_shared(instance.application, registry.policy):
        service = ("v4", space.project, "registry", "microservices", service_id_of(instance))
        found.append(("ServiceCenter", _path(*service, "instances", instance.portable_id)))
    return found


def _path(*segments: str) -> str:
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


def _other_names(registry: Registry, instance: Instance) -> list[str]:
    if instance.key.origin is Origin.SERVICECENTER:
        return [f"Eureka: {instance.application}"]
    return [
        f"ServiceCenter: {'/'.join(filter(None, (name.environment, name.app, name.name)))} {shown.face.version}"
        for name, shown in registry.faces.names_of(instance)
    ]


def _change_row(change: Change) -> ChangeRow | None:
    if not isinstance(change.record, Instance):
        return None
    what = f"{change.record.application} {change.record.key.instance_id} {change.record.status}"
    return ChangeRow(change.at_ms, change.cause, what)
