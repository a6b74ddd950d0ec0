"""Access control on the ServiceCenter front: accounts, tokens, what labels reach, pages of other sites."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.types import Message

from conformance.peers.patience import PATIENCE_S
from facade.clock import ManualClock
from facade.registry.model import ServiceKey
from facade.servicecenter.routes import ServiceCenterFront
from facade.stores.memory import MemoryStore

from .guarded import AS_ROOT, PASSWORD, REGISTRY, ROOT_PASSWORD, basic, code, created, perms, token
from .product import BASE, Product, eureka_document, product

pytestmark = pytest.mark.anyio


async def test_a_login_is_short(guarded: Product) -> None:
    """It needs no account, and what is read of two megabytes held everybody else up for a fifth of a second."""
    members = {f"m{number}": [] for number in range(10_000)}
    answer = await guarded.http.post("/v4/token", json={"name": "root", "password": PASSWORD} | members)

    assert (answer.status_code, code(answer)) == (400, "400001")
    assert "too large" in answer.text


async def test_without_access_control_there_are_no_accounts() -> None:
    clock = ManualClock()
    async with product(MemoryStore(clock), clock) as product_:
        assert (await product_.http.post("/v4/token", json={})).status_code == 404
        assert (await product_.http.get("/v4/accounts")).status_code == 404
        answer = await product_.http.get(f"{REGISTRY}/microservices", headers={"Authorization": "nonsense"})
        assert answer.status_code == 200
        assert (await product_.http.get("/readyz")).json()["auth"] == "none"


async def test_an_unknown_service_is_400012_to_whoever_may_do_that_everywhere(guarded: Product) -> None:
    """B39: the original says 401201, and its clients log in again instead of registering."""
    path = f"{BASE}/microservices/nosuch/instances/i/heartbeat"
    answer = await guarded.http.put(path, headers=await token(guarded, "developer"))
    assert code(answer) == "400017"
    answer = await guarded.http.delete(f"{BASE}/microservices/nosuch", headers=await token(guarded, "developer"))
    assert code(answer) == "400012"

    assert code(await guarded.http.delete(f"{BASE}/microservices/nosuch", headers=basic("tester"))) == "403205"


async def test_each_service_that_a_batch_names_is_judged(guarded: Product) -> None:
    """B40: in the original one that fits lets all pass."""
    mine = (await created(guarded, "mine", "testing")).json()["serviceId"]
    theirs = (await created(guarded, "theirs", "production")).json()["serviceId"]
    for service_id in (mine, theirs):
        instance = {"instanceId": "i1", "hostName": "h", "endpoints": ["rest://h:1"]}
        path = f"{BASE}/microservices/{service_id}/instances"
        assert (await guarded.http.post(path, json={"instance": instance}, headers=AS_ROOT)).status_code == 200
    http, tester = guarded.http, basic("tester")

    beats = [{"serviceId": one, "instanceId": "i1"} for one in (mine, theirs)]
    answer = await http.put(f"{BASE}/heartbeats", json={"instances": beats}, headers=tester)
    faults = {one["serviceId"]: one.get("errMessage", "") for one in answer.json()["instances"]}
    assert faults[mine] == "" and faults[theirs].startswith("No permission(s)")
    answer = await http.put(f"{BASE}/heartbeats", json={"instances": beats[1:]}, headers=tester)
    assert code(answer) == "403205"

    finds = [
        {"service": {"appId": "shop", "serviceName": name, "environment": environment}}
        for name, environment in (("mine", "testing"), ("theirs", "production"))
    ]
    asked = {"services": finds, "instances": [{"instance": beat} for beat in beats]}
    answer = await http.post(f"{BASE}/instances/action?type=query", json=asked, headers=tester)
    for half in ("services", "instances"):
        found = answer.json()[half]
        assert [one["index"] for one in found["updated"]] == [0]
        assert [(one["indexes"], one["error"]["errorCode"]) for one in found["failed"]] == [([1], "403205")]

    answer = await http.request(
        "DELETE", f"{BASE}/microservices", json={"serviceIds": [mine, theirs], "force": True}, headers=tester
    )
    faults = {one["serviceId"]: one.get("errMessage", "") for one in answer.json()["services"]}
    assert faults[mine] == "" and faults[theirs].startswith("No permission(s)")
    assert (await http.get(f"{BASE}/microservices/{theirs}", headers=AS_ROOT)).status_code == 200


async def test_a_consumer_in_another_environment_opens_no_back_door(guarded: Product) -> None:
    """B40: the original checks the `env` that is asked for and reads the consumer's."""
    consumer = (await created(guarded, "web", "production")).json()["serviceId"]
    await created(guarded, "theirs", "production")
    query = {"appId": "shop", "serviceName": "theirs", "version": "0+", "env": "testing"}
    headers = basic("tester") | {"X-ConsumerId": consumer}

    answer = await guarded.http.get(f"{BASE}/instances", params=query, headers=headers)

    assert code(answer) == "403205"


