"""The way to Redis: connections, our scripts there, and its errors in our words.

What is asked is one script or one read; each may be asked a second time when no answer came, for all of them are made
for that. Time-outs are short: a registry that waits for its store is a registry that does not answer.
Raises: StoreUnavailable and StoreFull while running, StartRefused for what an operator has to change.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from facade.errors import StartRefused, StoreFull, StoreUnavailable
from facade.registry.model import Revision
from facade.stores.redis_line import ClusterLine, Line, OwnLine, Word, plain, sent
from facade.stores.redis_rights import refuse_without
from facade.stores.redis_sentinels import Primary, Sentinels
from facade.stores.redis_tls import refuse_other_scheme
from facade.stores.redis_url import RedisUrl
from facade.tls import Trust

ANSWERS_WITHIN_S = 2.0
CONNECTS_WITHIN_S = 1.0
TRIES_MORE = 1
LISTENS_FOR_S = 1.0
"""How long one question for news waits on the other side."""
LISTENS_TO_CLUSTERS_FOR_S = 0.5
"""Their client has one time-out for all that is asked: what waits there for long would have writes wait for long."""
ENTRIES_AT_ONCE = 500
RECORDS_AT_ONCE = 1_000
OLDEST = 7
"""The first Redis whose scripts may say that they go on while it is out of memory. Valkey calls itself 7.2."""

_RENEWAL = struct.Struct(">QI")
"""What remains of a term, and the length of the key behind it."""

KEYS_OF: Mapping[str, Sequence[str]] = {
    "commit": ("meta", "records", "leases", "log", "heard", "done", "evictor"),
    "end": ("meta", "records", "leases", "log", "heard", "done", "evictor"),
    "renew": ("records", "leases", "heard"),
    "lapsed": ("evictor", "leases", "heard", "nodes", "meta", "done"),
    "beat": ("nodes", "meta", "log", "evictor"),
    "found": ("meta", "log"),
    "restore": ("meta", "records", "leases", "heard"),
    "turn": ("meta", "log"),
}
"""The keys that each script in redis_scripts/ is given; `end` is `commit` for what makes room, also without memory."""
TYPE_OF = {
    **dict.fromkeys(("meta", "records", "heard", "done", "nodes"), "hash"),
    "leases": "zset",
    "log": "stream",
    "evictor": "string",
    "restorer": "string",
}

_OF_ANOTHER_KIND = {
    "Cluster mode is not enabled": "is no cluster: its URL begins with redis://",
    "DB index is out of range": "has no database of that number",
    # Of a cluster all that goes wrong at first is one exception.
    "invalid username-password": "does not let us in: invalid username-password pair or user is disabled",
    "Authentication required": "does not let us in: Authentication required",
}
"""What it says to who takes it for something else, and what to do about it."""
_MODES = {
    "sentinel": "is a sentinel: the URL of its master is redis+sentinel://HOST:26379/NAME",
    "cluster": "is part of a cluster: its URL begins with redis+cluster://",
}

_KEEPALIVE = {
    getattr(socket, name): value
    for name, value in {"TCP_KEEPIDLE": 3, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 5_000}.items()
    if hasattr(socket, name)
}
"""A peer that went without a word is found out within seconds."""


class Entry(NamedTuple):
    """One commit as the log has it."""

    previous: str
    """The head that it follows."""
    revision: Revision
    head: str
    """Its revision and who wrote it: this names it in every node."""
    at_ms: int
    """By Redis' clock."""
    said: Sequence[bytes]
    """The writes: kind, then the record or, of one that was removed, its key."""

    @property
    def writer(self) -> str:
        return self.head.split(" ", 2)[1]


def revision_of(head: str) -> Revision:
    return int(head.partition(" ")[0] or 0)


