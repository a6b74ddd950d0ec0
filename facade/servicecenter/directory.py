"""Who is known by which name or id, and who may see whom. Reads the registry; writes nothing.

To the registry's services and faces it adds what only this protocol has: ServiceCenter's own registration, by which
clients learn its addresses, and the microservice record that a face implies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from facade.errors import ServiceNotFound
from facade.registry.faces import Face, Shown, View
from facade.registry.model import Instance, Microservice, ServiceId, ServiceKey, ServiceName, Tenant
from facade.registry.registry import Registry
from facade.registry.store import Put, Write
from facade.servicecenter.mapping import OWN_KEY, implied_service, is_open_to
from facade.servicecenter.wire import Code, Refused


class Own(NamedTuple):
    """ServiceCenter as its own clients see it: never stored, found from every domain and project."""

    service: Microservice
    instance: Instance | None
    """None when no address is known that clients could reach."""

    @property
    def view(self) -> View:
        shown = () if self.instance is None else (Shown(self.instance, self.service.name, self.service_id),)
        return View.of(shown, 0)

    @property
    def service_id(self) -> str:
        return self.service.key.service_id


class Consumer(NamedTuple):
    """Who asks, as far as it says so: an empty id is somebody without a service of its own."""

    consumer_id: str
    service: Microservice | None
    environment: str = ""
    """What it asked for; a service's own counts instead."""

    def __str__(self) -> str:
        return f"Consumer[{self.consumer_id}][{self._path}]"

    @property
    def _path(self) -> str:
        if self.service is None:
            return f"{self.environment}///"
        key = self.service.name
        return f"{key.environment}/{key.app}/{key.name}/{key.version}"

    def sees(self, provider: Microservice | None) -> bool:
        """Whether it may see a service; None stands for one that is open to all."""
        return self.service is None or provider is None or is_open_to(self.service.name, provider)


class Directory:
    def __init__(self, registry: Registry, own: Own, lists_virtual: bool = False) -> None:
        self.own = own
        self._lists_virtual = lists_virtual
        self._registry = registry
        self._catalogue = registry.catalogue
        self._faces = registry.faces
        self._since_ms = registry.clock.now_ms()

    def consumer(self, tenant: Tenant, consumer_id: str, environment: str = "") -> Consumer:
        if not consumer_id:
            return Consumer("", None, environment)
        service = self.service(ServiceId(tenant, consumer_id))
        if service is None:
            raise Refused(Code.SERVICE_NOT_EXISTS, f"Consumer[{consumer_id}] does not exist.")
        return Consumer(consumer_id, service, service.name.environment)

    # Services

    def service(self, service_id: ServiceId) -> Microservice | None:
        """The microservice of this id: registered, implied by a face, or our own."""
        if service_id.service_id == self.own.service_id:
            return self.own.service
        face = self._faces.face(service_id)
        return self._service_of(face) if face is not None else None

    def expected(self, service_id: ServiceId, detail: str = "Service does not exist.") -> Microservice:
        service = self.service(service_id)
        if service is None:
            raise ServiceNotFound(detail)
        return service

    def services(self, tenant: Tenant, *, with_shared: bool) -> list[Microservice]:
        services = [self._service_of(face) for face in self._faces.services(tenant)]
        if self._lists_virtual:
            listed = {service.key for service in services}
            services += [service for service in self._virtual(tenant) if service.key not in listed]
        if with_shared and tenant == OWN_KEY.tenant:
            services.append(self.own.service)
        return services

    def _virtual(self, tenant: Tenant) -> Iterator[Microservice]:
        """Applications under each name that somebody relies on."""
        for space in self._catalogue.spaces():
            for application in self._catalogue.applications(space) if space.tenant == tenant else ():
                for face in self._catalogue.faces_in_use(space, application):
                    service_id = face.key.name.version(face.version).derived_id
                    if (service := self.service(ServiceId(tenant, service_id))) is not None:
                        yield service

    def existing_id(self, key: ServiceKey) -> str | None:
        """The id of exactly this version, by name or alias."""
        if key.unversioned == self.own.service.name.unversioned and key.version == self.own.service.name.version:
            return self.own.service_id
        face = self._faces.existing(key)
        return face.service_id if face is not None else None

    def named(self, name: ServiceName) -> Sequence[Microservice]:
        """The registered services that a name means: by name in all versions, else by alias."""
        return list(self._catalogue.versions(name) or self._catalogue.aliased(name))

    def behind(self, name: ServiceName) -> Sequence[Microservice]:
        """All services and faces that are found under a name."""
        services = self.named(name)
        if services:
            return services
        view = self._faces.find(name)
        ids = dict.fromkeys(ServiceId(name.tenant, one.service_id) for one in view.shown) if view is not None else {}
        return [service for key in ids if (service := self.service(key)) is not None]

    def writable(
        self, service_id: ServiceId, detail: str = "Service does not exist."
    ) -> tuple[Microservice, list[Write]]:
        """A service that is about to be changed, and what must be written first.

        A service that only a face implies becomes a record, under that very id. Somebody found the face before, so its
        instances stay beside those that may now be registered for the service (N7).
        """
        stored = self._catalogue.service(service_id)
        if stored is not None:
            return stored, []
        face = self._faces.face(service_id)
        if face is None:
            raise ServiceNotFound(detail)
        relied_on = self._faces.to_use(face.key.unversioned)
        # Without the alias: what is found by `eureka:name` are the application's instances, not this service's.
        service = implied_service(face.key, self._registry.policy, self._registry.clock.now_ms())
        return replace(service, alias=""), [Put(relied_on)] if relied_on is not None else []

    # What a consumer finds

    def find(self, name: ServiceName) -> View | None:
        if (name.app, name.name) == (OWN_KEY.app, OWN_KEY.name):
            return self.own.view  # whatever environment is asked for
        return self._faces.find(name)

    def instances(self, service_id: ServiceId) -> View | None:
        return self.own.view if service_id.service_id == self.own.service_id else self._faces.instances(service_id)

    def instance(self, service_id: ServiceId, instance_id: str) -> Shown | None:
        if service_id.service_id == self.own.service_id:
            return next((one for one in self.own.view.shown if one.instance.portable_id == instance_id), None)
        return self._faces.instance(service_id, instance_id)

    def visible(
        self, consumer: Consumer, tenant: Tenant, service_ids: Iterable[str], tags: frozenset[str]
    ) -> frozenset[str]:
        """Those of the services that the consumer may see and that carry all these tags."""

        def is_visible(service_id: str) -> bool:
            service = self._catalogue.service(ServiceId(tenant, service_id))
            return consumer.sees(service) and tags <= (service.tags.keys() if service else set())

        return frozenset(filter(is_visible, service_ids))

    def is_noted(self, consumer: Consumer, name: ServiceName) -> bool:
        """Whether a consumer that asks for a name depends on it from then on: on what it may see, but not on us.

        What nobody registered as a service is open to all.
        """
        if (name.app, name.name) == (OWN_KEY.app, OWN_KEY.name):
            return False
        services = self.named(name)
        return not services or any(consumer.sees(service) for service in services)

    def _service_of(self, face: Face) -> Microservice:
        if face.service is not None:
            return face.service
        view = self._faces.instances(ServiceId(face.key.tenant, face.service_id))
        registered = [one.instance.registered_ms for one in view.shown] if view is not None else []
        return implied_service(face.key, self._registry.policy, min(registered, default=self._since_ms))


def turn_of_services(tenant: Tenant) -> tuple[str, Tenant]:
    """Ids, names and aliases are unique in a tenant: whoever creates, changes or deletes one waits for this turn."""
    return "services", tenant
