"""Asking a place what it holds and telling it what to hold: calls only, through the clients of the two rooms.

What a place of ours is asked for is the tenant default/default, with all environments.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar
from urllib.parse import quote

import httpx
import msgspec

from facade.clock import Clock, SystemClock
from facade.errors import (
    FacadeError,
    ServiceNotFound,
    StartRefused,
    StoreUnavailable,
    UpstreamRefused,
)
from facade.eureka.client import EurekaClient
from facade.inspection import dumps
from facade.inspection.contents import (
    Contents,
    HeldApplication,
    HeldService,
    environments_with_eureka,
    without_projections,
)
from facade.inspection.places import PLACES, Kind, Place
from facade.inspection.readiness import Readiness, ask_readiness
from facade.outbound import Outbound, Reply
from facade.registry.model import Tenant
from facade.servicecenter import answers
from facade.servicecenter.client import ServiceCenterClient
from facade.servicecenter.records import MicroService
from facade.tls import Trust

TENANT = Tenant()
AT_ONCE = 16
OUR_BUILD = "registry-facade"

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is, and how much there is."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

log = logging.getLogger(__name__)


def silent(_what: str, _done: int, _total: int) -> None:
    """Nobody is looking."""


class Version(answers.Version, frozen=True):
    """What a ServiceCenter says of itself, and ours, too."""

    build_tag: str = ""

    @property
    def is_ours(self) -> bool:
        return self.build_tag == OUR_BUILD

    @property
    def product(self) -> str:
        """Ours states the release that it stands in for, not its own."""
        return f"{'registry-facade as ' if self.is_ours else ''}ServiceCenter {self.version}".rstrip()


class Servers:
    """Opens clients, and closes them all at the end. `transport` is for tests."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        trust: Trust | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self._transport = transport
        self._trust = trust
        self._stack = AsyncExitStack()

    async def close(self) -> None:
        await self._stack.aclose()

    def eureka(self, place: Place) -> EurekaClient:
        return EurekaClient(self._outbound(place.bases, place.credentials))

    def servicecenter(self, place: Place) -> ServiceCenterClient:
        return ServiceCenterClient(self._outbound(place.bases), place.credentials, self.clock)

    def plain(self, bases: Sequence[str], credentials: tuple[str, str] | None = None) -> Outbound:
        return self._outbound(bases, credentials)

    async def readiness(self, place: Place) -> Readiness | None:
        """None for a server that does not tell in a way that we know."""
        try:
            return await ask_readiness(self._outbound(place.bases))
        except StoreUnavailable:
            return None

    def _outbound(self, bases: Sequence[str], credentials: tuple[str, str] | None = None) -> Outbound:
        outbound = Outbound(bases, auth=credentials, trust=self._trust, clock=self.clock, transport=self._transport)
        self._stack.push_async_callback(outbound.close)
        return outbound


@asynccontextmanager
async def servers(
    transport: httpx.AsyncBaseTransport | None = None, trust: Trust | None = None
) -> AsyncIterator[Servers]:
    opened = Servers(transport, trust=trust)
    try:
        yield opened
    finally:
        await opened.close()


# What it is


async def identified(place: Place, through: Servers) -> Place:
    """A place whose kind is known. Raises StartRefused for a server that is neither of the two."""
    if place.kind is not Kind.TO_BE_ASKED:
        return place
    told = await version_of(place.bases, through)
    if told is None:
        raise StartRefused(f"{place} does not say what it is; name it as one of {PLACES}")
    return place._replace(kind=Kind.OURS if told.is_ours else Kind.SERVICECENTER)


async def version_of(bases: Sequence[str], through: Servers) -> Version | None:
    """What /version says; None for a server that knows no such thing. Raises StoreUnavailable."""
    return await through.plain(bases).ask("GET", "/version", read_version)


def read_version(reply: Reply) -> Version | None:
    """None for an answer that neither a ServiceCenter nor a server of ours gives."""
    try:
        return _version_decoder.decode(reply.body) if reply.status == 200 else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


_version_decoder = msgspec.json.Decoder(Version)


# Reading


async def read(place: Place, through: Servers, progress: Progress = silent) -> Contents:
    """All that a place holds. Raises StoreUnavailable when it cannot be asked, StartRefused for a bad file."""
    place = await identified(place, through)
    if place.kind is Kind.FILE:
        return dumps.read(place.path)
    try:
        return await _read_server(place, through, progress)
    except StoreUnavailable as error:
        if any(base in str(error) for base in place.bases):
            raise
        raise StoreUnavailable(f"{place}: {error}") from None


