"""Contents <> records: what a place tells in its protocols, as a store keeps it. Pure functions.

A place tells of instances, services and schemas of one tenant. Records of other kinds it keeps to itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TypeVar

from msgspec.structs import replace

from facade.eureka import mapping as eureka
from facade.inspection.contents import Contents, HeldApplication, HeldService
from facade.inspection.listing import is_own, is_own_service
from facade.inspection.unpacking import unpacked
from facade.registry.model import (
    Instance,
    Microservice,
    Origin,
    Record,
    Schema,
    SchemaId,
    ServiceId,
    Space,
    Tenant,
)
from facade.registry.rules import Policy
from facade.servicecenter import mapping as servicecenter
from facade.servicecenter.records import MicroService, MicroServiceInstance
from facade.servicecenter.records import Schema as SchemaDocument
from facade.stores.packed_in_eureka import unseal
from facade.stores.picture_of_eureka import native_of

_Timed = TypeVar("_Timed", Instance, Microservice)


def records_of(contents: Contents, policy: Policy) -> list[Record]:
    """What others need first. The registries' own entries are left out: each makes its own."""
    contents = unpacked(contents, policy)
    held = [one for one in contents.services if not is_own_service(one.document)]
    services = [_service(one, policy) for one in held]
    schemas = [
        Schema(key=SchemaId(service.key, schema.schema_id), text=schema.schema, summary=schema.summary)
        for one, service in zip(held, services, strict=True)
        for schema in one.schemas
    ]
    instances = [
        _timed(servicecenter.to_instance(document, service, document.instance_id, policy), document)
        for one, service in zip(held, services, strict=True)
        for document in one.instances
    ]
    applications = [
        native_of(unseal(one.document), Space(environment=one.environment), policy)
        for one in contents.applications
        if not is_own(one.document)
    ]
    return [*services, *schemas, *applications, *instances]


def _service(held: HeldService, policy: Policy) -> Microservice:
    return _timed(servicecenter.to_service(held.document, Tenant(), held.tags, 0, policy), held.document)


def _timed(record: _Timed, document: MicroService | MicroServiceInstance) -> _Timed:
    registered_ms, updated_ms = map(_milliseconds, (document.timestamp, document.mod_timestamp))
    return replace(record, registered_ms=registered_ms, updated_ms=updated_ms)


def _milliseconds(seconds: str) -> int:
    return int(seconds) * 1000 if seconds.isascii() and seconds.isdecimal() and len(seconds) < 12 else 0


def is_tellable(record: Record) -> bool:
    """Whether a server of ours can be told of it by its protocols' clients."""
    match record:
        case Instance(key=key):
            return key.space.tenant == Tenant()
        case Microservice(key=key):
            return key.tenant == Tenant()
        case Schema(key=key):
            return key.service.tenant == Tenant()
    return False


def contents_of(records: Iterable[Record], services: Iterable[Record]) -> Contents:
    """Of tellable records; `services` are all that the first may belong to."""
    told = list(records)
    known = {one.key: one for one in [*services, *told] if isinstance(one, Microservice)}
    schemas: defaultdict[ServiceId, list[Schema]] = defaultdict(list)
    instances: defaultdict[ServiceId, list[Instance]] = defaultdict(list)
    applications: list[HeldApplication] = []
    wanted: dict[ServiceId, None] = {}
    for record in told:
        match record:
            case Microservice(key=key):
                wanted[key] = None
            case Schema(key=key):
                schemas[key.service].append(record)
                wanted[key.service] = None
            case Instance(key=key) if key.origin is Origin.EUREKA:
                info = eureka.from_instance(record)
                assert info is not None, "an instance born in Eureka always has a document"
                applications.append(HeldApplication(info, key.space.environment))
            case Instance(key=key):
                service_id = ServiceId(key.space.tenant, key.group)
                instances[service_id].append(record)
                wanted[service_id] = None
    held = (_held(key, known.get(key), schemas[key], instances[key]) for key in wanted)
    return Contents("", "", 0, tuple(held), tuple(applications), speaks_servicecenter=True, speaks_eureka=True)


def _held(
    key: ServiceId, service: Microservice | None, schemas: Iterable[Schema], instances: list[Instance]
) -> HeldService:
    document = servicecenter.from_service(service) if service is not None else _named_by(key, instances)
    return HeldService(
        document,
        service.tags if service is not None else {},
        tuple(SchemaDocument(schema_id=one.key.schema_id, summary=one.summary, schema=one.text) for one in schemas),
        tuple(servicecenter.from_instance(one, key.service_id, one.service.version) for one in instances),
    )


def _named_by(key: ServiceId, instances: Iterable[Instance]) -> MicroService:
    """Of a service that is not there: what its instances say of it."""
    names: Iterator[Instance] = iter(instances)
    name = next(names).service
    return MicroService(
        service_id=key.service_id,
        app_id=name.app,
        service_name=name.name,
        version=name.version,
        environment=name.environment,
    )
