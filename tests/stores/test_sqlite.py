"""What the SQLite store promises beyond the contract, whatever happens to the process, the disk and the file.

Ids as in the table of faults (F1 …). A disk that fills is played by SQLite's own page limit, and once more for real
where we may mount one. A process that dies is one that we kill.
"""

# These tests are about files, processes and waiting for them. Nothing else runs on their event loop.
# ruff: noqa: ASYNC110, ASYNC220, ASYNC221, ASYNC240

import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from facade.clock import ManualClock
from facade.errors import MalformedDocument, StartRefused, StoreFull, StoreUnavailable
from facade.registry.model import Instance, Record, RecordKey
from facade.registry.store import Commit, Put, Remove
from facade.stores import sqlite
from facade.stores.sqlite import SqliteStore
from tests.stores.examples import instance
from tests.stores.writing import written

pytestmark = pytest.mark.anyio

Start = Callable[..., Awaitable[SqliteStore]]


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


# --- files --------------------------------------------------------------------------------------------------------


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

    second = subprocess.run([*WRITER, path, "0"], cwd=ROOT, capture_output=True, text=True, timeout=20)

    assert second.returncode != 0
    assert second.stderr == (f"store {path}: in use by another process; stop that one, or give --store another path\n")


# --- commits ------------------------------------------------------------------------------------------------------


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


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(sqlite3, "connect", disk.connect)
    monkeypatch.setattr(shutil, "disk_usage", disk.usage)
    return disk


async def until_writable(store: SqliteStore) -> None:
    """F5: by itself, within 5 s."""
    with anyio.fail_after(5):
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


async def test_writes_that_gather_share_a_commit(start: Start, disk: Disk) -> None:
    store = await start()
    before = disk.commits
    await outcomes(store, *(instance(str(number)) for number in range(100)))

    assert disk.commits - before <= 2


async def test_every_commit_waits_for_the_disk(start: Start, disk: Disk) -> None:
    """Promise 1 speaks of power loss, which no test here can cause; 2 is FULL, after each re-opening too."""
    store = await start()
    disk.is_failing_after_commit = True
    await outcomes(store, instance("a"))
    disk.is_failing_after_commit = False
    await until_writable(store)

    assert disk.synchronous == {2}


async def test_a_record_that_cannot_be_encoded_fails_its_own_writer_only(start: Start) -> None:
    found = await outcomes(await start(), instance("a"), instance("b", host="\ud800"), instance("c"))

    assert found == ["kept", MalformedDocument.__name__, "kept"]


async def test_a_follower_that_fails_keeps_nobody_waiting(path: Path, clock: ManualClock) -> None:
    def follower(commit: Commit) -> None:
        if commit.writes == (Put(instance("b")),):
            raise KeyError("a bug")

    store = SqliteStore(path, clock)
    await store.open(follower)
    found = await outcomes(store, instance("a"), instance("b"), instance("c"))
    await store.close()

    assert found == ["kept", "KeyError", "kept"]


async def test_a_failed_commit_is_never_seen_even_if_it_reached_the_disk(start: Start, disk: Disk, path: Path) -> None:
    """F4. Its writers were told that it failed. Nothing of it may turn up when the file is opened anew."""
    heard: list[Commit] = []
    store = await start(heard=heard)
    await store.write([Put(instance("a")), Put(instance("b")), Put(instance("c"))])
    disk.is_failing_after_commit = True
    with pytest.raises(StoreUnavailable):
        await store.write([Put(instance("a", host="unseen.example")), Remove(instance("c").key), Put(instance("d"))])
    disk.is_failing_after_commit = False
    await until_writable(store)
    await store.write([Put(instance("e"))])
    await store.close()

    assert len(heard) == 2
    assert list((await held_in(path)).items()) == list(instances("a", "b", "c", "e").items())


async def test_a_failed_commit_fails_its_own_writers_only(start: Start, disk: Disk, path: Path) -> None:
    store = await start()
    before = await outcomes(store, instance("a"), instance("b"))
    disk.is_failing_after_commit = True
    during = await outcomes(store, instance("c"), instance("d"))
    disk.is_failing_after_commit = False
    after = await outcomes(store, instance("e"), instance("f"))
    await store.close()

    assert before + during + after == ["kept"] * 2 + ["StoreUnavailable"] * 2 + ["kept"] * 2
    assert await held_in(path) == instances("a", "b", "e", "f")


