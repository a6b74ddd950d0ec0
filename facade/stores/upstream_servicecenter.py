"""A real ServiceCenter behind us, as a backend: records to calls, and what it holds to records.

Services that only Eureka applications imply are made there when their first instance comes, and marked as ours, so that
no reading takes them for somebody's. Changes go by the calls that the protocol has for them: properties and status in
place; an instance whose addresses or lease change is ended and registered again, for the server would only renew it.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

from msgspec.structs import replace

from facade.clock import Clock
from facade.errors import InstanceNotFound, MalformedDocument, ServiceNotFound, UpstreamRefused
from facade.registry.model import (
    Instance,
    InstanceKey,
    Microservice,
    Origin,
    Record,
    RecordKey,
    Schema,
    SchemaId,
    ServiceId,
    Tenant,
)
from facade.registry.rules import Policy
from facade.servicecenter.answers import Version
from facade.servicecenter.client import (
    PROPERTIES_BYTES,
    ServiceCenterClient,
    check_sayable,
    check_tenant,
    encode_properties,
)
from facade.servicecenter.mapping import from_service, implied_service, to_instance
from facade.servicecenter.records import MicroService, MicroServiceInstance, ModifySchemaRequest
from facade.servicecenter.validation import check_schema, check_service, check_tags
from facade.servicecenter.wire import Code
from facade.stores import packed_in_servicecenter
from facade.stores.backend import Seen
from facade.stores.marks import ORIGIN
from facade.stores.packed_in_servicecenter import pack, unpack
from facade.stores.tenants_servicecenter import Tenants, is_sayable, tenant_of
from facade.stores.watching_servicecenter import Watching

_SOMEBODY_ELSE = "registered by somebody else at this moment; ask again"

LONGEST_ALIAS = 128

log = logging.getLogger(__name__)


class ServiceCenterBackend:
    origin = Origin.SERVICECENTER
    lag_s = 1.0
    """Its caches hear of a change after up to 0.6 s; that of an end after 2.3 s, which is asked for live."""
    whole_every_s = 60.0

    def __init__(self, client: ServiceCenterClient, policy: Policy, clock: Clock, *, cluster: str = "") -> None:
        """`cluster` names this bridge in what is packed."""
        self.title = _title(client, "")
        self.lookup: Callable[[RecordKey], Record | None] = _nothing
        self.version: Version | None = None
        """As it says of itself; None before it was asked. For people: what differs between 1.x and 2.x is said in a way
        that both take (a rule for versions in finds; health checks within the limits of 2.x)."""
        self.client = client
        self._policy = policy
        self._cluster = cluster
        self._tenants = Tenants(client, policy, clock)
        self._lost: set[InstanceKey] = set()
        """Those that it did not know when they were renewed last."""
        self._watching = Watching(client)

    @property
    def truncated(self) -> int:
        """Instances that it holds only in part, for they are too large for it."""
        return self._tenants.truncated

    def cluster_of(self, record: Instance) -> str:
        return self._tenants.cluster_of(record)

    def takes(self, key: RecordKey) -> bool:
        return isinstance(key, InstanceKey | ServiceId | SchemaId)

    def rebuilt(self) -> Collection[Record]:
        return ()

    def expect(self, keys: Iterable[RecordKey]) -> None:
        """What we hold from before: the tenants that it names are read as well."""
        self._tenants.expect(filter(self.takes, keys))

    # Reading

    async def read(self, *, is_whole: bool) -> Seen:
        if self.version is None:
            self.version = await self.client.version()
            self.title = _title(self.client, self.version.version)
            log.info("upstream is a ServiceCenter version=%s api=%s", self.version.version, self.version.api_version)
        records, changed = await self._tenants.refresh(lambda key: self.lookup(key), is_whole=is_whole)
        self._watching.follow(self._tenants.names)
        if is_whole:
            self._lost = {key for key in self._lost if self.lookup(key) is not None}
        return Seen(records, None if is_whole else changed)

    async def watch(self, hint: Callable[[], None]) -> None:
        await self._watching.run(hint)

    async def holds(self, record: Record) -> bool:
        if isinstance(record, Instance):
            return await self.client.find_instance(*self._place(record), record.portable_id) is not None
        if isinstance(record, Microservice):
            return await self.client.service(*record.key) is not None
        if isinstance(record, Schema):
            return await self.client.has_schema(*record.key.service, record.key.schema_id)
        return False

    def as_kept(self, record: Record) -> Record:
        if isinstance(record, Microservice):
            _check_service(record)
        elif isinstance(record, Schema):
            _check_schema(record)
        if not isinstance(record, Instance):
            return record
        check_tenant(record.key.space.tenant)
        document = self._pack(record)
        if record.key.origin is Origin.EUREKA:
            return unpack(document, record.service, self._policy) or record
        owner = Microservice(key=ServiceId(record.key.space.tenant, record.key.group), name=record.service)
        return to_instance(document, owner, record.portable_id, self._policy)

    def lost(self, record: Instance) -> str:
        return packed_in_servicecenter.lost(record)

    # Writing

    async def put(self, record: Record, before: Record | None) -> None:
        with self._tenants.writing(tenant_of(record.key)):
            try:
                if isinstance(record, Instance):
                    await self._put_instance(record, before if isinstance(before, Instance) else None)
                elif isinstance(record, Microservice):
                    await self._put_service(record, before if isinstance(before, Microservice) else None)
                elif isinstance(record, Schema):
                    await self._put_schema(record)
            except ServiceNotFound as error:
                raise UpstreamRefused(f"deleted at this moment: {error}", Code.SERVICE_NOT_EXISTS) from error
            except InstanceNotFound as error:
                raise UpstreamRefused(f"deleted at this moment: {error}", Code.INSTANCE_NOT_EXISTS) from error

    async def remove(self, record: Record) -> None:
        try:
            if isinstance(record, Instance):
                await self.client.unregister(*self._place(record), record.portable_id)
            elif isinstance(record, Microservice):
                self._tenants.of(record.key.tenant).forget_service(record.key.service_id)
                await self.client.delete_service(*record.key, force=True)
            elif isinstance(record, Schema):
                self._tenants.of(record.key.service.tenant).note_schema(record.key, None)
                await self.client.delete_schema(*record.key.service, record.key.schema_id)
        except (InstanceNotFound, ServiceNotFound):
            pass

    async def renew(self, instances: Sequence[Instance]) -> Collection[Instance]:
        by_tenant: dict[Tenant, dict[tuple[str, str], Instance]] = defaultdict(dict)
        for instance in instances:
            tenant, service_id = self._place(instance)
            by_tenant[tenant][service_id, instance.portable_id] = instance
        unknown: list[Instance] = []
        for tenant, by_ids in by_tenant.items():
            self._note(tenant, by_ids)
            lost = await self.client.heartbeats(tenant, by_ids) if is_sayable(tenant) else by_ids
            unknown += [by_ids[ids] for ids in lost]
        self._lost -= {one.key for one in instances}
        self._lost |= {one.key for one in unknown}
        return unknown

    async def close(self) -> None:
        await self.client.close()

    # Services and schemas

    async def _put_service(self, record: Microservice, before: Microservice | None) -> None:
        document = _check_service(record)
        reading = self._tenants.of(record.key.tenant)
        if before is None or not await self._amend_service(record, before):
            if await self.client.create_service(record.key.tenant, document) != record.key.service_id:
                raise UpstreamRefused(f"{record.name.name}: {_SOMEBODY_ELSE}", Code.SERVICE_EXISTS)
            # One that was there already has not been changed.
            there = await self.client.service(*record.key)
            if there is not None and there.properties != record.properties:
                await self._set_service_properties(record)
            if record.tags or reading.tags_of(record.key.service_id):
                await self.client.add_tags(*record.key, record.tags)
        reading.note_service(record.key.service_id, document)
        reading.note_tags(record.key.service_id, record.tags)

    async def _amend_service(self, record: Microservice, before: Microservice) -> bool:
        """False where it is gone. What else a service says, the protocol cannot change."""
        try:
            if record.properties != before.properties:
                await self._set_service_properties(record)
            if record.tags != before.tags:
                await self.client.add_tags(*record.key, record.tags)
            if record.properties == before.properties and record.tags == before.tags:
                return await self.client.service(*record.key) is not None
        except ServiceNotFound:
            return False
        return True

    async def _set_service_properties(self, record: Microservice) -> None:
        if not _fit(record.properties):
            raise UpstreamRefused(
                f"properties of {record.name.name} take more than the {PROPERTIES_BYTES} bytes that are read there",
                Code.INVALID_PARAMETERS,
            )
        await self.client.set_service_properties(*record.key, record.properties)

    async def _put_schema(self, record: Schema) -> None:
        _check_schema(record)
        tenant, service_id = record.key.service
        try:
            await self.client.put_schema(tenant, service_id, record.key.schema_id, record.text, record.summary)
        except ServiceNotFound:
            service = self.lookup(record.key.service)
            if not isinstance(service, Microservice):
                raise UpstreamRefused(f"no microservice {service_id}", Code.SERVICE_NOT_EXISTS) from None
            await self._put_service(service, None)
            await self.client.put_schema(tenant, service_id, record.key.schema_id, record.text, record.summary)
        self._tenants.of(tenant).note_schema(record.key, record)

    # Instances

    async def _put_instance(self, record: Instance, before: Instance | None) -> None:
        document = self._pack(record)
        if before is not None and self._place(before) == self._place(record):
            await self._amend(record, document, self._pack(before))
        else:
            if before is not None:
                await self.remove(before)
            await self._register_anew(record, document)
        tenant, service_id = self._place(record)
        self._note(tenant, {(service_id, record.portable_id): record})

    async def _register_anew(self, record: Instance, document: MicroServiceInstance) -> None:
        """One that is alive there, from another of our nodes or by its owner, is only renewed: what it says is then set
        right. Not so where it was lost there and we only bring it back: who was faster may know more."""
        was_lost = record.key in self._lost and self.lookup(record.key) is not None
        await self._register(record, document)
        self._lost.discard(record.key)
        if not was_lost:
            there = await self.client.find_instance(*self._place(record), record.portable_id)
            if there is not None and _content(there) != _content(document):
                await self._amend(record, document, there)

    async def _amend(self, record: Instance, wanted: MicroServiceInstance, there: MicroServiceInstance) -> None:
        place, name = self._place(record), record.portable_id
        try:
            if _fixed(wanted) != _fixed(there) or (
                wanted.properties != there.properties and not _fit(wanted.properties)
            ):
                await self.client.unregister(*place, name)
                await self._register(record, wanted)
                return
            if wanted.properties != there.properties:
                await self.client.set_properties(*place, name, wanted.properties)
            if wanted.status != there.status:
                await self.client.set_status(*place, name, wanted.status)
            if _content(wanted) == _content(there):
                await self._register(record, wanted)
        except (InstanceNotFound, ServiceNotFound):
            await self._register(record, wanted)

    async def _register(self, record: Instance, document: MicroServiceInstance) -> None:
        """With its service, if that is missing."""
        tenant, service_id = self._place(record)
        if service_id not in self._tenants.of(tenant).services:
            await self._create_service_of(record)
        try:
            registered = await self.client.register(*self._place(record), document)
        except ServiceNotFound:
            self._tenants.of(tenant).forget_service(service_id)
            await self._create_service_of(record)
            registered = await self.client.register(*self._place(record), document)
        if registered != document.instance_id:
            raise UpstreamRefused(f"registered {record.portable_id} under another id, {registered}")

    async def _create_service_of(self, record: Instance) -> None:
        tenant = record.key.space.tenant
        reading = self._tenants.of(tenant)
        if record.key.origin is Origin.EUREKA:
            document = self._implied(record)
            _checked(lambda: check_service(document))
            reading.note_service(await self._create_implied(tenant, record, document), document)
            return
        service = self.lookup(ServiceId(tenant, record.key.group))
        if isinstance(service, Microservice):
            await self._put_service(service, None)
            return
        document = MicroService(
            service_id=record.key.group,
            app_id=record.service.app,
            service_name=record.service.name,
            version=record.service.version,
            environment=record.service.environment,
        )
        _checked(lambda: check_service(document))
        if await self.client.create_service(tenant, document) != record.key.group:
            raise UpstreamRefused(f"{record.service.name}: {_SOMEBODY_ELSE}", Code.SERVICE_EXISTS)
        reading.note_service(record.key.group, document)

    def _implied(self, record: Instance) -> MicroService:
        implied = from_service(implied_service(record.service, self._policy, 0))
        return replace(
            implied,
            alias=implied.alias if len(implied.alias) <= LONGEST_ALIAS else "",
            properties={**implied.properties, ORIGIN: Origin.EUREKA.value},
            timestamp="",
            mod_timestamp="",
        )

    async def _create_implied(self, tenant: Tenant, record: Instance, document: MicroService) -> str:
        """With its alias where that is free; under the id of whoever has registered that very service."""
        for attempt in (document, replace(document, alias="")):
            try:
                return await self.client.create_service(tenant, attempt)
            except UpstreamRefused as error:
                if error.code != Code.SERVICE_EXISTS:
                    raise
        existing = await self.client.existing(record.service)
        if existing is None:
            raise UpstreamRefused(f"{record.service.name}: {_SOMEBODY_ELSE}", Code.SERVICE_EXISTS)
        return existing

    def _pack(self, record: Instance) -> MicroServiceInstance:
        return pack(record, self._cluster)

    # Where things are

    def _place(self, record: Instance) -> tuple[Tenant, str]:
        """The tenant and the serviceId of an instance there."""
        tenant = record.key.space.tenant
        if record.key.origin is Origin.SERVICECENTER:
            return tenant, record.key.group
        return tenant, self._tenants.of(tenant).ids.get(record.service) or record.service.derived_id

    def _note(self, tenant: Tenant, by_ids: dict[tuple[str, str], Instance]) -> None:
        reading = self._tenants.of(tenant)
        for (service_id, instance_id), instance in by_ids.items():
            if instance.key.origin is Origin.EUREKA:
                reading.note_packed(service_id, instance_id, instance.key)


def _nothing(_: RecordKey) -> None:
    return None


def _title(client: ServiceCenterClient, version: str) -> str:
    return f"ServiceCenter{' ' * bool(version)}{version} at {', '.join(client.outbound.bases)}"


def _check_service(record: Microservice) -> MicroService:
    """The document to create, when the server would take it. Raises UpstreamRefused."""
    document = replace(from_service(record), timestamp="", mod_timestamp="")
    check_tenant(record.key.tenant)
    check_sayable(record.key.service_id)
    _checked(lambda: check_service(document), lambda: check_tags(record.tags))
    return document


def _check_schema(record: Schema) -> None:
    """Raises UpstreamRefused when the server would not take it."""
    request = ModifySchemaRequest(schema=record.text, summary=record.summary)
    _checked(lambda: check_schema(record.key.schema_id, request))


def _checked(*checks: Callable[[], None]) -> None:
    """What the server would refuse, refused before it is sent."""
    try:
        for check in checks:
            check()
    except MalformedDocument as error:
        raise UpstreamRefused(str(error), Code.INVALID_PARAMETERS) from None


def _fit(properties: dict[str, str]) -> bool:
    return len(encode_properties(properties)) <= PROPERTIES_BYTES


def _fixed(document: MicroServiceInstance) -> object:
    """What no call changes but a new registration."""
    return document.endpoints, document.host_name, document.health_check, document.data_center_info


def _content(document: MicroServiceInstance) -> object:
    return _fixed(document), document.properties, document.status
