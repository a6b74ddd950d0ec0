"""D2, F20, F21: after any operations through either protocol, both show the same, and nothing that is kept is stale.

Applies random operations to a whole server on a manual clock, restarts it in between, and compares what its readers
hold: the full lists of both protocols, clients that read only deltas, consumers who poll with the revision they were
given, and consumers who only listen to their watch.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import Message

from facade.clock import ManualClock
from facade.stores.memory import MemoryStore
from tests.flows.product import BASE, Product, product

EXAMPLES = int(os.environ.get("EXAMPLES", "60"))
"""How many sequences are played; `EXAMPLES=5000 make test` for the long form."""

IDS = ("one", "two", "three")
EUREKA_NAMES = ("carts", "orders")
SERVICES = (
    ("shop", "carts", "1.0.0"),
    ("shop", "carts", "1.10.0"),
    ("shop", "orders", "1.9"),
    ("eureka", "users", "1"),
)
PROVIDERS = (("eureka", "carts"), ("eureka", "orders"), ("shop", "carts"), ("shop", "orders"), ("eureka", "users"))
Provider = tuple[str, str]

ids = st.sampled_from(IDS)
names = st.sampled_from(EUREKA_NAMES)
services = st.sampled_from(SERVICES)
values = st.sampled_from(("", "a", "1.10"))
statuses = st.sampled_from(("UP", "DOWN", "OUT_OF_SERVICE", "STARTING", "UNKNOWN"))
in_servicecenter = st.sampled_from(("UP", "DOWN", "OUTOFSERVICE", "STARTING", "TESTING"))

operations = st.lists(
    st.one_of(
        st.tuples(st.just("register eureka"), names, ids, statuses, values, st.integers(1, 3)),
        st.tuples(st.just("renew eureka"), names, ids),
        st.tuples(st.just("override over eureka"), names, ids, statuses),
        st.tuples(st.just("restore over eureka"), names, ids),
        st.tuples(st.just("change over servicecenter"), names, ids, in_servicecenter),
        st.tuples(st.just("metadata"), names, ids, values),
        st.tuples(st.just("cancel eureka"), names, ids),
        st.tuples(st.just("create"), services),
        st.tuples(st.just("delete"), services),
        st.tuples(st.just("register servicecenter"), services, ids, values),
        st.tuples(st.just("renew servicecenter"), services, ids),
        st.tuples(st.just("status"), services, ids, in_servicecenter),
        st.tuples(st.just("properties"), services, ids, values),
        st.tuples(st.just("override from eureka"), services, ids, statuses),
        st.tuples(st.just("restore from eureka"), services, ids),
        st.tuples(st.just("cancel servicecenter"), services, ids),
        st.tuples(st.just("wait"), st.integers(1, 100)),
        st.tuples(st.just("restart")),
        st.tuples(st.just("look")),
    ),
    min_size=5,
    max_size=30,
)


class DeltaReader:
    """A Eureka client that fetches in full once and then reads deltas, as Netflix's does."""

    def __init__(self) -> None:
        self.instances: dict[tuple[str, str], dict[str, Any]] = {}
        self.full_fetches = 0

    async def fetch(self, server: Product) -> None:
        self.full_fetches += 1
        document = await _applications(server, "/eureka/apps")
        self.instances = {_key(one): one for one in _instances(document)}

    async def read(self, server: Product) -> None:
        document = await _applications(server, "/eureka/apps/delta")
        for one in _instances(document):
            if one["actionType"] == "DELETED":
                self.instances.pop(_key(one), None)
            else:
                self.instances[_key(one)] = one
        if hash_of(self.instances.values()) != document["apps__hashcode"]:
            await self.fetch(server)


class Finder:
    """A ServiceCenter consumer that polls with the revision it was given, and keeps that over our restarts."""

    def __init__(self, provider: Provider, consumer: str) -> None:
        self.provider = provider
        self._query = {"appId": provider[0], "serviceName": provider[1]}
        self._headers = {"X-ConsumerId": consumer}
        self._revision = ""
        self.instances: dict[str, Any] = {}

    async def poll(self, server: Product) -> None:
        answer = await self._get(server, rev=self._revision)
        if answer.status_code == 200:
            self._revision = answer.headers["X-Resource-Revision"]
            self.instances = _by_id(answer.json().get("instances", []))
        elif answer.status_code != 304:
            assert answer.json()["errorCode"] == "400012"
            self._revision, self.instances = "", {}

    async def anew(self, server: Product) -> dict[str, Any]:
        """What one finds who holds nothing yet."""
        answer = await self._get(server)
        return _by_id(answer.json().get("instances", [])) if answer.status_code == 200 else {}

    async def _get(self, server: Product, **query: str) -> Any:
        return await server.http.get(f"{BASE}/instances", params=self._query | query, headers=self._headers)


