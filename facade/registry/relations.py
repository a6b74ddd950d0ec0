"""Who relies on whom. A consumer relies on a name; a service has its own and an alias, an application many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from facade.registry.faces import Face
from facade.registry.model import ServiceId, ServiceName
from facade.registry.registry import Registry


def consumers_of(registry: Registry, face: Face, *, each_name_apart: bool = False) -> Sequence[ServiceId]:
    """Each once, in no order that means something. `each_name_apart`: every name of an application is a face of its
    own, and has only the consumers that rely on this one."""
    names = [face.key.unversioned] if each_name_apart and face.service is None else _known_as(registry, face)
    return list({consumer: None for name in names for consumer in registry.catalogue.consumers(name)})


def _known_as(registry: Registry, face: Face) -> Iterable[ServiceName]:
    """All names by which it is found."""
    names = {face.key.unversioned: None}
    if face.service is not None:
        alias = face.key.unversioned._replace(name=face.service.alias)
        if alias.name and not registry.catalogue.versions(alias):  # names come before aliases
            names[alias] = None
        return names
    view = registry.faces.instances(ServiceId(face.key.tenant, face.service_id))
    if view is not None and view.shown:
        names |= dict.fromkeys(name for name, _ in registry.faces.names_of(view.shown[0].instance))
    return names
