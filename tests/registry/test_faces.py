"""Who a consumer finds under a qualified name: N1-N12 of docs/mapping.md."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from facade.clock import ManualClock
from facade.registry import views
from facade.registry.faces import Faces
from facade.registry.model import Instance, Microservice, ServiceId, ServiceName, Space
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.registry.store import Put, Remove
from facade.registry.views import View
from facade.stores.memory import MemoryStore
from tests.registry.records import TENANT, asked, flat, qualified, service

pytestmark = pytest.mark.anyio


async def create(registry: Registry, *services: Microservice) -> None:
    await registry.transact("services", lambda: [Put(one) for one in services])


async def listed(registry: Registry, *instances: Instance) -> None:
    for instance in instances:
        await registry.register(instance)


def found(registry: Registry, name: ServiceName) -> list[tuple[str, str]]:
    """Instance id and version of all that is found, in the order of the answer."""
    view = registry.faces.find(name)
    assert view is not None
    return [(shown.instance.key.instance_id, shown.face.version) for shown in view.shown]


def revision(view: View | None) -> int:
    assert view is not None
    return view.revision


async def test_an_application_has_a_native_face(registry: Registry) -> None:
    """N1: the guide's story, in which the consumer lives in the app `eureka` too."""
    await listed(registry, flat("ACCOUNT-SERVER"))

    assert found(registry, asked("account-server", app="eureka")) == [("orders-1", "0.0.1")]
    native = registry.faces.existing(asked("account-server", app="eureka").version("0.0.1"))
    assert native is not None
    assert native.service_id == "80784229255ec96d90353e3c041bdf3586fdbbae"


async def test_a_consumer_finds_an_application_from_its_own_app(registry: Registry) -> None:
    """N2: a virtual face, presented as if registered in the consumer's own app and environment."""
    await listed(registry, flat())
    name = asked("orders", app="shop", environment="production")

    view = registry.faces.find(name)

    assert view is not None
    assert [shown.face for shown in view.shown] == [name.version("0.0.1")]


async def test_every_id_in_an_answer_can_be_asked_for(registry: Registry) -> None:
    """N3: Java-Chassis fetches the microservice of each id, and drops the whole answer when one is unknown."""
    await listed(registry, flat())
    view = registry.faces.find(asked("orders", app="shop"))
    assert view is not None
    told = ServiceId(TENANT, view.shown[0].service_id)

    face = registry.faces.face(told)
    again = registry.faces.instances(told)

    assert face is not None
    assert (face.key, face.service) == (asked("orders", app="shop").version("0.0.1"), None)
    assert again == view


async def test_one_instance_is_found_by_the_ids_that_consumers_see(registry: Registry) -> None:
    orders = service()
    await create(registry, orders)
    await listed(registry, flat("CARTS"), qualified(orders))
    carts = registry.faces.find(asked("carts"))
    assert carts is not None

    foreign = registry.faces.instance(ServiceId(TENANT, carts.shown[0].service_id), flat("CARTS").portable_id)
    native = registry.faces.instance(orders.key, "a1")
    mixed_up = registry.faces.instance(orders.key, flat("CARTS").portable_id)

    assert foreign is not None
    assert foreign.instance.application == "CARTS"
    assert native is not None
    assert native.instance.key.instance_id == "a1"
    assert mixed_up is None


async def test_equal_instances_of_two_environments_are_told_apart(registry: Registry) -> None:
    """N5: the id that consumers see is made of names that both environments have."""
    production = Space("default", "default", "production")
    here = flat()
    there = replace(
        here, key=here.key._replace(space=production), service=here.service._replace(environment="production")
    )
    await listed(registry, here, there)
    view = registry.faces.find(asked("orders"))
    assert view is not None

    shown = registry.faces.instance(ServiceId(TENANT, view.shown[0].service_id), here.portable_id)

    assert shown is not None
    assert shown.instance.key == here.key


async def test_names_of_applications_are_found_in_any_case(registry: Registry) -> None:
    """N4."""
    await listed(registry, flat())

    assert found(registry, asked("Orders")) == [("orders-1", "0.0.1")]


async def test_a_mark_asks_for_the_native_face(registry: Registry) -> None:
    """N2: Java-Chassis asks `app:name` for another app."""
    orders = service("orders", app="shop")
    await create(registry, orders)
    await listed(registry, flat(), qualified(orders))

    assert found(registry, asked("eureka:orders", app="shop")) == [("orders-1", "0.0.1")]


