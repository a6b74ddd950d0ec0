"""All records of one place into another: whole, each once, and what does not fit is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from facade.clock import ManualClock
from facade.errors import StartRefused, StoreUnavailable
from facade.inspection.migration import OpenStore, source, surveyed_for, target
from facade.inspection.restoring import ADDED, LEFT_OUT, Outcome
from facade.inspection.servers import AT_ANY_PACE, Pace, Servers, silent
from facade.registry.model import Instance, Record, RecordKey, Revision
from facade.registry.rules import Policy
from facade.registry.store import Put, Store, StoreHealth, Write
from facade.stores.memory import MemoryStore
from facade.stores.mirror import Mirror
from facade.stores.sqlite import SqliteStore
from facade.stores.survey import Survey
from facade.stores.upstream import UpstreamStore
from tests.flows.product import BASE, Product, product
from tests.registry.records import flat, qualified, service
from tests.stores.behind import Behind
from tests.stores.examples import ONE_OF_EACH

pytestmark = pytest.mark.anyio

SERVER = "http://registry.test"
POLICY = Policy()


class Noting(MemoryStore):
    """Notes what is written, and fails when told to."""

    breaks_after: int | None = None
    doubted = 0

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.written: list[RecordKey] = []

    async def write(self, writes: Sequence[Write]) -> Revision:
        if self.breaks_after is not None and len(self.written) >= self.breaks_after:
            raise StoreUnavailable("out of order")
        self.written += [write.record.key for write in writes if isinstance(write, Put)]
        return await super().write(writes)

    def health(self) -> StoreHealth:
        return super().health()._replace(doubted=self.doubted)


@pytest.fixture
async def server(clock: ManualClock, tmp_path: Path) -> AsyncIterator[Product]:
    """A running one, with an application and a service of each kind of thing."""
    async with product(MemoryStore(clock), clock, data_dir=tmp_path) as product_:
        yield product_


@pytest.fixture
async def through(server: Product) -> AsyncIterator[Servers]:
    opened = Servers(httpx.ASGITransport(server.application))
    yield opened
    await opened.close()


def opening(clock: ManualClock, other: Store | None = None) -> OpenStore:
    """Files by their paths; `other` for any other URL."""

    def open_store(url: str) -> Store:
        if url.startswith("sqlite://"):
            return SqliteStore(Path(url.removeprefix("sqlite://")), clock)
        assert other is not None
        return other

    return open_store


async def filled(file: Path, records: Sequence[Record], clock: ManualClock) -> str:
    store = SqliteStore(file, clock)
    await store.open(lambda _: None)
    await store.write([Put(record) for record in records])
    await store.close()
    return f"sqlite://{file}"


async def held(file: Path, clock: ManualClock) -> dict[RecordKey, Record]:
    store = SqliteStore(file, clock)
    snapshot = await store.open(lambda _: None)
    await store.close()
    return {record.key: record for record in snapshot.records}


async def moved(
    from_: str, to: str, open_store: OpenStore, through: Servers, *, is_dry: bool = False
) -> tuple[Survey, list[Outcome]]:
    found = await source(from_, open_store, through, POLICY, silent)
    async with target(to, open_store, through, POLICY, silent, is_dry=is_dry) as there:
        survey = await surveyed_for(found.records, there)
        missing = [record for record in found.records if record.key in set(survey.missing)]
        return survey, [] if is_dry else await there.write(missing, AT_ANY_PACE, silent)


async def test_every_kind_of_record_of_a_store_comes_whole_into_another(
    tmp_path: Path, clock: ManualClock, through: Servers
) -> None:
    from_ = await filled(tmp_path / "one.db", ONE_OF_EACH, clock)

    _, outcomes = await moved(from_, f"sqlite://{tmp_path}/other.db", opening(clock), through)

    assert {outcome.state for outcome in outcomes} == {ADDED}
    assert await held(tmp_path / "other.db", clock) == {record.key: record for record in ONE_OF_EACH}


async def test_a_second_run_writes_nothing(tmp_path: Path, clock: ManualClock, through: Servers) -> None:
    from_ = await filled(tmp_path / "one.db", ONE_OF_EACH, clock)
    new = Noting(clock)
    await moved(from_, "redis://h", opening(clock, new), through)
    survey, outcomes = await moved(from_, "redis://h", opening(clock, new), through)

    assert (survey.same, survey.missing, outcomes) == (len(ONE_OF_EACH), [], [])
    assert len(new.written) == len(ONE_OF_EACH)


async def test_one_that_broke_off_goes_on_and_writes_nothing_twice(
    tmp_path: Path, clock: ManualClock, through: Servers
) -> None:
    records = [flat(instance_id=f"orders-{number}") for number in range(40)]
    from_ = await filled(tmp_path / "one.db", records, clock)
    new = Noting(clock)
    new.breaks_after = 25
    with pytest.raises(StoreUnavailable, match="25 of 40 records were written"):
        await moved(from_, "redis://h", opening(clock, new), through)
    new.breaks_after = None
    await moved(from_, "redis://h", opening(clock, new), through)

    assert sorted(new.written) == sorted(record.key for record in records)


async def test_a_plan_writes_nothing_and_makes_no_file(tmp_path: Path, clock: ManualClock, through: Servers) -> None:
    from_ = await filled(tmp_path / "one.db", [flat()], clock)

    survey, _ = await moved(from_, f"sqlite://{tmp_path}/other.db", opening(clock), through, is_dry=True)

    assert survey.missing == [flat().key]
    assert not (tmp_path / "other.db").exists()


async def test_what_is_there_stays_as_it_is(tmp_path: Path, clock: ManualClock, through: Servers) -> None:
    from_ = await filled(tmp_path / "one.db", [flat(host="of-the-past"), flat("MORE")], clock)
    to = await filled(tmp_path / "other.db", [flat(host="alive"), flat("THEIRS")], clock)

    survey, outcomes = await moved(from_, to, opening(clock), through)

    assert (survey.differing, survey.only_there, len(outcomes)) == ([flat().key], 1, 1)
    assert (await held(tmp_path / "other.db", clock))[flat().key] == flat(host="alive")


async def test_services_are_written_before_what_needs_them(
    tmp_path: Path, clock: ManualClock, through: Servers
) -> None:
    from_ = await filled(tmp_path / "one.db", [qualified(), flat(), service()], clock)
    new = Noting(clock)
    await moved(from_, "redis://h", opening(clock, new), through)

    assert new.written[0] == service().key


# A registry behind us


async def test_what_a_registry_does_not_take_is_told_before_and_after(
    tmp_path: Path, clock: ManualClock, through: Servers
) -> None:
    large = flat("LARGE", metadata={"text": "x" * 200})
    from_ = await filled(tmp_path / "one.db", [flat(), large, *ONE_OF_EACH[-2:]], clock)
    behind = Behind()
    behind.room = 100

    def store() -> Store:
        return UpstreamStore(SqliteStore(tmp_path / "mirror.db", clock), [Mirror(behind, clock, is_strict=True)])

    survey, _ = await moved(from_, "eureka+http://h", opening(clock, store()), through, is_dry=True)
    _, outcomes = await moved(from_, "eureka+http://h", opening(clock, store()), through)

    assert survey.here_alone[large.key] == "the body is too large"
    assert {key for key in survey.here_alone if key != large.key} == {one.key for one in ONE_OF_EACH[-2:]}
    told = {outcome.what: outcome for outcome in outcomes}
    assert told["instance LARGE/orders-1"].state == LEFT_OUT
    assert told["instance ORDERS/orders-1"].state == ADDED
    assert list(behind.records) == [flat().key]


async def test_a_registry_that_is_away_is_not_written_to(tmp_path: Path, clock: ManualClock, through: Servers) -> None:
    from_ = await filled(tmp_path / "one.db", [flat()], clock)
    behind = Behind()
    behind.fail()
    store = UpstreamStore(MemoryStore(clock), [Mirror(behind, clock, is_strict=True)])

    with pytest.raises(StoreUnavailable, match="connection refused"):
        await moved(from_, "eureka+http://h", opening(clock, store), through, is_dry=True)


async def test_one_whose_list_is_in_doubt_is_not_written_to(
    tmp_path: Path, clock: ManualClock, through: Servers
) -> None:
    """What was written an hour ago and has lapsed there since is not there already."""
    from_ = await filled(tmp_path / "one.db", [flat()], clock)
    new = Noting(clock)
    new.doubted = 6

    with pytest.raises(StoreUnavailable):
        await moved(from_, "redis://h", opening(clock, new), through)


# A running server


async def fill(server: Product) -> None:
    await server.register_eureka("ORDERS", "o1", metadata={"zone": "a"})
    carts = await server.create_service("carts", "shop", properties={"owner": "team"})
    await server.http.put(f"{BASE}/microservices/{carts}/schemas/api", json={"schema": "{}", "summary": "5"})
    await server.register_servicecenter(carts, "c1")
    await server.http.put("/eureka/apps/ORDERS/o1/status?value=OUT_OF_SERVICE")


def without_leases(listed: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Less what is of a lease, or tells of the last change: a server that starts tells of none."""
    own = ("leaseInfo", "actionType")
    return {name: {key: value for key, value in one.items() if key not in own} for name, one in listed.items()}


