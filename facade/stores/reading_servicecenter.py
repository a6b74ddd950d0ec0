"""What one tenant of a ServiceCenter holds, kept up to date by asking what has changed. It reads only.

The list of services comes whole each time and is compared item by item; the instances come from one batch find that
names the revision known of each service name, so that what has not changed costs nothing. What can be read of a record
decides whether it is one: others are left out, and told of once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable

import msgspec
from msgspec.structs import replace

from facade.errors import ServiceNotFound, UpstreamRefused
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
    ServiceKey,
    ServiceName,
    Tenant,
)
from facade.registry.rules import MARKS, Policy
from facade.servicecenter.answers import Found, decode_instance
from facade.servicecenter.client import ANY_VERSION, REGISTER_BYTES, ServiceCenterClient, ServiceList
from facade.servicecenter.mapping import OWN_NAME, to_instance, to_key, to_service
from facade.servicecenter.records import FindService, MicroService, MicroServiceInstance, MicroServiceKey
from facade.stores.marks import CLUSTER, ORIGIN, OURS
from facade.stores.packed_in_servicecenter import is_packed, is_truncated, marks, pack, unpack

_SCHEMAS_A_READING = 8
"""Services whose schemas are fetched in one reading after the first: they are large, and nobody waits for them."""
_ITEMS_A_TURN = 100
"""Decoded in one turn of the event loop: about 5 ms."""
_MOST_TOLD = 1_000
"""Things that were told of and are remembered: what is told again after so many others does no harm."""

log = logging.getLogger(__name__)


class Reading:
    def __init__(
        self, client: ServiceCenterClient, tenant: Tenant, policy: Policy, records: dict[RecordKey, Record]
    ) -> None:
        """`records` is where they are put; other tenants put theirs there, too."""
        self.services: dict[str, MicroService] = {}
        """By id, as they were last listed or written."""
        self.ids: dict[ServiceKey, str] = {}
        self.changed: set[RecordKey] = set()
        """Since the last reading that came to an end."""
        self.truncated: set[RecordKey] = set()
        self.clusters: dict[InstanceKey, str] = {}
        """Which bridge has written an instance as a copy, as its marks say; "" for none."""
        self._client = client
        self._tenant = tenant
        self._policy = policy
        self._records = records
        self._listed: ServiceList | None = None
        self._asked: dict[ServiceName, FindService] = {}
        """What to ask next for each name: with the revision that we have."""
        self._raw: dict[ServiceName, dict[bytes, InstanceKey | None]] = {}
        self._holders: dict[InstanceKey, dict[ServiceName, Instance]] = {}
        """An application that changes the case of its name is listed twice for a while: its old place lingers."""
        self._tags: dict[str, dict[str, str]] = {}
        self._tags_written: set[str] = set()
        self._tagged: dict[str, MicroService] = {}
        self._shown: dict[str, tuple[MicroService, dict[str, str], Microservice]] = {}
        self._schemas_of: dict[str, object] = {}
        self._packed: dict[tuple[str, str], InstanceKey] = {}
        self.was_read = False
        self._decoded_now = 0
        self._told: dict[str, None] = {}

    @property
    def names(self) -> Collection[ServiceName]:
        """Of all services but our helpers."""
        return self._asked.keys()

    @property
    def is_empty(self) -> bool:
        """Whether it holds no records: services that we have made for applications since gone are none."""
        return not self._shown and not self._holders

    async def refresh(self, lookup: Callable[[RecordKey], Record | None], *, is_whole: bool) -> None:
        """Ask what has changed. `lookup` knows the records that we hold. Raises StoreUnavailable."""
        listed = await self._client.services(self._tenant, self._listed)
        if is_whole or listed is not self._listed:
            self._take_services(listed)
        await self._find(lookup, is_whole=is_whole)
        if is_whole:
            await self._read_tags()
            self._tidy(lookup)
        if is_whole or self.changed or listed is not self._listed:
            self._show_services()
        await self._read_schemas()
        self._listed = listed
        self.was_read = True

    # What was just written is known before it is read

    def note_service(self, service_id: str, document: MicroService) -> None:
        self.services[service_id] = document
        self.ids[to_key(document, self._tenant)] = service_id

    def note_tags(self, service_id: str, tags: dict[str, str]) -> None:
        self._tags[service_id] = tags
        self._tags_written.add(service_id)

    def tags_of(self, service_id: str) -> dict[str, str]:
        return self._tags.get(service_id, {})

    def note_schema(self, key: SchemaId, schema: Schema | None) -> None:
        self._put_or_drop(key, schema)

    def note_packed(self, service_id: str, instance_id: str, key: InstanceKey) -> None:
        self._packed[service_id, instance_id] = key

    def forget_service(self, service_id: str) -> None:
        document = self.services.pop(service_id, None)
        if document is not None:
            self.ids.pop(to_key(document, self._tenant), None)

    # Services

    def _take_services(self, listed: ServiceList) -> None:
        self.services = {one.service_id: one for one in listed.values()}
        self.ids = {to_key(one, self._tenant): one.service_id for one in self.services.values()}
        names = {to_key(one, self._tenant).unversioned for one in self.services.values() if not _is_own(one)}
        if names != self._asked.keys():
            self._asked = {name: self._asked.get(name) or _asked_for(name) for name in names}
        for name in self._raw.keys() - names:
            self._leave(name, self._raw.pop(name).values())

    def _show_services(self) -> None:
        """Those that hold only what was born in Eureka were made by us: they are not records of anybody's."""
        with_natives = {
            key.group for key in self._records if isinstance(key, InstanceKey) and key.origin is Origin.SERVICECENTER
        }
        found = {
            service_id: self._to_microservice(service_id, document)
            for service_id, document in self.services.items()
            if not _is_own(document) and (service_id in with_natives or not _is_implied(document))
        }
        shown = {service_id: one for service_id, one in found.items() if one is not None}
        for service_id in self._shown.keys() - shown.keys():
            self._put_or_drop(self._shown[service_id][2].key, None)
            self._drop(
                [key for key in self._records if isinstance(key, SchemaId) and key.service.service_id == service_id]
            )
            self._schemas_of.pop(service_id, None)
        for _, _, record in shown.values():
            self._put_or_drop(record.key, record)
        self._shown = shown

    def _to_microservice(
        self, service_id: str, document: MicroService
    ) -> tuple[MicroService, dict[str, str], Microservice] | None:
        tags = self._tags.get(service_id, {})
        before = self._shown.get(service_id)
        if before is not None and before[0] is document and before[1] == tags:
            return before
        try:
            record = to_service(document, self._tenant, tags, 0, self._policy)
        except Exception as error:
            self._leave_out(f"service {service_id}", error)
            return None
        record = replace(
            record,
            registered_ms=_milliseconds(document.timestamp),
            updated_ms=_milliseconds(document.mod_timestamp),
        )
        return document, tags, record

    async def _read_tags(self) -> None:
        """They have no revision, and a change of theirs moves no timestamp: read with the whole only.

        Where they have to be asked for one by one, only of services that have changed.
        """
        self._tags_written.clear()
        tags = await self._client.all_tags(self._tenant)
        if tags is None:
            due = [one for one, document in self.services.items() if self._tagged.get(one) is not document]
            await asyncio.gather(*map(self._read_tags_of, due))
        else:
            self._tags = tags | {one: self._tags[one] for one in self._tags_written}

    async def _read_tags_of(self, service_id: str) -> None:
        document = self.services[service_id]
        try:
            tags = await self._client.tags_of(self._tenant, service_id)
        except ServiceNotFound:
            return
        except UpstreamRefused as error:
            self._tell_once("tags cannot be read", error)
            tags = {}
        if service_id not in self._tags_written:
            self._tags[service_id] = tags
            self._tagged[service_id] = document

    # Schemas

    async def _read_schemas(self) -> None:
        due = [one for one in self._shown if self.services.get(one) and self._state(one) != self._schemas_of.get(one)]
        await asyncio.gather(*map(self._read_schemas_of, due[:_SCHEMAS_A_READING] if self.was_read else due))

    def _state(self, service_id: str) -> object:
        """What changes when its schemas may have; None where none were ever declared."""
        document = self.services[service_id]
        return (document.mod_timestamp, frozenset(document.schemas)) if document.schemas else None

    async def _read_schemas_of(self, service_id: str) -> None:
        state = self._state(service_id)
        try:
            documents = await self._client.schemas(self._tenant, service_id)
        except ServiceNotFound:
            return
        except UpstreamRefused as error:  # some accounts may see services, but no schemas
            self._tell_once("schemas cannot be read", error)
            self._schemas_of[service_id] = state
            return
        service = ServiceId(self._tenant, service_id)
        found = {SchemaId(service, one.schema_id): one for one in documents if one.schema}
        held = [key for key in self._records if isinstance(key, SchemaId) and key.service == service]
        self._drop(key for key in held if key not in found)
        for key, one in found.items():
            self._put_or_drop(key, Schema(key=key, text=one.schema, summary=one.summary))
        self._schemas_of[service_id] = state

    # Instances

    async def _find(self, lookup: Callable[[RecordKey], Record | None], *, is_whole: bool) -> None:
        names = list(self._asked)
        asked = [_asked_for(name) for name in names] if is_whole else list(self._asked.values())
        for name, found in zip(names, await self._client.find_changed(self._tenant, asked), strict=True):
            if found is not None:
                await self._take_found(name, found, lookup)

    async def _take_found(self, name: ServiceName, found: Found, lookup: Callable[[RecordKey], Record | None]) -> None:
        before, now = self._raw.get(name, {}), dict[bytes, InstanceKey | None]()
        is_known = True
        for raw in map(bytes, found.instances):
            if raw in before:
                now[raw] = before[raw]
                continue
            self._decoded_now += 1
            if self._decoded_now % _ITEMS_A_TURN == 0:
                await asyncio.sleep(0)
            document = self._decoded(raw)
            if document is not None and document.service_id not in self.services:
                is_known = False  # its service is younger than the list that we have
                continue
            now[raw] = self._take_instance(name, document, lookup) if document is not None else None
        self._leave(name, set(before.values()) - set(now.values()))
        self._raw[name] = now
        self._asked[name] = _asked_for(name, found.rev if is_known else "")

    def _decoded(self, raw: bytes) -> MicroServiceInstance | None:
        try:
            return decode_instance(msgspec.Raw(raw))
        except Exception as error:
            self._leave_out("an instance", error)
            return None

    def _take_instance(
        self, name: ServiceName, document: MicroServiceInstance, lookup: Callable[[RecordKey], Record | None]
    ) -> InstanceKey | None:
        try:
            record = self._to_instance(document, lookup)
        except Exception as error:  # whatever one record does to us, the others are read
            self._leave_out(f"instance {document.service_id}/{document.instance_id}", error)
            return None
        self._note_truncated(record.key, document)
        self.clusters[record.key] = document.properties.get(CLUSTER, "") if is_packed(document) else ""
        holders = self._holders.setdefault(record.key, {})
        holders.pop(name, None)
        holders[name] = record
        self._put_or_drop(record.key, _latest(holders))
        return record.key

    def _note_truncated(self, key: InstanceKey, document: MicroServiceInstance) -> None:
        if not is_truncated(document):
            self.truncated.discard(key)
            return
        self.truncated.add(key)
        what = f"kept there in part, it is too large record=instance {document.service_id}/{document.instance_id}"
        self._tell_once(what, f"more than {REGISTER_BYTES} bytes")

    def _leave(self, name: ServiceName, keys: Iterable[InstanceKey | None]) -> None:
        """These are no longer listed under that name."""
        for key in keys:
            holders = self._holders.get(key) if key is not None else None
            if key is not None and holders is not None and holders.pop(name, None) is not None:
                self._put_or_drop(key, _latest(holders))
                if not holders:
                    del self._holders[key]
                    self.clusters.pop(key, None)

    def _to_instance(self, document: MicroServiceInstance, lookup: Callable[[RecordKey], Record | None]) -> Instance:
        service = to_key(self.services[document.service_id], self._tenant)
        record = unpack(self._with_marks(document, lookup), service, self._policy)
        if record is None:
            owner = Microservice(key=ServiceId(self._tenant, document.service_id), name=service)
            record = to_instance(document, owner, document.instance_id, self._policy)
        else:
            self.note_packed(document.service_id, document.instance_id, record.key)
        return replace(
            record,
            registered_ms=_milliseconds(document.timestamp),
            updated_ms=_milliseconds(document.mod_timestamp),
        )

    def _with_marks(
        self, document: MicroServiceInstance, lookup: Callable[[RecordKey], Record | None]
    ) -> MicroServiceInstance:
        """Who replaces the properties at the server, loses our marks: the id tells whose they were."""
        key = self._packed.get((document.service_id, document.instance_id))
        held = lookup(key) if key is not None and not is_packed(document) else None
        if not isinstance(held, Instance):
            return document
        own = {name: value for name, value in document.properties.items() if not name.startswith(MARKS)}
        return replace(document, properties={**own, **marks(pack(held))})

    # The records

    def _put_or_drop(self, key: RecordKey, record: Record | None) -> None:
        if record is None:
            if self._records.pop(key, None) is not None:
                self.changed.add(key)
                self.truncated.discard(key)
        elif self._records.get(key) is not record:
            self._records[key] = record
            self.changed.add(key)

    def _drop(self, keys: Iterable[RecordKey]) -> None:
        for key in keys:
            self._put_or_drop(key, None)

    def _tidy(self, lookup: Callable[[RecordKey], Record | None]) -> None:
        """Let go of what belongs to services and instances that are gone."""
        known = self.services.keys() | self._tags_written
        self._tags = {one: tags for one, tags in self._tags.items() if one in known}
        self._tagged = {one: document for one, document in self._tagged.items() if one in known}
        self._packed = {
            ids: key for ids, key in self._packed.items() if key in self._records or lookup(key) is not None
        }

    def _leave_out(self, what: str, error: Exception) -> None:
        self._tell_once(f"left out, it cannot be read record={what}", repr(error))

    def _tell_once(self, what: str, reason: object) -> None:
        if what not in self._told:
            log.warning("%s reason=%s", what, reason)
            self._told[what] = None
        if len(self._told) > _MOST_TOLD:
            del self._told[next(iter(self._told))]


def _latest(holders: dict[ServiceName, Instance]) -> Instance | None:
    return max(reversed(holders.values()), key=lambda one: one.registered_ms, default=None)


def _asked_for(name: ServiceName, rev: str = "") -> FindService:
    key = MicroServiceKey(environment=name.environment, app_id=name.app, service_name=name.name, version=ANY_VERSION)
    return FindService(service=key, rev=rev)


def _is_own(service: MicroService) -> bool:
    return service.service_name == OWN_NAME or service.properties.get(ORIGIN) == OURS


def _is_implied(service: MicroService) -> bool:
    return service.properties.get(ORIGIN) == Origin.EUREKA


def _milliseconds(text: str) -> int:
    return int(text) * 1000 if text.isdecimal() and len(text) < 16 else 0
