"""A dump into a place. What is there already stays as it is, and only what is missing is added: doing it twice does no
more than doing it once, and a dump never goes over what lives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from facade.errors import ServiceNotFound, StartRefused, UpstreamRefused
from facade.eureka.client import EurekaClient
from facade.inspection.contents import (
    Contents,
    HeldApplication,
    HeldService,
    is_eureka_born,
    is_implied,
    is_servicecenter_born,
)
from facade.inspection.listing import is_own, is_own_service, told_service
from facade.inspection.places import Kind, Place
from facade.inspection.servers import AT_ANY_PACE, TENANT, Pace, Progress, Servers, each, eureka_front, silent
from facade.inspection.unpacking import key_of, unpacked
from facade.registry.rules import Policy
from facade.servicecenter.client import ServiceCenterClient
from facade.servicecenter.records import MicroService, MicroServiceInstance, Schema


class Outcome(NamedTuple):
    """What became of one thing: it was added, was there, was left out, or was refused for a reason."""

    what: str
    state: str
    detail: str = ""


ADDED = "added"
THERE = "there already"
LEFT_OUT = "left out"
REFUSED = "refused"
STATES = (ADDED, THERE, LEFT_OUT, REFUSED)


async def restore(
    contents: Contents,
    place: Place,
    through: Servers,
    policy: Policy,
    *,
    is_dry: bool = False,
    progress: Progress = silent,
    pace: Pace = AT_ANY_PACE,
) -> list[Outcome]:
    """`place` is identified. Raises StartRefused when it cannot hold this dump, StoreUnavailable when it is away.

    A dry run asks for all that would be asked for, and tells it nothing.
    """
    refuse_foreign(contents, place)
    is_ours = place.kind is Kind.OURS
    if is_ours:
        contents = unpacked(contents, policy)
    outcomes = list(_left_out(contents, is_ours=is_ours))
    services = [held for one in contents.services if (held := _restorable(one, is_ours=is_ours))]
    applications = [held for held in contents.applications if not _is_left_out(held, is_ours=is_ours)]
    outcomes += await _restore_services(services, place, through, progress, pace, is_dry=is_dry)
    outcomes += await _restore_applications(applications, place, through, progress, pace, is_dry=is_dry)
    return outcomes


def refuse_foreign(contents: Contents, place: Place) -> None:
    """A document goes back to its own protocol; only we know how to tell it in the other one. Raises StartRefused."""
    if place.kind is Kind.FILE:
        raise StartRefused(f"{place} is a file; restore to a server")
    through_us = "restore it to a registry-facade in front of that one (http://HOST:30103)"
    if place.kind is Kind.SERVICECENTER and contents.applications:
        count = len(contents.applications)
        raise StartRefused(f"the dump holds {count} Eureka instances, and {place} is a ServiceCenter: {through_us}")
    if place.kind is Kind.EUREKA and contents.services:
        count = len(contents.services)
        raise StartRefused(f"the dump holds {count} ServiceCenter services, and {place} is a Eureka: {through_us}")
    if place.kind is Kind.EUREKA and any(held.environment for held in contents.applications):
        raise StartRefused(f"the dump tells environments apart, and {place} is a Eureka, which cannot: {through_us}")


# What is not restored


def _is_left_out(held: HeldApplication, *, is_ours: bool) -> bool:
    return is_own(held.document) or (is_ours and is_servicecenter_born(held.document))


def _restorable(held: HeldService, *, is_ours: bool) -> HeldService | None:
    """The part of a service that its owner registered: a server of ours makes the rest anew."""
    if is_own_service(held.document):
        return None
    if not is_ours:
        return held
    native = tuple(one for one in held.instances if not is_eureka_born(one))
    return held._replace(instances=native) if native or not is_implied(held.document) else None


def _left_out(contents: Contents, *, is_ours: bool) -> Iterator[Outcome]:
    """What is marked as the other protocol's but cannot be unpacked: ordinary clients may not carry such marks."""
    if not is_ours:
        return
    why = "told by the other protocol; a dump of the registry-facade itself holds it in its own"
    for held in contents.services:
        for instance in filter(is_eureka_born, held.instances):
            yield Outcome(_told(held.document, instance), LEFT_OUT, why)
    for application in contents.applications:
        if is_servicecenter_born(application.document):
            yield Outcome(f"{application.document.app} {application.document.effective_id}", LEFT_OUT, why)


# Eureka