class Link:
    def __init__(self, url: RedisUrl, name: str, trust: Trust) -> None:
        """`name` is that of our keys, which share one slot of a cluster."""
        self.title = url.title
        self._url = url
        self._trust = trust
        self.keys = {one: f"{{{name}}}:{one}" for one in TYPE_OF}
        self.is_made = False
        """Whether `connect` has come to its end: from then on connections are made anew by `hang_up`."""
        self._scripts = {one: _Script(one) for one in KEYS_OF}
        self._rights = _Script("rights")
        self._client: Any = None
        self._line_client: Any = None
        self._lines: dict[str, Line] = {}
        """One for each script, one for the news, and one for reading all records."""
        self._sentinels: Sentinels | None = None
        self._primary = Primary(0, *url.hosts[0])
        """All that we ask goes there until we hang up: sentinels do not hear of another one all at once, and for a
        while two servers take writes. What one of them says does not follow on what the other does."""

    async def connect(self) -> None:
        """Also again. Raises StoreUnavailable while it cannot be reached, StartRefused when it is not what we need."""
        try:
            await self._connect()
        except StoreUnavailable:
            await refuse_other_scheme(self._url, CONNECTS_WITHIN_S)
            raise

    async def _connect(self) -> None:
        await self.close()
        with self._in_our_words():
            try:
                if self._url.kind == "sentinel":
                    self._sentinels = Sentinels(self._url, self._stated(CONNECTS_WITHIN_S))
                    self._primary = await self._sentinels.find()
                self._client = self._make(ANSWERS_WITHIN_S)
                await self._examine()
                # A cluster's client finds out who has our slot: a second one would have to find it out once more.
                self._line_client = self._client if self._url.kind == "cluster" else self._make(None)
                self.is_made = True
            except (AuthenticationError, NoPermissionError) as error:
                raise StartRefused(f"store: {self.title} does not let us in: {plain(error)}") from None
            except (ResponseError, RedisClusterException) as error:
                if fault := next((told for text, told in _OF_ANOTHER_KIND.items() if text in str(error)), ""):
                    raise StartRefused(f"store: {self.title} {fault}") from None
                raise

    async def close(self) -> None:
        for line in self._lines.values():
            line.end()
        for client in (self._client, self._line_client):
            if client is not None:
                with suppress(RedisError, OSError, RuntimeError):
                    await client.aclose()
        if self._sentinels is not None:
            await self._sentinels.close()
        self._client = self._line_client = self._sentinels = None
        self._lines = {}

    async def hang_up(self) -> None:
        """After a failure: what is asked next goes over new connections, to whoever is the primary then."""
        if self._url.kind == "cluster":
            return  # its client finds out by itself who has which slot
        if self._url.kind == "sentinel":
            await self._connect()
            return
        for client in (self._client, self._line_client):
            if client is not None:
                with suppress(RedisError, OSError, RuntimeError):
                    await client.connection_pool.disconnect()

    async def has_moved(self) -> bool:
        """Whether sentinels name another primary than the one that we are connected to. That one may not have heard of
        it yet, and takes for some seconds what is lost as soon as it follows the new one."""
        named = await self._sentinels.latest() if self._sentinels is not None else None
        return named is not None and named.term >= self._primary.term and named[1:] != self._primary[1:]

    async def run(self, name: str, *arguments: Word) -> Any:
        """Run one of our scripts."""
        script, line = self._scripts[name], self._line(name, ANSWERS_WITHIN_S)
        keys = [self.keys[one] for one in KEYS_OF[name]]
        with self._in_our_words():
            try:
                return await line.ask("EVALSHA", script.digest, len(keys), *keys, *arguments)
            except NoScriptError:  # a server that was restarted, or the first of us
                return await line.ask("EVAL", script.text, len(keys), *keys, *arguments)

    async def renew(self, node: str, remaining_ms: Mapping[bytes, int]) -> Sequence[bytes]:
        """Returns the keys that Redis does not hold. They are one argument: each for itself would cost the client
        library twice what all else costs here."""
        told = b"".join([_RENEWAL.pack(left_ms, len(key)) + key for key, left_ms in remaining_ms.items()])
        unknown: Sequence[bytes] = await self.run("renew", node, told)
        return unknown

    async def take(self, lock: str, holder: str, for_ms: int) -> bool:
        """Whether `holder` has this lock now, for so long."""
        with self._in_our_words():
            if await self._use().set(self.keys[lock], holder, nx=True, px=for_ms):
                return True
            is_ours: bool = await self._use().get(self.keys[lock]) == holder.encode()
            return is_ours and bool(await self._use().set(self.keys[lock], holder, px=for_ms))

    async def release(self, lock: str, holder: str) -> None:
        with self._in_our_words():
            if await self._use().get(self.keys[lock]) == holder.encode():
                await self._use().delete(self.keys[lock])

    async def leave(self, node: str) -> None:
        """A node goes and says so."""
        with self._in_our_words():
            await self._use().hdel(self.keys["nodes"], node)
            await self._use().hdel(self.keys["done"], node)
        await self.release("evictor", node)

    async def records(self) -> AsyncIterator[tuple[bytes, Revision, bytes]]:
        """Key, version and body of each record, in no order; one that is written meanwhile comes as before or after.

        Redis finds the next ones while these are read."""
        asked = asyncio.create_task(self._records_from(0))
        try:
            while True:
                next_, fields = await asked
                if next_:
                    asked = await sent(self._records_from(next_))
                for key, value in zip(fields[::2], fields[1::2], strict=True):
                    version, _, body = value.partition(b" ")
                    if not version.isdigit():
                        raise self.not_ours(f"a field {key!r}", "records")
                    yield key, int(version), body
                if not next_:
                    return
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

    async def _records_from(self, cursor: int) -> tuple[int, Sequence[bytes]]:
        """Some, as fields and values in turn, and where the next ones are; 0: nowhere."""
        with self._in_our_words():
            line = self._line("records", ANSWERS_WITHIN_S)
            next_, fields = await line.ask("HSCAN", self.keys["records"], cursor, "COUNT", RECORDS_AT_ONCE)
        return int(next_), fields

    async def news(self, after: Revision) -> Sequence[Entry]:
        """Entries of the log past a revision; waits a moment for some when there are none."""
        line = self._line("news", LISTENS_FOR_S + ANSWERS_WITHIN_S)
        listens_for_s = LISTENS_TO_CLUSTERS_FOR_S if self._url.kind == "cluster" else LISTENS_FOR_S
        wait_ms, log = int(listens_for_s * 1000), self.keys["log"]
        with self._in_our_words():
            found = await line.ask("XREAD", "COUNT", ENTRIES_AT_ONCE, "BLOCK", wait_ms, "STREAMS", log, f"{after}-0")
        return [self._entry(name, fields[1::2]) for name, fields in found[0][1]] if found else []

    async def history(self) -> AsyncIterator[Entry]:
        """All that the log still has, the newest first."""
        before = "+"
        while True:
            with self._in_our_words():
                found = await self._use().xrevrange(self.keys["log"], before, "-", count=ENTRIES_AT_ONCE)
            for name, fields in found:
                yield self._entry(name, list(fields.values()))
            if len(found) < ENTRIES_AT_ONCE:
                return
            before = f"({found[-1][0].decode()}"

    def _entry(self, name: bytes, said: Sequence[bytes]) -> Entry:
        """`said` are the values of its fields."""
        revision = int(name.partition(b"-")[0])
        try:
            return Entry(said[0].decode(), revision, f"{revision} {said[1].decode()}", int(said[2]), said[3:])
        except (IndexError, ValueError):
            raise self.not_ours(f"an entry {name.decode()}", "log") from None

    def not_ours(self, found: str, one: str) -> StartRefused:
        """What to say of something under one of our keys that none of us has put there."""
        return StartRefused(
            f"store: {self.title} holds {found} under {self.keys[one]}, which is none of ours: another --cluster names "
            "other keys"
        )

    # What they say of themselves, for a person

    async def info(self) -> Mapping[str, Any]:
        """What the server with our keys answers to INFO."""
        with self._in_our_words():
            if self._url.kind != "cluster":
                return cast("Mapping[str, Any]", await self._use().info())
            node = self._use().get_node_from_key(self.keys["meta"])
            return _of_one(await self._use().info(target_nodes=node))

    async def sentinels(self) -> Sequence[tuple[str, Mapping[str, Any] | str]]:
        """What each of those in the URL says of the primary, or why it does not answer; nothing where none are."""
        return await self._sentinels.told() if self._sentinels is not None else []

    # Connections

    def _use(self) -> Any:
        if self._client is None:
            raise StoreUnavailable(f"{self.title} has not been reached yet")
        return self._client

    def _line(self, name: str, within_s: float) -> Line:
        line = self._lines.get(name)
        if line is None:
            if self._line_client is None:
                raise StoreUnavailable(f"{self.title} has not been reached yet")
            is_cluster = self._url.kind == "cluster"
            line = ClusterLine(self._line_client) if is_cluster else OwnLine(self._line_client, within_s)
            self._lines[name] = line
        return line

    def _make(self, answers_within_s: float | None) -> Any:
        url, stated = self._url, self._stated(answers_within_s)
        if url.kind == "cluster":
            return RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in url.hosts], **stated)
        return Redis(host=self._primary.host, port=self._primary.port, db=url.database, **stated)

    def _stated(self, answers_within_s: float | None) -> dict[str, Any]:
        url = self._url
        stated: dict[str, Any] = {
            "username": url.username,
            "password": url.password,
            "protocol": 2,
            "socket_timeout": answers_within_s,
            "socket_connect_timeout": CONNECTS_WITHIN_S,
            "socket_keepalive": True,
            "socket_keepalive_options": _KEEPALIVE,
            "health_check_interval": 0,  # a sign of life goes out every second anyway
            "retry": Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), TRIES_MORE),
        }
        if url.is_tls:
            stated |= {
                "ssl": True,
                "ssl_check_hostname": True,
                "ssl_ca_certs": _text(self._trust.ca),
                "ssl_certfile": _text(self._trust.certificate),
                "ssl_keyfile": _text(self._trust.key),
            }
        return stated

    async def _examine(self) -> None:
        """That it is new enough, and that nobody else uses our keys."""
        found = _of_one(await self._client.info("server"))
        mode = str(found.get("redis_mode", found.get("server_mode", "")))  # Redis' word and Valkey's
        if mode in _MODES and self._url.kind != mode:
            raise StartRefused(f"store: {self.title} {_MODES[mode]}")
        version = str(found["redis_version"])
        if int(version.partition(".")[0]) < OLDEST:
            raise StartRefused(f"store: {self.title} is release {version}; {OLDEST}.0 or newer is needed, or Valkey")
        for one, type_ in TYPE_OF.items():
            held = (await self._client.type(self.keys[one])).decode()
            if held not in ("none", type_):
                raise self.not_ours(f"a {held}", one)
        scripts = [script.text for script in self._scripts.values()]
        await refuse_without(self._client, self.title, self._rights.text, scripts, self.keys)

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except OutOfMemoryError as error:
            raise StoreFull(f"{self.title} is out of memory: {plain(error)}") from error
        except ReadOnlyError as error:
            raise StoreUnavailable(f"{self.title} is a replica now: {plain(error)}") from error
        except ResponseError as error:
            if "OOM" in str(error):
                raise StoreFull(f"{self.title} is out of memory: {plain(error)}") from error
            raise StoreUnavailable(f"{self.title} refuses: {plain(error)}") from error
        # Closed while in use, a connection says RuntimeError (uvloop); closed while it is made, AttributeError (redis).
        except (RedisError, RedisClusterException, OSError, TimeoutError, RuntimeError, AttributeError) as error:
            raise StoreUnavailable(f"{self.title} does not answer: {plain(error)}") from error


def _of_one(info: Mapping[str, Any]) -> Mapping[str, Any]:
    """A cluster's client tells of several servers, by name."""
    return info if "redis_version" in info else cast("Mapping[str, Any]", next(iter(info.values())))


class _Script:
    def __init__(self, name: str) -> None:
        file = "commit" if name == "end" else name
        self.text = (resources.files(__package__) / "redis_scripts" / f"{file}.lua").read_text("utf-8")
        if name == "end":
            self.text = self.text.replace("#!lua", "#!lua flags=allow-oom", 1)
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def _text(value: object) -> str | None:
    return str(value) if value is not None else None
