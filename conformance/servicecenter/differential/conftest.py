"""The two servers that are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from conformance.conftest import RanAgainst, StartOurs
from conformance.peers.processes import MissingToolError, Processes, etcd
from conformance.peers.processes import servicecenter as real_servicecenter
from conformance.servicecenter.asking import ServiceCenter, unique
from conformance.servicecenter.differential.comparing import Pair

STAYING = 400
"""The original holds deletions back while they are four in five of its instances; so many that stay prevent that."""


@pytest.fixture(scope="session")
def pair(
    request: pytest.FixtureRequest,
    servicecenter_kind: str,
    start_ours: StartOurs,
    processes: Processes,
    free_port: Callable[[], int],
    ran_against: RanAgainst,
) -> Iterator[Pair]:
    """The original, and a server of ours beside it."""
    given: str | None = request.config.getoption("--servicecenter")
    if servicecenter_kind == "real" and not given:
        pytest.skip("it compares ours with the original")
    started = []
    if servicecenter_kind == "real":
        assert given
        url = given.rstrip("/")
    else:
        try:
            real_servicecenter(free_port(), "")
            started.append(processes.start(etcd(free_port())))
        except MissingToolError as missing:
            pytest.skip(str(missing))
        started.append(processes.start(real_servicecenter(free_port(), started[0].url)))
        url = started[1].url
    started.append(start_ours())
    ran_against("servicecenter", "ours, many random traces beside a real server")
    original = ServiceCenter(url, "real")
    _keep_self_protection_off(original)
    yield original, ServiceCenter(started[-1].url)
    for running in reversed(started):
        running.stop()


def _keep_self_protection_off(original: ServiceCenter) -> None:
    stays = original.create_service(unique("stays"), "stays")
    instance = {"hostName": "stays", "healthCheck": {"mode": "push", "interval": 3000, "times": 3}}
    for _ in range(STAYING):
        original.post(f"microservices/{stays}/instances", {"instance": instance})