async def _restore_applications(
    applications: Sequence[HeldApplication],
    place: Place,
    through: Servers,
    progress: Progress,
    pace: Pace,
    *,
    is_dry: bool,
) -> list[Outcome]:
    environments = {held.environment for held in applications}
    fronts = {environment: through.eureka(_front(place, environment)) for environment in environments}

    async def register(held: HeldApplication) -> Outcome:
        return await _register(held, fronts[held.environment], pace, is_dry=is_dry)

    return await each(applications, register, lambda done, total: progress("instances", done, total))


def _front(place: Place, environment: str) -> Place:
    return eureka_front(place, environment) if place.kind is Kind.OURS else place


async def _register(held: HeldApplication, client: EurekaClient, pace: Pace, *, is_dry: bool) -> Outcome:
    info = held.document
    what = f"{info.app} {info.effective_id}"
    try:
        if await client.instance(info.app, info.effective_id) is not None:
            return Outcome(what, THERE)
        if not is_dry:
            await pace.turn()
            await client.register(info)
    except UpstreamRefused as refusal:
        return Outcome(what, REFUSED, str(refusal))
    return Outcome(what, ADDED)


# ServiceCenter


async def _restore_services(
    services: Sequence[HeldService], place: Place, through: Servers, progress: Progress, pace: Pace, *, is_dry: bool
) -> list[Outcome]:
    target = _ServiceCenter(through.servicecenter(place), pace, is_dry=is_dry)
    found = await each(services, target.restore, lambda done, total: progress("services", done, total))
    return [outcome for some in found for outcome in some]


class _ServiceCenter:
    """The place to restore services to."""

    def __init__(self, client: ServiceCenterClient, pace: Pace, *, is_dry: bool) -> None:
        self._client = client
        self._pace = pace
        self._is_dry = is_dry

    async def restore(self, held: HeldService) -> list[Outcome]:
        """A service, then what belongs to it. Without the service there is nowhere to put the rest."""
        what = told_service(key_of(held.document))
        schemas: set[str] = set()
        instances: set[str] = set()
        try:
            service_id = await self._existing(held.document)
            state = THERE if service_id else ADDED
            if service_id:
                schemas, instances = await self._below(service_id)
            elif not self._is_dry:
                await self._pace.turn()
                service_id = await self._client.create_service(TENANT, held.document, held.tags)
        except (UpstreamRefused, ServiceNotFound) as refusal:
            return [Outcome(what, REFUSED, str(refusal))]
        outcomes = [Outcome(what, state)]
        for schema in held.schemas:
            put = partial(self._put_schema, service_id, schema)
            outcomes.append(await self._add(f"{what} schema {schema.schema_id}", schema.schema_id in schemas, put))
        for instance in held.instances:
            register = partial(self._register, service_id, instance)
            outcomes.append(
                await self._add(_told(held.document, instance), instance.instance_id in instances, register)
            )
        return outcomes

    async def _existing(self, document: MicroService) -> str:
        """The id of a service registered under this name; "" also where a Eureka application only implies it."""
        service_id = await self._client.existing(key_of(document))
        found = await self._client.service(TENANT, service_id) if service_id else None
        is_there = found is not None and (is_implied(document) or not is_implied(found))
        return service_id if service_id and is_there else ""

    async def _below(self, service_id: str) -> tuple[set[str], set[str]]:
        """The ids of the schemas with a content, and of the instances, that are there."""
        schemas = {schema.schema_id for schema in await self._client.schemas(TENANT, service_id) if schema.schema}
        return schemas, {one.instance_id for one in await self._client.instances(TENANT, service_id)}

    async def _add(self, what: str, is_there: bool, add: Callable[[], Awaitable[object]]) -> Outcome:
        if is_there:
            return Outcome(what, THERE)
        try:
            if not self._is_dry:
                await self._pace.turn()
                await add()
        except (UpstreamRefused, ServiceNotFound) as refusal:
            return Outcome(what, REFUSED, str(refusal))
        return Outcome(what, ADDED)

    async def _put_schema(self, service_id: str, schema: Schema) -> None:
        await self._client.put_schema(TENANT, service_id, schema.schema_id, schema.schema, schema.summary)

    async def _register(self, service_id: str, instance: MicroServiceInstance) -> None:
        # The times are the server's to set, and they count in what a registration may weigh.
        document = replace(instance, service_id="", timestamp="", mod_timestamp="", version="")
        await self._client.register(TENANT, service_id, document)


def _told(service: MicroService, instance: MicroServiceInstance) -> str:
    return f"{told_service(key_of(service))} instance {instance.instance_id}"
