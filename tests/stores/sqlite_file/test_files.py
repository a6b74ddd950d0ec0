"""The file: who may read it, and what is refused in place of it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from facade.registry.store import Put
from facade.stores import sqlite
from tests.stores.examples import instance
from tests.stores.sqlite_file.files import ROOT, WRITER, Start, held_in, refusal

pytestmark = pytest.mark.anyio


# files


async def test_only_its_owner_can_read_the_files(start: Start, path: Path) -> None:
    """S23. Whatever the umask says; the write-ahead log holds the same records as the file."""
    before = os.umask(0)
    try:
        store = await start()
        await store.write([Put(instance("a"))])
        modes = {file.name: file.stat().st_mode & 0o777 for file in (path.parent, *path.parent.iterdir())}
    finally:
        os.umask(before)

    assert modes == {"data": 0o700, "registry.db": 0o600, "registry.db-wal": 0o600}


async def test_records_come_back_in_the_order_of_their_first_registration(start: Start, path: Path) -> None:
    store = await start()
    for name in ("b", "c", "a"):
        await store.write([Put(instance(name))])
    await store.write([Put(instance("b", host="moved.example"))])
    await store.close()

    assert list(await held_in(path)) == [instance(name).key for name in ("b", "c", "a")]


async def test_a_file_of_a_newer_release_is_refused(start: Start, path: Path) -> None:
    """F22. A downgrade must not read half of what it finds."""
    await (await start()).close()
    _run_sql(path, f"PRAGMA user_version = {sqlite.SCHEMA_VERSION + 1}")

    assert "written by a newer release (schema 2, this one reads up to 1)" in await refusal(path)


async def test_the_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    _run_sql(path, "CREATE TABLE precious (x)")
    before = path.read_bytes()

    assert "a database of another program" in await refusal(path)
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("precious " * 1000)

    assert "not a database" in await refusal(path)
    assert path.read_text() == "precious " * 1000


async def test_an_empty_file_is_a_new_store(path: Path) -> None:
    """A process killed between making the file and filling it leaves one."""
    path.parent.mkdir()
    path.touch()

    assert await held_in(path) == {}


async def test_a_directory_in_place_of_the_file_is_refused(path: Path) -> None:
    """F6."""
    path.mkdir(parents=True)

    assert f"store {path}: cannot be opened; it must be a file" in await refusal(path)


async def test_a_file_in_place_of_the_directory_is_refused(path: Path) -> None:
    """F6."""
    path.parent.touch()

    assert await refusal(path) == f"store {path}: {path.parent} is not a directory"


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A place that every user could get at, which pytest's own directories are not."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory, "data", "registry.db")


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Root may read and write everything, and so would see none of what these tests are about."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


async def test_an_unreadable_directory_is_refused(public_path: Path) -> None:
    """F6."""
    public_path.parent.mkdir(mode=0o000)
    with as_ordinary_user():
        text = await refusal(public_path)

    assert text == f"store {public_path}: Permission denied: {public_path}"


async def test_a_directory_in_which_nothing_can_be_made_is_refused(start: Start, public_path: Path) -> None:
    """F6. The write-ahead log would have to be made there."""
    await (await start(public_path)).close()
    public_path.chmod(0o666)
    public_path.parent.chmod(0o555)
    with as_ordinary_user():
        text = await refusal(public_path)

    assert text == f"store {public_path}: this user must be allowed to read and write it, and its directory"


async def test_a_file_that_may_only_be_read_is_refused(start: Start, public_path: Path) -> None:
    """F6. At the start, rather than at the first registration."""
    await (await start(public_path)).close()
    public_path.parent.chmod(0o755)
    public_path.chmod(0o444)
    with as_ordinary_user():
        text = await refusal(public_path)

    assert text == f"store {public_path}: this user must be allowed to read and write it, and its directory"


async def test_a_second_server_on_the_file_is_refused(start: Start, path: Path) -> None:
    """Two writers would each show what the other does not know."""
    store = await start()
    await store.write([Put(instance("a"))])

    second = subprocess.run([*WRITER, path, "0"], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert second.returncode != 0
    assert second.stderr == (f"store {path}: in use by another process; stop that one, or give --store another path\n")


# kills and torn files


def _run_sql(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
