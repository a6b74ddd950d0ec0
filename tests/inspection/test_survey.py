"""How servers fare, as they say themselves and as the others of their cluster say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

from facade.clock import ManualClock
from facade.dashboard.routes import Dashboard
from facade.inspection import survey as survey_module
from facade.inspection.servers import Servers
from facade.inspection.survey import Row, Survey
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.registry.store import NodeHealth, StoreHealth
from tests.inspection.hosts import Hosts
from tests.registry.records import flat
from tests.registry.shared import SharedStore, node

pytestmark = pytest.mark.anyio

ONE, TWO, THREE = (node(f"n{number}.test:8761") for number in (1, 2, 3))

Start = Callable[..., Awaitable[SharedStore]]


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


@pytest.fixture
async def through(hosts: Hosts, clock: ManualClock) -> AsyncIterator[Servers]:
    servers = Servers(hosts, clock)
    yield servers
    await servers.close()


@pytest.fixture
async def start(hosts: Hosts, clock: ManualClock, policy: Policy) -> AsyncIterator[Start]:
    """`start(own, *others)` starts a server that knows these nodes, at the host of its own name."""
    async with AsyncExitStack() as stack:

        async def start(own: NodeHealth, *others: NodeHealth, host: str = "") -> SharedStore:
            store = SharedStore(clock, own._replace(is_self=True, age_s=0.0), *others)
            registry = Registry(store, clock, policy)
            await registry.open()
            stack.push_async_callback(registry.close)
            await registry.register(flat(f"OF-{own.name.split('.')[0]}"))
            server = Starlette(routes=Dashboard(registry).routes())
            hosts.answers[host or own.name.partition(":")[0]] = httpx.ASGITransport(server)
            return store

        yield start


@pytest.fixture
async def three(start: Start) -> None:
    await start(ONE, TWO, THREE)
    await start(TWO._replace(leads=True, lag_ms=25), ONE, THREE)
    await start(THREE, ONE, TWO)


def by_name(rows: list[Row]) -> dict[str, Row]:
    assert len({row.name for row in rows}) == len(rows)
    return {row.name: row for row in rows}


@pytest.mark.usefixtures("three")
async def test_one_node_is_enough_to_find_the_others(through: Servers) -> None:
    rows = await Survey(["http://n3.test:8761"], through).look()

    assert [(row.name, row.state, row.leads) for row in rows] == [
        (ONE.name, "ok", False),
        (TWO.name, "ok", True),
        (THREE.name, "ok", False),
    ]
    assert rows[1].lag_ms == 25
    assert rows[1].renewals_a_second == 2.0
    assert rows[1].instances == {"eureka": 1, "servicecenter": 0}


@pytest.mark.usefixtures("three")
async def test_nodes_that_were_all_named_and_through_a_load_balancer_too_are_told_once(
    through: Servers, hosts: Hosts
) -> None:
    hosts.answers["balancer.test"] = hosts.answers["n2.test"]
    bases = [f"http://{host}.test:8761" for host in ("balancer", "n2", "n1", "n3")]

    assert len(await Survey(bases, through).look()) == 3


@pytest.mark.usefixtures("three")
async def test_of_one_that_does_not_answer_the_others_tell_what_they_heard(through: Servers, hosts: Hosts) -> None:
    del hosts.answers["n2.test"]

    row = by_name(await Survey(["http://n1.test:8761", "http://n2.test:8761"], through).look())[TWO.name]

    assert (row.state, row.revision, row.renewals_a_second) == ("no answer", 7, 2.0)
    assert row.remarks == (
        "Does not answer at http://n2.test:8761: nobody is there.",
        "The other nodes say that it is well: heard 1 s ago.",
    )


async def test_one_that_the_others_miss_is_missing(start: Start, through: Servers) -> None:
    await start(ONE, TWO._replace(is_missing=True, age_s=40.0))

    row = by_name(await Survey(["http://n1.test:8761"], through).look())[TWO.name]

    assert row.state == "missing"
    assert "The other nodes say that it is missing: heard 40 s ago." in row.remarks


async def test_one_that_answers_us_and_is_missed_by_the_others_says_so(start: Start, through: Servers) -> None:
    """Cut off from the store: its clients renew with it all the same."""
    await start(ONE, TWO._replace(is_missing=True, age_s=40.0))
    await start(TWO, ONE)

    row = by_name(await Survey(["http://n1.test:8761"], through).look())[TWO.name]

    assert row.state == "ok"
    assert row.remarks == ("The other nodes have not heard of it for 40 s.",)


async def test_one_that_was_started_again_stands_beside_the_one_that_is_gone(start: Start, through: Servers) -> None:
    gone = TWO._replace(id="before", is_missing=True, age_s=9.0)
    await start(ONE, TWO, gone)
    await start(TWO, ONE, gone)

    rows = by_name(await Survey(["http://n1.test:8761"], through).look())

    assert rows[TWO.name].state == "ok"
    assert rows[f"{TWO.name} (before)"].state == "missing"
    assert "another server answers at its address" in rows[f"{TWO.name} (before)"].remarks[0]


async def test_a_server_alone_tells_all_but_what_nodes_are_for(start: Start, through: Servers) -> None:
    store = await start(ONE)
    store.listed = ()

    [row] = await Survey(["http://n1.test:8761"], through).look()

    assert (row.name, row.state, row.lag_ms, row.leads) == ("n1.test:8761", "ok", None, False)


async def test_what_the_store_says_of_its_trouble_is_passed_on(
    start: Start, through: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "Redis at r:6379 has not answered for 12 s: evictions are frozen."
    monkeypatch.setattr(SharedStore, "health", lambda _: StoreHealth(False, text, waiting=3))
    monkeypatch.setattr(SharedStore, "data_age_s", 12.0)
    await start(ONE)

    [row] = await Survey(["http://n1.test:8761"], through).look()

    assert (row.state, row.data_age_s, row.waiting_writes, row.remarks) == ("degraded", 12.0, 3, (text,))


async def test_one_that_knows_nothing_yet_says_why(
    start: Start, through: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its 503 is an answer here."""
    monkeypatch.setattr(SharedStore, "health", lambda _: StoreHealth(False, "Waits for Redis."))
    await start(ONE)
    monkeypatch.setattr(SharedStore, "has_data", False)

    [row] = await Survey(["http://n1.test:8761"], through).look()

    assert (row.state, row.remarks) == ("no data", ("Waits for Redis.",))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (HTMLResponse("<h1>Sign in</h1>"), "answered 200 to a question for its health"),
        (PlainTextResponse("no", 404), "answered 404 to a question for its health"),
        (PlainTextResponse("no", 503), "answered 503 to a question for its health"),
        (PlainTextResponse("no", 500), "answered 500"),
        (JSONResponse([{}]), "answered 200 to a question for its health"),
    ],
)
async def test_what_is_no_server_of_ours_is_a_row_that_says_so(
    hosts: Hosts, through: Servers, answer: PlainTextResponse, why: str
) -> None:
    hosts.lie("n1.test", answer)

    [row] = await Survey(["http://n1.test:8761"], through).look()

    assert (row.name, row.state) == ("n1.test:8761", "no answer")
    assert row.remarks == (f"Does not answer at http://n1.test:8761: {why}.",)


