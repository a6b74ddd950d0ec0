"""What a registry holds for the other protocol -> that protocol's own documents. Pure functions.

A ServiceCenter that keeps Eureka's instances, and a Eureka that keeps ServiceCenter's, hold them packed. Whoever
compares, or restores them to a server of ours, wants what was packed.
"""

from __future__ import annotations

from collections import defaultdict

from facade.eureka import mapping as eureka
from facade.inspection.contents import Contents, HeldApplication, HeldService, is_implied
from facade.registry.model import Instance, Microservice, ServiceKey, Tenant
from facade.registry.rules import Policy
from facade.servicecenter import mapping as servicecenter
from facade.servicecenter.records import MicroService, MicroServiceInstance
from facade.stores import packed_in_eureka, packed_in_servicecenter


def unpacked(contents: Contents, policy: Policy) -> Contents:
    """The same, each instance in the protocol by which its owner registered it; what is not packed stays as it is.

    Copies of what the place holds itself become what they are copies of; it is told once.
    """
    services, applications = _out_of_servicecenter(contents.services, policy)
    known = {(held.environment, held.document.app, held.document.effective_id) for held in contents.applications}
    applications = [
        held for held in applications if (held.environment, held.document.app, held.document.effective_id) not in known
    ]
    more, others = _out_of_eureka(contents.applications, policy)
    return contents._replace(services=_merged([*services, *more]), applications=(*others, *applications))


def _out_of_servicecenter(
    held: tuple[HeldService, ...], policy: Policy
) -> tuple[list[HeldService], list[HeldApplication]]:
    services, applications = [], []
    for service in held:
        key = key_of(service.document)
        own: list[MicroServiceInstance] = []
        for document in service.instances:
            instance = packed_in_servicecenter.unpack(document, key, policy)
            info = eureka.from_instance(instance) if instance is not None else None
            if info is None:
                own.append(document)
            else:
                applications.append(HeldApplication(info, key.environment))
        if own or not is_implied(service.document):
            services.append(service._replace(instances=tuple(own)))
    return services, applications


def _out_of_eureka(
    held: tuple[HeldApplication, ...], policy: Policy
) -> tuple[list[HeldService], list[HeldApplication]]:
    services, applications = [], []
    for application in held:
        found = packed_in_eureka.unpack(application.document, policy)
        if found is None or found[0].service.tenant != Tenant():
            applications.append(application)
        else:
            services.append(_to_service(*found))
    return services, applications


def _to_service(instance: Instance, service: Microservice | None) -> HeldService:
    """One instance below its service; what is not known of that is what its name says."""
    key = instance.service
    if service is not None:
        document, tags = servicecenter.from_service(service), service.tags
    else:
        document, tags = (
            MicroService(
                service_id=instance.key.group,
                app_id=key.app,
                service_name=key.name,
                version=key.version,
                environment=key.environment,
            ),
            {},
        )
    return HeldService(document, tags, (), (servicecenter.from_instance(instance, instance.key.group, key.version),))


def _merged(services: list[HeldService]) -> tuple[HeldService, ...]:
    """Each service once, with the instances of all; the first that tells of it tells best."""
    by_id: dict[str, HeldService] = {}
    instances: dict[str, dict[str, MicroServiceInstance]] = defaultdict(dict)
    for held in services:
        service_id = held.document.service_id
        by_id.setdefault(service_id, held)
        for instance in held.instances:
            instances[service_id].setdefault(instance.instance_id, instance)
    return tuple(held._replace(instances=tuple(instances[service_id].values())) for service_id, held in by_id.items())


def key_of(service: MicroService) -> ServiceKey:
    """In the tenant that places are asked for."""
    app, version = service.app_id or "default", service.version or "0.0.1"
    return ServiceKey(*Tenant(), service.environment, app, service.service_name, version)
