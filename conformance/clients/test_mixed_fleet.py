"""A fleet of all clients beside a thousand instances that come and go (case 200).

A minute by default; `--minutes 60` is what the case asks for.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from conformance.clients.conftest import Noted, or_skip
from conformance.clients.life import Life, Registry, soon
from conformance.clients.programs import EUREKA_JS, FARGO, NETFLIX, PY_EUREKA, SPRING, Client
from conformance.clients.wiretap import Wiretap
from conformance.eureka.client import Eureka
from conformance.peers.processes import Processes

INSTANCES = 1_000
APPLICATIONS = 50
CHURN = 0.1  # of them go, and as many come, each minute
RENEWED_EVERY_S = 30
SETTLED_S = 10.0

READ_IN_FULL = (EUREKA_JS[0], *FARGO)
"""They never do otherwise."""
READ_DELTAS = (*NETFLIX, SPRING[0], SPRING[3], SPRING[6], *PY_EUREKA, EUREKA_JS[1])
"""None over WebClient: as Spring ships it, that reads no body above 256 KB, so it never gets to know so many instances,
and asks for all of them again and again (`spring.codec.max-in-memory-size` raises it).
"""


class Crowd:
    """Instances of the case that no process stands behind: they are registered, renewed, and replaced by others."""

    def __init__(self, url: str, name: str) -> None:
        self.applications = [f"{name}-{number}" for number in range(APPLICATIONS)]
        self._eureka = Eureka(url)
        self._choose = random.Random(7)
        self._made = 0
        self._due: deque[tuple[float, str, str]] = deque()
        self._gone: set[str] = set()
        self._is_resting, self._is_over = threading.Event(), threading.Event()
        self.refused: list[str] = []
        for number in range(INSTANCES):
            self._add(self.applications[number % APPLICATIONS])
        self._thread = threading.Thread(target=self._live, name="crowd")
        self._thread.start()

    def rest(self) -> None:
        """Nobody comes or goes any more; who is there goes on renewing."""
        self._is_resting.set()

    def leave(self) -> None:
        self._is_over.set()
        self._thread.join()
        self._eureka.close()

    def ids(self, application: str) -> set[str]:
        return {one for _, app, one in list(self._due) if app == application and one not in self._gone}

    def _add(self, application: str) -> None:
        self._made += 1
        instance_id = f"{application}-{self._made}"
        lease = {"renewalIntervalInSecs": RENEWED_EVERY_S, "durationInSecs": 90}
        # A host for each: in a delta, eureka-js-client takes instances of one host and port for one and the same.
        self._eureka.given(
            application.upper(), instance_id, hostName=instance_id, vipAddress=application, leaseInfo=lease
        )
        self._due.append((time.monotonic() + RENEWED_EVERY_S, application, instance_id))

    def _live(self) -> None:
        pause_s = 60 / (INSTANCES * CHURN)
        replaced_at = time.monotonic() + pause_s
        while not self._is_over.wait(0.05):
            while self._due and self._due[0][0] <= time.monotonic():
                at, application, instance_id = self._due.popleft()
                if instance_id in self._gone:
                    self._gone.discard(instance_id)
                    continue
                answer = self._eureka.renew(application.upper(), instance_id, "?status=UP&lastDirtyTimestamp=1000")
                if answer.status_code != 200:
                    self.refused.append(f"{instance_id}: {answer.status_code}")
                self._due.append((max(at, time.monotonic() - 1) + RENEWED_EVERY_S, application, instance_id))
            while replaced_at <= time.monotonic() and not self._is_resting.is_set():
                replaced_at += pause_s
                self._replace_one()

    def _replace_one(self) -> None:
        _, application, instance_id = self._choose.choice(self._due)
        if instance_id in self._gone:
            return
        self._gone.add(instance_id)
        assert self._eureka.cancel(application.upper(), instance_id).status_code == 200
        self._add(application)


@pytest.fixture
def crowd(registry: Registry, app: str) -> Iterator[Crowd]:
    crowd = Crowd(registry.url, app)
    yield crowd
    crowd.leave()


@pytest.fixture
def fleet(
    registry: Registry, crowd: Crowd, app: str, processes: Processes, free_port: Callable[[], int]
) -> Iterator[dict[Client, Life]]:
    lives: dict[Client, Life] = {}
    with ExitStack() as stack:
        for number, client in enumerate((*READ_DELTAS, *READ_IN_FULL)):
            wire = stack.enter_context(Wiretap(registry.url, free_port()))
            name = f"{app}-client-{number}"
            with or_skip():
                running = processes.start(client.program(free_port(), wire.url, name))
            stack.callback(running.stop)
            lives[client] = Life(running, registry, wire, name)
        for life in lives.values():
            life.becomes_registered()
        yield lives


@pytest.mark.timeout(7200)
def test_200_a_mixed_fleet(
    fleet: dict[Client, Life], crowd: Crowd, request: pytest.FixtureRequest, noted: Noted, eureka_kind: str
) -> None:
    """Beside 1,000 instances, a tenth of them replaced each minute, those that read deltas read nothing else."""
    minutes = request.config.getoption("--minutes") or 1.0
    tried = (test_200_a_mixed_fleet.__doc__ or "").strip().rstrip(".")
    told = {"name": "all kinds together", "version": "", "transport": "", "tried": tried}
    request.node.user_properties += list(told.items())
    time.sleep(SETTLED_S)
    before = {client: len(life.wire.exchanges) for client, life in fleet.items()}

    time.sleep(minutes * 60)
    crowd.rest()

    later = {client: life.wire.exchanges[before[client] :] for client, life in fleet.items()}
    fetched = {client: [one.path for one in later[client] if one.method == "GET"] for client in READ_DELTAS}
    in_full = {
        str(client): count
        for client, paths in fetched.items()
        if (count := sum(not path.rstrip("/").endswith("/delta") for path in paths))
    }
    print(f"{minutes:g} min; reads {sum(map(len, fetched.values()))}; in full {in_full}; refused {crowd.refused[:3]}")
    assert all(fetched.values()), "each of them went on reading"
    assert crowd.refused == []
    assert {status for one in later.values() for status in (each.status for each in one)} <= {0, 200, 204}
    for client, life in fleet.items():
        for application in crowd.applications[:3]:
            print(f"{client} sees {application}")
            soon(lambda: set(life.seen(application)) == crowd.ids(application))  # noqa: B023 - called at once
    if eureka_kind == "ours":
        assert in_full == {}
        assert [client for client, life in fleet.items() if re.search("reconcil", life.running.log_text)] == []
    noted("yes" if not in_full else f"{sum(in_full.values())} full fetches of {len(in_full)} clients")
