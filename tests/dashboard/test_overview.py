"""What the dashboard computes: names in both worlds, state in plain words."""

from __future__ import annotations

import pytest

from facade.dashboard.overview import health, overview
from facade.registry import rules
from facade.registry.model import Cause, Origin, Status
from facade.registry.registry import Registry
from facade.registry.store import Put
from tests.registry.records import asked, flat, qualified, service

pytestmark = pytest.mark.anyio


async def test_an_application_is_listed_with_where_it_was_born(registry: Registry) -> None:
    orders = service()
    await registry.transact("services", lambda: [Put(orders)])
    await registry.register(flat("CARTS"))
    await registry.register(qualified(orders))

    shown = overview(registry).shown

    assert [(row.name, row.origins) for row in shown] == [
        ("CARTS", [Origin.EUREKA]),
        ("SHOP.ORDERS", [Origin.SERVICECENTER]),
    ]


async def test_an_instance_is_shown_with_its_names_in_the_other_protocol(registry: Registry) -> None:
    await registry.register(flat())
    await registry.rely_on(asked("orders", app="shop", environment="production"))

    row = overview(registry).shown[0].instances[0]

    assert row.other_names == ["ServiceCenter: eureka/orders 0.0.1", "ServiceCenter: production/shop/orders 0.0.1"]


async def test_an_instance_that_a_service_hides_is_told_to_be_hidden(registry: Registry) -> None:
    """Otherwise nobody understands why a consumer does not find it (N7)."""
    orders = service("orders", app="eureka")
    await registry.transact("services", lambda: [Put(orders)])
    await registry.register(flat())

    row = overview(registry).shown[0].instances[0]

    assert row.other_names == []


async def test_the_filter_finds_parts_of_names_in_any_case(registry: Registry) -> None:
    await registry.register(flat("CARTS"))
    await registry.register(flat("ORDERS"))

    found = overview(registry, "art")

    assert [row.name for row in found.shown] == ["CARTS"]
    assert found.applications == 2


async def test_the_latest_changes_come_first_with_their_cause(registry: Registry) -> None:
    held = await registry.register(flat())
    await registry.amend(held.key, lambda instance: rules.overridden(instance, Status.OUT_OF_SERVICE))

    assert [(row.cause, row.what) for row in overview(registry).changes] == [
        (Cause.AMENDED, "ORDERS orders-1 OUT_OF_SERVICE"),
        (Cause.REGISTERED, "ORDERS orders-1 UP"),
    ]


async def test_health_explains_the_store_and_each_protocol(registry: Registry) -> None:
    state = health(registry)

    assert state.store_is_writable
    assert [origin for origin, _ in state.protections] == list(Origin)
