"""Whole requests, from the path to the bytes of the answer, against a registry over memory."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from typing import Any
from xml.etree import ElementTree

import httpx
import msgspec
import pytest

from facade.clock import ManualClock
from facade.errors import StoreUnavailable
from facade.eureka.routes import EurekaFront, EurekaOptions
from facade.registry.model import Cause, Change, Status
from facade.registry.registry import Registry
from facade.stores.memory import MemoryStore
from tests.conftest import PassTime
from tests.eureka.registrations import AMAZON_CLASS, body, document, instance
from tests.registry.records import qualified, service

pytestmark = pytest.mark.anyio

AS_JSON = {"Accept": "application/json"}
JSON_BODY = {"Content-Type": "application/json"}
FROM_PEER = {"x-netflix-discovery-replication": "true"}


class Client:
    """Sends what it is told to send, and no headers of its own."""

    def __init__(self, registry: Registry, options: EurekaOptions | None = None) -> None:
        application = EurekaFront(registry, options)
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://eureka")

    async def __call__(
        self, method: str, path: str, headers: dict[str, str] | None = None, content: bytes = b""
    ) -> httpx.Response:
        request = self._http.build_request(method, path, headers=headers, content=content)
        for name in {"accept", "accept-encoding"} - {name.lower() for name in headers or {}}:
            del request.headers[name]
        return await self._http.send(request)

    async def register(self, app: str = "A", instance_id: str = "i1", **changes: Any) -> httpx.Response:
        headers = JSON_BODY | changes.pop("headers", {})
        return await self("POST", f"/eureka/apps/{app}", headers, body(app, instance_id, **changes))

    async def json(self, path: str) -> Any:
        answer = await self("GET", path, AS_JSON)
        assert answer.status_code == 200, answer.text
        (root,) = msgspec.json.decode(answer.content).values()
        return root

    async def close(self) -> None:
        await self._http.aclose()


@pytest.fixture
async def client(registry: Registry) -> AsyncIterator[Client]:
    client = Client(registry)
    yield client
    await client.close()


# Addresses

EMPTY = b'{"applications":{"versions__delta":"1","apps__hashcode":"","application":[]}}'


@pytest.mark.parametrize(
    "path",
    [
        "/eureka/apps",
        "/eureka/apps/",
        "/eureka//apps",
        "/eureka/v2/apps",
        "/eureka/V1/apps",
        "/eureka/apps;x=y",
        "/eureka/apps?regions=nowhere&foo=bar",
        "/t/default/default/-/eureka/apps",
        "/t/default/default/testing/eureka/v2/apps/",
    ],
)
async def test_addresses_of_the_registry(client: Client, path: str) -> None:
    answer = await client("GET", path, AS_JSON)

    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "application/json", EMPTY)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/eureka", 404),
        ("GET", "/eureka/", 404),
        ("GET", "/eureka/nosuch", 404),
        ("GET", "/eureka/v2", 404),
        ("GET", "/eureka/vips", 404),
        ("GET", "/eureka/instances", 404),
        ("GET", "/eureka/apps/A", 404),
        ("GET", "/eureka/apps/ALL_APPS", 404),
        ("GET", "/eureka/apps/A/i1", 404),
        ("GET", "/eureka/apps/A/a/b", 404),
        ("GET", "/eureka/instances/i1", 404),
        ("GET", "/t/default/default/-/elsewhere/apps", 404),
        ("PUT", "/eureka/apps/A/i1", 404),
        ("DELETE", "/eureka/apps/A/i1", 404),
        ("PUT", "/eureka/apps/A/i1/status?value=UP", 404),
        ("DELETE", "/eureka/apps/A/i1/status", 404),
        ("PUT", "/eureka/apps/A/i1/metadata?a=b", 404),
        ("PUT", "/eureka/apps", 405),
        ("DELETE", "/eureka/apps/A", 405),
        ("PATCH", "/eureka/apps/A/i1", 405),
        ("POST", "/eureka/apps/A/i1", 405),
        ("POST", "/eureka/apps/delta", 405),
        ("GET", "/eureka/apps/A/i1/status", 405),
        ("PUT", "/eureka/asg/x/status?value=ENABLED", 400),
        ("POST", "/eureka/apps/A", 415),
    ],
)
async def test_errors_are_empty(client: Client, method: str, path: str, status: int) -> None:
    """With a body on a 404 Netflix's own clients never register again (case 25)."""
    answer = await client(method, path)

    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (status, b"", "0")
    assert "content-type" not in answer.headers