async def test_after_an_error_the_file_is_opened_anew(start: Start, disk: Disk) -> None:
    """F4. A connection whose fsync failed believes in pages that the disk never got."""
    store = await start()
    before = disk.connections
    disk.is_failing_after_commit = True
    await outcomes(store, instance("a"))
    disk.is_failing_after_commit = False
    await until_writable(store)

    assert disk.connections > before


async def test_renewals_go_on_while_the_disk_is_full(start: Start, disk: Disk) -> None:
    """F5."""
    store = await start()
    await store.write([Put(instance("a"))])
    disk.is_full = True
    await outcomes(store, BIG)

    assert await store.renew({instance("a").key: 1, instance("b").key: 1}) == {instance("b").key}


async def test_a_full_store_says_so_and_recovers_by_itself(start: Start, disk: Disk) -> None:
    """F5. Nobody has to write for that: a server that calls itself not ready may get no more writes."""
    store = await start()
    disk.is_full = True
    with pytest.raises(StoreFull):
        await store.write([Put(BIG)])
    health = store.health()
    disk.is_full = False
    await until_writable(store)

    assert not health.is_writable
    assert "there is no room left on its disk" in health.text


async def test_a_nearly_full_store_is_not_called_writable_in_between(start: Start, disk: Disk) -> None:
    """Small writes would still fit. Full and not full in turn helps nobody."""
    store = await start()
    disk.is_full = True
    found = await outcomes(store, BIG)
    found += await outcomes(store, instance("small"))

    assert found == ["StoreFull", "StoreFull"]


BIG = instance("big", native=b"x" * 500_000)


# --- a real disk --------------------------------------------------------------------------------------------------


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


# --- kills and torn files -----------------------------------------------------------------------------------------

WRITER = (sys.executable, "-m", "tests.stores.writing")
ROOT = Path(__file__).parents[2]
KILLS = 20


async def test_no_acknowledged_write_is_lost_when_the_process_is_killed(path: Path, tmp_path: Path) -> None:
    """F1, at random moments, again and again on one file."""
    chance = random.Random()
    acknowledged: Counter[str] = Counter()
    for turn in range(KILLS):
        log = tmp_path / f"{turn}.log"
        await _write_and_be_killed(path, str(turn), log, chance.uniform(0.02, 0.3))
        acknowledged |= _acknowledged(log)

        await _assert_nothing_lost(path, acknowledged)
    assert len(acknowledged) >= KILLS


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace picks the system call")
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
async def test_no_acknowledged_write_is_lost_when_a_system_call_is_the_last(tmp_path: Path, call: str) -> None:
    """F2: the making of the file, the first writes, and some later ones."""
    for number in (*range(1, 12), 20, 35, 60):
        path, log = tmp_path / f"{number}.db", tmp_path / f"{number}.log"
        kill = ("strace", "-f", "-o", os.devnull, f"--trace={call}", f"--inject={call}:signal=KILL:when={number}")
        with log.open("wb") as acknowledgements:
            dying = subprocess.run([*kill, *WRITER, path, "0"], cwd=ROOT, stdout=acknowledgements, timeout=20)
        if dying.returncode != -signal.SIGKILL:
            pytest.skip("no process may be traced here")

        await _assert_nothing_lost(path, _acknowledged(log))


def _acknowledged(log: Path) -> Counter[str]:
    """How many of its writes each writer was told are kept."""
    return Counter({writer: int(count) for writer, count in map(str.split, log.read_text().splitlines())})


async def _assert_nothing_lost(path: Path, acknowledged: Counter[str]) -> None:
    """The file holds what each writer was told, and at most the one write more that it was waiting for."""
    held: dict[str, set[tuple[str, int]]] = {writer: set() for writer in acknowledged}
    for record in (await held_in(path)).values():
        assert isinstance(record, Instance)
        held.setdefault(record.key.instance_id.rpartition("-")[0], set()).add(
            (record.key.instance_id, record.updated_ms)
        )
    for writer, what in held.items():
        count = acknowledged[writer]
        assert what in (written(writer, count), written(writer, count + 1)), f"{writer} was told {count}"