async def test_what_a_running_server_tells_is_what_it_holds(
    tmp_path: Path, clock: ManualClock, server: Product, through: Servers
) -> None:
    await fill(server)
    _, outcomes = await moved(SERVER, f"sqlite://{tmp_path}/other.db", opening(clock), through)

    assert {outcome.state for outcome in outcomes} == {ADDED}
    found = await held(tmp_path / "other.db", clock)
    async with product(SqliteStore(tmp_path / "other.db", clock), clock, data_dir=tmp_path) as other:
        assert without_leases(await other.in_eureka()) == without_leases(await server.in_eureka())
        assert await other.found("carts", "shop") == await server.found("carts", "shop")
    for key, record in found.items():
        here = server.registry.catalogue.find(key)
        assert here is not None, key
        if isinstance(record, Instance):
            assert isinstance(here, Instance)
            assert (record.status, record.override, record.metadata) == (here.status, here.override, here.metadata)


async def test_a_running_server_is_told_as_its_clients_would_and_of_nothing_else(
    tmp_path: Path, clock: ManualClock, server: Product, through: Servers
) -> None:
    async with product(SqliteStore(tmp_path / "one.db", clock), clock, data_dir=tmp_path) as other:
        await fill(other)
    from_ = await filled(tmp_path / "one.db", ONE_OF_EACH[-2:], clock)

    survey, outcomes = await moved(from_, SERVER, opening(clock), through)
    again, nothing = await moved(from_, SERVER, opening(clock), through)

    assert {outcome.state for outcome in outcomes} == {ADDED}, outcomes
    assert set(survey.refused) == {one.key for one in ONE_OF_EACH[-2:]}
    assert set(await server.in_eureka()) == {"o1", "c1"}
    assert len(await server.found("carts", "shop")) == 1
    assert (again.missing, nothing) == ([], [])


# Mistakes


@pytest.mark.parametrize(
    ("from_", "to", "why"),
    [
        pytest.param("memory://", "redis://h", "ends with its process", id="memory-of-nobody"),
        pytest.param("sqlite:///nowhere.db", "redis://h", "no such file", id="no-such-file"),
        pytest.param(SERVER, "memory://", "ends with its process", id="into-memory"),
        pytest.param(SERVER, "a.dump", "no place to write to", id="into-a-file"),
        pytest.param("ftp://h", SERVER, "no place to look at", id="strange"),
    ],
)
async def test_what_cannot_be_is_told(clock: ManualClock, through: Servers, from_: str, to: str, why: str) -> None:
    with pytest.raises(StartRefused, match=why):
        await moved(from_, to, opening(clock, MemoryStore(clock)), through)


async def test_a_pace_spreads_turns_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 1))

    monkeypatch.setattr(asyncio, "sleep", sleep)
    pace = Pace(2)
    for _ in range(4):
        await pace.turn()
    await AT_ANY_PACE.turn()

    assert slept == [0.0, 0.5, 1.0, 1.5]
