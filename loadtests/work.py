"""Single kinds of requests, as wrk sends them: each a Lua script, its requests built beforehand or from a counter."""

from __future__ import annotations

import json
import re
import resource
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from loadtests.registrations import (
    DIRTY_MS,
    PER_APPLICATION,
    eureka_instance,
    service_name,
    servicecenter_instance,
)
from loadtests.servers import GENERATOR_CORE

CONNECTIONS = 32
FULL = "GET /eureka/apps/"
SAMPLE = 2_000
"""Different requests of one kind; more would only fill wrk's memory."""

# Ready requests, one after the other. They are built in `init`, for only there does wrk know the Host.
READY = """
%(headers)s
local requests, at = {}, 0
init = function(args)
  for line in io.lines("%(file)s") do
    local method, path, body = line:match("^(%%S+) (%%S+) ?(.*)$")
    requests[#requests + 1] = wrk.format(method, path, nil, body ~= "" and body or nil)
  end
end
request = function()
  at = at %% #requests + 1
  return requests[at]
end
"""

# A write that changes something each time: @@ in the body is a growing number.
COUNTING = """
%(headers)s
local lines, at, count = {}, 0, %(start)d
for line in io.lines("%(file)s") do lines[#lines + 1] = line end
request = function()
  at, count = at %% #lines + 1, count + 1
  local method, path, body = lines[at]:match("^(%%S+) (%%S+) ?(.*)$")
  return wrk.format(method, path, nil, (body:gsub("@@", tostring(count))))
end
"""


@dataclass(frozen=True)
class Work:
    """One row: what is asked, of which of the servers, and which answer counts."""

    name: str
    asked_of: str
    """eureka, servicecenter, or restarted: our server just started over the instances that eureka holds."""
    lines: Sequence[str]
    """METHOD PATH [BODY], one request each."""
    headers: tuple[tuple[str, str], ...] = ()
    is_counting: bool = False
    changes: int = 0
    """Instances that are registered anew before this is asked."""
    status: int = 200
    lists: int | None = None
    """How many instances are in the answer."""
    is_in_quick: bool = True

    @property
    def stem(self) -> str:
        return re.sub(r"\W+", "-", self.name)

    def script(self, home: Path, start: int) -> Path:
        (home / f"{self.stem}.txt").write_text("\n".join(self.lines) + "\n")
        # Set one by one: a table handed to wrk.format would take the place of Host as well.
        headers = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in self.headers)
        lua = (COUNTING if self.is_counting else READY) % {
            "file": home / f"{self.stem}.txt",
            "headers": headers,
            "start": start,
        }
        script = home / f"{self.stem}.lua"
        script.write_text(lua)
        return script


@dataclass(frozen=True)
class Sample:
    """One round of one work on one server."""

    requests: int
    a_second: float
    errors: int
    bytes_each: float
    generator_share: float
    """Of its core: what wrk used."""


