"""The same over each way to a Redis: by sentinels, to a cluster, over TLS; two nodes ask it over real connections."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from conformance.peers.processes import MissingToolError, Processes, Running
from conformance.peers.redis import PRIMARY_NAME, Alone, Sentinels, Tls, ask, redis, require_tls, sentinel
from conformance.peers.redis_shards import Shards
from facade.clock import SystemClock
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.stores import redis_url
from facade.stores.redis_backed import RedisStore
from facade.stores.redis_link import Link
from facade.tls import Trust
from tests.authority import Authority, Pair
from tests.ports import free_port
from tests.stores.examples import instance
from tests.stores.redis_nodes import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def node(url: str, stack: AsyncExitStack, trust: Trust | None = None) -> Registry:
    clock = SystemClock()
    store = RedisStore(Link(redis_url.parse(url), "ways", trust or Trust()), clock, "node:8761", 600, is_strict=False)
    registry = Registry(store, clock, Policy(self_preservation=False))
    await registry.open()
    stack.push_async_callback(registry.close)
    return registry


def listed(registry: Registry) -> set[str]:
    return {key.instance_id for key in registry.catalogue.leases}


async def show_the_same(url: str, stack: AsyncExitStack, trust: Trust | None = None) -> list[Registry]:
    """Two nodes, each of which has written something."""
    one, other = await node(url, stack, trust), await node(url, stack, trust)
    for registry, names in ((one, ("a", "b")), (other, ("c",))):
        for name in names:
            await registry.register(instance(name))
    await until(lambda: listed(one) == listed(other) == {"a", "b", "c"})
    await other.cancel(instance("b").key)
    one.renew(instance("a").key)
    await one.tell_renewals()
    await until(lambda: listed(one) == {"a", "c"} and one.revision == other.revision)
    return [one, other]


async def test_whatever_is_asked_goes_to_the_one_primary_that_was_found(tmp_path: Path) -> None:
    """After an operator's fail-over the old one takes writes for seconds: news from it and writes to the new one would
    be two histories taken for one."""
    with Processes(tmp_path) as processes:
        group = Sentinels(processes, free_port).start()
        link = Link(redis_url.parse(group.store), "ways", Trust())
        await link.connect()
        before = group.primary
        ask(before.url, "ACL SETUSER", "default", "-replicaof", "-slaveof")  # it never hears of it
        after = await asyncio.to_thread(group.promote)

        def have_it() -> list[int]:
            return [ask(server.url, "EXISTS", link.keys["meta"]) for server in (before, after)]

        await link.run("found", 1, "epoch", 0)
        assert have_it() == [1, 0]
        assert await link.has_moved()

        await link.hang_up()
        await link.run("found", 1, "epoch", 0)
        assert have_it() == [1, 1]
        assert not await link.has_moved()
        await link.close()


async def test_of_two_primaries_that_sentinels_name_the_later_one_counts(tmp_path: Path) -> None:
    """One that has not heard of a fail-over yet would lead who asks it back to the old one."""
    with Processes(tmp_path) as processes:
        group = Sentinels(processes, free_port).start()
        after = await asyncio.to_thread(group.promote)
        port = free_port()
        processes.start(redis(port))
        behind = processes.start(sentinel(free_port(), port))
        addresses = f"{urlsplit(behind.url).netloc},{urlsplit(group.store).netloc}"
        link = Link(redis_url.parse(f"redis+sentinel://{addresses}/{PRIMARY_NAME}"), "ways", Trust())

        await link.connect()
        await link.run("found", 1, "epoch", 0)

        assert ask(after.url, "EXISTS", link.keys["meta"])
        assert not await link.has_moved()
        await link.close()


@pytest.mark.parametrize("kind", [Alone, Sentinels, Shards])
async def test_nodes_show_the_same_and_outlive_a_restart_of_redis(
    kind: type[Alone] | type[Sentinels] | type[Shards], tmp_path: Path, stack: AsyncExitStack
) -> None:
    with Processes(tmp_path) as processes:
        group = kind(processes, free_port, password="s3cr3t/@").start()
        nodes = await show_the_same(group.store, stack)
        holder = group.holder("{ways}:records") if isinstance(group, Shards) else group.primary

        holder.kill()
        await until(lambda: not nodes[0].store_health().is_writable)
        await nodes[0].register(instance("d"))
        await asyncio.to_thread(group.restart, holder)

        await until(lambda: listed(nodes[1]) == {"a", "c", "d"})
        late = await node(group.store, stack)
        assert listed(late) == {"a", "c", "d"}
        await stack.aclose()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def tls(authority: Authority) -> Tls:
    """Of all servers of a test. The nodes show the same certificate: Redis wants one of whoever asks."""
    try:
        require_tls()
    except MissingToolError as missing:
        pytest.skip(str(missing))
    return Tls(authority.file, *authority.pair())


async def outlive_a_promotion(nodes: list[Registry], promote: Callable[[], object]) -> None:
    """What one node takes while no primary is there, the other has afterwards; and each hears of the other again."""
    await asyncio.gather(nodes[0].register(instance("d")), asyncio.to_thread(promote))
    await until(lambda: listed(nodes[1]) == {"a", "c", "d"})
    await nodes[1].register(instance("e"))
    await until(lambda: listed(nodes[0]) == {"a", "c", "d", "e"})


async def test_over_tls_sentinels_lead_to_the_replica_that_they_promote(
    tls: Tls, tmp_path: Path, stack: AsyncExitStack
) -> None:
    """They want the one password as well, as where operators give all servers the same."""
    with Processes(tmp_path) as processes:
        group = Sentinels(processes, free_port, password="s3cr3t/@", sentinels_want_it=True, tls=tls).start()
        before = group.primary
        nodes = await show_the_same(group.store, stack, Trust(tls.authority, tls.certificate, tls.key))
        before.kill()

        await outlive_a_promotion(nodes, lambda: group.wait_for_another_primary(before))
        await stack.aclose()


async def test_over_tls_a_cluster_leads_to_the_replica_that_it_promotes(
    tls: Tls, tmp_path: Path, stack: AsyncExitStack
) -> None:
    with Processes(tmp_path) as processes:
        shards = Shards(processes, free_port, password="s3cr3t/@", tls=tls).start()
        before = shards.holder("{ways}:records")
        shards.add_replica(before)
        nodes = await show_the_same(shards.store, stack, Trust(tls.authority, tls.certificate, tls.key))
        before.kill()

        await outlive_a_promotion(nodes, lambda: shards.wait_for_another_holder("{ways}:records", before))
        await stack.aclose()


@asynccontextmanager
async def behind_tls(server: Running, pair: Pair) -> AsyncIterator[str]:
    """The URL of what speaks TLS in front of it: the Valkey that comes with the development packages does not."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    address = urlsplit(server.url)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while part := await reader.read(65_536):
                writer.write(part)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_redis, to_redis = await asyncio.open_connection(address.hostname, address.port)
        await asyncio.gather(copy(reader, to_redis), copy(from_redis, writer))

    listening = await asyncio.start_server(serve, "127.0.0.1", port := free_port(), ssl=context)
    yield f"rediss://127.0.0.1:{port}"
    listening.close()


async def test_over_tls_a_server_is_judged_by_the_authority_that_we_trust_and_by_its_name(
    authority: Authority, tmp_path: Path, stack: AsyncExitStack
) -> None:
    trust = Trust(ca=authority.file)
    with Processes(tmp_path) as processes:
        server = Alone(processes, free_port, is_durable=False).start().primary
        async with behind_tls(server, authority.pair()) as url:
            of_nobody_s = await node(url, stack)
            await show_the_same(url, stack, trust)
            await stack.aclose()
        async with behind_tls(server, authority.pair("elsewhere.example")) as url:
            of_another_name = await node(url, stack, trust)
            await stack.aclose()

    for refused in (of_nobody_s, of_another_name):
        assert not refused.has_data
        assert "certificate verify failed" in refused.store_health().text
