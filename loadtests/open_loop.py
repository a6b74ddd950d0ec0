"""Requests at a fixed rate, whether answers come or not; and, for filling and for costs, as fast as answers come.

In:   requests as ready bytes, one kind of them to a stream; several streams at once, over keep-alive connections.
Out:  for each stream its latencies, counted from when a request was due and not from when it could be sent: a server
      that stalls for a second makes a thousand slow answers, not one. Then errors, bytes, and the rate that came about.
Rules: no HTTP client stands between, for a client costs more than our server. A request and its answer take about
      20 µs here. `Driven.warning` says when this end was the slow one.
"""

from __future__ import annotations

import asyncio
import gc
import re
import time
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast
from urllib.parse import urlsplit

TICK_S = 0.001
"""The finest that uvloop's timers can do: what is due within one is sent together."""
WARM_UP_S = 1.0
"""What is due within it is sent, and not counted."""
ANSWER_WITHIN_S = 10.0
LATE_MS = 5.0
"""At the 99th percentile; from there on the generator shows in the latencies."""
BUSY_SHARE = 0.9

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def request(method: str, path: str, *fields: str, body: bytes = b"") -> bytes:
    """One request, ready to be sent. `fields` are header lines."""
    if body:
        fields += ("Content-Type: application/json", f"Content-Length: {len(body)}")
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "User-Agent: loadtests", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Stream:
    """Requests of one kind, sent in turn, over and over, evenly spread."""

    name: str
    a_second: float
    requests: Sequence[bytes]
    status: int = 200
    connections: int = 32


class Answered(NamedTuple):
    """What became of one stream, the warm-up left out."""

    name: str
    requests: int
    a_second: float
    """Answered, of those that were due."""
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    errors: int
    """Answers with another status, connections that broke, requests without an answer."""
    bytes_read: int


class Driven(NamedTuple):
    streams: dict[str, Answered]
    late_p50_ms: float
    """By which the generator itself came to send what was due. It is part of every latency."""
    late_p99_ms: float
    busy: float
    """Share of its core that the generator used."""

    @property
    def warning(self) -> str:
        """Empty when the figures are the server's."""
        said = []
        if self.busy > BUSY_SHARE:
            said.append(f"the generator was {self.busy:.0%} busy")
        if self.late_p99_ms > LATE_MS:
            said.append(f"the generator was {self.late_p99_ms:.1f} ms late (p99)")
        return " and ".join(said)


