"""B3-B8 on Eureka's front, through the whole application: whatever a client states, every reader reads on.

Nothing is a 5xx, nothing comes back as markup, as a header or as a second line, in either protocol or on the dashboard.
"""

from __future__ import annotations

import copy
import gzip
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import httpx
import pytest

from facade.clock import ManualClock
from facade.eureka.records import TEXT_FIELDS
from facade.stores.memory import MemoryStore
from tests.flows.product import Product, eureka_document, product

pytestmark = pytest.mark.anyio

AS_JSON, AS_XML = {"Content-Type": "application/json"}, {"Content-Type": "application/xml"}
COMPACT = {"X-Eureka-Accept": "compact"}

HOSTILE = {
    "markup": '"><script>alert(1)</script><img src=x onerror=alert(1)>',
    "an end of everything": "]]>--></name></instance></textarea></script>'\"",
    "an entity": "&lt;&xxe;&#0;&amp;",
    "a header": "a\r\nX-Injected: 1\r\n\r\n<html>",
    "a header, quoted": "a%0d%0aX-Injected: 1",
    "a terminal's escape": "\x1b[2J\x1b]0;owned\x07\x9b31m",
    "other line ends": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "NUL": "a\x00b",
    "no character": "a\ufffe\uffff",
    "backwards": "\u202eevil",
    "a format": "%s%n{0}{{7*7}}${jndi:ldap://127.0.0.1/a}",
    "an address": "javascript:alert(1)",
    "a path": "../../../etc/passwd",
}
WRONG: tuple[object, ...] = (
    None, True, False, 0, -1, 1.5, 1e300, 10**30, "", " ", "x", "UP", "x" * 10_000, [], [[]], [1], {}, {"$": {}},
    {"@class": "java.lang.Object"}, {"a": {"b": ["c"]}}, ["java.util.HashMap", {}],
)  # fmt: skip

WHOLE: dict[str, Any] = eureka_document("ODD", "odd") | {
    "sid": "s",
    "overriddenStatus": "UNKNOWN",
    "overriddenstatus": "UNKNOWN",
    "securePort": {"$": 443, "@enabled": "true"},
    "countryId": 1,
    "dataCenterInfo": {
        "@class": "com.netflix.appinfo.AmazonInfo",
        "name": "Amazon",
        "metadata": {"instance-id": "odd", "ami-id": "a"},
    },
    "leaseInfo": {
        "renewalIntervalInSecs": 30,
        "durationInSecs": 90,
        "registrationTimestamp": 1,
        "lastRenewalTimestamp": 1,
        "evictionTimestamp": 0,
        "serviceUpTimestamp": 1,
    },
    "metadata": {"zone": "z", "@class": "java.util.Collections$EmptyMap"},
    "appGroupName": "g",
    "homePageUrl": "http://h/",
    "statusPageUrl": "http://h/s",
    "healthCheckUrl": "http://h/h",
    "secureHealthCheckUrl": "https://h/h",
    "secureVipAddress": "v",
    "isCoordinatingDiscoveryServer": "false",
    "lastUpdatedTimestamp": "1",
    "actionType": "ADDED",
    "asgName": "a",
}
"""Every field that there is, with a value that a client would state."""

REQUIRED = {"hostName", "app", "ipAddr", "dataCenterInfo", "dataCenterInfo.name"}
"""Of the others none has to be there: of an id, Amazon's or the host's name is one."""

Path = tuple[str, ...]


def paths_of(document: dict[str, Any], above: Path = ()) -> Iterator[Path]:
    """Every field, and those inside, whatever the list of fields becomes."""
    for name, value in document.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from paths_of(value, (*above, name))


def with_value(document: dict[str, Any], path: Path, value: object) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    inside = changed
    for name in path[:-1]:
        inside = inside[name]
    inside[path[-1]] = value
    return changed


