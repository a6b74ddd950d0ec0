"""What a server in front of a ServiceCenter relies on, as a story for `record.py`: live answers and sets of many.

`noCache=1` asks past the caches: those requests follow at once on what they are about.
"""

from __future__ import annotations

from .record import INSTANCE, PROVIDER, Request

QUERY = "instances/action?type=query"
OTHER = PROVIDER | {"serviceName": "other"}
OWN = INSTANCE | {"instanceId": "own-id", "healthCheck": {"mode": "push", "interval": 15, "times": 3}}
MOVED = OWN | {"endpoints": ["rest://10.0.0.1:81"], "hostName": "h2"}
ONE = "microservices/{s}"
I1 = f"{ONE}/instances/own-id"
NOBODY = {"serviceId": "{s}", "instanceId": "nobody"}


def asked(*services: dict[str, str], rev: str = "") -> dict[str, object]:
    return {"services": [{"service": service, **({"rev": rev} if rev else {})} for service in services]}


STORY = [
    Request("nobody is there to be asked for", "POST", QUERY, asked(PROVIDER)),
    Request("create", "POST", "microservices", {"service": PROVIDER}, keeps=("s", "serviceId")),
    Request("asked for, and without instances", "POST", QUERY, asked(PROVIDER)),
    Request("the service, live", "GET", f"{ONE}?noCache=1"),
    Request("created again with other words", "POST", "microservices", {"service": PROVIDER | {"description": "d"}}),
    Request("is what it was, live", "GET", f"{ONE}?noCache=1"),
    Request("register under an id of its own", "POST", f"{ONE}/instances", {"instance": OWN}, settles=False),
    Request("the instance, live", "GET", f"{I1}?noCache=1"),
    Request("register the same again", "POST", f"{ONE}/instances", {"instance": OWN}),
    Request("is the same, live", "GET", f"{I1}?noCache=1"),
    Request("asked for", "POST", QUERY, asked(PROVIDER), keeps=("rev", "services.updated.0.rev")),
    Request("asked for with its revision", "POST", QUERY, asked(PROVIDER, rev="{rev}")),
    Request("asked for among others", "POST", QUERY, asked(OTHER, PROVIDER)),
    Request("properties", "PUT", f"{I1}/properties?noCache=1", {"properties": {"a:b": "ünï"}}, settles=False),
    Request("properties replace, live", "GET", f"{I1}?noCache=1"),
    Request("a status", "PUT", f"{I1}/status?value=DOWN&noCache=1", settles=False),
    Request("the status, live", "GET", f"{I1}?noCache=1"),
    Request("properties of nobody", "PUT", f"{ONE}/instances/nobody/properties", {"properties": {}}),
    Request("a status of nobody", "PUT", f"{ONE}/instances/nobody/status?value=UP"),
    Request("asked for with an old revision", "POST", QUERY, asked(PROVIDER, rev="{rev}")),
    Request(
        "heartbeats, known and unknown",
        "PUT",
        "heartbeats",
        {
            "instances": [
                {"serviceId": "{s}", "instanceId": "own-id"},
                NOBODY,
                {"serviceId": "nowhere", "instanceId": "own-id"},
            ]
        },
    ),
    Request("heartbeats of nobody at all", "PUT", "heartbeats", {"instances": [NOBODY]}),
    Request("end it", "DELETE", I1, settles=False),
    Request("gone, live", "GET", f"{I1}?noCache=1"),
    Request("its heartbeat", "PUT", f"{I1}/heartbeat"),
    Request("end it again", "DELETE", I1),
    Request("register it elsewhere", "POST", f"{ONE}/instances", {"instance": MOVED}, settles=False),
    Request("elsewhere, live", "GET", f"{I1}?noCache=1"),
    Request(
        "properties of the service", "PUT", f"{ONE}/properties?noCache=1", {"properties": {"a": "b"}}, settles=False
    ),
    Request("its properties, live", "GET", f"{ONE}?noCache=1"),
    Request("tags", "POST", f"{ONE}/tags", {"tags": {"k1": "v1", "k2": "v2"}}),
    Request("other tags", "POST", f"{ONE}/tags", {"tags": {"k3": "v3"}}),
    Request("tags replace", "GET", f"{ONE}/tags"),
    Request("no tags", "POST", f"{ONE}/tags", {"tags": {}}),
    Request("none is left", "GET", f"{ONE}/tags"),
    Request("a schema", "PUT", f"{ONE}/schemas/x", {"schema": "text", "summary": "ab12"}),
    Request("its text", "GET", f"{ONE}/schemas?withSchema=1"),
    Request("without the schema", "DELETE", f"{ONE}/schemas/x"),
    Request("without it again", "DELETE", f"{ONE}/schemas/x"),
    Request("a schema of nobody", "PUT", "microservices/nowhere/schemas/x", {"schema": "text", "summary": "ab12"}),
    Request("tags of nobody", "POST", "microservices/nowhere/tags", {"tags": {"k": "v"}}),
    Request("an instance of nobody", "POST", "microservices/nowhere/instances", {"instance": OWN}),
    Request("end the service", "DELETE", f"{ONE}?force=true", settles=False),
    Request("the service is gone, live", "GET", f"{ONE}?noCache=1"),
    Request("its instance is gone, live", "GET", f"{I1}?noCache=1"),
    Request("end the service again", "DELETE", f"{ONE}?force=true"),
    Request("nobody is left to be asked for", "POST", QUERY, asked(PROVIDER)),
]
