"""What every room's tests need: a clock that moves when told to, and a registry over memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import settings

from facade.clock import ManualClock
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.stores.memory import MemoryStore

# How long an example takes says more about the machine than about us.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

PassTime = Callable[[float], Awaitable[None]]


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
