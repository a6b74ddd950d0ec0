"""A server that most tests share, and sweeps that nobody has to wait for."""

from collections.abc import Iterator

import pytest

from facade.doorway import hall
from tests.doorway.serving import ROOMY, Server, serving


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One server for all tests that need nothing but the ordinary limits."""
    with serving(ROOMY, loop=request.param) as server:
        yield server


@pytest.fixture
def quick_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hall, "SWEEP_S", 0.02)
