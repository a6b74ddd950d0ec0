"""D2 and F21: after any sequence of operations through either protocol, both show the same, and nothing kept is stale.

Applies random operations to a whole server on a manual clock, and after each compares what its readers hold: the full
list, a client that reads only deltas, and ServiceCenter's consumers who poll with the revision they were given.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facade.clock import ManualClock
from facade.stores.memory import MemoryStore
from tests.flows.product import BASE, Product, product

STATUSES = ("UP", "DOWN", "OUT_OF_SERVICE")
NAMES = ("carts", "orders")
IDS = ("one", "two", "three")

operations = st.lists(
    st.one_of(
        st.tuples(
            st.just("register eureka"), st.sampled_from(NAMES), st.sampled_from(IDS), st.sampled_from(("UP", "DOWN"))
        ),
        st.tuples(st.just("register servicecenter"), st.sampled_from(NAMES), st.sampled_from(IDS)),
        st.tuples(st.just("renew"), st.sampled_from(NAMES), st.sampled_from(IDS)),
        st.tuples(st.just("drain"), st.sampled_from(NAMES), st.sampled_from(IDS), st.sampled_from(STATUSES)),
        st.tuples(st.just("restore"), st.sampled_from(NAMES), st.sampled_from(IDS)),
        st.tuples(st.just("cancel eureka"), st.sampled_from(NAMES), st.sampled_from(IDS)),
        st.tuples(st.just("cancel servicecenter"), st.sampled_from(NAMES), st.sampled_from(IDS)),
        st.tuples(st.just("metadata"), st.sampled_from(NAMES), st.sampled_from(IDS), st.text("ab", max_size=3)),
        st.tuples(st.just("wait"), st.integers(1, 100)),
        st.tuples(st.just("read")),
    ),
    max_size=25,
)


class DeltaReader:
    """A Eureka client that fetches in full once and then reads deltas, as Netflix's does."""

    def __init__(self, server: Product) -> None:
        self._server = server
        self.instances: dict[tuple[str, str], dict[str, Any]] = {}
        self.full_fetches = 0

    async def fetch(self) -> None:
        self.full_fetches += 1
        document = await self._get("/eureka/apps")
        self.instances = {_key(one): one for one in _instances(document)}

    async def read(self) -> None:
        document = await self._get("/eureka/apps/delta")
        for one in _instances(document):
            if one["actionType"] == "DELETED":
                self.instances.pop(_key(one), None)
            else:
                self.instances[_key(one)] = one
        assert hash_of(self.instances.values()) == document["apps__hashcode"]

    async def _get(self, path: str) -> dict[str, Any]:
        answer = await self._server.http.get(path, headers={"Accept": "application/json"})
        return dict(answer.json()["applications"])


class Finder:
    """A ServiceCenter consumer that polls with the revision it was given."""

    def __init__(self, server: Product, name: str, consumer: str) -> None:
        self._server = server
        self._query = {"appId": "eureka", "serviceName": name}
        self._headers = {"X-ConsumerId": consumer}
        self._revision = ""
        self.instances: dict[str, dict[str, Any]] = {}

    async def poll(self) -> None:
        query = self._query | {"rev": self._revision}
        answer = await self._server.http.get(f"{BASE}/instances", params=query, headers=self._headers)
        if answer.status_code == 200:
            self._revision = answer.headers["X-Resource-Revision"]
            self.instances = {one["instanceId"]: one for one in answer.json().get("instances", [])}
        elif answer.status_code != 304:
            assert answer.json()["errorCode"] == "400012"
            self._revision, self.instances = "", {}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(operations)
def test_both_protocols_show_the_same_after_every_operation(steps: list[tuple[Any, ...]]) -> None:
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[Any, ...]]) -> None:
    clock = ManualClock()
    async with product(MemoryStore(clock), clock) as server:
        consumer = await server.create_service("consumer")
        services = {name: await server.create_service(name, version="1.0.0", app="shop") for name in NAMES}
        reader = DeltaReader(server)
        finders = [Finder(server, name, consumer) for name in NAMES]
        await reader.fetch()
        for step in steps:
            await _apply(server, services, step)
            await reader.read()
            for finder in finders:
                await finder.poll()
            await _compare(server, services, reader, finders)
        assert reader.full_fetches == 1


