"""What the service pages compute: both worlds in one list, who calls whom, by whichever name."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from facade.dashboard.relations import Relation, callers_of, providers_of, relations
from facade.dashboard.services import SchemaRow, face_of, matches, row, schemas_of, services
from facade.registry.faces import Face
from facade.registry.model import (
    ConsumerId,
    Dependencies,
    Microservice,
    Origin,
    Schema,
    SchemaId,
    ServiceId,
    ServiceName,
    Status,
    Tenant,
)
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.registry.store import Put
from tests.registry.records import TENANT, asked, flat, qualified, service

pytestmark = pytest.mark.anyio


async def put(registry: Registry, *records: Microservice | Schema | Dependencies) -> None:
    await registry.transact("services", lambda: [Put(record) for record in records])


def calling(consumer: Microservice, *providers: ServiceName) -> Dependencies:
    return Dependencies(key=ConsumerId(consumer.key), providers=providers)


def faces(registry: Registry) -> dict[str, Face]:
    return {face.key.name: face for face in services(registry, TENANT)}


async def test_services_of_both_worlds_stand_in_one_list(registry: Registry) -> None:
    orders = service()
    await put(registry, orders)
    await registry.register(qualified(orders, registered_ms=0))
    await registry.register(flat("CARTS", status=Status.DOWN))

    rows = {face.key.name: row(registry, face) for face in services(registry, TENANT)}

    assert [(name, one.origins, one.statuses) for name, one in sorted(rows.items())] == [
        ("carts", [Origin.EUREKA], [(Status.DOWN, 1)]),
        ("orders", [Origin.SERVICECENTER], [(Status.UP, 1)]),
    ]


async def test_an_application_that_joined_a_service_counts_there(registry: Registry) -> None:
    """N7: somebody found the application under the name before the service came."""
    await registry.register(flat())
    await registry.rely_on(asked())
    orders = service()
    await put(registry, orders)
    await registry.register(qualified(orders))

    face = face_of(registry, orders.key)
    assert face is not None
    shown = row(registry, face)

    assert (shown.origins, shown.instances) == ([Origin.EUREKA, Origin.SERVICECENTER], 2)


class TestHidden:
    @pytest.fixture
    def policy(self) -> Policy:
        return Policy(self_preservation=False, hide=frozenset({"ORDERS"}))

    async def test_what_a_setting_hides_from_clients_an_operator_sees(self, registry: Registry) -> None:
        await registry.register(flat())

        face = face_of(registry, ServiceId(TENANT, flat().service.derived_id))

        assert face is not None
        assert face in list(services(registry, TENANT))
        assert row(registry, face).instances == 1


async def test_other_tenants_are_listed_and_kept_apart(registry: Registry) -> None:
    ledger = service("ledger")
    bank = Tenant("bank", "default")
    name = ledger.name._replace(domain="bank")
    await put(registry, replace(ledger, key=ServiceId(bank, name.derived_id), name=name))
    await registry.register(flat())

    assert set(registry.catalogue.tenants()) == {TENANT, bank}
    assert [face.key.name for face in services(registry, bank)] == ["ledger"]
    assert [face.key.name for face in services(registry, TENANT)] == ["orders"]


@pytest.mark.parametrize(
    ("wanted", "is_found"),
    [("", True), ("ORD", True), ("shop 1.0", True), ("production", False), ("till", True), ("ord x", False)],
)
def test_the_search_finds_words_of_all_that_a_service_is_called(wanted: str, is_found: bool) -> None:
    orders = service(alias="till")

    assert matches(Face(orders.name, "0ff1ce", orders), wanted) is is_found


async def test_a_consumer_of_an_application_is_found_by_each_of_its_names(registry: Registry) -> None:
    """A service in app `shop` asks for shop/carts and finds CARTS, which is eureka/carts."""
    orders, stock = service(), service("stock", app="depot")
    await registry.register(flat("CARTS"))
    await put(registry, orders, stock)
    await put(
        registry,
        calling(orders, asked("carts")),
        calling(stock, asked("carts", app="depot"), asked("Carts", app="eureka")),
    )

    carts = faces(registry)["carts"]

    assert [face.key.name for face in callers_of(registry, carts)] == ["orders", "stock"]
    assert [
        (name.app, [face.key.app for face in found])
        for name, found in providers_of(registry, faces(registry)["orders"])
    ] == [("shop", ["eureka"])]


async def test_an_alias_that_another_service_has_for_a_name_leads_to_that_one(registry: Registry) -> None:
    """Names come before aliases."""
    orders, till, stock = service(alias="till"), service("till"), service("stock")
    await put(registry, orders, stock, calling(stock, asked("till")))
    before = [face.key.name for face in callers_of(registry, faces(registry)["orders"])]
    await put(registry, till)

    called = {
        name: [one.key.name for one in callers_of(registry, faces(registry)[name])] for name in ("orders", "till")
    }

    assert before == ["stock"]
    assert called == {"orders": [], "till": ["stock"]}


async def test_relations_name_services_and_applications_once(registry: Registry) -> None:
    orders, newer = service(), service(version="2.0.0")
    await registry.register(flat("CARTS"))
    await put(registry, orders, newer)
    await put(registry, calling(orders, asked("carts"), asked("orders")), calling(newer, asked("nobody")))

    found = [one for one in relations(registry, TENANT) if one is not None]

    name = orders.name.unversioned
    assert found == [Relation(name, asked("carts", app="eureka")), Relation(name, asked("nobody"))]


async def test_a_provider_that_is_not_there_is_told_by_the_name_it_is_asked_by(registry: Registry) -> None:
    orders = service()
    await put(registry, orders, calling(orders, asked("nobody")))

    assert providers_of(registry, faces(registry)["orders"]) == [(asked("nobody"), [])]


async def test_schemas_are_declared_with_or_without_content(registry: Registry) -> None:
    orders = service(schemas=("a", "b"))
    held = [Schema(key=SchemaId(orders.key, name), text="x" * 5, summary="s") for name in ("b", "c")]
    await put(registry, orders, *held)

    assert schemas_of(registry, orders) == [
        SchemaRow("a", "", None, True),
        SchemaRow("b", "s", 5, True),
        SchemaRow("c", "s", 5, False),
    ]
