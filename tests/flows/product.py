"""The whole product for tests: in this process on a clock that moves when told to, or as a process of its own."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp

from conformance.peers.patience import PATIENCE_S
from conformance.peers.processes import START_WITHIN_S
from facade.access.control import AccessControl
from facade.application import application
from facade.clock import ManualClock
from facade.config import Address, Settings
from facade.parts import access_of, policy_of, switchboard_of
from facade.registry.registry import Registry
from facade.registry.store import Store
from facade.stores.switching import SwitchingStore
from tests.ports import free_port

MY_OWN = {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"}
BASE = "/v4/default/registry"


class Product:
    """Both protocols of one server, as their clients use them."""

    def __init__(
        self,
        registry: Registry,
        clock: ManualClock,
        application: ASGIApp,
        http: httpx.AsyncClient,
        access: AccessControl | None = None,
    ) -> None:
        self.registry = registry
        self.access = access
        self.clock = clock
        self.application = application
        self.http = http

    async def pass_time(self, seconds: int) -> None:
        """As a running server sees it, with a sweep in each second; a jump would count as a freeze."""
        for _ in range(seconds):
            self.clock.advance(1)
            await self.registry.sweep()

    # Eureka

    async def register_eureka(self, application: str, instance_id: str, **changes: Any) -> httpx.Response:
        body = {"instance": eureka_document(application, instance_id, **changes)}
        return await self.http.post(f"/eureka/apps/{application}", json=body)

    async def in_eureka(self, path: str = "/eureka/apps") -> dict[str, dict[str, Any]]:
        """Instances by id."""
        answer = await self.http.get(path, headers={"Accept": "application/json"})
        applications = answer.json()["applications"]["application"] if answer.status_code == 200 else []
        return {one["instanceId"]: one for application in applications for one in application["instance"]}

    async def eureka_hash(self, path: str = "/eureka/apps") -> str:
        answer = await self.http.get(path, headers={"Accept": "application/json"})
        return str(answer.json()["applications"]["apps__hashcode"])

    # ServiceCenter

    async def create_service(self, name: str, app: str = "eureka", version: str = "0.0.1", **more: Any) -> str:
        service = {"appId": app, "serviceName": name, "version": version, **more}
        answer = await self.http.post(f"{BASE}/microservices", json={"service": service})
        return str(answer.json()["serviceId"])

    async def register_servicecenter(self, service_id: str, instance_id: str, **changes: Any) -> httpx.Response:
        instance = {"instanceId": instance_id, "hostName": "h", "endpoints": [f"rest://{instance_id}:80"], **changes}
        path = f"{BASE}/microservices/{service_id}/instances"
        return await self.http.post(path, json={"instance": instance})

    async def found(self, name: str, app: str = "eureka", consumer: str = "") -> list[dict[str, Any]]:
        query = {"appId": app, "serviceName": name, "version": "0+"}
        headers = {"X-ConsumerId": consumer} if consumer else {}
        answer = await self.http.get(f"{BASE}/instances", params=query, headers=headers)
        return list(answer.json().get("instances", [])) if answer.status_code == 200 else []


def eureka_document(application: str, instance_id: str, **changes: Any) -> dict[str, Any]:
    document = {
        "instanceId": instance_id,
        "hostName": instance_id,
        "app": application,
        "ipAddr": "10.0.0.1",
        "status": "UP",
        "port": {"$": 8080, "@enabled": "true"},
        "vipAddress": application.lower(),
        "dataCenterInfo": MY_OWN,
        "lastDirtyTimestamp": "1000",
    }
    return document | changes


@asynccontextmanager
async def product(store: Store, clock: ManualClock, /, **settings: Any) -> AsyncIterator[Product]:
    """A server in this process over a store that may have been used before."""
    stated = Settings(**({"self_preservation": False} | settings))
    switching = SwitchingStore(store)
    registry = Registry(switching, clock, policy_of(stated))
    await registry.open()
    access = None
    switchboard = switchboard_of(stated, switching, registry)
    listening = [Address("127.0.0.1", 30100)]
    try:
        access = await access_of(stated, registry)
        whole, _ = application(registry, stated, listening, access=access, switchboard=switchboard)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(whole), base_url="http://registry.test") as http:
            yield Product(registry, clock, whole, http, access)
    finally:
        await switchboard.close()
        if access is not None:
            access.close()
        await registry.close()


class Process:
    """A server of its own, over a data directory."""

    def __init__(self, data_dir: Path, *flags: str, trust: ssl.SSLContext | None = None) -> None:
        """`trust` judges its certificate, where the flags give it one."""
        self.port = free_port()
        self.url = f"{'https' if trust else 'http'}://127.0.0.1:{self.port}"
        self.trust = trust or True
        self.log = data_dir.parent / f"server-{self.port}.log"
        listen = ("--listen", f"127.0.0.1:{self.port}")
        command = [sys.executable, "-m", "facade", "serve", "--data-dir", str(data_dir), *listen, *flags]
        with self.log.open("wb") as output:
            self.popen = subprocess.Popen(command, stdout=output, stderr=output, env=clean_environment())

    def wait_until_ready(self) -> None:
        give_up = time.monotonic() + START_WITHIN_S
        while self.popen.poll() is None and time.monotonic() < give_up:
            try:
                if httpx.get(f"{self.url}/healthz", timeout=5, verify=self.trust).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.02)
        raise AssertionError(f"the server did not start: {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait(PATIENCE_S)

    def rss_bytes(self) -> int:
        return int(Path(f"/proc/{self.popen.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_FACADE_")}


@contextmanager
def running(data_dir: Path, *flags: str, trust: ssl.SSLContext | None = None) -> Iterator[Process]:
    process = Process(data_dir, *flags, trust=trust)
    try:
        process.wait_until_ready()
        yield process
    finally:
        if process.popen.poll() is None:
            process.popen.terminate()
            try:
                process.popen.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_until(is_so: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.05)