async def _read_server(place: Place, through: Servers, progress: Progress) -> Contents:
    contents = Contents(str(place), await _product(place, through), through.clock.now_ms())
    if place.kind is not Kind.EUREKA:
        services = await _services(through.servicecenter(place), progress)
        contents = contents._replace(services=services, speaks_servicecenter=True)
    if place.kind is not Kind.SERVICECENTER:
        contents = contents._replace(applications=await _applications(place, contents, through), speaks_eureka=True)
    return without_projections(contents) if place.kind is Kind.OURS else contents


def eureka_front(place: Place, environment: str = "") -> Place:
    """Where a place of ours answers Eureka's clients of one environment."""
    path = f"/t/{TENANT.domain}/{TENANT.project}/{quote(environment, safe='')}/eureka" if environment else "/eureka"
    return place._replace(kind=Kind.EUREKA, bases=tuple(base + path for base in place.bases))


async def _applications(place: Place, contents: Contents, through: Servers) -> tuple[HeldApplication, ...]:
    fronts = {"": place}
    if place.kind is Kind.OURS:
        environments = ["", *environments_with_eureka(contents.services)]
        fronts = {environment: eureka_front(place, environment) for environment in environments}
    found: list[HeldApplication] = []
    for environment, front in fronts.items():
        listing = await through.eureka(front).applications()
        found += [HeldApplication(info, environment) for info in listing.instances]
    return tuple(sorted(found, key=lambda held: (held.environment, held.document.app, held.document.effective_id)))


async def _services(client: ServiceCenterClient, progress: Progress) -> tuple[HeldService, ...]:
    documents = (await client.services(TENANT)).values()
    tags = await _tags(client, documents)

    async def held(document: MicroService) -> HeldService | None:
        service_id = document.service_id
        try:
            instances = await client.instances(TENANT, service_id)
            schemas = await client.schemas(TENANT, service_id) if document.schemas else ()
        except ServiceNotFound:  # gone since it was listed
            return None
        except UpstreamRefused as error:  # its id can stand in no address: all that can be told of it is in the list
            log.warning("cannot be asked for in full service=%r reason=%s", service_id[:60], error)
            instances, schemas = (), ()
        with_content = (schema for schema in schemas if schema.schema)
        return HeldService(
            document,
            tags.get(service_id, {}),
            tuple(sorted(with_content, key=lambda schema: schema.schema_id)),
            tuple(sorted(instances, key=lambda one: one.instance_id)),
        )

    found = await each(
        documents, held, lambda done, total: progress(f"services of {client.outbound.bases[0]}", done, total)
    )
    return tuple(sorted((one for one in found if one), key=lambda one: one.document.service_id))


async def _tags(client: ServiceCenterClient, services: Iterable[MicroService]) -> dict[str, dict[str, str]]:
    """By serviceId: in one call where the server has the governance views, else one by one."""
    tags = await client.all_tags(TENANT)
    if tags is not None:
        return tags

    async def ask(service: MicroService) -> tuple[str, dict[str, str]]:
        try:
            return service.service_id, await client.tags_of(TENANT, service.service_id)
        except ServiceNotFound:  # gone since it was listed
            return service.service_id, {}

    return dict(await each(services, ask))


async def _product(place: Place, through: Servers) -> str:
    if place.kind is Kind.EUREKA:
        return "Eureka"  # it tells nobody its version
    told = await version_of(place.bases, through)
    return str(place.kind) if told is None else told.product


# Many calls


class Pace:
    """So many turns a second at most, evenly; 0 for as many as are asked for."""

    def __init__(self, rate: float) -> None:
        self._each_s = 1 / rate if rate else 0.0
        self._next_s = 0.0

    async def turn(self) -> None:
        if self._each_s:
            now_s = asyncio.get_running_loop().time()
            at_s = max(self._next_s, now_s)
            self._next_s = at_s + self._each_s
            await asyncio.sleep(at_s - now_s)


AT_ANY_PACE = Pace(0)


async def each(
    items: Iterable[_Item],
    act: Callable[[_Item], Awaitable[_Result]],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[_Result]:
    """The results for all items, in their order; so many calls are under way at once that neither side is flooded."""
    waiting = list(items)
    total, done, turn = len(waiting), 0, asyncio.Semaphore(AT_ONCE)

    async def one(item: _Item) -> _Result:
        nonlocal done
        async with turn:
            result = await act(item)
        done += 1
        progress(done, total)
        return result

    tasks: list[asyncio.Task[_Result]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in waiting]
    except* FacadeError as failures:  # one is enough to tell
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
