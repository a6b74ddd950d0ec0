"""What others write straight into the registry behind us is in both our views within seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from .setups import SETUPS, Born, Setup, soon

AS_REGISTERED = ("UP", "UP")
GONE = ("", "")

held_natively = pytest.mark.parametrize(
    ("setup", "protocol"),
    [(name, protocol) for name, protocols in SETUPS.items() for protocol in protocols],
    ids=[f"{name}-behind-{protocol}" for name, protocols in SETUPS.items() for protocol in protocols],
    indirect=["setup"],
)


@pytest.fixture
def born(setup: Setup, protocol: str, name: str) -> Iterator[Born]:
    """Registered there, and seen by us."""
    straight = setup.straight(protocol)
    born = straight.register(protocol, name)

    def is_found() -> None:
        assert setup.node.servicecenter_finds(name)

    print(f"found by us after {soon(is_found):.1f} s")
    (found,) = setup.node.servicecenter_finds(name).values()
    yield replace(born, service_id=found["serviceId"], sc_id=found["instanceId"])
    straight.cancel(born)


@held_natively
def test_an_instance_comes_and_goes(setup: Setup, protocol: str, born: Born) -> None:
    assert setup.node.shows(born) == AS_REGISTERED

    assert setup.straight(protocol).cancel(born) == 200
    print(f"gone from us after {until_shown(setup, born, GONE):.1f} s")


@held_natively
def test_one_that_is_drained_there_is_drained_here(setup: Setup, protocol: str, born: Born) -> None:
    setup.straight(protocol).drain(protocol, born)
    until_shown(setup, born, ("OUT_OF_SERVICE", "OUTOFSERVICE"))

    setup.straight(protocol).put_back(protocol, born)
    until_shown(setup, born, AS_REGISTERED)


@held_natively
def test_what_it_says_anew_is_seen_here(setup: Setup, protocol: str, born: Born) -> None:
    if protocol == "eureka":
        again: dict[str, Any] = {"metadata": {"zone": "z2"}, "lastDirtyTimestamp": "2000"}
        setup.straight(protocol).register(protocol, born.name, **again)
    else:
        properties = {"properties": {"zone": "z2"}}
        setup.straight(protocol).sc.put(f"{born.in_servicecenter}/properties", properties)

    def is_seen() -> None:
        assert setup.node.eureka_lists(born.name)[born.eureka_id]["metadata"]["zone"] == "z2"
        assert setup.node.servicecenter_finds(born.name)[born.sc_id]["properties"]["zone"] == "z2"

    soon(is_seen)


@pytest.mark.parametrize("setup", ["servicecenter", "eureka"], indirect=True, ids=lambda name: f"{name}-behind")
@pytest.mark.parametrize("by", ["drain", "cancel"])
def test_a_packed_instance_is_what_the_operators_there_make_of_it(setup: Setup, name: str, by: str) -> None:
    """One of the other protocol, registered through us, then drained or removed by somebody who knows nothing of us."""
    keeper = next(iter(setup.upstreams))
    foreign = "eureka" if keeper == "servicecenter" else "servicecenter"
    born = setup.node.register(foreign, name)
    there = replace(born, protocol=keeper)  # asked in the keeper's words

    def is_known_to_the_other_node() -> None:
        assert setup.other.shows(born) == AS_REGISTERED

    soon(is_known_to_the_other_node)

    if by == "drain":
        setup.straight(keeper).drain(keeper, there)
        until_shown(setup, born, ("OUT_OF_SERVICE", "OUTOFSERVICE"))
        setup.node.cancel(born)
    else:
        assert setup.straight(keeper).cancel(there) == 200
        until_shown(setup, born, GONE)


def until_shown(setup: Setup, born: Born, statuses: tuple[str, str]) -> float:
    """Wait until both our views show it so."""

    def is_shown() -> None:
        assert setup.node.shows(born) == statuses

    return soon(is_shown)
