"""Metadata and deregistration (cases 139-147)."""

from __future__ import annotations

import pytest

from conformance.eureka.client import Eureka, hash_of
from conformance.eureka.conftest import Refused


def test_139_metadata_is_merged(eureka: Eureka, app: str) -> None:
    eureka.given(app, metadata={"kept": "k", "zone": "z0"})

    answer = eureka.put_metadata(app, "i1", "?zone=z1&x=")

    assert (answer.status_code, answer.content) == (200, b"")
    instance = eureka.instance(app)
    assert (instance["metadata"], instance["actionType"]) == ({"kept": "k", "zone": "z1", "x": ""}, "ADDED")
    assert [i["metadata"] for i in eureka.changed(app)] == [{"kept": "k", "zone": "z1", "x": ""}]


@pytest.mark.parametrize(
    ("query", "stored"),
    [
        pytest.param("?a=1&a=2", {"a": "1"}, id="first-value"),
        pytest.param("?flag", {"flag": ""}, id="no-value"),
        pytest.param("?k=a+b%20c", {"k": "a b c"}, id="spaces"),
        pytest.param("", {}, id="no-query"),
    ],
)
def test_140_how_the_query_is_read(eureka: Eureka, app: str, query: str, stored: dict[str, str]) -> None:
    eureka.given(app, metadata={"kept": "k"})

    assert eureka.put_metadata(app, "i1", query).status_code == 200
    assert eureka.instance(app)["metadata"] == {"kept": "k"} | stored


def test_140_onto_no_metadata(eureka: Eureka, app: str) -> None:
    eureka.given(app)

    assert eureka.put_metadata(app, "i1", "?a=1").status_code == 200
    assert eureka.instance(app)["metadata"] == {"a": "1"}


def test_141_an_unknown_instance(eureka: Eureka, app: str, refused: Refused) -> None:
    refused(eureka.put_metadata(app, "i1", "?a=1"), 404)


def test_142_the_owners_next_registration_replaces_it(eureka: Eureka, app: str) -> None:
    eureka.given(app, metadata={"own": "1"})
    eureka.put_metadata(app, "i1", "?added=1")

    assert eureka.renew(app, "i1", "?lastDirtyTimestamp=1000").status_code == 200
    assert eureka.instance(app)["metadata"] == {"own": "1", "added": "1"}

    eureka.given(app, metadata={"own": "2"})
    assert eureka.instance(app)["metadata"] == {"own": "2"}


def test_143_deregistering(eureka: Eureka, app: str, refused: Refused) -> None:
    eureka.given(app)

    answer = eureka.cancel(app)

    assert (answer.status_code, answer.content) == (200, b"")
    refused(eureka.cancel(app), 404)
    assert app not in [application["name"] for application in eureka.registry()["application"]]
    refused(eureka.get(f"apps/{app}"), 404)


def test_144_the_delta_tells_of_it(eureka: Eureka, app: str) -> None:
    eureka.given(app, status="DOWN")

    eureka.cancel(app)

    (gone,) = eureka.changed(app)
    assert (gone["actionType"], gone["status"]) == ("DELETED", "DOWN")
    assert gone["leaseInfo"]["evictionTimestamp"] > 0
    assert eureka.delta()["apps__hashcode"] == hash_of(eureka.registry())


def test_145_gone_and_back(eureka: Eureka, app: str) -> None:
    eureka.given(app)
    eureka.cancel(app)
    eureka.given(app)

    assert [(i["instanceId"], i["actionType"]) for i in eureka.changed(app)] == [("i1", "ADDED")]


def test_146_a_heartbeat_afterwards(eureka: Eureka, app: str, refused: Refused) -> None:
    eureka.given(app)
    eureka.cancel(app)

    refused(eureka.renew(app), 404)


@pytest.mark.parametrize("content", [b"", b"{}", b"}garbage"])
def test_147_a_body_is_ignored(eureka: Eureka, app: str, content: bytes) -> None:
    eureka.given(app)

    answer = eureka.cancel(app, "i1", headers={"Content-Type": "application/json"}, content=content)

    assert answer.status_code == 200