class Owner(Protocol):
    """Who asks, and is told."""

    def answered(self, connection: Connection, status: int, size: int) -> None: ...

    def lost(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """One request at a time. Only the head of an answer is looked at."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.due_s = 0.0
        self.is_asking = False
        self._head = b""
        self._status = self._size = self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, wanted: bytes, due_s: float) -> None:
        self.due_s, self.is_asking = due_s, True
        self.transport.write(wanted)

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._left -= len(data)
        else:
            data = self._head + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._head = data
                return
            self._head = b""
            length = LENGTH.search(data, 0, end)
            self._status = int(data[9:12])
            self._size = end + 4 + (int(length[1]) if length else 0)
            self._left = self._size - len(data)
        if not self._left:
            self.is_asking = False
            self.owner.answered(self, self._status, self._size)

    def connection_lost(self, error: Exception | None) -> None:
        self.owner.lost(self)


async def _connect(url: str, owner: Owner) -> Connection:
    address, loop = urlsplit(url), asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(owner), address.hostname, address.port)
    return connection


async def drive(url: str, streams: Sequence[Stream], seconds: float) -> Driven:
    """All streams side by side, for so many seconds after the warm-up."""
    senders = [_Sender(url, stream) for stream in streams]
    for sender in senders:
        await sender.connect()
    loop, late_s = asyncio.get_running_loop(), array("d")
    begin_s = time.perf_counter() + 2 * TICK_S
    counted_from_s = begin_s + WARM_UP_S
    end_s = counted_from_s + seconds
    for number, sender in enumerate(senders):  # not all at the same moments
        phase_s = number / len(senders) / sender.stream.a_second
        sender.begin(begin_s + phase_s, counted_from_s, end_s)
    ended = loop.create_future()

    def tick() -> None:
        for sender in senders:
            sender.send_due(late_s)
        if time.perf_counter() < end_s:
            loop.call_later(TICK_S, tick)
        else:
            ended.set_result(None)

    with _undisturbed():
        used_s = time.process_time()
        tick()
        await ended
        busy = (time.process_time() - used_s) / (time.perf_counter() - begin_s)
    for _ in range(int(ANSWER_WITHIN_S / 0.01)):
        if any(sender.is_waiting for sender in senders):
            await asyncio.sleep(0.01)
    for sender in senders:
        sender.close()
    late_p50_ms, late_p99_ms = percentiles_ms(late_s, 0.5, 0.99)
    return Driven({one.stream.name: one.result(seconds) for one in senders}, late_p50_ms, late_p99_ms, busy)


class _Sender:
    """Sends the requests of one stream when they are due. One that finds no connection free waits for the next."""

    def __init__(self, url: str, stream: Stream) -> None:
        self.stream = stream
        self._url = url
        self._idle: deque[Connection] = deque()
        self._asking: set[Connection] = set()
        self._waiting: deque[float] = deque()
        """When they were due."""
        self._took_s = array("d")
        self._errors = self._bytes = self._sent = 0
        self._is_over = False
        self._opening: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        for _ in range(self.stream.connections):
            await self._open()

    async def _open(self) -> None:
        self._idle.append(await _connect(self._url, self))

    def begin(self, begin_s: float, counted_from_s: float, end_s: float) -> None:
        self._next_s, self._counted_from_s, self._end_s = begin_s, counted_from_s, end_s

    @property
    def is_waiting(self) -> bool:
        return bool(self._asking or self._waiting)

    def send_due(self, late_s: array[float]) -> None:
        now_s = time.perf_counter()
        while self._next_s <= now_s and self._next_s < self._end_s:
            if self._next_s >= self._counted_from_s:
                late_s.append(now_s - self._next_s)
            if self._idle:
                self._ask(self._idle.popleft(), self._next_s)
            else:
                self._waiting.append(self._next_s)
            self._next_s += 1 / self.stream.a_second

    def _ask(self, connection: Connection, due_s: float) -> None:
        self._asking.add(connection)
        connection.ask(self.stream.requests[self._sent % len(self.stream.requests)], due_s)
        self._sent += 1

    def answered(self, connection: Connection, status: int, size: int) -> None:
        self._asking.discard(connection)
        self._count(connection.due_s, status == self.stream.status, size)
        if self._waiting:
            self._ask(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _count(self, due_s: float, is_good: bool, size: int) -> None:
        if due_s >= self._counted_from_s:
            self._took_s.append(time.perf_counter() - due_s)
            self._bytes += size
            self._errors += not is_good

    def lost(self, connection: Connection) -> None:
        """The server closed: an error if it owed an answer. Another takes its place."""
        if self._is_over:
            return
        if connection.is_asking:
            self._asking.discard(connection)
            self._count(connection.due_s, False, 0)
        else:
            self._idle.remove(connection)
        opening = asyncio.ensure_future(self._open())
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    def close(self) -> None:
        """Who still waits for an answer has waited in vain."""
        self._is_over = True
        for due_s in [*(connection.due_s for connection in self._asking), *self._waiting]:
            self._count(due_s, False, 0)
        for connection in [*self._asking, *self._idle]:
            connection.transport.abort()

    def result(self, seconds: float) -> Answered:
        p50, p99, p999, most = percentiles_ms(self._took_s, 0.5, 0.99, 0.999, 1)
        count = len(self._took_s)
        a_second = (count - self._errors) / seconds
        return Answered(self.stream.name, count, a_second, p50, p99, p999, most, self._errors, self._bytes)


def percentiles_ms(took_s: Iterable[float], *shares: float) -> list[float]:
    ordered = sorted(took_s) or [0.0]
    return [ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000 for share in shares]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without the garbage collector, whose pauses would be taken for the server's."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def ask_all(url: str, requests: Iterable[bytes], connections: int = 32) -> int:
    """Send each once, the next one when an answer comes. Returns how many; anything but a 2xx ends the run."""
    hurry = _Hurry(iter(requests))
    opened = [await _connect(url, hurry) for _ in range(connections)]
    for connection in opened:
        hurry.ask_next(connection)
    try:
        await hurry.done
    finally:
        for connection in opened:
            connection.transport.abort()
    return hurry.answers


class _Hurry:
    def __init__(self, requests: Iterator[bytes]) -> None:
        self._requests = requests
        self._asked = self.answers = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ask_next(self, connection: Connection) -> None:
        wanted = next(self._requests, None)
        if wanted is not None:
            self._asked += 1
            connection.ask(wanted, 0.0)
        elif self.answers == self._asked and not self.done.done():
            self.done.set_result(None)

    def answered(self, connection: Connection, status: int, size: int) -> None:
        self.answers += 1
        if status // 100 != 2:
            self._fail(f"answer {self.answers} is {status}")
        self.ask_next(connection)

    def lost(self, connection: Connection) -> None:
        self._fail("a connection broke")

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(SystemExit(why))
