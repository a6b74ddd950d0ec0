"""Two nodes of ours in front of the same registries, and the same change made on both sides of us at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from .setups import PROTOCOLS, Born, Node, Setup, soon

Registered = Callable[..., Born]

AS_REGISTERED, GONE = ("UP", "UP"), ("", "")
STAYS_GONE_FOR_S = 4.0
"""Longer than two readings, two batches of renewals, and a ServiceCenter's own delay of deletions."""

born_in = pytest.mark.parametrize("protocol", PROTOCOLS)


@born_in
def test_what_one_writes_the_other_shows(setup: Setup, registered: Registered, protocol: str, name: str) -> None:
    born = registered(protocol, name)
    print(f"shown by the other node after {until_shown(setup.other, born, AS_REGISTERED):.2f} s")

    setup.node.drain(protocol, born)
    until_shown(setup.other, born, ("OUT_OF_SERVICE", "OUTOFSERVICE"))

    setup.node.cancel(born)
    print(f"gone from the other node after {until_shown(setup.other, born, GONE):.2f} s")


@born_in
def test_an_instance_that_moves_between_nodes_stays_one(
    setup: Setup, registered: Registered, protocol: str, name: str
) -> None:
    """Registered with one, renewed with the other, cancelled with the first: gone, and it stays gone.

    Unless its owner renews it after all: then it is alive, and back.
    """
    born = registered(protocol, name)
    until_shown(setup.other, born, AS_REGISTERED)
    assert setup.other.renew(born) == 200
    assert setup.node.cancel(born) == 200

    until_shown(setup.other, born, GONE)
    give_up_at = time.monotonic() + STAYS_GONE_FOR_S
    while time.monotonic() < give_up_at:
        assert setup.node.shows(born) == setup.other.shows(born) == GONE
        time.sleep(0.1)
    assert setup.behind(born) is None

    assert setup.other.renew(born) == 200
    until_shown(setup.node, born, AS_REGISTERED)
    assert setup.behind(born) is not None


@born_in
def test_what_one_registers_and_another_removes_at_once_is_gone(
    setup: Setup, registered: Registered, protocol: str, name: str
) -> None:
    """Straight from the registry behind, sooner than any reading has shown it to us."""
    born = registered(protocol, name)
    keeper = setup.keeper(protocol).protocol

    assert setup.straight(protocol).cancel(replace(born, protocol=keeper)) == 200

    until_shown(setup.node, born, GONE)


@pytest.mark.parametrize("setup", ["servicecenter", "eureka"], indirect=True)
def test_two_changes_at_once_end_in_one_state(setup: Setup, registered: Registered, name: str) -> None:
    """One through us and one straight to the registry behind: all come to show what that registry holds in the end."""
    protocol = setup.keeper("eureka").protocol
    born = registered(protocol, name)
    straight = setup.straight(protocol)
    with ThreadPoolExecutor() as both:
        for change in (Node.drain, Node.put_back, Node.drain):
            both.submit(change, setup.node, protocol, born)
            both.submit(change if change is Node.drain else Node.drain, straight, protocol, born)

    def is_agreed() -> None:
        there = straight.live(protocol, born)
        assert there is not None
        shown = setup.node.shows(born)
        assert shown == setup.other.shows(born)
        assert there["status"] in shown

    soon(is_agreed)
    time.sleep(STAYS_GONE_FOR_S / 2)
    is_agreed()


@born_in
def test_two_registrations_at_once_are_one_instance(setup: Setup, protocol: str, name: str) -> None:
    """A client that was told to use two nodes and is impatient."""
    changes = {"instanceId": name} if protocol == "servicecenter" else {}
    with ThreadPoolExecutor() as both:
        borns = list(both.map(lambda node: node.register(protocol, name, **changes), (setup.node, setup.other)))

    assert borns[0].eureka_id == borns[1].eureka_id
    for node in (setup.node, setup.other):
        until_shown(node, borns[0], AS_REGISTERED)
        assert len(node.eureka_lists(name)) == len(node.servicecenter_finds(name)) == 1
    setup.node.cancel(borns[0])
    until_shown(setup.other, borns[0], GONE)


def until_shown(node: Node, born: Born, statuses: tuple[str, str]) -> float:
    def is_shown() -> None:
        assert node.shows(born) == statuses

    return soon(is_shown)
