"""Stories in requests, told to any ServiceCenter; the real one's answers stand in conformance/recorded/servicecenter.

    python -m conformance.servicecenter.record --servicecenter URL      asks a real server and writes them anew

What differs from run to run (ids, revisions, time stamps, addresses, the project) is masked in what is written, so
the files can be compared as they are. The stories hold nothing in which we mean to differ: CI has no real server, and
`test_recorded.py` compares ours with these bytes. One story stands here, others in `backing_story.py`,
`govern_story.py` and `policy_story.py`.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .asking import WITHOUT_KIE, Answer, ServiceCenter, keeps_policies, unique

RECORDED = Path(__file__).resolve().parent.parent / "recorded" / "servicecenter"
# The original batches what it shows for up to 0.3 s and holds deleted instances back for up to 2.3 s.
SETTLED_S = 0.6
GONE_S = 3.0

KEPT_HEADERS = ("Content-Type", "X-Resource-Revision", "X-Schema-Summary", "Deprecation", "X-Content-Type-Options")
MASKS = [
    (re.compile(r'("(?:timestamp|modTimestamp)":)"\d+"'), r'\1"{seconds}"'),
    (re.compile(r'("(?:creatTime|updateTime)": )\d+'), r'\1"{seconds}"'),
    (re.compile(r'("(?:serviceId|instanceId)":)"[0-9a-f]{32,40}"'), r'\1"{id}"'),
    (re.compile(r'("rev":)"[0-9a-f]{40}"'), r'\1"{revision}"'),
    # The server's own instance: where it runs and what it is built from.
    (re.compile(r'"rest://[^/"]+/"'), '"rest://{address}/"'),
    (re.compile(r'"hostName":"(?!h\d")[^"]*"(.*"version":)"[^"]*"'), r'"hostName":"{host}"\1"{version}"'),
]


@dataclass(frozen=True)
class Request:
    """`{name}` in path, headers and body stands for what an earlier answer gave; `keeps` names what this one gives."""

    title: str
    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    keeps: tuple[str, str] | None = None
    """(name, path to a member of the answer, or "revision" for its header)"""
    settles: bool = True
    """Whether what follows is to find it in the caches."""

    def filled(self, kept: dict[str, str]) -> tuple[str, bytes | None, dict[str, str]]:
        body = None if self.body is None else _fill(json.dumps(self.body), kept).encode()
        return _fill(self.path, kept), body, {name: _fill(value, kept) for name, value in self.headers.items()}

    @property
    def settles_in_s(self) -> float:
        """How long the original needs until its answers show what this request did; finding is noted, too."""
        if not self.settles or (self.method == "GET" and not self.headers):
            return 0
        return GONE_S if self.method == "DELETE" else SETTLED_S


PROVIDER = {"environment": "development", "appId": "shop", "serviceName": "prov", "version": "1.0.0"}
ALIASED = PROVIDER | {
    "alias": "shop:prov",
    "framework": {"name": "Go-Chassis", "version": "2.8.0"},
    "registerBy": "SDK",
}
CONSUMER = {"environment": "development", "appId": "shop", "serviceName": "cons", "version": "1.0.0"}
INSTANCE = {"hostName": "h1", "endpoints": ["rest://10.0.0.1:80?sslEnabled=true"], "properties": {"zone": "z1"}}
DATA_CENTRE = {"name": "dc1", "region": "r1", "availableZone": "az1"}
CHECKED = INSTANCE | {"hostName": "h2", "healthCheck": {"mode": "push", "interval": 15, "times": 3}}
KEY = "appId=shop&serviceName=prov&env=development"
ONE = "microservices/{s1}"
I1 = "microservices/{s1}/instances/{i1}"
AS_CONSUMER = {"X-ConsumerId": "{c}"}

STORY = [
    Request("nothing is listed", "GET", "microservices"),
    Request("no such path", "GET", "/nope"),
    Request("no such method", "PATCH", "microservices"),
    Request("nobody exists", "GET", f"existence?type=microservice&{KEY}&version=1.0.0"),
    Request("no type", "GET", f"existence?{KEY}&version=1.0.0"),
    Request("nobody is found", "GET", f"instances?{KEY}"),
    Request("a service is required", "POST", "microservices", {}),
    Request("bad name", "POST", "microservices", {"service": {"serviceName": "-a"}}),
    Request("bad version", "POST", "microservices", {"service": {"serviceName": "a", "version": "1.a"}}),
    Request("create a provider", "POST", "microservices", {"service": ALIASED}, keeps=("s1", "serviceId")),
    Request("create it again", "POST", "microservices", {"service": ALIASED}),
    Request("same key, another id", "POST", "microservices", {"service": PROVIDER | {"serviceId": "other"}}),
    Request("create a consumer", "POST", "microservices", {"service": CONSUMER}, keeps=("c", "serviceId")),
    Request("it exists", "GET", f"existence?type=microservice&{KEY}&version=1.0.0"),
    Request("it exists in one version", "GET", f"existence?type=microservice&{KEY}&version=9.9.9"),
    Request("exact versions only", "GET", f"existence?type=microservice&{KEY}&version=latest"),
    Request("one service", "GET", ONE),
    Request("all services", "GET", "microservices"),
    Request("no such service", "GET", "microservices/nope"),
    Request("change properties", "PUT", f"{ONE}/properties", {"properties": {"allowCrossApp": "true"}}),
    Request("changed properties", "GET", ONE),
    Request("no schemas", "GET", f"{ONE}/schemas"),
    Request("store a schema", "PUT", f"{ONE}/schemas/x", {"schema": "swagger: 2", "summary": "ab12"}),
    Request("one schema", "GET", f"{ONE}/schemas/x"),
    Request("all schemas", "GET", f"{ONE}/schemas"),
    Request("with content", "GET", f"{ONE}/schemas?withSchema=1"),
    Request("a schema exists", "GET", "existence?type=schema&serviceId={s1}&schemaId=x"),
    Request("no such schema", "GET", f"{ONE}/schemas/y"),
    Request("a bad set of schemas", "POST", f"{ONE}/schemas", {"schemas": []}),
    Request("tag it", "POST", f"{ONE}/tags", {"tags": {"k1": "v1"}}),
    Request("its tags", "GET", f"{ONE}/tags"),
    Request("no such tag", "PUT", f"{ONE}/tags/none?value=w"),
    Request("no instances", "GET", f"{ONE}/instances"),
    Request("none found", "GET", f"instances?{KEY}"),
    Request("no host", "POST", f"{ONE}/instances", {"instance": {}}),
    Request("no service", "POST", "microservices/nope/instances", {"instance": INSTANCE}),
    Request("register", "POST", f"{ONE}/instances", {"instance": INSTANCE}, keeps=("i1", "instanceId")),
    Request("the instance", "GET", I1),
    Request("the instances", "GET", f"{ONE}/instances", keeps=("rev", "revision")),
    Request("found", "GET", f"instances?{KEY}"),
    Request("found by alias", "GET", "instances?appId=shop&serviceName=shop%3Aprov&env=development"),
    Request("found by the consumer", "GET", "instances?appId=shop&serviceName=prov", headers=AS_CONSUMER),
    Request("unchanged", "GET", f"{ONE}/instances?rev={{rev}}"),
    Request("who consumes", "GET", f"{ONE}/consumers"),
    Request("who is consumed", "GET", "microservices/{c}/providers"),
    Request("a stranger", "GET", f"instances?{KEY}", headers={"X-ConsumerId": "nope"}),
    Request("no application", "GET", "instances?serviceName=prov"),
    Request("heartbeat", "PUT", f"{I1}/heartbeat"),
    Request("heartbeat of nobody", "PUT", f"{ONE}/instances/nope/heartbeat"),
    Request(
        "heartbeats",
        "PUT",
        "heartbeats",
        {"instances": [{"serviceId": "{s1}", "instanceId": "{i1}"}, {"serviceId": "{s1}", "instanceId": "nope"}]},
    ),
    Request("no heartbeats", "PUT", "heartbeats", {"instances": []}),
    Request("out of service", "PUT", f"{I1}/status?value=OUTOFSERVICE"),
    Request("a bad status", "PUT", f"{I1}/status?value=out"),
    Request("new properties", "PUT", f"{I1}/properties", {"properties": {"zone": "z2"}}),
    Request("changed instance", "GET", I1),
    Request(
        "register with all it may have",
        "POST",
        f"{ONE}/instances",
        {"instance": CHECKED | {"instanceId": "own-id", "dataCenterInfo": DATA_CENTRE}},
    ),
    Request("its own id", "GET", f"{ONE}/instances/own-id"),
    Request(
        "batch",
        "POST",
        "instances/action?type=query",
        {"services": [{"service": PROVIDER}, {"service": PROVIDER | {"serviceName": "zzz"}}]},
    ),
    Request(
        "batch of instances",
        "POST",
        "instances/action?type=query",
        {"instances": [{"instance": {"serviceId": "{s1}", "instanceId": "nope"}}]},
    ),
    Request("empty batch", "POST", "instances/action?type=query", {}),
    Request("it is consumed", "DELETE", ONE),
    Request("unregister", "DELETE", I1),
    Request("unregister again", "DELETE", I1),
    Request("gone", "GET", I1),
    Request("gone from the list", "GET", f"{ONE}/instances"),
    Request("delete both", "DELETE", "microservices", {"serviceIds": ["{s1}", "nope"], "force": True}),
    Request("delete the consumer", "DELETE", "microservices/{c}"),
    Request("nothing is left", "GET", "microservices"),
    Request("health", "GET", "health"),
]


def tell(sc: ServiceCenter, story: Sequence[Request]) -> Iterator[tuple[Request, dict[str, Any]]]:
    """Send each request of a story to a project of its own; yields it with the answer, masked."""
    project = ServiceCenter(sc.url, sc.kind, project=unique("story"))
    kept: dict[str, str] = {"project": project.project}
    for request in story:
        path, body, headers = request.filled(kept)
        answer = project.ask(request.method, path, body, headers=headers)
        if request.keeps:
            name, member = request.keeps
            kept[name] = answer.revision if member == "revision" else _member(answer.json(), member)
        yield request, _masked(answer, kept)
        if sc.kind == "real":
            time.sleep(request.settles_in_s)


def _member(document: Any, path: str) -> str:
    for step in path.split("."):
        document = document[int(step)] if isinstance(document, list) else document[step]
    return str(document)


def _fill(text: str, kept: dict[str, str]) -> str:
    for name, value in kept.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _masked(answer: Answer, kept: dict[str, str]) -> dict[str, Any]:
    """Status, the headers that count, and the body as text."""
    headers = {name: value for name in KEPT_HEADERS if (value := answer.header(name)) is not None}
    if "X-Resource-Revision" in headers:
        headers["X-Resource-Revision"] = "{revision}"
    body = answer.text
    for name, value in kept.items():
        body = body.replace(value, f"{{{name}}}")
    for pattern, mask in MASKS:
        body = pattern.sub(mask, body)
    return {"status": answer.status, "headers": headers, "body": body}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write down how a real ServiceCenter answers.")
    parser.add_argument("--servicecenter", metavar="URL", required=True)
    server = ServiceCenter(parser.parse_args().servicecenter.rstrip("/"), kind="real")
    for name, story in stories().items():
        if name == "policies.json" and not keeps_policies(server):
            print(f"{name} is left as it is: {WITHOUT_KIE}")
            continue
        answers = [
            {"title": request.title, "request": f"{request.method} {request.path}", **answer}
            for request, answer in tell(server, story)
        ]
        (RECORDED / name).write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n")
        print(f"{len(answers)} answers in {RECORDED / name}")


def stories() -> dict[str, Sequence[Request]]:
    """By the file that holds the answers."""
    from .backing_story import STORY as BACKING  # these are made of what stands here
    from .govern_story import STORY as GOVERN
    from .policy_story import STORY as POLICIES

    return {"answers.json": STORY, "backing.json": BACKING, "govern.json": GOVERN, "policies.json": POLICIES}


if __name__ == "__main__":
    main()
