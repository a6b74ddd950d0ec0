"""An open store over a registry that a test plays."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from facade.clock import ManualClock
from tests.stores.upstream.kept import Kept


@pytest.fixture
async def kept(clock: ManualClock) -> AsyncIterator[Kept]:
    made = Kept(clock)
    await made.open()
    yield made
    await made.store.close()