async def test_an_environment_has_flat_names_of_its_own(registry: Registry) -> None:
    """N5: what is not in it is looked for in the one without a name."""
    production = Space("default", "default", "production")
    own = flat(instance_id="in-production")
    own_key = own.key._replace(space=production)
    await listed(registry, flat(instance_id="anywhere"), flat("CARTS"))
    service_key = own.service._replace(environment="production")
    await registry.register(replace(own, key=own_key, service=service_key))

    assert found(registry, asked("orders", environment="production")) == [("in-production", "0.0.1")]
    assert found(registry, asked("carts", environment="production")) == [("orders-1", "0.0.1")]
    assert found(registry, asked("orders")) == [("anywhere", "0.0.1")]


async def test_an_unknown_name_means_nothing(registry: Registry) -> None:
    assert registry.faces.find(asked("nobody")) is None


async def test_a_service_that_was_there_first_stays_alone(registry: Registry) -> None:
    """N7: equal names in two worlds are usually different systems."""
    orders = service()
    await create(registry, orders)
    await listed(registry, qualified(orders), flat())

    assert found(registry, asked()) == [("a1", "1.0.0")]


async def test_a_newcomer_does_not_hide_the_instances_that_consumers_rely_on(registry: Registry) -> None:
    """N7, the sticky merge, and N8: go-chassis uses only the highest version, so all are shown under it."""
    await listed(registry, flat(instance_id="one"), flat(instance_id="two"))
    await registry.rely_on(asked())
    older, newer = service(version="1.9.0"), service(version="1.10.0")
    await create(registry, older, newer)
    await listed(registry, qualified(older, "a1"), qualified(newer, "a2"))

    assert sorted(found(registry, asked())) == [
        ("a1", "1.9.0"),
        ("a2", "1.10.0"),
        ("one", "1.10.0"),
        ("two", "1.10.0"),
    ]
    newest = registry.faces.instances(newer.key)
    assert newest is not None
    assert [shown.instance.key.instance_id for shown in newest.shown] == ["a2", "one", "two"]


async def test_an_operator_can_say_that_two_names_mean_one_system(clock: ManualClock) -> None:
    registry = Registry(MemoryStore(clock), clock, Policy(merge=frozenset({"orders"})))
    await registry.open()
    orders = service()
    await create(registry, orders)
    await listed(registry, qualified(orders), flat())

    assert found(registry, asked()) == [("a1", "1.0.0"), ("orders-1", "1.0.0")]


async def test_the_merge_survives_a_restart(clock: ManualClock) -> None:
    store = MemoryStore(clock)
    before = Registry(store, clock)
    await before.open()
    await listed(before, flat())
    await before.rely_on(asked())
    await before.close()

    after = Registry(store, clock)
    await after.open()
    orders = service()
    await create(after, orders)
    await listed(after, qualified(orders))

    assert found(after, asked()) == [("a1", "1.0.0"), ("orders-1", "1.0.0")]


async def test_an_instance_registered_by_both_protocols_is_shown_once(registry: Registry) -> None:
    """N10: ServiceCenter's readers get the ServiceCenter-born one; the other steps in when that is gone."""
    await listed(registry, flat())
    await registry.rely_on(asked())
    orders = service()
    await create(registry, orders)
    # Java-Chassis always says whether there is TLS; Eureka's side says so only when there is.
    twin = qualified(orders, endpoints=(f"{flat().endpoints[0]}?sslEnabled=false",))
    await listed(registry, twin)

    both = found(registry, asked())
    await registry.cancel(twin.key)

    assert both == [("a1", "1.0.0")]
    assert found(registry, asked()) == [("orders-1", "1.0.0")]


async def test_the_list_of_services_has_native_faces_and_no_virtual_ones(registry: Registry) -> None:
    """N12."""
    orders = service()
    await create(registry, orders)
    await listed(registry, flat("CARTS"))
    await registry.rely_on(asked("carts", app="shop"))

    assert [face.key for face in registry.faces.services(TENANT)] == [
        orders.name,
        asked("carts", app="eureka").version("0.0.1"),
    ]


async def test_an_alias_finds_only_the_versions_that_have_it(registry: Registry) -> None:
    """Case 104."""
    first, second = service(version="1.0.0", alias="shop:orders"), service(version="2.0.0")
    await create(registry, first, second)
    await listed(registry, qualified(first, "a1"), qualified(second, "a2"))

    assert found(registry, asked("shop:orders")) == [("a1", "1.0.0")]


