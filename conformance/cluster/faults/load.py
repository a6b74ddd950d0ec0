"""The load of one scenario: fleet, readers and watchers at all nodes, and the wait until these agree again.

async with Load(stage.urls) as load:
    with load.broken("Redis is away"):
        ...
    await load.settle()
assert_promises(load.log)
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from .figures import figures
from .fleet import SERVICES, Client, Contender, EurekaClient, Fleet, Names, ServiceClient
from .log import Log, Look, Outcome, What
from .readers import DeltaReader, EurekaReader, Reader, ServiceCenterReader
from .watchers import Watcher
from .wire import Line, NoAnswerError

BEGINS_WITHIN_S = 60.0
SETTLES_WITHIN_S = 60.0
"""A limit against hanging, far above what is promised: how long it took is printed."""


@dataclass(frozen=True)
class Sizes:
    """How many of each."""

    steady: int = 24
    restless: int = 9
    contended: int = 2
    writers: int = 3
    """To each contended instance."""


class NotSettledError(AssertionError):
    """The nodes do not agree, or not with what clients were told."""


class Load:
    def __init__(
        self,
        urls: Sequence[str],
        sizes: Sizes | None = None,
        *,
        contend_at: int = 0,
        sides: Sequence[Sequence[int]] = (),
    ) -> None:
        self.log = Log()
        self.seed = random.randrange(1 << 32)
        self.watchers: list[Watcher] = []
        self.deltas: list[DeltaReader] = []
        self.settled_after_s = 0.0
        self._urls = urls
        self._names = Names(f"run-{uuid.uuid4().hex[:8]}")
        self._sizes = sizes or Sizes()
        self._contend_at = contend_at
        self._sides = sides
        self._lines = [Line(url, 5.0) for url in urls]
        self._tasks: list[asyncio.Task[None]] = []
        self._readers: list[Reader] = []

    async def __aenter__(self) -> Load:
        services, consumer = await self._services()
        self.fleet = Fleet(self.log, self._urls, self._names, self.seed, services, self._sides)
        sizes = self._sizes
        kinds: tuple[tuple[type[Client], int, bool], ...] = (
            (EurekaClient, sizes.steady, False),
            (ServiceClient, sizes.steady // 2, False),
            (EurekaClient, sizes.restless, True),
            (ServiceClient, sizes.restless, True),
        )
        for kind, count, is_restless in kinds:
            for _ in range(count):
                self.fleet.clients.append(kind(self.fleet, len(self.fleet.clients), is_restless=is_restless))
        self.log.lease_s = {client.who: client.lease_s for client in self.fleet.clients}
        for client in self.fleet.clients:
            self._run(client.live())
        await self._until(lambda: all(client.is_registered for client in self.fleet.clients), "everybody registers")
        for reader in self._readers_of(services):
            self._run(reader.live())
        for contended in range(sizes.contended):
            for writer in range(sizes.writers):
                self._run(Contender(self.fleet, contended, writer, self._contend_at).live())
        for at in range(len(self._urls)):
            self.watchers.append(Watcher(self._urls, at, consumer, services))
            self._run(self.watchers[-1].live())
        await self._until(self._is_seen_everywhere, "every node lists everybody")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        for line in self._lines:
            line.close()
        failed = [end for end in ends if isinstance(end, Exception)]
        if failed and kind is None:
            raise failed[0]

    @contextmanager
    def broken(self, name: str, cut_off: int | None = None) -> Iterator[None]:
        """Write down from when to when something does not work, and which node is cut off by that."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.log.spans.append((name, began_s, time.monotonic()))
            if cut_off is not None:
                self.log.cuts.append((cut_off, began_s, time.monotonic()))

    async def go_on(self, for_s: float) -> None:
        """Let everybody live; raises what any of them could not bear."""
        done, _ = await asyncio.wait(self._tasks, timeout=for_s, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            self._tasks.remove(task)
            task.result()

    async def settle(self, since_s: float | None = None) -> float:
        """Let nobody change anything any more, and wait until all nodes show what clients were told: in both protocols,
        with the same revision and hash, to readers of deltas and to watchers. Returns how long that took."""
        self.fleet.is_calm = True
        began_s = since_s or time.monotonic()
        give_up_at = time.monotonic() + SETTLES_WITHIN_S
        while difference := await self._difference():
            if time.monotonic() > give_up_at:
                raise NotSettledError(f"not settled after {SETTLES_WITHIN_S:.0f} s: {difference}")
            await self.go_on(0.1)
        self.settled_after_s = time.monotonic() - began_s
        return self.settled_after_s

    def figures(self) -> str:
        """For a person."""
        return figures(self.log, self.deltas, self.watchers)

    async def ready(self, node: int) -> dict[str, Any]:
        """What the node says of itself."""
        answer = await self._lines[node].ask("GET", "/readyz")
        return dict(json.loads(answer.body))

    def _run(self, life: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(life))

    async def _services(self) -> tuple[Sequence[str], str]:
        """The ids of the fleet's two services, and of one that consumes both; known to every node."""
        ids = [await self._service(self._names.service(number)) for number in range(2)]
        consumer = await self._service(f"{self._names.run}-consumer")
        for number in range(2):
            name = self._names.service(number)
            path = f"/v4/default/registry/instances?appId=eureka&serviceName={name}"
            await self._lines[0].ask("GET", path, consumer=consumer)
        for node in range(len(self._urls)):
            for one in (*ids, consumer):
                await self._until_known(node, f"{SERVICES}/{one}")
        return ids, consumer

    async def _service(self, name: str) -> str:
        service = {"appId": "eureka", "serviceName": name, "version": "0.0.1"}
        answer = await self._lines[0].ask("POST", SERVICES, json.dumps({"service": service}).encode())
        assert answer.status == 200, answer.body
        return str(json.loads(answer.body)["serviceId"])

    async def _until_known(self, node: int, path: str) -> None:
        give_up_at = time.monotonic() + BEGINS_WITHIN_S
        while (answer := await self._lines[node].ask("GET", path)).status != 200:
            assert time.monotonic() < give_up_at, f"node {node} does not know {path}: {answer.body!r}"
            await asyncio.sleep(0.05)

    def _readers_of(self, services: Sequence[str]) -> Sequence[Reader]:
        names = self._names
        found = [names.service(number) for number in range(2)] + [names.eureka_app(n).lower() for n in range(4)]
        for node, url in enumerate(self._urls):
            self.deltas.append(DeltaReader(self.log, node, url, names.run))
            self._readers += [
                EurekaReader(self.log, node, url, names.run),
                ServiceCenterReader(self.log, node, url, names.run, found),
                self.deltas[-1],
            ]
        return self._readers

    async def _until(self, is_so: Callable[[], bool], what: str) -> None:
        give_up_at = time.monotonic() + BEGINS_WITHIN_S
        while not is_so():
            assert time.monotonic() < give_up_at, f"waited {BEGINS_WITHIN_S:.0f} s in vain until {what}"
            await self.go_on(0.1)

    def _is_seen_everywhere(self) -> bool:
        steady = {client.who for client in self.fleet.clients if not client.is_restless}
        latest = self._latest()
        return len(latest) == len(self._readers) and all(steady <= look.shown.keys() for look in latest.values())

    def _latest(self) -> dict[tuple[int, str], Look]:
        """The last look of each reader of each node."""
        latest: dict[tuple[int, str], Look] = {}
        for look in reversed(self.log.looks):
            latest.setdefault((look.node, look.reader), look)
            if len(latest) == len(self._readers):
                break
        return latest

    async def _difference(self) -> str:
        """Why not all is settled; empty: it is."""
        unfinished = [op for op in self.log.ops[-500:] if op.ended_s > time.monotonic() and op.what is not What.READ]
        if any(op.what is not What.RENEW for op in unfinished):
            return "a change is under way"
        try:
            told = [await line.ask("GET", "/eureka/apps") for line in self._lines]
            ready = [await self.ready(node) for node in range(len(self._urls))]
        except NoAnswerError as error:
            return str(error)
        hashes = [json.loads(one.body)["applications"]["apps__hashcode"] for one in told if one.status == 200]
        revisions = [one["revision"] for one in ready]
        if len(hashes) < len(told) or len(set(hashes)) > 1 or len(set(revisions)) > 1:
            return f"hashes {hashes}, revisions {revisions}"
        return self._shown_amiss() or self._told_amiss()

    def _shown_amiss(self) -> str:
        """What a reader's last look has that clients were told otherwise."""
        open_to_doubt = {op.who for op in self.log.ops if op.outcome is Outcome.UNKNOWN and op.what is not What.RENEW}
        contended: set[tuple[str, Any]] = set()
        latest = self._latest()
        for (node, kind), look in latest.items():
            if look.code != 200:
                return f"node {node}, {kind}: no answer"
            for client in self.fleet.clients:
                shown, expected = look.shown.get(client.who), client.shown
                is_right = shown == expected or (client.who in open_to_doubt and shown is not None)
                if not is_right:
                    return f"node {node}, {kind}: {client.who} is shown as {shown}, its client was told {expected}"
            contended.add((kind, frozenset(one for one in look.shown.items() if one[0].startswith("c"))))
        if len({shown for _, shown in contended}) > 1:
            return f"the contended instances differ: {contended}"
        return "" if len(latest) == len(self._readers) else "not every reader has looked"

    def _told_amiss(self) -> str:
        expected = {
            client.who: client.n
            for client in self.fleet.clients
            if isinstance(client, ServiceClient) and client.is_registered
        }
        for number, watcher in enumerate(self.watchers):
            if watcher.known != expected:
                differs = sorted(watcher.known.items() ^ expected.items())[:6]
                return f"watcher {number} knows otherwise of {differs}"
        return ""
