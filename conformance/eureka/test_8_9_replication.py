"""What a server tells its peers, a real Eureka server among them (cases 183-187)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest

from conformance.conftest import RanAgainst
from conformance.eureka.client import JSON, REPLICATED, Eureka, instance_path, registration
from conformance.eureka.conftest import ClientOf, wait_until
from conformance.peers.processes import MissingToolError, Processes, Program, Running, secured_eureka
from conformance.peers.processes import eureka as real_eureka


class Pair:
    """The server under test and a real one, each a peer of the other. The real one takes a peer on its own host name
    for itself, hence "localhost"."""

    def __init__(self, processes: Processes, tested: Program, real: Program) -> None:
        self.real_program = replace(real, ready="/")
        self._processes = processes
        self.real_server = processes.start(self.real_program)
        self.tested_server = processes.start(tested)
        self.real = Eureka(self.real_server.url)
        self.tested = Eureka(self.tested_server.url)

    def restart_real(self) -> None:
        """Empty, as every Eureka server starts."""
        self.real_server.stop()
        self.real_server = self._processes.start(self.real_program)

    def stop(self) -> None:
        for client in (self.real, self.tested):
            client.disconnect()
        self.tested_server.stop()
        self.real_server.stop()


@pytest.fixture(scope="module")
def pair(
    eureka_kind: str,
    processes: Processes,
    free_port: Callable[[], int],
    ran_against: RanAgainst,
    ours_program: Callable[..., Program],
) -> Iterator[Pair]:
    tested_port, real_port = free_port(), free_port()
    real_url, tested_url = f"http://localhost:{real_port}/eureka/", f"http://localhost:{tested_port}/eureka/"
    try:
        real = real_eureka(real_port, "conformance", [tested_url])
        if eureka_kind == "ours":
            tested = ours_program(tested_port, eureka_peers=real_url)
        else:
            tested = replace(real_eureka(tested_port, "conformance", [real_url]), ready="/")
    except MissingToolError as missing:
        pytest.skip(str(missing))
    ran_against("eureka", f"{eureka_kind}, a peer of a real server")
    pair = Pair(processes, tested, real)
    yield pair
    pair.stop()


def shown(eureka: Eureka, app: str, instance_id: str = "i1") -> tuple[str, str] | None:
    """Status and override, asked live."""
    answer = eureka.get(instance_path(app, instance_id), headers=JSON)
    if answer.status_code != 200:
        return None
    instance = answer.json()["instance"]
    return instance["status"], instance["overriddenStatus"]


@pytest.mark.parametrize("direction", ["out", "in"])
def test_184_what_clients_say_reaches_the_peer(pair: Pair, app: str, direction: str) -> None:
    here, there = (pair.tested, pair.real) if direction == "out" else (pair.real, pair.tested)
    path = instance_path(app, "i1")

    here.given(app)
    wait_until(lambda: shown(there, app) == ("UP", "UNKNOWN"))
    here.put(f"{path}/status?value=OUT_OF_SERVICE&lastDirtyTimestamp=1000")
    wait_until(lambda: shown(there, app) == ("OUT_OF_SERVICE", "OUT_OF_SERVICE"))
    here.delete(f"{path}/status?value=UP&lastDirtyTimestamp=1000")
    wait_until(lambda: shown(there, app) == ("UP", "UNKNOWN"))
    here.put(f"{path}/metadata?colour=blue")
    wait_until(lambda: there.instance(app)["metadata"].get("colour") == "blue")
    here.cancel(app)
    wait_until(lambda: shown(there, app) is None)


@pytest.mark.parametrize("direction", ["out", "in"])
def test_184_renewals_keep_a_lease_at_the_peer(pair: Pair, app: str, direction: str) -> None:
    here, there = (pair.tested, pair.real) if direction == "out" else (pair.real, pair.tested)
    here.given(app, leaseInfo={"renewalIntervalInSecs": 1, "durationInSecs": 3})
    wait_until(lambda: shown(there, app) is not None)

    ends_s = time.monotonic() + 12  # its lease would have ended twice
    while time.monotonic() < ends_s:
        assert here.put(f"{instance_path(app, 'i1')}?status=UP&lastDirtyTimestamp=1000").status_code == 200
        time.sleep(0.5)

    assert shown(there, app) == ("UP", "UNKNOWN")


def test_184_a_peer_that_refuses_our_account_is_told_of_and_harms_nobody(
    eureka_kind: str, processes: Processes, free_port: Callable[[], int], ours_program: Callable[..., Program], app: str
) -> None:
    """It demands Basic. With the right password it hears what clients say here; else people hear why not."""
    if eureka_kind == "real":
        pytest.skip("it is about ours beside a real one")
    try:
        real = processes.start(secured_eureka(free_port(), "jack", "p@ss:1"))
    except MissingToolError as missing:
        pytest.skip(str(missing))
    for password, is_right in (("wr0ng-secret", False), ("p%40ss%3A1", True)):
        peer = f"{real.url.replace('p%40ss%3A1', password)}/eureka"
        ours = processes.start(ours_program(free_port(), eureka_peers=peer))
        here, there = Eureka(ours.url), Eureka(real.url)
        here.given(app)
        if is_right:
            wait_until(lambda: shown(there, app) == ("UP", "UNKNOWN"))  # noqa: B023  # called at once
        else:
            # Its list is asked for by a client of its own: that may be refused before what it is to be told.
            wait_until(lambda: "answered 401" in httpx.get(ours.url).text)  # noqa: B023  # called at once
            assert "answered 401" in ours.log_text
            [health] = httpx.get(f"{ours.url}/readyz").json()["peers"].values()
            assert not health["available"]
            wait_until(lambda: here.get("apps", headers=JSON).status_code == 200)  # noqa: B023  # called at once
            assert shown(there, app) is None
        assert "secret" not in ours.log_text
        assert "Traceback" not in ours.log_text
        here.close()
        there.close()
        ours.stop()
    real.stop()


def test_183_what_a_peer_told_is_not_passed_on(pair: Pair, app: str) -> None:
    pair.tested.register(app, headers=REPLICATED)
    pair.tested.given(app, "mark")

    wait_until(lambda: shown(pair.real, app, "mark") is not None)
    time.sleep(1)

    assert shown(pair.real, app) is None


def test_185_a_peer_that_comes_back_empty_is_told_again(pair: Pair, app: str) -> None:
    pair.tested.given(app, metadata={"k": "v"})
    wait_until(lambda: shown(pair.real, app) is not None)

    pair.restart_real()

    def is_told_again() -> bool:
        time.sleep(1)  # who renews more often than every half second stops the original's replication (Eureka 1509)
        pair.tested.put(f"{instance_path(app, 'i1')}?status=UP&lastDirtyTimestamp=1000")
        return shown(pair.real, app) is not None

    wait_until(is_told_again)
    assert pair.real.instance(app)["metadata"] == {"k": "v"}


def test_185_a_peer_that_says_nothing_holds_up_no_client(pair: Pair, app: str) -> None:
    pair.real_server.freeze()
    try:
        for number in range(20):
            pair.tested.given(app, f"i{number}")
            assert pair.tested.renew(app, f"i{number}").status_code == 200
    finally:
        pair.real_server.thaw()

    def are_told() -> bool:
        time.sleep(1)
        for number in range(20):
            pair.tested.renew(app, f"i{number}")
        return len(pair.real.listed(app)) == 20

    wait_until(are_told)


def test_186_a_newer_copy_at_the_peer_wins_with_its_override(pair: Pair, app: str) -> None:
    path = instance_path(app, "i1")
    pair.tested.given(app)
    wait_until(lambda: shown(pair.real, app) is not None)
    newer = registration(app, "i1", lastDirtyTimestamp="2000", metadata={"colour": "green"})
    pair.real.post(app, {"instance": newer}, REPLICATED)
    pair.real.put(f"{path}/status?value=OUT_OF_SERVICE&lastDirtyTimestamp=2000", headers=REPLICATED)
    assert shown(pair.tested, app) == ("UP", "UNKNOWN")

    pair.tested.put(f"{path}?status=UP&lastDirtyTimestamp=1000")

    wait_until(lambda: shown(pair.tested, app) == ("OUT_OF_SERVICE", "OUT_OF_SERVICE"))
    assert pair.tested.instance(app)["metadata"] == {"colour": "green"}


def test_187_a_server_that_starts_takes_over_what_its_only_peer_has(
    eureka_kind: str,
    processes: Processes,
    free_port: Callable[[], int],
    client_of: ClientOf,
    start_eureka: Callable[..., Running],
    ours_program: Callable[..., Program],
    app: str,
) -> None:
    """Both ways: a real server that starts beside ours, and ours that starts beside a real one."""
    first = client_of(start_eureka())
    first.given(app, "i1", leaseInfo={"durationInSecs": 90})
    first.given(app, "i2", leaseInfo={"durationInSecs": 90})
    peer = f"http://localhost:{first.url.rpartition(':')[2]}/eureka/"
    program = real_eureka(free_port(), "conformance", [peer])
    fetching = (
        "--eureka.client.fetch-registry=true",
        "--eureka.client.register-with-eureka=true",
        "--eureka.server.number-of-replicas=1",
    )
    second = processes.start(replace(program, command=[*program.command, *fetching], ready="/"))
    with _connected(second) as client:
        wait_until(lambda: all(shown(client, app, one) for one in ("i1", "i2")))
    if eureka_kind == "ours":
        third = processes.start(ours_program(free_port(), eureka_peers=f"{second.url}/eureka/"))
        with _connected(third) as client:
            wait_until(lambda: all(shown(client, app, one) for one in ("i1", "i2")))
        third.stop()
    second.stop()


@contextmanager
def _connected(server: Running) -> Iterator[Eureka]:
    client = Eureka(server.url)
    yield client
    client.disconnect()
