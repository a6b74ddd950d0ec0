"""Work for wrk: requests of one kind or of several in turn, as a Lua script; and what one round of it came to."""

from __future__ import annotations

import json
import re
import resource
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import httpx

from loadtests.registrations import DIRTY_MS
from loadtests.servers import GENERATOR_CORE

CONNECTIONS = 32

# Requests one after the other, from the first again after the last. They are built in `init`, for only there does wrk
# know the Host; those with @@ in their body are built when they are sent, for it stands for a growing number.
SCRIPT = """
%(headers)s
local requests, at, count = {}, 0, %(start)d
init = function(args)
  for line in io.lines("%(file)s") do
    local method, path, body = line:match("^(%%S+) (%%S+) ?(.*)$")
    local is_counting = body:find("@@", 1, true)
    requests[#requests + 1] = is_counting and {method, path, body}
      or wrk.format(method, path, nil, body ~= "" and body or nil)
  end
end
request = function()
  at = at %% #requests + 1
  local ready = requests[at]
  if type(ready) == "string" then return ready end
  count = count + 1
  return wrk.format(ready[1], ready[2], nil, (ready[3]:gsub("@@", tostring(count))))
end
"""


class Goals(NamedTuple):
    """Least ratios that ours is to reach; None where none is set."""

    nginx: float | None = None
    hello: float | None = None
    original: float | None = None
    """Of requests a second, and of CPU a request."""


NO_GOALS = Goals()


@dataclass(frozen=True)
class Work:
    """One row: what is asked, of which of the servers, and which answer counts."""

    name: str
    asked_of: str
    """Which servers: see `rows.py`."""
    lines: Sequence[str]
    """METHOD PATH [BODY], one request each."""
    headers: tuple[tuple[str, str], ...] = ()
    status: int = 200
    """Of the answer to the first line."""
    lists: int | None = None
    """How many instances are in that answer."""
    is_bulk: bool = False
    """Bound by bytes: nginx with the same ones says more than nginx with none."""
    is_in_quick: bool = True
    goals: Goals = NO_GOALS

    @property
    def stem(self) -> str:
        return re.sub(r"\W+", "-", self.name)

    def script(self, home: Path, start: int) -> Path:
        """Files of this start's own: several servers may be asked at once."""
        lines, script = (home / f"{self.stem}-{start}.{kind}" for kind in ("txt", "lua"))
        lines.write_text("\n".join(self.lines) + "\n")
        # Set one by one: a table handed to wrk.format would take the place of Host as well.
        headers = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in self.headers)
        script.write_text(SCRIPT % {"file": lines, "headers": headers, "start": start})
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
    size, unit = re.search(r"requests in [\d.]+\w+, ([\d.]+)(\w+) read", output).groups()  # type: ignore[union-attr]  # wrk always says so
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


def _figure(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]
