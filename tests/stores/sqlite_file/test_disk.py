"""A disk that is full, or fails."""

from __future__ import annotations

# These tests are about files, processes and waiting for them. Nothing else runs on their event loop.
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from facade.errors import StoreUnavailable
from facade.registry.store import Put, Remove
from tests.stores.examples import instance
from tests.stores.sqlite_file.files import BIG, Start, held_in, instances, outcomes, until_writable

pytestmark = pytest.mark.anyio


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """4 MiB, all our own."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", place], capture_output=True).returncode:
        pytest.skip("only root may mount a small disk; the tests above stand in")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


async def test_a_disk_fills_and_is_freed(start: Start, small_disk: Path) -> None:
    """F5, 10 cycles."""
    path = small_disk / "registry.db"
    ballast = small_disk / "ballast"
    store = await start(path)
    kept = []
    for cycle in range(10):
        _fill(ballast)
        for number in range(1000):
            record = instance(f"{cycle}-{number}", native=b"x" * 5_000)
            if await outcomes(store, record) != ["kept"]:
                break
            kept.append(record)
        assert not store.health().is_writable
        ballast.unlink()
        await until_writable(store)
        removed, kept = kept, [instance(f"after-{cycle}")]
        await store.write([*(Remove(record.key) for record in removed), Put(kept[0])])
    await store.close()

    assert await held_in(path) == {record.key: record for record in kept}


async def test_a_store_on_a_full_disk_starts_and_can_be_read(start: Start, small_disk: Path) -> None:
    """Old data is better than no registry."""
    store = await start(small_disk / "registry.db")
    await store.write([Put(instance("a"))])
    await store.close()
    _fill(small_disk / "ballast")

    assert await held_in(small_disk / "registry.db") == instances("a")


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return


async def test_a_disk_that_fails_is_taken_up_again(start: Start, path: Path) -> None:
    """F4, with a write error of the system's own making (EFBIG)."""
    store = await start()
    await store.write([Put(instance("a"))])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(StoreUnavailable):
            await store.write([Put(BIG)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    await until_writable(store)
    await store.write([Put(instance("b"))])
    await store.close()

    assert await held_in(path) == instances("a", "b")