async def test_lists_show_what_the_account_may_see(guarded: Product) -> None:
    mine = (await created(guarded, "mine", "testing")).json()["serviceId"]
    theirs = (await created(guarded, "theirs", "testing")).json()["serviceId"]
    await guarded.http.post(
        "/v4/roles", json={"name": "miner", "perms": perms("*", serviceName="mi*")}, headers=AS_ROOT
    )
    account = {"name": "miner", "password": PASSWORD, "roles": ["miner"]}
    await guarded.http.post("/v4/accounts", json=account, headers=AS_ROOT)
    for provider, consumer in (("theirs", mine), ("mine", theirs), ("mine", mine)):
        query = {"appId": "shop", "serviceName": provider, "version": "0+"}
        headers = AS_ROOT | {"X-ConsumerId": consumer}
        await guarded.http.get(f"{BASE}/instances", params=query, headers=headers)

    async def ids(path: str, half: str) -> set[str]:
        answer = await guarded.http.get(path, headers=basic("miner"))
        return {one["serviceId"] for one in answer.json().get(half, [])}

    assert await ids(f"{BASE}/microservices", "services") == {mine}
    assert await ids(f"{BASE}/microservices/{mine}/providers", "providers") == {mine}
    assert await ids(f"{BASE}/microservices/{mine}/consumers", "consumers") == {mine}
    for view in ("microservices?options=all", f"microservices/{mine}", "relations", "apps", "statistics"):
        answer = await guarded.http.get(f"/v4/default/govern/{view}", headers=basic("miner"))
        assert answer.status_code == 200
        assert theirs not in answer.text and '"theirs"' not in answer.text, view
    statistics = (await guarded.http.get("/v4/default/govern/statistics", headers=basic("miner"))).json()
    assert statistics["statistics"]["services"]["count"] == 1


@pytest.mark.parametrize(
    ("kind", "method", "path"),
    [
        ("account", "GET", "/v4/accounts"),
        ("account", "POST", "/v4/accounts"),
        ("account", "DELETE", "/v4/accounts/reader"),
        ("role", "POST", "/v4/roles"),
        ("governance", "GET", "/v1/default/gov/retry"),
        ("ops", "DELETE", "/v4/default/admin/alarms"),
        ("ops", "GET", "/v4/default/admin/dump"),
    ],
)
async def test_a_permission_bound_to_labels_reaches_nothing_that_has_none(
    guarded: Product, kind: str, method: str, path: str
) -> None:
    """Not even by a service whose id is the name of an account."""
    bound = [*perms("*", type=kind, appId="shop"), *perms("*", appId="shop")]
    await guarded.http.post("/v4/roles", json={"name": "bound", "perms": bound}, headers=AS_ROOT)
    account = {"name": "bound", "password": PASSWORD, "roles": ["bound"]}
    await guarded.http.post("/v4/accounts", json=account, headers=AS_ROOT)
    service = {"serviceId": "reader", "appId": "shop", "serviceName": "reader", "version": "1"}
    created = await guarded.http.post(f"{BASE}/microservices", json={"service": service}, headers=basic("bound"))
    assert created.status_code == 200

    answer = await guarded.http.request(method, path, headers=basic("bound"))

    assert code(answer) == "403205"


