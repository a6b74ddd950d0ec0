"""What a real registry holds for the other protocol is told, and restored, as what it is."""

from __future__ import annotations

from facade.eureka import mapping as eureka
from facade.inspection.comparison import Side, compared
from facade.inspection.contents import Contents, HeldApplication, HeldService
from facade.inspection.listing import listing_of
from facade.inspection.unpacking import key_of, unpacked
from facade.registry.model import Instance, Microservice, ServiceId, Space, Tenant
from facade.registry.rules import Policy
from facade.servicecenter import mapping as servicecenter
from facade.servicecenter.records import MicroServiceInstance
from facade.stores import packed_in_eureka, packed_in_servicecenter
from tests.inspection.examples import cart, cart_instance, contents, orders, packed_orders

POLICY = Policy()


def in_servicecenter(held: HeldApplication) -> HeldService:
    """As a ServiceCenter behind us keeps a Eureka instance."""
    instance = eureka.to_instance(held.document, Space(environment=held.environment), POLICY, 0)
    packed = packed_in_servicecenter.pack(instance)
    implied = packed_orders().document
    return HeldService(implied, {}, (), (MicroServiceInstance(**_members(packed, service_id="s-orders")),))


def _members(document: MicroServiceInstance, **changes: str) -> dict[str, object]:
    return {name: getattr(document, name) for name in document.__struct_fields__} | changes


def in_eureka(held: HeldService) -> list[HeldApplication]:
    """As a Eureka behind us keeps a ServiceCenter's instances."""
    name = key_of(held.document)
    service = servicecenter.to_service(held.document, Tenant(), held.tags, 0, POLICY)
    named = Microservice(key=ServiceId(Tenant(), held.document.service_id), name=name)
    kept: list[Instance] = [servicecenter.to_instance(one, named, one.instance_id, POLICY) for one in held.instances]
    return [HeldApplication(packed_in_eureka.pack(one, service)) for one in kept]


def differences(a: Contents, b: Contents) -> list[str]:
    found = compared(*(Side.of(one, listing_of(one, POLICY)) for one in (a, b)))
    return [str(difference) for difference in found.differences]


def test_a_eureka_instance_kept_in_a_servicecenter_is_one_again() -> None:
    held = unpacked(contents(in_servicecenter(orders())), POLICY)

    assert held.services == ()
    assert held.applications[0].document.metadata == {"zone": "a"}
    assert differences(contents(orders()), held) == []


def test_a_servicecenter_instance_kept_in_a_eureka_is_one_again_with_its_service() -> None:
    """Also where no HTTP client could call it, and with properties that Eureka's XML could not hold."""
    whole = cart(cart_instance(properties={"a b": "1"}), cart_instance("cart-2", endpoints=("highway://10.0.0.2:7",)))

    held = unpacked(contents(*in_eureka(whole)), POLICY)

    assert held.applications == ()
    assert held.services[0].tags == whole.tags
    assert [one.endpoints for one in held.services[0].instances] == [one.endpoints for one in whole.instances]
    assert differences(contents(whole), contents(*in_eureka(whole))) == []


def test_a_copy_beside_its_original_is_told_once() -> None:
    held = unpacked(contents(orders(), in_servicecenter(orders())), POLICY)

    assert len(held.applications) == 1
