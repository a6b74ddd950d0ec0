"""A store on a file, looked at and written to."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from facade.clock import ManualClock
from facade.errors import StartRefused
from facade.registry.model import Instance, Record, RecordKey
from facade.registry.store import Put
from facade.stores.sqlite import SqliteStore
from tests.stores.examples import instance

Start = Callable[..., Awaitable[SqliteStore]]


async def held_in(path: Path) -> dict[RecordKey, Record]:
    """What a server finds that starts on this file."""
    store = SqliteStore(path, ManualClock())
    snapshot = await store.open(lambda _: None)
    await store.close()
    return {record.key: record for record in snapshot.records}


async def refusal(path: Path) -> str:
    """The line that an operator reads whose server does not start on this file."""
    with pytest.raises(StartRefused) as refused:
        await SqliteStore(path, ManualClock()).open(lambda _: None)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def instances(*names: str) -> dict[RecordKey, Record]:
    return {instance(name).key: instance(name) for name in names}


class Disk:
    """Stands between the store and its file: counts commits, and fails as told."""

    def __init__(self) -> None:
        self.connections = 0
        self.commits = 0
        self.synchronous: set[int] = set()
        self.is_full = False
        self.is_failing_after_commit = False
        """The worst that an fsync can do: it fails, and all the same the pages are there later."""

    def connect(self, *args: Any, **options: Any) -> sqlite3.Connection:
        disk = self
        disk.connections += 1

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
                if sql == "BEGIN IMMEDIATE":
                    super().execute(f"PRAGMA max_page_count = {1 if disk.is_full else 1 << 30}")
                cursor = super().execute(sql, *parameters)
                if sql == "COMMIT":
                    disk.commits += 1
                    disk.synchronous |= set(super().execute("PRAGMA synchronous").fetchone())
                    if disk.is_failing_after_commit:
                        raise sqlite3.OperationalError("disk I/O error")
                return cursor

        return _connect(*args, factory=Connection, **options)

    def usage(self, _: Path) -> Any:
        return shutil._ntuple_diskusage(1 << 30, 1 << 30, 0 if self.is_full else 1 << 30)


_connect = sqlite3.connect


async def until_writable(store: SqliteStore) -> None:
    """F5: by itself, within 5 s."""
    with anyio.fail_after(60):
        while not store.health().is_writable:
            await anyio.sleep(0.01)


async def outcomes(store: SqliteStore, *records: Instance) -> list[str]:
    """What becomes of these writes, made at the same time."""
    found: dict[RecordKey, str] = {}

    async def write(record: Instance) -> None:
        try:
            await store.write([Put(record)])
            found[record.key] = "kept"
        except Exception as error:
            found[record.key] = type(error).__name__

    async with anyio.create_task_group() as tasks:
        for record in records:
            tasks.start_soon(write, record)
    return [found[record.key] for record in records]


BIG = instance("big", native=b"x" * 500_000)
WRITER = (sys.executable, "-m", "tests.stores.writing")
ROOT = Path(__file__).parents[3]
