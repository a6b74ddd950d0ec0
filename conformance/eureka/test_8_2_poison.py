"""Registrations that break the original for everybody (cases 52 and 56)."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from conformance.eureka.client import COMPACT, DATA_CENTER_CLASS, JSON, Eureka, amazon, instances_of, registration
from conformance.eureka.conftest import Expected, ServerWith


@pytest.fixture(scope="module")
def doomed(start_eureka: ServerWith) -> Iterator[Eureka]:
    """A server for what breaks the original for good; nobody else asks it, and it does not outlive this file."""
    server = start_eureka()
    client = Eureka(server.url, timeout_s=3)
    yield client
    client.disconnect()
    server.kill()


def test_052_one_instance_cannot_spoil_the_registry(doomed: Eureka, app: str, expected: Expected) -> None:
    """Users of eureka-js-client and Steeltoe register so by writing `name: Amazon`."""
    doomed.given(f"{app}-SOUND")
    answer = doomed.register(app, vipAddress=app, dataCenterInfo={"@class": DATA_CENTER_CLASS, "name": "Amazon"})

    if expected(52, ours=True, real=False):
        assert answer.status_code == 204
        assert doomed.instance(app)["dataCenterInfo"] == amazon(metadata={"instance-id": "i1"})
        assert len(doomed.listed(f"{app}-SOUND")) == len(doomed.changed(f"{app}-SOUND")) == 1
        return
    assert answer.status_code == 204
    for path in ("apps", "apps/delta"):
        spoilt = doomed.get(path, headers=JSON)
        assert (spoilt.status_code, spoilt.headers["content-length"], spoilt.content) == (200, "0", b"")
    assert [doomed.get(path, headers=JSON).status_code for path in (f"apps/{app}", f"vips/{app}")] == [404, 404]
    assert doomed.get(f"apps/{app}/i1", headers=JSON).status_code == 500
    (compact,) = instances_of(doomed.json("apps", COMPACT), app)
    assert compact["dataCenterInfo"] == {"@class": DATA_CENTER_CLASS, "name": "Amazon"}


@pytest.mark.parametrize("field", [None, "leaseInfo", "metadata"], ids=["instance", "leaseInfo", "metadata"])
def test_056_an_empty_array_for_an_object(doomed: Eureka, app: str, field: str | None, expected: Expected) -> None:
    """The original reads such a body for ever."""
    body = {"instance": registration(app, "i1") | {field: []} if field else []}

    try:
        status: int | None = doomed.post(app, body).status_code
    except httpx.ReadTimeout:
        status = None

    assert status == expected(56, ours=400, real=None)