def without(document: dict[str, Any], path: Path) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    inside = changed
    for name in path[:-1]:
        inside = inside[name]
    del inside[path[-1]]
    return changed


def as_xml(document: dict[str, Any]) -> str:
    """As an XML client writes it: keys with an @ are attributes, a $ is the text."""
    return f"<instance>{_elements(document)}</instance>"


def _elements(fields: dict[str, Any]) -> str:
    elements = []
    for name, value in fields.items():
        inside = value if isinstance(value, dict) else {"$": str(value)}
        attributes = "".join(f" {key[1:]}={quoteattr(of)}" for key, of in inside.items() if key.startswith("@"))
        children = {key: of for key, of in inside.items() if key[0] not in "@$"}
        text = escape(str(inside.get("$", "")))
        elements.append(f"<{name}{attributes}>{text}{_elements(children)}</{name}>" if name[0] not in "@$" else "")
    return "".join(elements)


PATHS = list(paths_of(WHOLE))
OPTIONAL = [path for path in PATHS if ".".join(path) not in REQUIRED]


@pytest.fixture
async def server() -> AsyncIterator[Product]:
    """With one good instance of each protocol; both are still there at the end, in every form."""
    clock = ManualClock()
    async with product(MemoryStore(clock), clock) as server:
        assert (await server.register_eureka("GOOD", "good")).status_code == 204
        service = await server.create_service("good-go")
        assert (await server.register_servicecenter(service, "good-go-1")).status_code == 200
        yield server
        await assert_readable(server)


async def assert_readable(server: Product) -> None:
    """The lists in every form, the other protocol, and the page for people."""
    for path in ("apps", "apps/delta"):
        for form in ({}, COMPACT):
            as_json = await server.http.get(f"/eureka/{path}", headers={"Accept": "application/json", **form})
            applications = json.loads(as_json.content)["applications"]["application"]
            assert "GOOD" in [one["name"] for one in applications]
            in_xml = await server.http.get(f"/eureka/{path}", headers={"Accept": "application/xml", **form})
            assert "GOOD" in [name.text for name in ElementTree.fromstring(in_xml.content).iter("name")]
    assert (await server.http.get("/eureka/vips/good")).status_code == 200
    assert (await server.http.get("/services")).status_code == 200
    assert [one["instanceId"] for one in await server.found("good-go")] == ["good-go-1"]


async def post(server: Product, document: object, application: str = "ODD") -> int:
    content = json.dumps({"instance": document}).encode()
    answer = await server.http.post(f"/eureka/apps/{quote(application, safe='')}", content=content, headers=AS_JSON)
    if answer.status_code == 400 and answer.headers["content-type"] != "text/plain":
        assert list(json.loads(answer.content)) == ["error"]
    return answer.status_code


# Types and fields


@pytest.mark.parametrize("path", PATHS, ids=".".join)
async def test_a_wrong_type_for_any_field_is_taken_or_refused(server: Product, path: Path) -> None:
    """B4: as the field, and inside it; Eureka takes many."""
    for number, value in enumerate(WRONG):
        document = WHOLE | {"instanceId": f"odd-{number}", "hostName": f"odd-{number}"}
        assert await post(server, with_value(document, path, value)) in (204, 400), value


@pytest.mark.parametrize("path", OPTIONAL, ids=".".join)
@pytest.mark.parametrize("form", ["json", "xml"])
async def test_any_optional_field_may_be_missing(server: Product, path: Path, form: str) -> None:
    """B4, Netflix/eureka 1541: a 500 for each of some."""
    document = without(WHOLE, path)
    content = json.dumps({"instance": document}) if form == "json" else as_xml(document)
    is_empty_port = form == "xml" and path[-1] == "$"  # case 79: the original refuses that

    answer = await server.http.post(
        "/eureka/apps/ODD", content=content.encode(), headers=AS_JSON if form == "json" else AS_XML
    )

    assert answer.status_code == (400 if is_empty_port else 204), answer.text