async def test_allowed_methods_are_told(client: Client) -> None:
    refused, options = await client("PUT", "/eureka/apps"), await client("OPTIONS", "/eureka/apps")

    assert (refused.status_code, options.status_code) == (405, 200)
    assert refused.headers["allow"] == options.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_head_is_get_without_a_body(client: Client) -> None:
    answer = await client("HEAD", "/eureka/apps", AS_JSON)

    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", str(len(EMPTY)))


async def test_unwritable_formats_are_refused_for_reads_and_ignored_for_writes(client: Client) -> None:
    """Case 7."""
    assert (await client("GET", "/eureka/apps", {"Accept": "text/html"})).status_code == 406
    assert (await client.register(headers={"Accept": "text/html"})).status_code == 204


async def test_silence_gets_xml(client: Client) -> None:
    """py_eureka_client sends no Accept and parses XML whatever comes."""
    await client.register()
    answer = await client("GET", "/eureka/apps")

    assert answer.headers["content-type"] == "application/xml"
    assert ElementTree.fromstring(answer.content).findtext("application/instance/instanceId") == "i1"


async def test_gzip_is_labelled(client: Client) -> None:
    raw = await client("GET", "/eureka/apps", AS_JSON | {"Accept-Encoding": "gzip"})
    plain = await client("GET", "/eureka/apps", AS_JSON | {"Accept-Encoding": "gzip;q=0"})

    assert (raw.headers["content-encoding"], raw.content) == ("gzip", EMPTY)  # httpx has inflated it
    assert ("content-encoding" in plain.headers, plain.content) == (False, EMPTY)


@pytest.mark.parametrize(
    ("asked", "is_compact"), [("compact", True), ("COMPACT", True), ("full", False), ("[compact]", False)]
)
async def test_compact_documents_are_for_those_who_ask(client: Client, asked: str, is_compact: bool) -> None:
    await client.register()
    answer = await client("GET", "/eureka/apps", AS_JSON | {"X-Eureka-Accept": asked})
    single = await client("GET", "/eureka/apps/A/i1", AS_JSON | {"X-Eureka-Accept": asked})

    assert (b'"leaseInfo"' not in answer.content) is is_compact
    assert b'"leaseInfo"' in single.content


