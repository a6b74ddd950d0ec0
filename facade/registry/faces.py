"""Who a consumer with qualified names finds: its own kind first, then applications that only have a flat name.

A *face* is one qualified identity under which instances are visible. A microservice is its own face. An application
registered under a flat name has a native face (the app that stands for "none", its natural name, a constant version)
and a virtual one in whatever app and environment a consumer asks from, so that a service in app `shop` finds
`account-server` by that name. Faces are computed; only the fact that one is relied on is a record (`FaceInUse`).

The rules N1-N12 are numbered as in docs/mapping.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from facade.registry import rules
from facade.registry.catalogue import ApplicationKey, Catalogue
from facade.registry.model import (
    FaceId,
    FaceInUse,
    Instance,
    InstanceKey,
    Microservice,
    Origin,
    ServiceId,
    ServiceKey,
    ServiceName,
    Space,
    Tenant,
)
from facade.registry.rules import Policy
from facade.registry.views import Meaning, Shown, View, Views

FACES_PER_APPLICATION = 1_000
"""Faces kept for one application. A consumer chooses the app it asks from, so this bounds what a stranger can make us
keep.
"""

TOLD_IDS = 10_000
"""Ids of faces that were told to somebody who does not rely on them yet, kept so that they can be asked for next."""


class Face(NamedTuple):
    """One identity under which instances are visible."""

    key: ServiceKey
    service_id: str
    service: Microservice | None
    """None: nobody registered it, an application with a flat name implies it."""


class Fallback(NamedTuple):
    """A name that means an application of its own environment while there is one, and else that of the unnamed one."""

    name: ServiceName
    own: Shown
    others: tuple[Shown, ...]
    """What is found when the first is not there."""


class Faces:
    def __init__(self, catalogue: Catalogue, policy: Policy) -> None:
        self._catalogue = catalogue
        self._policy = policy
        self._told: dict[ServiceId, ServiceKey] = {}
        self._views = Views(catalogue)

    def find(self, name: ServiceName) -> View | None:
        """All that a consumer finds under a name, in every version; None when the name means nothing (N2)."""
        meaning = self._views.meaning(name) or self._meaning(name)
        if meaning is None:
            return None
        is_lasting = bool(meaning.services) or self._catalogue.face_in_use(meaning.name) is not None
        return self._views.view(name, meaning, self._shown, is_lasting=is_lasting)

    def _meaning(self, name: ServiceName) -> Meaning | None:
        services = self._catalogue.versions(name)
        if services:
            return Meaning(name, tuple(services), self._merged_application(name))
        aliased = self._catalogue.aliased(name)
        if aliased:
            return Meaning(next(iter(aliased)).name.unversioned, tuple(aliased), None)
        face_name, application = self._application(name)
        if application is None and self._catalogue.face_in_use(face_name) is None:
            return None
        return Meaning(face_name, (), application)

    def instances(self, service_id: ServiceId) -> View | None:
        """What is found under one id: one version of a service, or a face. None when the id means nothing."""
        face = self.face(service_id)
        if face is None:
            return None
        services = (face.service,) if face.service is not None else ()
        meaning = Meaning(face.key.unversioned, services, self._behind(face))
        is_lasting = bool(services) or self._catalogue.implied(service_id) is not None
        return self._views.view(service_id, meaning, self._shown, is_lasting=is_lasting)

    def instance(self, service_id: ServiceId, portable_id: str) -> Shown | None:
        """One instance of a service or face, by the ids that its consumers see."""
        face = self.face(service_id)
        if face is None:
            return None
        if face.service is not None:
            key = InstanceKey(Origin.SERVICECENTER, face.key.space, face.service_id, portable_id)
            native = self._catalogue.instance(key)
            if native is not None:
                return Shown(native, face.key, face.service_id)
        application = self._behind(face)
        if application is None:
            return None
        space, flat_name = application
        foreign = self._catalogue.portable(space, portable_id)
        if foreign is None or foreign.application != flat_name:
            return None
        return Shown(foreign, face.key, face.service_id)

    def face(self, service_id: ServiceId) -> Face | None:
        """The identity behind an id, registered or implied."""
        service = self._catalogue.service(service_id)
        if service is not None:
            return Face(service.name, service.key.service_id, service)
        key = self._implied_key(service_id)
        return Face(key, service_id.service_id, None) if key is not None else None

    def existing(self, key: ServiceKey) -> Face | None:
        """The service of exactly this version, by name, then by alias, then as the native face of an application.

        Virtual faces do not count: a client asks this before it registers a service of its own.
        """
        service = self._catalogue.service_at(key)
        if service is None and not self._catalogue.versions(key.unversioned):
            aliased = self._catalogue.aliased(key.unversioned)
            service = next((one for one in aliased if one.name.version == key.version), None)
        if service is not None:
            return Face(service.name, service.key.service_id, service)
        application = self._catalogue.application_named(key.space, key.name)
        if application is None or not self._is_shared(application):
            return None
        if all(one.service != key for one in self._flat_named((key.space, application))):
            return None
        return self._implied_face(key)

    def services(self, tenant: Tenant) -> Iterator[Face]:
        """Every service and every native face, each once (N12). Whoever takes its time sees what has changed meanwhile
        or does not."""
        for one in tuple(self._catalogue.services(tenant)):
            yield Face(one.name, one.key.service_id, one)
        for space in self._catalogue.spaces():
            for face in self._native_faces(space) if space.tenant == tenant else ():
                if self._catalogue.service(ServiceId(tenant, face.service_id)) is None:
                    yield face

    def to_use(self, name: ServiceName) -> FaceInUse | None:
        """The record to keep when a consumer begins to rely on a name; None when there is nothing to note."""
        if self._catalogue.versions(name) or self._catalogue.aliased(name):
            return None
        face_name, application = self._application(name)
        if application is None or self._catalogue.face_in_use(face_name) is not None:
            return None
        if len(self._catalogue.faces_in_use(*application)) >= FACES_PER_APPLICATION:
            return None
        version = next((one.service.version for one in self._flat_named(application)), self._policy.eureka_version)
        return FaceInUse(
            key=FaceId(face_name), application_space=application[0], application=application[1], version=version
        )

    def unmarked(self, name: ServiceName) -> ServiceName:
        """`eureka:NAME` in any app is NAME in the app that stands for "none" (N2)."""
        mark = f"{self._policy.eureka_app}:"
        if not name.name.startswith(mark):
            return name
        return name._replace(app=self._policy.eureka_app, name=name.name.removeprefix(mark))

    def names_of(self, instance: Instance) -> list[tuple[ServiceName, Shown]]:
        """Every qualified name under which an instance is found right now, or would be if it were still there."""
        own_name = instance.service.unversioned
        if instance.key.origin is Origin.SERVICECENTER:
            return [(own_name, Shown(instance, instance.service, instance.key.group))]
        if not self._is_shared(instance.application):
            return []
        names = {own_name: None}
        names |= dict.fromkeys(
            face.key.name for face in self._catalogue.faces_in_use(instance.key.space, instance.application)
        )
        for wanted in self._catalogue.wanted(instance.key.space.tenant, own_name.name):
            if self._application(wanted)[1] in (None, (instance.key.space, instance.application)):
                names[wanted] = None
        found = []
        for name in names:
            newest = self._newest(name)
            if newest is None or self._is_merged(name):
                found.append((name, self._shown_beside(instance, name, newest)))
        return found

    def fallbacks(self, instance: Instance) -> list[Fallback]:
        """Names that change their meaning when this instance comes or goes, for it is all of its application (N5)."""
        space, natural_name = instance.key.space, instance.service.name
        unnamed = space._replace(environment="")
        application = self._catalogue.application_named(unnamed, natural_name)
        if instance.key.origin is not Origin.EUREKA or not space.environment:
            return []
        if application is None or not self._is_shared(application):
            return []
        if any(one.key != instance.key for one in self._catalogue.in_application(space, instance.application)):
            return []
        found = []
        for name in self._catalogue.wanted(space.tenant, natural_name):
            newest = self._newest(name)
            if name.space == space and (newest is None or self._is_merged(name)):
                own = self._shown_beside(instance, name, newest)
                others = (self._shown_beside(one, name, newest) for one in self._flat_named((unnamed, application)))
                found.append(Fallback(name, own, tuple(others)))
        return found

    def _shown_beside(self, instance: Instance, name: ServiceName, newest: Microservice | None) -> Shown:
        """A flat-named instance under a name, which may be that of a service that it has joined."""
        if newest is not None:
            return Shown(instance, newest.name, newest.key.service_id)
        return self._shown_as(instance, name.version(instance.service.version))

    def _shown(self, meaning: Meaning) -> list[Shown]:
        """Native instances of the services, then those of the application, under the newest of these versions (N8)."""
        name, services, application = meaning
        shown = [
            Shown(instance, service.name, service.key.service_id)
            for service in services
            for instance in self._catalogue.in_service(service.key)
        ]
        if application is not None:
            newest = max(services, key=_version_order, default=None)
            listening = {_address(endpoint) for one in shown for endpoint in one.instance.endpoints}
            implied: dict[str, Face] = {}
            for instance in self._flat_named(application):
                if newest is None:
                    version = instance.service.version
                    if version not in implied:
                        implied[version] = self._implied_face(name.version(version))
                    face = implied[version]
                    shown.append(Shown(instance, face.key, face.service_id))
                # Registered by both protocols: shown once (N10).
                elif listening.isdisjoint(map(_address, instance.endpoints)):
                    shown.append(Shown(instance, newest.name, newest.key.service_id))
        return shown

    def _application(self, name: ServiceName) -> tuple[ServiceName, ApplicationKey | None]:
        """The application that a qualified name means, and the name without its mark (N2, N4, N5).

        An environment has a flat name space of its own; what is not in it is looked for in the one without a name.
        """
        name = self.unmarked(name)
        for space in dict.fromkeys((name.space, name.space._replace(environment=""))):
            application = self._catalogue.application_named(space, name.name)
            if application is not None:
                return name, (space, application) if self._is_shared(application) else None
        face = self._catalogue.face_in_use(name)
        return name, (face.application_space, face.application) if face is not None else None

    def _behind(self, face: Face) -> ApplicationKey | None:
        """The application whose instances are shown under a face: a service must be the newest one to get them (N8)."""
        name = face.key.unversioned
        if face.service is None:
            return self._application(name)[1]
        return self._merged_application(name) if face.service is self._newest(name) else None

    def _merged_application(self, name: ServiceName) -> ApplicationKey | None:
        return self._application(name)[1] if self._is_merged(name) else None

    def _is_merged(self, name: ServiceName) -> bool:
        """Whether an application joins the services of this name (N7).

        Somebody found it here before the first service came: it stays, or its consumers would fall from ten instances
        to one. Otherwise equal names may well be different systems, and an operator has to say that they are not.
        """
        return name.name in self._policy.merge or self._catalogue.face_in_use(name) is not None

    def _newest(self, name: ServiceName) -> Microservice | None:
        return max(self._catalogue.versions(name), key=_version_order, default=None)

    def _flat_named(self, application: ApplicationKey) -> Iterator[Instance]:
        return (one for one in self._catalogue.in_application(*application) if one.key.origin is Origin.EUREKA)

    def _native_faces(self, space: Space) -> Iterator[Face]:
        for application in filter(self._is_shared, tuple(self._catalogue.applications(space))):
            for key in {instance.service for instance in self._flat_named((space, application))}:
                yield self._implied_face(key)

    def _is_shared(self, application: str) -> bool:
        """Whether it may be seen here at all (N11)."""
        return rules.is_shared(application, self._policy)

    def _shown_as(self, instance: Instance, key: ServiceKey) -> Shown:
        return Shown(instance, key, self._implied_face(key).service_id)

    def _implied_face(self, key: ServiceKey) -> Face:
        """A face that nobody registered; its id is remembered, for it may be asked for next."""
        service_id = key.derived_id
        self._told[ServiceId(key.tenant, service_id)] = key
        if len(self._told) > TOLD_IDS:
            del self._told[next(iter(self._told))]
        return Face(key, service_id, None)

    def _implied_key(self, service_id: ServiceId) -> ServiceKey | None:
        key = self._catalogue.implied(service_id) or self._told.get(service_id)
        return key if key is not None and self._is_face(key) else None

    def _is_face(self, key: ServiceKey) -> bool:
        name, application = self._application(key.unversioned)
        return application is not None or self._catalogue.face_in_use(name) is not None


def _address(endpoint: str) -> str:
    """Host and port of an endpoint: what one protocol says of it beyond that, the other cannot know."""
    return endpoint.partition("://")[2].partition("?")[0].rstrip("/")


def _version_order(service: Microservice) -> list[int]:
    """Versions compare number by number: 1.10 is newer than 1.9."""
    return [int(part) for part in service.name.version.split(".")]