@pytest.mark.parametrize("path", [path for path in PATHS if ".".join(path) in REQUIRED], ids=".".join)
@pytest.mark.parametrize("form", ["json", "xml"])
async def test_a_required_field_has_to_be_there(server: Product, path: Path, form: str) -> None:
    document = without(WHOLE | {"dataCenterInfo": {"name": "MyOwn"}}, path)
    content = json.dumps({"instance": document}) if form == "json" else as_xml(document)

    answer = await server.http.post(
        "/eureka/apps/ODD", content=content.encode(), headers=AS_JSON if form == "json" else AS_XML
    )

    assert answer.status_code == 400


XML_VALUES = (
    "",
    " ",
    "x",
    "-1",
    "1.5",
    "9" * 400,
    "<a/>",
    "<a><b>c</b></a>",
    "x<a/>y",
    "<![CDATA[<x>]]>",
    "<!-- - -->",
)


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "overriddenstatus"])
async def test_a_wrong_element_for_any_field_is_taken_or_refused(server: Product, name: str) -> None:
    good = as_xml(without(WHOLE, (name,)))
    for value in XML_VALUES:
        for element in (f"<{name}>{value}</{name}>", f"<{name} class='x' enabled='x'>{value}</{name}>" * 2):
            content = good.replace("</instance>", f"{element}</instance>")
            answer = await server.http.post("/eureka/apps/ODD", content=content.encode(), headers=AS_XML)
            assert answer.status_code in (204, 400), (element, answer.text)


BATCH_ITEM = {
    "appName": "ODD",
    "id": "odd",
    "lastDirtyTimestamp": 1000,
    "overriddenStatus": "UNKNOWN",
    "status": "UP",
    "instanceInfo": WHOLE,
    "action": "Register",
}


@pytest.mark.parametrize("name", BATCH_ITEM)
@pytest.mark.parametrize("action", ["Register", "Heartbeat", "Cancel", "StatusUpdate", "DeleteStatusOverride"])
async def test_a_wrong_type_for_any_field_of_a_batch_is_taken_or_refused(
    server: Product, name: str, action: str
) -> None:
    item = BATCH_ITEM | {"action": action}
    for items in ([item | {name: value} for value in WRONG], [without(item, (name,))]):
        for one in items:
            answer = await server.http.post("/eureka/peerreplication/batch/", json={"replicationList": [one]})
            assert answer.status_code in (200, 400), one
            if answer.status_code == 200:
                assert len(answer.json()["responseList"]) == 1


@pytest.mark.parametrize("value", WRONG, ids=repr)
async def test_a_wrong_type_around_an_instance_or_a_batch_is_refused(server: Product, value: object) -> None:
    for content in (value, {"instance": value}, [value], {"instance": WHOLE, "other": value}):
        answer = await server.http.post("/eureka/apps/ODD", content=json.dumps(content).encode(), headers=AS_JSON)
        assert answer.status_code == 400
    for content in (value, {"replicationList": value}, {"replicationList": [value]}, [value]):
        body = json.dumps(content).encode()
        answer = await server.http.post("/eureka/peerreplication/batch/", content=body, headers=AS_JSON)
        assert answer.status_code in (200, 400)


