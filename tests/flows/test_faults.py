"""F1, F5, F17, F23: a whole server that is killed, stopped, frozen, or out of disk."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.flows.product import BASE, Process, eureka_document, running

KILLS = int(os.environ.get("KILLS", "4"))
"""How often the server dies under load; `KILLS=20 make test` for the long form."""

WRITERS = 8
SHORT_LEASE_S = 3
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


def test_after_a_kill_every_lease_has_a_fresh_term_and_old_revisions_are_answered_in_full(tmp_path: Path) -> None:
    """Nobody could renew while the server was away, and nobody knows what a reader has missed."""
    with running(tmp_path / "data", "--no-self-preservation") as process:
        register_short_leases(process)
        query = {"appId": "eureka", "serviceName": "carts"}
        before = httpx.get(f"{process.url}{BASE}/instances", params=query)
        process.kill()
    time.sleep(SHORT_LEASE_S + 0.5)

    with running(tmp_path / "data", "--no-self-preservation") as process:
        revision = {"rev": before.headers["X-Resource-Revision"]}
        after = httpx.get(f"{process.url}{BASE}/instances", params=query | revision)

        assert (after.status_code, after.json()["instances"]) == (200, before.json()["instances"])
        assert renewed(process) == [200, 200]
        _wait_until(lambda: listed(process.url) == {"h1"})  # no more than that: nobody renews from here on


def register_short_leases(process: Process) -> None:
    lease = {"renewalIntervalInSecs": 1, "durationInSecs": SHORT_LEASE_S}
    body = {"instance": eureka_document("CARTS", "one", leaseInfo=lease)}
    assert httpx.post(f"{process.url}/eureka/apps/CARTS", json=body).status_code == 204
    health = {"mode": "push", "interval": 5, "times": 3}  # the least that ServiceCenter grants
    instance = {"instanceId": "h1", "hostName": "h", "endpoints": ["rest://10.0.0.2:80"], "healthCheck": health}
    path = f"{BASE}/microservices/{create_service(process.url)}/instances"
    assert httpx.post(f"{process.url}{path}", json={"instance": instance}).status_code == 200


def renewed(process: Process) -> list[int]:
    """How the renewals of both are answered."""
    heartbeat = f"{BASE}/microservices/{create_service(process.url)}/instances/h1/heartbeat"
    return [httpx.put(f"{process.url}{path}").status_code for path in ("/eureka/apps/CARTS/one", heartbeat)]


class SmallDisk:
    """A disk of its own, which only root may have."""

    refusals = (507, 507)
    """Of Eureka's front and of ServiceCenter's."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._ballast = place / "ballast"

    def fill(self, _process: Process) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(4096))
                except OSError:
                    return

    def free(self, _process: Process) -> None:
        self._ballast.unlink()


class SmallFiles:
    """No file of the server may be written far: what an ordinary user can do to a server of his own."""

    refusals = (503, 500)

    def __init__(self, place: Path) -> None:
        self.place = place

    def fill(self, process: Process) -> None:
        resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, (16_384, resource.RLIM_INFINITY))

    def free(self, process: Process) -> None:
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, unlimited)


