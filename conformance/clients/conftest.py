"""The registry that all clients of a session meet, one at a time, and what the junit report tells of each test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest

from conformance.clients.life import Life, Registry
from conformance.clients.programs import Client, Told
from conformance.clients.wiretap import Wiretap
from conformance.conftest import RanAgainst
from conformance.peers.processes import MissingToolError, Processes, Program
from conformance.peers.processes import eureka as real_eureka

Live = Callable[..., Life]
Noted = Callable[[str], None]


@pytest.fixture(scope="session")
def registry(
    eureka_kind: str,
    processes: Processes,
    free_port: Callable[[], int],
    ours_program: Callable[..., Program],
    ran_against: RanAgainst,
) -> Iterator[Registry]:
    """Ours or the original, started for this session: the cases restart it."""
    ran_against("clients", eureka_kind)
    with or_skip():
        if eureka_kind == "ours":
            program = ours_program(free_port())
        else:
            program = replace(real_eureka(free_port(), "conformance"), ready="/")
        registry = Registry(eureka_kind, program, processes)
    yield registry
    registry.stop()


@pytest.fixture
def wire(registry: Registry, free_port: Callable[[], int]) -> Iterator[Wiretap]:
    """Between the client and the registry."""
    with Wiretap(registry.url, free_port()) as wire:
        yield wire


@pytest.fixture
def app() -> str:
    """The name of an application that nobody else uses."""
    return f"case-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Told:
    """The client that a test is about; the report tells which, and what was tried: the first line of the docstring."""
    client: Told = request.param
    # Not record_property: it warns that the schema of pytest's usual reports knows no properties of a test.
    request.node.user_properties += [
        *client.told.items(),
        ("tried", (request.function.__doc__ or "").strip().splitlines()[0].rstrip(".")),
    ]
    return client


@pytest.fixture
def noted(request: pytest.FixtureRequest) -> Noted:
    """`noted(text)` tells in the report how a green test ended, where that is not the same with both servers."""
    return lambda text: request.node.user_properties.append(("noted", text))


@pytest.fixture
def environment() -> Mapping[str, str]:
    """What a client finds in its environment beside ours."""
    return {}


@pytest.fixture
def live(
    client: Client,
    registry: Registry,
    wire: Wiretap,
    app: str,
    processes: Processes,
    free_port: Callable[[], int],
    environment: Mapping[str, str],
) -> Iterator[Live]:
    """`live()` starts the client and waits until it says that it is ready."""
    lives: list[Life] = []

    def start() -> Life:
        with or_skip():
            program = client.program(free_port(), wire.url, app)
            running = processes.start(replace(program, environment=environment))
        lives.append(Life(running, registry, wire, app))
        return lives[-1]

    yield start
    for life in lives:
        life.running.stop()
        life.registry.eureka.cancel(life.app.upper(), life.id)


@pytest.fixture
def alive(live: Live) -> Life:
    """The client, running and registered."""
    life = live()
    life.becomes_registered()
    return life


class or_skip:  # noqa: N801 - reads as a statement
    """Without its tools a test is skipped, but not in CI."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, MissingToolError):
            if os.environ.get("CI"):
                pytest.fail(str(error), pytrace=False)
            pytest.skip(str(error))
