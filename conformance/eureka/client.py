"""A Eureka client that sends exactly what a case states, and the documents the cases speak of."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import httpx

Document = dict[str, Any]

JSON = {"Accept": "application/json"}
XML = {"Accept": "application/xml"}
COMPACT = {"X-Eureka-Accept": "compact"}
REPLICATED = {"x-netflix-discovery-replication": "true"}

DATA_CENTER_CLASS = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"
AMAZON_CLASS = "com.netflix.appinfo.AmazonInfo"
NO_METADATA = {"@class": "java.util.Collections$EmptyMap"}

_HTTPX_ADDS = ("accept", "accept-encoding", "user-agent")


def registration(app: str, instance_id: str, *, without: Iterable[str] = (), **changes: Any) -> Document:
    """The instance that a case's REG(app, id, …) registers; changed fields that are new come last, in order."""
    instance: Document = {
        "instanceId": instance_id,
        "hostName": "h1",
        "app": app,
        "ipAddr": "10.0.0.1",
        "status": "UP",
        "port": {"$": 8080, "@enabled": "true"},
        "vipAddress": "v1",
        "dataCenterInfo": {"@class": DATA_CENTER_CLASS, "name": "MyOwn"},
        "lastDirtyTimestamp": "1000",
    }
    instance |= changes
    return {key: value for key, value in instance.items() if key not in without}


def registration_xml(
    app: str, instance_id: str = "i1", *, status: str = "UP", port: str = "8080", more: str = ""
) -> str:
    """The same registration as an XML client writes it; `more` is put in before the end."""
    return (
        f"<instance><instanceId>{instance_id}</instanceId><hostName>h1</hostName><app>{app}</app>"
        f"<ipAddr>10.0.0.1</ipAddr><status>{status}</status><port enabled='true'>{port}</port>"
        f"<vipAddress>v1</vipAddress><dataCenterInfo class='{DATA_CENTER_CLASS}'><name>MyOwn</name></dataCenterInfo>"
        f"<lastDirtyTimestamp>1000</lastDirtyTimestamp>{more}</instance>"
    )


def amazon(*, metadata: Mapping[str, str] | None = None) -> Document:
    """A dataCenterInfo of Amazon, its keys in the order that the original insists on."""
    info: Document = {"@class": AMAZON_CLASS, "name": "Amazon"}
    return info if metadata is None else info | {"metadata": dict(metadata)}


def hash_of(applications: Document) -> str:
    """The apps__hashcode that belongs to a document, counted from its instances."""
    counts = Counter(i["status"] for application in applications["application"] for i in application["instance"])
    return "".join(f"{status}_{counts[status]}_" for status in sorted(counts))


def instances_of(applications: Document, app: str) -> list[Document]:
    """The instances listed under one application; asserts that the application stands there once at most."""
    found = [application for application in applications["application"] if application["name"] == app]
    assert len(found) <= 1, f"{app} is listed {len(found)} times"
    return list(found[0]["instance"]) if found else []


def effective_id(instance: Document) -> str:
    """The id under which an instance is kept, also if its document names none (case 36)."""
    amazon_id = instance["dataCenterInfo"].get("metadata", {}).get("instance-id")
    return str(instance.get("instanceId") or amazon_id or instance["hostName"])


def instance_path(app: str, instance_id: str) -> str:
    """Where an instance lives under the API's base; the id is percent-encoded whole."""
    return f"apps/{app}/{quote(instance_id, safe='')}"


class _OwnConnections(threading.local):
    """Each thread's own HTTP client: httpx's pool may close a connection that another thread was just given."""

    def __init__(self, url: str, timeout_s: float) -> None:
        # A connection for each request, so that a load balancer gives each to the next node.
        self.http = httpx.Client(base_url=url, timeout=timeout_s, limits=httpx.Limits(max_keepalive_connections=0))


