"""The ServiceCenters that all clients of a session meet: one without access control, one with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from conformance.clients.conftest import or_skip
from conformance.clients.servicecenter.life import Life, Registry
from conformance.clients.servicecenter.programs import ACCOUNT, Access, Client, Role
from conformance.clients.wiretap import Wiretap
from conformance.conftest import RanAgainst
from conformance.peers.processes import Processes, Program, etcd, servicecenter
from conformance.peers.upstreams import has_real_servicecenter

Live = Callable[..., Life]


@pytest.fixture(scope="session")
def registries(
    servicecenter_kind: str,
    processes: Processes,
    free_port: Callable[[], int],
    ours_program: Callable[..., Program],
    ran_against: RanAgainst,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Access], Registry]]:
    """Ours or the original, each started when a client first needs it."""
    started: dict[Access, Registry] = {}

    def programs(access: Access) -> Sequence[Program]:
        if servicecenter_kind == "real":
            store = etcd(free_port())
            password = ACCOUNT.password if access == "on" else ""
            return [store, servicecenter(free_port(), store.url, password)]
        if access == "off":
            return [ours_program(free_port())]
        # The key that signs tokens outlives a restart, as the original's does: these clients keep a token for hours.
        guarded = ours_program(free_port(), auth=True, data_dir=tmp_path_factory.mktemp("keys"))
        return [replace(guarded, environment={**guarded.environment, "SC_INIT_ROOT_PASSWORD": ACCOUNT.password})]

    def registry(access: Access) -> Registry:
        if access not in started:
            if servicecenter_kind == "real" and not has_real_servicecenter():
                pytest.skip("no registry has a real ServiceCenter, and SERVICECENTER_BIN names none")
            ran_against("servicecenter clients", f"{servicecenter_kind}, access control {access}")
            with or_skip():
                started[access] = Registry(servicecenter_kind, access, programs(access), processes)
        return started[access]

    yield registry
    for one in started.values():
        one.stop()


@pytest.fixture
def registry(client: Client, registries: Callable[[Access], Registry]) -> Registry:  # type: ignore[override]  # a narrower fixture of the same name
    return registries(client.access)


@pytest.fixture
def live(
    client: Client, registry: Registry, wire: Wiretap, app: str, processes: Processes, free_port: Callable[[], int]
) -> Iterator[Live]:
    """`live(setting=value, …)` starts the client and waits until it answers; its service is called like its app."""
    lives: list[Life] = []

    def start(service: str = "", version: str = "1.0.0", **more: str) -> Life:
        role = Role(free_port(), wire.url, app, service or app, version, client.access, more)
        with or_skip():
            lives.append(Life(processes.start(client.run(role)), registry, wire, role))
        return lives[-1]

    yield start
    for life in lives:
        life.running.stop()


@pytest.fixture
def alive(live: Live) -> Life:
    """The client, running and registered."""
    life = live()
    life.becomes_registered()
    return life
