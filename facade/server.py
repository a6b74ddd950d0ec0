"""The running server: every part gets what it needs, and is started and stopped in order.

One application, several listening sockets; every port answers everything. A request takes this way: socket, doorway
(guards), uvicorn, the application, a front, the registry.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

import uvicorn

from facade.access.accounts import Accounts
from facade.access.control import AccessControl
from facade.application import application
from facade.clock import SystemClock
from facade.config import Address, Settings
from facade.console import announce, warn_if_open
from facade.doorway.connection import Doorway, doorway
from facade.doorway.hall import MORE_HANDSHAKES, Limits
from facade.doorway.handshakes import Handshakes
from facade.errors import StartRefused
from facade.eureka.peers import Peers
from facade.eureka.records import HearOf
from facade.parts import access_of, peers_of, policy_of, store_of, switchboard_of, tls_of, trust_of
from facade.registry.registry import Registry
from facade.stores.opening import hear_of
from facade.stores.switchboard import Switchboard
from facade.stores.switching import SwitchingStore
from facade.tls import ServerTls

COLLECTED_AT = (50_000, 20, 100)
"""Records live long and hardly any of them is in a cycle. With Python's own thresholds a third of the time of a
registration went into looking for some, and a look at 100 000 instances held everything else up for 150 ms.
"""

BACKLOG = 2048
OTHER_FILES = 64
"""Open files beside connections: the store, the log, the event loop, the ports."""
WEBSOCKET_FRAME_BYTES = 64 * 1024
"""Clients of the watch have nothing to say; the original takes 64 bytes."""
DRAIN_S = 10
"""How long requests under way may take when the server is told to stop."""

log = logging.getLogger(__name__)


async def serve(settings: Settings) -> None:
    """Run until told to stop by SIGINT or SIGTERM. Raises StartRefused."""
    tls, trust = tls_of(settings), trust_of(settings)
    sockets = [_listening(address) for address in settings.listen]
    try:
        clock = SystemClock()
        store = SwitchingStore(store_of(settings, clock, trust))
        registry = Registry(store, clock, policy_of(settings))
        peers = peers_of(settings, registry, trust)
        gc.set_threshold(*COLLECTED_AT)
        with _loading():
            await registry.open()
        try:
            access = await access_of(settings, registry)
            switchboard = switchboard_of(settings, store, registry, trust)
            try:
                await _serve_registry(
                    registry, settings, sockets, tls, partial(hear_of, store), peers, access, switchboard
                )
            finally:
                await switchboard.close()
                if access is not None:
                    access.close()
        finally:
            await registry.close()
    finally:
        for listening in sockets:
            listening.close()


@contextmanager
def _loading() -> Iterator[None]:
    """While what the store holds is taken into memory: none of it is garbage, and looking for some would be a third of
    the time now; nor need the collector look at it again and again later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


async def _serve_registry(
    registry: Registry,
    settings: Settings,
    sockets: Sequence[socket.socket],
    tls: ServerTls | None,
    hear_of: HearOf,
    peers: Peers | None,
    access: AccessControl | None,
    switchboard: Switchboard,
) -> None:
    addresses = [
        settings.resolved(stated._replace(host=listening.getsockname()[0], port=listening.getsockname()[1]))
        for listening, stated in zip(sockets, settings.listen, strict=True)
    ]
    stopping = asyncio.Event()
    with _loading():
        app, lane = application(registry, settings, addresses, stopping, hear_of, peers, access, switchboard)
    server = _Server(
        uvicorn.Config(
            app,
            http=doorway(_limits(settings), lane if settings.lane else None),
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            ws_max_size=WEBSOCKET_FRAME_BYTES,
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=DRAIN_S,
        ),
        stopping,
        {}
        if tls is None
        else {
            listening: tls.context
            for listening, address in zip(sockets, addresses, strict=True)
            if address.scheme == "https"
        },
    )
    background = asyncio.create_task(_run(registry, peers, access, settings))
    try:
        serving = asyncio.create_task(server.serve(sockets=list(sockets)))
        await server.has_started.wait()
        announce(addresses, settings.host_name)
        if access is None:
            warn_if_open(addresses)
        await asyncio.wait((serving, background), return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        background.cancel()
        await asyncio.wait((background,))
    if not background.cancelled():
        background.result()  # a fault in the registry's own tasks ends the server loudly


async def _run(registry: Registry, peers: Peers | None, access: AccessControl | None, settings: Settings) -> None:
    """What goes on beside requests, until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(registry.run())
        if access is not None and not access.is_ready:
            tasks.create_task(Accounts(registry, access).open_late(settings.data_dir, settings.signing_key))
        if peers is not None:
            tasks.create_task(peers.run())


class _Server(uvicorn.Server):
    """uvicorn's server, which tells when it has started and when it stops, and then leaves with exit code 0."""

    def __init__(
        self, config: uvicorn.Config, stopping: asyncio.Event, tls: Mapping[socket.socket, ssl.SSLContext]
    ) -> None:
        """`tls` says which sockets have it: uvicorn gives it to all or to none, and a silent peer a minute."""
        super().__init__(config)
        self.has_started = asyncio.Event()
        self.stopping = stopping
        self.tls = tls

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([listening for listening in sockets or () if listening not in self.tls])
        # As uvicorn makes it, which has no name for it.
        protocol = partial(
            cast(Callable[..., asyncio.Protocol], self.config.http_protocol_class),
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        hall = cast(type[Doorway], self.config.http_protocol_class).hall
        handshakes = Handshakes(protocol, hall.has_place)
        for listening, context in self.tls.items():
            handshakes.listen(listening, context, self.config.backlog)
        self.servers.append(cast(asyncio.Server, handshakes))
        self.has_started.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.stopping.set()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again once it is done, and the process would die of it.
        loop = asyncio.get_running_loop()
        told_to_stop = (signal.SIGINT, signal.SIGTERM)
        for number in told_to_stop:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield
        for number in told_to_stop:
            loop.remove_signal_handler(number)


def _limits(settings: Settings) -> Limits:
    """What a peer may cost us; with it, as many open files as the connections need and the system grants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.connections + MORE_HANDSHAKES + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        granted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
        if granted < wanted:
            log.warning(
                "open files are limited to %d, so to about %d connections",
                granted,
                granted - MORE_HANDSHAKES - OTHER_FILES,
            )
    return Limits(connections=settings.connections, connections_per_address=settings.connections_per_address)


def _listening(address: Address) -> socket.socket:
    """A bound socket. Raises StartRefused, saying what to do about it."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address.host, address.port))
    except OSError as error:
        listening.close()
        raise StartRefused(f"cannot listen on {address}: {error.strerror}; name another one with --listen") from None
    return listening
