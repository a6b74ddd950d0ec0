"""Runs a trace on a server, takes out of the answers what each server chooses by itself, and compares.

Differences that we mean (conformance/eureka/differences.py) are taken out one by one, each by its case number.
"""

from __future__ import annotations

import difflib
import json
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote

import httpx

from conformance.eureka.client import effective_id, registration
from conformance.eureka.differential.documents import STATUSES
from conformance.eureka.differential.operations import Operation, Trace

TRIES = 150
"""A trace is shrunk with so many runs at most."""

_TIMES = ("lastUpdatedTimestamp", "registrationTimestamp", "lastRenewalTimestamp", "evictionTimestamp")
_NOT_OURS_TO_SAY = {403, 404, 405, 406, 415, 500}
_SINGLE = re.compile(r"(apps/[^/]+/[^/]+|instances/[^/]+)")


class Answer(NamedTuple):
    """What a client sees of an answer, less what the server chose by itself."""

    status: int
    content_type: str | None
    encoding: str | None
    body: str

    def __str__(self) -> str:
        return f"{self.status} {self.content_type or '-'} {self.encoding or ''}\n      {self.body}"


class Server:
    """One of the two, over one connection."""

    def __init__(self, url: str, *, is_original: bool) -> None:
        self.is_original = is_original
        self._base = f"{url}/eureka/"
        # Without a client around it, which adds headers and takes more time than the servers do.
        self._http = httpx.HTTPTransport()

    def close(self) -> None:
        self._http.close()

    def counts(self) -> Counter[str]:
        """How many instances of each status are there, by the hash."""
        document = self.send(Operation("GET", "apps", _JSON | {"X-Eureka-Accept": "compact"})).json()
        return _counted(document["applications"]["apps__hashcode"])

    def send(self, operation: Operation) -> httpx.Response:
        body = None if operation.body is None else operation.body.encode()
        url = self._base + operation.path
        request = httpx.Request(operation.method, url, headers=operation.headers, content=body)
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), 30.0)
        answer = self._http.handle_request(request)
        answer.read()
        answer.close()
        return answer

    def forget(self, application: str) -> None:
        """Cancel whatever is registered under the application's name."""
        found = self.send(Operation("GET", f"apps/{application}", _JSON))
        if found.status_code == 200:
            for instance in found.json()["application"]["instance"]:
                self.send(Operation("DELETE", f"apps/{application}/{quote(effective_id(instance), safe='')}", {}))


_JSON = {"Accept": "application/json"}


class Run:
    """One trace on one server, an operation at a time."""

    def __init__(self, server: Server, application: str) -> None:
        self._server = server
        self._application = application
        self._everywhere = server.counts()
        self._others = self._everywhere
        self._was_lifted_to_up = False
        self._said: set[tuple[str, bytes]] = set()
        self.repeats = False
        """Whether the last answer had been given to its path before, byte for byte."""

    def ask(self, operation: Operation) -> Answer:
        asked = operation.of(self._application)
        self._was_lifted_to_up |= _may_lift_to_up(operation)
        # A VIP is the trace's own; every other list is everybody's.
        self._others = Counter() if "vips/" in operation.path else self._everywhere
        answer = self._server.send(asked)
        said = operation.path, answer.content
        self.repeats = said in self._said
        self._said.add(said)
        return self._normalised(answer)

    def ask_anew(self, operation: Operation) -> Answer:
        """Ask for a VIP once the original's cache has forgotten it: a stranger registers under its name, and goes."""
        asked, name = operation.of(self._application), f"{self._application}-STRANGER"
        vip = asked.path.rpartition("/")[2]
        stranger = {"instance": registration(name, "stranger", vipAddress=vip, secureVipAddress=vip)}
        self._server.send(Operation("POST", f"apps/{name}", {"Content-Type": "application/json"}, json.dumps(stranger)))
        self._server.forget(name)
        return self.ask(operation)

    def end(self) -> None:
        self._server.forget(self._application)

    def _normalised(self, answer: httpx.Response) -> Answer:
        content_type = answer.headers.get("content-type")
        body = answer.content.decode("utf-8", "backslashreplace")
        if body.startswith(("{", "[")):
            body = _json(body, self._own, fill_in_ids=self._server.is_original)
        elif body.startswith("<"):
            body = _xml(body, self._own, fill_in_ids=self._server.is_original)
        for name, place in ((self._application, "@APP@"), (self._application.lower(), "@app@")):
            body = body.replace(name, place)
        return Answer(
            answer.status_code,
            content_type.lower().replace(" ", "") if content_type else None,
            answer.headers.get("content-encoding"),
            body,
        )

    def _own(self, name: str, value: str) -> str | None:
        """A value of a document, less what is not this trace's; None for an application of another trace."""
        match name:
            case "application":
                return value if value == self._application else None
            case "versions__delta":
                return "a version" if value.isdecimal() else value
            case "apps__hashcode":
                own = _counted(value)
                own.subtract(self._others)
                return "".join(f"{status}_{own[status]}_" for status in sorted(own) if own[status])
            case "serviceUpTimestamp" if self._was_lifted_to_up:  # case 132: the original does not note that it is up
                return "any"
        is_now = value.lstrip("-").isdecimal() and abs(int(value) - time.time() * 1000) < 86_400_000
        return "now" if is_now else value