async def test_a_server_of_before_nodes_is_told_as_far_as_it_tells(hosts: Hosts, through: Servers) -> None:
    store = {"writable": True, "text": "memory", "dataAgeSeconds": 0.0}
    hosts.lie("n1.test", JSONResponse({"status": "ok", "store": store, "peers": {}, "revision": 5}))

    [row] = await Survey(["http://n1.test:8761"], through).look()

    assert (row.state, row.revision, row.instances) == ("ok", 5, {})


async def test_one_that_takes_too_long_does_not_hold_up_the_others(
    start: Start, hosts: Hosts, through: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(survey_module, "ANSWERS_WITHIN_S", 0.05)
    await start(ONE, TWO)
    hosts.answers["n2.test"] = httpx.ASGITransport(never)

    rows = by_name(await Survey(["http://n1.test:8761"], through).look())

    assert (rows[ONE.name].state, rows[TWO.name].state) == ("ok", "no answer")
    assert "no answer within 0.05 s" in rows[TWO.name].remarks[0]


@pytest.mark.parametrize("name", ["", "a b:1", "[::1:2", "\x1b[2J:8761", "u:p@h:99999", "h:port"])
async def test_a_name_that_is_no_address_is_a_row_that_does_not_answer(
    start: Start, through: Servers, name: str
) -> None:
    """Whoever may write to the store may call himself anything."""
    await start(ONE, node(name, id="strange"))

    rows = await Survey(["http://n1.test:8761"], through).look()

    assert {row.name: row.state for row in rows} == {ONE.name: "ok", name: "no answer"}


async def test_nodes_come_in_the_order_of_their_numbers(start: Start, through: Servers) -> None:
    await start(ONE, *(node(f"n{number}.test:8761") for number in (10, 9, 2)))

    rows = await Survey(["http://n1.test:8761"], through).look()

    assert [row.name.partition(".")[0] for row in rows] == ["n1", "n2", "n9", "n10"]


async def test_rows_are_documents(start: Start, through: Servers) -> None:
    await start(ONE)

    [row] = msgspec.json.decode(msgspec.json.encode(await Survey(["http://n1.test:8761"], through).look()))

    assert (row["renewalsASecond"], row["dataAgeS"], row["waitingWrites"], row["lagMs"]) == (2.0, 0.0, 0, 3)
