"""What a record says survives its stay in a foreign registry: the second node shows it, which knows it from there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from .conftest import LONG_LEASES
from .setups import PROTOCOLS, Born, Document, Node, Setup, soon

Registered = Callable[..., Born]

AWKWARD = {
    "ünï:côdé": "漢字 🙂 \u202eרtl",
    "": "a key without a name",
    "empty": "",
    "blank": " \t ",
    "version": "1.10",
    "leading": "007",
    "1st": "no XML name",
    "a:b": "a colon",
    "a b": "a space",
    "a.b-c_d": "all that a name may hold",
    "markup": '<a href="x">&amp;</a> ]]>',
    "json": '{"nested": [1, 2.50, null]}',
    "quoted": '\\"\\u0041\\"',
    "long": "x" * 1000,
}
RESERVED = {"_bridge.origin": "forged", "_bridge.id": "forged", "_sc.instance": "{}", "_eureka.doc": "forged"}
MARKS = ("_bridge.", "_eureka.", "_sc.")
UNTOLD = ("lastUpdatedTimestamp", "leaseInfo", "actionType")
"""The registry that holds it, and the way it came to a node, set these; of the lease, its terms are compared."""


def told_by_eureka(node: Node, born: Born) -> Document:
    """All that Eureka's clients are told of it, but for moments that the registry sets."""
    shown = dict(node.eureka_lists(born.name)[born.eureka_id])
    lease = shown["leaseInfo"]
    terms = {name: lease[name] for name in ("renewalIntervalInSecs", "durationInSecs")}
    return {name: value for name, value in shown.items() if name not in UNTOLD} | {"terms": terms}


def told_by_servicecenter(node: Node, born: Born) -> Document:
    shown = node.servicecenter_finds(born.name)[born.sc_id]
    return {name: value for name, value in shown.items() if name not in ("timestamp", "modTimestamp")}


def assert_told_alike(setup: Setup, born: Born) -> None:
    """By both nodes, in both protocols."""

    def is_told_alike() -> None:
        mine, its = told_by_eureka(setup.node, born), told_by_eureka(setup.other, born)
        if born.protocol == "servicecenter":  # its age is told to Eureka's clients as the registry sees it
            mine.pop("lastDirtyTimestamp"), its.pop("lastDirtyTimestamp")
        assert its == mine
        assert told_by_servicecenter(setup.other, born) == told_by_servicecenter(setup.node, born)

    soon(is_told_alike)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_awkward_metadata(setup: Setup, registered: Registered, protocol: str, name: str) -> None:
    born = registered(protocol, name, **_with(protocol, AWKWARD))

    assert metadata_of(setup.node, born) == (AWKWARD, AWKWARD)
    assert_told_alike(setup, born)
    assert metadata_of(setup.other, born) == (AWKWARD, AWKWARD)


def test_nobody_elses_answer_is_spoilt_by_it(setup: Setup, registered: Registered, name: str) -> None:
    """A real Eureka writes such keys into its XML as they are, and then nobody can read any of it."""
    for protocol in PROTOCOLS:
        registered(protocol, f"{name}-{protocol}", **_with(protocol, AWKWARD))

    for node in (setup.node, *setup.straight_to.values()):
        if node.eureka.get("apps").status_code == 200:
            assert node.eureka.xml("apps").tag == "applications"


def test_numbers_keep_their_text(setup: Setup, registered: Registered, name: str) -> None:
    """1.10 is no 1.1: clients write what they like as metadata, and routing rules compare texts."""
    born = registered("eureka", name)
    document = json.dumps({"instance": {"app": name.upper(), "instanceId": born.eureka_id, "vipAddress": name}})
    body = document.replace(
        '"vipAddress"',
        '"hostName":"h1","ipAddr":"10.0.0.1","status":"UP","port":{"$":8080,"@enabled":"true"},'
        '"dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"},'
        '"lastDirtyTimestamp":"2000","metadata":{"version":1.10,"id":9007199254740993,"on":true},"vipAddress"',
    )
    assert setup.node.eureka.post(name.upper(), body.encode()).status_code == 204

    expected = {"version": "1.10", "id": "9007199254740993", "on": "true"}
    assert metadata_of(setup.node, born) == (expected, expected)
    assert_told_alike(setup, born)


def test_the_whole_of_a_eureka_document(setup: Setup, registered: Registered, name: str) -> None:
    """Even where ServiceCenter has no field for it."""
    born = registered(
        "eureka",
        name,
        hostName=f"{'h' * 60}.example.org",
        appGroupName="GROUP",
        asgName="asg-1",
        sid="na",
        countryId=7,
        securePort={"$": 8443, "@enabled": "true"},
        homePageUrl="http://h1:8080/",
        statusPageUrl="http://h1:8080/info",
        healthCheckUrl="http://h1:8080/health",
        secureHealthCheckUrl="https://h1:8443/health",
        secureVipAddress=f"{name},alias",
        isCoordinatingDiscoveryServer="false",
        dataCenterInfo={
            "@class": "com.netflix.appinfo.AmazonInfo",
            "name": "Amazon",
            "metadata": {"availability-zone": "eu-west-1a", "ami-id": "ami-1"},
        },
        leaseInfo={"renewalIntervalInSecs": 7, "durationInSecs": 50},
    )

    assert_told_alike(setup, born)


