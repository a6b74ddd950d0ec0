"""Governance configuration: kept like all other records, one tenant's apart from another's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from facade.clock import ManualClock
from facade.registry.registry import Registry
from facade.servicecenter import pace
from facade.servicecenter import policies as module
from facade.servicecenter.routes import ServiceCenterFront
from facade.stores.sqlite import SqliteStore

from .conftest import Client, client_of

pytestmark = pytest.mark.anyio

RETRY = "/v1/default/gov/retry"
PAY = {"name": "pay", "selector": {"app": "shop"}, "spec": {"maxAttempts": 3}}


async def test_policies_outlast_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    read = []
    for _ in range(2):
        registry = Registry(SqliteStore(tmp_path / "registry.db", clock), clock)
        await registry.open()
        async with client_of(ServiceCenterFront(registry)) as client:
            await client.post(RETRY, PAY)
            read.append((await client.get(f"{RETRY}?environment=all")).json())
        await registry.close()

    assert read[0] == read[1]
    assert [one["name"] for one in read[0]] == ["pay"]


async def test_written_at_once_they_are_one(client: Client) -> None:
    answers = await asyncio.gather(*[client.post(RETRY, PAY) for _ in range(5)])

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]


async def test_domains_do_not_see_each_other_s(client: Client) -> None:
    await client.post(RETRY, PAY)

    assert (await client.get(f"{RETRY}?environment=all", X_Domain_Name="t1")).json() == []
    assert (await client.post(RETRY, PAY, X_Domain_Name="t1")).status_code == 200


async def test_there_is_an_end_to_how_many(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write chooses names and selectors."""
    monkeypatch.setattr(module, "MOST_POLICIES", 2)
    answers = [await client.post(RETRY, {**PAY, "name": name}) for name in "abc"]

    assert [answer.status_code for answer in answers] == [200, 200, 400]
    assert answers[2].json()["errorCode"] == "400100"


@pytest.mark.parametrize("levels", [31, 32, 33, 900])
async def test_a_spec_is_no_deeper_than_can_be_shown(client: Client, levels: int) -> None:
    """Indented, 128 KB in 900 brackets were an answer of 110 MB, and 975 brackets a 500."""
    spec = f'{{"maxAttempts":{"[" * (levels - 1)}{"]" * (levels - 1)}}}'
    answer = await client.post(RETRY, f'{{"name":"deep","spec":{spec}}}'.encode())

    assert (answer.status_code, "levels" in answer.text) == ((200, False) if levels <= 32 else (400, True))


async def test_of_many_faults_some_are_told(client: Client) -> None:
    """A million of them took two seconds, in which nobody else was answered."""
    answers = [
        await client.post("/v1/default/gov/match-group", {"name": "g", "spec": {"alias": "a", "matches": [1] * items}})
        for items in (50_000, 100_000)
    ]

    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].text.count("must be of type object") == 100
    assert "at most 131072 bytes" in answers[1].text


async def test_a_long_list_keeps_nobody_waiting_and_reads_like_a_short_one(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "RESTS_EVERY_S", -1.0)
    for name in "abc":
        await client.post(RETRY, {**PAY, "name": name, "spec": {"maxAttempts": 3, "why": "two\nlines"}})
    asked = asyncio.create_task(client.get(f"{RETRY}?environment=all"))
    turns = 0
    while not asked.done():
        await asyncio.sleep(0)
        turns += 1
    answer = asked.result()

    assert turns > 3
    assert answer.text == json.dumps(answer.json(), indent=2)
    assert [one["spec"]["why"] for one in answer.json()] == ["two\nlines"] * 3


async def test_they_make_no_watcher_and_no_poller_look_again(client: Client, registry: Registry) -> None:
    await client.register(await client.create("orders"))
    before = (await client.find("orders")).headers["X-Resource-Revision"]
    await client.post(RETRY, PAY)

    assert (await client.find("orders")).headers["X-Resource-Revision"] == before


@pytest.mark.parametrize(
    "spec",
    [
        b'{"maxAttempts":123456789012345678901234567890}',
        b'{"maxAttempts":"<script>","deep":' + b"[" * 31 + b"]" * 31 + b"}",
        '{"maxAttempts":"\\u0000 é 😀"}'.encode(),
        b'{"maxAttempts":null}',
    ],
    ids=["large-number", "deep", "other-letters", "null"],
)
async def test_odd_specs_are_kept_as_they_are(client: Client, spec: bytes) -> None:
    created = await client.post(RETRY, b'{"name":"odd","spec":' + spec + b"}")
    read = await client.get(f"{RETRY}/{created.json()['id']}")

    assert read.status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"spec":{"maxAttempts":1e999}}',
        b'{"spec":' + b"[" * 100_000,
        b'{"name":"\xff","spec":{"maxAttempts":1}}',
        b'{"name":"\\ud800","spec":{"maxAttempts":1}}',
        b'{"spec":{"maxAttempts":1,"retryOnSame":1e400}}',
    ],
)
async def test_odd_bodies_are_refused(client: Client, body: bytes) -> None:
    answer = await client.post(RETRY, body)

    assert (answer.status_code, answer.json()["errorCode"]) == (400, "400001")


async def test_odd_paths_are_no_faults(client: Client) -> None:
    for path in ("/v1/default/gov", "/v1/default/gov/", "/v1/default/gov/a/b/c", "/v1//gov/retry", "/v1", "/v1/syncer"):
        assert (await client.get(path)).status_code == 404
    assert (await client.get("/v1/default/gov/%00")).json() == []
    assert (await client.get("/v1/default/gov/retry/%00")).status_code == 404
