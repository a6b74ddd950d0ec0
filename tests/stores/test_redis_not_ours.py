"""What stands under our keys and is none of ours, though of the right type: told in one line, and left alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest

from conformance.peers.processes import Running
from conformance.peers.redis import ask
from facade.clock import SystemClock
from facade.dashboard.metrics import Figures
from facade.errors import StartRefused, StoreUnavailable
from facade.registry.model import Revision
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.stores.redis_link import Entry, Link
from facade.stores.redis_nodes import Look, Nodes
from facade.stores.redis_url import parse
from facade.tls import Trust
from tests.stores.examples import instance
from tests.stores.redis_nodes import redis_store, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def node(server: Running, stack: AsyncExitStack) -> Registry:
    clock = SystemClock()
    registry = Registry(redis_store(server.url, "shop", clock), clock, Policy(self_preservation=False))
    await registry.open()
    stack.push_async_callback(registry.close)
    return registry


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("HSET", "{shop}:records", "foo", "bar"), "holds a field b'foo' under {shop}:records, which is none of ours"),
        (("HSET", "{shop}:records", "foo", "1 bar"), "holds a record b'foo' under {shop}:records, which is none of"),
        (("HSET", "{shop}:nodes", "foo", "bar"), "holds another field under {shop}:nodes, which is none of ours"),
        (("HSET", "{shop}:meta", "foo", "bar"), "holds another hash under {shop}:meta, which is none of ours"),
        (("HSET", "{shop}:meta", "schema", "1", "epoch", "e"), "holds another hash under {shop}:meta, which is none"),
    ],
)
async def test_it_stops_a_start(server: Running, stack: AsyncExitStack, command: tuple[str, ...], told: str) -> None:
    ask(server.url, *command)

    with pytest.raises(StartRefused) as refused:
        await node(server, stack)

    assert told in str(refused.value)
    assert ask(server.url, "HGET", *command[1:3]) == command[3].encode()


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("HDEL", "{shop}:meta", "head"), "holds another hash under {shop}:meta"),
        (("HSET", "{shop}:nodes", "foo", "bar"), "holds another field under {shop}:nodes"),
        (("XADD", "{shop}:log", "*", "foo", "bar"), "under {shop}:log, which is none of ours"),
    ],
)
async def test_a_node_that_runs_says_so_and_goes_on(
    server: Running, stack: AsyncExitStack, command: tuple[str, ...], told: str
) -> None:
    registry = await node(server, stack)
    await registry.register(instance("a"))

    ask(server.url, *command)

    await until(lambda: told in registry.store_health().text)
    assert instance("a").key in registry.catalogue.leases
    ask(server.url, "DEL", command[1])
    await until(lambda: registry.store_health().is_writable)


@pytest.mark.parametrize("script", ["commit", "end", "turn"])
async def test_nothing_is_written_before_an_entry_that_is_none_of_ours_is_found(
    server: Running, stack: AsyncExitStack, script: str
) -> None:
    registry = await node(server, stack)
    await registry.register(instance("a"))
    await registry.close()
    ask(server.url, "XADD", "{shop}:log", "9999999999999-7", "foo", "bar")
    keys = ("meta", "records", "leases", "heard", "done")
    before = [ask(server.url, "DUMP", f"{{shop}}:{key}") for key in keys]
    epoch = ask(server.url, "HGET", "{shop}:meta", "epoch")
    told = (epoch, "e", 0, 9, 9) if script == "turn" else (1, epoch, 0, 9, 1, "b", "Pr0", 0, 90_000, "body")
    link = Link(parse(server.url), "shop", Trust())
    await link.connect()
    stack.push_async_callback(link.close)

    with pytest.raises(StoreUnavailable, match=r"\{shop\}:log holds an entry 9999999999999-7, which is none of ours$"):
        await link.run(script, "n", *told)

    assert [ask(server.url, "DUMP", f"{{shop}}:{key}") for key in keys] == before


async def test_an_entry_that_stays_is_told_once(
    server: Running, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not as away and back with each try, four times a second; and one of our own shape is no better."""
    looks = []
    look = Nodes.look

    async def counted(nodes: Nodes, epoch: str, head: str) -> Look:
        looks.append(head)
        return await look(nodes, epoch, head)

    monkeypatch.setattr(Nodes, "look", counted)
    registry = await node(server, stack)
    looks.clear()
    ask(server.url, "XADD", "{shop}:log", "9999999999999-7", "prev", "1 x", "by", "x", "at", "5")

    await registry.register(instance("a"))
    await until(lambda: len(looks) > 4)

    assert "holds an entry 9999999999999-7 under {shop}:log, which is none of" in registry.store_health().text
    told = [line.getMessage() for line in caplog.records]
    assert [text.partition(" store=")[0] for text in told if "what it was" not in text] == ["store does not answer"]
    ask(server.url, "DEL", "{shop}:log")
    await until(lambda: registry.store_health().is_writable)


async def test_a_fault_of_ours_that_stays_is_told_once(
    server: Running, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again four times a second."""
    tries = []

    async def fail(link: Link, after: Revision) -> Sequence[Entry]:
        tries.append(after)
        raise LookupError("odd")

    monkeypatch.setattr(Link, "news", fail)
    registry = await node(server, stack)

    await until(lambda: len(tries) > 2)

    assert [line.getMessage() for line in caplog.records if line.exc_info] == [
        f"not carried out store=Redis at {server.url.removeprefix('redis://')}"
    ]
    await until(lambda: "a fault of this server, see its log: LookupError('odd')" in registry.store_health().text)


async def test_what_redis_had_lost_and_a_node_put_back_is_counted(server: Running, stack: AsyncExitStack) -> None:
    """By F9 of what is promised: an operator sees that acknowledged writes were lost, and healed."""
    registry = await node(server, stack)
    await registry.register(instance("a"))

    ask(server.url, "FLUSHALL")

    await until(lambda: b"\nregistry_restored_records_total 1.0\n" in Figures(registry).text())
