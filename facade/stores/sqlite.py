"""Records in one SQLite file: a write is answered when it is on disk.

The event loop gathers writes and one thread commits them. What gathers while a commit is under way shares the next one;
no timer is involved. After an error the file is opened anew, and nothing of the failed commit stays in it. Leases are
not written: a restart gives each a fresh term. History is not written either, so each `open` starts a new epoch.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import secrets
import shutil
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec

from facade.clock import Clock
from facade.errors import FacadeError, MalformedDocument, StartRefused, StoreFull, StoreUnavailable
from facade.registry.model import InstanceKey, Record, RecordKey, Revision
from facade.registry.store import Commit, Follower, Put, Snapshot, StoreHealth, Write

APPLICATION_ID = 0x5265_6746
"""Marks the file as ours ("RegF"), as `PRAGMA application_id` is meant to."""
SCHEMA_VERSION = 1
"""Kept in `PRAGMA user_version`. Raise it with every change of the tables or of the records' encoding."""

_SCHEMA = """
CREATE TABLE records (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, kind TEXT NOT NULL,
    revision INTEGER NOT NULL, checksum INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO meta VALUES ('revision', 0);
"""
_PUT = "INSERT OR REPLACE INTO records (id, key, kind, revision, checksum, body) VALUES (?, ?, ?, ?, ?, ?)"
_SELECT = "SELECT id, key, kind, revision, checksum, body FROM records"

_KEYS_AT_ONCE = 200

_LOCK_WAIT_S = 0.5
"""For a process that is just going: long enough to end its last checkpoint, short enough to say so within 2 s."""
_TRY_AGAIN_S = 1.0
"""How long after an error we look again whether writing works."""
_ROOM_TO_GO_ON = 1 << 20
"""Bytes that must be free before a full store takes writes again, or it would be full and not full in turn."""

log = logging.getLogger(__name__)
_decode_record = msgspec.msgpack.Decoder(Record).decode
_encode = msgspec.msgpack.Encoder().encode


class SqliteStore:
    """Everything here runs on the event loop; what waits for the disk is in `_Database`, on a thread of its own."""

    cluster = None
    data_age_s = 0.0
    has_data = True

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._database = _Database(path, clock)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._held: set[RecordKey] = set()
        self._follower: Follower | None = None
        self._waiting: list[_Waiting] = []
        self._committing: asyncio.Task[None] | None = None
        self._recovering: asyncio.Task[None] | None = None
        self._trouble: FacadeError | None = None

    async def open(self, follower: Follower) -> Snapshot:
        records = await asyncio.get_running_loop().run_in_executor(self._thread, self._database.open)
        self._held = {record.key for record in records}
        self._follower = follower
        return Snapshot(secrets.token_hex(8), self._database.revision, records)

    async def write(self, writes: Sequence[Write]) -> Revision:
        if self._follower is None:
            raise StoreUnavailable("the store is not open")
        waiting = _Waiting([_to_step(write) for write in writes], asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_waiting(self._follower))
        return await waiting.answer

    async def renew(self, remaining_ms: Mapping[InstanceKey, int]) -> Collection[InstanceKey]:
        """From memory, so that renewals go on whatever the disk does."""
        return {key for key in remaining_ms if key not in self._held}

    def keeps_lease(self, key: InstanceKey) -> bool:
        return False

    def health(self) -> StoreHealth:
        place = f"SQLite at {self.path}, records: {len(self._held)}"
        if self._trouble is not None:
            return StoreHealth(False, f"{place}; writes are refused: {self._trouble}; renewals and reads go on.")
        return StoreHealth(True, f"{place}; each is on disk before its write is answered.")

    async def close(self) -> None:
        self._follower = None
        if self._recovering is not None:
            self._recovering.cancel()
        if self._committing is not None:
            await asyncio.wait({self._committing})
        with suppress(RuntimeError):  # closed before
            await asyncio.get_running_loop().run_in_executor(self._thread, self._database.close)
        self._thread.shutdown()

    async def _commit_waiting(self, follower: Follower) -> None:
        """Commit until nobody waits. All who came during one commit share the next."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            steps = [each.steps for each in group]
            try:
                commits = await loop.run_in_executor(self._thread, self._database.commit, steps)
            except Exception as error:
                self._note_trouble(error)
                for each in group:
                    each.fail(error)
            else:
                self._note_success()
                for each, commit in zip(group, commits, strict=True):
                    self._tell(follower, commit, each)
        self._committing = None

    def _tell(self, follower: Follower, commit: Commit, waiting: _Waiting) -> None:
        for write in commit.writes:
            if isinstance(write, Put):
                self._held.add(write.record.key)
            else:
                self._held.discard(write.key)
        try:
            if commit.writes:
                follower(commit)
        except Exception as error:  # its own writer hears of it; the others must not wait for ever
            waiting.fail(error)
        else:
            waiting.succeed(commit.revision)

    def _note_trouble(self, error: Exception) -> None:
        if not isinstance(error, StoreUnavailable):
            return
        if self._trouble is None:
            log.error("store refuses writes path=%s reason=%s", self.path, error)
        self._trouble = error
        if self._recovering is None and self._follower is not None:
            self._recovering = asyncio.create_task(self._recover())

    def _note_success(self) -> None:
        if self._trouble is not None:
            log.warning("store takes writes again path=%s", self.path)
        self._trouble = None

    async def _recover(self) -> None:
        """Find out that writing works again even when no client writes: those who read `health` may keep them away."""
        while self._trouble is not None:
            await asyncio.sleep(_TRY_AGAIN_S)
            with suppress(StoreUnavailable):
                await self.write(())
        self._recovering = None


class _Step(NamedTuple):
    """A write, encoded. No body: remove."""

    write: Write
    key: bytes
    kind: str = ""
    body: bytes | None = None


class _Waiting(NamedTuple):
    """One call of `write` that waits for its commit. Its caller may have gone meanwhile."""

    steps: Sequence[_Step]
    answer: asyncio.Future[Revision]

    def succeed(self, revision: Revision) -> None:
        if not self.answer.done():
            self.answer.set_result(revision)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


def _to_step(write: Write) -> _Step:
    """Raises MalformedDocument here, in its writer's own call, rather than in a commit shared with others."""
    if not isinstance(write, Put):
        return _Step(write, _encode(write.key))
    record = write.record
    try:
        return _Step(write, _encode(record.key), str(record.__struct_config__.tag), _encode(record))
    except (UnicodeEncodeError, OverflowError) as error:
        raise MalformedDocument(f"cannot be kept: {error}") from error