def _may_lift_to_up(operation: Operation) -> bool:
    if operation.method == "DELETE":
        return operation.path.partition("?")[2].startswith("value=UP")
    return '"DeleteStatusOverride"' in (operation.body or "")


Own = Callable[[str, str], str | None]
_CHOSEN = (*_TIMES, "serviceUpTimestamp", "lastDirtyTimestamp", "versions__delta", "apps__hashcode")


def _counted(hashcode: str) -> Counter[str]:
    return Counter({status: int(count) for status, count in re.findall(r"([A-Z_]+?)_(\d+)_", hashcode)})


def _json(body: str, own: Own, *, fill_in_ids: bool) -> str:
    """The same text but for the order of applications, instances and metadata, which the original leaves to chance."""
    try:
        document = json.loads(body)
    except ValueError:
        return body

    def visit(value: Any) -> Any:
        if isinstance(value, list):
            return [visit(one) for one in value]
        if not isinstance(value, dict):
            return value
        if fill_in_ids and "hostName" in value:  # case 36
            value = {"instanceId": effective_id(value)} | {n: one for n, one in value.items() if n != "instanceId"}
        if isinstance(value.get("application"), list):
            named = [one for one in value["application"] if own("application", one["name"]) is not None]
            value = value | {"application": named}
        found = {name: _chosen(name, one, own) if name in _CHOSEN else visit(one) for name, one in value.items()}
        for name, one in found.items():
            if name == "instance" and isinstance(one, list):
                found[name] = sorted(one, key=lambda instance: json.dumps(instance))
            elif name == "metadata":
                found[name] = dict(sorted(one.items()))
        return found

    return json.dumps(visit(document), ensure_ascii=False, separators=(",", ":"))


def _chosen(name: str, value: Any, own: Own) -> Any:
    """A number stays one, and so does text."""
    if isinstance(value, str):
        return own(name, value)
    told = own(name, str(value))
    return value if told == str(value) else f"{told}, a number"


def _xml(body: str, own: Own, *, fill_in_ids: bool) -> str:
    body = re.sub(
        r"\s*<application>\s*<name>([^<]*)</name>.*?</application>",
        lambda found: found[0] if own("application", found[1]) is not None else "",
        body,
        flags=re.DOTALL,
    )
    if fill_in_ids:
        body = re.sub(r"(<instance>\s*)(.*?</instance>)", _with_id, body, flags=re.DOTALL)
    body = re.sub(f"<({'|'.join(_CHOSEN)})>([^<]*)</", lambda found: f"<{found[1]}>{own(found[1], found[2])}</", body)
    body = _sorted_elements(body, r"\s*<instance>.*?</instance>")
    return re.sub(
        r"(<metadata>)(.*?)(\s*</metadata>)",
        lambda found: found[1] + _sorted_elements(found[2], r"\s*<([^ >/]+)(?:/>|>.*?</\1>)") + found[3],
        body,
        flags=re.DOTALL,
    )


def _with_id(instance: re.Match[str]) -> str:
    """Case 36: the id that counts is written out."""
    rest = re.sub(r"^<instanceId>(</instanceId>)\s*", "", instance[2])
    if rest.startswith("<instanceId>"):
        return instance[0]
    counts = re.search("<instance-id>(.*?)</instance-id>", rest) or re.search("<hostName>(.*?)</hostName>", rest)
    space = instance[1].removeprefix("<instance>")
    return f"<instance>{space}<instanceId>{counts[1] if counts else ''}</instanceId>{space}{rest}"


def _sorted_elements(text: str, pattern: str) -> str:
    elements = [found[0] for found in re.finditer(pattern, text, re.DOTALL)]
    if len(elements) < 2:
        return text
    ordered = iter(sorted(elements))
    return re.sub(pattern, lambda _: next(ordered), text, flags=re.DOTALL)


def are_same(real: Answer, ours: Answer, operation: Operation) -> bool:
    return as_meant(real, ours, operation) == ours