async def test_there_is_nothing_to_watch_here(registry: Registry) -> None:
    """A websocket handshake has no method; it is turned away, not a fault."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await EurekaFront(registry)({"type": "websocket", "path": "/eureka/apps", "headers": []}, receive, send)

    assert [message["type"] for message in sent] == ["websocket.close"]


# Registration


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


# Renewals


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


# Overrides and metadata


async def status_of(client: Client) -> tuple[str, str, str]:
    found = await client.json("/eureka/apps/A/i1")
    return found["status"], found["overriddenStatus"], found["actionType"]


async def test_an_override_holds_until_it_is_lifted(client: Client) -> None:
    """Cases 122-124, P7."""
    await client.register()
    answer = await client("PUT", "/eureka/apps/A/i1/status?value=OUT_OF_SERVICE")
    assert (answer.status_code, answer.content) == (200, b"")
    assert await status_of(client) == ("OUT_OF_SERVICE", "OUT_OF_SERVICE", "MODIFIED")
    overrides = await client("GET", "/eureka/serverinfo/statusoverrides")
    assert overrides.content == b'{"i1":"OUT_OF_SERVICE"}'

    await client.register()
    assert (await status_of(client))[:2] == ("OUT_OF_SERVICE", "OUT_OF_SERVICE")

    await client("DELETE", "/eureka/apps/A/i1/status?value=UP")
    assert (await status_of(client))[:2] == ("UP", "UNKNOWN")
    assert (await client("PUT", "/eureka/apps/A/i1")).status_code == 200


async def test_lifting_without_a_value_makes_the_owner_register(client: Client) -> None:
    """Cases 125 and 126, P7."""
    await client.register()
    assert (await client("DELETE", "/eureka/apps/A/i1/status")).status_code == 200
    assert (await status_of(client))[0] == "UP"

    await client("PUT", "/eureka/apps/A/i1/status?value=DOWN&value=UP")
    await client("DELETE", "/eureka/apps/A/i1/status")

    assert (await status_of(client))[:2] == ("UNKNOWN", "UNKNOWN")
    assert (await client("PUT", "/eureka/apps/A/i1")).status_code == 404
    await client.register()
    assert (await status_of(client))[0] == "UP"


@pytest.mark.parametrize(
    "query", ["", "?value=", "?value=up", "?value=FOO", "?value=UNKNOWN", "?value=DOWN&lastDirtyTimestamp=abc"]
)
async def test_a_bad_override_changes_nothing(client: Client, query: str) -> None:
    """Cases 128, 130 and 138."""
    await client.register()

    assert (await client("PUT", f"/eureka/apps/A/i1/status{query}")).status_code == 400
    assert await status_of(client) == ("UP", "UNKNOWN", "ADDED")


async def test_statuses_pass_unchanged(client: Client) -> None:
    """P7, case 99: also the rare ones, also in XML."""
    for status in ("STARTING", "DOWN", "UNKNOWN"):
        await client.register(instance_id=status, status=status)
        answer = await client("GET", f"/eureka/apps/A/{status}")
        assert ElementTree.fromstring(answer.content).findtext("status") == status


async def test_an_override_reaches_instances_of_the_other_protocol(client: Client, registry: Registry) -> None:
    """Drained in one, drained in both."""
    born_elsewhere = qualified(service("orders", "default"), "sc1", application="A")
    await registry.register(born_elsewhere)

    assert (await client("PUT", "/eureka/apps/A/sc1/status?value=OUT_OF_SERVICE")).status_code == 200

    held = registry.catalogue.instance(born_elsewhere.key)
    assert held is not None
    assert (held.status, held.override) == (Status.OUT_OF_SERVICE, Status.OUT_OF_SERVICE)


async def test_metadata_is_merged(client: Client) -> None:
    """Cases 139 and 140, P1: all else stays as it was."""
    await client.register(metadata={"zone": "z0", "keep": "me"})
    before = await client.json("/eureka/apps/A/i1")

    answer = await client("PUT", "/eureka/apps/A/i1/metadata?zone=z1&x=&flag&k=a+b%20c&a=1&a=2")

    assert (answer.status_code, answer.content) == (200, b"")
    after = await client.json("/eureka/apps/A/i1")
    assert after == before | {
        "metadata": {"zone": "z1", "keep": "me", "x": "", "flag": "", "k": "a b c", "a": "1"},
        "lastUpdatedTimestamp": after["lastUpdatedTimestamp"],
        "leaseInfo": after["leaseInfo"],
    }
    delta = (await client.json("/eureka/apps/delta"))["application"]
    assert [found["actionType"] for found in delta[0]["instance"]] == ["ADDED"]


# Gate, switches, status, peers


async def test_lists_are_refused_for_a_while_after_an_empty_start(registry: Registry, clock: ManualClock) -> None:
    """Case 103: clients keep the lists they have."""
    client = Client(registry, EurekaOptions(read_gate_s=40))
    await client.register()
    lists = ["apps", "apps/delta", "apps/A", "vips/v1", "svips/s1"]

    assert [(await client("GET", f"/eureka/{path}")).status_code for path in lists] == [403] * 5
    assert (await client("GET", "/eureka/apps/A/i1")).status_code == 200
    assert (await client("PUT", "/eureka/apps/A/i1")).status_code == 200
    clock.advance(40)
    assert [(await client("GET", f"/eureka/{path}")).status_code for path in lists] == [200] * 5
    await client.close()


async def test_lists_are_open_at_once_when_the_store_remembers(registry: Registry) -> None:
    await registry.register(instance())
    client = Client(registry, EurekaOptions(read_gate_s=40))

    assert (await client("GET", "/eureka/apps")).status_code == 200
    await client.close()


async def test_the_delta_can_be_switched_off(registry: Registry) -> None:
    """Case 104."""
    client = Client(registry, EurekaOptions(disable_delta=True))

    assert (await client("GET", "/eureka/apps/delta")).status_code == 403
    assert (await client("GET", "/eureka/apps")).status_code == 200
    await client.close()


async def test_an_application_may_be_called_delta(client: Client) -> None:
    """Case 85."""
    assert (await client.register("DELTA")).status_code == 204

    assert (await client.json("/eureka/apps/DELTA"))["name"] == "DELTA"
    assert "apps__hashcode" in await client.json("/eureka/apps/delta")
    assert (await client("PUT", "/eureka/apps/delta/i1")).status_code == 200


async def test_the_status_is_complete(client: Client) -> None:
    """Case 105: the original's JSON breaks off in the middle."""
    answer = await client("GET", "/eureka/status", AS_JSON)
    in_xml = ElementTree.fromstring((await client("GET", "/eureka/status")).content)

    status = msgspec.json.decode(answer.content)
    assert list(status) == ["generalStats", "applicationStats", "instanceInfo", "healthy"]
    assert status["healthy"] is True
    assert [child.tag for child in in_xml] == ["generalStats", "applicationStats", "instanceInfo", "isHeathly"]


