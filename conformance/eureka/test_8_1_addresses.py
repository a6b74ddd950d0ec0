"""Addresses, methods, negotiation (cases 1-29)."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import httpx
import pytest

from conformance.eureka.client import COMPACT, JSON, XML, Eureka, hash_of, registration
from conformance.eureka.conftest import Expected, Refused
from conformance.peers.patience import PATIENCE_S

EMPTY = b'{"applications":{"versions__delta":"1","apps__hashcode":"","application":[]}}'
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize("path", [pytest.param("apps", id="case001"), pytest.param("apps/", id="case002-slash")])
def test_an_empty_registry_as_json(empty_eureka: Eureka, path: str) -> None:
    answer = empty_eureka.get(path, headers=JSON)

    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "application/json", EMPTY)


def test_003_an_empty_registry_as_xml(empty_eureka: Eureka) -> None:
    answer = empty_eureka.get("apps")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/xml")
    root = ElementTree.fromstring(answer.content)
    assert root.tag == "applications"
    assert [(child.tag, child.text or "") for child in root] == [("versions__delta", "1"), ("apps__hashcode", "")]


@pytest.mark.parametrize(
    ("accept", "written", "labelled"),
    [
        pytest.param(None, "xml", "xml", id="case003-nothing"),
        pytest.param("*/*", "xml", "xml", id="case004-anything"),
        pytest.param("application/*", "xml", "xml", id="case004-any-application"),
        pytest.param("application/json, application/*+json", "json", "json", id="case005-resttemplate"),
        pytest.param(BROWSER, "xml", "xml", id="case008-browser"),
    ],
)
@pytest.mark.parametrize("path", ["apps", "apps/delta"])
def test_format(eureka: Eureka, path: str, accept: str | None, written: str, labelled: str) -> None:
    answer = eureka.get(path, headers={"Accept": accept} if accept else {})

    assert (answer.status_code, _format(answer), answer.headers["content-type"]) == (
        200,
        written,
        f"application/{labelled}",
    )


def test_006_json_by_suffix_alone(eureka: Eureka, expected: Expected) -> None:
    answer = eureka.get("apps", headers={"Accept": "application/*+json"})

    assert answer.status_code == expected(6, ours=200, real=406)
    if answer.status_code == 200:
        assert (_format(answer), answer.headers["content-type"]) == ("json", "application/json")


@pytest.mark.parametrize("accept", ["text/html", "text/plain"])
def test_007_a_format_that_nobody_writes(eureka: Eureka, accept: str, refused: Refused) -> None:
    """measured: for text/html the original's body is a page whose length varies, not always 280 bytes."""
    refused(eureka.get("apps", headers={"Accept": accept}), 406)


def test_007_writes_that_accept_html(eureka: Eureka, app: str, expected: Expected) -> None:
    answer = eureka.register(app, headers={"Accept": "text/html"})

    assert answer.status_code == expected(7, ours=204, real=406)
    assert len(eureka.listed(app)) == expected(7, ours=1, real=0)


def test_009_either_format_with_its_true_label(eureka: Eureka, expected: Expected) -> None:
    answer = eureka.get("apps", headers={"Accept": "application/xml, application/json"})

    label = answer.headers["content-type"]
    assert (answer.status_code, label) == (
        200,
        expected(9, ours=f"application/{_format(answer)}", real="application/xml"),
    )
    assert _format(answer) == expected(9, ours=_format(answer), real="json")


def test_010_media_types_in_upper_case(eureka: Eureka, expected: Expected) -> None:
    """measured: the original labels its XML as it was asked to, "application/JSON" included."""
    answer = eureka.get("apps", headers={"Accept": "application/JSON"})

    assert answer.status_code == 200
    assert _format(answer) == expected(10, ours="json", real="xml")
    assert answer.headers["content-type"] == expected(10, ours="application/json", real="application/JSON")


def test_011_quality_values_count_on_single_instances(eureka: Eureka, app: str) -> None:
    eureka.given(app)

    answer = eureka.get(f"apps/{app}/i1", headers={"Accept": "application/json;q=0.1, application/xml"})

    assert (_format(answer), answer.headers["content-type"]) == ("xml", "application/xml")


