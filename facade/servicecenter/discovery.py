"""Who finds whom: by name, by id, many at once; and the dependencies that follow from it.

In:   a question, and often the consumer's own serviceId; its environment then counts instead of the one asked for.
Out:  kept documents, or 304 when the asker's revision is still the present one.
Rules: a consumer's wish for a provider is recorded before it is answered, also for one that is not there yet: from then
      on its watch tells of every change, and there is no moment in between that it could miss.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from facade.access.rules import Labels
from facade.errors import FacadeError, MalformedDocument, ServiceNotFound, StoreUnavailable
from facade.registry.model import ConsumerId, Dependencies, Microservice, ServiceId, ServiceName
from facade.registry.registry import Registry
from facade.registry.store import Put, Write
from facade.registry.views import Shown, View
from facade.servicecenter import validation, wire
from facade.servicecenter.directory import Consumer, Directory
from facade.servicecenter.documents import Document, Documents, Listing
from facade.servicecenter.exchange import JSON_TYPE, LARGE_BODY, OK, Answer, Ask, found
from facade.servicecenter.mapping import from_service
from facade.servicecenter.pace import Pace
from facade.servicecenter.records import (
    AddDependenciesRequest,
    BatchFindInstancesRequest,
    ConsumerDependency,
    Error,
    FindFailedResult,
    MicroServiceKey,
)
from facade.servicecenter.wire import Code, Refused

MOST_PROVIDERS = 2_000
"""Dependencies kept of one consumer: it chooses the names, so this bounds what a stranger can make us keep."""

_DEPRECATED = (b"Deprecation", b'version="v4"')

log = logging.getLogger(__name__)


class _Wish(NamedTuple):
    consumer: Consumer
    name: ServiceName
    dependent: Microservice | None
    """Whose dependency it becomes: the consumer's, if the asker's account reaches that service."""


class _Seen(NamedTuple):
    """What one asker finds, before it is written out."""

    identity: Hashable
    revision: int
    shown: Sequence[Shown]


class Discovery:
    def __init__(self, registry: Registry, directory: Directory, documents: Documents) -> None:
        self._registry = registry
        self._catalogue = registry.catalogue
        self._directory = directory
        self._documents = documents

    # By name

    async def find(self, ask: Ask) -> Answer:
        """All instances of all versions. The version asked for is ignored, as the original does since 2.1."""
        wish = self._wish(ask, self._asked(ask))
        await self._note([wish], ask.tags)
        return self._find(ask, wish)

    def finds(self, ask: Ask) -> Callable[[], Answer | None]:
        """The same at once, as often as it is asked; None while there is something to record first."""
        asked = self._asked(ask)

        def find() -> Answer | None:
            wish = self._wish(ask, asked)
            return self._find(ask, wish) if self._is_recorded(wish, ask.tags) else None

        return find

    def _asked(self, ask: Ask) -> MicroServiceKey:
        query = ask.query
        asked = MicroServiceKey(
            environment=query.get("env", ""),
            app_id=query.get("appId", ""),
            service_name=query.get("serviceName", ""),
        )
        validation.check("FindInstancesRequest.ConsumerServiceId", ask.consumer_id, validation.ID)
        validation.check_find(asked, ask.tags_asked)
        return asked

    def _find(self, ask: Ask, wish: _Wish) -> Answer:
        return self._answer(ask, self._listing(ask, self._found(ask, wish), is_gzipped=ask.accepts_gzip))

    def _wish(self, ask: Ask, asked: MicroServiceKey) -> _Wish:
        consumer = self._directory.consumer(ask.tenant, ask.consumer_id, asked.environment)
        name = ServiceName(*ask.tenant, consumer.environment, asked.app_id, asked.service_name)
        self._directory.require_named(ask.grant, name)  # in the consumer's own environment, whatever it asked for
        service = consumer.service
        is_own = service is not None and ask.grant.fits(Labels.of(service.name))
        return _Wish(consumer, name, service if is_own else None)

    def _found(self, ask: Ask, wish: _Wish) -> _Seen:
        consumer, name, _ = wish
        view = self._directory.find(name)
        if view is None:
            path = f"{name.environment}/{name.app}/{name.name}"
            raise ServiceNotFound(f"{consumer} find provider[{path}] failed, provider does not exist")
        return self._seen(ask, consumer, name, view)

    async def find_many(self, ask: Ask) -> Answer:
        """Many names and many instances in one request, each with the revision that the asker holds."""
        action = ask.query.get("type", "")
        if action != "query":
            raise MalformedDocument(f"Invalid action: {action}")
        request = wire.unmarshal(BatchFindInstancesRequest, await ask.body(LARGE_BODY))
        validation.check_batch_find(ask.consumer_id, request)
        services, instances, pace = _Batch(), _Batch(), Pace()
        wishes = {}
        for index, wanted in enumerate(request.services):
            if pace.is_due:
                await pace.rest()
            try:
                assert wanted.service is not None, "validated"
                wishes[index] = self._wish(ask, wanted.service)
            except FacadeError as error:
                services.fail(index, error)
        await self._note(wishes.values(), frozenset())
        for index, wish in wishes.items():
            if pace.is_due:
                await pace.rest()
            try:
                services.add(index, request.services[index].rev, self._listing(ask, self._found(ask, wish)))
            except FacadeError as error:
                services.fail(index, error)
        for index, other in enumerate(request.instances):
            if pace.is_due:
                await pace.rest()
            try:
                assert other.instance is not None, "validated"
                key = ServiceId(ask.tenant, other.instance.service_id)
                self._directory.require(ask.grant, key)
                one = self._one(ask, key, other.instance.instance_id)
                instances.add_body(index, other.rev, one.token, b'{"instances":[' + one.body + b"]}")
            except FacadeError as error:
                instances.fail(index, error)
        halves = {"services": services.result(), "instances": instances.result()}
        return found({half: result for half, result in halves.items() if result})

    # By id

    async def list_instances(self, ask: Ask) -> Answer:
        """All instances of one microservice."""
        (service_id,) = ask.ids
        validation.check("GetInstancesRequest.ConsumerServiceId", ask.consumer_id, validation.ID)
        validation.check("GetInstancesRequest.ProviderServiceId", service_id, validation.REQUIRED_ID)
        validation.check_each("GetInstancesRequest.Tags", ask.tags_asked, validation.TAG)
        key = ServiceId(ask.tenant, service_id)
        consumer, provider = self._pair(ask, key)
        view = self._directory.instances(key)
        if view is None or not self._directory.sees(consumer, provider) or not ask.tags <= provider.tags.keys():
            raise ServiceNotFound(
                f"{consumer} find {_provider(provider)} instances failed, provider instance does not exist"
            )
        return self._answer(ask, self._listing(ask, self._seen(ask, consumer, key, view), is_gzipped=ask.accepts_gzip))

    async def show_instance(self, ask: Ask) -> Answer:
        service_id, instance_id = ask.ids
        validation.check("GetOneInstanceRequest.ConsumerServiceId", ask.consumer_id, validation.ID)
        validation.check("GetOneInstanceRequest.ProviderServiceId", service_id, validation.REQUIRED_ID)
        validation.check("GetOneInstanceRequest.ProviderInstanceId", instance_id, validation.REQUIRED_INSTANCE_ID)
        validation.check_each("GetOneInstanceRequest.Tags", ask.tags_asked, validation.TAG)
        one = self._one(ask, ServiceId(ask.tenant, service_id), instance_id)
        return _conditional(ask, one.token, Answer(200, JSON_TYPE, b'{"instance":' + one.body + b"}"))

    async def own_instances(self, ask: Ask) -> Answer:
        """ServiceCenter's own; none when it knows no address of its own that clients could reach."""
        own = self._directory.own
        listing = self._listing(ask, _Seen(own.service.key, own.view.revision, own.view.shown))
        return Answer(200, JSON_TYPE, listing.rendered.body)

    def _one(self, ask: Ask, key: ServiceId, instance_id: str) -> Document:
        consumer, provider = self._pair(ask, key)
        shown = self._directory.instance(key, instance_id)
        if (
            shown is None
            or not self._directory.sees(consumer, provider)
            or not self._directory.visible(consumer, ask.tenant, [shown.service_id], ask.tags)
        ):
            asked = f"{_provider(provider)} instance[{instance_id}]"
            detail = f"{consumer} find {asked} failed, provider instance does not exist"
            raise Refused(Code.INSTANCE_NOT_EXISTS, detail)
        return self._documents.instance(shown, hides_out_of_service=ask.hides_out_of_service)

    def _pair(self, ask: Ask, key: ServiceId) -> tuple[Consumer, Microservice]:
        consumer = self._directory.consumer(ask.tenant, ask.consumer_id)
        return consumer, self._directory.expected(key, f"Provider[{key.service_id}] does not exist.")

    # What is seen, written out

    def _seen(self, ask: Ask, consumer: Consumer, identity: Hashable, view: View) -> _Seen:
        """Most consumers see all there is, and share one document; the others share one per group and tags."""
        visible = self._directory.visible(consumer, ask.tenant, view.service_ids, ask.tags)
        if visible == view.service_ids:
            return _Seen(identity, view.revision, view.shown)
        shown = [one for one in view.shown if one.service_id in visible]
        return _Seen((identity, tuple(sorted(visible))), view.revision, shown)

    def _listing(self, ask: Ask, seen: _Seen, *, is_gzipped: bool = False) -> Listing:
        return self._documents.listing(
            seen.identity,
            seen.revision,
            seen.shown,
            hides_out_of_service=ask.hides_out_of_service,
            is_gzipped=is_gzipped,
        )

    def _answer(self, ask: Ask, listing: Listing) -> Answer:
        rendered = listing.rendered
        return _conditional(ask, listing.token, Answer(200, JSON_TYPE, rendered.body, is_gzipped=rendered.is_gzipped))

    # Dependencies

    async def _note(self, wishes: Iterable[_Wish], tags: frozenset[str]) -> None:
        """Record what one consumer wishes for, where it may see that, before it is told what there is.

        A store that takes no writes must not empty the answers: then the next poll tries again.
        """
        wishes = [wish for wish in wishes if self._directory.is_noted(wish.consumer, wish.name, tags)]
        try:
            await self._depend(wishes)
            for wish in wishes:
                await self._registry.rely_on(wish.name)
        except StoreUnavailable as error:
            log.warning("dependencies not recorded names=%s reason=%s", [wish.name.name for wish in wishes], error)

    def _is_recorded(self, wish: _Wish, tags: frozenset[str]) -> bool:
        """Whether nothing would have to be written for it."""
        if not self._directory.is_noted(wish.consumer, wish.name, tags):
            return True
        return not self._news([wish]) and self._registry.faces.to_use(wish.name) is None

    async def _depend(self, wishes: Sequence[_Wish]) -> None:
        news = self._news(wishes)
        if news and (consumer := wishes[0].dependent) is not None:
            await self._registry.transact(ConsumerId(consumer.key), partial(self._adding, consumer.key, news))

    def _news(self, wishes: Sequence[_Wish]) -> list[ServiceName]:
        """What their one consumer does not depend on yet.

        An alias and `eureka:NAME` are noted as the name that they stand for: under that one changes are told.
        """
        if not wishes or (consumer := wishes[0].dependent) is None:
            return []
        unmarked = self._registry.faces.unmarked
        providers = [
            services[0].name.unversioned if (services := self._directory.named(name)) else unmarked(name)
            for _, name, _ in wishes
        ]
        return [name for name in providers if consumer.key not in self._catalogue.consumers(name)]

    def _adding(self, consumer: ServiceId, providers: Iterable[ServiceName]) -> Sequence[Write]:
        held = self._providers(consumer)
        wanted = tuple(dict.fromkeys((*held, *providers)))[:MOST_PROVIDERS]
        if wanted == held:
            return ()
        return [Put(Dependencies(key=ConsumerId(consumer), providers=wanted))]

    def _setting(self, consumer: ServiceId, providers: Iterable[ServiceName]) -> Sequence[Write]:
        return [Put(Dependencies(key=ConsumerId(consumer), providers=tuple(providers)))]

    def _providers(self, consumer: ServiceId) -> tuple[ServiceName, ...]:
        held = self._catalogue.dependencies(consumer)
        return held.providers if held is not None else ()

    async def add_dependencies(self, ask: Ask) -> Answer:
        return await self._state_dependencies(ask, overwrites=False)

    async def set_dependencies(self, ask: Ask) -> Answer:
        return await self._state_dependencies(ask, overwrites=True)

    async def _state_dependencies(self, ask: Ask, *, overwrites: bool) -> Answer:
        """What consoles state of a consumer. The versions they name are checked and mean nothing."""
        request = wire.decode(AddDependenciesRequest, await ask.body(LARGE_BODY))
        validation.check_dependencies(request, overwrites=overwrites)
        stated = [self._stated(ask, dependency) for dependency in request.dependencies]
        for consumer, providers in stated:
            decide = partial(self._setting if overwrites else self._adding, consumer, providers)
            await self._registry.transact(ConsumerId(consumer), decide)
        return _with_headers(OK, _DEPRECATED)

    def _stated(self, ask: Ask, dependency: ConsumerDependency) -> tuple[ServiceId, tuple[ServiceName, ...]]:
        tenant, asked = ask.tenant, dependency.consumer
        assert asked is not None, "validated"
        named = [(one.environment, one.app_id or asked.app_id, one.service_name) for one in dependency.providers]
        if len(set(named)) < len(named):
            raise MalformedDocument(
                "Invalid request body for provider info.Duplicate provider or (serviceName and appId is same)."
            )
        name = ServiceName(*tenant, asked.environment, asked.app_id, asked.service_name)
        self._directory.require_named(ask.grant, name)
        consumer_id = self._directory.existing_id(name.version(asked.version))
        if consumer_id is None:
            path = f"{asked.environment}/{asked.app_id}/{asked.service_name}/{asked.version}"
            raise ServiceNotFound(f"Consumer {path} does not exist.")
        providers = [
            ServiceName(*tenant, provider.environment, provider.app_id or asked.app_id, provider.service_name)
            for provider in dependency.providers
        ]
        return ServiceId(tenant, consumer_id), tuple(providers)

    async def list_providers(self, ask: Ask) -> Answer:
        consumer = self._directory.expected(_related_to(ask), "Consumer does not exist")
        services = {
            service.key: service for name in self._providers(consumer.key) for service in self._directory.behind(name)
        }
        return _related("providers", services, consumer, ask)

    async def list_consumers(self, ask: Ask) -> Answer:
        provider = self._directory.expected(_related_to(ask), "Provider does not exist")
        services = {service.key: service for service in self._directory.consumers(provider)}
        return _related("consumers", services, provider, ask)


