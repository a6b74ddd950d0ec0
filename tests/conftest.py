"""What every room's tests need: a clock that moves when told to, and a registry over memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from argon2 import PasswordHasher
from hypothesis import HealthCheck, settings

from conformance.peers.patience import be_patient
from facade.access import passwords
from facade.clock import ManualClock
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.stores.memory import MemoryStore

# How long an example takes, or its making, says more about the machine than about us. Where `CI` is set, hypothesis
# has loaded its own profile "ci" by now, and this one inherits from it: the same examples each time, and no database.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--examples", type=int, help="of each call of the OpenAPI document (tests/flows/test_openapi.py)")


be_patient()

PassTime = Callable[[float], Awaitable[None]]


@pytest.fixture(scope="session", autouse=True)
def quick_hashes() -> Iterator[None]:
    """A password is meant to cost 19 MB and 50 ms, thousands of times in these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def policy() -> Policy:
    """Every lapsed lease ends; tests of self-preservation override this."""
    return Policy(self_preservation=False)


@pytest.fixture
async def registry(clock: ManualClock, policy: Policy) -> AsyncIterator[Registry]:
    """An open, empty registry over memory. Nothing runs in the background: `pass_time` sweeps."""
    registry = Registry(MemoryStore(clock), clock, policy)
    await registry.open()
    yield registry
    await registry.close()


@pytest.fixture
def pass_time(registry: Registry, clock: ManualClock) -> PassTime:
    """Let so many seconds pass as a running server sees them, with a sweep in each; a jump would count as a freeze."""

    async def pass_time(seconds: float) -> None:
        whole, rest = divmod(seconds, 1)
        for _ in range(int(whole)):
            clock.advance(1)
            await registry.sweep()
        clock.advance(rest)

    return pass_time