async def _write_and_be_killed(path: Path, turn: str, log: Path, life_s: float) -> None:
    """`life_s` counts from the first acknowledged write."""
    with log.open("wb") as acknowledgements:
        process = subprocess.Popen([*WRITER, path, turn], cwd=ROOT, stdout=acknowledgements)
    try:
        with anyio.fail_after(20):
            while not log.stat().st_size:
                await anyio.sleep(0.005)
        await anyio.sleep(life_s)
    finally:
        process.kill()
        process.wait()


class Crashed:
    """The files of a store that was never closed, and how long its write-ahead log was after each write."""

    def __init__(self, path: Path, lengths: list[int]) -> None:
        self.path = path
        self.log = path.with_name(path.name + "-wal")
        self.lengths = lengths
        self._saved = path.read_bytes(), self.log.read_bytes()

    @property
    def log_bytes(self) -> bytes:
        return self._saved[1]

    def with_log(self, log: bytes) -> Path:
        self.path.write_bytes(self._saved[0])
        self.log.write_bytes(log)
        return self.path


@pytest.fixture
async def crashed(start: Start, path: Path, tmp_path: Path) -> Crashed:
    """Instances 0 to 9, each in a commit of its own."""
    store = await start()
    lengths = []
    for number in range(10):
        await store.write([Put(instance(str(number)))])
        lengths.append(path.with_name("registry.db-wal").stat().st_size)
    copy = tmp_path / "copy"
    shutil.copytree(path.parent, copy)
    return Crashed(copy / path.name, lengths)


async def test_a_log_cut_anywhere_gives_all_earlier_records(crashed: Crashed) -> None:
    """F3: the last three commits, cut at every 64th byte and around each of their ends."""
    ends = crashed.lengths
    cuts = {*range(ends[-4], ends[-1], 64), *(end + shift for end in ends[-4:] for shift in (-1, 0, 1))}
    for cut in sorted(cuts):
        expected = instances(*(str(number) for number, end in enumerate(ends) if end <= cut))

        assert await held_in(crashed.with_log(crashed.log_bytes[:cut])) == expected, f"cut at {cut}"


async def test_a_flipped_bit_in_the_log_changes_no_record(crashed: Crashed) -> None:
    """F3: in the last page, a bit of every 32nd byte. The commit that it belongs to never happened."""
    for place in range(crashed.lengths[-1] - 4096, crashed.lengths[-1], 32):
        torn = bytearray(crashed.log_bytes)
        torn[place] ^= 1 << place // 32 % 8

        assert await held_in(crashed.with_log(bytes(torn))) == instances(*map(str, range(9))), f"flipped at {place}"


async def test_a_log_that_ends_in_zeros_gives_all_earlier_records(crashed: Crashed) -> None:
    """F3: what a file system leaves that had made the file longer, but had not written it yet."""
    for end in crashed.lengths[-4:-1]:
        log = crashed.log_bytes[:end].ljust(crashed.lengths[-1], b"\0")
        expected = instances(*(str(number) for number, length in enumerate(crashed.lengths) if length <= end))

        assert await held_in(crashed.with_log(log)) == expected


async def test_a_flipped_bit_in_the_file_is_found_or_harmless(start: Start, path: Path) -> None:
    """F3: never a changed, lost or doubled record."""
    store = await start()
    await store.write([Put(instance(str(number))) for number in range(10)])
    await store.close()
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 41):
        torn = bytearray(whole)
        torn[place] ^= 1 << place % 8
        path.write_bytes(torn)
        try:
            assert await held_in(path) == instances(*map(str, range(10))), f"flipped at {place}"
        except StartRefused as refused_start:
            assert str(refused_start).startswith(f"store {path}: ")
            refused += 1
    assert refused


async def test_half_a_file_is_refused(start: Start, path: Path) -> None:
    store = await start()
    await store.write([Put(instance(str(number))) for number in range(100)])
    await store.close()
    os.truncate(path, path.stat().st_size // 8192 * 4096)

    assert "the file is damaged" in await refusal(path)


def _run_sql(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