class _Batch:
    """The answer to one half of a batch find, entry by entry."""

    def __init__(self) -> None:
        self._failed: dict[str, tuple[list[int], Error]] = {}
        self._not_modified: list[int] = []
        self._updated: list[msgspec.Raw] = []

    def add(self, index: int, held: str, listing: Listing) -> None:
        self.add_body(index, held, listing.token, listing.rendered.body)

    def add_body(self, index: int, held: str, token: str, body: bytes) -> None:
        """`body` is an object, maybe empty; its members stand beside the index and the revision."""
        if held == token:
            self._not_modified.append(index)
            return
        members = b"," + body[1:] if len(body) > 2 else b"}"
        self._updated.append(msgspec.Raw(b'{"index":%d,"rev":"%s"%s' % (index, token.encode(), members)))

    def fail(self, index: int, error: FacadeError) -> None:
        """Entries that failed alike are told together, in the words of the first."""
        refusal = wire.to_refusal(error).error
        told = replace(refusal, detail=wire.told(error))
        indexes, _ = self._failed.setdefault(refusal.error_code, ([], told))
        indexes.append(index)

    def result(self) -> dict[str, Any]:
        failed = [FindFailedResult(indexes=tuple(indexes), error=error) for indexes, error in self._failed.values()]
        members = {"failed": failed, "notModified": self._not_modified, "updated": self._updated}
        return {name: value for name, value in members.items() if value}


def _conditional(ask: Ask, token: str, answer: Answer) -> Answer:
    """The answer, or word that it is what the asker has."""
    if token == ask.revision:
        answer = Answer(304)
    return _with_headers(answer, (b"X-Resource-Revision", token.encode()))


def _with_headers(answer: Answer, *headers: tuple[bytes, bytes]) -> Answer:
    return answer._replace(headers=headers)


def _related_to(ask: Ask) -> ServiceId:
    (service_id,) = ask.ids
    validation.check("GetDependenciesRequest.ServiceId", service_id, validation.REQUIRED_ID)
    return ServiceId(ask.tenant, service_id)


def _related(half: str, services: dict[ServiceId, Microservice], asker: Microservice, ask: Ask) -> Answer:
    if ask.query.get("noSelf") == "1":
        services = {key: service for key, service in services.items() if key != asker.key}
    services = {key: service for key, service in services.items() if ask.grant.fits(Labels.of(service.name))}
    return found({half: [from_service(service) for service in services.values()]} if services else {})


def _provider(service: Microservice) -> str:
    name = service.name
    return f"provider[{service.key.service_id}][{name.environment}/{name.app}/{name.name}/{name.version}]"