async def batch(client: Client, *items: dict[str, Any]) -> list[dict[str, Any]]:
    content = msgspec.json.encode({"replicationList": items})
    answer = await client("POST", "/eureka/peerreplication/batch/", JSON_BODY, content)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    results: list[dict[str, Any]] = msgspec.json.decode(answer.content)["responseList"]
    return results


def item(action: str | None, instance_id: str = "i1", **more: Any) -> dict[str, Any]:
    return {"appName": "A", "id": instance_id, "action": action} | more


async def test_a_peer_tells_of_what_it_heard(client: Client) -> None:
    """Cases 169-171, 173-175 and 177."""
    assert await batch(client) == []
    results = await batch(
        client,
        item("Register", instanceInfo=document()),
        item("Heartbeat", lastDirtyTimestamp=1000),
        item("Heartbeat", "nobody"),
        item("Heartbeat", lastDirtyTimestamp=1001),
        item("StatusUpdate", status="DOWN", lastDirtyTimestamp=1000),
        item("StatusUpdate", status="foo"),
        item("DeleteStatusOverride", status="UP"),
        item("Cancel", "nobody"),
        item("Register"),
        item(None),
    )

    assert [result["statusCode"] for result in results] == [200, 200, 404, 404, 200, 500, 200, 404, 500, 500]
    (stale,) = await batch(client, item("Heartbeat", lastDirtyTimestamp=999))
    assert (stale["statusCode"], stale["responseEntity"]["instanceId"]) == (409, "i1")
    assert await batch(client, item("Cancel"), item("Cancel")) == [{"statusCode": 200}, {"statusCode": 404}]


async def test_a_peers_status_counts_where_a_clients_would_not(client: Client) -> None:
    """Case 182: the existing lease has no say in it."""
    await client.register()
    await client.register(status="OUT_OF_SERVICE")
    assert (await status_of(client))[0] == "UP"

    await batch(client, item("Register", instanceInfo=document(status="OUT_OF_SERVICE")))

    assert (await status_of(client))[0] == "OUT_OF_SERVICE"


async def test_a_batch_that_means_nothing_is_refused_whole(client: Client) -> None:
    """Cases 178 and 179."""
    items = [item("Register", instanceInfo=document()), item("Explode")]
    for content in (b"", b"{}", b"null", msgspec.json.encode({"replicationList": items})):
        assert (await client("POST", "/eureka/peerreplication/batch", JSON_BODY, content)).status_code == 400

    assert (await client("GET", "/eureka/apps/A/i1")).status_code == 404


async def test_changes_carry_their_cause(client: Client, registry: Registry) -> None:
    causes: list[Cause] = []
    registry.feed.follow(lambda change: causes.append(change.cause))

    await client.register()
    await client("PUT", "/eureka/apps/A/i1/status?value=DOWN")
    await client("PUT", "/eureka/apps/A/i1/metadata?a=b")
    await client("DELETE", "/eureka/apps/A/i1")

    assert causes == [Cause.REGISTERED, Cause.AMENDED, Cause.REGISTERED, Cause.CANCELLED]
