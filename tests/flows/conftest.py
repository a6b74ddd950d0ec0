"""What flows share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from facade.access.keys import PASSWORD_VARIABLE
from facade.clock import ManualClock
from facade.stores.memory import MemoryStore
from tests.stores.conftest import redis_url  # noqa: F401  a fixture

from .guarded import AS_ROOT, PASSWORD, ROLES, ROOT_PASSWORD
from .product import Product, product


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With one key for all of these: to make one takes a while."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
async def guarded(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Product]:
    monkeypatch.setenv(PASSWORD_VARIABLE, ROOT_PASSWORD)
    clock = ManualClock()
    async with product(MemoryStore(clock), clock, auth=True, data_dir=data_dir) as product_:
        http = product_.http
        for name, permissions in ROLES.items():
            role = {"name": name, "perms": permissions}
            assert (await http.post("/v4/roles", json=role, headers=AS_ROOT)).status_code == 200
            account = {"name": name, "password": PASSWORD, "roles": [name]}
            assert (await http.post("/v4/accounts", json=account, headers=AS_ROOT)).status_code == 200
        account = {"name": "developer", "password": PASSWORD, "roles": ["developer"]}
        assert (await http.post("/v4/accounts", json=account, headers=AS_ROOT)).status_code == 200
        yield product_
