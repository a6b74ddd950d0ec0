"""go-chassis/sc-client, the library under go-chassis: each public call of it, with what it returns."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from conformance.clients.life import soon
from conformance.clients.servicecenter.conftest import Live
from conformance.clients.servicecenter.life import Document, Life
from conformance.clients.servicecenter.programs import ACCOUNT, SC_CLIENT, Client

pytestmark = pytest.mark.parametrize("client", SC_CLIENT, ids=str, indirect=True)

# About the client alone, or called by NewClient.
NOT_ASKED_OF_A_SERVER = {"GetDefaultHeaders"}


class Caller(NamedTuple):
    life: Life

    def call(self, name: str, *arguments: Any) -> list[Any]:
        """All that the call returns; an error is last, as text, and None without one."""
        answer = httpx.post(f"{self.life.running.url}/call/{name}", json=arguments)
        assert answer.status_code == 200, answer.text
        return list(answer.json())

    def __call__(self, name: str, *arguments: Any) -> Any:
        """The result of a call that succeeds."""
        *result, error = self.call(name, *arguments)
        assert error is None, error
        return result[0] if result else None

    def error(self, name: str, *arguments: Any) -> str:
        """Empty when the call succeeds."""
        return self.call(name, *arguments)[-1] or ""

    def told(self) -> list[list[Any]]:
        """What its callbacks were told, each after the name of the call."""
        return list(self.life.ask("told").json())

    def service(self, name: str, version: str = "1.0.0", **members: Any) -> str:
        key = {"appId": self.life.app, "serviceName": name, "version": version}
        service_id: str = self("RegisterService", {**key, "status": "UP", "level": "BACK", **members})
        self.life.registry.sc.soon(lambda: self.life.registry.sc.service(service_id))
        return service_id

    def instance(self, service_id: str, endpoint: str = "rest://10.1.2.3:80", **members: Any) -> str:
        stated = {"serviceId": service_id, "hostName": "h", "status": "UP", "endpoints": [endpoint]}
        instance_id: str = self("RegisterMicroServiceInstance", {**stated, **members})
        soon(lambda: instance_id in self.life.registry.sc.listed(service_id))
        return instance_id


@pytest.fixture
def call(live: Live) -> Caller:
    return Caller(live())


def test_registers(call: Caller, app: str) -> None:
    """Finds no service at first, registers one and an instance, and reads both back with the defaults"""
    assert call("GetMicroServiceID", app, "provider", "1.0.0", "") == ""

    service_id = call.service("provider", properties={"colour": "<green> & blue"})
    instance_id = call.instance(service_id)

    assert call("GetMicroServiceID", app, "provider", "1.0.0", "") == service_id
    service = call("GetMicroService", service_id)
    assert (service["serviceName"], service["properties"]) == ("provider", {"colour": "<green> & blue"})
    (instance,) = call("GetMicroServiceInstances", service_id, service_id)
    assert (instance["instanceId"], instance["endpoints"]) == (instance_id, ["rest://10.1.2.3:80"])
    assert instance["healthCheck"] == {"mode": "push", "interval": 30, "times": 3}
    assert "400001" in call.error("RegisterService", {"serviceName": "no version?", "appId": app})


def test_finds(call: Caller, app: str) -> None:
    """Finds instances; is told by 304 that nothing changed; knows an unknown provider by its code; finds in batches"""
    consumer, provider = call.service("consumer"), call.service("provider")
    first = call.instance(provider)

    def found(*options: str) -> set[str]:
        instances = call("FindMicroServiceInstances", consumer, app, "provider", "0+", *options)
        return {one["instanceId"] for one in instances or ()}

    soon(lambda: found("WithoutRevision") == {first})
    assert call.error("FindMicroServiceInstances", consumer, app, "provider", "0+") == (
        "instance is not changed since last query"
    )
    second = call.instance(provider, "rest://10.1.2.4:80")
    soon(lambda: found("WithoutRevision") == {first, second})
    assert (
        call.error("FindMicroServiceInstances", consumer, app, "nobody", "0+", "WithGlobal")
        == "micro-service does not exist"
    )

    assert call.call("ResetRevision") == []
    keys = [{"service": {"appId": app, "serviceName": name, "version": "0+"}} for name in ("provider", "nobody")]
    batch = call("BatchFindInstances", consumer, keys)["services"]
    assert {one["instanceId"] for one in batch["updated"][0]["instances"]} == {first, second}
    assert (batch["updated"][0]["index"], batch["failed"][0]["indexes"]) == (0, [1])
    assert batch["failed"][0]["error"]["errorCode"] == "400012"
    soon(lambda: provider in {one["serviceId"] for one in call("GetProviders", consumer)["providers"] or ()})


def test_beats(call: Caller) -> None:
    """Renews a lease by PUT, and is told that an instance is unknown"""
    service_id = call.service("provider")
    instance_id = call.instance(service_id)

    soon(lambda: call.call("Heartbeat", service_id, instance_id) == [True, None])
    assert "400017" in call.error("Heartbeat", service_id, "nobody")


def test_beats_by_websocket(call: Caller, client: Client) -> None:
    """Beats by websocket, and is told that the instance is gone (4001); with access control is refused: no token"""
    service_id = call.service("provider")
    instance_id = call.instance(service_id)

    if client.access == "on":
        assert call.error("WSHeartbeat", service_id, instance_id, None) == "websocket: bad handshake"
        return
    assert call.error("WSHeartbeat", service_id, "nobody", None) == ""
    soon(lambda: ["WSHeartbeat"] in call.told())
    call("WSHeartbeat", service_id, instance_id, None)
    call("Close") if False else None


def test_watches(call: Caller, client: Client, app: str) -> None:
    """Is told of each change of a provider it has found, in order; with access control it is refused: no token"""
    consumer, provider = call.service("consumer"), call.service("provider")
    soon(lambda: call.call("FindMicroServiceInstances", consumer, app, "provider", "0+", "WithoutRevision")[1] is None)
    soon(lambda: provider in {one["serviceId"] for one in call("GetProviders", consumer)["providers"] or ()})
    watch = call.error("WatchMicroService", consumer, None)
    if client.access == "on":
        assert watch.endswith("websocket: bad handshake")
        return
    assert watch == ""

    instance_id = call.instance(provider)
    soon(lambda: _changes(call) == [("CREATE", "UP")])
    assert call("UpdateMicroServiceInstanceStatus", provider, instance_id, "DOWN")
    soon(lambda: _changes(call)[1:] == [("UPDATE", "DOWN")])
    assert call("UnregisterMicroServiceInstance", provider, instance_id)
    soon(lambda: _changes(call)[2:] == [("DELETE", "DOWN")])

    events: list[Document] = [event for _, event in call.told()]
    assert {one["instance"]["instanceId"] for one in events} == {instance_id}
    assert {(one["key"]["appId"], one["key"]["serviceName"], one["key"]["version"]) for one in events} == {
        (app, "provider", "1.0.0")
    }


def _changes(call: Caller) -> list[tuple[str, str]]:
    """What watchers are told, but for updates without a change, of which the original sends some."""
    told = [(event["action"], event["instance"]["status"]) for _, event in call.told()]
    return [one for one in told if one != ("UPDATE", "UP")]


def test_stores_schemas(call: Caller) -> None:
    """Stores a schema and reads it back; a second one replaces the first, since this client sends lists of one"""
    service_id = call.service("provider")

    call("AddSchemas", service_id, "one", "swagger: '2.0' # <&>")
    soon(lambda: _schema(call, service_id, "one") == "swagger: '2.0' # <&>")
    call("AddSchemas", service_id, "two", "openapi: 3.0.0")
    soon(lambda: _schema(call, service_id, "two") == "openapi: 3.0.0")
    assert _schema(call, service_id, "one") == ""


def _schema(call: Caller, service_id: str, name: str) -> str:
    """Without the schema this client returns neither text nor error."""
    text = call("GetSchema", service_id, name)
    return str(json.loads(text)["schema"]) if text else ""


def test_updates(call: Caller) -> None:
    """Changes an instance's status and properties, and a service's properties"""
    service_id = call.service("provider")
    instance_id = call.instance(service_id, properties={"old": "1"})
    sc = call.life.registry.sc

    assert call("UpdateMicroServiceInstanceStatus", service_id, instance_id, "TESTING")
    soon(lambda: sc.instance(service_id, instance_id)["status"] == "TESTING")
    changed = {"instanceId": instance_id, "serviceId": service_id, "properties": {"new": "2"}}
    assert call("UpdateMicroServiceInstanceProperties", service_id, instance_id, changed)
    soon(lambda: sc.instance(service_id, instance_id)["properties"] == {"new": "2"})
    assert call("UpdateMicroServiceProperties", service_id, {"serviceName": "provider", "properties": {"a": "b"}})
    soon(lambda: sc.service(service_id)["properties"] == {"a": "b"})
    assert "400001" in call.error("UpdateMicroServiceInstanceStatus", service_id, instance_id, "HALF-UP")


def test_lists(call: Caller, app: str) -> None:
    """Lists all services, all applications, and all services with their instances"""
    service_id = call.service("provider")
    instance_id = call.instance(service_id)

    assert service_id in {one["serviceId"] for one in call("GetAllMicroServices")}
    soon(lambda: app in call("GetAllApplications"))
    details = {one["microService"]["serviceId"]: one for one in call("GetAllResources", "instances")}
    assert [one["instanceId"] for one in details[service_id]["instances"]] == [instance_id]


def test_learns_the_servers_addresses(call: Caller) -> None:
    """Learns from the health answer where the servers are, and goes on with these addresses"""
    (server,) = call("Health")
    assert server["status"] == "UP"
    port = call.life.registry.url.rpartition(":")[2]
    assert [endpoint.strip("/").rpartition(":")[2] for endpoint in server["endpoints"]] == [port]

    call("SyncEndpoints")
    asked = len(call.life.wire.exchanges)
    assert call("Health")
    assert len(call.life.wire.exchanges) == asked  # it goes past the wiretap now


def test_logs_in(call: Caller, client: Client) -> None:
    """Gets a token for the right password alone; without access control there is no such call"""
    given = call.call("GetToken", {"name": ACCOUNT.name, "password": ACCOUNT.password})
    wrong = call.error("GetToken", {"name": "nobody", "password": "Wrong_one1"})
    if client.access == "on":
        assert (given[0].count("."), given[1]) == (2, None)
        assert wrong.endswith("response status code: 401")
    else:
        assert given[1].endswith("response status code: 404")


def test_unregisters(call: Caller, app: str) -> None:
    """Takes an instance away and then its service; a second time is refused"""
    service_id = call.service("provider")
    instance_id = call.instance(service_id)

    assert call("UnregisterMicroServiceInstance", service_id, instance_id)
    soon(lambda: not call.life.registry.sc.listed(service_id))
    assert "400017" in call.error("UnregisterMicroServiceInstance", service_id, instance_id)
    assert call("UnregisterMicroService", service_id)
    soon(lambda: call("GetMicroServiceID", app, "provider", "1.0.0", "") == "")
    assert "400012" in call.error("UnregisterMicroService", service_id)
    call("Close")


def test_no_call_is_left_out(call: Caller) -> None:
    """Has no call that was not tried here"""
    tried = set(re.findall(r'[( ]call(?:\.call|\.error)?\(\s*"(\w+)"', Path(__file__).read_text()))
    tried |= {"RegisterService", "RegisterMicroServiceInstance"}

    assert set(call.life.ask("methods").json()) - tried == NOT_ASKED_OF_A_SERVER
