"""Makes traces of operations from a seed, each on a domain of its own. What we mean to differ in is left out by name.

Names in `@` stand for what is known only when a trace runs: `@D@` for its domain, `@E@` for another one of its own,
`@s0@`, `@s1@`, … for the ids of the services it has created, `@i0@`, … for those of the instances it has registered,
`@h0@`, … for the services of these, `@rev@` for the revision last seen in the answer to the same question.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from conformance.servicecenter.differential import documents, instance_requests, service_requests
from conformance.servicecenter.differential.naming import Made

SHORTEST, LONGEST = 10, 40
DEFAULT = {"X-Domain-Name": "@D@"}

V3 = "/registry/v3/"
_V4_ONLY = ("instances/action", "instances/status", "dependencies")


class Operation(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: str | None = None

    def __str__(self) -> str:
        headers = "".join(f"\n      {name}: {value}" for name, value in self.headers.items())
        return f"{self.method} {self.path}{headers}" + ("" if self.body is None else f"\n      {self.body!r}")


Trace = list[Operation]


def trace(seed: str) -> Trace:
    """The same trace for the same seed, for ever."""
    random = Random(seed)
    makers, weights = zip(*_MAKERS, strict=True)
    chosen = random.choices(makers, weights, k=random.randint(SHORTEST, LONGEST))
    begun = _BEGUN if random.random() < 0.8 else ()
    return [*begun, *(_dressed(random, *make(random)) for make in chosen)]


def _plainly(method: str, path: str, document: documents.Document) -> Operation:
    return Operation(method, f"/v4/default/registry/{path}", dict(DEFAULT), json.dumps(document))


_HERE = {"appId": "shop", "version": "1.0.0", "environment": "development"}
_BEGUN = (
    _plainly("POST", "microservices", {"service": _HERE | {"serviceName": "prov", "alias": "shop:prov"}}),
    _plainly("POST", "microservices", {"service": _HERE | {"serviceName": "cons"}}),
    _plainly(
        "POST", "microservices/@s0@/instances", {"instance": {"hostName": "h", "endpoints": ["rest://10.0.0.1:80"]}}
    ),
)
"""Most traces begin so: what follows meets something more often than not."""


def _dressed(random: Random, method: str, path: str, body: str | None = None) -> Operation:
    """A request with its headers, mostly the plain ones; now and then by the older path or from another tenant."""
    headers = dict(DEFAULT)
    if path.startswith("/"):
        return Operation(method, path, headers, body)
    base = "/v4/default/registry/"
    chance = random.random()
    if chance < 0.1 and not path.startswith(_V4_ONLY):
        base = V3
        headers = random.choice((headers, {"X-Tenant-Name": "@D@"}, {"X-Tenant-Name": "@D@", "X-Domain-Name": "@E@"}))
    elif chance < 0.13:
        base = "/v4/other/registry/"
    elif chance < 0.16:
        headers["X-Domain-Name"] = "@E@"
    if _knows_consumers(method, path) and random.random() < 0.45:
        headers["X-ConsumerId"] = _consumer(random)
    if random.random() < 0.1:
        name, value = random.choice(_HEADERS)
        headers[name] = value
    return Operation(method, base + path, headers, body)


_HEADERS = (
    ("Origin", "http://elsewhere.example"),
    ("Accept-Encoding", "gzip"),
    ("Accept-Encoding", "gzip, deflate"),
    ("Accept", "application/xml"),
    ("Content-Type", "text/plain"),
    ("X-ConsumerId", "nope"),
    ("X-Tenant-Name", "@E@"),
    ("X-Real-Ip", "10.0.0.9"),
    ("x-domain-name", "@D@"),
)


def _knows_consumers(method: str, path: str) -> bool:
    return (method == "GET" and "instances" in path) or path.startswith("instances/action")


def _consumer(random: Random) -> str:
    return random.choice((*("@s0@", "@s1@", "@s1@", "@s1@", "@s2@") * 4, "nope", "a b", "x" * 65))


# What leads nowhere


def _stray(random: Random) -> Made:
    """Unknown paths, methods that a path has not, questions of browsers; nothing that is done all the same (6-8)."""
    method = random.choice(("GET", "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"))
    path = random.choice(
        (
            *("microservices/", "instances/", "microservices/@s0@/", "microservices/@s0@/rules", "nope", "heartbeats"),
            *(
                "microservices/@s0@/instances/@i0@/nope",
                "microservices/@s0@/listwatcher",
                "existence/x",
                "dependencies",
            ),
            *("instances/action", "instances/status", "microservices/@s0@/providers", "microservices/@s0@/consumers"),
            *(
                "microservices/@s0@/tags",
                "microservices/@s0@/tags/t1",
                "microservices/@s0@/schemas",
                "microservices/@s0@",
            ),
            *("microservices/@s0@/schemas/a", "microservices/@s0@/properties", "microservices/@s0@/instances/@i0@"),
            *("/v4", "/v4/default", "/v4/default/registry", "/registry/v3", "/v1/default/registry/microservices"),
            *("/v3/default/registry/microservices", "/v4/default/registry/Microservices", "/registry/v3/dependencies"),
            *(
                "/registry/v3/instances/action",
                "/v4/x/registry",
                "/nope",
                "/favicon.ico",
            ),
        )
    )
    if method in ("POST", "PUT", "DELETE") and not path.endswith(("/", "nope", "rules")) and not path.startswith("/"):
        method = random.choice(("PATCH", "HEAD", "OPTIONS"))
    return method, path, None


def _refused(random: Random) -> Made:
    """Reads only: the original carries out what it calls invalid (cases 6 to 8)."""
    path = random.choice(("microservices", "microservices/@s0@", "existence", "instances"))
    return (
        "GET",
        path + random.choice(("?", "?a=b&", "?a=b;", "?a=//b", "?a=+", "?a=@", "?a=" + "x" * 2048, ";", "@", "+")),
        None,
    )


def _preflight(random: Random) -> Made:
    return "OPTIONS", random.choice(("microservices", "/nope", "microservices/@s0@/instances")), None


_MAKERS: tuple[tuple[Callable[[Random], Made], float], ...] = (
    (service_requests.create, 8),
    (service_requests.exists, 4),
    (service_requests.schema_exists, 1.5),
    (service_requests.show_service, 3),
    (service_requests.list_services, 2),
    (service_requests.set_service_properties, 3),
    (service_requests.delete_service, 1.2),
    (service_requests.delete_services, 0.6),
    (service_requests.put_schema, 2),
    (service_requests.set_schemas, 1.5),
    (service_requests.read_schemas, 2.5),
    (service_requests.delete_schema, 1),
    (service_requests.set_tags, 2),
    (service_requests.set_tag, 1.5),
    (service_requests.read_tags, 1.5),
    (service_requests.drop_tags, 1),
    (service_requests.depend, 4),
    (service_requests.read_related, 5),
    (instance_requests.register, 8),
    (instance_requests.list_instances, 4),
    (instance_requests.show_instance, 4),
    (instance_requests.find, 8),
    (instance_requests.find_many, 4),
    (instance_requests.beat, 2.5),
    (instance_requests.beat_many, 2),
    (instance_requests.set_status, 3),
    (instance_requests.set_instance_properties, 3),
    (instance_requests.set_statuses, 0.5),
    (instance_requests.cancel, 1.5),
    (_stray, 2),
    (_refused, 0.5),
    (_preflight, 0.3),
)