async def test_who_finds_an_application_in_the_own_app_cannot_change_it(guarded: Product) -> None:
    """The app of what is found is the asker's choice; a flat name has one owner, who has its labels in Eureka."""
    document = eureka_document("PAYMENTS", "payments-1")
    await guarded.http.post("/eureka/apps/PAYMENTS", json={"instance": document}, headers=AS_ROOT)
    await guarded.http.post("/v4/roles", json={"name": "shop", "perms": perms("*", appId="shop")}, headers=AS_ROOT)
    account = {"name": "shop", "password": PASSWORD, "roles": ["shop"]}
    await guarded.http.post("/v4/accounts", json=account, headers=AS_ROOT)
    shop = basic("shop")
    consumer = (await created(guarded, "web", **shop)).json()["serviceId"]
    query = {"appId": "shop", "serviceName": "payments"}
    found = await guarded.http.get(f"{BASE}/instances", params=query, headers=shop | {"X-ConsumerId": consumer})
    (instance,) = found.json()["instances"]
    service = f"{BASE}/microservices/{instance['serviceId']}"
    path = f"{service}/instances/{instance['instanceId']}"

    assert (await guarded.http.get(path, headers=shop)).status_code == 200
    for method, forbidden in (
        ("PUT", f"{path}/heartbeat"),
        ("PUT", f"{path}/status?value=DOWN"),
        ("PUT", f"{path}/properties"),
        ("DELETE", path),
        ("DELETE", f"{service}?force=1"),
    ):
        answer = await guarded.http.request(method, forbidden, json={"properties": {}}, headers=shop)
        assert code(answer) == "403205", forbidden
    beats = {"instances": [{"serviceId": instance["serviceId"], "instanceId": instance["instanceId"]}]}
    answer = await guarded.http.put(f"{BASE}/heartbeats", json=beats, headers=shop)
    assert answer.json()["instances"][0]["errMessage"].startswith("No permission(s)")
    assert (await guarded.http.put(f"{path}/heartbeat", headers=AS_ROOT)).status_code == 200


@pytest.mark.parametrize("path", ["microservices/{}", "microservices?options=all", "microservices?options=schemas"])
async def test_texts_of_schemas_are_shown_to_who_may_read_schemas(guarded: Product, path: str) -> None:
    labelled = [*perms("get"), *perms("get", type="service/schema", serviceName="web")]
    await guarded.http.post("/v4/roles", json={"name": "half", "perms": labelled}, headers=AS_ROOT)
    account = {"name": "half", "password": PASSWORD, "roles": ["half"]}
    await guarded.http.post("/v4/accounts", json=account, headers=AS_ROOT)
    shown = {}
    for service in ("web", "stock"):
        service_id = (await created(guarded, service)).json()["serviceId"]
        schema = {"schema": f"text of {service}", "summary": f"about{service}"}
        url = f"{BASE}/microservices/{service_id}/schemas/s"
        assert (answer := await guarded.http.put(url, json=schema, headers=AS_ROOT)).status_code == 200, answer.text
        for name in ("developer", "half", "reader"):
            answer = await guarded.http.get(f"/v4/default/govern/{path.format(service_id)}", headers=basic(name))
            assert f"about{service}" in answer.text
            shown[service, name] = f"text of {service}" in answer.text

    assert [name for name, is_shown in shown.items() if is_shown] == [
        ("web", "developer"),
        ("web", "half"),
        ("stock", "developer"),
    ]


