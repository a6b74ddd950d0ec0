"""Assembly: builds every part, hands each what it needs, starts and stops them in order.

One application, several listening sockets; every port answers everything. A request takes this way: socket, doorway
(guards), uvicorn, `application` below, a front, the registry.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facade.clock import Clock, SystemClock
from facade.config import Address, Settings
from facade.console import announce, reachable, warn_if_open
from facade.dashboard.routes import Dashboard
from facade.doorway import Limits, doorway
from facade.errors import StartRefused
from facade.eureka.peers import Peers
from facade.eureka.records import Hear
from facade.eureka.routes import EurekaFront, EurekaOptions
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.registry.store import Store
from facade.rendered import Lane, Question
from facade.servicecenter.routes import ServiceCenterFront, ServiceCenterOptions
from facade.stores.opening import Behind, hear_of, open_store
from facade.stores.urls import upstreams

EUREKA_PATHS = ("eureka", "t")
SERVICECENTER_PATHS = ("v4", "registry", "health", "version")
"""First segments of the paths that each front answers."""

DATA_AGE = b"X-Registry-Data-Age"
"""Seconds; only on answers that may be old, because the registry behind us is away or in doubt."""

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
    sockets = [_listening(address) for address in settings.listen]
    try:
        clock = SystemClock()
        store = store_of(settings, clock)
        registry = Registry(store, clock, policy_of(settings))
        peers = peers_of(settings, registry)
        gc.set_threshold(*COLLECTED_AT)
        await registry.open()
        gc.freeze()  # what was on disk is no garbage: the collector need not look at it again and again
        try:
            await _serve_registry(registry, settings, sockets, hear_of(store), peers)
        finally:
            await registry.close()
    finally:
        for listening in sockets:
            listening.close()


def store_of(settings: Settings, clock: Clock) -> Store:
    """Raises StartRefused."""
    behind = Behind(
        is_strict=settings.when_upstream_fails == "strict", publish=settings.publish, cluster=settings.cluster
    )
    return open_store(settings.store, settings.data_dir, clock, policy_of(settings), behind)


def peers_of(settings: Settings, registry: Registry) -> Peers | None:
    """Raises StartRefused."""
    if not settings.eureka_peers:
        return None
    if upstreams(settings.store):
        raise StartRefused(
            "eureka_peers: a registry behind us tells its own nodes; name peers of a store of our own only"
        )
    return Peers(registry, settings.eureka_peers)


def policy_of(settings: Settings) -> Policy:
    return Policy(
        self_preservation=settings.self_preservation,
        renewal_threshold=settings.renewal_threshold,
        protection_limit_s=settings.protection_limit_s,
        eviction_interval_s=settings.eviction_interval_s,
        exact_leases=settings.exact_leases,
        eureka_app=settings.eureka_app,
        plain_apps=settings.plain_apps,
        merge=settings.merge,
        share=settings.share,
        hide=settings.hide,
        keep_marks=settings.keep_marks,
    )


def application(
    registry: Registry,
    settings: Settings,
    listening: Sequence[Address],
    stopping: asyncio.Event | None = None,
    hear: Hear | None = None,
    peers: Peers | None = None,
) -> tuple[ASGIApp, Lane]:
    """The whole product as one ASGI application, over an open registry, and the short way to its commonest answers.

    `stopping` ends answers that have no end; `hear` is told what Eureka servers behind us say as our peers.
    """
    eureka = EurekaFront(registry, _eureka_options(settings), hear, peers)
    servicecenter = ServiceCenterFront(registry, _servicecenter_options(settings, listening))
    # What nobody knows is refused in the words of ServiceCenter's router.
    pages = Starlette(
        routes=[
            *Dashboard(registry, stopping, peers.health if peers is not None else None).routes(),
            Mount("/", app=servicecenter),
        ]
    )
    pages.router.redirect_slashes = False  # clients of both protocols take a redirect for a failure
    fronts: dict[str, ASGIApp] = dict.fromkeys(EUREKA_PATHS, eureka) | dict.fromkeys(SERVICECENTER_PATHS, servicecenter)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        # By the first segment: a route table costs renewals and polls, which outnumber all else, twice their own work.
        first = scope["path"][1:].partition("/")[0]
        if scope.get("method") != "PUT" and (age_s := registry.data_age_s):  # renewals are never old
            send = _with_age(send, age_s)
        await fronts.get(first, pages)(scope, receive, send)

    questions = dict.fromkeys(EUREKA_PATHS, eureka.question) | dict.fromkeys(
        SERVICECENTER_PATHS, servicecenter.question
    )
    return answer, _Lane(registry, questions)


class _Lane:
    """The fronts' ready answers, by the first segment of a path as above."""

    def __init__(self, registry: Registry, questions: Mapping[str, Callable[[Scope], Question | None]]) -> None:
        self._registry = registry
        self._questions = questions

    @property
    def is_open(self) -> bool:
        """Answers that may be old say so in a header, and those that nobody knows yet are refused: by `application`."""
        return self._registry.has_data and not self._registry.data_age_s

    def question(self, scope: Scope) -> Question | None:
        ask = self._questions.get(scope["path"][1:].partition("/")[0])
        try:
            return ask(scope) if ask is not None else None
        except Exception:  # refused, or a fault of ours: the long way tells which
            return None


def _with_age(send: Send, age_s: float) -> Send:
    """Say on an answer how old its data may be."""
    header = (DATA_AGE, b"%d" % max(1, round(age_s)))

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], header]
        await send(message)

    return told


def _eureka_options(settings: Settings) -> EurekaOptions:
    return EurekaOptions(
        read_gate_s=settings.eureka_read_gate_s,
        disable_delta=settings.eureka_disable_delta,
        delta_window_s=settings.eureka_delta_window_s,
        sync_when_timestamp_differs=settings.eureka_sync_when_timestamp_differs,
    )


def _servicecenter_options(settings: Settings, listening: Sequence[Address]) -> ServiceCenterOptions:
    endpoints = tuple(f"rest://{reachable(address)}/" for address in dict.fromkeys(listening))
    return ServiceCenterOptions(version=settings.sc_version, endpoints=endpoints, list_virtual=settings.list_virtual)


async def _serve_registry(
    registry: Registry,
    settings: Settings,
    sockets: Sequence[socket.socket],
    hear: Hear | None,
    peers: Peers | None,
) -> None:
    addresses = [Address(*listening.getsockname()[:2]) for listening in sockets]
    stopping = asyncio.Event()
    app, lane = application(registry, settings, addresses, stopping, hear, peers)
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
    )
    background = asyncio.create_task(_run(registry, peers))
    try:
        serving = asyncio.create_task(server.serve(sockets=list(sockets)))
        await server.has_started.wait()
        announce(addresses)
        warn_if_open(addresses)
        await asyncio.wait((serving, background), return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        background.cancel()
        await asyncio.wait((background,))
    if not background.cancelled():
        background.result()  # a fault in the registry's own tasks ends the server loudly


async def _run(registry: Registry, peers: Peers | None) -> None:
    """What goes on beside requests, until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(registry.run())
        if peers is not None:
            tasks.create_task(peers.run())


class _Server(uvicorn.Server):
    """uvicorn's server, which tells when it has started and when it stops, and then leaves with exit code 0."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self.has_started = asyncio.Event()
        self.stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
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
    wanted = settings.connections + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        granted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
        if granted < wanted:
            log.warning("open files are limited to %d, so to about %d connections", granted, granted - OTHER_FILES)
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
