"""Thousands of websockets that watch, and one change of what they watch: until when has the last of them the event?

A watch is written here by hand: an upgrade, then frames that are counted and pings that are answered. The clients of a
library would cost more than what is measured.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import uvloop

from loadtests.goals import Row
from loadtests.limits_registries import (
    BASE,
    EUREKA,
    SERVICECENTER,
    Registries,
    find,
    hurry,
    registration,
    renewal,
    service,
)
from loadtests.open_loop import Driven, Stream, ask_all, drive, percentiles_ms, request
from loadtests.registrations import eureka_instance, service_name

CONSUMERS = 100
"""Services that depend on the provider; their instances share the watchers evenly."""
AT_ONCE = 100
PAUSE_S = 0.4
"""Between two changes."""
TOLD_WITHIN_S = 30.0
RENEWALS_A_SECOND = 200
FEW_WATCHERS, FEW_PAUSE_S = 200, 0.02
TEXT, PING, PONG = 1, 9, 0x8A
UPGRADE = (
    *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Told(NamedTuple):
    each_bytes: float
    """Memory of the server for one watcher."""
    opened_s: float
    last_s: list[float]
    """For each change, from sending it to the last watcher's event."""
    acknowledged_s: list[float]
    """For each change, until the writer had its answer."""
    driven: Driven


def watchers(registries: Registries) -> Iterator[Row]:
    count, changes = (500, 5) if registries.is_quick else (5_000, 20)
    with registries.started(SERVICECENTER, registries.middle) as server:
        names = [f"consumer-{number}" for number in range(CONSUMERS)]
        hurry(server, [service(name) for name in names])
        hurry(server, [find(service_name(0), f"X-ConsumerId: {name}") for name in names])
        steady = [renewal(SERVICECENTER, number) for number in range(registries.middle)]
        hurry(server, steady)
        before = server.rss_bytes()
        crowd = Crowd(server.url, [names[number % CONSUMERS] for number in range(count)])

        async def run() -> Told:
            began_s = time.perf_counter()
            await crowd.open()
            opened_s, each = time.perf_counter() - began_s, (server.rss_bytes() - before) / count
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                seconds = changes * (PAUSE_S + 0.2)
                driving = asyncio.get_running_loop().run_in_executor(pool, _renew, server.url, steady, seconds)
                await asyncio.sleep(2)  # the other process starts, and warms up
                last_s, acknowledged_s = [], []
                for version in range(changes):
                    last, acknowledged = await crowd.time_of(_change(version))
                    last_s.append(last)
                    acknowledged_s.append(acknowledged)
                    await asyncio.sleep(PAUSE_S)
                return Told(each, opened_s, last_s, acknowledged_s, await driving)

        yield from _rows(count, uvloop.run(run()))


