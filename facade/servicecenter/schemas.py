"""Schemas: contents that a microservice's interfaces are described by.

A service declares schema ids; contents come one by one and may be missing. Clients compare both lists, so an id that
was only declared is listed without a summary, and one whose content was deleted stays declared.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from facade.errors import MalformedDocument
from facade.registry import model
from facade.registry.model import Microservice, SchemaId, ServiceId
from facade.registry.registry import Registry
from facade.registry.store import Put, Remove, Write
from facade.servicecenter import validation, wire
from facade.servicecenter.directory import Directory, turn_of_services
from facade.servicecenter.exchange import LARGE_BODY, OK, Answer, Ask, found
from facade.servicecenter.quotas import Counting
from facade.servicecenter.records import ModifySchemaRequest, ModifySchemasRequest, Schema
from facade.servicecenter.wire import Code, Refused


class Schemas:
    def __init__(self, registry: Registry, directory: Directory, counting: Counting) -> None:
        self._registry = registry
        self._counting = counting
        self._catalogue = registry.catalogue
        self._directory = directory

    async def list_all(self, ask: Ask) -> Answer:
        """Declared ids first, in their order. Without a content there is no summary."""
        with_content = ask.query.get("withSchema", "0")
        if with_content not in ("0", "1", ""):
            raise MalformedDocument("parameter withSchema must be 1 or 0")
        (service_id,) = ask.ids
        validation.check("GetAllSchemaRequest.ServiceId", service_id, validation.REQUIRED_ID)
        service = self._directory.expected(ServiceId(ask.tenant, service_id))
        listed = self.listed(service, with_text=with_content == "1")
        return found({"schemas": listed} if listed else {})

    def listed(self, service: Microservice, *, with_text: bool) -> list[Schema]:
        held = {schema.key.schema_id: schema for schema in self._catalogue.schemas_of(service.key)}
        listed = []
        for schema_id in dict.fromkeys(service.schemas):
            schema = held.get(schema_id)
            summary, text = (schema.summary, schema.text) if schema else ("", "")
            listed.append(Schema(schema_id=schema_id, summary=summary, schema=text if with_text else ""))
        return listed

    async def show(self, ask: Ask) -> Answer:
        key = _key(ask)
        validation.check("GetSchemaRequest.ServiceId", key.service.service_id, validation.REQUIRED_ID)
        validation.check("GetSchemaRequest.SchemaId", key.schema_id, validation.SCHEMA_ID)
        self._directory.expected(key.service)
        schema = self._catalogue.schema(key)
        if schema is None:
            raise Refused(Code.SCHEMA_NOT_EXISTS, "schema ref not found.")
        return found({"schema": schema.text})._replace(headers=((b"X-Schema-Summary", schema.summary.encode()),))

    async def put(self, ask: Ask) -> Answer:
        """Store a content under its id, and declare the id. The service's modTimestamp stays."""
        key = _key(ask)
        request = wire.decode(ModifySchemaRequest, await ask.body(LARGE_BODY))
        validation.check("ModifySchemaRequest.ServiceId", key.service.service_id, validation.REQUIRED_ID)
        validation.check_schema(key.schema_id, request)

        def decide() -> Sequence[Write]:
            service, first = self._directory.writable(key.service)
            content = Put(model.Schema(key=key, text=request.schema, summary=request.summary))
            self._counting.admit_schema(service, key.schema_id)
            if key.schema_id in service.schemas and not first:
                return [content]
            return [*first, Put(replace(service, schemas=_with(service.schemas, key.schema_id))), content]

        await self._registry.transact(turn_of_services(ask.tenant), decide)
        return OK

    async def replace_all(self, ask: Ask) -> Answer:
        """Declare and store exactly these."""
        service_id = ServiceId(ask.tenant, ask.ids[0])
        request = wire.decode(ModifySchemasRequest, await ask.body(LARGE_BODY))
        validation.check_schemas(service_id.service_id, request, self._counting.quotas.schemas)
        contents = {
            schema.schema_id: model.Schema(
                key=SchemaId(service_id, schema.schema_id), text=schema.schema, summary=schema.summary
            )
            for schema in request.schemas
        }

        def decide() -> Sequence[Write]:
            service, first = self._directory.writable(service_id)
            gone = [
                Remove(schema.key)
                for schema in self._catalogue.schemas_of(service_id)
                if schema.key.schema_id not in contents
            ]
            return [*first, *gone, Put(replace(service, schemas=tuple(contents))), *map(Put, contents.values())]

        await self._registry.transact(turn_of_services(ask.tenant), decide)
        return OK

    async def delete(self, ask: Ask) -> Answer:
        key = _key(ask)
        validation.check("DeleteSchemaRequest.ServiceId", key.service.service_id, validation.REQUIRED_ID)
        validation.check("DeleteSchemaRequest.SchemaId", key.schema_id, validation.SCHEMA_ID)

        def decide() -> Sequence[Write]:
            self._directory.expected(key.service)
            if self._catalogue.schema(key) is None:
                raise Refused(Code.SCHEMA_NOT_EXISTS, "schema ref not found.")
            return [Remove(key)]

        await self._registry.transact(turn_of_services(ask.tenant), decide)
        return OK


def _key(ask: Ask) -> SchemaId:
    service_id, schema_id = ask.ids
    return SchemaId(ServiceId(ask.tenant, service_id), schema_id)


def _with(schemas: tuple[str, ...], schema_id: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*schemas, schema_id)))