class Eureka:
    """One Eureka server, and what a test has registered there."""

    def __init__(self, url: str, base: str = "/eureka", timeout_s: float = 30) -> None:
        self.url = url
        self.base = base
        self._connections = _OwnConnections(url, timeout_s)
        self._applications: set[str] = set()

    def send(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, content: Any = None
    ) -> httpx.Response:
        """Ask with no headers but the ones given. A path that starts with a slash is not put under the base."""
        headers = headers or {}
        address = path if path.startswith("/") else f"{self.base}/{path}"
        http = self._connections.http
        request = http.build_request(method, address, headers=headers, content=content)
        stated = {name.lower() for name in headers}
        for name in _HTTPX_ADDS:
            if name not in stated:
                del request.headers[name]
        return http.send(request)

    def get(self, path: str, **headers_or_content: Any) -> httpx.Response:
        return self.send("GET", path, **headers_or_content)

    def put(self, path: str, **headers_or_content: Any) -> httpx.Response:
        return self.send("PUT", path, **headers_or_content)

    def delete(self, path: str, **headers_or_content: Any) -> httpx.Response:
        return self.send("DELETE", path, **headers_or_content)

    def post(self, app: str, content: Any, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Register whatever the content is, as JSON unless the headers say otherwise."""
        self._applications.add(app.upper())
        if isinstance(content, dict):
            content = json.dumps(content, ensure_ascii=False).encode()
        return self.send(
            "POST", f"apps/{app}", headers={"Content-Type": "application/json"} | dict(headers or {}), content=content
        )

    def register(
        self,
        app: str,
        instance_id: str = "i1",
        *,
        without: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> httpx.Response:
        """A case's REG(app, id, …), whatever the answer is."""
        return self.post(app, {"instance": registration(app, instance_id, without=without, **changes)}, headers)

    def given(self, app: str, instance_id: str = "i1", **changes: Any) -> None:
        """An instance that has to be there before the case begins."""
        answer = self.register(app, instance_id, **changes)
        assert answer.status_code == 204, answer.text

    def renew(self, app: str, instance_id: str = "i1", query: str = "", **headers_or_content: Any) -> httpx.Response:
        return self.put(instance_path(app, instance_id) + query, **headers_or_content)

    def cancel(self, app: str, instance_id: str = "i1", **headers_or_content: Any) -> httpx.Response:
        return self.delete(instance_path(app, instance_id), **headers_or_content)

    def override(self, app: str, instance_id: str = "i1", query: str = "") -> httpx.Response:
        return self.put(f"{instance_path(app, instance_id)}/status{query}")

    def lift_override(self, app: str, instance_id: str = "i1", query: str = "") -> httpx.Response:
        return self.delete(f"{instance_path(app, instance_id)}/status{query}")

    def put_metadata(self, app: str, instance_id: str = "i1", query: str = "") -> httpx.Response:
        return self.put(f"{instance_path(app, instance_id)}/metadata{query}")

    def json(self, path: str, headers: Mapping[str, str] | None = None) -> Any:
        """What stands under the single root key of a JSON document."""
        answer = self.get(path, headers=JSON | dict(headers or {}))
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        (root,) = json.loads(answer.content).values()
        return root

    def xml(self, path: str, headers: Mapping[str, str] | None = None) -> ElementTree.Element:
        answer = self.get(path, headers=XML | dict(headers or {}))
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return ElementTree.fromstring(answer.content)

    def instance(self, app: str, instance_id: str = "i1") -> Document:
        found: Document = self.json(instance_path(app, instance_id))
        return found

    def registry(self) -> Document:
        whole: Document = self.json("apps")
        return whole

    def delta(self) -> Document:
        changes: Document = self.json("apps/delta")
        return changes

    def listed(self, app: str) -> list[Document]:
        return instances_of(self.registry(), app)

    def changed(self, app: str) -> list[Document]:
        return instances_of(self.delta(), app)

    def close(self) -> None:
        """Remove what was registered, so that the next test and the server's other users see none of it."""
        for app in self._applications:
            listed = self.get(f"apps/{quote(app, safe='')}", headers=JSON)
            if listed.status_code == 200:
                for found in listed.json()["application"]["instance"]:
                    self.cancel(quote(app, safe=""), effective_id(found))
        self.disconnect()

    def disconnect(self) -> None:
        """Leave the server as it is."""
        self._connections.http.close()
