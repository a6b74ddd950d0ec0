"""Documents with much to make: a few parts at a time, and what others do meanwhile."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable

import httpx
import msgspec
import pytest

from conformance.peers.patience import PATIENCE_S
from facade.clock import ManualClock
from facade.eureka import routes
from facade.eureka.documents import PARTS_AT_ONCE, Documents, SpaceDocuments, Unfinished
from facade.eureka.listing import PIECE
from facade.eureka.routes import EurekaFront
from facade.eureka.wire import Format, Variant
from facade.registry.model import Space
from facade.registry.registry import Registry
from facade.rendered import Rendered
from tests.eureka.registrations import instance

pytestmark = pytest.mark.anyio

JSON = Variant(Format.JSON)
AT_ONCE = 3
APPLICATIONS = 12

Ask = Callable[[int | None], Rendered | None]


async def fill(registry: Registry) -> None:
    """Several pieces in one application, and several applications; all go by one VIP."""
    for number in range(PIECE * 4):
        await registry.register(instance("BIG", f"i{number}", vipAddress="big"))
    for number in range(APPLICATIONS):
        await registry.register(instance(f"APP-{number}", "i1", vipAddress="big"))


def asks(documents: SpaceDocuments, *, is_gzipped: bool) -> dict[str, Ask]:
    asked = (JSON, is_gzipped)
    return {
        "full": lambda parts: documents.full(asked, parts),
        "delta": lambda parts: documents.delta(asked, parts),
        "application": lambda parts: documents.application("BIG", asked, parts),
        "vip": lambda parts: documents.vip("big", asked, parts),
    }


def made(ask: Ask) -> tuple[Rendered, int]:
    """The document, and how often it had to be asked for."""
    for tries in range(1, 1_000):
        try:
            found = ask(AT_ONCE)
        except Unfinished:
            continue
        assert found is not None
        return found, tries
    raise AssertionError("it never comes to an end")


@pytest.mark.parametrize("is_gzipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("which", ["full", "delta", "application", "vip"])
async def test_a_document_made_in_parts_is_the_one_made_at_once(
    registry: Registry, which: str, is_gzipped: bool
) -> None:
    await fill(registry)
    in_parts, at_once = Documents(registry).of(Space()), Documents(registry).of(Space())
    for number in range(PIECE * 4):  # both tell the same in their deltas
        await registry.register(instance("BIG", f"i{number}", vipAddress="big", hostName="moved"))

    found, tries = made(asks(in_parts, is_gzipped=is_gzipped)[which])

    expected = asks(at_once, is_gzipped=is_gzipped)[which](None)
    assert found == expected
    assert tries > 1


async def test_what_changes_while_it_is_made_is_in_it(registry: Registry) -> None:
    await fill(registry)
    documents = Documents(registry).of(Space())
    full = asks(documents, is_gzipped=True)["full"]
    with pytest.raises(Unfinished):
        full(AT_ONCE)

    await registry.register(instance("BIG", "i0", vipAddress="big", hostName="moved"))
    await registry.cancel(instance("BIG", "i1").key)
    found, _ = made(full)

    listed = {one["instanceId"]: one for app in applications(found) for one in app["instance"]}
    assert listed["i0"]["hostName"] == "moved"
    assert len(listed) == PIECE * 4 - 1 + 1  # and i1 of the applications


async def test_no_parts_are_made_where_none_are_allowed(registry: Registry) -> None:
    await registry.register(instance("BIG", "i1", vipAddress="big"))
    documents = Documents(registry).of(Space())

    for ask in asks(documents, is_gzipped=True).values():
        for _ in range(2):
            with pytest.raises(Unfinished):
                ask(0)
        made_once = ask(None)
        assert ask(0) is made_once


async def test_who_waits_for_a_document_gets_it_however_fast_others_change_it(
    registry: Registry, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "PARTS_AT_ONCE", 1)
    front = EurekaFront(registry)
    await fill(registry)
    changes = 0

    async def change() -> None:
        nonlocal changes
        while True:
            changes += 1
            for number in range(2):
                await registry.register(instance(f"APP-{number}", "i1", hostName=f"moved-{changes}"))
            clock.advance(0.01)
            await asyncio.sleep(0)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://eureka") as client:
        changing = asyncio.create_task(change())
        answer = await asyncio.wait_for(client.get("/eureka/apps", headers={"Accept": "application/json"}), PATIENCE_S)
        changing.cancel()

    assert len(answer.json()["applications"]["application"]) == APPLICATIONS + 1
    assert changes > routes.IN_PARTS_S / 0.01 / 2


async def test_others_have_their_turn_while_a_large_document_is_made(registry: Registry) -> None:
    """Two who ask for it at once wait for the same work; a renewal does not wait for it."""
    front = EurekaFront(registry)
    await fill(registry)
    transport = httpx.ASGITransport(front)
    headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
    turns = 0

    async def renew() -> int:
        nonlocal turns
        while not all(reader.done() for reader in readers):
            await asyncio.sleep(0)
            turns += 1
        return turns

    async with httpx.AsyncClient(transport=transport, base_url="http://eureka") as client:
        await client.get("/eureka/apps/APP-0", headers=headers)  # whatever the client itself does at first
        readers = [asyncio.create_task(client.get("/eureka/apps", headers=headers)) for _ in range(2)]
        await renew()
        first, second = (reader.result() for reader in readers)

    assert first.content == second.content
    assert len(first.json()["applications"]["application"]) == APPLICATIONS + 1
    pieces = 4 + APPLICATIONS
    assert turns > 2 * pieces / PARTS_AT_ONCE, "each piece is encoded and compressed, a few of these between two turns"


def applications(found: Rendered) -> list[dict[str, list[dict[str, str]]]]:
    text = gzip.decompress(found.body) if found.is_gzipped else found.body
    return list(msgspec.json.decode(text)["applications"]["application"])
