"""Clients of both protocols that live by the second, and all of whose requests are written down.

Each stays with one node until that does not answer, and goes on to the next then, as Netflix's and ServiceComb's do.
What it has begun it asks again until it has an answer. Most only renew; the restless change, leave and return besides.

Contenders write to one instance at one node, several at once; their calls are judged by `linear`.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from conformance.eureka.client import registration

from .log import Log, Op, Outcome, Shown, What
from .wire import Answer, Line, NoAnswerError

PATIENCE_S = 2.0
"""For one answer. Netflix's client waits eight seconds."""
RENEWS_EVERY_S = 1.0
AGAIN_S = 0.1

EUREKA_LEASE_S = 10
SERVICECENTER_LEASE_S = 5 * (3 + 1)
HEALTH_CHECK = {"mode": "push", "interval": 5, "times": 3}
GONE_IN_SERVICECENTER = b'"400017"'
SERVICES = "/v4/default/registry/microservices"


@dataclass
class Names:
    """Of one run: no other run on the same nodes has the same."""

    run: str

    def eureka_app(self, number: int) -> str:
        return f"{self.run}-E{number % 4}".upper()

    def service(self, number: int) -> str:
        return f"{self.run}-s{number % 2}"


@dataclass
class Fleet:
    log: Log
    urls: Sequence[str]
    names: Names
    seed: int
    services: Sequence[str]
    """The ids of those whose instances are born in ServiceCenter."""
    sides: Sequence[Sequence[int]] = ()
    """Which nodes each client reaches: those on its own side. Empty: everybody reaches all."""
    is_calm: bool = False
    """From then on the restless only renew."""
    clients: list[Client] = field(default_factory=list)


class Client(ABC):
    """One instance and its owner."""

    lease_s: float

    def __init__(self, fleet: Fleet, number: int, *, is_restless: bool) -> None:
        self.who = f"{type(self).__name__[0].lower()}{number}"
        self.n = 0
        self.status = "UP"
        self.is_registered = False
        self.is_leaving = False
        """Told to end, it cancels, and that is all of it."""
        self.number = number
        self.is_restless = is_restless
        self.fleet = fleet
        self.at = number % len(fleet.urls)
        self.random = random.Random(f"{fleet.seed} {self.who}")
        self._lines = [Line(url, PATIENCE_S) for url in fleet.urls]
        self._reached = next((side for side in fleet.sides if self.at in side), range(len(fleet.urls)))

    @property
    def shown(self) -> Shown | None:
        """How every node has to list it, as far as it was told."""
        return Shown.of(self.n, self.status) if self.is_registered else None

    async def live(self) -> None:
        try:
            await self.register()
            await asyncio.sleep(self.random.random() * RENEWS_EVERY_S)
            while not self.is_leaving:
                due_s = time.monotonic() + RENEWS_EVERY_S
                await self._renew()
                if self.is_restless and not self.fleet.is_calm and self.random.random() < 0.5:
                    await self._change()
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            await self.leave()
        finally:
            for line in self._lines:
                line.close()

    async def _change(self) -> None:
        """What restless ones do."""
        await self.random.choice([self.register, self.leave_and_return, self.change_status])()

    async def register(self) -> None:
        self.n += 1
        op = await self._until_answered(What.REGISTER, *self.registering())
        self.is_registered = op.outcome is Outcome.DONE

    async def leave(self) -> None:
        await self._until_answered(What.CANCEL, "DELETE", self.path)
        self.is_registered, self.status = False, "UP"

    async def leave_and_return(self) -> None:
        await self.leave()
        await asyncio.sleep(0.2)
        await self.register()

    async def change_status(self) -> None:
        wanted = "UP" if self.status != "UP" else "OUT_OF_SERVICE"
        op = await self._until_answered(What.STATUS, *self.stating(wanted), status=wanted)
        if op.outcome is Outcome.DONE:
            self.status = wanted

    async def _renew(self) -> None:
        """Once at every node at most: the next renewal is due soon."""
        for _ in self._reached:
            op = await self._once(What.RENEW, "PUT", self.renewing)
            if op.outcome is Outcome.GONE:
                self.status = "UP"
                await self.register()
            if op.outcome is not Outcome.UNKNOWN:
                return

    async def _until_answered(self, what: What, method: str, path: str, body: Any = None, status: str = "") -> Op:
        turns = 0
        while (op := await self._once(what, method, path, body, status)).outcome is Outcome.UNKNOWN:
            turns += 1
            if turns % len(self._reached) == 0:
                await asyncio.sleep(AGAIN_S)
        return op

    async def _once(self, what: What, method: str, path: str, body: Any = None, status: str = "") -> Op:
        op = Op(self.who, what, self.at, time.monotonic(), self.n, status)
        self.fleet.log.ops.append(op)
        await write_down(op, self._lines[self.at], method, path, body)
        if op.outcome is Outcome.UNKNOWN:
            self.at = self._reached[(self._reached.index(self.at) + 1) % len(self._reached)]
        return op

    @property
    @abstractmethod
    def path(self) -> str: ...
    @property
    @abstractmethod
    def renewing(self) -> str: ...
    @abstractmethod
    def registering(self) -> tuple[str, str, Any]: ...
    @abstractmethod
    def stating(self, status: str) -> tuple[str, str]: ...


