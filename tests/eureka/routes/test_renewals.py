"""Renewals, and leases as readers see them."""

from __future__ import annotations

import msgspec
import pytest

from facade.clock import ManualClock
from facade.eureka.routes import EurekaOptions
from facade.registry.model import Change
from facade.registry.registry import Registry
from tests.conftest import PassTime
from tests.eureka.registrations import instance
from tests.eureka.routes.client import AS_JSON, Client

pytestmark = pytest.mark.anyio


FROM_PEER = {"x-netflix-discovery-replication": "true"}


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        pytest.param("", {}, 200, id="case108"),
        pytest.param("?status=DOWN", {}, 200, id="case112"),
        pytest.param("?lastDirtyTimestamp=1000", {}, 200, id="case113-equal"),
        pytest.param("?lastDirtyTimestamp=999", {}, 200, id="case113-older"),
        pytest.param("?lastDirtyTimestamp=1001", {}, 404, id="case113-newer"),
        pytest.param("?lastDirtyTimestamp=abc", {}, 200, id="case114-garbage"),
        pytest.param("?lastDirtyTimestamp=", {}, 200, id="case114-empty"),
        pytest.param("?lastDirtyTimestamp=" + "9" * 5000, {}, 200, id="huge"),
        pytest.param("?lastDirtyTimestamp=--5&status=%FF&=&&;", {}, 200, id="noise"),
        pytest.param("?lastDirtyTimestamp=1000", FROM_PEER, 200, id="case115-equal"),
        pytest.param("?lastDirtyTimestamp=999", FROM_PEER, 409, id="case115-older"),
        pytest.param("?lastDirtyTimestamp=999", {"x-netflix-discovery-replication": "True"}, 200, id="case115-no-peer"),
    ],
)
async def test_renewals(client: Client, query: str, headers: dict[str, str], status: int) -> None:
    """P3: the nearest peer ignores all of it."""
    await client.register()

    answer = await client("PUT", f"/eureka/apps/a/i1{query}", AS_JSON | headers, b"{}")

    assert answer.status_code == status
    if status == 409:
        assert msgspec.json.decode(answer.content)["instance"]["instanceId"] == "i1"
    else:
        assert answer.content == b""


async def test_a_refused_renewal_has_renewed(client: Client, registry: Registry, pass_time: PassTime) -> None:
    """Case 113: the client registers at once, but its lease must not end before that arrives."""
    await client.register()
    await pass_time(80)
    await client("PUT", "/eureka/apps/A/i1?lastDirtyTimestamp=1001")
    await pass_time(80)

    assert registry.catalogue.instance(instance().key) is not None


async def test_timestamps_can_be_ignored(registry: Registry) -> None:
    """Case 121."""
    client = Client(registry, EurekaOptions(sync_when_timestamp_differs=False))
    await client.register()

    for moment in (999, 1000, 1001):
        answer = await client("PUT", f"/eureka/apps/A/i1?lastDirtyTimestamp={moment}", FROM_PEER)
        assert answer.status_code == 200
    await client.close()


async def test_who_is_unknown_even_to_itself_has_to_register(client: Client) -> None:
    """Cases 61 and 120."""
    await client.register(status="up")
    assert (await client("PUT", "/eureka/apps/A/i1")).status_code == 404

    await client.register(status="STARTING")
    assert (await client("PUT", "/eureka/apps/A/i1")).status_code == 200


async def test_a_peer_teaches_an_override_by_renewing(client: Client) -> None:
    """Cases 116 and 117."""
    await client.register()
    path = "/eureka/apps/A/i1?lastDirtyTimestamp=1001&overriddenstatus=OUT_OF_SERVICE"
    await client("PUT", path)
    assert (await client.json("/eureka/apps/A/i1"))["status"] == "UP"

    assert (await client("PUT", path, FROM_PEER)).status_code == 404
    assert (await client.json("/eureka/apps/A/i1"))["status"] == "OUT_OF_SERVICE"


async def test_renewals_make_no_revision(client: Client, registry: Registry) -> None:
    """Case 119."""
    await client.register()
    changes: list[Change] = []
    registry.feed.follow(changes.append)

    await client("PUT", "/eureka/apps/A/i1")

    assert changes == []


async def test_a_lapsed_instance_is_listed_but_not_found_until_it_renews(client: Client, clock: ManualClock) -> None:
    """Case 102."""
    await client.register()
    clock.advance(91)

    assert (await client("GET", "/eureka/apps/A/i1")).status_code == 404
    assert len((await client.json("/eureka/apps"))["application"]) == 1
    assert (await client("PUT", "/eureka/apps/A/i1")).status_code == 200
    assert (await client("GET", "/eureka/apps/A/i1")).status_code == 200


async def test_lease_times_are_the_servers(client: Client, clock: ManualClock) -> None:
    """Cases 31, 77 and 118."""
    stated = {"durationInSecs": 45, "renewalIntervalInSecs": 15, "registrationTimestamp": 5, "serviceUpTimestamp": 8}
    await client.register(leaseInfo=stated)
    began = clock.now_ms()
    clock.advance(10)
    await client("PUT", "/eureka/apps/A/i1")

    assert (await client.json("/eureka/apps/A/i1"))["leaseInfo"] == {
        "renewalIntervalInSecs": 15,
        "durationInSecs": 45,
        "registrationTimestamp": began,
        "lastRenewalTimestamp": began + 10_000 + 45_000,
        "evictionTimestamp": 0,
        "serviceUpTimestamp": began,
    }
