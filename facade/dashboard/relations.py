"""Who calls whom, as far as ServiceCenter's clients say: a consumer that asks for a provider depends on it.

Eureka's clients fetch the whole list, so whom they call is not known here; that they are called is. No HTML here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from facade.registry.faces import Face
from facade.registry.model import ServiceId, ServiceName, Tenant
from facade.registry.registry import Registry
from facade.registry.relations import consumers_of


class Relation(NamedTuple):
    consumer: ServiceName
    provider: ServiceName


def relations(registry: Registry, tenant: Tenant) -> Iterator[Relation | None]:
    """Each with names as `meant` gives them; None for a service that asks for nobody."""
    for service in tuple(registry.catalogue.services(tenant)):
        stated = registry.catalogue.dependencies(service.key)
        consumer = service.name.unversioned
        for name in stated.providers if stated is not None else ():
            provider = meant(registry, name)
            yield Relation(consumer, provider) if provider != consumer else None
        yield None


def meant(registry: Registry, name: ServiceName) -> ServiceName:
    """The one name of what a consumer finds under this name: an application has many, a service perhaps an alias."""
    found = behind(registry, name)
    return found[0].key.unversioned if found else registry.faces.unmarked(name)


def behind(registry: Registry, name: ServiceName) -> Sequence[Face]:
    """What is found under a name: services in all versions, or an application; nothing while there is nobody."""
    services = registry.catalogue.versions(name) or registry.catalogue.aliased(name)
    if services:
        return [Face(one.name, one.key.service_id, one) for one in services]
    view = registry.faces.find(name)
    keys = {one.instance.service: None for one in view.shown} if view is not None else {}
    return [Face(key, key.derived_id, None) for key in keys]


def providers_of(registry: Registry, face: Face) -> Sequence[tuple[ServiceName, Sequence[Face]]]:
    """The names that a service asks for, and what it finds there."""
    stated = registry.catalogue.dependencies(ServiceId(face.key.tenant, face.service_id))
    return [(name, behind(registry, name)) for name in sorted(stated.providers)] if stated is not None else []


def callers_of(registry: Registry, face: Face) -> Sequence[Face]:
    """The services that ask for this one, by whichever of its names."""
    ids = consumers_of(registry, face)
    return [caller for one in ids if (caller := registry.faces.face(one)) is not None]