def as_meant(real: Answer, ours: Answer, operation: Operation) -> Answer:
    """The original's answer as we mean to give it: each difference of differences.py by its case number."""
    path, _, query_text = operation.path.partition("?")
    query = dict(parse_qsl(query_text, keep_blank_values=True))
    if operation.method == "PUT" and path.endswith("/status") and query.get("value") not in STATUSES:  # case 128
        real = real._replace(status=400 if real.status == 500 else real.status)
    if operation.method == "PUT" and real.status == 500 and _is_garbage(query) and _SINGLE.fullmatch(path):  # case 114
        return _OK
    if real.status in _NOT_OURS_TO_SAY or (real.status == 400 and path.endswith("/status")):  # case 25
        return real._replace(content_type=None, body="")
    if real.status == 400 and real.body.startswith(("Missing ", "Mismatched ")):  # case 37: plain text is named so
        return real._replace(content_type="text/plain")
    if real.status == 400 and "cannot parse request body" in real.body:  # case 65: we say what is wrong
        said = re.search(r"(?<=cannot parse request body): .*?(?=\"}$|</message>)", ours.body)
        return real._replace(body=real.body.replace("request body", f"request body{said[0] if said else ''}"))
    if operation.method == "GET" and path not in ("apps", "apps/", "apps/delta") and not _SINGLE.fullmatch(path):
        asked = "gzip" in operation.headers.get("Accept-Encoding", "") and real.status == 200
        real = real._replace(encoding="gzip" if asked else None)  # case 12: the original compresses the others only
    if _SINGLE.fullmatch(path) and "<status>DOWN<" in real.body:  # case 99
        told = re.search("<status>(OUT_OF_SERVICE|UNKNOWN)<", ours.body)
        real = real._replace(body=real.body.replace("<status>DOWN<", told[0]) if told else real.body)
    return real._replace(body=_with_last_action(real.body, ours.body))


def _with_last_action(real: str, ours: str) -> str:
    """Case 87: a registration that changes nothing is told as ADDED by the original, and by us not at all."""
    parts, our_parts = (re.split('(?<=actionType)(":"|>)(ADDED|MODIFIED)', text) for text in (real, ours))
    if len(parts) != len(our_parts):
        return real
    pairs = zip(parts, our_parts, strict=True)
    return "".join(our if (one, our) == ("ADDED", "MODIFIED") else one for one, our in pairs)


def _is_garbage(query: dict[str, str]) -> bool:
    return not query.get("lastDirtyTimestamp", "0").removeprefix("-").isdecimal()


_OK = Answer(200, None, None, "")


class Finding(NamedTuple):
    """A trace of which the last operation is answered differently."""

    trace: Trace
    real: Answer
    ours: Answer

    def __str__(self) -> str:
        steps = "\n".join(f"  {number}. {operation}" for number, operation in enumerate(self.trace, 1))
        changes = difflib.unified_diff(_lines(self.real), _lines(self.ours), "the original", "ours", n=0, lineterm="")
        answers = f"  the original: {self.real}\n  ours:         {self.ours}"
        return f"{steps}\n{answers}\n    " + "\n    ".join(changes)


def _lines(answer: Answer) -> list[str]:
    """For people: JSON a field a line."""
    return str(answer).replace(',"', ',\n"').splitlines()


def a_name() -> str:
    """Of an application that nobody has used before."""
    return f"DIFF-{uuid.uuid4().hex[:10].upper()}"


def first_difference(real: Server, ours: Server, trace: Sequence[Operation]) -> tuple[int, Finding | None]:
    """How many operations were compared, and what differs first."""
    name = a_name()
    runs = Run(real, name), Run(ours, name)
    try:
        for number, operation in enumerate(trace, 1):
            theirs, our = (run.ask(operation) for run in runs)
            if not are_same(theirs, our, operation) and "vips/" in operation.path:
                theirs = _without_who_left(theirs, runs[0], operation)
            if not are_same(theirs, our, operation):
                return number, Finding(list(trace[:number]), theirs, our)
        return len(trace), None
    finally:
        for run in runs:
            run.end()


def _without_who_left(told: Answer, real: Run, operation: Operation) -> Answer:
    """Case 97: under a VIP the original lists for a while who registered anew under another one or under none.

    Only what it said before is taken for its cache's, and only fewer instances for the truth: who comes, or changes
    without leaving, has it forget.
    """
    if not real.repeats:
        return told
    now = real.ask_anew(operation)
    return now if now.body.count("instanceId") < told.body.count("instanceId") else told


def shrunk(real: Server, ours: Server, finding: Finding) -> Finding:
    """The shortest trace found that still differs: operations are left out, many at once and then fewer."""
    tries, size = TRIES, max(1, len(finding.trace) // 2)
    while size and tries:
        place = 0
        while place < len(finding.trace) and tries:
            tries -= 1
            shorter = finding.trace[:place] + finding.trace[place + size :]
            found = first_difference(real, ours, shorter)[1]
            if found is None:
                place += size
            else:
                finding = found
        size //= 2
    return finding