def test_the_whole_of_a_servicecenter_document(setup: Setup, registered: Registered, name: str) -> None:
    """Even where Eureka has no field for it."""
    born = registered(
        "servicecenter",
        name,
        hostName="h1.example.org",
        endpoints=["highway://10.0.0.1:7070?login=true", "rest://10.0.0.1:8080?sslEnabled=true&urlPrefix=%2Fapi"],
        status="STARTING",
        properties={"zone": "z1"},
        healthCheck={"mode": "push", "port": 8080, "interval": 15, "times": 5, "url": "/health"},
        dataCenterInfo={"name": "dc1", "region": "r1", "availableZone": "az1"},
    )

    assert_told_alike(setup, born)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reserved_keys_of_ordinary_clients_are_dropped(
    setup: Setup, registered: Registered, protocol: str, name: str
) -> None:
    """Else anybody could pass an instance off as somebody else's."""
    born = registered(protocol, name, **_with(protocol, RESERVED | {"mine": "kept"}))

    there = setup.behind(born)
    assert there is not None
    for document in (
        setup.node.eureka_lists(name)[born.eureka_id]["metadata"],
        setup.node.servicecenter_finds(name)[born.sc_id]["properties"],
        there.get("metadata") or there["properties"],
    ):
        assert document["mine"] == "kept"
        assert not {"forged", "{}"} & set(document.values())


# What is too large for a ServiceCenter: it reads 5 KiB of a registration


@pytest.mark.parametrize("setup", ["servicecenter"], indirect=True)
def test_what_does_not_fit_is_lost_there_only(setup: Setup, registered: Registered, name: str) -> None:
    """Through us nothing is lost; there it is marked as incomplete."""
    large = {f"key-{number}": f"{number}" * 500 for number in range(10, 20)}

    born = registered("eureka", name, metadata=large)

    assert metadata_of(setup.node, born) == (large, large)
    there = setup.behind(born)
    assert there is not None
    assert there["properties"]["_bridge.truncated"] == "true"
    kept = {key: value for key, value in there["properties"].items() if not key.startswith("_")}
    assert kept and kept.items() < large.items()
    soon(lambda: _assert_shown(setup.other, born, kept))
    assert metadata_of(setup.node, born) == (large, large)  # not even after it was read back


def _assert_shown(node: Node, born: Born, metadata: Mapping[str, str]) -> None:
    assert metadata_of(node, born) == (metadata, metadata)


@pytest.mark.parametrize("setup", ["servicecenter"], indirect=True)
def test_what_cannot_be_kept_there_is_kept_by_us(setup: Setup, registered: Registered, name: str) -> None:
    """And told to the operator."""
    before = parked(setup)

    born = registered("eureka", name, instance_id="x" * 5_200)

    assert setup.behind(born) is None
    assert setup.node.shows(born) == ("UP", "UP")
    assert setup.node.renew(born) == 200
    assert parked(setup) == before + 1
    assert f"listed by us alone: {before + 1}" in setup.node.readiness()["store"]["text"]
    assert setup.node.cancel(born) == 200
    assert parked(setup) == before


def parked(setup: Setup) -> int:
    lines = setup.node.eureka.get("/metrics").text.splitlines()
    return next(int(float(line.split()[1])) for line in lines if line.startswith("registry_parked_instances "))


@pytest.mark.parametrize("setup", ["servicecenter"], indirect=True)
def test_what_its_own_client_may_not_register_there_it_may_not_here(setup: Setup, name: str) -> None:
    """A native one is refused as the registry behind refuses it: its owner can do something about it."""
    service_id = setup.node.create_service(name)
    instance = {"hostName": "h1", "properties": {"large": "x" * 6_000}}

    answer = setup.node.sc.post(f"microservices/{service_id}/instances", {"instance": instance})

    assert (answer.status, answer.json()["errorCode"]) == (400, "400001")
    assert setup.node.servicecenter_finds(name) == {}


def _with(protocol: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    return {"metadata" if protocol == "eureka" else "properties": dict(metadata), **LONG_LEASES[protocol]}


def metadata_of(node: Node, born: Born) -> tuple[Document, Document]:
    """Its own, as either protocol shows it; without what we tell beside it of the other protocol's facts."""
    in_eureka = node.eureka_lists(born.name)[born.eureka_id]["metadata"]
    in_servicecenter = node.servicecenter_finds(born.name)[born.sc_id]["properties"]
    return _own(in_eureka), _own(in_servicecenter)


def _own(metadata: Document) -> Document:
    return {key: value for key, value in metadata.items() if not key.startswith(MARKS)}
