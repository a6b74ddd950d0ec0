"""What ServiceCenter's users look for, computed from the registry: services of one tenant, with all that hangs on them.

Applications that only Eureka knows are services here as well, under the identity by which ServiceCenter's clients find
them. What takes long in a large registry is an iterator: its reader lets others have their turn. No HTML here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from facade.registry.faces import Face
from facade.registry.model import Instance, Microservice, Origin, SchemaId, ServiceId, ServiceKey, Status, Tenant
from facade.registry.registry import Registry

ROWS = 100
"""Services, or instances, on one page."""


class ServiceRow(NamedTuple):
    service_id: str
    key: ServiceKey
    origins: Sequence[Origin]
    statuses: Sequence[tuple[Status, int]]
    registered_ms: int
    """When the service, or the first of its instances that are left, was registered; 0 when nobody can tell."""

    @property
    def instances(self) -> int:
        return sum(count for _, count in self.statuses)


class SchemaRow(NamedTuple):
    schema_id: str
    summary: str
    length: int | None
    """Characters of its content; None while there is none."""
    is_declared: bool


def services(registry: Registry, tenant: Tenant) -> Iterator[Face]:
    """Every microservice, and every application under its own name, each once; those that a setting hides from
    ServiceCenter's clients too, for an operator wants to see them."""
    catalogue = registry.catalogue
    taken = set()
    for service in tuple(catalogue.services(tenant)):
        taken.add(service.key.service_id)
        yield Face(service.name, service.key.service_id, service)
    for space in catalogue.spaces():
        for application in tuple(catalogue.applications(space)) if space.tenant == tenant else ():
            instances = catalogue.in_application(space, application)
            for key in {one.service: None for one in instances if one.key.origin is Origin.EUREKA}:
                if (service_id := key.derived_id) not in taken:
                    yield Face(key, service_id, None)


def matches(face: Face, wanted: str) -> bool:
    """Whether every word of the question stands somewhere in what the service is called."""
    alias = face.service.alias if face.service is not None else ""
    names = "\n".join((*face.key[2:], alias, face.service_id)).casefold()
    return all(word in names for word in wanted.casefold().split())


def order(face: Face) -> tuple[str, ...]:
    key = face.key
    return key.name.casefold(), key.app, key.environment, key.version


def face_of(registry: Registry, service_id: ServiceId) -> Face | None:
    """The service, or the application, behind an id, also one that a setting hides."""
    face = registry.faces.face(service_id)
    if face is not None:
        return face
    key = registry.catalogue.implied(service_id)
    return Face(key, service_id.service_id, None) if key is not None else None


def instances_of(registry: Registry, face: Face) -> Sequence[Instance]:
    """Those that a consumer of the service finds, and those of a hidden application."""
    view = registry.faces.instances(ServiceId(face.key.tenant, face.service_id))
    if view is not None:
        return [one.instance for one in view.shown]
    space = face.key.space
    application = registry.catalogue.application_named(space, face.key.name)
    hidden = registry.catalogue.in_application(space, application) if application is not None else ()
    return [one for one in hidden if one.service == face.key]


def row(registry: Registry, face: Face) -> ServiceRow:
    instances = instances_of(registry, face)
    origins = {one.key.origin for one in instances}
    if face.service is not None:
        registered_ms = face.service.registered_ms
        origins.add(Origin.SERVICECENTER)
    else:
        registered_ms = min((one.registered_ms for one in instances), default=0)
    statuses = Counter(one.status for one in instances)
    return ServiceRow(face.service_id, face.key, sorted(origins), sorted(statuses.items()), registered_ms)


def statuses(registry: Registry, tenant: Tenant) -> Iterator[Counter[Status]]:
    """Of the instances of each application; together, of all."""
    catalogue = registry.catalogue
    for space in catalogue.spaces():
        for application in tuple(catalogue.applications(space)) if space.tenant == tenant else ():
            yield Counter(one.status for one in catalogue.in_application(space, application))


def schemas_of(registry: Registry, service: Microservice) -> list[SchemaRow]:
    """Declared ones first, in their order."""
    held = {schema.key.schema_id: schema for schema in registry.catalogue.schemas_of(service.key)}
    rows = []
    for schema_id in dict.fromkeys((*service.schemas, *held)):
        schema = held.get(schema_id)
        summary, length = (schema.summary, len(schema.text)) if schema is not None else ("", None)
        rows.append(SchemaRow(schema_id, summary, length, schema_id in service.schemas))
    return rows


def schema_text(registry: Registry, service_id: ServiceId, schema_id: str) -> str | None:
    schema = registry.catalogue.schema(SchemaId(service_id, schema_id))
    return schema.text if schema is not None else None
