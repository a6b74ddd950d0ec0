"""The delta, the hash and the versions (cases 159-163, 165-168; 164 needs Netflix's own client)."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from conformance.eureka.client import COMPACT, Eureka, hash_of, instances_of
from conformance.eureka.conftest import ClientOf, Expected, ServerWith, wait_until


def test_159_160_a_change_is_told_for_a_while(server_with: ServerWith, client_of: ClientOf, app: str) -> None:
    """The window is 2 s here, 180 s by default. When it is over, the hash is still that of the whole registry."""
    eureka = client_of(server_with(eureka_delta_window_s=2))
    eureka.given(app)
    told = eureka.delta()

    assert [i["actionType"] for i in instances_of(told, app)] == ["ADDED"]

    wait_until(lambda: eureka.delta()["application"] == [])
    assert eureka.delta()["apps__hashcode"] == told["apps__hashcode"] == hash_of(eureka.registry()) == "UP_1_"


def test_161_the_version_grows(eureka: Eureka, app: str) -> None:
    versions = [eureka.delta()["versions__delta"]]
    for number in range(3):
        eureka.given(app, f"i{number}")
        versions.append(eureka.delta()["versions__delta"])

    assert all(isinstance(version, str) and version.isdecimal() for version in versions)
    numbers = [int(version) for version in versions]
    assert numbers == sorted(set(numbers))
    assert eureka.registry()["versions__delta"] == "1"


@pytest.mark.parametrize("base", ["/eureka"])
def test_161_the_version_outlives_the_process(
    eureka: Eureka, app: str, start_eureka: ServerWith, client_of: ClientOf, expected: Expected
) -> None:
    """A client that meets a later process must not take its delta for one that it has seen."""
    eureka.given(app)
    earlier = int(eureka.delta()["versions__delta"])

    version = int(client_of(start_eureka()).delta()["versions__delta"])

    assert (version > earlier) is expected(161, ours=True, real=False)


def test_162_only_the_last_state_of_an_instance_is_told(eureka: Eureka, app: str) -> None:
    unique_id = f"{app}-1"
    eureka.given(app, unique_id)
    eureka.override(app, unique_id, "?value=OUT_OF_SERVICE")
    eureka.override(app, unique_id, "?value=DOWN")

    assert [(i["status"], i["actionType"]) for i in eureka.changed(app)] == [("DOWN", "MODIFIED")]


def test_163_who_came_is_told_before_who_went(eureka: Eureka, app: str, expected: Expected) -> None:
    """Netflix's client adds the whole entry of an application new to it, and removes only what it reads afterwards."""
    eureka.given(app, "a")
    eureka.cancel(app, "a")
    eureka.given(app, "b")

    told = [(i["instanceId"], i["actionType"]) for i in eureka.changed(app)]

    came, went = ("b", "ADDED"), ("a", "DELETED")
    assert told == expected(163, ours=[came, went], real=[went, came])


@pytest.mark.parametrize("base", ["/eureka"])
def test_165_delta_and_registry_agree(eureka: Eureka, app: str, eureka_kind: str) -> None:
    """A thousand random calls of sixteen callers. The original's documents may be inconsistent meanwhile."""

    def call(number: int) -> None:
        dice = random.Random(number)
        name, instance_id = f"{app}-{dice.randrange(4)}", f"{app}-i{dice.randrange(12)}"
        match dice.randrange(6):
            case 0 | 1 | 2:
                eureka.register(name, instance_id, status=dice.choice(["UP", "DOWN", "STARTING"]))
            case 3:
                eureka.cancel(name, instance_id)
            case 4:
                eureka.override(name, instance_id, f"?value={dice.choice(['OUT_OF_SERVICE', 'DOWN'])}")
            case _:
                eureka.lift_override(name, instance_id, "?value=UP")
        if number % 10 == 0 and eureka_kind == "ours":
            registry = eureka.registry()
            assert registry["apps__hashcode"] == hash_of(registry)

    with ThreadPoolExecutor(16) as callers:
        list(callers.map(call, range(1000)))

    registry = eureka.registry()
    assert eureka.delta()["apps__hashcode"] == registry["apps__hashcode"] == hash_of(registry)


def test_166_the_hash_names_statuses_in_order(eureka: Eureka, app: str) -> None:
    counts = {"DOWN": 1, "OUT_OF_SERVICE": 2, "STARTING": 1, "UNKNOWN": 1, "UP": 6}
    for status, count in counts.items():
        for number in range(count):
            eureka.given(app, f"{status}-{number}", status=status, vipAddress=app)

    assert eureka.json(f"vips/{app}")["apps__hashcode"] == "DOWN_1_OUT_OF_SERVICE_2_STARTING_1_UNKNOWN_1_UP_6_"


def test_167_all_forms_of_one_delta_agree(eureka: Eureka, app: str, expected: Expected) -> None:
    eureka.given(app)

    full, compact, xml = eureka.delta(), eureka.json("apps/delta", COMPACT), eureka.xml("apps/delta")

    assert full["apps__hashcode"] == compact["apps__hashcode"] == xml.findtext("apps__hashcode")
    versions = {full["versions__delta"], compact["versions__delta"], xml.findtext("versions__delta")}
    assert len(versions) == expected(167, ours=1, real=3)


def test_168_two_servers_agree_on_the_hash_alone(start_eureka: ServerWith, client_of: ClientOf, app: str) -> None:
    """Versions count what each server has seen: a client that goes from one to the other must go by the hash."""
    one, two = client_of(start_eureka()), client_of(start_eureka())
    # The original counts each delta that it has to make anew, so each change is asked for.
    for change in (two.given, two.cancel, two.given, two.cancel):
        change(app, "went")
        two.delta()
    for eureka in (one, two):
        eureka.given(app, "stays")

    assert one.delta()["versions__delta"] != two.delta()["versions__delta"]
    assert one.delta()["apps__hashcode"] == two.delta()["apps__hashcode"] == "UP_1_"
