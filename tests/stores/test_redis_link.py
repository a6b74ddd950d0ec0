"""What an operator is told of a Redis that will not do: one line that names what is wrong, and never a password.

Real servers: one with a password and accounts, a sentinel that watches it, one that is made for a cluster.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from conformance.peers.processes import Processes, Running
from conformance.peers.redis import PRIMARY_NAME, ask, redis, sentinel
from conformance.peers.redis_shards import Shards, shard
from facade.clock import ManualClock
from facade.errors import StartRefused, StoreUnavailable
from facade.stores.redis_link import ANSWERS_WITHIN_S, KEYS_OF, LISTENS_TO_CLUSTERS_FOR_S, TYPE_OF, Link, _Script
from facade.stores.redis_rights import needs
from facade.stores.redis_url import parse
from facade.tls import Trust
from tests.authority import Authority
from tests.ports import free_port
from tests.stores.redis_nodes import redis_store, until

pytestmark = pytest.mark.anyio

PASSWORD = "s3cr3t@:/x"
QUOTED = "s3cr3t%40%3A%2Fx"
NAME = "facade"
OURS = "~{facade}:*"


class Servers(NamedTuple):
    alone: Running
    sentinel: Running
    shard: Running

    @property
    def ports(self) -> dict[str, str]:
        return {name: one.url.rpartition(":")[2] for name, one in self._asdict().items()}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Processes(tmp_path_factory.mktemp("servers")) as processes:
        port = free_port()
        alone = processes.start(redis(port, PASSWORD, is_durable=False))
        watching = processes.start(sentinel(free_port(), port, PASSWORD))
        part = processes.start(shard(free_port(), free_port()))
        yield Servers(alone, watching, part)


async def refusal_of(url: str) -> str:
    link = Link(parse(url), NAME, Trust())
    try:
        with pytest.raises(StartRefused) as refused:
            await link.connect()
    finally:
        await link.close()
    assert "s3cr3t" not in str(refused.value)
    assert "\n" not in str(refused.value)
    return str(refused.value).removeprefix("store: ")


@pytest.mark.parametrize(
    ("url", "refusal"),
    [
        ("redis://127.0.0.1:{alone}", "Redis at 127.0.0.1:{alone} does not let us in: Authentication required."),
        ("redis://:s3cr3t@127.0.0.1:{alone}", "Redis at 127.0.0.1:{alone} does not let us in: invalid username"),
        ("redis://jack:s3cr3t@127.0.0.1:{alone}", "Redis at 127.0.0.1:{alone} does not let us in: invalid username"),
        (f"redis://:{QUOTED}@127.0.0.1:{{alone}}/99", "Redis at 127.0.0.1:{alone}/99 has no database of that number"),
        (f"redis+cluster://:{QUOTED}@127.0.0.1:{{alone}}", "Redis cluster at 127.0.0.1:{alone} is no cluster: its URL"),
        ("redis://127.0.0.1:{shard}", "Redis at 127.0.0.1:{shard} is part of a cluster: its URL begins with redis+cl"),
        ("redis://127.0.0.1:{sentinel}", "Redis at 127.0.0.1:{sentinel} is a sentinel: the URL of its master is red"),
        (
            f"redis+sentinel://:{QUOTED}@127.0.0.1:{{sentinel}}/nobody",
            "Redis 'nobody' of the sentinels at 127.0.0.1:{sentinel} is not found: 127.0.0.1:{sentinel}: knows no mast",
        ),
        (
            f"redis+sentinel://:{QUOTED}@127.0.0.1:{{alone}}/{PRIMARY_NAME}",
            "Redis 'registry' of the sentinels at 127.0.0.1:{alone} is not found: 127.0.0.1:{alone}: is no sentinel",
        ),
        (
            f"redis+sentinel://127.0.0.1:{{sentinel}}/{PRIMARY_NAME}",
            "Redis 'registry' of the sentinels at 127.0.0.1:{sentinel} does not let us in: Authentication required.",
        ),
    ],
)
async def test_what_is_wrong_with_a_redis_is_told_in_one_line(servers: Servers, url: str, refusal: str) -> None:
    told = await refusal_of(url.format(**servers.ports))

    assert told.startswith(refusal.format(**servers.ports))


@pytest.mark.parametrize(
    ("rights", "missing"),
    [
        (["~other:*", "+@all"], "does not let us in: .*ermissions to access .*key"),
        ([OURS, "+@all", "-info"], "does not let us in: .* has no permissions to run the 'info' command"),
        ([OURS, "+@all", "-eval"], "does not let us in: .* has no permissions to run the 'eval' command"),
        ([OURS, "+@all", "-evalsha"], "does not permit its account all that is needed: EVALSHA"),
        ([OURS, "+@all", "-zadd"], "does not permit its account all that is needed: ZADD of {facade}:leases"),
        ([OURS, "+@all", "-xread"], "does not permit its account all that is needed: XREAD of {facade}:log"),
        (
            [OURS, "+@read", "+@connection", "+@scripting", "+info"],
            "does not permit its account all that is needed: DEL of {facade}:log, HDEL of {facade}:done, HDEL of "
            "{facade}:heard, ",
        ),
    ],
)
async def test_an_account_that_may_not_do_all_of_it_is_refused_before_we_serve(
    servers: Servers, rights: list[str], missing: str
) -> None:
    """One that may register and not renew would make an outage of each renewal. Redis 7.0 has words of its own."""
    ask(servers.alone.url, "ACL SETUSER", "jack", "reset", "on", ">s3cr3t", *rights)

    told = await refusal_of(f"redis://jack:s3cr3t@127.0.0.1:{servers.ports['alone']}")

    assert re.match(missing, told.partition(f"{servers.ports['alone']} ")[2])


async def test_an_account_with_our_keys_only_is_enough(servers: Servers) -> None:
    ask(servers.alone.url, "ACL SETUSER", "jack", "reset", "on", ">s3cr3t", OURS, "+@all", "-@dangerous", "+info")
    store = redis_store(f"redis://jack:s3cr3t@127.0.0.1:{servers.ports['alone']}", NAME, ManualClock())

    await store.open(lambda _: None)

    assert store.has_data
    await store.close()


@pytest.mark.parametrize(
    ("name", "kind", "path"),
    [("alone", "", ""), ("sentinel", "+sentinel", f"/{PRIMARY_NAME}"), ("shard", "+cluster", "")],
)
async def test_tls_on_the_other_side_only_is_told_with_the_scheme_that_fits(
    servers: Servers, name: str, kind: str, path: str, tmp_path: Path
) -> None:
    """A server that speaks TLS closes what begins otherwise, whatever is behind it."""
    plain, pair = f"127.0.0.1:{servers.ports[name]}", Authority(tmp_path).pair()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    listening = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    secured = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"

    of_plain = await refusal_of(f"rediss{kind}://{plain}{path}")
    of_secured = await refusal_of(f"redis{kind}://{secured}{path}")
    listening.close()

    assert of_plain.endswith(f"{plain} does not speak TLS: its URL begins with redis{kind}://")
    assert of_secured.endswith(f"{secured} speaks TLS: its URL begins with rediss{kind}://")


async def test_a_first_address_that_is_no_redis_keeps_nobody_from_the_sentinels(servers: Servers) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    web = await asyncio.start_server(answer, "127.0.0.1", port := free_port())
    url = f"redis+sentinel://:{QUOTED}@127.0.0.1:{port},127.0.0.1:{servers.ports['sentinel']}/{PRIMARY_NAME}"
    link = Link(parse(url), NAME, Trust())

    await link.connect()

    assert [entry async for entry in link.history()] == []
    await link.close()
    web.close()


async def test_a_first_sentinel_that_stands_still_keeps_no_line_from_its_primary(servers: Servers) -> None:
    """As one on a machine that is off: nothing refuses the connection. An answer of Redis is waited for longer than all
    the sentinels before the first that answers take."""
    with socket.create_server(("127.0.0.1", 0)) as still:
        port = still.getsockname()[1]
        url = f"redis+sentinel://:{QUOTED}@127.0.0.1:{port},127.0.0.1:{servers.ports['sentinel']}/{PRIMARY_NAME}"
        link = Link(parse(url), NAME, Trust())
        await link.connect()

        assert await link.run("renew", "node", b"") == []
        await link.close()


async def test_a_line_that_still_has_the_old_primary_is_found_when_others_have_the_new_one(tmp_path: Path) -> None:
    """Each connection asks the sentinels when it is made: after a fail-over some may have been, and some not."""
    with Processes(tmp_path) as processes:
        old, new = (processes.start(redis(free_port(), is_durable=False)) for _ in range(2))
        watching = processes.start(sentinel(free_port(), int(old.url.rpartition(":")[2])))
        at = watching.url.rpartition("://")[2]
        link = Link(parse(f"redis+sentinel://{at}/{PRIMARY_NAME}"), NAME, Trust())
        await link.connect()
        await link.run("renew", "node", b"")
        before = await link.has_moved()

        ask(watching.url, "SENTINEL REMOVE", PRIMARY_NAME)
        ask(watching.url, "SENTINEL MONITOR", PRIMARY_NAME, "127.0.0.1", new.url.rpartition(":")[2], 1)
        await link.run("lapsed", "node", 1, 1, 1, 1, 1)
        await asyncio.gather(*(link.take("restorer", "node", 1_000) for _ in range(2)))  # two connections at once
        moved = await link.has_moved()
        await link.hang_up()
        await link.run("renew", "node", b"")
        after = await link.has_moved()
        await link.close()

    assert (before, moved, after) == (False, True, False)


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
async def test_a_host_that_is_no_name_is_told_as_one_that_is_not_found(host: str) -> None:
    link = Link(parse(f"redis://{host}"), NAME, Trust())

    with pytest.raises(StoreUnavailable, match="does not answer"):
        await link.connect()
    await link.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:1,127.0.0.1"])
async def test_sentinels_may_want_the_password_as_well_or_be_away(servers: Servers, host: str) -> None:
    """Their refusal is a kind of lost connection to the client that we use."""
    url = f"redis+sentinel://:{QUOTED}@{host}:{servers.ports['sentinel']}/{PRIMARY_NAME}"
    for password in ("nopass", f">{PASSWORD}"):
        link = Link(parse(url), NAME, Trust())
        await link.connect()
        assert [entry async for entry in link.history()] == []
        await link.close()
        if password != "nopass":
            break
        ask(servers.sentinel.url, "ACL SETUSER", "default", "resetpass", f">{PASSWORD}")
    ask(f"redis://:{QUOTED}@127.0.0.1:{servers.ports['sentinel']}", "ACL SETUSER", "default", "nopass")


async def test_where_sentinels_alone_want_a_password_the_account_is_named_with_it(tmp_path: Path) -> None:
    """A Redis without one refuses a password by itself, and lets in whoever names its account."""
    with Processes(tmp_path) as processes:
        processes.start(redis(port := free_port(), is_durable=False))
        at = f"127.0.0.1:{free_port()}"
        processes.start(sentinel(int(at.rpartition(":")[2]), port, own_password="s3cr3t"))

        told = await refusal_of(f"redis+sentinel://:s3cr3t@{at}/{PRIMARY_NAME}")
        link = Link(parse(f"redis+sentinel://default:s3cr3t@{at}/{PRIMARY_NAME}"), NAME, Trust())
        await link.connect()
        has_moved = await link.has_moved()
        await link.close()

    assert "does not let us in: AUTH <password> called without any password configured" in told
    assert not has_moved


async def test_a_cluster_is_looked_at_as_a_single_server_is(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        shards = Shards(processes, free_port, PASSWORD).start()
        for shard_ in shards.servers:
            ask(shard_.url, "ACL SETUSER", "jack", "on", ">s3cr3t", OURS, "+@all", "-zadd")
        hosts = shards.store.rpartition("@")[2]

        told = await refusal_of(f"redis+cluster://jack:s3cr3t@{hosts}")
        told_of_password = await refusal_of(f"redis+cluster://:s3cr3t@{hosts}")
        link = Link(parse(shards.store), NAME, Trust())
        await link.connect()
        given_up_after_s = link._line_client.connection_kwargs["socket_timeout"]
        await link.close()

    assert told.endswith("does not permit its account all that is needed: ZADD of {facade}:leases")
    assert told_of_password.endswith("does not let us in: invalid username-password pair or user is disabled")
    assert LISTENS_TO_CLUSTERS_FOR_S < given_up_after_s == ANSWERS_WITHIN_S


@pytest.mark.parametrize("name", KEYS_OF)
def test_every_command_of_a_script_is_asked_for_with_its_key(name: str) -> None:
    """A key is known by the name that the script has for it: one that is called otherwise would be left out."""
    keys = {one: f"{{n}}:{one}" for one in TYPE_OF}
    text = _Script(name).text

    asked = needs([text], keys)

    assert {part.partition("'")[0] for part in text.split("redis.call('")[1:]} <= {words[0] for words in asked}
    assert {words for words in asked if len(words) == 1} <= {("TIME",), ("TYPE",)}  # TYPE is of all keys, in a loop


async def test_one_that_comes_up_later_with_another_password_is_waited_for_in_words(tmp_path: Path) -> None:
    port = free_port()
    store = redis_store(f"redis://:s3cr3t@127.0.0.1:{port}", NAME, ManualClock())
    await store.open(lambda _: None)
    away = store.health()
    with Processes(tmp_path) as processes:
        processes.start(redis(port, "another", is_durable=False))
        await until(lambda: "let us in" in store.health().text)
        refused = store.health()
        has_data = store.has_data
        await store.close()

    assert f"{port}, records: 0; it has not answered for 0 s (does not answer: Error " in away.text
    assert "): nothing is known yet, so reads are refused, renewals go on, nothing is evicted, writes wait" in away.text
    assert "(does not let us in: invalid username-password pair" in refused.text
    assert (refused.is_writable, has_data, "s3cr3t" in refused.text) == (False, False, False)