@pytest.mark.parametrize(
    ("coding", "ours", "real"),
    [
        pytest.param("gzip", "gzip", "gzip", id="case012-gzip"),
        pytest.param(None, None, None, id="case012-none"),
        pytest.param("x-gzip", "gzip", "gzip", id="case013-x-gzip"),
        pytest.param("gzip;q=0", None, "gzip", id="case013-refused-gzip"),
        pytest.param("deflate", None, None, id="case014-deflate"),
    ],
)
@pytest.mark.parametrize("path", ["apps", "apps/delta"])
def test_compression(
    eureka: Eureka, app: str, path: str, coding: str | None, ours: str | None, real: str | None, expected: Expected
) -> None:
    eureka.given(app)

    answer = eureka.get(path, headers=JSON | ({"Accept-Encoding": coding} if coding else {}))

    assert answer.status_code == 200
    coded = ours if ours == real else expected(13, ours=ours, real=real)
    assert answer.headers.get("content-encoding") == coded
    plain = eureka.json(path)
    assert _without_version(json.loads(answer.content)["applications"]) == _without_version(plain)


def test_012_the_gzipped_bytes_have_a_length(eureka: Eureka) -> None:
    with httpx.stream("GET", f"{eureka.url}{eureka.base}/apps", headers=JSON | {"Accept-Encoding": "gzip"}) as answer:
        packed = b"".join(answer.iter_raw())

    assert len(packed) == int(answer.headers["content-length"])
    assert gzip.decompress(packed) == eureka.get("apps", headers=JSON).content


@pytest.mark.parametrize(
    ("value", "is_compact"),
    [
        pytest.param("compact", True, id="case015-compact"),
        pytest.param("COMPACT", True, id="case015-upper-case"),
        pytest.param("full", False, id="case015-full"),
        pytest.param("", False, id="case015-empty"),
        pytest.param("bogus", False, id="case015-bogus"),
    ],
)
def test_compact(eureka: Eureka, app: str, value: str, is_compact: bool) -> None:
    eureka.given(app)

    (instance,) = (
        i
        for a in eureka.json("apps", {"X-Eureka-Accept": value})["application"]
        if a["name"] == app
        for i in a["instance"]
    )

    assert ("leaseInfo" not in instance) is is_compact


def test_016_a_single_instance_is_never_compact(eureka: Eureka, app: str) -> None:
    eureka.given(app)

    assert "leaseInfo" in eureka.json(f"apps/{app}/i1", COMPACT)


@pytest.mark.parametrize("path", ["/eureka/apps", "/eureka/v2/apps"], ids=["case017-no-version", "case018-v2"])
def test_both_bases(eureka: Eureka, path: str) -> None:
    answer = eureka.get(path, headers=JSON)

    assert (answer.status_code, answer.content) == (200, eureka.get("apps", headers=JSON).content)


@pytest.mark.parametrize("path", ["/eureka/V2/apps", "/eureka/v1/apps"])
def test_018_other_versions(eureka: Eureka, path: str, expected: Expected) -> None:
    answer = eureka.get(path, headers=JSON)

    assert answer.status_code == expected(18, ours=200, real=404)
    assert (answer.content == eureka.get("apps", headers=JSON).content) is expected(18, ours=True, real=False)


def test_019_two_slashes(eureka: Eureka, expected: Expected) -> None:
    answer = eureka.get("/eureka//apps", headers=JSON)

    assert answer.status_code == expected(19, ours=200, real=404)


@pytest.mark.parametrize("accept", [JSON, XML], ids=["json", "xml"])
def test_020_an_unknown_address(eureka: Eureka, accept: dict[str, str], refused: Refused) -> None:
    answer = eureka.get("nosuch", headers=accept)

    refused(answer, 404)
    assert b"<html" not in answer.content.lower()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("PUT", "apps", id="case021-put-apps"),
        pytest.param("DELETE", "apps/A", id="case021-delete-application"),
        pytest.param("PATCH", "apps/A/i1", id="case021-patch-instance"),
        pytest.param("POST", "apps/A/i1", id="case022-post-instance"),
        pytest.param("POST", "apps/delta", id="case022-post-delta"),
    ],
)
def test_methods_not_allowed(eureka: Eureka, method: str, path: str, refused: Refused) -> None:
    answer = eureka.send(method, path)

    refused(answer, 405)
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("path", ["vips", "instances"])
def test_023_collections_without_a_name(eureka: Eureka, path: str, refused: Refused) -> None:
    refused(eureka.get(path), 404)


def test_024_head(eureka: Eureka) -> None:
    answer = eureka.send("HEAD", "apps")

    assert (answer.status_code, answer.content) == (200, b"")


def test_024_options(eureka: Eureka) -> None:
    answer = eureka.send("OPTIONS", "apps")

    assert answer.status_code == 200
    assert "GET" in answer.headers["allow"]


