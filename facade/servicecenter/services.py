"""Microservices and their tags: existence, creation, reading, properties, deletion.

In:   one request each. Out: one call to the registry, or one look at the directory.
Rules: what decides on a write decides when the write has its turn; all writes of one tenant's services take turns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from facade.access.control import require, require_all
from facade.access.rules import Grant, Labels
from facade.errors import FacadeError, MalformedDocument, ServiceNotFound
from facade.registry.model import (
    ConsumerId,
    Microservice,
    SchemaId,
    ServiceId,
    ServiceKey,
    ServiceName,
)
from facade.registry.registry import Registry
from facade.registry.rules import ordinary
from facade.registry.store import Put, Remove, Write
from facade.servicecenter import validation, wire
from facade.servicecenter.directory import Directory, turn_of_services
from facade.servicecenter.exchange import LARGE_BODY, OK, SMALL_BODY, Answer, Ask, found
from facade.servicecenter.instances import Instances
from facade.servicecenter.mapping import from_service, to_service
from facade.servicecenter.quotas import Counting
from facade.servicecenter.records import (
    AddServiceTagsRequest,
    CreateServiceRequest,
    DelServicesRequest,
    DelServicesRspInfo,
    UpdateServicePropsRequest,
)
from facade.servicecenter.wire import Code, Refused

_ID_CONFLICT = "ServiceID conflict or found the same service with different id."
_DERIVED_ID = re.compile(r"[0-9a-f]{40}")


class Services:
    def __init__(self, registry: Registry, directory: Directory, instances: Instances, counting: Counting) -> None:
        self._registry = registry
        self._counting = counting
        self._catalogue = registry.catalogue
        self._directory = directory
        self._instances = instances

    async def exists(self, ask: Ask) -> Answer:
        """Which id a name has, or which summary a schema has: what clients ask before they register."""
        kind = ask.query.get("type")
        if kind == "microservice":
            return found({"serviceId": self._existing(ask)})
        if kind == "schema":
            return self._existing_schema(ask)
        raise MalformedDocument("Only micro-service and schema can be used as type.")

    def _existing(self, ask: Ask) -> str:
        query = ask.query
        key = ServiceKey(
            *ask.tenant,
            query.get("env", ""),
            query.get("appId", ""),
            query.get("serviceName", ""),
            query.get("version", ""),
        )
        validation.check("GetExistenceRequest.AppId", key.app, validation.REQUIRED_APP)
        validation.check("GetExistenceRequest.ServiceName", key.name, validation.NAME_OR_ALIAS)
        validation.check("GetExistenceRequest.Version", key.version, validation.REQUIRED_VERSION)
        validation.check("GetExistenceRequest.Environment", key.environment, validation.ENVIRONMENT)
        self._directory.require_named(ask.grant, key.unversioned)
        service_id = self._directory.existing_id(key)
        if service_id is not None:
            return service_id
        path = f"{key.environment}/{key.app}/{key.name}/{key.version}"
        if self._directory.named(key.unversioned):
            raise Refused(Code.VERSION_NOT_EXISTS, f"{path} version mismatch.")
        raise ServiceNotFound(f"{path} does not exist.")

    def _existing_schema(self, ask: Ask) -> Answer:
        service_id, schema_id = ask.query.get("serviceId", ""), ask.query.get("schemaId", "")
        validation.check("GetSchemaRequest.ServiceId", service_id, validation.REQUIRED_ID)
        validation.check("GetSchemaRequest.SchemaId", schema_id, validation.SCHEMA_ID)
        key = ServiceId(ask.tenant, service_id)
        self._directory.require(ask.grant, key)
        self._directory.expected(key, "service does not exist.")
        schema = self._catalogue.schema(SchemaId(key, schema_id))
        if schema is None:
            raise Refused(Code.SCHEMA_NOT_EXISTS, "schema ref not found.")
        answer = found({"serviceId": service_id, "schemaId": schema_id})
        return answer._replace(headers=((b"X-Schema-Summary", schema.summary.encode()),))

    # Creation

    async def create(self, ask: Ask) -> Answer:
        """A new microservice, or the id of the one that has this name and version; that one is left as it is.

        Tags and instances come after: when they are refused, the service stays.
        """
        request = wire.decode(CreateServiceRequest, await ask.body(LARGE_BODY))
        document = request.service
        if document is None:
            raise MalformedDocument("Request body is empty")
        validation.check_service(document, self._counting.quotas.schemas)
        wanted = to_service(document, ask.tenant, {}, self._registry.clock.now_ms(), self._registry.policy)
        require(ask.grant, *_claimed(wanted))
        if _DERIVED_ID.fullmatch(document.service_id) and document.service_id != wanted.name.derived_id:
            require_all(ask.grant)  # that of another name, whoever has it or will come to have it
        held = self._held_at(wanted.name, document.service_id)
        if held is None:
            await self._registry.transact(
                turn_of_services(ask.tenant), lambda: self._creation(wanted, document.service_id)
            )
            held = self._held_at(wanted.name, document.service_id) or wanted
        faults = await self._add_to(held.key, request, ask.address)
        if faults:
            raise MalformedDocument(f"errMessages: [{' '.join(faults)}]")
        return found({"serviceId": held.key.service_id})

    def _creation(self, wanted: Microservice, stated_id: str) -> Sequence[Write]:
        if self._held_at(wanted.name, stated_id) is not None:
            return ()
        if self._catalogue.service(wanted.key) is not None or wanted.key.service_id == self._directory.own.service_id:
            raise Refused(Code.SERVICE_EXISTS, _ID_CONFLICT)
        if wanted.alias:
            alias = wanted.name.unversioned._replace(name=wanted.alias)
            namesakes = self._catalogue.aliased(alias)
            if any(one.name.name != wanted.name.name for one in namesakes):
                # The original hands out the id of that other service here.
                raise Refused(Code.SERVICE_EXISTS, f"alias {wanted.alias} belongs to another service.")
        self._counting.admit_service(wanted)
        return [*self._relied_on(wanted.name.unversioned), Put(wanted)]

    def _relied_on(self, name: ServiceName) -> Sequence[Write]:
        """An application that consumers know by the name of the service to come stays visible beside it (N7).

        Who asked for it before it was there had nothing to rely on yet, but has been told by the watch since.
        """
        face = self._registry.faces.to_use(name) if self._catalogue.consumers(name) else None
        return [Put(face)] if face is not None else ()

    def _held_at(self, key: ServiceKey, stated_id: str) -> Microservice | None:
        held = self._catalogue.service_at(key)
        if held is not None and stated_id not in ("", held.key.service_id):
            raise Refused(Code.SERVICE_EXISTS, _ID_CONFLICT)
        return held

    async def _add_to(self, service_id: ServiceId, request: CreateServiceRequest, address: str) -> list[str]:
        faults = []
        try:
            if request.tags:
                validation.check_tags(request.tags, self._counting.quotas.tags)
                await self._change(service_id, lambda service: replace(service, tags=request.tags))
        except FacadeError as error:  # told below, together with what else failed
            faults.append(wire.told(error))
        for instance in request.instances:
            try:
                await self._instances.enter(service_id, instance, address)
            except FacadeError as error:
                faults.append(wire.told(error))
        return faults

    # Reading

    async def list_all(self, ask: Ask) -> Answer:
        services = self._directory.services(ask.tenant, with_shared=ask.flag("withShared"), grant=ask.grant)
        return found({"services": [from_service(service) for service in services]} if services else {})

    async def show(self, ask: Ask) -> Answer:
        (service_id,) = ask.ids
        validation.check("GetServiceRequest.ServiceId", service_id, validation.REQUIRED_ID)
        return found({"service": from_service(self._directory.expected(ServiceId(ask.tenant, service_id)))})

    # Changes

    async def set_properties(self, ask: Ask) -> Answer:
        """Replace all properties. What else a client sends along, ids included, does not count: the path does."""
        (service_id,) = ask.ids
        properties = wire.decode(UpdateServicePropsRequest, await ask.body(SMALL_BODY)).properties
        validation.check("UpdateServicePropsRequest.ServiceId", service_id, validation.REQUIRED_ID)
        properties = ordinary(properties, self._registry.policy)
        now_ms = self._registry.clock.now_ms()
        await self._change(
            ServiceId(ask.tenant, service_id),
            lambda service: replace(service, properties=properties, updated_ms=now_ms),
        )
        return OK

    async def _change(self, service_id: ServiceId, how: Callable[[Microservice], Microservice]) -> None:
        def decide() -> Sequence[Write]:
            service, first = self._directory.writable(service_id)
            return [*first, Put(how(service))]

        await self._registry.transact(turn_of_services(service_id.tenant), decide)

    # Tags

    async def add_tags(self, ask: Ask) -> Answer:
        """Replace all tags."""
        (service_id,) = ask.ids
        tags = wire.decode(AddServiceTagsRequest, await ask.body(LARGE_BODY)).tags
        validation.check("AddServiceTagsRequest.ServiceId", service_id, validation.REQUIRED_ID)
        validation.check_tags(tags, self._counting.quotas.tags)
        await self._change(ServiceId(ask.tenant, service_id), lambda service: replace(service, tags=tags))
        return OK

    async def show_tags(self, ask: Ask) -> Answer:
        (service_id,) = ask.ids
        validation.check("GetServiceTagsRequest.ServiceId", service_id, validation.REQUIRED_ID)
        service = self._directory.expected(ServiceId(ask.tenant, service_id))
        return found({"tags": service.tags} if service.tags else {})

    async def set_tag(self, ask: Ask) -> Answer:
        service_id, name = ask.ids
        value = ask.query.get("value", "")
        validation.check("UpdateServiceTagRequest.ServiceId", service_id, validation.REQUIRED_ID)
        validation.check("UpdateServiceTagRequest.Key", name, validation.TAG)
        validation.check("UpdateServiceTagRequest.Value", value, validation.TAG)

        def retag(service: Microservice) -> Microservice:
            if name not in service.tags:
                raise Refused(Code.TAG_NOT_EXISTS, "Tag does not exist, please add one first.")
            return replace(service, tags={**service.tags, name: value})

        await self._change(ServiceId(ask.tenant, service_id), retag)
        return OK

    async def drop_tags(self, ask: Ask) -> Answer:
        """All of a comma list, or none."""
        service_id, listed = ask.ids
        names = listed.split(",")
        validation.check("DeleteServiceTagsRequest.ServiceId", service_id, validation.REQUIRED_ID)
        for name in names:
            validation.check("DeleteServiceTagsRequest.Keys", name, validation.TAG)

        def untag(service: Microservice) -> Microservice:
            for name in names:
                if name not in service.tags or names.count(name) > 1:  # gone after the first time
                    raise Refused(Code.TAG_NOT_EXISTS, f"Delete tags failed for this key {name} does not exist.")
            return replace(service, tags={name: value for name, value in service.tags.items() if name not in names})

        await self._change(ServiceId(ask.tenant, service_id), untag)
        return OK

    # Deletion

    async def delete(self, ask: Ask) -> Answer:
        (service_id,) = ask.ids
        force = ask.query.get("force", "")
        if force not in ("", "true", "1", "false", "0"):
            raise MalformedDocument("parameter force must be false or true")
        validation.check("DeleteServiceRequest.ServiceId", service_id, validation.REQUIRED_ID)
        await self._end(ServiceId(ask.tenant, service_id), ask.grant, force=force in ("true", "1"))
        return OK

    async def delete_many(self, ask: Ask) -> Answer:
        """Each by itself, in the order of the request; the answer tells which could not be deleted."""
        request = wire.decode(DelServicesRequest, await ask.body(LARGE_BODY))
        validation.check_deletions(request)
        self._directory.require_any(
            ask.grant, (ServiceId(ask.tenant, service_id) for service_id in request.service_ids)
        )
        results = []
        for service_id in dict.fromkeys(request.service_ids):
            fault = ""
            try:
                self._directory.require(ask.grant, ServiceId(ask.tenant, service_id))
                await self._end(ServiceId(ask.tenant, service_id), ask.grant, force=request.force)
            except FacadeError as error:
                fault = wire.told(error)
            results.append(DelServicesRspInfo(service_id=service_id, err_message=fault))
        return found({"services": results})

    async def _end(self, service_id: ServiceId, grant: Grant, *, force: bool) -> None:
        """Take a service away, with its instances first: watchers hear of each."""
        if service_id.service_id == self._directory.own.service_id:
            raise MalformedDocument("not allow to delete service center")
        service = self._directory.expected(service_id)
        if not force:
            self._refuse_while_used(service)
        else:
            await self._instances.end_all(service_id, grant)

        def decide() -> Sequence[Write]:
            if self._catalogue.service(service_id) is None:
                return ()
            if not force:
                self._refuse_while_used(service)
            schemas = [Remove(schema.key) for schema in self._catalogue.schemas_of(service_id)]
            return [*schemas, Remove(ConsumerId(service_id)), Remove(service_id)]

        await self._registry.transact(turn_of_services(service_id.tenant), decide)
        if self._catalogue.in_service(service_id):  # registered at another node while this one was writing
            await self._instances.end_all_of(service_id)

    def _refuse_while_used(self, service: Microservice) -> None:
        if any(one.key != service.key for one in self._directory.consumers(service)):
            raise Refused(Code.SERVICE_HAS_CONSUMERS, "Can not delete this service, other service rely it.")
        stored = self._catalogue.service(service.key)
        has_instances = (
            bool(self._catalogue.in_service(service.key)) if stored else bool(self._instances.shown_under(service.key))
        )
        if has_instances:
            raise Refused(Code.SERVICE_HAS_INSTANCES, "Can not delete the service deployed instance(s).")


def _claimed(service: Microservice) -> list[Labels]:
    """The names by which a new service would be found: its own, and an alias, unless that only repeats it."""
    own = Labels.of(service.name)
    if service.alias in ("", own.name, f"{own.app}:{own.name}"):
        return [own]
    return [own, own._replace(name=service.alias)]
