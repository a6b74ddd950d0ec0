"""Registering: what is taken, what is refused, and what readers see of it."""

from __future__ import annotations

import gzip
from typing import Any

import msgspec
import pytest

from facade.clock import ManualClock
from facade.errors import StoreUnavailable
from facade.registry.registry import Registry
from facade.stores.memory import MemoryStore
from tests.eureka.registrations import AMAZON_CLASS, body, document
from tests.eureka.routes.client import JSON_BODY, Client

pytestmark = pytest.mark.anyio


async def test_a_registration_is_readable_at_once(client: Client) -> None:
    """Cases 30-32, P12."""
    answer = await client.register()
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-length" not in answer.headers  # a 204 must not state one

    found = await client.json("/eureka/apps/A/i1")

    assert list(found) == [
        "instanceId", "hostName", "app", "ipAddr", "status", "overriddenStatus", "port", "securePort", "countryId",
        "dataCenterInfo", "leaseInfo", "metadata", "vipAddress", "isCoordinatingDiscoveryServer",
        "lastUpdatedTimestamp", "lastDirtyTimestamp", "actionType",
    ]  # fmt: skip
    assert await client.json("/eureka/instances/i1") == found
    assert (await client.json("/eureka/apps/a"))["instance"] == [found]


@pytest.mark.parametrize("instance_id", ["a:b:8080", "a b", "ü", "a%b", "a+b", "a?b", "..", "a/b", "a;b", "x" * 300])
async def test_any_id_can_be_registered_renewed_and_removed(client: Client, instance_id: str) -> None:
    """Cases 81 and 82: ids that hold a slash could never be removed from the original."""
    quoted = "".join(f"%{byte:02X}" for byte in instance_id.encode())
    assert (await client.register(instance_id=instance_id)).status_code == 204

    assert (await client("PUT", f"/eureka/apps/A/{quoted}")).status_code == 200
    assert (await client.json(f"/eureka/apps/A/{quoted}"))["instanceId"] == instance_id
    assert (await client("DELETE", f"/eureka/apps/A/{quoted}")).status_code == 200


async def test_a_refused_registration_leaves_nothing(client: Client) -> None:
    """P6: the nearest peer goes on and registers."""
    answer = await client.register(hostName="")

    assert (answer.status_code, answer.text) == (400, "Missing hostname")
    assert (await client("GET", "/eureka/apps/A")).status_code == 404


async def test_what_cannot_be_parsed_is_answered_to_the_letter(client: Client) -> None:
    """Case 53, and case 196: where a field can be named it is."""
    broken = await client("POST", "/eureka/apps/A", JSON_BODY, b'{"instance":')
    port = await client.register(port=8080)
    xml = await client("POST", "/eureka/apps/A", {"Content-Type": "application/xml"}, b"<instance>")

    assert (broken.status_code, broken.headers["content-type"]) == (400, "application/json")
    assert broken.content == b'{"error": "cannot parse request body"}'
    assert port.status_code == 400
    assert msgspec.json.decode(port.content)["error"].startswith("cannot parse request body: port: expected")
    assert (xml.status_code, xml.headers["content-type"]) == (400, "application/xml")
    assert xml.content == b"<error><message>cannot parse request body</message></error>"


async def test_one_poisonous_registration_does_not_spoil_the_registry(client: Client) -> None:
    """Case 52: the original's lists are empty for everybody afterwards."""
    await client.register("OTHER")
    poison = document()["dataCenterInfo"] | {"name": "Amazon"}
    assert (await client.register(dataCenterInfo=poison)).status_code == 204

    names = [application["name"] for application in (await client.json("/eureka/apps"))["application"]]
    assert names == ["OTHER", "A"]
    written = (await client.json("/eureka/apps/A/i1"))["dataCenterInfo"]
    assert written == {"@class": AMAZON_CLASS, "name": "Amazon", "metadata": {"instance-id": "i1"}}


