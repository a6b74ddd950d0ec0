"""Runs a trace on a server, and takes out of the answers what each server chooses by itself."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote

from conformance.servicecenter import asking
from conformance.servicecenter.asking import ServiceCenter
from conformance.servicecenter.differential.operations import Operation

KEPT_HEADERS = (
    "Content-Type",
    "X-Resource-Revision",
    "X-Schema-Summary",
    "Deprecation",
    "X-Content-Type-Options",
    "Allow",
    "Vary",
    "Content-Encoding",
    "Location",
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Headers",
)
_TIMES = ("timestamp", "modTimestamp")
_UNKNOWN_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")
_RULE = re.compile(r"does not match rule: .*", re.DOTALL)


class Answer(NamedTuple):
    """What a client sees of an answer, less what the server chose by itself."""

    status: int
    headers: dict[str, str]
    body: str
    times: tuple[tuple[str, int], ...] = ()
    """The time stamps in it, in seconds since the trace began, by what they are of."""
    shows: str = ""
    """What the asker knows now, where there is a revision: after a 304 that is what it has held."""
    is_fresh: bool = False
    """Whether something was written since the asker last asked this."""

    def __str__(self) -> str:
        headers = " ".join(f"{name}={value}" for name, value in self.headers.items())
        return f"{self.status} {headers}\n      {self.body}"


@dataclass
class _Known:
    """What a server has given in a trace so far."""

    services: list[str] = field(default_factory=list)
    instances: list[tuple[str, str]] = field(default_factory=list)
    """Ids of a service and of an instance that was registered for it."""
    seen: dict[str, str] = field(default_factory=dict)
    """The revision last seen, by question."""
    shown: dict[tuple[str, str], Any] = field(default_factory=dict)
    """What was shown, by question and revision."""
    writes: int = 0
    asked: dict[str, int] = field(default_factory=dict)
    """How many writes there had been when a question was last asked."""

    def told(self, question: str, revision: str, shown: Any) -> tuple[str, Any]:
        """What the revision is to the asker, and what it knows now; `shown` is None for "what you have"."""
        before = self.seen.get(question)
        held = self.shown.get((question, revision))
        self.seen[question] = revision
        if shown is None:
            return "the one held", held
        self.shown[question, revision] = shown
        if held is not None and held != shown:
            return "one of something else", shown
        return "another" if before != revision else "the last one", shown


class Run:
    """One trace on one server, an operation at a time, in a domain of its own."""

    def __init__(self, server: ServiceCenter) -> None:
        self.server = server
        self.domain = asking.unique("d")
        self._other = asking.unique("e")
        self._began_s = int(time.time())
        self.known = _Known()

    def ask(self, operation: Operation) -> tuple[Answer, _Known]:
        """The answer, and what is known if it is the one that counts: a question may be asked again."""
        asked = self._filled(operation)
        body = None if asked.body is None else asked.body.encode()
        answer = self.server.ask(asked.method, asked.path, body, headers=asked.headers, timeout_s=30)
        known = deepcopy(self.known)
        _learn(known, operation, asked, answer)
        return self._normalised(operation, answer, known), known

    def without_wish(self, operation: Operation) -> Operation:
        """The operation, asked by nobody in particular where a consumer would ask for what is not there.

        Ours notes also such a wish (case 122), which shows in consumers, providers and refused deletions.
        """
        if "X-ConsumerId" not in operation.headers or not _wishes(operation):
            return operation
        services = self._listed(operation)
        consumer = self.named(operation.headers["X-ConsumerId"])
        environment = next((one.get("environment", "") for one in services if one["serviceId"] == consumer), None)
        there = {
            (one["appId"], one[name])
            for one in services
            if one.get("environment", "") == environment
            for name in ("serviceName", "alias")
            if name in one
        }
        if environment is None or all(wish in there for wish in _wishes(operation)):
            return operation
        headers = {name: value for name, value in operation.headers.items() if name != "X-ConsumerId"}
        return operation._replace(headers=headers)

    def changes_nothing(self, operation: Operation) -> bool:
        """Whether an instance is told to be as it is already."""
        path, _, query = operation.path.partition("?")
        found = re.fullmatch(r"(.*/instances/[^/]+)/(status|properties)", path)
        if operation.method != "PUT" or found is None:
            return False
        asked = self._filled(operation._replace(path=found[1]))
        answer = self.server.ask("GET", asked.path, headers=operation.headers | asked.headers)
        if answer.status != 200:
            return False
        held = answer.json()["instance"]
        if found[2] == "status":
            return query == f"value={held['status']}"
        properties = read(asked.body or "")
        return isinstance(properties, dict) and (properties.get("properties") or {}) == held.get("properties", {})

    def _listed(self, operation: Operation) -> list[Any]:
        base = operation.path.partition("registry/")[0] + "registry/"
        base += "v3/" if operation.path.startswith("/registry/v3/") else ""
        headers = {name: self.named(value) for name, value in operation.headers.items()}
        listed: list[Any] = self.server.ask("GET", f"{base}microservices", headers=headers).json().get("services", [])
        return listed

    # What stands for what

    def _filled(self, operation: Operation) -> Operation:
        question = _question(operation)
        path = operation.path.replace("@rev@", self.known.seen.get(question, "none"))
        body = operation.body
        if body is not None and "@rev@" in body:
            body = _with_revisions(body, question, self.known.seen)
        headers = {name: self.named(value) for name, value in operation.headers.items()}
        body = None if body is None else self.named(body)
        return Operation(operation.method, self.named(path, quote), headers, body)

    def named(self, text: str, escaped: Callable[[str], str] = str) -> str:
        """With the ids for their names; one that is not known yet is of nobody."""
        text = text.replace("@D@", self.domain).replace("@E@", self._other)

        def given(name: re.Match[str]) -> str:
            kind, number = name[1], int(name[2])
            known = self.known.services if kind == "s" else self.known.instances
            if number >= len(known):
                return f"nobody-{kind}{number}"
            value = known[number]
            return escaped(value if isinstance(value, str) else value[kind == "i"])

        return re.sub(r"@([sih])(\d+)@", given, text)

    def _normalised(self, operation: Operation, answer: asking.Answer, known: _Known) -> Answer:
        body = answer.body
        if answer.header("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        text = self._unnamed(body.decode("utf-8", "backslashreplace"), known)
        question = _question(operation)
        times: list[_Time] = []
        shows = ""
        if (answer.header("Content-Type") or "").startswith("application/json"):
            document = _visited(read(text), times, self._began_s)
            if "/instances/action" in operation.path and answer.status == 200:
                shows = _with_all_told(document, operation, known)
            text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False, sort_keys=True)
        headers = {}
        for name in KEPT_HEADERS:
            if values := answer.header_values(name):
                headers[name] = self._unnamed(", ".join(values), known)
        if allowed := headers.get("Allow"):  # in no order
            headers["Allow"] = ", ".join(sorted(allowed.split(", ")))
        if revision := answer.header("X-Resource-Revision"):
            told, held = known.told(question, revision, text if answer.status == 200 else None)
            headers["X-Resource-Revision"], shows = told, str(held)
        is_fresh = known.asked.get(question, 0) < known.writes
        known.asked[question] = known.writes
        return Answer(answer.status, headers, text, tuple(times), shows, is_fresh)

    def document(self, text: str) -> Any:
        """The document, with names for ids, and less its time stamps."""
        return _visited(read(self._unnamed(text, self.known)), [], self._began_s)

    def _unnamed(self, text: str, known: _Known) -> str:
        for number, service_id in enumerate(known.services):
            text = text.replace(service_id, f"@s{number}@")
        for number, (_, instance_id) in enumerate(known.instances):
            text = text.replace(instance_id, f"@i{number}@")
        text = text.replace(self.domain, "@D@").replace(self._other, "@E@")
        return _UNKNOWN_ID.sub("@an id@", text)  # of what was made by a request that was refused, too


def _learn(known: _Known, operation: Operation, asked: Operation, answer: asking.Answer) -> None:
    if answer.status != 200:
        return
    if not only_reads(operation) and "heartbeat" not in operation.path:
        known.writes += 1
    if operation.method != "POST" or not answer.body:
        return
    if asked.path.endswith("/microservices"):
        service_id = answer.json()["serviceId"]
        if service_id not in known.services:
            known.services.append(service_id)
    elif asked.path.endswith("/instances"):
        pair = asked.path.split("/")[-2], answer.json()["instanceId"]
        if pair not in known.instances:
            known.instances.append(pair)


def _wishes(operation: Operation) -> list[tuple[str, str]]:
    """App and name of what is to be found."""
    path, _, query_text = operation.path.partition("?")
    if path.endswith("/instances/action"):
        try:
            services = json.loads(operation.body or "")["services"]
            return [(one["service"].get("appId", ""), one["service"].get("serviceName", "")) for one in services]
        except (ValueError, KeyError, TypeError, AttributeError):
            return []
    if path.endswith(("/registry/instances", "/v3/instances")) and operation.method == "GET":
        query = parse_qs(query_text)
        return [(query.get("appId", [""])[0], query.get("serviceName", [""])[0])]
    return []


def _question(operation: Operation) -> str:
    """What is asked, whatever the asker has seen of it."""
    path = re.sub(r"(?<=[?&])(rev|noCache|cacheOnly|global)=[^&]*&?", "", operation.path).rstrip("?&")
    consumer = operation.headers.get("X-ConsumerId", "")
    tenant = operation.headers.get("X-Tenant-Name", operation.headers.get("X-Domain-Name", ""))
    return f"{path} of {tenant} by {consumer}"


def _item(question: str, half: str, item: Any) -> str:
    """An entry of a batch is a question, too."""
    rest = {name: value for name, value in item.items() if name != "rev"} if isinstance(item, dict) else item
    return f"{question} {half} {json.dumps(rest, sort_keys=True)}"


def _with_revisions(body: str, question: str, seen: dict[str, str]) -> str:
    try:
        document = json.loads(body)
    except ValueError:
        return body
    for half in ("services", "instances"):
        for item in document.get(half) or ():
            if isinstance(item, dict) and item.get("rev") == "@rev@":
                item["rev"] = seen.get(_item(question, half, item), "none")
    return json.dumps(document)


def _with_all_told(document: Any, operation: Operation, known: _Known) -> str:
    """What the asker of a batch knows now; in the answer, the revisions become what they are to the asker."""
    asked, question = json.loads(operation.body or ""), _question(operation)
    shows: Any = {}
    for half in ("services", "instances"):
        told = document.get(half, {})
        items = shows[half] = {"failed": told.get("failed")}
        for item in told.get("updated", ()):
            place = _item(question, half, asked[half][item["index"]])
            item["rev"], items[item["index"]] = known.told(place, item["rev"], item.get("instances", []))
        for index in told.get("notModified", ()):
            place = _item(question, half, asked[half][index])
            items[index] = known.told(place, known.seen.get(place, ""), None)[1]
    return json.dumps(shows)


def read(text: str) -> Any:
    """The document; the text itself where it is none, for something else stands before it (cases 6-8)."""
    try:
        return json.loads(text)
    except ValueError:
        return text


_Time = tuple[str, int]


def _visited(value: Any, times: list[_Time], began_s: int) -> Any:
    """Without what the protocol leaves open: the order of lists of objects, and what a rule is called."""
    match value:
        case list():
            visited = [(_visited(one, inner := list[_Time](), began_s), inner) for one in value]
            if any(isinstance(one, dict) for one in value):
                visited.sort(key=lambda pair: json.dumps(pair[0], sort_keys=True))
            for _, inner in visited:
                times.extend(inner)
            return [one for one, _ in visited]
        case dict():
            found = {}
            for name in sorted(value):
                member = value[name]
                if name in _TIMES and str(member).isdecimal():
                    owner = "instance" if "instanceId" in value else "service"
                    times.append((f"{owner}.{name}", int(member) - began_s))
                    member = "then"
                found[name] = _visited(member, times, began_s)
            return found
        case str():
            return _RULE.sub("does not match rule", value)
    return value


def only_reads(operation: Operation) -> bool:
    return operation.method == "GET" or "/instances/action" in operation.path
