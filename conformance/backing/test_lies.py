"""Registries that lie, dawdle, hang or cut their answers short: never an empty list, never a refused renewal.

Both registries behind us misbehave at once, by a proxy in front of each. Nothing here judges by time: what it took is
printed.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import pytest

from conformance.conftest import RanAgainst
from conformance.peers.processes import Running
from conformance.peers.upstreams import store_of

from .clients import AGE, Clients, assert_refuses_writes, is_held
from .conftest import MakeUpstream, NodeAt, StartNode
from .proxy import Behaviour, Cutting, Hanging, Honest, Lie, Proxy, Refusing, Slow
from .setups import PROTOCOLS, Born, Node, soon, unique_name

LASTS_S = 1.0
"""A lie, at least: until an answer of ours has admitted its age, the breaker has opened."""
LINES_A_SECOND = 4.0
"""Of our log, for two registries and both nodes' worth of what happens at its begin and end."""
LINES_AT_ONCE = 40
MORE_MEMORY_BYTES = 20 << 20
"""For each registry that lies."""

HTML = b"<!DOCTYPE html><html><head><title>Welcome to nginx!</title></head><body>It works.</body></html>"
BOMB = gzip.compress(json.dumps({"applications": {"application": []}, "pad": "0" * (100 << 20)}).encode(), 9)

LIES: dict[str, Behaviour] = {
    "html": Lie(HTML, headers=("Content-Type: text/html",)),
    "html-called-json": Lie(HTML),
    "truncated-json": Lie(b'{"applications":{"versions__delta":"1","apps__hashcode":"UP_1_","application":[{"na'),
    "null": Lie(b"null"),
    "list": Lie(b"[]"),
    "object": Lie(b"{}"),
    "nothing": Lie(b""),
    "another-type": Lie(b"\x89PNG\r\n\x1a\n", headers=("Content-Type: image/png",)),
    "100-MB": Lie(more=100 << 20),
    "gzip-bomb": Lie(BOMB, headers=("Content-Type: application/json", "Content-Encoding: gzip")),
    "500": Lie(b'{"errorCode":"500003","errorMessage":"no"}', "500 Internal Server Error"),
    "404": Lie(b"", "404 Not Found"),
    "no-content": Lie(b"", "204 No Content"),
    "slow": Slow(2.0),
    "cut": Cutting(after=200),
    "refusing": Refusing(),
}


ADMITS_NO_AGE = {"slow"}
"""What answers within our time limit, however late, is an answer."""


@dataclass(frozen=True)
class Stage:
    proxies: dict[str, Proxy]
    running: Running
    node: Node
    strict: Node
    """A second one that refuses writes while a registry behind it fails."""
    clients: Clients

    def behave(self, behaviours: Mapping[str, Behaviour]) -> None:
        for protocol, proxy in self.proxies.items():
            proxy.behave(behaviours[protocol])

    def be_honest(self) -> float:
        """Returns how long we took to take their word again."""
        self.behave(dict.fromkeys(PROTOCOLS, Honest()))
        return soon(self.assert_current)

    def assert_current(self) -> None:
        for node in (self.node, self.strict):
            assert AGE not in node.eureka.get("apps").headers
            assert node.readiness()["store"]["writable"]


@pytest.fixture(scope="module")
def stage(
    upstreams: MakeUpstream,
    start_node: StartNode,
    node_at: NodeAt,
    free_port: Callable[[], int],
    ran_against: RanAgainst,
) -> Iterator[Stage]:
    with ExitStack() as stack:
        proxies = {}
        for protocol in PROTOCOLS:
            upstream = upstreams(protocol)
            proxies[protocol] = stack.enter_context(Proxy(upstream.url, free_port()))
            ran_against("backing", f"ours in front of {upstream.title} that misbehaves")
        stores = [store_of(protocol, proxy.url) for protocol, proxy in proxies.items()]
        running, strict = start_node(*stores), start_node(*stores, when_upstream_fails="strict")
        clients = stack.enter_context(Clients(node_at(running.url)))
        yield Stage(proxies, running, clients.node, node_at(strict.url), clients)


def misbehave(stage: Stage, behaviours: Mapping[str, Behaviour], *, is_admitted: bool = True) -> None:
    """For a while, and what has to hold meanwhile and afterwards."""
    stage.assert_current()
    lines, memory = len(stage.running.log_text.splitlines()), stage.running.memory_bytes
    began_s = time.monotonic()
    stage.behave(behaviours)

    news = stage.clients.go_on(
        until=lambda: time.monotonic() - began_s > LASTS_S and (stage.clients.age_s > 0 or not is_admitted)
    )

    if is_admitted:
        assert_refuses_writes(stage.strict)
    grown = stage.running.memory_bytes - memory
    took_s = stage.be_honest()
    said = len(stage.running.log_text.splitlines()) - lines
    print(f"{stage.clients.figures()}; current again after {took_s:.1f} s; {said} lines; {grown >> 20} MiB more")
    assert grown < MORE_MEMORY_BYTES * len(behaviours)
    assert said < LINES_AT_ONCE + LINES_A_SECOND * (time.monotonic() - began_s)
    stage.clients.assert_all_are_listed()
    for born in news:
        soon(partial(_assert_held, stage.proxies[born.protocol].url, born))


def _assert_held(url: str, born: Born) -> None:
    assert is_held(url, born.protocol, born)


def test_an_honest_answer_admits_no_age(stage: Stage) -> None:
    stage.assert_current()


@pytest.mark.parametrize("lie", LIES)
def test_a_registry_that_misbehaves_is_not_believed(stage: Stage, lie: str) -> None:
    misbehave(stage, dict.fromkeys(PROTOCOLS, LIES[lie]), is_admitted=lie not in ADMITS_NO_AGE)


def test_a_registry_that_is_suddenly_empty_is_not_believed(stage: Stage) -> None:
    """A true answer in form: as after a restart of a server that forgets, or from a fresh one behind a balancer."""
    empty = {
        "eureka": Lie(b'{"applications":{"versions__delta":"1","apps__hashcode":"","application":[]}}'),
        "servicecenter": Lie(b'{"services":[]}'),
    }
    misbehave(stage, empty)


def test_a_registry_that_never_ends_its_answer_is_not_waited_for(stage: Stage) -> None:
    """Its silence costs us ten seconds, and our clients nothing."""
    misbehave(stage, {"eureka": Hanging(), "servicecenter": Slow(1.0, drips=True)})


def test_no_redirect_is_followed(stage: Stage, free_port: Callable[[], int]) -> None:
    """Else whoever answers in a registry's place could have us ask for what only we can reach."""
    with Proxy("http://127.0.0.1:1", free_port()) as canary:
        canary.behave(Lie(b"{}"))
        for to in (canary.url, "http://169.254.169.254"):
            redirect = Lie(b"", "302 Found", (f"Location: {to}/latest/meta-data/",))
            misbehave(stage, dict.fromkeys(PROTOCOLS, redirect))

        assert canary.connections == 0


def test_one_that_fails_does_not_stop_the_other(stage: Stage) -> None:
    """With a registry for each protocol, what one of them has is current while the other lies."""
    stage.behave({"eureka": Honest(), "servicecenter": Lie(HTML)})

    def is_admitted() -> None:
        assert AGE in stage.node.eureka.get("apps").headers

    soon(is_admitted)
    born = stage.node.register("eureka", unique_name())
    assert is_held(stage.proxies["eureka"].url, "eureka", born)
    assert stage.node.cancel(born) == 200
    assert not is_held(stage.proxies["eureka"].url, "eureka", born)
    stage.be_honest()
