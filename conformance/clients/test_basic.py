"""Basic in the service URL, as Spring's users write it: `http://user:p%40ss@host:8761/eureka/`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from conformance.clients.conftest import Live, or_skip
from conformance.clients.life import Life, Registry, soon
from conformance.clients.programs import NETFLIX, PY_EUREKA, SPRING_BY_TRAIN
from conformance.clients.wiretap import Wiretap
from conformance.conftest import RanAgainst
from conformance.peers.processes import Processes, Program, secured_eureka

USER, PASSWORD = "root", "Ab1_x-9.Z"
"""Of a form that both servers take. Nothing in it has to be quoted: then Spring of 2021 sends over Jersey what
stands in the URL, and Netflix's client over Jersey 3 sends no account at all.
"""


def with_account(url: str) -> str:
    return url.replace("://", f"://{USER}:{PASSWORD}@")


@pytest.fixture(scope="module")
def registry(
    eureka_kind: str,
    processes: Processes,
    free_port: Callable[[], int],
    ours_program: Callable[..., Program],
    ran_against: RanAgainst,
) -> Iterator[Registry]:
    ran_against("clients with Basic", eureka_kind)
    with or_skip():
        if eureka_kind == "ours":
            program = ours_program(free_port(), auth=True)
            secret = {"SC_INIT_ROOT_PASSWORD": PASSWORD}
            environment = {**program.environment, **secret}
            program = replace(program, environment=environment, url=with_account(program.url))
        else:
            program = secured_eureka(free_port(), USER, PASSWORD)
        registry = Registry(eureka_kind, program, processes)
    yield registry
    registry.stop()


@pytest.fixture
def wire(registry: Registry, free_port: Callable[[], int]) -> Iterator[Wiretap]:
    with Wiretap(registry.url, free_port()) as wire:
        wire.url = with_account(wire.url)
        yield wire


@pytest.mark.parametrize("client", [*NETFLIX, *PY_EUREKA, *SPRING_BY_TRAIN], ids=str, indirect=True)
def test_lives_with_basic(alive: Life) -> None:
    """Registers, renews, and sees another application come and go, with an account in its URL."""
    alive.renews()
    alive.sees_come_and_go(f"{alive.app}-other")

    assert alive.wire.statuses("POST") | alive.wire.statuses("GET") <= {200, 204, 401}


@pytest.mark.parametrize("client", SPRING_BY_TRAIN, ids=str, indirect=True)
def test_is_refused_with_a_wrong_password(live: Live, wire: Wiretap, registry: Registry) -> None:
    """Is refused with a wrong password in its URL, and runs on."""
    wire.url = wire.url.replace(PASSWORD, "Wr0ng-secret")
    refused = live()

    soon(lambda: bool(wire.statuses("POST")))
    # Ours locks an account for an address that was wrong three times, as ServiceCenter does: 403.
    assert wire.statuses("POST") | wire.statuses("GET") <= {401, 403}
    refused.running.stop()
    registry.restart()  # which forgets that: whoever comes next from this address is let in
    assert refused.registered is None