async def test_who_is_bound_to_labels_makes_nobody_else_a_consumer(guarded: Product) -> None:
    """The original notes whatever consumer a find names, and does not delete a provider that has one."""
    await guarded.http.post("/v4/roles", json={"name": "shop", "perms": perms("get", appId="shop")}, headers=AS_ROOT)
    account = {"name": "shop", "password": PASSWORD, "roles": ["shop"]}
    await guarded.http.post("/v4/accounts", json=account, headers=AS_ROOT)

    async def create(app: str, name: str) -> str:
        key = {"appId": app, "serviceName": name, "version": "1.0.0", "properties": {"allowCrossApp": "true"}}
        answer = await guarded.http.post(f"{BASE}/microservices", json={"service": key}, headers=AS_ROOT)
        return str(answer.json()["serviceId"])

    provider, ours, theirs = await create("shop", "stock"), await create("shop", "web"), await create("bank", "teller")
    query = {"appId": "shop", "serviceName": "stock"}
    many = {"services": [{"service": query}]}
    for consumer in (theirs, ours):
        headers = basic("shop") | {"X-ConsumerId": consumer}
        assert (await guarded.http.get(f"{BASE}/instances", params=query, headers=headers)).status_code == 200
        path = f"{BASE}/instances/action?type=query"
        assert (await guarded.http.post(path, json=many, headers=headers)).status_code == 200

    listed = (await guarded.http.get(f"{BASE}/microservices/{provider}/consumers", headers=AS_ROOT)).json()
    assert [one["serviceId"] for one in listed["consumers"]] == [ours]


async def test_nobody_can_be_found_under_a_name_that_is_not_theirs(guarded: Product) -> None:
    service = {"appId": "shop", "serviceName": "mine", "version": "1.0.0", "environment": "testing"}
    await guarded.http.post(
        "/v4/roles", json={"name": "miner", "perms": perms("*", serviceName="mine")}, headers=AS_ROOT
    )
    account = {"name": "miner", "password": PASSWORD, "roles": ["miner"]}
    await guarded.http.post("/v4/accounts", json=account, headers=AS_ROOT)

    async def create(**changes: str) -> httpx.Response:
        path = f"{BASE}/microservices"
        return await guarded.http.post(path, json={"service": service | changes}, headers=basic("miner"))

    assert code(await create(serviceName="payments")) == "403205"
    assert code(await create(alias="payments")) == "403205"
    assert (await create(alias="shop:mine")).status_code == 200


async def test_nobody_takes_the_id_that_another_name_stands_for(guarded: Product) -> None:
    """An application of Eureka is asked for by that id, and a service to come is to get it."""
    document = eureka_document("PAYMENTS", "payments-1")
    await guarded.http.post("/eureka/apps/PAYMENTS", json={"instance": document}, headers=AS_ROOT)
    (payments,) = (await guarded.http.get(f"{BASE}/microservices", headers=AS_ROOT)).json()["services"]
    to_come = ServiceKey("default", "default", "production", "shop", "to-come", "1.0.0").derived_id
    own = ServiceKey("default", "default", "testing", "shop", "mine", "1.0.0").derived_id
    service = {"appId": "shop", "serviceName": "mine", "version": "1.0.0", "environment": "testing"}

    async def create(service_id: str) -> httpx.Response:
        stated = {"service": service | {"serviceId": service_id}}
        return await guarded.http.post(f"{BASE}/microservices", json=stated, headers=basic("tester"))

    for service_id in (payments["serviceId"], to_come):
        assert code(await create(service_id)) == "403205"
    assert (await create(own)).json() == {"serviceId": own}


async def test_a_role_with_a_misspelt_resource_is_refused(guarded: Product) -> None:
    """B41: the original takes any text, and the role permits nothing."""
    answer = await guarded.http.post(
        "/v4/roles", json={"name": "odd", "perms": perms("get", type="services")}, headers=AS_ROOT
    )
    assert code(answer) == "400001"


async def test_refused_passwords_are_not_repeated(guarded: Product) -> None:
    for body in ({"name": "new", "password": "weak-secret", "roles": ["developer"]},):
        answer = await guarded.http.post("/v4/accounts", json=body, headers=AS_ROOT)
        assert code(answer) == "400001"
        assert "secret" not in answer.text
    answer = await guarded.http.post("/v4/accounts/reader/password", json={"password": "s3cret"}, headers=AS_ROOT)
    assert answer.status_code == 400 and "s3cret" not in answer.text


@pytest.mark.parametrize("password", ["Ab1-xxxx", "xxxx-1bA"])
async def test_a_password_is_changed_to_nothing_like_the_name(guarded: Product, password: str) -> None:
    account = {"name": "Ab1-xxxx", "password": PASSWORD, "roles": ["reader"]}
    await guarded.http.post("/v4/accounts", json=account, headers=AS_ROOT)

    answer = await guarded.http.post("/v4/accounts/Ab1-xxxx/password", json={"password": password}, headers=AS_ROOT)

    assert code(answer) == "400001"