class EurekaClient(Client):
    lease_s = EUREKA_LEASE_S

    @property
    def path(self) -> str:
        return f"/eureka/apps/{self.fleet.names.eureka_app(self.number)}/{self.who}"

    @property
    def renewing(self) -> str:
        return f"{self.path}?status=UP&lastDirtyTimestamp={1000 + self.n}"

    def registering(self) -> tuple[str, str, Any]:
        document = instance(self.fleet.names, self.number, self.who, self.n, dirty=1000 + self.n)
        return "POST", self.path.rpartition("/")[0], document

    def stating(self, status: str) -> tuple[str, str]:
        return ("DELETE" if status == "UP" else "PUT"), f"{self.path}/status?value={status}"


class ServiceClient(Client):
    """Born in ServiceCenter. The restless change their properties only: each change is one event for watchers."""

    lease_s = SERVICECENTER_LEASE_S

    @property
    def path(self) -> str:
        return f"{SERVICES}/{self.fleet.services[self.number % 2]}/instances/{self.who}"

    @property
    def renewing(self) -> str:
        return f"{self.path}/heartbeat"

    def registering(self) -> tuple[str, str, Any]:
        document = {
            "instanceId": self.who,
            "hostName": "h1",
            "endpoints": [f"rest://10.1.0.{self.number}:80"],
            "properties": {"who": self.who, "n": str(self.n)},
            "healthCheck": HEALTH_CHECK,
        }
        return "POST", self.path.rpartition("/")[0], {"instance": document}

    def stating(self, status: str) -> tuple[str, str]:
        return "PUT", f"{self.path}/status?value={status.replace('_', '')}"

    async def _change(self) -> None:
        self.n += 1
        body = {"properties": {"who": self.who, "n": str(self.n)}}
        await self._until_answered(What.CHANGE, "PUT", f"{self.path}/properties", body)


def instance(names: Names, number: int, who: str, n: int, *, dirty: int, lease_s: int = EUREKA_LEASE_S) -> Any:
    document = registration(
        names.eureka_app(number),
        who,
        ipAddr=f"10.2.{number // 250}.{number % 250}",
        vipAddress=names.eureka_app(number).lower(),
        lastDirtyTimestamp=str(dirty),
        metadata={"who": who, "n": str(n)},
        leaseInfo={"renewalIntervalInSecs": 1, "durationInSecs": lease_s},
    )
    return {"instance": document}


async def write_down(op: Op, line: Line, method: str, path: str, body: Any = None) -> Answer | None:
    """Ask, and note how it ended. None: no answer came."""
    try:
        answer = await line.ask(method, path, json.dumps(body).encode() if body is not None else b"")
    except NoAnswerError as error:
        op.end(Outcome.UNKNOWN, 0, str(error))
        return None
    if answer.status < 300:
        op.end(Outcome.DONE, answer.status)
    elif answer.status == 404 or GONE_IN_SERVICECENTER in answer.body:
        op.end(Outcome.GONE, answer.status)
    else:
        outcome = Outcome.UNKNOWN if answer.status >= 500 else Outcome.REFUSED
        op.end(outcome, answer.status, answer.body.decode(errors="replace"))
    return answer


class Contender:
    """One of several that write to the same instance at the same node. It waits for no answer twice."""

    def __init__(self, fleet: Fleet, instance_number: int, number: int, at: int) -> None:
        self.who = f"c{instance_number}"
        self._number = instance_number
        self._n = number
        self._fleet, self._at = fleet, at
        self._random = random.Random(f"{fleet.seed} {self.who} {number}")
        self._line = Line(fleet.urls[at], PATIENCE_S)

    async def live(self) -> None:
        names = self._fleet.names
        path = f"/eureka/apps/{names.eureka_app(self._number)}/{self.who}"
        try:
            while True:
                await asyncio.sleep(self._random.uniform(0.1, 0.4))
                choice = self._random.random()
                if choice < 0.4:
                    await self._read(path)
                elif choice < 0.6:
                    await self._ask(What.RENEW, "PUT", path)
                elif self._fleet.is_calm:
                    continue
                elif choice < 0.8:
                    self._n += 100  # each of them has numbers of its own
                    document = instance(names, self._number, self.who, self._n, dirty=1000, lease_s=3600)
                    await self._ask(What.REGISTER, "POST", path.rpartition("/")[0], document)
                elif choice < 0.9:
                    await self._ask(What.CANCEL, "DELETE", path)
                else:
                    word = self._random.choice(["OUT_OF_SERVICE", ""])
                    query = f"{path}/status?value={word or 'UP'}"
                    await self._ask(What.STATUS, "PUT" if word else "DELETE", query, status=word)
        finally:
            self._line.close()

    async def _ask(self, what: What, method: str, path: str, body: Any = None, status: str = "") -> None:
        op = self._begun(what, status)
        await write_down(op, self._line, method, path, body)

    async def _read(self, path: str) -> None:
        op = self._begun(What.READ)
        answer = await write_down(op, self._line, "GET", path)
        if answer is not None and op.outcome is Outcome.DONE:
            found = json.loads(answer.body)["instance"]
            op.status = Shown.of(int(found["metadata"]["n"]), found["status"])

    def _begun(self, what: What, status: str = "") -> Op:
        op = Op(self.who, what, self._at, time.monotonic(), self._n, status)
        self._fleet.log.ops.append(op)
        return op
