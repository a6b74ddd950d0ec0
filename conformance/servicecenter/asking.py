"""Asks a ServiceCenter exactly what a case says and keeps the answer whole: header names as spelt, bytes as sent.

The original reads through a cache that lags its writes. `ServiceCenter.soon` grants it that; from ours, which promises
that a write shows in the very next answer, it takes no second try.
"""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from conformance.peers.patience import PATIENCE_S

# Deletes show after at most 2.3 s in the original, dependencies after its queue was worked off.
SOON_S = PATIENCE_S
JSON_TYPE = "application/json; charset=UTF-8"
EMPTY_TYPE = "text/plain; charset=UTF-8"
ROUTER_TEXT_TYPE = "text/plain; charset=utf-8"

Value = TypeVar("Value")
Body = bytes | Mapping[str, Any] | list[Any] | Iterable[bytes] | None


@dataclass(frozen=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first header of that name in any spelling; None when there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def header_values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def revision(self) -> str:
        return self.header("X-Resource-Revision") or ""

    def json(self) -> Any:
        return json.loads(self.body)

    def instances(self) -> list[dict[str, Any]]:
        assert self.status == 200, self.text
        found: list[dict[str, Any]] = self.json().get("instances", [])
        return found

    def instance_ids(self) -> set[str]:
        return {instance["instanceId"] for instance in self.instances()}


@dataclass(frozen=True)
class ServiceCenter:
    """One server, seen from one domain and project; a path without a leading slash is below its registry."""

    url: str
    kind: str = "ours"
    project: str = "default"
    headers: Mapping[str, str] = field(default_factory=dict)

    def path(self, path: str, **query: Any) -> str:
        absolute = path if path.startswith("/") else f"/v4/{self.project}/registry/{path}"
        return f"{absolute}?{urlencode(query)}" if query else absolute

    def ask(
        self,
        method: str,
        path: str,
        body: Body = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = PATIENCE_S,
        **query: Any,
    ) -> Answer:
        """Send one request on a connection of its own. A mapping goes out as JSON, an iterable of bytes in chunks."""
        content = json.dumps(body).encode() if isinstance(body, Mapping) else body
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=timeout_s)
        try:
            connection.request(
                method,
                self.path(path, **query),
                body=content,
                headers={**self.headers, **(headers or {})},
                encode_chunked=not isinstance(content, (bytes, type(None))),
            )
            response = connection.getresponse()
            return Answer(response.status, tuple(response.getheaders()), response.read())
        finally:
            connection.close()

    def get(self, path: str, *, headers: Mapping[str, str] | None = None, **query: Any) -> Answer:
        return self.ask("GET", path, headers=headers, **query)

    def post(self, path: str, body: Body = None, **query: Any) -> Answer:
        return self.ask("POST", path, body, **query)

    def put(self, path: str, body: Body = None, **query: Any) -> Answer:
        return self.ask("PUT", path, body, **query)

    def delete(self, path: str, body: Body = None, **query: Any) -> Answer:
        return self.ask("DELETE", path, body, **query)

    def soon(self, check: Callable[[], object], within_s: float = SOON_S) -> None:
        """Run the check; the real server may fail it for a while."""
        give_up_at = time.monotonic() + (within_s if self.kind == "real" else 0)
        while True:
            try:
                check()
            except (AssertionError, KeyError):
                if time.monotonic() >= give_up_at:
                    raise
                time.sleep(0.05)
            else:
                return

    def expected(self, *, ours: Value, real: Value) -> Value:
        """The two sides of a difference that docs/differences.md explains."""
        return real if self.kind == "real" else ours

    # What most cases need to stand before they can ask.

    def create_service(self, app: str, name: str, version: str = "1.0.0", **members: Any) -> str:
        """Create a service, in `development` if no other environment is named, and wait until it shows."""
        key = {"appId": app, "serviceName": name, "version": version, "environment": "development"}
        answer = self.post("microservices", {"service": {**key, **members}})
        assert answer.status == 200, answer.text
        service_id: str = answer.json()["serviceId"]
        self.soon(lambda: self.service(service_id))
        names = [members["alias"], name] if members.get("alias") else [name]
        for known_as in names:
            self.soon(lambda known_as=known_as: self._assert_exists({**key, **members, "serviceName": known_as}))  # type: ignore[misc]  # mypy infers no lambda with a default
        return service_id

    def _assert_exists(self, members: Mapping[str, Any]) -> None:
        key = {"appId": members["appId"], "serviceName": members["serviceName"], "version": members["version"]}
        answer = self.get("existence", type="microservice", env=members["environment"], **key)
        assert answer.status == 200, answer.text

    def register(self, service_id: str, **members: Any) -> str:
        """Register an instance and wait until it is listed."""
        instance = {"hostName": "host", "endpoints": ["rest://10.0.0.1:80"], **members}
        answer = self.post(f"microservices/{service_id}/instances", {"instance": instance})
        assert answer.status == 200, answer.text
        instance_id: str = answer.json()["instanceId"]

        def is_listed() -> None:
            assert instance_id in self.listed(service_id)

        self.soon(is_listed)
        return instance_id

    def service(self, service_id: str) -> dict[str, Any]:
        answer = self.get(f"microservices/{service_id}")
        assert answer.status == 200, answer.text
        service: dict[str, Any] = answer.json()["service"]
        return service

    def instance(self, service_id: str, instance_id: str) -> dict[str, Any]:
        answer = self.get(f"microservices/{service_id}/instances/{instance_id}")
        assert answer.status == 200, answer.text
        instance: dict[str, Any] = answer.json()["instance"]
        return instance

    def listed(self, service_id: str) -> set[str]:
        return self.get(f"microservices/{service_id}/instances").instance_ids()

    def find(self, app: str, name: str, *, consumer: str = "", env: str = "development", **query: Any) -> Answer:
        """Find instances; an empty `env` is left out."""
        headers = {"X-ConsumerId": consumer} if consumer else {}
        named = {"env": env} if env else {}
        return self.get("instances", headers=headers, appId=app, serviceName=name, **named, **query)

    def consumers(self, service_id: str) -> set[str]:
        return {service["serviceId"] for service in self._related(service_id, "consumers")}

    def providers(self, service_id: str) -> set[str]:
        return {service["serviceId"] for service in self._related(service_id, "providers")}

    def _related(self, service_id: str, side: str) -> list[dict[str, Any]]:
        answer = self.get(f"microservices/{service_id}/{side}")
        assert answer.status == 200, answer.text
        services: list[dict[str, Any]] = answer.json().get(side, [])
        return services