async def test_a_name_relied_on_is_known_also_when_all_its_instances_are_gone(registry: Registry) -> None:
    """A known name without instances is an empty answer; Java-Chassis 2 forgets a provider that is unknown."""
    held = await registry.register(flat())
    await registry.rely_on(asked())
    before = registry.faces.find(asked())

    await registry.cancel(held.key)
    after = registry.faces.find(asked())

    assert after is not None
    assert after.shown == ()
    assert revision(after) > revision(before)


async def test_a_face_that_nobody_relies_on_ends_with_its_application(registry: Registry) -> None:
    held = await registry.register(flat())

    await registry.cancel(held.key)

    assert registry.faces.find(asked()) is None


async def test_the_revision_of_a_view_moves_with_what_it_shows_and_nothing_else(registry: Registry) -> None:
    orders, carts = service(), service("carts")
    await create(registry, orders, carts)
    start = revision(registry.faces.find(asked()))

    await listed(registry, qualified(carts))
    unmoved = revision(registry.faces.find(asked()))
    await listed(registry, qualified(orders))
    moved = revision(registry.faces.find(asked()))
    await registry.cancel(qualified(orders).key)
    moved_again = revision(registry.faces.find(asked()))

    assert unmoved == start < moved < moved_again


async def test_a_change_is_told_under_every_name_by_which_consumers_find_the_instance(registry: Registry) -> None:
    await listed(registry, flat())
    await registry.rely_on(asked("orders", app="shop"))

    names = [name for name, _ in registry.faces.names_of(flat())]

    assert names == [asked("orders", app="eureka"), asked("orders", app="shop")]


async def test_an_instance_hidden_behind_a_service_is_not_told_of(registry: Registry) -> None:
    orders = service("orders", app="eureka")
    await create(registry, orders)

    assert registry.faces.names_of(flat()) == []


async def test_a_service_that_is_deleted_means_nothing_any_more(registry: Registry) -> None:
    orders = service()
    await create(registry, orders)

    await registry.transact(orders.key, lambda: [Remove(orders.key)])

    assert registry.faces.find(asked()) is None
    assert registry.faces.face(orders.key) is None


async def test_an_application_that_is_not_shared_means_nothing_here(clock: ManualClock) -> None:
    """N11."""
    registry = Registry(MemoryStore(clock), clock, Policy(hide=frozenset({"orders"})))
    await registry.open()
    await listed(registry, flat(), flat("CARTS"))

    assert registry.faces.find(asked()) is None
    assert registry.faces.existing(asked("orders", app="eureka").version("0.0.1")) is None
    assert [face.key.name for face in registry.faces.services(TENANT)] == ["carts"]
    assert registry.faces.names_of(flat()) == []


# What is kept of answers

NAMES = [
    asked("orders"),
    asked("ORDERS", app="other"),
    asked("orders", app="eureka"),
    asked("eureka:orders"),
    asked("carts"),
    asked("alias"),
    asked("carts", app="eureka"),
    asked("carts", environment="production"),
]
IN_PRODUCTION = flat("CARTS", "carts-9")
IN_PRODUCTION = replace(
    IN_PRODUCTION,
    key=IN_PRODUCTION.key._replace(space=Space(environment="production")),
    service=IN_PRODUCTION.service._replace(environment="production"),
)
CARTS = service("carts", version="2.0.0", alias="alias")
PLAIN = service("carts", app="eureka")  # of a plain app: its flat name is CARTS, as that of the application
NATIVE = qualified(PLAIN, "c1", application="CARTS")

