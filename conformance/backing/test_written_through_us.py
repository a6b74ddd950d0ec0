"""What our clients write is behind us before they are answered, and in both views in the very next answer.

Nothing here waits: the registry behind is asked live, past its caches, as soon as our answer is there.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .setups import PROTOCOLS, Born, Setup, soon

Registered = Callable[..., Born]

DRAINED = {"eureka": "OUT_OF_SERVICE", "servicecenter": "OUTOFSERVICE"}

born_in = pytest.mark.parametrize("protocol", PROTOCOLS)


@born_in
def test_a_registration_is_behind_before_its_answer(
    setup: Setup, registered: Registered, protocol: str, name: str
) -> None:
    born = registered(protocol, name)

    there = setup.behind(born)
    assert there is not None and there["status"] == "UP"
    assert setup.node.shows(born) == ("UP", "UP")


@born_in
def test_a_cancellation_is_behind_before_its_answer(
    setup: Setup, registered: Registered, protocol: str, name: str
) -> None:
    born = registered(protocol, name)

    assert setup.node.cancel(born) == 200
    assert setup.behind(born) is None
    assert setup.node.shows(born) == ("", "")


@born_in
@pytest.mark.parametrize("by", PROTOCOLS)
def test_draining_is_behind_before_its_answer(
    setup: Setup, registered: Registered, protocol: str, by: str, name: str
) -> None:
    """By an operator of either protocol, whichever the instance was born in; then it is put back."""
    born = registered(protocol, name)

    assert setup.node.drain(by, born) == 200
    drained = setup.behind(born)
    assert drained is not None and drained["status"] == DRAINED[setup.keeper(protocol).protocol]
    assert setup.node.shows(born) == ("OUT_OF_SERVICE", "OUTOFSERVICE")

    assert setup.node.put_back(by, born) == 200
    back = setup.behind(born)
    assert back is not None and back["status"] == "UP"
    assert setup.node.shows(born) == ("UP", "UP")


def test_a_drained_application_that_registers_again_stays_drained(
    setup: Setup, registered: Registered, name: str
) -> None:
    """An override survives its owner's next word, as Netflix's rules have it."""
    born = registered("eureka", name)
    setup.node.drain("servicecenter", born)

    setup.node.register("eureka", name, lastDirtyTimestamp="2000", port={"$": 8081, "@enabled": "true"})

    assert setup.node.shows(born) == ("OUT_OF_SERVICE", "OUTOFSERVICE")
    there = setup.behind(born)
    assert there is not None and there["status"] == DRAINED[setup.keeper("eureka").protocol]


@pytest.mark.parametrize("instance_id", ["10.0.0.1:orders:8080", "a" * 200, "Ünï:côdé", "semi;colon,comma"])
def test_an_id_of_eureka_is_kept_as_it_is(setup: Setup, registered: Registered, name: str, instance_id: str) -> None:
    """ServiceCenter itself takes no such id."""
    born = registered("eureka", name, instance_id=instance_id)

    assert setup.behind(born) is not None
    assert set(setup.node.eureka_lists(name)) == {instance_id}
    assert setup.node.renew(born) == 200

    def is_known_to_the_other_node() -> None:
        assert set(setup.other.eureka_lists(name)) == {instance_id}

    soon(is_known_to_the_other_node)


@born_in
def test_a_new_address_of_the_same_id_is_behind_before_its_answer(
    setup: Setup, registered: Registered, protocol: str, name: str
) -> None:
    """A real ServiceCenter would only renew it, and no call of its protocol changes endpoints."""
    born = registered(protocol, name)

    if protocol == "eureka":
        setup.node.register(protocol, name, port={"$": 9090, "@enabled": "true"}, lastDirtyTimestamp="2000")
    else:
        setup.node.register(protocol, name, instanceId=born.sc_id, endpoints=["rest://10.0.0.1:9090"])

    there = setup.behind(born)
    assert there is not None and "9090" in str(there.get("endpoints") or there.get("port"))
    assert setup.node.servicecenter_finds(name)[born.sc_id]["endpoints"] == ["rest://10.0.0.1:9090"]
    assert setup.node.eureka_lists(name)[born.eureka_id]["port"] == {"$": 9090, "@enabled": "true"}


@born_in
def test_a_renewal_of_nobody_is_refused(setup: Setup, registered: Registered, protocol: str, name: str) -> None:
    """That is what makes real clients register again."""
    born = registered(protocol, name)
    setup.node.cancel(born)

    assert setup.node.renew(born) == (404 if protocol == "eureka" else 400)