@pytest.fixture(params=[SmallDisk, SmallFiles])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk | SmallFiles]:
    place = tmp_path / "small"
    place.mkdir()
    if request.param is SmallFiles:
        yield SmallFiles(place)
        return
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small disk")
    yield SmallDisk(place)
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_on_a_full_disk_renewals_go_on_and_writes_are_refused_until_there_is_room(
    disk: SmallDisk | SmallFiles,
) -> None:
    """F5. Each protocol refuses in its own words, and nothing of a refused write is ever seen."""
    with running(disk.place / "data") as process, httpx.Client(base_url=process.url, timeout=10) as http:
        service_id = create_service(process.url)
        body = {"instance": eureka_document("CARTS", "one")}
        instance = {"instance": {"instanceId": "h1", "hostName": "h", "endpoints": ["rest://10.0.0.1:80"]}}
        instances = f"{BASE}/microservices/{service_id}/instances"
        assert http.post("/eureka/apps/CARTS", json=body).status_code == 204
        assert http.post(instances, json=instance).status_code == 200
        for _ in range(2):
            disk.fill(process)

            acknowledged, refused = _write_until_refused(http)
            other = {"instance": instance["instance"] | {"instanceId": "h2", "properties": {"big": "x" * 20_000}}}
            in_servicecenter = http.post(instances, json=other)
            renewals = {
                http.put("/eureka/apps/CARTS/one").status_code,
                http.put(f"{instances}/h1/heartbeat").status_code,
            }
            ready = http.get("/readyz").json()

            assert (refused, in_servicecenter.status_code) == disk.refusals
            assert in_servicecenter.json()["errorCode"] == "500011"
            assert renewals == {200}
            assert ready["status"] == "degraded"
            assert found(process.url, service_id) == {"h1"}
            assert {one for one in listed(process.url) if one.startswith("filler")} == acknowledged

            disk.free(process)
            _wait_until(lambda: http.get("/readyz").json()["status"] == "ok")
            for filler in acknowledged:
                assert http.delete(f"/eureka/apps/CARTS/{filler}").status_code == 200
        assert http.post(instances, json=other).status_code == 200
        process.kill()
    with running(disk.place / "data") as process:
        assert listed(process.url) >= {"one"}
        assert found(process.url, service_id) == {"h1", "h2"}


def _write_until_refused(http: httpx.Client) -> tuple[set[str], int]:
    """What was still taken, and how the next was answered."""
    acknowledged: set[str] = set()
    for number in range(2_000):
        document = eureka_document("CARTS", f"filler-{number}", metadata={"big": "x" * 20_000})
        answer = http.post("/eureka/apps/CARTS", json={"instance": document})
        if answer.status_code != 204:
            assert answer.content == b""
            return acknowledged, answer.status_code
        acknowledged.add(f"filler-{number}")
    raise AssertionError("the disk never filled")


def _wait_until(is_so: Callable[[], bool], most_s: float = 10) -> None:
    give_up = time.monotonic() + most_s
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.1)


def test_a_frozen_server_evicts_nobody_when_it_wakes(tmp_path: Path) -> None:
    """F17. Nobody could renew while it stood still."""
    with running(tmp_path / "data", "--no-self-preservation") as process:
        register_short_leases(process)
        process.popen.send_signal(signal.SIGSTOP)
        time.sleep(2 * SHORT_LEASE_S)
        process.popen.send_signal(signal.SIGCONT)
        time.sleep(1.5)  # a sweep or two

        assert renewed(process) == [200, 200]


def test_told_to_stop_it_answers_what_was_asked_lets_go_of_watchers_and_ends_well(tmp_path: Path) -> None:
    """F23. A registration whose second half comes after the signal is taken, and kept."""
    body = json.dumps({"instance": eureka_document("CARTS", "late")}).encode()
    head = (
        f"POST /eureka/apps/CARTS HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    with running(tmp_path / "data") as process, ExitStack() as open_ones:
        service_id = create_service(process.url)
        service = f"{process.port}{BASE}/microservices/{service_id}"
        watch = open_ones.enter_context(connect(f"ws://127.0.0.1:{service}/watcher", compression=None))
        http = open_ones.enter_context(httpx.Client(base_url=process.url))
        http.get("/eureka/apps")
        open_ones.enter_context(http.stream("GET", "/dashboard/changes"))
        late = open_ones.enter_context(socket.create_connection(("127.0.0.1", process.port), timeout=10))
        late.sendall(f"{head}\r\n\r\n".encode() + body[:20])
        _wait_until(lambda: http.get("/healthz").status_code == 200)

        process.popen.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            watch.recv(10)
        late.sendall(body[20:])

        assert late.recv(100).split()[1] == b"204"
        assert process.popen.wait(15) == 0
    assert "Traceback" not in process.log.read_text()
    with running(tmp_path / "data") as process:
        assert listed(process.url) == {"late"}