BOMBS = {
    "quadratic": f'<!DOCTYPE a [<!ENTITY a "{"x" * 50_000}">]><instance><app>{"&a;" * 50_000}</app></instance>',
    "attributes": "<instance " + " ".join(f'a{number}="1"' for number in range(20_000)) + "><app>A</app></instance>",
    "one long attribute": f"<instance a='{'x' * 250_000}'/>",
    "a long name": f"<{'x' * 200_000}/>",
    "comments": f"<instance>{'<!---->' * 30_000}</instance>",
    "instructions": f"<instance>{'<?x?>' * 40_000}</instance>",
    "name spaces": "<instance " + " ".join(f'xmlns:n{number}="u"' for number in range(10_000)) + "/>",
    "references": f"<instance><name>{'&#65;' * 50_000}</name></instance>",
    "wider than is read": f"<instance>{'<a/>' * 300_000}</instance>",
    "an inclusion": '<instance xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd"/></instance>',
    "a style sheet": '<?xml-stylesheet href="http://127.0.0.1:9/"?><instance/>',
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
async def test_xml_bombs_are_refused_soon(server: Product, content: str) -> None:
    """B3, beside those of test_bad_input.py. The bound is ten times what one may cost: the machine may be busy."""
    began_s = time.process_time()
    answer = await server.http.post("/eureka/apps/ODD", content=content.encode(), headers=AS_XML)

    assert answer.status_code in (400, 413)
    assert time.process_time() - began_s < 0.5


@pytest.mark.parametrize("times", [2, 500])
async def test_of_equal_keys_the_last_counts(server: Product, times: int) -> None:
    """B4: as with Netflix's decoder."""
    twice = '"status": "DOWN", ' * (times - 1) + '"status": "OUT_OF_SERVICE", '
    content = json.dumps({"instance": eureka_document("ODD", "odd")}).replace('"status": "UP", ', twice)
    answer = await server.http.post("/eureka/apps/ODD", content=content.encode(), headers=AS_JSON)

    assert answer.status_code == 204
    assert (await server.in_eureka())["odd"]["status"] == "OUT_OF_SERVICE"


# Injection


@pytest.mark.parametrize("name", [*TEXT_FIELDS, "metadata", "metadata key", "amazon", "amazon key"])
async def test_no_text_becomes_markup_a_header_or_a_line(server: Product, name: str) -> None:
    """B7, B8, B9: what was stated is what is read, as text."""
    singles = []
    for number, text in enumerate(HOSTILE.values()):
        document = _hostile(name, text, f"odd-{number}")
        assert await post(server, document, str(document["app"])) == 204

        instance_id = quote(str(document["instanceId"]), safe="")
        singles.append(f"/eureka/apps/{quote(str(document['app']).upper(), safe='')}/{instance_id}")
        found = await server.http.get(singles[-1], headers={"Accept": "application/json"})
        assert found.json()["instance"].items() >= _as_read_back(document).items()

    for path in (*singles, "/eureka/apps", "/eureka/apps/delta", "/", "/services", "/metrics", "/eureka/status"):
        for accept in ("application/xml", "application/json"):
            for form in ({}, COMPACT):
                answer = await server.http.get(path, headers={"Accept": accept, **form})
                assert answer.status_code == 200
                assert_harmless(answer)


def _hostile(name: str, text: str, instance_id: str) -> dict[str, Any]:
    document = eureka_document("ODD", instance_id)
    match name:
        case "metadata":
            return document | {"metadata": {"key": text}}
        case "metadata key":
            return document | {"metadata": {text: "value"}}
        case "amazon" | "amazon key":
            data = {text: "value"} if name.endswith("key") else {"public-hostname": text}
            return document | {"dataCenterInfo": {"name": "Amazon", "metadata": {"instance-id": instance_id} | data}}
    return document | {name: text}


def _as_read_back(document: dict[str, Any]) -> dict[str, Any]:
    document = {name: value for name, value in document.items() if name != "dataCenterInfo"}
    return document | {name: str(document[name]).upper() for name in ("app", "appGroupName") if name in document}


def assert_harmless(answer: httpx.Response) -> None:
    """It is what it says it is, and nothing of what was sent has become more than text."""
    assert "x-injected" not in answer.headers
    match answer.headers.get("content-type", "").partition(";")[0]:
        case "application/json":
            json.loads(answer.content)
        case "application/xml":
            ElementTree.fromstring(answer.content)
        case "text/html":
            assert "<script>alert" not in answer.text
            assert "<img src=x" not in answer.text
            assert 'href="javascript:' not in answer.text
        case "text/plain":  # Prometheus' figures, or a refusal in the client's own words
            assert answer.status_code == 200 or answer.headers["x-content-type-options"] == "nosniff"
        case other:
            assert (other, answer.content) == ("", b"")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
async def test_a_refusal_says_what_was_sent_as_text_only(server: Product, text: str) -> None:
    """Reflected in JSON, in XML, and as plain text: never as anything that a browser would run."""
    documents = [
        eureka_document(text, "odd"),
        *(
            eureka_document("ODD", "odd", **{field: value})
            for field, value in (
                ("port", text),
                ("metadata", text),
                ("leaseInfo", text),
                ("dataCenterInfo", {"@class": text}),
                ("dataCenterInfo", {"name": text}),
            )
        ),
    ]
    for_xml = "".join(char for char in text if char.isprintable() and char not in "\ufffe\uffff")
    in_xml = as_xml(eureka_document("ODD", "odd", dataCenterInfo={"name": for_xml}))
    sent = [(json.dumps({"instance": document}), AS_JSON) for document in documents] + [(in_xml, AS_XML)]

    for content, headers in sent:
        answer = await server.http.post("/eureka/apps/ODD", content=content.encode(), headers=headers)

        assert answer.status_code in (400, 415)
        assert_harmless(answer)


IDS = [
    *("a:b:8080", "100%", "%2F", "%252F", "a/b", "a b", " ", "a\tb", "a\r\nb", "\x00", "\x7f", "ü", "\u202ea", "a;b=c"),
    *("a?b", "a#b", "..", ".", "a\\b", "+", "'\"<>&", "x" * 1000),
]


@pytest.mark.parametrize("instance_id", IDS, ids=ascii)
async def test_any_id_is_kept_to_the_letter_and_reached_by_its_quoted_form(server: Product, instance_id: str) -> None:
    """B7, Netflix/eureka 796: such an instance could not be removed."""
    where = f"http://registry.test/eureka/apps/ODD/{quote(instance_id, safe='').replace('.', '%2E')}"

    assert await post(server, eureka_document("ODD", instance_id)) == 204

    found = await server.http.get(where, headers={"Accept": "application/json"})
    assert found.json()["instance"]["instanceId"] == instance_id
    assert (await server.http.put(where)).status_code == 200
    assert (await server.http.put(f"{where}/status?value=DOWN")).status_code == 200
    assert (await server.http.put(f"{where}/metadata?{urlencode({instance_id: instance_id})}")).status_code == 200
    held = (await server.in_eureka())[instance_id]
    assert (held["status"], held["metadata"]) == ("DOWN", {instance_id: instance_id})
    overrides = await server.http.get("/eureka/serverinfo/statusoverrides")
    assert overrides.json() == {instance_id: "DOWN"}
    assert (await server.http.delete(f"{where}/status?value=UP")).status_code == 200
    assert (await server.http.delete(where)).status_code == 200
    assert (await server.http.get(where)).status_code == 404


# Parameters


PARAMETERS = [
    *("", "x", "us-east-1", "a,b,,", "../..", "<script>", "%00", "%0d%0aX-Injected:%201", "%ff", "9" * 5_000),
    *("UP&value=DOWN", "%"),
]


@pytest.mark.parametrize("value", PARAMETERS)
async def test_regions_and_other_parameters_of_reads_change_nothing(server: Product, value: str) -> None:
    for path in ("apps", "apps/delta", "apps/GOOD", "apps/GOOD/good", "vips/good", "status"):
        for name in ("regions", "region", "zone", "odd", ""):
            answer = await server.http.get(f"/eureka/{path}?{name}={value}", headers={"Accept": "application/json"})
            assert answer.status_code == 200
            assert "x-injected" not in answer.headers
    assert "GOOD" in (await server.http.get(f"/eureka/apps?regions={value}")).text


@pytest.mark.parametrize("value", PARAMETERS)
async def test_scaling_groups_are_refused_whatever_is_said_of_them(server: Product, value: str) -> None:
    for name in ("asg", "a%2Fb", "%00", "<script>", "x" * 2_000):
        answer = await server.http.put(f"/eureka/asg/{name}/status?value={value}")
        assert (answer.status_code, answer.content) == (400, b"")


@pytest.mark.parametrize("value", PARAMETERS)
@pytest.mark.parametrize("name", ["value", "lastDirtyTimestamp", "status", "overriddenstatus"])
async def test_parameters_of_writes_mean_something_or_are_refused(server: Product, name: str, value: str) -> None:
    replicated = {"x-netflix-discovery-replication": "true"}
    for method, path in (
        ("PUT", "apps/GOOD/good"),
        ("PUT", "apps/GOOD/good/status"),
        ("DELETE", "apps/GOOD/good/status"),
        ("PUT", "apps/GOOD/good/metadata"),
    ):
        for headers in ({}, replicated):
            answer = await server.http.request(method, f"/eureka/{path}?{name}={value}", headers=headers)
            assert answer.status_code in (200, 400)
            assert "x-injected" not in answer.headers


# Encodings and labels


GOOD_JSON = json.dumps({"instance": eureka_document("ODD", "odd", metadata={"key": "ü"})}, ensure_ascii=False)
GOOD_XML = as_xml(eureka_document("ODD", "odd", dataCenterInfo={"name": "MyOwn"}, metadata={"key": "ü"}))


@pytest.mark.parametrize(
    ("content", "content_type", "status", "key"),
    [
        pytest.param(GOOD_JSON.encode(), "application/json;charset=utf-8", 204, "ü", id="json"),
        pytest.param(b"\xef\xbb\xbf" + GOOD_JSON.encode(), "application/json", 204, "ü", id="json-bom"),
        pytest.param(GOOD_JSON.encode("latin-1"), "application/json;charset=ISO-8859-1", 204, "ü", id="json-latin-1"),
        pytest.param(GOOD_JSON.encode("latin-1"), "application/json", 400, None, id="json-latin-1-unsaid"),
        pytest.param(GOOD_JSON.encode("utf-16"), "application/json", 400, None, id="json-utf-16"),
        pytest.param(GOOD_JSON.encode("utf-16"), "application/json;charset=utf-16", 415, None, id="json-utf-16-said"),
        pytest.param(GOOD_JSON.encode("utf-32"), "application/json", 400, None, id="json-utf-32"),
        pytest.param(GOOD_JSON.encode("utf-7"), "application/json;charset=utf-7", 415, None, id="json-utf-7"),
        pytest.param(GOOD_JSON.encode(), "application/json;charset=odd", 415, None, id="json-odd-charset"),
        pytest.param(GOOD_XML.encode(), "application/xml", 204, "ü", id="xml"),
        pytest.param(b"\xef\xbb\xbf" + GOOD_XML.encode(), "application/xml", 204, "ü", id="xml-bom"),
        pytest.param(GOOD_XML.encode("utf-16"), "application/xml", 204, "ü", id="xml-utf-16"),
        pytest.param(
            b'<?xml version="1.0" encoding="iso-8859-1"?>' + GOOD_XML.encode("latin-1"), "application/xml", 204, "ü",
            id="xml-latin-1",
        ),
        pytest.param(GOOD_XML.encode("latin-1"), "application/xml", 400, None, id="xml-latin-1-unsaid"),
        pytest.param(
            b'<?xml version="1.0" encoding="utf-7"?>' + GOOD_XML.encode("utf-7"), "application/xml", 400, None,
            id="xml-utf-7",
        ),
        pytest.param(
            f'<?xml version="1.0" encoding="cp037"?>{GOOD_XML}'.encode("cp037"), "application/xml", 400, None,
            id="xml-ebcdic",
        ),
        pytest.param(
            b'<?xml version="1.0" encoding="odd"?>' + GOOD_XML.encode(), "application/xml", 400, None, id="xml-odd",
        ),
    ],
)  # fmt: skip
async def test_encodings_are_read_or_refused_and_never_guessed(
    server: Product, content: bytes, content_type: str, status: int, key: str | None
) -> None:
    answer = await server.http.post("/eureka/apps/ODD", content=content, headers={"Content-Type": content_type})

    assert answer.status_code == status, answer.text
    if key is not None:
        assert (await server.in_eureka())["odd"]["metadata"] == {"key": key}


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (GOOD_JSON, "application/xml"),
        (GOOD_XML, "application/json"),
        (GOOD_JSON, "text/html"),
        (GOOD_JSON, "multipart/form-data; boundary=x"),
        (GOOD_JSON, "application/x-www-form-urlencoded"),
        (GOOD_JSON, "application/json, application/xml"),
        (GOOD_JSON, "application/jsonp"),
        (GOOD_XML, "application/soap+xml"),
        (GOOD_JSON, ";"),
        (GOOD_JSON, "x" * 5_000),
    ],
)
async def test_a_body_is_read_as_it_is_labelled_or_not_at_all(server: Product, content: str, content_type: str) -> None:
    answer = await server.http.post(
        "/eureka/apps/ODD", content=content.encode(), headers={"Content-Type": content_type}
    )

    assert answer.status_code in (400, 415)
    assert "odd" not in await server.in_eureka()


