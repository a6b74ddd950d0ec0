"""ServiceCenter's documents <> the registry's records, for instances of both origins. Pure functions.

An instance born here shows exactly what it was registered with. One born under a flat name is projected from the
neutral fields alone (docs/mapping.md 5.2, 5.5, 5.6): its properties are its metadata, and what has no place of its own
stands under `_eureka.`.
"""

from __future__ import annotations

import hashlib
from math import ceil

import msgspec

from facade.registry.model import (
    DataCentre,
    Instance,
    InstanceKey,
    LeaseTerms,
    Microservice,
    Origin,
    ServiceId,
    ServiceKey,
    Status,
    Tenant,
)
from facade.registry.rules import Policy, ordinary
from facade.servicecenter.records import (
    DataCenterInfo,
    FrameWork,
    HealthCheck,
    MicroService,
    MicroServiceInstance,
    MicroServiceKey,
)

MIN_INTERVAL_S = 5
MIN_TIMES = 3
PUSH_BY_DEFAULT = HealthCheck(mode="push", interval=30, times=3)
LONGEST_LEASE_MS = 100 * 365 * 86_400_000
"""A century; the product of two 32-bit numbers is more than a store can count."""

OWN_NAME = "SERVICECENTER"
OWN_KEY = ServiceKey("default", "default", "development", "default", OWN_NAME, "")

_STATUS_IN = {"OUTOFSERVICE": Status.OUT_OF_SERVICE}
_STATUS_OUT = {Status.OUT_OF_SERVICE: "OUTOFSERVICE", Status.UNKNOWN: "DOWN"}

_ALLOW_CROSS_APP = "allowCrossApp"


# Instances


def to_instance(
    document: MicroServiceInstance,
    service: Microservice,
    instance_id: str,
    policy: Policy,
    source_address: str = "",
) -> Instance:
    """The record of an instance of this microservice."""
    check = adjusted(document.health_check)
    interval_ms = check.interval * 1000
    lasts_ms = min(interval_ms * (check.times + 1), LONGEST_LEASE_MS)
    status = to_status(document.status or "UP")
    centre = document.data_center_info
    return Instance(
        key=InstanceKey(Origin.SERVICECENTER, service.name.space, service.key.service_id, instance_id),
        application=flat_name(service.name, policy.plain_apps),
        service=service.name,
        portable_id=instance_id,
        host=document.host_name,
        endpoints=document.endpoints,
        metadata=ordinary(document.properties, policy),
        data_centre=DataCentre(centre.name, centre.region, centre.available_zone) if centre else None,
        status=status,
        reported=status,
        lease=LeaseTerms(interval_ms, lasts_ms, lasts_ms),
        source_address=source_address,
        native=msgspec.json.encode(MicroServiceInstance(health_check=check)),
    )


def from_instance(instance: Instance, service_id: str, version: str) -> MicroServiceInstance:
    """What a reader sees who found the instance under this id and version."""
    is_native = instance.key.origin is Origin.SERVICECENTER
    centre = instance.data_centre
    return MicroServiceInstance(
        instance_id=instance.portable_id,
        service_id=service_id,
        endpoints=instance.endpoints,
        host_name=instance.host,
        status=from_status(instance.status),
        properties=instance.metadata if is_native else _projected_properties(instance),
        health_check=_native_documents.decode(instance.native).health_check
        if is_native
        else _health_check(instance.lease),
        timestamp=seconds(instance.registered_ms),
        data_center_info=DataCenterInfo(name=centre.name, region=centre.region, available_zone=centre.zone)
        if centre
        else None,
        mod_timestamp=seconds(instance.updated_ms),
        version=version,
    )


_native_documents = msgspec.json.Decoder(MicroServiceInstance)


def adjusted(check: HealthCheck | None) -> HealthCheck:
    """The health check as it is kept and shown: never below what the server asks for, and fixed when others poll.

    Source: servicecomb-service-center, datasource/etcd/ms.go (interval and times), server/service/disco/instance.go.
    """
    if check is None:
        return PUSH_BY_DEFAULT
    if check.mode == "pull":
        return msgspec.structs.replace(check, interval=30, times=3)
    return msgspec.structs.replace(
        check, interval=max(check.interval, MIN_INTERVAL_S), times=max(check.times, MIN_TIMES)
    )


def flat_name(key: ServiceKey, plain_apps: frozenset[str]) -> str:
    """NAME for apps that need no telling apart, APP.NAME for others (N6)."""
    return (key.name if key.app in plain_apps else f"{key.app}.{key.name}").upper()


def to_status(status: str) -> Status:
    return _STATUS_IN.get(status) or Status(status)


def from_status(status: Status) -> str:
    """There is no word for UNKNOWN: such an instance shows DOWN, and tells the rest in its properties."""
    return _STATUS_OUT.get(status, status.value)


