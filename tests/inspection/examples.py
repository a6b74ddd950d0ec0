"""Contents for the tests of this room: ordinary documents, with what a test wants changed."""

from __future__ import annotations

from typing import Any

from facade.eureka.records import DataCenterInfo, InstanceInfo, Port
from facade.inspection.contents import Contents, HeldApplication, HeldService
from facade.servicecenter.records import FrameWork, MicroService, MicroServiceInstance, Schema


def orders(instance_id: str = "orders-1", environment: str = "", **changes: Any) -> HeldApplication:
    """A Eureka instance at 10.0.0.1:8080."""
    members: dict[str, Any] = {
        "instance_id": instance_id,
        "host_name": "orders.local",
        "app": "ORDERS",
        "ip_addr": "10.0.0.1",
        "port": Port(8080, True),
        "data_center_info": DataCenterInfo("MyOwn"),
        "metadata": {"zone": "a"},
        "last_dirty_ms": 1000,
    }
    return HeldApplication(InstanceInfo(**(members | changes)), environment)


def packed_orders(**changes: Any) -> HeldService:
    """The same as a ServiceCenter tells of it."""
    properties = {"zone": "a", "_eureka.app": "ORDERS", "_eureka.instanceId": "orders-1", "_bridge.origin": "eureka"}
    instance = MicroServiceInstance(
        **(
            {
                "instance_id": "0f" * 16,
                "service_id": "s-orders",
                "endpoints": ("rest://10.0.0.1:8080",),
                "status": "UP",
                "properties": properties,
            }
            | changes
        )
    )
    document = MicroService(
        service_id="s-orders",
        app_id="eureka",
        service_name="orders",
        version="0.0.1",
        framework=FrameWork(name="eureka", version="0.0.1"),
    )
    return HeldService(document, {}, (), (instance,))


def cart(*instances: MicroServiceInstance, **changes: Any) -> HeldService:
    """A ServiceCenter service shop/cart 1.0.0 with a schema and a tag."""
    members: dict[str, Any] = {
        "service_id": "s-cart",
        "app_id": "shop",
        "service_name": "cart",
        "version": "1.0.0",
        "schemas": ("api",),
        "properties": {"owner": "team"},
        "timestamp": "1700000000",
    }
    document = MicroService(**(members | changes))
    return HeldService(document, {"tier": "gold"}, (Schema(schema_id="api", summary="5", schema="{}"),), instances)


def cart_instance(instance_id: str = "cart-1", **changes: Any) -> MicroServiceInstance:
    """At 10.0.0.2:9090, by HTTP."""
    members: dict[str, Any] = {
        "instance_id": instance_id,
        "service_id": "s-cart",
        "host_name": "cart.local",
        "endpoints": ("rest://10.0.0.2:9090",),
        "status": "UP",
        "properties": {"weight": "1"},
    }
    return MicroServiceInstance(**(members | changes))


def projected_cart(**changes: Any) -> HeldApplication:
    """The same instance as a Eureka server tells of it."""
    metadata = {
        "version": "1.0.0",
        "weight": "1",
        "_sc.appId": "shop",
        "_sc.serviceId": "s-cart",
        "_sc.endpoints": '["rest://10.0.0.2:9090"]',
    }
    members: dict[str, Any] = {
        "instance_id": "cart-1",
        "host_name": "10.0.0.2",
        "app": "SHOP.CART",
        "ip_addr": "10.0.0.2",
        "port": Port(9090, True),
        "data_center_info": DataCenterInfo("MyOwn"),
        "metadata": metadata,
    }
    return HeldApplication(InstanceInfo(**(members | changes)))


def contents(*held: HeldService | HeldApplication) -> Contents:
    services = tuple(one for one in held if isinstance(one, HeldService))
    applications = tuple(one for one in held if isinstance(one, HeldApplication))
    return Contents(
        place="http://10.0.0.9:1",
        product="test",
        taken_ms=1_750_000_000_000,
        services=services,
        applications=applications,
        speaks_servicecenter=bool(services),
        speaks_eureka=bool(applications),
    )