@dataclass(frozen=True)
class Shop:
    """Fixture F of the protocol file, under application names that no other test uses."""

    app: str
    other_app: str
    s1: str
    s2: str
    consumer: str
    closed: str
    open: str

    @staticmethod
    def create(sc: ServiceCenter, app: str) -> Shop:
        other_app = f"{app}-2"
        return Shop(
            app,
            other_app,
            s1=sc.create_service(app, "prov", "1.0.0", alias=f"{app}:prov"),
            s2=sc.create_service(app, "prov", "2.0.0"),
            consumer=sc.create_service(app, "cons"),
            closed=sc.create_service(other_app, "other"),
            open=sc.create_service(other_app, "open", properties={"allowCrossApp": "true"}),
        )


def unique(prefix: str) -> str:
    """A name that no earlier run has left behind on the server."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


WITHOUT_KIE = "this ServiceCenter has no servicecomb-kie behind it"


def keeps_policies(sc: ServiceCenter) -> bool:
    """The original does where a servicecomb-kie stands behind it."""
    return sc.kind == "ours" or "not support kind" not in sc.post("/v1/default/gov/retry", {}).text


def outnumber_deletes(sc: ServiceCenter) -> None:
    """Forty instances that stay: the original holds deletes back while they are four in five of its instances."""
    stays = sc.create_service(unique("stays"), "stays")
    for _ in range(40):
        instance = {"hostName": "stays", "healthCheck": {"mode": "push", "interval": 300, "times": 3}}
        sc.post(f"microservices/{stays}/instances", {"instance": instance})


def body_of_size(size: int, body: Callable[[str], Mapping[str, Any]]) -> bytes:
    """The JSON of `body(filler)` with a filler that makes it exactly `size` bytes."""
    bare = len(json.dumps(body("")))
    content = json.dumps(body("x" * (size - bare))).encode()
    assert len(content) == size
    return content


def assert_ok(answer: Answer) -> None:
    """Success without a result: 200, text, no body."""
    assert (answer.status, answer.header("Content-Type"), answer.body) == (200, EMPTY_TYPE, b"")


def assert_json(answer: Answer, document: object) -> None:
    assert (answer.status, answer.header("Content-Type")) == (200, JSON_TYPE), answer.text
    assert answer.json() == document


def assert_refused(answer: Answer, code: int, text: str = "") -> None:
    """An error body: the code as text, its first three digits as status, the text in the detail."""
    assert (answer.status, answer.header("Content-Type")) == (code // 1000, JSON_TYPE), answer.text
    error = answer.json()
    assert error["errorCode"] == str(code), error
    assert error["errorMessage"]
    assert text in error.get("detail", ""), error