async def test_gzipped_and_oversized_bodies(client: Client) -> None:
    zipped = await client("POST", "/eureka/apps/A", JSON_BODY | {"Content-Encoding": "gzip"}, gzip.compress(body()))
    bomb = gzip.compress(body(metadata={"a": "b" * 300_000}))

    assert zipped.status_code == 204
    large = await client.register(metadata={"a": "b" * 300_000})
    inflated = await client("POST", "/eureka/apps/A", JSON_BODY | {"Content-Encoding": "gzip"}, bomb)
    assert (large.status_code, inflated.status_code) == (413, 413)


async def test_an_older_registration_renews_and_changes_nothing(client: Client, registry: Registry) -> None:
    """Case 87."""
    await client.register(lastDirtyTimestamp="2000", hostName="new")
    answer = await client.register(lastDirtyTimestamp="1000", hostName="old")

    assert answer.status_code == 204
    assert (await client.json("/eureka/apps/A/i1"))["hostName"] == "new"


async def test_an_older_registration_leaves_the_status_that_an_operator_gave(client: Client) -> None:
    """What is held has one status in the original; that of its owner's last word but one is not remembered."""
    await client.register(lastDirtyTimestamp="2000", status="DOWN")
    await client("PUT", "/eureka/apps/A/i1/status?value=STARTING")
    await client.register(lastDirtyTimestamp="1000")

    assert (await client.json("/eureka/apps/A/i1"))["status"] == "STARTING"


async def test_xml_values_stay_text(client: Client) -> None:
    """P2: 1.10 is a version, not a number."""
    text = (
        "<instance><instanceId>i1</instanceId><hostName>h1</hostName><app>A</app><ipAddr>10.0.0.1</ipAddr>"
        "<status>UP</status><dataCenterInfo><name>MyOwn</name></dataCenterInfo>"
        "<metadata><version>1.10</version><n>007</n><big>12345678901234567890</big></metadata></instance>"
    )
    await client("POST", "/eureka/apps/A", {"Content-Type": "application/xml"}, text.encode())

    expected = {"version": "1.10", "n": "007", "big": "12345678901234567890"}
    assert (await client.json("/eureka/apps/A/i1"))["metadata"] == expected


async def test_enabled_is_always_a_string(client: Client) -> None:
    """P4: Go clients fail on a boolean."""
    await client.register(port={"$": "8080", "@enabled": True}, securePort={"$": 1, "@enabled": False})

    found = await client.json("/eureka/apps/A/i1")
    assert (found["port"], found["securePort"]) == (
        {"$": 8080, "@enabled": "true"},
        {"$": 1, "@enabled": "false"},
    )


@pytest.mark.parametrize(
    "accept", ["application/json, application/*+json", "application/json;q=0.9", "APPLICATION/JSON"]
)
async def test_single_instances_negotiate_like_lists(client: Client, accept: str) -> None:
    """P5."""
    await client.register()

    for path in ("/eureka/apps/A", "/eureka/apps/A/i1", "/eureka/instances/i1"):
        assert (await client("GET", path, {"Accept": accept})).headers["content-type"] == "application/json"


async def test_the_same_id_in_two_applications(client: Client) -> None:
    """P10, case 84; an override of one is not one of the other (case 135)."""
    await client.register("A")
    await client.register("B")
    await client("PUT", "/eureka/apps/A/i1/status?value=DOWN")
    await client.register("B")

    assert (await client.json("/eureka/apps"))["apps__hashcode"] == "DOWN_1_UP_1_"


async def test_a_store_that_is_down_refuses_the_write_and_keeps_renewing(clock: ManualClock) -> None:
    class Down(MemoryStore):
        is_down = False

        async def write(self, writes: Any) -> int:
            if self.is_down:
                raise StoreUnavailable("the disk is gone")
            return await super().write(writes)

    store = Down(clock)
    registry = Registry(store, clock)
    await registry.open()
    client = Client(registry)
    await client.register()
    store.is_down = True

    assert (await client.register(instance_id="i2")).status_code == 503
    assert (await client("PUT", "/eureka/apps/A/i1")).status_code == 200
    await client.close()