class Watcher:
    """A consumer that listed its providers once and since then only does what its watch says."""

    def __init__(self, server: Product, consumer: str, listed: dict[Provider, dict[str, Any]]) -> None:
        path = f"{BASE}/microservices/{consumer}/watcher"
        scope = {"type": "websocket", "path": path, "headers": [], "query_string": b"", "client": ("10.0.0.9", 1)}
        self.instances = {provider: dict(held) for provider, held in listed.items()}
        self._to_server: asyncio.Queue[Message] = asyncio.Queue()
        self._to_server.put_nowait({"type": "websocket.connect"})
        self._serving = asyncio.ensure_future(server.application(scope, self._to_server.get, self._told))

    async def catch_up(self) -> None:
        for _ in range(10):  # turns of the loop: all that is queued is sent in one
            await asyncio.sleep(0)
        assert not self._serving.done()

    async def leave(self) -> None:
        self._to_server.put_nowait({"type": "websocket.disconnect", "code": 1005})
        await self._serving

    async def _told(self, message: Message) -> None:
        if message["type"] != "websocket.send":
            return
        event = json.loads(message["text"])
        held = self.instances[event["key"]["appId"], event["key"]["serviceName"]]
        if event["action"] == "DELETE":
            held.pop(event["instance"]["instanceId"], None)
        else:
            held |= _by_id([event["instance"]])


class Play:
    """One server through its lives, and all who read from it."""

    def __init__(self, server: Product, consumer: str) -> None:
        self.server = server
        self.consumer = consumer
        self.eager, self.lazy = DeltaReader(), DeltaReader()
        self.finders = [Finder(provider, consumer) for provider in PROVIDERS]
        self.service_ids: dict[tuple[str, str, str], str] = {}

    async def sit_down(self) -> None:
        """Every consumer lists and then watches."""
        listed = {finder.provider: await finder.anew(self.server) for finder in self.finders}
        self.watcher = Watcher(self.server, self.consumer, listed)
        await self.watcher.catch_up()

    async def look(self) -> None:
        """Compare what all of them hold."""
        await self.watcher.catch_up()
        await self.lazy.read(self.server)
        full = {_key(one): one for one in _instances(await _applications(self.server, "/eureka/apps"))}
        assert hash_of(self.lazy.instances.values()) == hash_of(full.values())
        for finder in self.finders:
            await finder.poll(self.server)
            anew = await finder.anew(self.server)
            assert finder.instances == anew
            assert self.watcher.instances[finder.provider] == anew
        assert _from_eureka(full) == await _from_servicecenter(self.server)

    async def check_deltas(self) -> None:
        await self.eager.read(self.server)
        document = await _applications(self.server, "/eureka/apps")
        full = {_key(one): one for one in _instances(document)}
        assert document["apps__hashcode"] == hash_of(full.values())
        assert _from_eureka(self.eager.instances) == _from_eureka(full)
        assert self.eager.full_fetches == 1


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(operations, st.booleans())
def test_both_protocols_show_the_same_after_every_operation(steps: list[tuple[Any, ...]], looks_always: bool) -> None:
    """Who looks after each step relies on what was found; who does not may be overtaken by two changes at once."""
    asyncio.run(_play(steps, looks_always))


async def _play(steps: Iterable[tuple[Any, ...]], looks_always: bool) -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    async with AsyncExitStack() as lives:
        server = await lives.enter_async_context(product(store, clock))
        play = Play(server, await server.create_service("consumer", app="shop"))
        await play.eager.fetch(server)
        await play.lazy.fetch(server)
        await play.sit_down()
        for step in steps:
            if step == ("restart",):
                before = await _both(play)
                await play.watcher.leave()
                await lives.aclose()
                play.server = await lives.enter_async_context(product(store, clock))
                assert await _both(play) == before
                await play.sit_down()
            else:
                await _apply(play, step)
            await play.check_deltas()
            if looks_always or step == ("look",):
                await play.look()
        await play.look()
        await play.watcher.leave()


async def _both(play: Play) -> Any:
    full = {_key(one): one for one in _instances(await _applications(play.server, "/eureka/apps"))}
    return _from_eureka(full), await _from_servicecenter(play.server)


async def _apply(play: Play, step: tuple[Any, ...]) -> None:
    """One operation, as a client or an operator would ask for it. What does not exist is refused, and that is fine."""
    http = play.server.http
    match step:
        case ("wait", seconds):
            await play.server.pass_time(seconds)
            return
        case ("look",):
            return
        case ("create", service):
            await _create(play, service)
            return
        case ("delete", service):
            answer = await http.delete(f"{BASE}/microservices/{play.service_ids.get(service)}", params={"force": "1"})
        case ("register servicecenter", service, instance_id, value):
            service_id = await _create(play, service)
            answer = await play.server.register_servicecenter(
                service_id, _id(service, instance_id), properties={"key": value}
            )
            assert answer.status_code == 200
        case (what, str(name), instance_id, *rest):
            answer = await _apply_to_eureka_born(play.server, what, name, instance_id, rest)
        case (what, service, instance_id, *rest):
            answer = await _apply_to_servicecenter_born(play, what, service, instance_id, rest)
    assert answer is None or answer.status_code < 500


async def _create(play: Play, service: tuple[str, str, str]) -> str:
    app, name, version = service
    play.service_ids[service] = await play.server.create_service(
        name, app=app, version=version, properties={"allowCrossApp": "true"}
    )
    return play.service_ids[service]