def seconds(at_ms: int) -> str:
    return str(at_ms // 1000)


def _projected_properties(instance: Instance) -> dict[str, str]:
    told = {"_eureka.app": instance.application, "_eureka.instanceId": instance.key.instance_id}
    if instance.status is Status.UNKNOWN:
        told["_eureka.status"] = instance.status.value
    if instance.override is not None:
        told["_eureka.overriddenStatus"] = instance.override.value
    return {**instance.metadata, **told}


def _health_check(lease: LeaseTerms) -> HealthCheck:
    """Lease terms as an interval and a number of missed heartbeats; 30 s and 90 s become 30 and 3."""
    interval_ms = max(lease.interval_ms, 1000)
    return HealthCheck(mode="push", interval=interval_ms // 1000, times=ceil(lease.first_ms / interval_ms))


# Microservices


def to_key(document: MicroService, tenant: Tenant) -> ServiceKey:
    return ServiceKey(
        *tenant,
        document.environment,
        document.app_id or "default",
        document.service_name,
        document.version or "0.0.1",
    )


def to_service(
    document: MicroService, tenant: Tenant, tags: dict[str, str], now_ms: int, policy: Policy
) -> Microservice:
    """The record of a new microservice, with the original's defaults."""
    key = to_key(document, tenant)
    return Microservice(
        key=ServiceId(tenant, document.service_id or key.derived_id),
        name=key,
        alias=document.alias,
        properties=ordinary(document.properties, policy),
        tags=tags,
        schemas=document.schemas,
        registered_ms=now_ms,
        updated_ms=now_ms,
        native=msgspec.json.encode(
            MicroService(
                description=document.description,
                level=document.level or "BACK",
                paths=document.paths,
                status=document.status or "UP",
                providers=document.providers,
                lb_strategy=document.lb_strategy,
                register_by=document.register_by,
                framework=document.framework,
            )
        ),
    )


def from_service(service: Microservice) -> MicroService:
    return msgspec.structs.replace(
        _native_services.decode(service.native),
        service_id=service.key.service_id,
        app_id=service.name.app,
        service_name=service.name.name,
        version=service.name.version,
        schemas=service.schemas,
        properties=service.properties,
        timestamp=seconds(service.registered_ms),
        alias=service.alias,
        mod_timestamp=seconds(service.updated_ms),
        environment=service.name.environment,
    )


_native_services = msgspec.json.Decoder(MicroService)


def implied_service(key: ServiceKey, policy: Policy, since_ms: int) -> Microservice:
    """The microservice that an application with a flat name implies under one of its faces. Nobody registered it."""
    return to_service(
        MicroService(
            app_id=key.app,
            service_name=key.name,
            version=key.version,
            environment=key.environment,
            alias=f"{policy.eureka_app}:{key.name}",
            properties={_ALLOW_CROSS_APP: "true"},
            register_by="PLATFORM",
            framework=FrameWork(name="eureka", version=key.version),
        ),
        key.tenant,
        {},
        since_ms,
        policy,
    )


def from_key(key: ServiceKey, alias: str = "") -> MicroServiceKey:
    """The name of a provider as watch events carry it."""
    return MicroServiceKey(
        tenant=f"{key.domain}/{key.project}",
        environment=key.environment,
        app_id=key.app,
        service_name=key.name,
        alias=alias,
        version=key.version,
    )


def is_open_to(consumer: ServiceKey, provider: Microservice) -> bool:
    """Whether consumers of that kind may see the provider: the same environment, and the same app or a provider that
    opened itself to others. Source: servicecomb-service-center, datasource/etcd/util/rule_util.go."""
    return consumer.environment == provider.name.environment and (
        consumer.app == provider.name.app or provider.properties.get(_ALLOW_CROSS_APP, "").lower() == "true"
    )


# ServiceCenter's own registration


def own_service(version: str, since_ms: int) -> Microservice:
    """ServiceCenter presents itself as a service: clients learn its addresses from it."""
    document = MicroService(
        app_id=OWN_KEY.app,
        service_name=OWN_NAME,
        version=version,
        environment=OWN_KEY.environment,
        alias=OWN_NAME,
        properties={_ALLOW_CROSS_APP: "true"},
    )
    return to_service(document, OWN_KEY.tenant, {}, since_ms, Policy())


def own_instance(service: Microservice, endpoints: tuple[str, ...], host: str, since_ms: int) -> Instance:
    document = MicroServiceInstance(endpoints=endpoints, host_name=host)
    instance_id = hashlib.sha256("\0".join((OWN_NAME, *endpoints)).encode()).hexdigest()[:32]
    instance = to_instance(document, service, instance_id, Policy())
    return msgspec.structs.replace(instance, registered_ms=since_ms, updated_ms=since_ms)