def eureka_events(registries: Registries) -> Iterator[Row]:
    """From the moment when an Eureka client sends a registration to each event of it, over all watchers and changes."""
    changes, number = 50 if registries.is_quick else 500, registries.middle - 1
    with registries.started(EUREKA, registries.middle) as server:
        names = [f"consumer-{one}" for one in range(FEW_WATCHERS // 20)]
        hurry(server, [service(name) for name in names])
        hurry(server, [find(eureka_instance(number)["vipAddress"], f"X-ConsumerId: {name}") for name in names])
        crowd = Crowd(server.url, [names[one % len(names)] for one in range(FEW_WATCHERS)])

        async def run() -> list[float]:
            await crowd.open()
            each_s = []
            for version in range(1, changes + 1):
                await crowd.time_of(registration(EUREKA, number, version=version))
                each_s += crowd.each_s
                await asyncio.sleep(FEW_PAUSE_S)
            return each_s

        p50_ms, p99_ms = percentiles_ms(uvloop.run(run()), 0.5, 0.99)
    what = f"{changes} changes of an Eureka client's, to {FEW_WATCHERS} watchers: until each has its event"
    yield Row(what, f"p50 {p50_ms:.1f}, p99 {p99_ms:.1f} ms", "p99 ≤ 10 ms", p99_ms <= 10)


def _rows(count: int, told: Told) -> Iterator[Row]:
    p50_ms, p99_ms = percentiles_ms(told.last_s, 0.5, 0.99)
    what = f"one change to {count:,} watchers, {len(told.last_s)} times: until the last has it"
    yield Row(what, f"p50 {p50_ms:.0f}, p99 {p99_ms:.0f} ms", "p99 ≤ 1 s", p99_ms <= 1000)
    p50_ms, p99_ms = percentiles_ms(told.acknowledged_s, 0.5, 0.99)
    yield Row("… until the writer has its answer", f"p50 {p50_ms:.0f}, p99 {p99_ms:.0f} ms")
    each = told.each_bytes
    yield Row("… memory of one watcher", f"{each / 1024:.1f} KB", "≤ 40 KB", each <= 40 * 1024)
    yield Row("… all of them connected", f"in {told.opened_s:.1f} s")
    one = told.driven.streams["heartbeats"]
    figures = f"p50 / p99 / max {one.p50_ms:.1f} / {one.p99_ms:.1f} / {one.max_ms:.1f} ms; {one.errors} errors"
    note = f" ({told.driven.warning})" if told.driven.warning else ""
    yield Row(f"… {RENEWALS_A_SECOND} heartbeats/s meanwhile", figures + note)


def _change(version: int) -> bytes:
    path = f"{BASE}/microservices/{service_name(0)}/instances/{0:032x}/properties"
    return request("PUT", path, body=json.dumps({"properties": {"version": str(version)}}).encode())


def _renew(url: str, beats: list[bytes], seconds: float) -> Driven:
    """In a process of its own: reading thousands of events would hold it up."""
    return uvloop.run(drive(url, [Stream("heartbeats", RENEWALS_A_SECOND, beats)], seconds))


class Crowd:
    def __init__(self, url: str, consumers: list[str]) -> None:
        self._url = url
        self._consumers = consumers
        self._untold = 0
        self.each_s: list[float] = []
        """Seconds until each had the last change."""

    async def open(self) -> None:
        for first in range(0, len(self._consumers), AT_ONCE):
            await asyncio.gather(*map(self._connect, self._consumers[first : first + AT_ONCE]))

    async def _connect(self, consumer: str) -> None:
        address, loop = urlsplit(self._url), asyncio.get_running_loop()
        wanted = request("GET", f"{BASE}/microservices/{consumer}/watcher", *UPGRADE)
        _, watch = await loop.create_connection(lambda: Watch(self, wanted), address.hostname, address.port)
        await watch.is_open

    async def time_of(self, change: bytes) -> tuple[float, float]:
        """Seconds until the last has the event, and until the writer has its answer."""
        self._untold = len(self._consumers)
        self._all_told: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.each_s = []
        self._began_s = began_s = time.perf_counter()
        await ask_all(self._url, [change], connections=1)
        acknowledged_s = time.perf_counter()
        try:
            last_s = await asyncio.wait_for(self._all_told, TOLD_WITHIN_S)
        except TimeoutError:
            raise SystemExit(f"{self._untold} watchers were not told") from None
        return last_s - began_s, acknowledged_s - began_s

    def told(self) -> None:
        self._untold -= 1
        self.each_s.append(time.perf_counter() - self._began_s)
        if not self._untold:
            self._all_told.set_result(time.perf_counter())


class Watch(asyncio.Protocol):
    """One websocket. A server's frames are not masked; ours must be, and a mask of zeros changes nothing."""

    def __init__(self, crowd: Crowd, wanted: bytes) -> None:
        self.is_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._crowd = crowd
        self._wanted = wanted
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._wanted)

    def data_received(self, data: bytes) -> None:
        data = self._held + data
        if not self.is_open.done():
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._held = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.is_open.set_exception(SystemExit(f"a watcher is answered {head[:100]!r}"))
                return
            self.is_open.set_result(None)
        while (frame := _frame(data)) is not None:
            kind, payload, data = frame
            if kind == TEXT:
                self._crowd.told()
            elif kind == PING:
                self._transport.write(bytes((PONG, 0x80 | len(payload))) + bytes(4) + payload)
        self._held = data

    def connection_lost(self, error: Exception | None) -> None:
        if not self.is_open.done():
            self.is_open.set_exception(SystemExit("a watcher was not let in"))


def _frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Kind and payload of the first frame, and what follows it; None when it is not whole."""
    if len(data) < 2:
        return None
    size, begin = data[1], 2
    if size >= 126:  # the length is in the next bytes
        begin = 4 if size == 126 else 10
        size = int.from_bytes(data[2:begin], "big")
    if len(data) < begin + size:
        return None
    return data[0] & 0x0F, data[begin : begin + size], data[begin + size :]
