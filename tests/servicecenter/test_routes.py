"""The HTTP layer: routing, refusals, headers, CORS. Cases of the protocol file, asked without a socket."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import Message

from facade.servicecenter.routes import ServiceCenterFront

from .conftest import Client, Socket

pytestmark = pytest.mark.anyio

SERVER_ERROR = 500


@pytest.mark.parametrize(
    "path",
    [
        "microservices/",
        "nope",
        "microservices//instances",
        "microservices/id/schemas/a%2Fb",
        "microservices/id/listwatcher",
        "/v4//registry/microservices",
        "/v4/default/registry",
        "/v4/default/govern",
        "/v4/default/govern/apps/",
        "/registry/v3/govern/apps",
        "/v4/default/registry/%2Fgovern/apps",
        "/v1/default/govern/apps",
        "/v4/token",
        "/registry/v3/dependencies",
        "/registry/v3/instances/status",
        "/registry/v3/health",
    ],
)
async def test_a_path_that_leads_nowhere_is_404_in_gos_words(client: Client, path: str) -> None:
    answer = await client.get(path)

    assert (answer.status_code, answer.text) == (404, "404 page not found\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("microservices", {"GET", "POST", "DELETE"}),
        ("microservices/id", {"GET", "DELETE"}),
        ("microservices/id/schemas/s", {"GET", "PUT", "DELETE"}),
        ("microservices/id/instances", {"GET", "POST"}),
        ("microservices/id/instances/i/heartbeat", {"GET", "PUT"}),
        ("dependencies", {"POST", "PUT"}),
        ("/registry/v3/microservices/id/instances/i/heartbeat", {"PUT"}),
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "HEAD"])
async def test_a_method_that_is_not_there_is_405_with_those_that_are(
    client: Client, path: str, methods: set[str], method: str
) -> None:
    answer = await client.ask(method, path)

    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == methods


@pytest.mark.parametrize(
    "path",
    [
        "instances?appId=a&x=http://h",
        "microservices/id;",
        "microservices?a=b&",
        "microservices?a=" + "x" * 2048,
    ],
    ids=["slashes", "semicolon", "ampersand", "long"],
)
async def test_a_uri_that_looks_wrong_is_refused_without_acting(client: Client, path: str) -> None:
    """The original answers so too, and acts all the same."""
    answer = await client.post(path, {"service": {"serviceName": "orders"}})

    assert answer.status_code == 400
    assert answer.text.startswith("Invalid Request URI ")
    assert (await client.get("microservices")).json() == {}


async def test_every_answer_names_the_server_and_what_it_varies_by(client: Client) -> None:
    for answer in (await client.get("version"), await client.get("nope"), await client.ask("OPTIONS", "version")):
        assert answer.headers["Server"] == "SERVICECENTER/2.2.0"
        assert answer.headers.get_list("Vary")[:2] == ["Accept-Encoding", "Origin"]


async def test_header_names_are_spelt_as_go_spells_them(front: ServiceCenterFront) -> None:
    """Java-Chassis 3 looks for this spelling; what the doorway sees is what we send."""
    sent: list[bytes] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.extend(name for name, _ in message.get("headers", ()))

    query = b"appId=default&serviceName=SERVICECENTER"
    scope = {"type": "http", "method": "GET", "path": "/v4/default/registry/instances", "headers": []}
    await front({**scope, "query_string": query}, receive, send)

    assert b"X-Resource-Revision" in sent


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, {}),
        (
            {"Origin": "http://x", "Access-Control-Request-Method": "PUT"},
            {"origin": "*", "methods": "PUT"},
        ),
        (
            {
                "Origin": "http://x",
                "Access-Control-Request-Method": "PUT",
                "Access-Control-Request-Headers": "x-consumerid",
            },
            {"origin": "*", "methods": "PUT", "headers": "X-Consumerid"},
        ),
        ({"Origin": "http://x", "Access-Control-Request-Method": "PATCH"}, {}),
    ],
    ids=["no-origin", "put", "put-with-header", "patch"],
)
async def test_a_preflight_names_what_was_asked_for(
    client: Client, headers: dict[str, str], allowed: dict[str, str]
) -> None:
    answer = await client.ask("OPTIONS", "nope", **headers)

    prefix = "access-control-allow-"
    assert (answer.status_code, answer.content) == (200, b"")
    named = {name.removeprefix(prefix): value for name, value in answer.headers.items() if name.startswith(prefix)}
    assert named == allowed


async def test_scripts_of_other_origins_may_read_answers(client: Client) -> None:
    assert (await client.get("version", Origin="http://x")).headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(("path", "version"), [("version", "4.0.0"), ("/version", "3.0.0")], ids=["v4", "v3"])
async def test_the_version_of_the_api_is_told(client: Client, path: str, version: str) -> None:
    answer = (await client.get(path)).json()

    assert (answer["version"], answer["apiVersion"]) == ("2.2.0", version)


async def test_health_is_told_in_both_forms_of_the_api(client: Client) -> None:
    assert (await client.get("health")).json() == (await client.get("/health")).json()
    assert (await client.get("health/readiness")).status_code == 200


@pytest.mark.parametrize("path", ["microservices/id/watcher", "microservices/id/instances/i/heartbeat"])
async def test_a_plain_request_to_a_websocket_is_400(client: Client, path: str) -> None:
    answer = await client.get(path)

    assert (answer.status_code, answer.text) == (400, "Bad Request\n")


async def test_a_websocket_to_nowhere_is_404(front: ServiceCenterFront) -> None:
    async with Socket(front, "/v4/default/registry/nope") as socket:
        refused = await socket.receive()

    assert (refused["type"], refused["status"]) == ("websocket.http.response.start", 404)


async def test_neither_content_type_nor_case_of_header_names_matter(client: Client) -> None:
    body = json.dumps({"service": {"serviceName": "orders"}}).encode()
    created = await client.post("microservices", body, content_type="text/plain")
    found = await client.get("instances?appId=default&serviceName=orders", **{"x-consumerid": "nope"})

    assert created.status_code == 200
    assert found.json()["detail"] == "Consumer[nope] does not exist."


PATHS = st.lists(
    st.sampled_from(["microservices", "instances", "id", "schemas", "tags", "heartbeats", "%ff", "action", "existence"])
    | st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/?#%"), min_size=1, max_size=6),
    min_size=1,
    max_size=6,
).map("/".join)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    path=PATHS,
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
    body=st.binary(max_size=40) | st.sampled_from([b"{}", b"null", b'{"instances":[{}]}', b'{"serviceIds":[null]}']),
    query=st.sampled_from(["", "type=query", "type=schema", "rev=x&tags=,&env=%ff", "value=UP", "force=true"]),
)
async def test_nothing_that_is_asked_ends_in_a_server_error(
    client: Client, path: str, method: str, body: bytes, query: str
) -> None:
    answer = await client.ask(method, f"{path}?{query}" if query else path, body)

    assert answer.status_code < SERVER_ERROR