def _gzipped(content: bytes, times: int = 1) -> bytes:
    for _ in range(times):
        content = gzip.compress(content, mtime=0)
    return content


@pytest.mark.parametrize(
    ("content", "coding", "statuses"),
    [
        pytest.param(_gzipped(GOOD_JSON.encode()), "gzip", {204}, id="good"),
        pytest.param(_gzipped(GOOD_JSON.encode()), "GZip", {204}, id="upper case"),
        pytest.param(_gzipped(b" " * 300_000 + GOOD_JSON.encode()), "gzip", {413}, id="one byte too many and more"),
        pytest.param(_gzipped(_gzipped(b" " * 50_000_000)), "gzip", {400, 413}, id="bomb in a bomb"),
        pytest.param(_gzipped(GOOD_JSON.encode(), 2), "gzip, gzip", {415}, id="twice, said"),
        pytest.param(_gzipped(GOOD_JSON.encode(), 2), "gzip", {400}, id="twice, unsaid"),
        pytest.param(_gzipped(GOOD_JSON.encode())[:-9], "gzip", {400}, id="cut"),
        pytest.param(_gzipped(GOOD_JSON.encode())[:-8] + bytes(8), "gzip", {400}, id="wrong sum"),
        pytest.param(b"", "gzip", {400}, id="empty"),
        pytest.param(b"\x1f\x8b\x08\x1c" + b"\xff" * 100, "gzip", {400}, id="odd head"),
        pytest.param(_gzipped(b"") * 5_000, "gzip", {400}, id="many empty members"),
        pytest.param(GOOD_JSON.encode(), "gzip", {400}, id="not at all"),
        pytest.param(_gzipped(GOOD_JSON.encode()), "identity", {400}, id="unsaid"),
        pytest.param(GOOD_JSON.encode(), "br", {415}, id="another"),
        pytest.param(GOOD_JSON.encode(), "\u00fc<script>", {415}, id="none"),
    ],
)
async def test_compressed_bodies_are_read_within_bounds(
    server: Product, content: bytes, coding: str, statuses: set[int]
) -> None:
    """B5."""
    headers = [(b"Content-Type", b"application/json"), (b"Content-Encoding", coding.encode())]

    answer = await server.http.post("/eureka/apps/ODD", content=content, headers=headers)

    assert answer.status_code in statuses
