"""A process that writes until it is killed: python -m tests.stores.writing FILE ROUND.

Each line on stdout is one acknowledged write, `WRITER COUNT`. What a writer has written by its n-th write is known
(`written`), so whoever reads the lines can tell what the file must hold.
"""

import asyncio
import os
import sys
from pathlib import Path

from facade.clock import SystemClock
from facade.errors import StartRefused
from facade.registry.model import Instance
from facade.registry.store import Put, Remove, Store, Write
from facade.stores.sqlite import SqliteStore
from tests.stores.examples import instance

WRITERS = 4
PAUSE_S = WRITERS / 200  # about 200 writes a second in all
_NAMES = 5


def step(writer: str, count: int) -> Write:
    """The n-th write, from 1: registrations, over and over, and now and then a cancellation."""
    name = f"{writer}-{count % _NAMES}"
    return Remove(instance(name).key) if count % 7 == 0 else Put(instance(name, updated_ms=count))


def written(writer: str, count: int) -> set[tuple[str, int]]:
    """(name, updated_ms) of what is held after so many writes."""
    held: dict[str, Instance] = {}
    for write in (step(writer, number) for number in range(1, count + 1)):
        if isinstance(write, Put):
            assert isinstance(write.record, Instance)
            held[write.record.key.instance_id] = write.record
        else:
            held.pop(write.key.instance_id, None)  # type: ignore[union-attr]  # of an instance, too
    return {(name, record.updated_ms) for name, record in held.items()}


async def write_for_ever(store: Store, writer: str) -> None:
    for count in range(1, sys.maxsize):
        await store.write([step(writer, count)])
        os.write(1, f"{writer} {count}\n".encode())
        await asyncio.sleep(PAUSE_S)


async def main(path: Path, turn: str) -> None:
    store = SqliteStore(path, SystemClock())
    try:
        await store.open(lambda _: None)
    except StartRefused as refusal:
        sys.exit(str(refusal))
    await asyncio.gather(*(write_for_ever(store, f"{turn}-{number}") for number in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
