"""F1, F5, F17, F23: a whole server that is killed, stopped, frozen, or out of disk."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.flows.product import BASE, Process, eureka_document, running

KILLS = int(os.environ.get("KILLS", "4"))
"""How often the server dies under load; `KILLS=20 make test` for the long form."""

WRITERS = 8
JSON = {"Accept": "application/json"}


def listed(url: str) -> set[str]:
    """Ids of all instances, by Eureka."""
    applications = httpx.get(f"{url}/eureka/apps", headers=JSON, timeout=10).json()["applications"]["application"]
    return {one["instanceId"] for application in applications for one in application["instance"]}


def found(url: str, service_id: str) -> set[str]:
    """Ids of a microservice's instances, by ServiceCenter."""
    answer = httpx.get(f"{url}{BASE}/microservices/{service_id}/instances", timeout=10).json()
    return {one["instanceId"] for one in answer.get("instances", [])}


def create_service(url: str) -> str:
    service = {"appId": "eureka", "serviceName": "hello-server", "version": "0.0.1"}
    return str(httpx.post(f"{url}{BASE}/microservices", json={"service": service}).json()["serviceId"])


class Writers:
    """Register in both protocols, as fast as answers come, and remember what was acknowledged."""

    def __init__(self, url: str, service_id: str, run: int) -> None:
        self._url = url
        self._service_id = service_id
        self._run = run
        self.eureka: set[str] = set()
        self.servicecenter: set[str] = set()

    async def write_for(self, seconds: float, process: Process) -> None:
        async with httpx.AsyncClient(base_url=self._url, timeout=5) as http:
            writers = [asyncio.create_task(self._write(http, number)) for number in range(WRITERS)]
            await asyncio.sleep(seconds)
            process.popen.send_signal(signal.SIGKILL)
            await asyncio.gather(*writers)

    async def _write(self, http: httpx.AsyncClient, number: int) -> None:
        count = 0
        try:
            while True:
                name = f"{self._run}-{number}-{count}"
                body = {"instance": eureka_document("CARTS", f"e-{name}")}
                if (await http.post("/eureka/apps/CARTS", json=body)).status_code == 204:
                    self.eureka.add(f"e-{name}")
                instance = {"instanceId": f"s-{name}", "hostName": "h", "endpoints": ["rest://10.0.0.1:80"]}
                path = f"{BASE}/microservices/{self._service_id}/instances"
                if (await http.post(path, json={"instance": instance})).status_code == 200:
                    self.servicecenter.add(f"s-{name}")
                count += 1
        except httpx.TransportError:
            return  # killed


def test_no_acknowledged_write_is_lost_by_a_kill(tmp_path: Path) -> None:
    """F1. Every life begins with all that any earlier one acknowledged, in both views."""
    eureka: set[str] = set()
    servicecenter: set[str] = set()
    for run in range(KILLS):
        with running(tmp_path / "data") as process:
            service_id = create_service(process.url)
            assert eureka <= listed(process.url)
            assert servicecenter <= found(process.url, service_id)
            writers = Writers(process.url, service_id, run)
            asyncio.run(writers.write_for(0.5, process))
        eureka |= writers.eureka
        servicecenter |= writers.servicecenter
    with running(tmp_path / "data") as process:
        assert eureka <= listed(process.url)
        assert servicecenter <= found(process.url, create_service(process.url))
    assert len(eureka) > KILLS * WRITERS


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small disk; the store's own tests ask the same without one")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_on_a_full_disk_renewals_go_on_and_writes_are_refused_until_there_is_room(small_disk: Path) -> None:
    """F5. Each protocol refuses in its own words, and nothing of a refused write is ever seen."""
    with running(small_disk / "data") as process, httpx.Client(base_url=process.url, timeout=10) as http:
        service_id = create_service(process.url)
        body = {"instance": eureka_document("CARTS", "one")}
        instance = {"instance": {"instanceId": "h1", "hostName": "h", "endpoints": ["rest://10.0.0.1:80"]}}
        instances = f"{BASE}/microservices/{service_id}/instances"
        assert http.post("/eureka/apps/CARTS", json=body).status_code == 204
        assert http.post(instances, json=instance).status_code == 200
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(4096))
                except OSError:
                    break

        refused = _write_until_refused(http)
        other = {"instance": instance["instance"] | {"instanceId": "h2", "properties": {"big": "x" * 20_000}}}
        in_servicecenter = http.post(instances, json=other)
        renewals = {
            http.put("/eureka/apps/CARTS/one").status_code,
            http.put(f"{instances}/h1/heartbeat").status_code,
        }
        ready = http.get("/readyz").json()

        assert refused == in_servicecenter.status_code == 507
        assert in_servicecenter.json()["errorCode"] == "500011"
        assert renewals == {200}
        assert ready["status"] == "degraded"
        assert found(process.url, service_id) == {"h1"}

        ballast.unlink()
        _wait_until(lambda: http.get("/readyz").json()["status"] == "ok")
        assert http.post(instances, json=other).status_code == 200


def _write_until_refused(http: httpx.Client) -> int:
    for number in range(2_000):
        document = eureka_document("CARTS", f"filler-{number}", metadata={"big": "x" * 20_000})
        answer = http.post("/eureka/apps/CARTS", json={"instance": document})
        if answer.status_code != 204:
            assert answer.content == b""
            return answer.status_code
    raise AssertionError("the disk never filled")


def _wait_until(is_so: object, most_s: float = 10) -> None:
    give_up = time.monotonic() + most_s
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < give_up
        time.sleep(0.1)


def test_a_frozen_server_evicts_nobody_when_it_wakes(tmp_path: Path) -> None:
    """F17. Nobody could renew while it stood still."""
    lease = {"renewalIntervalInSecs": 1, "durationInSecs": 3}
    with running(tmp_path / "data", "--no-self-preservation") as process:
        body = {"instance": eureka_document("CARTS", "one", leaseInfo=lease)}
        httpx.post(f"{process.url}/eureka/apps/CARTS", json=body)
        process.popen.send_signal(signal.SIGSTOP)
        time.sleep(8)
        process.popen.send_signal(signal.SIGCONT)
        time.sleep(1.5)

        assert httpx.put(f"{process.url}/eureka/apps/CARTS/one").status_code == 200


def test_told_to_stop_it_lets_go_of_watchers_and_ends_well(tmp_path: Path) -> None:
    """F23."""
    with running(tmp_path / "data") as process:
        service_id = create_service(process.url)
        address = f"ws://127.0.0.1:{process.port}{BASE}/microservices/{service_id}/watcher"
        with connect(address, compression=None), httpx.Client(base_url=process.url) as http:
            http.get("/eureka/apps")
            process.popen.send_signal(signal.SIGTERM)

            assert process.popen.wait(15) == 0
    assert "Traceback" not in process.log.read_text()
