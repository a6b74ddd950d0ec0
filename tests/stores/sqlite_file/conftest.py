"""A SQLite store on a file of its own."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from facade.clock import ManualClock
from facade.registry.store import Commit
from facade.stores import sqlite
from facade.stores.sqlite import SqliteStore
from tests.stores.sqlite_file.files import Disk, Start


@pytest.fixture(autouse=True)
def _looks_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_TRY_AGAIN_S", 0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "registry.db"


@pytest.fixture
async def start(path: Path, clock: ManualClock) -> AsyncIterator[Start]:
    """Opens stores (on `path`, if not told otherwise) and closes them after the test."""
    opened = []

    async def start(place: Path = path, heard: list[Commit] | None = None) -> SqliteStore:
        store = SqliteStore(place, clock)
        await store.open(heard.append if heard is not None else lambda _: None)
        opened.append(store)
        return store

    yield start
    for store in opened:
        await store.close()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(sqlite3, "connect", disk.connect)
    monkeypatch.setattr(shutil, "disk_usage", disk.usage)
    return disk