@pytest.mark.parametrize("is_basic", [True, False])
async def test_a_watch_goes_on_no_longer_than_the_token_it_was_opened_with(guarded: Product, is_basic: bool) -> None:
    lasting = {"name": "root", "password": ROOT_PASSWORD, "tokenExpirationTime": "15m"}
    bearer = {"Authorization": f"Bearer {(await guarded.http.post('/v4/token', json=lasting)).json()['token']}"}
    service_id = (await created(guarded, "web")).json()["serviceId"]
    guarded.clock.advance(15 * 60 - 0.2)
    headers = [(b"authorization", (AS_ROOT if is_basic else bearer)["Authorization"].encode())]
    path = f"{BASE}/microservices/{service_id}/watcher"
    scope = {"type": "websocket", "path": path, "headers": headers, "extensions": {}}
    told: list[Message] = []

    async def receive() -> Message:
        if told:
            await asyncio.sleep(60)
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        told.append(message)

    front = ServiceCenterFront(guarded.registry, access=guarded.access)
    watching = asyncio.create_task(front(scope, receive, send))
    ended, _ = await asyncio.wait([watching], timeout=1 if is_basic else PATIENCE_S)
    watching.cancel()

    assert [message["type"] for message in told] == ["websocket.accept"]
    assert bool(ended) is not is_basic


async def test_nor_does_a_heartbeat_by_websocket(guarded: Product) -> None:
    lasting = {"name": "root", "password": ROOT_PASSWORD, "tokenExpirationTime": "15m"}
    bearer = f"Bearer {(await guarded.http.post('/v4/token', json=lasting)).json()['token']}"
    service_id = (await created(guarded, "web")).json()["serviceId"]
    check = {"mode": "push", "interval": 1, "times": 3}
    instance = {"hostName": "h", "endpoints": ["rest://10.0.0.1:80"], "instanceId": "web-1", "healthCheck": check}
    path = f"{BASE}/microservices/{service_id}/instances"
    assert (await guarded.http.post(path, json={"instance": instance}, headers=AS_ROOT)).status_code == 200
    headers = [(b"authorization", bearer.encode())]
    scope = {"type": "websocket", "path": f"{path}/web-1/heartbeat", "headers": headers, "extensions": {}}
    told: list[Message] = []

    async def receive() -> Message:
        if told:
            await asyncio.sleep(60)
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        told.append(message)
        guarded.clock.advance(15 * 60)

    await asyncio.wait_for(
        ServiceCenterFront(guarded.registry, access=guarded.access)(scope, receive, send), PATIENCE_S
    )

    assert [message["type"] for message in told] == ["websocket.accept", "websocket.close"]


async def test_another_sites_page_cannot_use_the_password_of_a_browser(guarded: Product) -> None:
    headers = AS_ROOT | {"Sec-Fetch-Site": "cross-site"}

    assert code(await guarded.http.delete(f"{BASE}/microservices/x", headers=headers)) == "403205"
    assert (await guarded.http.delete("/eureka/apps/A/a-1", headers=headers)).status_code == 403
    assert (await guarded.http.get("/v4/roles", headers=headers)).status_code == 200


@pytest.mark.parametrize("path", ["microservices/x/watcher", "microservices/x/instances/i/heartbeat"])
async def test_another_sites_page_opens_no_socket_with_the_password_of_a_browser(guarded: Product, path: str) -> None:
    """A handshake is a GET, but unlike any other answer what a socket tells is read by whatever page opened it."""
    named = AS_ROOT | {"Sec-Fetch-Site": "cross-site"}
    headers = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    extensions: dict[str, Any] = {"websocket.http.response": {}}
    scope = {"type": "websocket", "path": f"{REGISTRY}/{path}", "headers": headers, "extensions": extensions}
    told: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect" if not told else "websocket.disconnect"}

    async def send(message: Message) -> None:
        told.append(message)

    await ServiceCenterFront(guarded.registry, access=guarded.access)(scope, receive, send)

    assert told[0]["status"] == 403