async def _apply(server: Product, services: dict[str, str], step: tuple[Any, ...]) -> None:
    """One operation, as a client or an operator would ask for it. What does not exist is refused, and that is fine."""
    http = server.http
    match step:
        case ("register eureka", name, instance_id, status):
            await server.register_eureka(name.upper(), instance_id, status=status)
        case ("register servicecenter", name, instance_id):
            answer = await server.register_servicecenter(services[name], f"sc-{instance_id}")
            assert answer.status_code == 200
        case ("renew", name, instance_id):
            await http.put(f"/eureka/apps/{name}/{instance_id}", params={"lastDirtyTimestamp": "1000"})
            await http.put(f"{BASE}/microservices/{services[name]}/instances/sc-{instance_id}/heartbeat")
        case ("drain", name, instance_id, status):
            await http.put(f"/eureka/apps/{name}/{instance_id}/status", params={"value": status})
            await http.put(f"/eureka/apps/SHOP.{name}/sc-{instance_id}/status", params={"value": status})
        case ("restore", name, instance_id):
            await http.delete(f"/eureka/apps/{name}/{instance_id}/status", params={"value": "UP"})
            await http.delete(f"/eureka/apps/SHOP.{name}/sc-{instance_id}/status")
        case ("cancel eureka", name, instance_id):
            await http.delete(f"/eureka/apps/{name}/{instance_id}")
        case ("cancel servicecenter", name, instance_id):
            await http.delete(f"{BASE}/microservices/{services[name]}/instances/sc-{instance_id}")
        case ("metadata", name, instance_id, value):
            await http.put(f"/eureka/apps/{name}/{instance_id}/metadata", params={"key": value})
        case ("wait", seconds):
            await server.pass_time(seconds)


async def _compare(server: Product, services: dict[str, str], reader: DeltaReader, finders: list[Finder]) -> None:
    document = (await server.http.get("/eureka/apps", headers={"Accept": "application/json"})).json()["applications"]
    full = {_key(one): one for one in _instances(document)}
    assert document["apps__hashcode"] == hash_of(full.values())
    assert _shown(reader.instances) == _shown(full)
    for finder, name in zip(finders, NAMES, strict=True):
        in_eureka = {
            (id_, _sc(one["status"]), one["metadata"].get("key"))
            for (application, id_), one in full.items()
            if application == name.upper()
        }
        in_servicecenter = {
            (one["properties"]["_eureka.instanceId"], one["status"], one["properties"].get("key"))
            for one in finder.instances.values()
        }
        assert in_servicecenter == in_eureka
        listed = (await server.http.get(f"{BASE}/microservices/{services[name]}/instances")).json()
        native = {(one["instanceId"], one["status"]) for one in listed.get("instances", [])}
        projected = {(id_, _sc(one["status"])) for (app, id_), one in full.items() if app == f"SHOP.{name.upper()}"}
        assert projected == native


def hash_of(instances: Any) -> str:
    """Netflix's: every status that occurs, in alphabetical order, with its count."""
    statuses = [one["status"] for one in instances]
    return "".join(f"{status}_{statuses.count(status)}_" for status in sorted(set(statuses)))


def _instances(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for application in document["application"] for one in application["instance"]]


def _key(instance: dict[str, Any]) -> tuple[str, str]:
    return instance["app"], instance["instanceId"]


def _shown(instances: dict[tuple[str, str], dict[str, Any]]) -> dict[tuple[str, str], str]:
    """What must be equal: a lease's own timestamps may be as old as the last change."""
    return {key: json.dumps({"status": one["status"], "metadata": one["metadata"]}) for key, one in instances.items()}


def _sc(status: str) -> str:
    return {"OUT_OF_SERVICE": "OUTOFSERVICE", "UNKNOWN": "DOWN"}.get(status, status)
