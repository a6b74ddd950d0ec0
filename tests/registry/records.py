"""Records for the registry's tests: an ordinary one each, with what a test wants changed."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from facade.registry.model import (
    Instance,
    InstanceKey,
    LeaseTerms,
    Microservice,
    Origin,
    ServiceId,
    ServiceKey,
    ServiceName,
    Space,
    Status,
    Tenant,
)

SPACE = Space()
TENANT = Tenant()
MINUTE_AND_A_HALF = LeaseTerms(interval_ms=30_000, first_ms=90_000, renewed_ms=180_000)
TWO_MINUTES = LeaseTerms(interval_ms=30_000, first_ms=120_000, renewed_ms=120_000)


def flat(application: str = "ORDERS", instance_id: str = "orders-1", **changes: Any) -> Instance:
    """An instance with a flat name, as the Eureka room makes them."""
    name = application.lower()
    status = changes.pop("status", Status.UP)
    return replace(
        Instance(
            key=InstanceKey(Origin.EUREKA, SPACE, application, instance_id),
            application=application,
            service=ServiceKey("default", "default", "", "eureka", name, "0.0.1"),
            portable_id=f"{name}.{instance_id}",
            host=instance_id,
            endpoints=(f"rest://{instance_id}:8080",),
            status=status,
            reported=status,
            lease=MINUTE_AND_A_HALF,
            dirty_ms=1_000,
        ),
        **changes,
    )


def service(name: str = "orders", app: str = "shop", version: str = "1.0.0", **changes: Any) -> Microservice:
    key = ServiceKey("default", "default", changes.pop("environment", ""), app, name, version)
    return replace(Microservice(key=ServiceId(TENANT, key.derived_id), name=key), **changes)


def qualified(of: Microservice | None = None, instance_id: str = "a1", **changes: Any) -> Instance:
    """An instance of a microservice, as the ServiceCenter room makes them."""
    of = of or service()
    return replace(
        Instance(
            key=InstanceKey(Origin.SERVICECENTER, of.name.space, of.key.service_id, instance_id),
            application=f"{of.name.app}.{of.name.name}".upper(),
            service=of.name,
            portable_id=instance_id,
            host=instance_id,
            endpoints=(f"rest://{instance_id}:9090",),
            lease=TWO_MINUTES,
        ),
        **changes,
    )


def asked(name: str = "orders", app: str = "shop", environment: str = "") -> ServiceName:
    """What a consumer asks for."""
    return ServiceName("default", "default", environment, app, name)
