"""Who looks at the nodes all the time: both protocols' lists, and Eureka's deltas as its clients take them in."""

from __future__ import annotations

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .log import Log, Look, Shown
from .wire import Answer, Line, NoAnswerError

LOOKS_EVERY_S = 0.2
DELTAS_EVERY_S = 0.5
PATIENCE_S = 5.0
AGE = "X-Registry-Data-Age"

Document = Mapping[str, Any]


class Reader(ABC):
    """Of one node. `run` begins the names of all that belongs to the fleet: whoever else is listed is overlooked."""

    def __init__(self, log: Log, node: int, url: str, run: str) -> None:
        self.node = node
        self.run = run
        self.log = log
        self.line = Line(url, PATIENCE_S)
        self.every_s = LOOKS_EVERY_S

    @property
    def kind(self) -> str:
        return type(self).__name__

    async def live(self) -> None:
        try:
            while True:
                await self.look()
                await asyncio.sleep(self.every_s)
        finally:
            self.line.close()

    @abstractmethod
    async def look(self) -> None:
        """Ask once, and write down what was seen."""

    async def get(self, path: str) -> tuple[Look, Answer | None]:
        look = Look(self.node, self.kind, time.monotonic(), 0.0, 0)
        try:
            answer = await self.line.ask("GET", path)
        except NoAnswerError:
            answer = None
        else:
            look.code, look.age_s = answer.status, int(answer.headers.get(AGE, 0))
        look.ended_s = time.monotonic()
        return look, answer

    def instances(self, answer: Answer) -> list[Document]:
        applications = json.loads(answer.body)["applications"]["application"]
        return [one for app in applications for one in app["instance"] if app["name"].startswith(self.run.upper())]


class EurekaReader(Reader):
    """Of the full list."""

    async def look(self) -> None:
        look, answer = await self.get("/eureka/apps")
        if answer is not None and answer.status == 200:
            look.shown = {one["metadata"]["who"]: _as_shown(one, "metadata") for one in self.instances(answer)}
        self.log.looks.append(look)


class ServiceCenterReader(Reader):
    """Of each service by itself, together one look: consumers of this protocol have no list of all."""

    def __init__(self, log: Log, node: int, url: str, run: str, services: Sequence[str]) -> None:
        super().__init__(log, node, url, run)
        self._services = services

    async def look(self) -> None:
        shown: dict[str, Shown] = {}
        whole: Look | None = None
        for name in self._services:
            look, answer = await self.get(f"/v4/default/registry/instances?appId=eureka&serviceName={name}")
            whole = whole or look
            whole.ended_s, whole.code, whole.age_s = look.ended_s, look.code, max(whole.age_s, look.age_s)
            if answer is None or answer.status not in (200, 400):
                break
            if answer.status == 400:  # nobody has ever registered it here
                whole.code = 200
                continue
            found = json.loads(answer.body).get("instances", ())
            shown |= {one["properties"]["who"]: _as_shown(one, "properties") for one in found}
        if whole is not None:
            whole.shown = shown if whole.code == 200 else {}
            self.log.looks.append(whole)


class DeltaReader(Reader):
    """Takes in deltas and reads in full where the hash tells it to, as Netflix's client does. What it believes to be
    there is what its owner would call: it is judged like a list."""

    def __init__(self, log: Log, node: int, url: str, run: str) -> None:
        super().__init__(log, node, url, run)
        self.every_s = DELTAS_EVERY_S
        self.full_fetches = 0
        self.mismatches = 0
        self._known: dict[tuple[str, str], Document] = {}

    @property
    def hash_code(self) -> str:
        counts = Counter(one["status"] for one in self._known.values())
        return "".join(f"{status}_{counts[status]}_" for status in sorted(counts))

    async def look(self) -> None:
        look, answer = await self.get("/eureka/apps/delta" if self._known else "/eureka/apps")
        if answer is not None and answer.status == 200:
            self._take_in(answer, is_all=not self._known)
            if self.hash_code != json.loads(answer.body)["applications"]["apps__hashcode"]:
                self.mismatches += 1
                look, answer = await self.get("/eureka/apps")
                if answer is not None and answer.status == 200:
                    self._take_in(answer, is_all=True)
        if answer is not None and answer.status == 200:
            ours = [one for one in self._known.values() if one["app"].startswith(self.run.upper())]
            look.shown = {one["metadata"]["who"]: _as_shown(one, "metadata") for one in ours}
        self.log.looks.append(look)

    def _take_in(self, answer: Answer, *, is_all: bool) -> None:
        if is_all:
            self._known.clear()
            self.full_fetches += 1
        for app in json.loads(answer.body)["applications"]["application"]:
            for one in app["instance"]:
                if one["actionType"] == "DELETED":
                    self._known.pop((one["app"], one["instanceId"]), None)
                else:
                    self._known[one["app"], one["instanceId"]] = one


def _as_shown(one: Document, metadata: str) -> Shown:
    return Shown.of(int(one[metadata]["n"]), one["status"])
