"""Copies for clients that ask a registry directly: marked, one for each original, and gone when it is."""

from __future__ import annotations

import pytest

from conformance.conftest import RanAgainst

from .conftest import MakeUpstream, NodeAt, StartNode
from .setups import PROTOCOLS, Born, Document, Node, Setup, soon

OTHER = {"eureka": "servicecenter", "servicecenter": "eureka"}


@pytest.fixture(scope="module")
def publishing(new_upstream: MakeUpstream, start_node: StartNode, node_at: NodeAt, ran_against: RanAgainst) -> Setup:
    """Two nodes of one bridge, between registries of their own: in others it would tidy up what is packed there."""
    behind = {protocol: new_upstream(protocol) for protocol in PROTOCOLS}
    stores = [one.store for one in behind.values()]
    first, second = (start_node(*stores, publish="true", cluster="one") for _ in range(2))
    for upstream in behind.values():
        ran_against("backing", f"ours copying from and to {upstream.title}")
    straight_to = {protocol: node_at(one.url, one.kind) for protocol, one in behind.items()}
    return Setup("publish", behind, node_at(first.url), node_at(second.url), straight_to, first)


def copies_of(there: Node, protocol: str, name: str) -> list[Document]:
    """What the registry of a protocol lists under a name."""
    return list((there.eureka_lists(name) if protocol == "eureka" else there.servicecenter_finds(name)).values())


def marks_of(copy: Document) -> Document:
    return dict(copy.get("metadata") or copy["properties"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_original_has_one_copy_that_says_what_it_is(publishing: Setup, protocol: str, name: str) -> None:
    """Registered by a client that knows nothing of us; two nodes copy, and one copy comes of it."""
    here, there = publishing.straight(protocol), publishing.straight(OTHER[protocol])
    born = here.register(protocol, name)

    def is_copied() -> None:
        (copy,) = copies_of(there, OTHER[protocol], name)
        marks = marks_of(copy)
        assert (marks["_bridge.origin"], marks["_bridge.cluster"]) == (protocol, "one")
        assert copy["status"] == "UP"

    print(f"copied after {soon(is_copied):.1f} s")
    assert len(copies_of(here, protocol, name)) == 1  # a copy is never copied back
    for node in (publishing.node, publishing.other):
        soon(lambda node=node: _assert_listed_once(node, name))  # type: ignore[misc]  # mypy infers no lambda with a default
    here.drain(protocol, born)
    soon(lambda: _assert_drained(there, OTHER[protocol], name))

    here.cancel(born)

    def is_gone() -> None:
        assert copies_of(there, OTHER[protocol], name) == []

    print(f"the copy is gone after {soon(is_gone):.1f} s")


def _assert_listed_once(node: Node, name: str) -> None:
    assert len(node.eureka_lists(name)) == len(node.servicecenter_finds(name)) == 1


def _assert_drained(there: Node, protocol: str, name: str) -> None:
    (copy,) = copies_of(there, protocol, name)
    assert copy["status"] in ("OUT_OF_SERVICE", "OUTOFSERVICE")


def test_two_bridges_between_the_same_registries_stand_still(
    publishing: Setup, start_node: StartNode, node_at: NodeAt, name: str
) -> None:
    """Else they would copy each other's copies. Once one of them is gone, the other goes on."""
    stores = [one.store for one in publishing.upstreams.values()]
    second = start_node(*stores, publish="true", cluster="two")
    nodes = (publishing.node, publishing.other, node_at(second.url))

    def all_say_so() -> None:
        assert all("another bridge" in node.readiness()["store"]["text"] for node in nodes)

    soon(all_say_so)
    born: Born = publishing.straight("eureka").register("eureka", name)
    second.stop()

    def is_copied() -> None:
        (copy,) = copies_of(publishing.straight("servicecenter"), "servicecenter", name)
        assert marks_of(copy)["_bridge.cluster"] == "one"

    soon(is_copied)
    publishing.straight("eureka").cancel(born)
