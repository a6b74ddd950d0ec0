"""What counts as a difference, and what only looks like one because two protocols tell of the same thing."""

from __future__ import annotations

import pytest

from facade.eureka.records import Port
from facade.inspection.comparison import Comparison, Side, compared
from facade.inspection.contents import Contents
from facade.inspection.listing import listing_of
from facade.registry.model import Status
from facade.registry.rules import Policy
from facade.servicecenter.records import MicroService
from tests.inspection.examples import (
    cart,
    cart_instance,
    contents,
    orders,
    packed_orders,
    projected_cart,
)

POLICY = Policy()


def compare(a: Contents, b: Contents) -> Comparison:
    return compared(*(Side.of(one, listing_of(one, POLICY)) for one in (a, b)))


def told(a: Contents, b: Contents) -> list[str]:
    return [str(found) for found in compare(a, b).differences]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        pytest.param(contents(orders()), contents(packed_orders()), id="eureka-born"),
        pytest.param(contents(cart(cart_instance())), contents(projected_cart()), id="servicecenter-born"),
        pytest.param(
            contents(orders(), projected_cart()), contents(packed_orders(), cart(cart_instance())), id="both-published"
        ),
        pytest.param(
            contents(orders(metadata={"zone": "a", "_sc.endpoints": "x", "_bridge.v": "1"})),
            contents(orders()),
            id="marks",
        ),
        pytest.param(
            contents(orders(), orders(app="EUREKA", instance_id="self", port=Port(8761, True))),
            contents(packed_orders(), cart(app_id="default", service_name="SERVICECENTER")),
            id="the-registries-themselves",
        ),
        pytest.param(
            contents(orders(status=Status.UNKNOWN)),
            contents(
                packed_orders(
                    status="DOWN",
                    properties={"zone": "a", "_eureka.app": "ORDERS", "_eureka.instanceId": "orders-1"}
                    | {"_eureka.status": "UNKNOWN"},
                )
            ),
            id="a-status-without-a-word",
        ),
        pytest.param(
            contents(orders(secure_port=Port(8443, True))),
            contents(packed_orders(endpoints=("rest://10.0.0.1:8443?sslEnabled=true",))),
            id="the-one-endpoint-that-fits",
        ),
    ],
)
def test_the_same_instance_told_by_the_other_protocol_is_no_difference(a: Contents, b: Contents) -> None:
    assert told(a, b) == []
    assert told(b, a) == []


def test_instances_without_a_common_id_are_paired_by_address() -> None:
    """Registered twice by hand, once in each registry."""
    twin = cart(cart_instance(endpoints=("rest://10.0.0.1:8080",), properties={"zone": "a"}), app_id="eureka")
    named = twin._replace(document=MicroService(service_id="s", app_id="eureka", service_name="Orders", version="1"))

    assert told(contents(orders()), contents(named)) == []


def test_what_only_one_side_has_is_told_with_status_and_address() -> None:
    a = contents(orders(), orders("orders-2", ip_addr="10.0.0.7", host_name="o7"))
    b = contents(orders(), orders("orders-3", ip_addr="10.0.0.8", host_name="o8", status=Status.DOWN))

    assert told(a, b) == [
        "only in A: ORDERS orders-2: UP at 10.0.0.7:8080",
        "only in B: ORDERS orders-3: DOWN at 10.0.0.8:8080",
    ]


def test_status_metadata_and_address_are_told_each_on_a_line() -> None:
    changed = orders(status=Status.DOWN, metadata={"zone": "b"}, port=Port(9999, True))

    assert told(contents(orders()), contents(changed)) == [
        "differs: ORDERS orders-1: address 10.0.0.1:8080 in A, 10.0.0.1:9999 in B",
        "differs: ORDERS orders-1: metadata zone is 'a' in A, 'b' in B",
        "differs: ORDERS orders-1: status UP in A, DOWN in B",
    ]


def test_an_application_registered_in_both_protocols_of_one_server_counts_once() -> None:
    """N10: the other side may tell of one of the two only."""
    twin = cart(cart_instance(endpoints=("rest://10.0.0.1:8080",)), app_id="eureka", service_name="orders")

    assert told(contents(orders()), contents(orders(), twin)) == []


def test_two_instances_of_one_protocol_at_one_address_are_two() -> None:
    assert told(contents(orders()), contents(orders(), orders("orders-2"))) == [
        "only in B: ORDERS orders-2: UP at 10.0.0.1:8080"
    ]


def test_the_same_name_and_address_in_another_environment_is_another_instance() -> None:
    assert len(told(contents(orders()), contents(orders(environment="testing")))) == 2


def test_what_eureka_cannot_list_is_counted_apart() -> None:
    a = contents(cart(cart_instance(), cart_instance("cart-2", endpoints=("highway://10.0.0.2:7070",))))

    found = compare(a, contents(projected_cart()))

    assert (found.differences, found.same, found.beyond_eureka) == ((), 1, 1)


def test_services_are_compared_where_both_sides_can_hold_them() -> None:
    changed = cart(properties={"owner": "nobody"})._replace(tags={})

    assert told(contents(cart()), contents(orders())) == ["only in B: ORDERS orders-1: UP at 10.0.0.1:8080"]
    assert told(contents(cart()), contents(changed)) == [
        "differs: service shop/cart 1.0.0: properties owner is 'team' in A, 'nobody' in B",
        "differs: service shop/cart 1.0.0: tags tier is 'gold' in A, missing in B",
    ]
    assert told(contents(cart()), contents(cart(), cart(service_id="s-cart-2", version="2.0.0"))) == [
        "only in B: service shop/cart 2.0.0"
    ]
