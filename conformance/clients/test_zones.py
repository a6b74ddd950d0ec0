"""Spring Cloud's zones: which server a client asks, and which instances its load balancer chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import pytest

from conformance.clients.conftest import Noted
from conformance.clients.life import Life, Registry, soon
from conformance.clients.programs import SPRING_BY_TRAIN, Client
from conformance.clients.wiretap import Wiretap
from conformance.peers.processes import Processes

pytestmark = pytest.mark.parametrize("client", SPRING_BY_TRAIN, ids=str, indirect=True)

LEASE = {"renewalIntervalInSecs": 30, "durationInSecs": 600}
CALLS = 10


@pytest.fixture
def other_wire(registry: Registry, free_port: Callable[[], int]) -> Iterator[Wiretap]:
    """The server of the other zone: the same one, by another address."""
    with Wiretap(registry.url, free_port()) as wire:
        yield wire


@pytest.fixture
def alive(
    client: Client,
    registry: Registry,
    wire: Wiretap,
    other_wire: Wiretap,
    app: str,
    processes: Processes,
    free_port: Callable[[], int],
) -> Iterator[Life]:
    """In zone-b, whose server is at `wire`; zone-a comes first in the list, at `other_wire`."""
    program = client.program(free_port(), wire.url, app)
    zones = [
        "--eureka.client.region=here",
        "--eureka.client.availability-zones.here=zone-b,zone-a",
        "--eureka.client.prefer-same-zone-eureka=true",
        f"--eureka.client.service-url.zone-a={other_wire.url}/eureka/",
        f"--eureka.client.service-url.zone-b={wire.url}/eureka/",
        "--eureka.instance.metadata-map.zone=zone-b",
        "--spring.cloud.loadbalancer.configurations=zone-preference",
        "--eureka.client.eureka-service-url-poll-interval-seconds=2",
    ]
    running = processes.start(replace(program, command=[*program.command, *zones]))
    life = Life(running, registry, wire, app)
    life.becomes_registered()
    yield life
    running.stop()
    registry.eureka.cancel(app.upper(), life.id)


def test_asks_its_own_zone(alive: Life, wire: Wiretap, other_wire: Wiretap, eureka_kind: str, noted: Noted) -> None:
    """Asks the server of its own zone alone, and that of the other when its own is away."""
    assert alive.becomes_registered()["metadata"]["zone"] == "zone-b"
    alive.renews()
    assert wire.asked("PUT")
    if other_wire.exchanges and eureka_kind == "real":
        noted("asks that of the other zone as well, after a 404 whose body it cannot read")
    else:
        assert other_wire.exchanges == []

    wire.stop()
    before = len(other_wire.exchanges)
    soon(lambda: any(one.method == "PUT" and one.status == 200 for one in other_wire.exchanges[before:]))
    alive.renews()


def test_calls_its_own_zone(alive: Life, app: str) -> None:
    """A @LoadBalanced call reaches instances of its own zone alone, and those of another when it has none."""
    eureka, name = alive.registry.eureka, f"{app}-callee"
    at = {"ipAddr": "127.0.0.1", "hostName": "127.0.0.1", "vipAddress": name, "leaseInfo": LEASE}
    here = {"port": {"$": alive.port, "@enabled": "true"}, "metadata": {"zone": "zone-b"}}
    there = {"port": {"$": 9, "@enabled": "true"}, "metadata": {"zone": "zone-a"}}  # where nobody answers
    eureka.given(name.upper(), "here", **at, **here)
    eureka.given(name.upper(), "there", **at, **there)
    soon(lambda: {"here", "there"} <= alive.seen(name).keys())

    assert [_called(alive, name).text for _ in range(CALLS)] == [str(alive.port)] * CALLS

    eureka.cancel(name.upper(), "here")
    soon(lambda: "here" not in alive.seen(name))
    assert _called(alive, name).status_code == 500
    eureka.cancel(name.upper(), "there")


def _called(alive: Life, name: str) -> httpx.Response:
    return httpx.get(f"{alive.running.url}/call/{name}")