def test_025_a_refused_heartbeat_has_no_body(eureka: Eureka, app: str, expected: Expected) -> None:
    """With a body Netflix's Jersey clients throw and never register again."""
    answer = eureka.renew(app, "stranger")

    assert answer.status_code == 404
    assert answer.headers.get("content-length") == expected(25, ours="0", real=None)
    assert (answer.content == b"") is expected(25, ours=True, real=False)


@pytest.mark.parametrize("query", ["regions=", "regions=nowhere", "foo=bar"])
def test_026_queries_that_change_nothing(eureka: Eureka, query: str) -> None:
    answer = eureka.get(f"apps?{query}", headers=JSON)

    assert (answer.status_code, answer.content) == (200, eureka.get("apps", headers=JSON).content)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Authorization": "Basic dXNlcjpwYXNz"}, id="case027-basic"),
        pytest.param(
            {"DISCOVERYIDENTITY-NAME": "DefaultClient", "discoveryidentity-version": "9"}, id="case028-identity"
        ),
        pytest.param({"X-Discovery-AllowRedirect": "true"}, id="case028-redirects"),
        pytest.param({"aCCEPT": "application/json"}, id="case028-header-case"),
    ],
)
def test_headers_that_change_nothing(eureka: Eureka, headers: dict[str, str]) -> None:
    stated = {name.lower() for name in headers}
    answer = eureka.get("apps", headers=headers if "accept" in stated else JSON | headers)

    assert (answer.status_code, answer.content) == (200, eureka.get("apps", headers=JSON).content)


@pytest.fixture
def connection(eureka_url: str) -> Iterator[http.client.HTTPConnection]:
    """One connection to the server; it opens by itself with the first request."""
    connection = http.client.HTTPConnection(urlsplit(eureka_url).netloc, timeout=PATIENCE_S)
    yield connection
    connection.close()


def test_029_one_connection_carries_many_requests(connection: http.client.HTTPConnection, base: str, app: str) -> None:
    _exchange(connection, "POST", f"{base}/apps/{app}", json.dumps({"instance": registration(app, "i1")}))
    first = connection.sock

    status, _ = _exchange(connection, "DELETE", f"{base}/apps/{app}/i1")

    assert status == 200
    assert first is not None
    assert connection.sock is first


def test_029_a_connection_is_closed_on_request(eureka_url: str, base: str) -> None:
    server = urlsplit(eureka_url)
    with socket.create_connection((server.hostname or "", server.port or 80), timeout=PATIENCE_S) as peer:
        peer.sendall(f"GET {base}/apps HTTP/1.1\r\nHost: {server.netloc}\r\nConnection: close\r\n\r\n".encode())
        answer = peer.makefile("rb").read()  # returns when the server closes, and not before

    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("method", "path", "content_type", "status", "real_closes"),
    [
        pytest.param("POST", "apps/A", "application/json", 400, True, id="400"),
        pytest.param("GET", "nosuch", None, 404, False, id="404"),
        pytest.param("PUT", "apps", None, 405, False, id="405"),
        pytest.param("POST", "apps/A", "text/plain", 415, False, id="415"),
    ],
)
def test_029_errors_keep_the_connection(
    connection: http.client.HTTPConnection,
    base: str,
    method: str,
    path: str,
    content_type: str | None,
    status: int,
    real_closes: bool,
    expected: Expected,
) -> None:
    answered, closes = _exchange(connection, method, f"{base}/{path}", "{", content_type)

    assert answered == status
    assert closes is expected(29, ours=False, real=real_closes)


def test_000_the_hash_counts_what_is_listed(eureka: Eureka) -> None:
    """What the other files rely on when they do not have the registry for themselves."""
    registry = eureka.registry()

    assert registry["apps__hashcode"] == hash_of(registry)


def _format(answer: httpx.Response) -> str:
    return "json" if answer.content.startswith(b"{") else "xml"


def _without_version(applications: dict[str, Any]) -> dict[str, Any]:
    """Nor what each node of a cluster has heard by itself: of renewals, and when somebody was gone."""
    for instance in (instance for one in applications["application"] for instance in one["instance"]):
        del instance["leaseInfo"]
        if instance["actionType"] == "DELETED":
            del instance["lastUpdatedTimestamp"]
    return {key: value for key, value in applications.items() if key != "versions__delta"}


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: str | None = None,
    content_type: str | None = "application/json",
) -> tuple[int, bool]:
    """Status, and whether the server closes the connection."""
    headers = {"Content-Type": content_type} if body is not None and content_type else {}
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.will_close
