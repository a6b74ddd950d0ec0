"""Every route of both protocols and every page: who gets where, and no way of writing a path gets round it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote

import httpx
import pytest
from starlette.types import Message

from facade.access.rules import ANY_ACCOUNT, OPEN, Needs, built_in_roles, granted
from facade.eureka.admission import Reach
from facade.eureka.routes import EurekaFront
from facade.registry.model import Permission, Resource, Role, RoleName, Space
from facade.registry.registry import Registry
from facade.servicecenter.routes import ServiceCenterFront

from .guarded import AS_ROOT, REGISTRY, ROLES, basic, code, created
from .product import BASE, Product, eureka_document

pytestmark = pytest.mark.anyio

# Every route


class Cell(NamedTuple):
    method: str
    path: str
    needs: Needs


def servicecenter_cells(front: ServiceCenterFront) -> Iterator[Cell]:
    """Each row of the table of routes, in each of its forms."""

    def walk(branch: Any, segments: tuple[str, ...]) -> Iterator[Cell]:
        for method in branch.methods:
            path = "/".join(segment.replace("*", "nosuch") for segment in segments)
            below = path[1:] if path.startswith("/") else ""
            if below:
                places = dict.fromkeys(("token", "self-perms", "account-locks", "accounts", "roles"), "/v4")
                places |= {"syncer": "/v1", "gov": "/v1/default", "openapi": ""}
                place = places.get(below.split("/")[0], "/v4/default")
                yield Cell(method, f"{place}/{below}", branch.needs[method])
            else:
                yield Cell(method, f"{REGISTRY}/{path}", branch.needs[method])
                if method not in branch.v4_only:
                    yield Cell(method, f"/registry/v3/{path}", branch.needs[method])
        for segment, inner in branch.branches.items():
            yield from walk(inner, (*segments, segment))

    yield from walk(front._table, ())


EUREKA_PATHS = (
    *("apps", "apps/delta", "apps/ORDERS", "apps/ORDERS/nosuch", "apps/ORDERS/nosuch/status"),
    *("apps/ORDERS/nosuch/metadata", "vips/v", "svips/v", "instances/i", "peerreplication/batch", "asg/a/status"),
    *("status", "serverinfo/statusoverrides"),
)


def eureka_cells(front: EurekaFront) -> Iterator[tuple[Cell, Reach]]:
    for path in EUREKA_PATHS:
        resource = front.resource(path.split("/"))
        assert resource.methods, path
        for method in resource.methods:
            for needs in resource.needs:
                yield Cell(method, f"/eureka/{path}", needs), resource.reach


def as_role(name: str) -> Role:
    if name == "root":
        return built_in_roles()[0]
    if name == "developer":
        return built_in_roles()[1]
    permissions = tuple(
        Permission(
            resources=tuple(Resource(type=one["type"], labels=one["labels"]) for one in perm["resources"]),
            verbs=tuple(perm["verbs"]),
        )
        for perm in ROLES[name]
    )
    return Role(key=RoleName(name), id="", perms=permissions)


WHO = ("root", "developer", *ROLES)
IS_DENIED = (401, 403)


async def test_each_cell_of_route_method_and_role_is_decided_as_its_row_says(
    guarded: Product, registry: Registry
) -> None:
    """Quality S4. Nobody without an account passes an entry that is not open; nobody passes what no role permits."""
    from facade.access.control import AccessControl

    access = AccessControl.__new__(AccessControl)  # only asked whether it is there
    rows = list(servicecenter_cells(ServiceCenterFront(registry, access=access)))
    rows += [cell for cell, _ in eureka_cells(EurekaFront(registry))]
    decided = 0
    for cell in rows:
        if cell.path.endswith("/token"):
            continue  # it is asked for with a password of its own
        anonymous = await guarded.http.request(cell.method, cell.path)
        assert (anonymous.status_code == 401) == (cell.needs != OPEN), cell
        for name in WHO:
            headers = AS_ROOT if name == "root" else basic(name)
            if cell.needs in (OPEN, ANY_ACCOUNT):
                continue
            answer = await guarded.http.request(cell.method, cell.path, headers=headers, content=b"")
            grant = granted([as_role(name)], cell.needs.resource, cell.needs.verb_of(cell.method))
            decided += 1
            if grant is None:
                assert answer.status_code == 403, (cell, name)
            elif not grant.is_limited and "peerreplication" not in cell.path:
                assert answer.status_code not in IS_DENIED, (cell, name)

    assert decided >= 400


OPEN_TO_ALL = ("version", "health", "readiness", "servicecenter.yaml")


def resource_of(path: str) -> str:
    """As the original's: by the part of the API, and schemas apart from their services."""
    if re.search(r"/schemas(/|$)", path):
        return "service/schema"
    parts = {"/admin/": "ops", "/gov/": "governance"}
    return next((resource for part, resource in parts.items() if part in path), "service")