Step = Callable[[Registry], Awaitable[object]]
STEPS: dict[str, Step] = {
    "flat": lambda registry: registry.register(flat()),
    "flat again": lambda registry: registry.register(flat(dirty_ms=registry.clock.now_ms(), host="moved")),
    "second flat": lambda registry: registry.register(flat(instance_id="orders-2")),
    "flat goes": lambda registry: gone(registry, flat()),
    "second goes": lambda registry: gone(registry, flat(instance_id="orders-2")),
    "service": lambda registry: create(registry, service()),
    "service goes": lambda registry: registry.transact("services", lambda: [Remove(service().key)]),
    "newer service": lambda registry: create(registry, service(version="2.0.0")),
    "qualified": lambda registry: registry.register(qualified()),
    "qualified goes": lambda registry: gone(registry, qualified()),
    "all at once": lambda registry: registry.transact("services", lambda: [Put(service()), Put(qualified())]),
    "carts": lambda registry: create(registry, CARTS),
    "carts without alias": lambda registry: create(registry, replace(CARTS, alias="")),
    "of carts": lambda registry: registry.register(qualified(CARTS, "b1")),
    "flat carts": lambda registry: registry.register(flat("CARTS", "carts-1")),
    "flat carts go": lambda registry: gone(registry, flat("CARTS", "carts-1")),
    "native carts": lambda registry: registry.transact("services", lambda: [Put(PLAIN), Put(NATIVE)]),
    "native carts go": lambda registry: gone(registry, NATIVE),
    "carts in production": lambda registry: registry.register(IN_PRODUCTION),
    "carts in production go": lambda registry: gone(registry, IN_PRODUCTION),
    "production relied on": lambda registry: registry.rely_on(asked("carts", environment="production")),
    "relied on": lambda registry: registry.rely_on(asked("orders")),
    "carts relied on": lambda registry: registry.rely_on(asked("carts", app="eureka")),
}


async def gone(registry: Registry, instance: Instance) -> None:
    if registry.catalogue.instance(instance.key) is not None:
        await registry.cancel(instance.key)


def views_of(look: Faces, ids: set[ServiceId]) -> dict[ServiceName | ServiceId, View | None]:
    return {name: look.find(name) for name in NAMES} | {one: look.instances(one) for one in ids}


async def played(steps: list[str]) -> None:
    """After every change all that is kept is what a first look would find; someone looks within each, too."""
    clock = ManualClock()
    registry = Registry(MemoryStore(clock), clock, Policy(merge=("carts",), plain_apps=("eureka",)))
    await registry.open()
    registry.feed.follow(lambda _change: [registry.faces.find(name) for name in NAMES] and None)
    ids: set[ServiceId] = set()
    shown_at: dict[tuple[object, int], object] = {}
    for step in steps:
        await STEPS[step](registry)
        first_look = Faces(registry.catalogue, registry.policy)
        kept, fresh = views_of(registry.faces, ids), views_of(first_look, ids)
        for asked_for, view in kept.items():
            expected = fresh[asked_for]
            if view is not None and expected is not None:
                assert view.shown == expected.shown
                assert shown_at.setdefault((asked_for, view.revision), view.shown) == view.shown
                ids |= {ServiceId(TENANT, told) for told in view.service_ids}
    await registry.close()


@given(steps=st.lists(st.sampled_from(sorted(STEPS)), max_size=25))
def test_what_is_found_is_never_out_of_date(steps: list[str]) -> None:
    asyncio.run(played(steps))


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(["all at once"], id="looked at between two writes of one commit"),
        pytest.param(
            ["flat carts", "native carts", "carts", "flat carts go", "native carts go"],
            id="the application's own revision is forgotten",
        ),
        pytest.param(
            ["flat carts", "carts in production", "production relied on", "carts in production go"],
            id="another environment takes its place",
        ),
        pytest.param(
            ["flat carts", "carts", "of carts", "flat carts go"],
            id="a service that an application had joined",
        ),
    ],
)
async def test_traces_that_once_went_wrong(steps: list[str]) -> None:
    await played(steps)


async def test_a_view_is_made_once_between_two_changes(registry: Registry) -> None:
    await listed(registry, flat())
    name = asked("orders")
    await registry.rely_on(name)

    first, second = registry.faces.find(name), registry.faces.find(name)
    await listed(registry, flat(host="moved", dirty_ms=2_000))
    third = registry.faces.find(name)

    assert second is first
    assert third is not first


async def test_kept_views_are_bounded(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks chooses the app, so it could be a new one each time."""
    monkeypatch.setattr(views, "KEPT_SHOWN", 5)
    await listed(registry, flat(), flat(instance_id="orders-2"))
    names = [asked("orders", app=f"app-{number}") for number in range(4)]
    for name in names:
        await registry.rely_on(name)

    first = registry.faces.find(names[0])
    for name in names[1:]:
        registry.faces.find(name)

    assert registry.faces.find(names[3]) is registry.faces.find(names[3])
    assert registry.faces.find(names[0]) is not first
