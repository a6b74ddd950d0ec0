"""Who is known by which name or id, and who may see whom. Reads the registry; writes nothing.

To the registry's services and faces it adds what only this protocol has: ServiceCenter's own registration, by which
clients learn its addresses, and the microservice record that a face implies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from facade.access.control import require, require_all
from facade.access.refusals import NotPermitted
from facade.access.rules import EVERYTHING, Grant, Labels
from facade.errors import ServiceNotFound
from facade.registry.faces import Face
from facade.registry.model import Instance, Microservice, ServiceId, ServiceKey, ServiceName, Tenant
from facade.registry.registry import Registry
from facade.registry.relations import consumers_of
from facade.registry.store import Put, Write
from facade.registry.views import Shown, View
from facade.servicecenter.mapping import OWN_KEY, implied_service, is_open_to
from facade.servicecenter.validation import ENVIRONMENTS
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
    def __init__(
        self, registry: Registry, own: Own, lists_virtual: bool = False, shared_names: frozenset[str] = frozenset()
    ) -> None:
        """`shared_names`: services of the default tenant, app and environment that are there for every tenant."""
        self.own = own
        self._shared_names = shared_names
        self.lists_virtual = lists_virtual
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
        face = self._faces.face(self._located(service_id))
        return self._service_of(face) if face is not None else None

    def expected(self, service_id: ServiceId, detail: str = "Service does not exist.") -> Microservice:
        service = self.service(service_id)
        if service is None:
            raise ServiceNotFound(detail)
        return service

    def require(self, grant: Grant, *services: ServiceId) -> None:
        """Raises NotPermitted unless the grant reaches each of these; one that nobody knows is within no limits."""
        if not grant.is_limited:
            return
        for service_id in services:
            service = self.service(service_id)
            if service is None:
                require_all(grant)
            else:
                require(grant, Labels.of(service.name))

    def require_any(self, grant: Grant, services: Iterable[ServiceId]) -> None:
        """Raises NotPermitted when the grant reaches none of a set; entries are judged one by one after that."""
        refused: NotPermitted | None = None
        for service_id in services if grant.is_limited else ():
            try:
                self.require(grant, service_id)
            except NotPermitted as error:
                refused = refused or error
            else:
                return
        if refused is not None:
            raise refused

    def require_named(self, grant: Grant, name: ServiceName) -> None:
        """The same for whatever a name means; where it means no service, the name itself has to be within reach."""
        if grant.is_limited:
            names = [service.name.unversioned for service in self.named(name)] or [self._faces.unmarked(name)]
            require(grant, *map(Labels.of, names))

    def services(self, tenant: Tenant, *, with_shared: bool, grant: Grant = EVERYTHING) -> list[Microservice]:
        return list(self.each(tenant, with_shared=with_shared, grant=grant))

    def each(self, tenant: Tenant, *, with_shared: bool, grant: Grant = EVERYTHING) -> Iterator[Microservice]:
        """What is listed within reach of a grant, one by one: others may be served in between, and change what comes
        later."""
        return (
            service for service in self._each(tenant, with_shared=with_shared) if grant.fits(Labels.of(service.name))
        )

    def _each(self, tenant: Tenant, *, with_shared: bool) -> Iterator[Microservice]:
        listed = set()
        for face in self._faces.services(tenant):
            service = self._service_of(face)
            listed.add(service.key)
            if with_shared or not self.is_shared(service):
                yield service
        if self.lists_virtual:
            yield from (service for service in self._virtual(tenant) if service.key not in listed)
        if with_shared and tenant == OWN_KEY.tenant:
            yield self.own.service

    # Shared services: there for every tenant, counted by none, and listed only when that is asked for

    def is_shared(self, service: Microservice) -> bool:
        if service is self.own.service:
            return True
        return (
            bool(self._shared_names)
            and service.key.tenant == OWN_KEY.tenant
            and service.name.app == OWN_KEY.app
            and (service.name.name in self._shared_names or service.alias in self._shared_names)
        )

    def shared(self, tenant: Tenant) -> list[Microservice]:
        """Those of a tenant that somebody registered."""
        if tenant != OWN_KEY.tenant:
            return []
        found = {}
        for environment in ENVIRONMENTS if self._shared_names else ():
            for shared_name in self._shared_names:
                name = OWN_KEY.unversioned._replace(environment=environment, name=shared_name)
                for service in (*self._catalogue.versions(name), *self._catalogue.aliased(name)):
                    found[service.key] = service
        return list(found.values())

    def _located(self, service_id: ServiceId) -> ServiceId:
        """Where a service is registered: a shared one is known by its id in every tenant."""
        if not self._shared_names or service_id.tenant == OWN_KEY.tenant or self._catalogue.service(service_id):
            return service_id
        at_home = ServiceId(OWN_KEY.tenant, service_id.service_id)
        service = self._catalogue.service(at_home)
        return at_home if service is not None and self.is_shared(service) else service_id

    def _meant(self, name: ServiceName) -> ServiceName:
        """A shared service is found by its bare name, whatever environment is asked for; of another tenant, what it has
        of its own comes first."""
        if name.app != OWN_KEY.app or name.name not in self._shared_names:
            return name
        if name.tenant != OWN_KEY.tenant and self._faces.find(name) is not None:
            return name
        return OWN_KEY.unversioned._replace(name=name.name)

    def _virtual(self, tenant: Tenant) -> Iterator[Microservice]:
        """Applications under each name that somebody relies on."""
        for space in self._catalogue.spaces():
            for application in tuple(self._catalogue.applications(space)) if space.tenant == tenant else ():
                for face in tuple(self._catalogue.faces_in_use(space, application)):
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
        name = self._meant(name)
        return list(self._catalogue.versions(name) or self._catalogue.aliased(name))

    def behind(self, name: ServiceName) -> Sequence[Microservice]:
        """All services and faces that are found under a name."""
        services = self.named(name)
        if services:
            return services
        view = self._faces.find(name)
        ids = dict.fromkeys(ServiceId(name.tenant, one.service_id) for one in view.shown) if view is not None else {}
        return [service for key in ids if (service := self.service(key)) is not None]

    def consumers(self, provider: Microservice) -> list[Microservice]:
        """Who relies on a service, by whichever of its names."""
        face = Face(provider.name, provider.key.service_id, self._catalogue.service(provider.key))
        keys = consumers_of(self._registry, face, each_name_apart=self.lists_virtual)
        return [service for key in keys if (service := self.service(key)) is not None]

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
        return self._faces.find(self._meant(name))

    def instances(self, service_id: ServiceId) -> View | None:
        if service_id.service_id == self.own.service_id:
            return self.own.view
        return self._faces.instances(self._located(service_id))

    def instance(self, service_id: ServiceId, instance_id: str) -> Shown | None:
        if service_id.service_id == self.own.service_id:
            return next((one for one in self.own.view.shown if one.instance.portable_id == instance_id), None)
        return self._faces.instance(self._located(service_id), instance_id)

    def sees(self, consumer: Consumer, provider: Microservice | None) -> bool:
        """Whether a consumer may see a service; None stands for one that is open to all.

        What is shared is there for all environments; to other apps it has to open itself like any other.
        """
        if consumer.service is None or provider is None or not self.is_shared(provider):
            return consumer.sees(provider)
        return is_open_to(consumer.service.name._replace(environment=provider.name.environment), provider)

    def visible(
        self, consumer: Consumer, tenant: Tenant, service_ids: Iterable[str], tags: frozenset[str]
    ) -> frozenset[str]:
        """Those of the services that the consumer may see and that carry all these tags."""

        def is_visible(service_id: str) -> bool:
            service = self._catalogue.service(self._located(ServiceId(tenant, service_id)))
            return self.sees(consumer, service) and tags <= (service.tags.keys() if service else set())

        return frozenset(filter(is_visible, service_ids))

    def is_noted(self, consumer: Consumer, name: ServiceName, tags: frozenset[str]) -> bool:
        """Whether a consumer that asks for a name depends on it from then on: on what it may see, but not on us.

        What nobody registered as a service is open to all.
        """
        if (name.app, name.name) == (OWN_KEY.app, OWN_KEY.name):
            return False
        services = self.named(name)
        return not services or any(self.sees(consumer, service) and tags <= service.tags.keys() for service in services)

    def _service_of(self, face: Face) -> Microservice:
        if face.service is not None:
            return face.service
        view = self._faces.instances(ServiceId(face.key.tenant, face.service_id))
        registered = [one.instance.registered_ms for one in view.shown] if view is not None else []
        return implied_service(face.key, self._registry.policy, min(registered, default=self._since_ms))


def turn_of_services(tenant: Tenant) -> tuple[str, Tenant]:
    """Ids, names and aliases are unique in a tenant: whoever creates, changes or deletes one waits for this turn."""
    return "services", tenant