_Row = tuple[int | None, bytes, str, Revision, int, bytes]


class _Doubt(NamedTuple):
    """A commit that failed, and the rows as they were before it: it may be in the file all the same."""

    revision: Revision
    before: Mapping[bytes, _Row | None]


class _Database:
    """The file. Made anywhere, but used by one thread only."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.revision: Revision = 0
        self._path = path
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._doubt: _Doubt | None = None
        self._was_full = False

    def open(self) -> Sequence[Record]:
        """All records, oldest first. Raises StartRefused."""
        try:
            self._create_file()
            connection = self._connect()
            stored: Revision = connection.execute("SELECT value FROM meta WHERE name = 'revision'").fetchone()[0]
            # Numbers follow the clock: readers that remember one from before a restart must never meet it again.
            self.revision = max(stored, self._clock.now_ms())
            self._check(connection)
            return self._load(connection)
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StartRefused(f"store {self._path}: {_in_plain_words(error)}") from error
        except StartRefused:
            self.close()
            raise

    def commit(self, group: Sequence[Sequence[_Step]]) -> Sequence[Commit]:
        """All of the group or, when this raises StoreUnavailable, none. A commit with no writes changed nothing."""
        at_ms = self._clock.now_ms()
        revision = self.revision
        commits = []
        try:
            connection = self._connection or self._connect_again()
            connection.execute("BEGIN IMMEDIATE")
            rows = _Rows(connection, [step.key for steps in group for step in steps])
            for steps in group:
                changes = tuple(step.write for step in steps if rows.apply(step, revision + 1))
                revision += bool(changes)
                commits.append(Commit(revision, at_ms, changes))
            rows.write(connection)
            _set_revision(connection, revision)
            self._doubt = _Doubt(revision, rows.before)
            connection.execute("COMMIT")
        except BaseException as error:
            # Never go on with a connection whose last fsync failed: what its caches call clean may not be on disk.
            self.close()
            self._was_full = _is_full(error)
            if isinstance(error, (sqlite3.Error, OSError, StartRefused)):
                raise _to_refusal(error) from error
            raise
        self._doubt = None
        self._was_full = False
        self.revision = revision
        return commits

    def close(self) -> None:
        """The last connection to go also moves the write-ahead log into the file, if it can."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _create_file(self) -> None:
        """For its owner's eyes only. SQLite gives the write-ahead log the same mode."""
        if self._path.parent.exists() and not self._path.parent.is_dir():
            raise StartRefused(f"store {self._path}: {self._path.parent} is not a directory")
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            if not os.access(self._path, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids):
                raise StartRefused(f"store {self._path}: {_NOT_ALLOWED}") from None

    def _connect(self) -> sqlite3.Connection:
        """Takes the file for this connection alone, for as long as it lives: a second server must not start on it."""
        place = f"{self._path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(place, uri=True, isolation_level=None, timeout=_LOCK_WAIT_S)
        self._connection = connection
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        is_new = self._is_new(connection)  # and refused, if it is not ours, before it is touched
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        if is_new:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
        return connection

    def _is_new(self, connection: sqlite3.Connection) -> bool:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if (application, version, tables) == (0, 0, 0):
            return True
        if application != APPLICATION_ID:
            raise StartRefused(f"store {self._path}: a database of another program; give --store another path")
        if version > SCHEMA_VERSION:
            raise StartRefused(
                f"store {self._path}: written by a newer release (schema {version}, this one reads up to"
                f" {SCHEMA_VERSION}); start that release, or give --store another path"
            )
        return False

    def _connect_again(self) -> sqlite3.Connection:
        if self._was_full and shutil.disk_usage(self._path.parent).free < _ROOM_TO_GO_ON:
            raise StoreFull(_FULL)
        connection = self._connect()
        if self._doubt is not None:
            self._undo(connection, self._doubt)
            self._doubt = None
        return connection

    def _undo(self, connection: sqlite3.Connection, doubt: _Doubt) -> None:
        """Take back a failed commit that survived: its last fsync failed, but its pages had been written.

        Its writers were told that it failed, and the registry never showed it.
        """
        (stored,) = connection.execute("SELECT value FROM meta WHERE name = 'revision'").fetchone()
        if stored != doubt.revision:
            return
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("DELETE FROM records WHERE key = ?", [(key,) for key in doubt.before])
        connection.executemany(_PUT, [row for row in doubt.before.values() if row is not None])
        _set_revision(connection, self.revision)
        connection.execute("COMMIT")

    def _check(self, connection: sqlite3.Connection) -> None:
        """What a damaged page would make us lose or find twice; the records' own bytes have their checksums."""
        (report,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if report != "ok":
            raise StartRefused(f"store {self._path}: {_DAMAGED} ({' '.join(report.split())})")

    def _load(self, connection: sqlite3.Connection) -> Sequence[Record]:
        # Nothing made here is garbage; the collector would look at all of it again and again, a third of the time.
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            return [self._to_record(row) for row in connection.execute(f"{_SELECT} ORDER BY id")]
        finally:
            if was_enabled:
                gc.enable()

    def _to_record(self, row: _Row) -> Record:
        number, key, _, _, checksum, body = row
        if crc32(body, crc32(key)) != checksum:
            raise StartRefused(f"store {self._path}: {_DAMAGED} (record {number})")
        try:
            record: Record = _decode_record(body)
        except msgspec.DecodeError as error:
            raise StartRefused(f"store {self._path}: record {number} cannot be read: {error}") from error
        return record


class _Rows:
    """The rows that a group of writes touches: read together, changed here, written together.

    One by one each statement would let go of the interpreter's lock, and wait for the event loop to get it back.
    """

    def __init__(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> None:
        self.before: dict[bytes, _Row | None] = dict.fromkeys(keys)
        self._after: dict[bytes, _Row | None] = {}
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = keys[start : start + _KEYS_AT_ONCE]
            for row in connection.execute(f"{_SELECT} WHERE key IN ({', '.join('?' * len(some))})", some):
                self.before[row[1]] = row

    def apply(self, step: _Step, revision: Revision) -> bool:
        """Whether anything changed."""
        held = self._after[step.key] if step.key in self._after else self.before[step.key]
        if step.body is None:
            self._after[step.key] = None
            return held is not None
        number = held[0] if held is not None else None  # a replaced record keeps its place, as it does in memory
        if held is None:
            self._after.pop(step.key, None)  # removed a moment ago: its place is the last now
        checksum = crc32(step.body, crc32(step.key))
        self._after[step.key] = (number, step.key, step.kind, revision, checksum, step.body)
        return True

    def write(self, connection: sqlite3.Connection) -> None:
        gone = [(key,) for key, row in self._after.items() if row is None]
        connection.executemany("DELETE FROM records WHERE key = ?", gone)
        connection.executemany(_PUT, [row for row in self._after.values() if row is not None])


def _set_revision(connection: sqlite3.Connection, revision: Revision) -> None:
    connection.execute("UPDATE meta SET value = ? WHERE name = 'revision'", (revision,))


_FULL = "there is no room left on its disk"
_NOT_ALLOWED = "this user must be allowed to read and write it, and its directory"
_DAMAGED = "the file is damaged; put back a copy, or move it away"


def _is_full(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code == sqlite3.SQLITE_FULL or getattr(error, "errno", 0) == errno.ENOSPC or isinstance(error, StoreFull)


def _to_refusal(error: Exception) -> StoreUnavailable:
    return StoreFull(_FULL) if _is_full(error) else StoreUnavailable(_in_plain_words(error))


def _in_plain_words(error: Exception) -> str:
    if _is_full(error):
        return _FULL
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}"
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY:
            return "in use by another process; stop that one, or give --store another path"
        case sqlite3.SQLITE_NOTADB:
            return "not a database; give --store another path"
        case sqlite3.SQLITE_CANTOPEN:
            return "cannot be opened; it must be a file, and this user must be allowed to write in its directory"
        case sqlite3.SQLITE_READONLY:
            return _NOT_ALLOWED
        case sqlite3.SQLITE_CORRUPT:
            return _DAMAGED
        case _:
            return str(error)