def eureka_works(count: int) -> list[Work]:
    infos = [eureka_instance(number) for number in range(0, count, max(1, count // SAMPLE))]
    renewals = [
        f"PUT /eureka/apps/{info['app']}/{info['instanceId']}?status=UP&lastDirtyTimestamp={DIRTY_MS}" for info in infos
    ]
    registrations = []
    for info in infos:
        changing = {"instance": info | {"lastDirtyTimestamp": "@@"}}
        registrations.append(f"POST /eureka/apps/{info['app']} {json.dumps(changing, separators=(',', ':'))}")
    xml = [f"POST /eureka/apps/{info['app']} {_xml(info)}" for info in infos]
    as_json, gzip = ("Accept", "application/json"), ("Accept-Encoding", "gzip")
    ask = "GET /eureka/apps/delta"
    some = min(100, count)
    # Writes come last: a delta that holds their changes would be no quiet one.
    return [
        Work("Eureka renewal", "eureka", renewals),
        Work("Eureka delta, quiet, gzip", "restarted", [ask], (as_json, gzip), lists=0),
        Work("Eureka delta, quiet, plain", "restarted", [ask], (as_json,), lists=0, is_in_quick=False),
        Work(
            f"Eureka delta of {some}, gzip",
            "restarted",
            [ask],
            (as_json, gzip),
            changes=some,
            lists=some,
            is_in_quick=False,
        ),
        Work(f"Eureka delta of {some}, plain", "restarted", [ask], (as_json,), lists=some, is_in_quick=False),
        Work("Eureka delta of all, gzip", "eureka", [ask], (as_json, gzip), lists=count, is_in_quick=False),
        Work("Eureka full fetch, gzip", "eureka", [FULL], (as_json, gzip), lists=count),
        Work("Eureka full fetch, plain", "eureka", [FULL], (as_json,), lists=count, is_in_quick=False),
        Work(
            f"Eureka application of {PER_APPLICATION}",
            "eureka",
            sorted({f"GET /eureka/apps/{info['app']}" for info in infos}),
            (as_json,),
            lists=min(PER_APPLICATION, count),
            is_in_quick=False,
        ),
        Work("Eureka registration, JSON", "eureka", registrations, (_type("json"),), is_counting=True, status=204),
        Work("Eureka registration, XML", "eureka", xml, (_type("xml"),), is_counting=True, status=204),
    ]


def servicecenter_works(count: int, service_ids: Sequence[str], revision: str) -> list[Work]:
    """`revision` is that of the first service: asking for it with that is answered 304."""
    base = "/v4/default/registry"
    numbers = range(0, count, max(1, count // SAMPLE))
    instances = [f"{base}/microservices/{service_ids[one // PER_APPLICATION]}/instances" for one in numbers]
    beats = [f"PUT {path}/{one:032x}/heartbeat" for one, path in zip(numbers, instances, strict=True)]
    finds = [
        f"GET {base}/instances?appId=default&serviceName={service_name(one)}&version=0%2B"
        for one in range(0, count, PER_APPLICATION)
    ]
    unchanged = f"GET {base}/instances?appId=default&serviceName={service_name(0)}&version=0%2B&rev={revision}"
    registrations = []
    for one, path in zip(numbers, instances, strict=True):
        document = servicecenter_instance(one)
        document["properties"] = document["properties"] | {"count": "@@"}
        registrations.append(f"POST {path} {json.dumps({'instance': document}, separators=(',', ':'))}")
    return [
        Work("ServiceCenter heartbeat", "servicecenter", beats),
        Work("ServiceCenter find, unchanged (304)", "servicecenter", [unchanged], status=304),
        Work(f"ServiceCenter find of {PER_APPLICATION}", "servicecenter", finds, lists=min(PER_APPLICATION, count)),
        Work("ServiceCenter registration", "servicecenter", registrations, is_counting=True, is_in_quick=False),
    ]


def check(work: Work, server: str, url: str) -> None:
    """Asks once what is to be asked often, and reads the answer: a fast refusal is no figure."""
    method, path, *body = work.lines[0].replace("@@", str(DIRTY_MS + 1)).split(" ", 2)
    headers = {"Accept-Encoding": "identity"} | dict(work.headers)
    content = body[0].encode() if body else None
    answer = httpx.request(method, url + path, headers=headers, content=content, timeout=30)
    if answer.status_code != work.status:
        raise SystemExit(f"{server} answers {work.name} with {answer.status_code} {answer.text[:200]}")
    listed = answer.content.count(b'"instanceId"')
    if work.lists not in (None, listed):
        raise SystemExit(f"{server} lists {listed} instances for {work.name}, not {work.lists}")


def raw_body(work: Work, url: str) -> bytes:
    """The bytes of the answer as they are sent, still compressed."""
    path = work.lines[0].split(" ")[1]
    headers = {"Accept-Encoding": "identity"} | dict(work.headers)
    with httpx.stream("GET", url + path, headers=headers, timeout=30) as answer:
        return b"".join(answer.iter_raw())


def run(work: Work, url: str, seconds: int, home: Path, start: int) -> Sample:
    """wrk on its own core; latency under a closed loop says nothing, so only the rate is read."""
    script = work.script(home, start)
    command = [
        "taskset",
        "-c",
        GENERATOR_CORE,
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}s",
        "-s",
        str(script),
        url,
    ]
    before = generator_s()
    output = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True).stdout
    requests = int(_figure(r"(\d+) requests in", output))
    errors = sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", output))
    for kinds in re.findall(r"Socket errors: (.*)", output):
        errors += sum(int(number) for number in re.findall(r"\d+", kinds))
    size, unit = re.search(r"requests in [\d.]+\w+, ([\d.]+)(\w+) read", output).groups()  # type: ignore[union-attr]
    read = float(size) * {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30}[unit]
    return Sample(
        requests,
        float(_figure(r"Requests/sec:\s+([\d.]+)", output)),
        errors,
        read / max(requests, 1),
        (generator_s() - before) / seconds,
    )


def generator_s() -> float:
    """CPU seconds of all generators that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _type(kind: str) -> tuple[str, str]:
    return ("Content-Type", f"application/{kind}")


def _figure(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


def _xml(info: dict[str, object]) -> str:
    """As a Netflix client writes XML, with a timestamp that grows."""

    def element(name: str, value: object) -> str:
        if isinstance(value, dict) and "$" in value:
            return f'<{name} enabled="{value["@enabled"]}">{value["$"]}</{name}>'
        if isinstance(value, dict):
            kind = f' class="{value["@class"]}"' if "@class" in value else ""
            inner = "".join(element(key, one) for key, one in value.items() if key != "@class")
            return f"<{name}{kind}>{inner}</{name}>"
        return f"<{name}>{value}</{name}>"

    return element("instance", info | {"lastDirtyTimestamp": "@@"})
