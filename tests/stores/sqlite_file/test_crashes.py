"""What is left when the process is killed, or its files are torn."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

import anyio
import pytest

from facade.errors import StartRefused
from facade.registry.model import Instance
from facade.registry.store import Put
from tests.stores.examples import instance
from tests.stores.sqlite_file.files import ROOT, WRITER, Start, held_in, instances, refusal
from tests.stores.writing import written

pytestmark = pytest.mark.anyio


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
            dying = subprocess.run([*kill, *WRITER, path, "0"], cwd=ROOT, stdout=acknowledgements, timeout=60)
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
        with anyio.fail_after(60):
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
