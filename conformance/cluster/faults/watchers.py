"""Watchers of ServiceCenter that keep books: each lists, takes in what it is told, and notices what is not the next.

A watcher whose connection falls goes on to the next node and lists there, as clients do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from .wire import Line, NoAnswerError

AGAIN_S = 0.2
PING_EVERY_S = 2.0
"""As ServiceComb's clients do, who find out by it that a server is gone; theirs every thirty seconds."""
BASE = "/v4/default/registry"


class Watcher:
    def __init__(self, urls: Sequence[str], at: int, consumer: str, providers: Sequence[str]) -> None:
        self.known: dict[str, int] = {}
        """The last number of each instance of the providers."""
        self.odd: list[tuple[str, int, int]] = []
        """Events that were not news: of whom, the number, and the one that was known."""
        self.events = self.listed = 0
        self.skipped = 0
        """Changes that were not told one by one, but as the last of them."""
        self._urls, self._at = urls, at
        self._consumer, self._providers = consumer, providers

    async def live(self) -> None:
        while True:
            try:
                await self._watch()
            except (OSError, ConnectionClosed, InvalidHandshake, NoAnswerError, TimeoutError):
                self._at = (self._at + 1) % len(self._urls)
            await asyncio.sleep(AGAIN_S)

    async def _watch(self) -> None:
        url = self._urls[self._at]
        watch = connect(
            f"ws://{urlsplit(url).netloc}{BASE}/microservices/{self._consumer}/watcher",
            ping_interval=PING_EVERY_S,
            ping_timeout=PING_EVERY_S,
            open_timeout=PING_EVERY_S,
            compression=None,
            close_timeout=1,
            proxy=None,
        )
        async with watch as events:
            await self._list(url)
            told: dict[str, int] = {}
            async for frame in events:
                self.take_in(json.loads(frame), told)

    async def _list(self, url: str) -> None:
        line, known = Line(url, PING_EVERY_S), {}
        try:
            for provider in self._providers:
                answer = await line.ask("GET", f"{BASE}/microservices/{provider}/instances")
                if answer.status != 200:
                    raise NoAnswerError(f"the list: {answer.status}")
                known |= {one["instanceId"]: number_of(one) for one in json.loads(answer.body).get("instances", ())}
        finally:
            line.close()
        self.listed += 1
        self.known = known

    def take_in(self, event: dict[str, Any], told: dict[str, int]) -> None:
        """`told`: what it has heard on this connection, by instance. What was on its way when it listed comes then."""
        who, number = event["instance"]["instanceId"], number_of(event["instance"])
        self.events += 1
        known = self.known.get(who, 0)
        before = told.get(who, min(known, number - 1))
        if event["action"] == "DELETE":
            self.known.pop(who, None)
            return
        if number <= before:
            self.odd.append((who, number, before))
        self.skipped += max(0, number - before - 1)
        told[who] = number
        self.known[who] = max(known, number)


def number_of(instance: dict[str, Any]) -> int:
    return int(instance.get("properties", {}).get("n", 0))
