"""Whom a service depends on, among the services that are listed: what govern's views and their pictures draw.

A consumer relies on a name. An application with a flat name is found under any name that somebody asks by, but listed
once; so a line leads to where it is listed, not to the name by which it was found (N12).
"""

from __future__ import annotations

from collections.abc import Iterable

from facade.registry.model import Microservice, ServiceId, ServiceName
from facade.registry.registry import Registry
from facade.servicecenter.directory import Directory


class Relations:
    def __init__(self, registry: Registry, directory: Directory) -> None:
        self._catalogue = registry.catalogue
        self._faces = registry.faces
        self._directory = directory

    def providers(self, consumer: Microservice) -> list[Microservice]:
        held = self._catalogue.dependencies(consumer.key)
        names = held.providers if held is not None else ()
        return list({service.key: service for name in names for service in self._listed(name)}.values())

    def _listed(self, name: ServiceName) -> Iterable[Microservice]:
        """The services that are found by a name, as they are listed."""
        services = self._directory.named(name)
        if services or self._directory.lists_virtual:
            return services or self._directory.behind(name)
        view = self._faces.find(name)
        keys = {one.instance.service for one in view.shown} if view is not None else set()
        found = (self._directory.service(ServiceId(name.tenant, key.derived_id)) for key in keys)
        return [service for service in found if service is not None]
