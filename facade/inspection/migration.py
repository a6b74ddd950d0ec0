"""All records of one place into another: looked at first, then written, each once.

From:   a store of ours (its records as they are, of every kind and tenant); a dump, a registry or a running server
        (what it tells in its protocols).
To:     a store of ours, or a registry that is kept behind one of ours, both written to as a server would; or a running
        server, told as its clients would.
Rules:  what is there stays as it is, so a second run goes on where the first one ended, and writes nothing twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import NamedTuple, Protocol

from facade.errors import FacadeError, MalformedDocument, Overtaken, StartRefused, StoreUnavailable, UpstreamRefused
from facade.inspection import restoring
from facade.inspection.places import PLACES, Kind, Place, parse
from facade.inspection.recorded import contents_of, is_tellable, records_of
from facade.inspection.restoring import ADDED, LEFT_OUT, REFUSED, Outcome
from facade.inspection.servers import Pace, Progress, Servers, each, identified, read
from facade.registry.model import Record, RecordKey
from facade.registry.rules import Policy
from facade.registry.store import Commit, Put, Store
from facade.stores.fit import WHOLE, Fit, Kept
from facade.stores.sqlite import SqliteStore
from facade.stores.survey import RANKS, FitOf, Survey, fit_of, named, rank_of, surveyed
from facade.stores.upstream import UpstreamStore
from facade.stores.urls import is_own

OpenStore = Callable[[str], Store]
"""A store by its URL, not opened yet. Raises StartRefused."""

_OVER_HTTP = Fit(Kept.REFUSED, "a running server is told of instances, services and schemas of default/default only")
_IN_MEMORY = "memory:// ends with its process: name the running server that has it by its address, or use --live there"


class Source(NamedTuple):
    title: str
    records: Sequence[Record]


class Target(Protocol):
    there: dict[RecordKey, Record]

    is_comparable: bool
    """Whether a record there that looks otherwise is another one: over HTTP it may not be told in full."""

    def fit(self, record: Record) -> Fit: ...

    async def write(self, records: Sequence[Record], pace: Pace, progress: Progress) -> list[Outcome]:
        """Raises StoreUnavailable when not all could be written; the rest of them may have been."""


# From


async def source(text: str, open_store: OpenStore, through: Servers, policy: Policy, progress: Progress) -> Source:
    if not is_own(text):
        contents = await read(parse(text), through, progress)
        return Source(contents.place, records_of(contents, policy))
    store = open_store(text)
    _refuse_memory(text)
    if isinstance(store, SqliteStore) and not store.path.exists():
        raise StartRefused(f"store {store.path}: no such file")
    async with _opened(store) as records:
        return Source(store.health().text.partition(",")[0], records)


def _refuse_memory(text: str) -> None:
    if text.startswith("memory:"):
        raise StartRefused(_IN_MEMORY)


@asynccontextmanager
async def _opened(store: Store, follow: Callable[[Commit], None] = lambda _: None) -> AsyncIterator[Sequence[Record]]:
    """What it holds. Raises StoreUnavailable when it is away."""
    try:
        snapshot = await store.open(follow)
        health = store.health()
        if not (store.has_data and health.is_writable) or health.doubted:
            raise StoreUnavailable(health.trouble or health.text)
        yield snapshot.records
    finally:
        await store.close()


# To


@asynccontextmanager
async def target(
    text: str, open_store: OpenStore, through: Servers, policy: Policy, progress: Progress, *, is_dry: bool
) -> AsyncIterator[Target]:
    """Its store, if it is one, is open meanwhile. A file that is only looked at is not made."""
    if not is_own(text):
        place = await identified(parse(text), through)
        if place.kind is Kind.FILE:
            raise StartRefused(f"{text} is no place to write to; name a store or one of {PLACES}")
        if place.kind is Kind.OURS:
            contents = await read(place, through, progress)
            yield _Server(place, through, policy, {one.key: one for one in records_of(contents, policy)})
            return
        text = _as_behind_us(text, place)
    _refuse_memory(text)
    store = open_store(text)
    async with AsyncExitStack() as stack:
        records: Sequence[Record] = ()
        if not (is_dry and isinstance(store, SqliteStore) and not store.path.exists()):
            records = await stack.enter_async_context(_opened(store))
        yield _Store(store, {record.key: record for record in records})


def _as_behind_us(text: str, place: Place) -> str:
    """The URL by which a registry is kept behind a server of ours."""
    if text.lower().startswith(("eureka+", "servicecenter+")):
        return text
    return f"{'eureka' if place.kind is Kind.EUREKA else 'servicecenter'}+{text}"


class _Store:
    is_comparable = True

    def __init__(self, store: Store, there: dict[RecordKey, Record]) -> None:
        self.there = there
        self._store = store

    def fit(self, record: Record) -> Fit:
        return fit_of(record, self._store)

    async def write(self, records: Sequence[Record], pace: Pace, progress: Progress) -> list[Outcome]:
        outcomes: list[Outcome] = []

        async def put(record: Record) -> None:
            await pace.turn()
            outcomes.append(await self._put(record))
            progress("records", len(outcomes), len(records))

        try:
            for rank in RANKS:
                await each((record for record in records if rank_of(record.key) == rank), put)
        except (StoreUnavailable, Overtaken) as error:
            raise StoreUnavailable(_how_far(error, outcomes, records)) from error
        return outcomes

    async def _put(self, record: Record) -> Outcome:
        what = named(record.key)
        try:
            await self._store.write([Put(record)])
        except (UpstreamRefused, MalformedDocument) as refusal:
            return Outcome(what, REFUSED, str(refusal))
        reason = self._store.parked(record.key) if isinstance(self._store, UpstreamStore) else ""
        return Outcome(what, LEFT_OUT, f"kept here alone: {reason}") if reason else Outcome(what, ADDED)


def _how_far(error: FacadeError, outcomes: Sequence[Outcome], records: Sequence[Record]) -> str:
    return f"{error}; {len(outcomes)} of {len(records)} records were written: the same again goes on from there"


class _Server:
    """A running server of ours, told as its clients would."""

    is_comparable = False

    def __init__(self, place: Place, through: Servers, policy: Policy, there: dict[RecordKey, Record]) -> None:
        self.there = there
        self._place = place
        self._through = through
        self._policy = policy

    def fit(self, record: Record) -> Fit:
        return WHOLE if is_tellable(record) else _OVER_HTTP

    async def write(self, records: Sequence[Record], pace: Pace, progress: Progress) -> list[Outcome]:
        contents = contents_of(records, self.there.values())
        write = partial(restoring.restore, contents, self._place, self._through, self._policy)
        return await write(progress=progress, pace=pace)


# Both


async def surveyed_for(records: Sequence[Record], to: Target) -> Survey:
    fit: FitOf = to.fit
    return await surveyed(records, to.there, fit, is_comparable=to.is_comparable)
