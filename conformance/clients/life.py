"""A registry under test, and a client that lives with it: what both say, and waiting for what they should say."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from conformance.clients.wiretap import Wiretap
from conformance.eureka.client import JSON, Eureka, instance_path, instances_of
from conformance.peers.processes import Processes, Program, Running
from conformance.servicecenter.asking import ServiceCenter

Document = dict[str, Any]

WITHIN_S = 90.0
"""For what comes within seconds by design: cases assert that it comes, not when."""


class Registry:
    """The server under test. It keeps its address when it is started anew, and nothing else."""

    def __init__(self, kind: str, program: Program, processes: Processes) -> None:
        self.kind = kind
        self.url = program.url
        self._program = program
        self._processes = processes
        self._running = processes.start(program)
        self.eureka = Eureka(self.url)

    def restart(self) -> None:
        """End it without a goodbye, and start it with nothing left of what it knew."""
        self._running.kill()
        self._running = self._processes.start(self._program)
        self.eureka.close()
        self.eureka = Eureka(self.url)  # the connections of the one before are gone

    def stop(self) -> None:
        self.eureka.close()
        self._running.stop()

    def instance(self, app: str, instance_id: str) -> Document | None:
        answer = self.eureka.get(instance_path(app, instance_id), headers=JSON)
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["instance"])

    def ids(self, app: str) -> set[str]:
        """As the full list has them, which the original keeps for a second."""
        return {one["instanceId"] for one in instances_of(self.eureka.registry(), app.upper())}

    def endpoints(self, app: str) -> set[str]:
        """Where consumers of the ServiceCenter side find the application."""
        answer = ServiceCenter(self.url).find("eureka", app.lower(), env="")
        return (
            {endpoint for one in answer.instances() for endpoint in one["endpoints"]} if answer.status == 200 else set()
        )


class Life:
    """A client that was started beside the registry, from its first request on."""

    def __init__(self, running: Running, registry: Registry, wire: Wiretap, app: str) -> None:
        self.running = running
        self.registry = registry
        self.wire = wire
        self.app = app
        self.port = int(running.url.rpartition(":")[2])
        self.id = f"127.0.0.1:{app}:{self.port}"

    @property
    def registered(self) -> Document | None:
        return self.registry.instance(self.app.upper(), self.id)

    def seen(self, app: str) -> dict[str, Document]:
        """What it holds of an application, by instance id."""
        answer = httpx.get(f"{self.running.url}/seen/{app}")
        assert answer.status_code == 200, answer.text
        return {one["id"]: one for one in answer.json()}

    def becomes_registered(self) -> Document:
        soon(lambda: self.registered is not None)
        return self.registered or {}

    def registers_as_up(self, **more: Any) -> None:
        """With the values that each of these clients is given, `more` of them, and a lease of ten seconds."""
        stated = {
            "instanceId": self.id,
            "app": self.app.upper(),
            "hostName": "127.0.0.1",
            "ipAddr": "127.0.0.1",
            "status": "UP",
            "vipAddress": self.app,
            "secureVipAddress": self.app,
            "port": {"$": self.port, "@enabled": "true"},
            **more,
        }
        soon(lambda: (self.registered or {}).get("status") == "UP")
        registered = self.registered or {}
        assert {key: registered[key] for key in stated} == stated
        assert (registered["leaseInfo"]["renewalIntervalInSecs"], registered["leaseInfo"]["durationInSecs"]) == (1, 10)

    def is_found_in_servicecenter(self) -> str:
        """By consumers of that side, or why not."""
        if self.registry.kind == "real":
            return "it has no such side"
        soon(lambda: self.registry.endpoints(self.app) == {f"rest://127.0.0.1:{self.port}"})
        return ""

    def renews(self) -> None:
        """Its lease is prolonged, twice."""
        for _ in range(2):
            before = self._renewed_at()
            soon(lambda: self._renewed_at() > before)  # noqa: B023 - it is called before the next turn

    def _renewed_at(self) -> int:
        return int((self.registered or {"leaseInfo": {"lastRenewalTimestamp": 0}})["leaseInfo"]["lastRenewalTimestamp"])

    def sees_come_and_go(self, other: str) -> None:
        """Another application's instance, registered by the bytes of the protocol."""
        eureka = self.registry.eureka
        lease = {"renewalIntervalInSecs": 30, "durationInSecs": 600}
        eureka.given(
            other, "o1", ipAddr="10.1.2.3", metadata={"colour": "<green> & blue"}, leaseInfo=lease, vipAddress=other
        )
        soon(lambda: "o1" in self.seen(other))
        seen = self.seen(other)["o1"]
        assert (seen["port"], seen["metadata"]["colour"]) == (8080, "<green> & blue")
        assert eureka.cancel(other, "o1").status_code == 200
        soon(lambda: not self.seen(other))

    def leaves(self) -> None:
        """Told to end as an operator would tell it, it takes itself away, as its wire tells."""
        self.running.stop()
        soon(lambda: self.registered is None)
        soon(lambda: self.registry.ids(self.app) == set())


def soon(is_so: Callable[[], bool], *, within_s: float = WITHIN_S) -> None:
    give_up_at = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < give_up_at, f"did not happen within {within_s} s"
        time.sleep(0.2)
