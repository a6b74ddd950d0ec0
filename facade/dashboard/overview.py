"""What the dashboard shows, computed from the registry: applications, their instances, how they fare. No HTML here."""

from __future__ import annotations

import os
import resource
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple, overload

from facade import __version__
from facade.registry.changes import KEPT_CHANGES
from facade.registry.model import Cause, Change, Instance, Origin, Space, Status
from facade.registry.registry import Registry

ROWS = 500
"""Applications on one page; the filter finds the rest."""

RECENT_CHANGES = 50

LATEST = 1_000
"""Registrations, and ends of leases, on the page that Eureka's users know as /lastn."""


class InstanceRow(NamedTuple):
    instance_id: str
    origin: Origin
    status: Status
    override: Status | None
    address: str
    remaining_s: int
    term_s: int
    other_names: Sequence[str]
    """Where readers of the other protocol find it."""
    metadata: Sequence[tuple[str, str]]


class ApplicationRow(NamedTuple):
    name: str
    space: Space
    origins: Sequence[Origin]
    versions: Sequence[str]
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
    protections: Sequence[tuple[Origin, bool, str]]
    """Per protocol: whether it holds lapsed leases back, and why, in plain words."""


class Overview(NamedTuple):
    revision: int
    instances: int
    applications: int
    shown: Sequence[ApplicationRow]
    changes: Sequence[ChangeRow]
    health: Health


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


def general(registry: Registry) -> Sequence[tuple[str, str]]:
    """What Eureka's users look for under general information, and what self-preservation reckons with."""
    up_s = int(registry.clock.monotonic_s() - registry.opened_s)
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    rows = [
        ("version", __version__),
        ("up for", f"{up_s // 3600} h {up_s // 60 % 60} min"),
        ("memory, at most", f"{memory_mb} MB"),
        ("processors", str(os.cpu_count() or 1)),
    ]
    for origin in Origin:
        guard = registry.protection(origin)
        renewals = f"{guard.renewals_last_minute} in the last minute; above {guard.threshold} lapsed leases end"
        rows.append((f"{origin} renewals", renewals))
    return rows


def health(registry: Registry) -> Health:
    store = registry.store_health()
    protections = [(origin, *_protection(registry, origin)) for origin in Origin]
    return Health(store.is_writable, store.text, registry.data_age_s, protections)


def _protection(registry: Registry, origin: Origin) -> tuple[bool, str]:
    protection = registry.protection(origin)
    return protection.is_on, protection.text


def _application_row(registry: Registry, space: Space, name: str) -> ApplicationRow:
    instances = registry.catalogue.in_application(space, name)
    statuses = Counter(instance.status for instance in instances)
    return ApplicationRow(
        name=name,
        space=space,
        origins=sorted({instance.key.origin for instance in instances}),
        versions=sorted({instance.service.version for instance in instances}),
        statuses=sorted(statuses.items()),
        instances=[_instance_row(registry, instance) for instance in instances],
    )


def _instance_row(registry: Registry, instance: Instance) -> InstanceRow:
    return InstanceRow(
        instance_id=instance.key.instance_id,
        origin=instance.key.origin,
        status=instance.status,
        override=instance.override,
        address=", ".join(instance.endpoints) or instance.host,
        remaining_s=registry.remaining_s(instance.key),
        term_s=instance.lease.renewed_ms // 1000,
        other_names=_other_names(registry, instance),
        metadata=sorted(instance.metadata.items()),
    )


def _other_names(registry: Registry, instance: Instance) -> list[str]:
    if instance.key.origin is Origin.SERVICECENTER:
        return [f"Eureka: {instance.application}"]
    return [
        f"ServiceCenter: {'/'.join(filter(None, (name.environment, name.app, name.name)))} {shown.face.version}"
        for name, shown in registry.faces.names_of(instance)
    ] or ["ServiceCenter: hidden, a service of that name was registered first"]


def _change_row(change: Change) -> ChangeRow | None:
    if not isinstance(change.record, Instance):
        return None
    what = f"{change.record.application} {change.record.key.instance_id} {change.record.status}"
    return ChangeRow(change.at_ms, change.cause, what)
