"""Watchers that keep books: each lists, then takes in what it is told, and notices what is not the next.

Each change carries its number in the property `n`: one that is missing, twice, or out of order is seen at once.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

BASE = "/v4/default/registry"
AGAIN_S = 0.2


class Watcher:
    """One watch of a consumer. Whenever it falls, it connects again and lists, as clients do."""

    def __init__(self, url: str, consumer: str, provider: str, *, sleeps: bool = False) -> None:
        self.model: dict[str, int] = {}
        """The last change of each instance that it knows of."""
        self.faults: list[str] = []
        self.events = 0
        self.listed = 0
        self.ends: list[int | None] = []
        """Codes of the closes that it got; None where the connection just fell."""
        self._url, self._consumer, self._provider = url, consumer, provider
        self._sleeps = sleeps
        self.awake = asyncio.Event()
        """One that sleeps takes nothing in until then, and asks the system to keep little for it."""
        if not sleeps:
            self.awake.set()

    async def run(self, http: httpx.AsyncClient) -> None:
        while True:
            try:
                await self._watch(http)
            except ConnectionClosed as closed:
                self.ends.append(closed.rcvd.code if closed.rcvd else None)
            except (OSError, InvalidHandshake, httpx.TransportError):
                pass
            await asyncio.sleep(AGAIN_S)

    async def _watch(self, http: httpx.AsyncClient) -> None:
        async with self._connected() as watch:
            last: dict[str, int] = {}
            await self._list(http)
            await self.awake.wait()
            async for frame in watch:
                self._take_in(json.loads(frame), last)

    def _connected(self) -> connect:
        address = urlsplit(self._url)
        ours = socket.socket()
        if self._sleeps:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            ours.connect((address.hostname, address.port))
        except OSError:
            ours.close()
            raise
        return connect(
            f"ws://{address.netloc}{BASE}/microservices/{self._consumer}/watcher",
            sock=ours,
            ping_interval=None,
            compression=None,
            close_timeout=1,
            proxy=None,
            max_queue=1 if self._sleeps else 64,
        )

    async def _list(self, http: httpx.AsyncClient) -> None:
        answer = await http.get(f"{self._url}{BASE}/microservices/{self._provider}/instances")
        self.listed += 1
        listed = answer.json().get("instances", ())
        self.model = {one["instanceId"]: _number(one) for one in listed}

    def _take_in(self, event: dict[str, Any], last: dict[str, int]) -> None:
        """An event is the next of its instance; the first after a list may tell of what was listed already."""
        instance_id, number = event["instance"]["instanceId"], _number(event["instance"])
        self.events += 1
        expected = last.get(instance_id, min(number - 1, self.model.get(instance_id, -1))) + 1
        if number != expected:
            self.faults.append(f"{instance_id}: {event['action']} {number} came where {expected} was due")
        last[instance_id] = number
        self.model[instance_id] = max(number, self.model.get(instance_id, -1))


def _number(instance: dict[str, Any]) -> int:
    return int(instance.get("properties", {}).get("n", -1))


class Changes:
    """Gives each change its number; what is acknowledged is what every watcher has to know in the end."""

    def __init__(self, url: str, provider: str, instances: Sequence[str], padding: str = "") -> None:
        self.made = dict.fromkeys(instances, 0)
        self._path = f"{url}{BASE}/microservices/{provider}/instances"
        self._padding = padding

    async def make(self, http: httpx.AsyncClient, count: int) -> None:
        instances = list(self.made)
        for turn in range(count):
            instance_id = instances[turn % len(instances)]
            number = self.made[instance_id] + 1
            body = {"properties": {"n": str(number), "padding": self._padding}}
            answer = await http.put(f"{self._path}/{instance_id}/properties", json=body)
            assert answer.status_code == 200, answer.text
            self.made[instance_id] = number


async def all_know(watchers: Sequence[Watcher], made: dict[str, int], idle_s: float) -> None:
    """Wait until they do, for as long as they go on learning: how long that takes is the machine's affair."""
    learnt, give_up_at = -1, 0.0
    while any(watcher.model != made for watcher in watchers):
        now = asyncio.get_running_loop().time()
        if (more := sum(watcher.events + watcher.listed for watcher in watchers)) > learnt:
            learnt, give_up_at = more, now + idle_s
        if now > give_up_at:
            behind = [watcher for watcher in watchers if watcher.model != made]
            raise AssertionError(f"{len(behind)} watchers do not know all, one of them {behind[0].model} of {made}")
        await asyncio.sleep(0.05)