async def test_every_route_has_an_entry_of_a_known_resource(registry: Registry) -> None:
    for cell in servicecenter_cells(ServiceCenterFront(registry)):  # raises KeyError for a route without one
        if cell.needs != OPEN:
            assert cell.needs.resource == resource_of(cell.path), cell
        else:
            assert cell.path.rsplit("/", 1)[-1] in OPEN_TO_ALL, cell


async def test_a_route_without_an_entry_is_open_to_nobody(guarded: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    from facade.servicecenter.paths import Branch

    at = Branch.at

    def forgets(self: Any, segments: tuple[str, ...]) -> Any:
        branch = at(self, segments)
        branch.needs = Forgetful()
        return branch

    class Forgetful(dict[str, Needs]):
        def __setitem__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(Branch, "at", forgets)
    front = ServiceCenterFront(guarded.registry, access=guarded.access)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://registry.test") as http:
        assert (await http.get(f"{REGISTRY}/microservices", headers=AS_ROOT)).status_code == 403


async def test_operators_views_are_cut_to_what_an_account_reaches(guarded: Product) -> None:
    """Not only lists, as the original's: counts, pictures and the other ends of dependencies, too."""
    http, tester, govern = guarded.http, basic("tester"), "/v4/default/govern"
    mine = (await created(guarded, "mine", "testing")).json()["serviceId"]
    theirs = (await created(guarded, "theirs", "production")).json()["serviceId"]
    for consumer, provider in ((mine, "mine"), (theirs, "theirs")):
        headers = AS_ROOT | {"X-ConsumerId": consumer}
        await http.get(f"{BASE}/instances?appId=shop&serviceName={provider}", headers=headers)

    async def seen(path: str, headers: dict[str, str]) -> str:
        return (await http.get(f"{govern}/{path}", headers=headers)).text

    for path in ("microservices?options=all", "relations", f"microservices/{mine}"):
        assert mine in await seen(path, tester)
        assert theirs not in await seen(path, tester)
    assert theirs in await seen("relations", AS_ROOT)
    assert '"services":{"count":1}' in await seen("statistics", tester)
    assert '"services":{"count":2}' in await seen("statistics", AS_ROOT)
    assert (await seen("apps?env=production", tester), await seen("apps?env=testing", tester)) == (
        "{}",
        '{"appIds":["shop"]}',
    )
    assert code(await http.get(f"{govern}/microservices/{theirs}", headers=tester)) == "403205"
    assert code(await http.get("/v4/default/admin/dump", headers=tester)) == "403205"


OPEN_PATHS = (
    *("/healthz", "/readyz", "/metrics", "/health", "/version", f"{REGISTRY}/health", f"{REGISTRY}/version"),
    "/openapi/servicecenter.yaml",
)


async def test_what_is_open_is_open_also_with_bad_credentials(guarded: Product) -> None:
    for path in OPEN_PATHS:
        for headers in ({}, {"Authorization": "Bearer x"}, basic("nobody")):
            assert (await guarded.http.get(path, headers=headers)).status_code == 200, path
    assert (await guarded.http.get("/readyz")).json()["auth"] == "on"


@pytest.mark.parametrize("path", ["/", "/lastn", "/services", "/dashboard/changes", "/dashboard/static/page.css"])
async def test_pages_ask_browsers_for_an_account_that_may_see_every_service(guarded: Product, path: str) -> None:
    asked = await guarded.http.get(path)
    assert asked.status_code == 401
    assert asked.headers["WWW-Authenticate"].startswith("Basic ")
    assert "<form" not in asked.text

    assert (await guarded.http.get(path, headers=basic("tester"))).status_code == 403
    if not path.endswith("changes"):  # has no end
        assert (await guarded.http.get(path, headers=basic("reader"))).status_code in (200, 404)


@pytest.mark.parametrize(("name", "may"), [("reader", False), ("developer", True)])
async def test_who_may_only_read_is_offered_no_change_on_a_page_and_refused_one(
    guarded: Product, name: str, may: bool
) -> None:
    """S19: the form is another's, but nothing else is missing."""
    document = {"instance": eureka_document("ORDERS", "orders-1")}
    await guarded.http.post("/eureka/apps/ORDERS", json=document, headers=AS_ROOT)
    held = next(iter(guarded.registry.catalogue.in_application(Space(), "ORDERS")))
    path = f"/services/{held.service.derived_id}"
    own, roots = [(await guarded.http.get(path, headers=one)).text for one in (basic(name), AS_ROOT)]
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', roots.partition('<form method="post"')[2]))

    origin = {"Origin": "http://registry.test"}
    unknown = await guarded.http.post(f"{path}/status", data=fields, headers=origin)
    answer = await guarded.http.post(f"{path}/status", data=fields, headers=origin | basic(name))

    assert ('<form method="post"' in own, unknown.status_code, answer.status_code) == (may, 401, 303 if may else 403)


# Tricks


async def raw(application: Any, method: str, target: str, headers: dict[str, str]) -> tuple[int, bytes]:
    """As a server hands it on: the path decoded, and as it was sent."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("10.0.0.9", 5000),
        "server": ("registry.test", 80),
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await application(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def variants(path: str) -> Iterator[str]:
    segments = path.split("/")[1:]
    yield path
    for end in (
        "/",
        "//",
        ";",
        ";x",
        ";x=1",
        "/.",
        "/./",
        "/..;/",
        "%2f",
        "%20",
        "%00",
        "?",
        "?x",
        "#",
        ".json",
        "%3b",
    ):
        yield path + end
    for at in range(len(segments)):
        before, segment, after = segments[:at], segments[at], segments[at + 1 :]
        if not segment:
            continue
        for other in (
            segment.upper(),
            segment.capitalize(),
            f"{segment};x",
            f"{segment};/",
            f"/{segment}",
            f"./{segment}",
            f"x/../{segment}",
            f"%2e/{segment}",
            f"x/%2e%2e/{segment}",
            f"%2f{segment}",
            f"%{ord(segment[0]):02x}{segment[1:]}",
            f"%{ord(segment[0]):02X}{segment[1:]}",
            f"%25{ord(segment[0]):02x}{segment[1:]}",
            segment + "%20",
            segment + "%09",
            segment + "%00",
            segment.replace("s", "%c5%bf"),
            segment + ".",
            "\\" + segment,
        ):
            yield "/" + "/".join([*before, other, *after])


PROTECTED = (
    f"{REGISTRY}/microservices",
    f"{REGISTRY}/instances?appId=shop&serviceName=stock&version=0%2B",
    "/registry/v3/microservices",
    "/v4/accounts",
    "/v4/accounts/root",
    "/v4/roles",
    "/v4/account-locks",
    "/eureka/apps",
    "/eureka/apps/delta",
    "/eureka/v2/apps/ORDERS",
    "/eureka/apps/ORDERS/orders-1",
    "/t/default/default/-/eureka/apps",
    "/",
    "/lastn",
    "/services",
)
OVERRIDES: tuple[tuple[str, dict[str, str]], ...] = (
    ("GET", {}),
    ("HEAD", {}),
    ("OPTIONS", {}),
    ("TRACE", {}),
    ("POST", {"X-HTTP-Method-Override": "GET"}),
    ("OPTIONS", {"X-HTTP-Method": "GET", "X-Method-Override": "GET"}),
    ("GET", {"X-Original-URL": "/healthz", "X-Rewrite-URL": "/healthz", "X-Forwarded-Prefix": "/healthz"}),
    ("GET", {"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "User-Agent": "Nacos-Server"}),
    ("GET", {"X-Netflix-Discovery-Replication": "true", "DiscoveryIdentity-Name": "DefaultServer"}),
)


async def test_no_way_of_writing_a_path_gets_round(guarded: Product) -> None:
    """Quality S5: whoever may not is told nothing, however the path is written."""
    await created(guarded, "stock-secret")
    document = eureka_document("ORDERS", "orders-secret")
    told = await guarded.http.post("/eureka/apps/ORDERS", json={"instance": document}, headers=AS_ROOT)
    assert told.status_code == 204
    tried = 0
    for path in PROTECTED:
        target, mark, query = path.partition("?")
        for variant, (method, headers) in itertools.product(variants(target), OVERRIDES):
            for who in ({}, basic("nothing")):
                status, body = await raw(guarded.application, method, variant + mark + query, headers | who)
                tried += 1
                what = (method, variant, headers, status)
                assert b"secret" not in body, what
                assert b'"root"' not in body, what
                assert status in (400, 401, 403, 404, 405, 501) or (status == 200 and not body), what

    assert tried >= 2_000


async def test_the_same_variants_tell_an_administrator_something(guarded: Product) -> None:
    """Or the test before this one would prove nothing."""
    await created(guarded, "stock-secret")

    told = [
        body
        for variant in variants(f"{REGISTRY}/microservices")
        for status, body in [await raw(guarded.application, "GET", variant, AS_ROOT)]
        if status == 200 and b"stock-secret" in body
    ]

    assert len(told) >= 3


# ServiceCenter
