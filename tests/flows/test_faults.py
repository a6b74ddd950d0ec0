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
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from conformance.peers.patience import PATIENCE_S
from tests.flows.product import BASE, Process, eureka_document, running, wait_until

KILLS = int(os.environ.get("KILLS", "4"))
"""How often the server dies under load; `KILLS=20 make test` for the long form."""

WRITERS = 8
SHORT_LEASE_S = 4
JSON = {"Accept": "application/json"}


def listed(url: str) -> set[str]:
    """Ids of all instances, by Eureka."""
    applications = httpx.get(f"{url}/eureka/apps", headers=JSON).json()["applications"]["application"]
    return {one["instanceId"] for application in applications for one in application["instance"]}


def found(url: str, service_id: str) -> set[str]:
    """Ids of a microservice's instances, by ServiceCenter."""
    answer = httpx.get(f"{url}{BASE}/microservices/{service_id}/instances").json()
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
        self._has_many = asyncio.Event()
        self.eureka: set[str] = set()
        self.servicecenter: set[str] = set()

    async def write_and_kill(self, process: Process) -> None:
        """In the middle of it."""
        async with httpx.AsyncClient(base_url=self._url) as http:
            writers = [asyncio.create_task(self._write(http, number)) for number in range(WRITERS)]
            await asyncio.sleep(0.5)
            await asyncio.wait_for(self._has_many.wait(), PATIENCE_S)
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
                if len(self.eureka) > WRITERS:
                    self._has_many.set()
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
            asyncio.run(writers.write_and_kill(process))
        eureka |= writers.eureka
        servicecenter |= writers.servicecenter
    with running(tmp_path / "data") as process:
        assert eureka <= listed(process.url)
        assert servicecenter <= found(process.url, create_service(process.url))
    assert len(eureka) > KILLS * WRITERS


def test_after_a_kill_every_lease_has_a_fresh_term_and_revisions_hold_for_what_is_the_same(tmp_path: Path) -> None:
    """Nobody could renew while the server was away."""
    with running(tmp_path / "data", "--no-self-preservation") as process:
        register(process, "ORDERS", "one")
        register_short_leases(process)
        query = {"appId": "eureka", "serviceName": "orders"}
        before = httpx.get(f"{process.url}{BASE}/instances", params=query)
        process.kill()
    time.sleep(SHORT_LEASE_S + 0.5)

    began_s = time.monotonic()
    with running(tmp_path / "data", "--no-self-preservation") as process:
        revision = {"rev": before.headers["X-Resource-Revision"]}
        unchanged = httpx.get(f"{process.url}{BASE}/instances", params=query | revision)
        after = httpx.get(f"{process.url}{BASE}/instances", params=query)

        assert unchanged.status_code == 304
        assert after.json()["instances"] == before.json()["instances"]
        assert_renewed(process, began_s)
        wait_until(lambda: "two" not in listed(process.url))  # no more than that: it did not renew


def register(process: Process, application: str, name: str, **changes: object) -> None:
    body = {"instance": eureka_document(application, name, **changes)}
    assert httpx.post(f"{process.url}/eureka/apps/{application}", json=body).status_code == 204


def register_short_leases(process: Process) -> None:
    lease = {"renewalIntervalInSecs": 1, "durationInSecs": SHORT_LEASE_S}
    for name in ("one", "two"):
        register(process, "CARTS", name, leaseInfo=lease)
    health = {"mode": "push", "interval": 5, "times": 3}  # the least that ServiceCenter grants
    instance = {"instanceId": "h1", "hostName": "h", "endpoints": ["rest://10.0.0.2:80"], "healthCheck": health}
    path = f"{BASE}/microservices/{create_service(process.url)}/instances"
    assert httpx.post(f"{process.url}{path}", json={"instance": instance}).status_code == 200


def assert_renewed(process: Process, since_s: float) -> None:
    """One in either protocol, unless the machine has held us up for a whole lease since then."""
    heartbeat = f"{BASE}/microservices/{create_service(process.url)}/instances/h1/heartbeat"
    answers = [httpx.put(f"{process.url}{path}").status_code for path in ("/eureka/apps/CARTS/one", heartbeat)]
    assert answers == [200, 200] or time.monotonic() - since_s > SHORT_LEASE_S


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
    with running(disk.place / "data") as process, httpx.Client(base_url=process.url) as http:
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
            wait_until(lambda: http.get("/readyz").json()["status"] == "ok")
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


def test_a_frozen_server_evicts_nobody_when_it_wakes(tmp_path: Path) -> None:
    """F17. Nobody could renew while it stood still."""
    with running(tmp_path / "data", "--no-self-preservation") as process:
        began_s = time.monotonic()
        register_short_leases(process)
        process.popen.send_signal(signal.SIGSTOP)
        frozen_s = SHORT_LEASE_S + 1
        time.sleep(frozen_s)
        process.popen.send_signal(signal.SIGCONT)
        time.sleep(1.5)  # a sweep or two

        assert_renewed(process, began_s + frozen_s)


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
        late = open_ones.enter_context(socket.create_connection(("127.0.0.1", process.port), timeout=PATIENCE_S))
        late.sendall(f"{head}\r\n\r\n".encode() + body[:20])
        wait_until(lambda: http.get("/healthz").status_code == 200)

        process.popen.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            watch.recv(PATIENCE_S)
        late.sendall(body[20:])

        assert late.recv(100).split()[1] == b"204"
        assert process.popen.wait(PATIENCE_S) == 0
    assert "Traceback" not in process.log.read_text()
    with running(tmp_path / "data") as process:
        assert listed(process.url) == {"late"}
