"""A cluster of two real servers becomes one of two of ours, node by node; ours are updated; and no client notices."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import httpx
import pytest

from conformance.conftest import RanAgainst
from conformance.eureka.model_client import AllFailedError, ModelClient
from conformance.peers.patience import PATIENCE_S
from conformance.peers.processes import MissingToolError, Processes, Program
from conformance.peers.processes import eureka as real_eureka

CLIENTS = 200
REPLACED = 4
"""Nodes, one after the other: the two real ones, and then ours once more."""
TICK_S = 2.0
"""Between two renewals and two reads of one client: thirty seconds with real ones."""


@pytest.mark.timeout(600)
def test_no_client_notices_that_its_servers_are_replaced(
    eureka_kind: str,
    processes: Processes,
    free_port: Callable[[], int],
    ours_program: Callable[..., Program],
    ran_against: RanAgainst,
) -> None:
    if eureka_kind == "real":
        pytest.skip("it is about ours in the place of real ones")
    ports = [free_port(), free_port()]
    # A server takes a peer on its own host name for itself, hence "localhost".
    urls = [f"http://localhost:{port}/eureka/" for port in ports]
    try:
        real = [
            processes.start(replace(real_eureka(port, "brisk", [peer]), ready="/"))
            for port, peer in zip(ports, reversed(urls), strict=True)
        ]
    except MissingToolError as missing:
        pytest.skip(str(missing))
    ran_against("eureka", "ours in the place of two real servers")

    nodes = list(real)

    def replace_node(at: int) -> None:
        """The real one by one of ours, and one of ours by another, which knows as little: a node is updated so."""
        nodes[at].stop()
        # Both nodes are named on each, as operators write it: one list for all.
        nodes[at] = processes.start(ours_program(ports[at], eureka_peers=",".join(urls)))

    clients = asyncio.run(_story(urls, replace_node))

    fewest = min(client.fewest for client in clients)
    refetches = Counter(client.full_fetches for client in clients)
    print(
        f"fewest instances ever known: {fewest} of {CLIENTS}; full fetches: {dict(refetches)}; "
        f"hash mismatches: {sum(client.mismatches for client in clients)}; "
        f"registrations: {sum(client.registrations for client in clients)}"
    )
    assert fewest == CLIENTS
    assert all(client.full_fetches <= REPLACED for client in clients), refetches
    assert all(len(client.known) == CLIENTS for client in clients)


async def _story(urls: Sequence[str], replace_node: Callable[[int], None]) -> list[ModelClient]:
    limits = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(timeout=10, limits=limits) as http:
        # Half of them prefer either node.
        clients = [
            ModelClient(http, urls if number % 2 else list(reversed(urls)), f"APP-{number % 20}", f"i{number}")
            for number in range(CLIENTS)
        ]
        await asyncio.gather(*(client.register() for client in clients))
        async with _living(clients):
            # Originals that are slow to answer lose some of what they tell each other; renewals make good for it.
            for url in urls:
                await _until_it_lists_all(ModelClient(http, [url], "NOBODY", "nobody"))
            await _until(lambda: all(len(client.known) == CLIENTS for client in clients))
            await asyncio.sleep(2 * TICK_S)
            for client in clients:
                client.watch_from_now()
            for number in range(REPLACED):
                await asyncio.to_thread(replace_node, number % len(urls))
                await asyncio.sleep(5 * TICK_S)
        return clients


@asynccontextmanager
async def _living(clients: Sequence[ModelClient]) -> AsyncIterator[None]:
    """Each renews and reads in its own time. None is stopped within a request: its connection would stay open."""
    is_over = asyncio.Event()

    async def is_over_within(seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(is_over.wait(), seconds)
        return is_over.is_set()

    async def live(client: ModelClient, delay_s: float) -> None:
        while not await is_over_within(delay_s):
            with suppress(AllFailedError):  # it tries again with its next tick
                await client.renew()
                await client.read()
            delay_s = TICK_S

    async with asyncio.TaskGroup() as lives:
        for at, client in enumerate(clients):
            lives.create_task(live(client, TICK_S * at / len(clients)))
        try:
            yield
        finally:
            is_over.set()


async def _until_it_lists_all(reader: ModelClient) -> None:
    give_up_s = asyncio.get_running_loop().time() + PATIENCE_S
    while len(reader.known) < CLIENTS:
        assert asyncio.get_running_loop().time() < give_up_s, f"{len(reader.known)} of {CLIENTS}"
        await asyncio.sleep(0.2)
        await reader.read()


async def _until(is_so: Callable[[], bool]) -> None:
    give_up_s = asyncio.get_running_loop().time() + PATIENCE_S
    while not is_so():
        assert asyncio.get_running_loop().time() < give_up_s
        await asyncio.sleep(0.1)
