"""A ServiceCenter under test that can be restarted, and a client beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import httpx

from conformance.clients.life import soon
from conformance.clients.servicecenter.programs import ACCOUNT, Access, Role
from conformance.clients.wiretap import Wiretap
from conformance.peers.processes import Processes, Program, Running
from conformance.servicecenter.asking import ServiceCenter, outnumber_deletes

Document = dict[str, Any]


class Registry:
    """The server under test. It keeps its address when it is started anew, and nothing else."""

    def __init__(self, kind: str, access: Access, programs: Sequence[Program], processes: Processes) -> None:
        """`programs`: the stores that the server needs, and last the server."""
        self.kind = kind
        self.url = programs[-1].url
        self._access = access
        self._programs = programs
        self._processes = processes
        self._running: list[Running] = []
        self._start()

    @cached_property
    def sc(self) -> ServiceCenter:
        """Seen by root, where there are accounts."""
        return ServiceCenter(self.url, self.kind, headers=self._headers())

    def restart(self) -> None:
        """End it without a goodbye, and start it with nothing left of what it knew."""
        for running in reversed(self._running):
            running.kill()
        self._running.clear()
        del self.sc
        self._start()

    def stop(self) -> None:
        for running in reversed(self._running):
            running.stop()

    def _start(self) -> None:
        for program in self._programs:
            self._running.append(self._processes.start(program))
        if self.kind == "real":
            outnumber_deletes(self.sc)

    def _headers(self) -> Mapping[str, str]:
        if self._access == "off":
            return {}
        answer = ServiceCenter(self.url).post("/v4/token", {"name": ACCOUNT.name, "password": ACCOUNT.password})
        assert answer.status == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}


class Life:
    """A client that was started beside the registry, from its first request on."""

    def __init__(self, running: Running, registry: Registry, wire: Wiretap, role: Role) -> None:
        self.running = running
        self.registry = registry
        self.wire = wire
        self.role = role
        self.app = role.app
        self.endpoint = f"127.0.0.1:{role.port}"

    @property
    def service_id(self) -> str:
        """Empty while it is not registered."""
        key = {"appId": self.app, "serviceName": self.role.service, "version": self.role.version}
        answer = self.registry.sc.get("existence", type="microservice", **key)
        return str(answer.json().get("serviceId", ""))

    @property
    def instances(self) -> list[Document]:
        """What the registry has of its service; none while there is no such service."""
        service_id = self.service_id
        listed = self.registry.sc.get(f"microservices/{service_id}/instances")
        return listed.instances() if service_id and listed.status == 200 else []

    def ask(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.running.url}/{path}")

    def seen(self, service: str) -> set[str]:
        """Where it holds instances of a service to be: hosts with ports."""
        answer = self.ask(f"seen/{service}")
        assert answer.status_code == 200, answer.text
        return set(answer.json())

    def becomes_registered(self) -> Document:
        soon(lambda: len(self.instances) == 1)
        (instance,) = self.instances
        assert [one.partition("?")[0] for one in instance["endpoints"]] == [f"rest://{self.endpoint}"], instance
        assert (instance["status"], instance["version"]) == ("UP", self.role.version)
        return instance

    def renews(self) -> None:
        """It beats, and is not refused."""
        before = len(self.beats)
        soon(lambda: len(self.beats) > before)
        assert set(self.beats[before:]) == {200}

    @property
    def beats(self) -> list[int]:
        """The statuses of its heartbeats so far."""
        return [one.status for one in self.wire.asked("PUT", "/heartbeat") if one.status]

    def sees_come(self, service: str, endpoint: str, version: str = "1.0.0") -> tuple[str, str]:
        """Another service of its application, registered by the bytes of the protocol; the ids of both."""
        sc = self.registry.sc
        service_id = sc.create_service(self.app, service, version, environment="")
        instance_id = sc.register(service_id, endpoints=[f"rest://{endpoint}"])
        soon(lambda: endpoint in self.seen(service))
        return service_id, instance_id

    def sees_come_and_go(self, service: str, endpoint: str) -> None:
        service_id, instance_id = self.sees_come(service, endpoint)
        assert self.registry.sc.delete(f"microservices/{service_id}/instances/{instance_id}").status == 200
        soon(lambda: self.seen(service) == set())

    def registers_again(self) -> Document:
        """After the server was started anew with nothing left."""
        self.registry.restart()
        return self.becomes_registered()

    def leaves(self) -> None:
        """Told to end as an operator would tell it, it takes itself away, as its wire tells; its service stays."""
        self.running.stop()
        soon(lambda: self.instances == [])
        assert self.service_id
