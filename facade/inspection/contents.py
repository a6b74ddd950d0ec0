"""What a place holds, as its protocols' own documents: the common ground of dump, restore and diff. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from facade.eureka.records import InstanceInfo
from facade.registry.model import Origin
from facade.servicecenter.records import MicroService, MicroServiceInstance, Schema
from facade.stores import marks


class HeldService(NamedTuple):
    """A microservice with all that is registered below it."""

    document: MicroService
    tags: dict[str, str]
    schemas: tuple[Schema, ...]
    """Those whose content is there; declared ids without one stand in the document alone."""
    instances: tuple[MicroServiceInstance, ...]


class HeldApplication(NamedTuple):
    """A Eureka instance, and the environment of the front that lists it ("" for the one under /eureka)."""

    document: InstanceInfo
    environment: str = ""


class Contents(NamedTuple):
    """What a place held when it was asked. A real registry holds one of the two, ours may hold both."""

    place: str
    """For people, without credentials."""
    product: str
    taken_ms: int
    services: tuple[HeldService, ...] = ()
    applications: tuple[HeldApplication, ...] = ()
    speaks_servicecenter: bool = False
    """Whether services without instances can be there at all."""
    speaks_eureka: bool = False

    @property
    def counts(self) -> dict[str, int]:
        return {
            "services": len(self.services),
            "schemas": sum(len(service.schemas) for service in self.services),
            "serviceCenterInstances": sum(len(service.instances) for service in self.services),
            "eurekaInstances": len(self.applications),
        }


def is_implied(service: MicroService) -> bool:
    """Whether a Eureka application implies this service: nobody registered it for its own sake."""
    return service.framework is not None and service.framework.name == "eureka"


def without_projections(contents: Contents) -> Contents:
    """A server of ours shows every instance in both protocols; each is kept in the one that it came by.

    Only what the other protocol tells of is dropped: a mark alone is no proof that it does.
    """
    in_eureka = {(held.document.app, held.document.effective_id) for held in contents.applications}
    in_servicecenter = {(one.service_id, one.instance_id) for held in contents.services for one in held.instances}
    services = (
        held._replace(instances=tuple(one for one in held.instances if _eureka_key(one) not in in_eureka))
        for held in contents.services
    )
    return contents._replace(
        services=tuple(held for held in services if held.instances or not is_implied(held.document)),
        applications=tuple(
            held for held in contents.applications if _servicecenter_key(held.document) not in in_servicecenter
        ),
    )


def environments_with_eureka(services: Iterable[HeldService]) -> list[str]:
    """Environments whose own Eureka fronts list something, told by what ServiceCenter's side shows of it."""
    shown = {held.document.environment for held in services if any(map(is_eureka_born, held.instances))}
    return sorted(shown - {""})


def _eureka_key(instance: MicroServiceInstance) -> tuple[str, str]:
    return instance.properties.get("_eureka.app", ""), instance.properties.get("_eureka.instanceId", "")


def _servicecenter_key(info: InstanceInfo) -> tuple[str, str]:
    return info.metadata.get("_sc.serviceId", ""), info.effective_id


def is_eureka_born(instance: MicroServiceInstance) -> bool:
    return "_eureka.instanceId" in instance.properties or instance.properties.get(marks.ORIGIN) == Origin.EUREKA


def is_servicecenter_born(info: InstanceInfo) -> bool:
    return "_sc.serviceId" in info.metadata or info.metadata.get(marks.ORIGIN) == Origin.SERVICECENTER