async def _apply_to_eureka_born(server: Product, what: str, name: str, instance_id: str, rest: list[Any]) -> Any:
    path = f"/eureka/apps/{name}/{instance_id}"
    match what, rest:
        case "register eureka", [status, value, dirty_s]:
            more = {"metadata": {"key": value}, "lastDirtyTimestamp": str(dirty_s * 1000)}
            return await server.register_eureka(name.upper(), instance_id, status=status, **more)
        case "renew eureka", []:
            return await server.http.put(path)
        case "override over eureka", [status]:
            return await server.http.put(f"{path}/status", params={"value": status})
        case "restore over eureka", []:
            return await server.http.delete(f"{path}/status")
        case "change over servicecenter", [status]:
            for found in await server.found(name):
                if found["properties"]["_eureka.instanceId"] == instance_id:
                    path = f"{BASE}/microservices/{found['serviceId']}/instances/{found['instanceId']}/status"
                    answer = await server.http.put(path, params={"value": status})
                    assert answer.status_code == 200
                    return answer
            return None
        case "metadata", [value]:
            return await server.http.put(f"{path}/metadata", params={"key": value})
        case "cancel eureka", []:
            return await server.http.delete(path)
    raise AssertionError(what)


async def _apply_to_servicecenter_born(
    play: Play, what: str, service: tuple[str, str, str], instance_id: str, rest: list[Any]
) -> Any:
    http = play.server.http
    app, name, _ = service
    path = f"{BASE}/microservices/{play.service_ids.get(service)}/instances/{_id(service, instance_id)}"
    in_eureka = f"/eureka/apps/{name if app == 'eureka' else f'{app}.{name}'}/{_id(service, instance_id)}/status"
    match what, rest:
        case "renew servicecenter", []:
            return await http.put(f"{path}/heartbeat")
        case "status", [status]:
            return await http.put(f"{path}/status", params={"value": status})
        case "properties", [value]:
            return await http.put(f"{path}/properties", json={"properties": {"key": value}})
        case "override from eureka", [status]:
            return await http.put(in_eureka, params={"value": status})
        case "restore from eureka", []:
            return await http.delete(in_eureka)
        case "cancel servicecenter", []:
            return await http.delete(path)
    raise AssertionError(what)


def _id(service: tuple[str, str, str], instance_id: str) -> str:
    """Versions of a service are one application in Eureka, where an id means one instance."""
    return f"sc-{SERVICES.index(service)}-{instance_id}"


async def _applications(server: Product, path: str) -> dict[str, Any]:
    answer = await server.http.get(path, headers={"Accept": "application/json"})
    return dict(answer.json()["applications"])


def _from_eureka(instances: dict[tuple[str, str], dict[str, Any]]) -> set[tuple[str, ...]]:
    """Application, id, ServiceCenter's word for the status, what is in the metadata."""
    return {
        (app, id_, _sc(one), str(one["metadata"].get("key")), one["metadata"].get("version", ""))
        for (app, id_), one in instances.items()
    }


async def _from_servicecenter(server: Product) -> set[tuple[str, ...]]:
    """The same, from the lists of all services."""
    seen: set[tuple[str, ...]] = set()
    listed = (await server.http.get(f"{BASE}/microservices")).json()["services"]
    for service in listed:
        path = f"{BASE}/microservices/{service['serviceId']}/instances"
        for one in (await server.http.get(path)).json().get("instances", []):
            key = str(one["properties"].get("key"))
            if "_eureka.app" in one["properties"]:
                names = one["properties"]["_eureka.app"], one["properties"]["_eureka.instanceId"]
                # An operator's TESTING, for which Eureka's readers of their own instances have no word.
                status = "OUTOFSERVICE" if one["status"] == "TESTING" else one["status"]
                seen.add((*names, status, key, ""))
            elif service["serviceName"] != "SERVICECENTER":
                prefix = "" if service["appId"] == "eureka" else f"{service['appId']}."
                name = f"{prefix}{service['serviceName']}".upper()
                seen.add((name, one["instanceId"], one["status"], key, service["version"]))
    return seen


def hash_of(instances: Any) -> str:
    """Netflix's: every status that occurs, in alphabetical order, with its count."""
    statuses = [one["status"] for one in instances]
    return "".join(f"{status}_{statuses.count(status)}_" for status in sorted(set(statuses)))


def _instances(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for application in document["application"] for one in application["instance"]]


def _key(instance: dict[str, Any]) -> tuple[str, str]:
    return instance["app"], instance["instanceId"]


def _by_id(instances: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What every reader must agree on, whichever way it learnt of it."""
    told = ("serviceId", "version", "status", "endpoints", "hostName", "properties", "healthCheck")
    return {one["instanceId"]: {field: one.get(field) for field in told} for one in instances}


def _sc(instance: dict[str, Any]) -> str:
    """ServiceCenter's own word is told beside Eureka's where Eureka has none, and the other way round."""
    status = str(instance["status"])
    told = instance["metadata"].get("_sc.status")
    return str(told) if told else {"OUT_OF_SERVICE": "OUTOFSERVICE", "UNKNOWN": "DOWN"}.get(status, status)
