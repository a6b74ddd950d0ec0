"""What Steeltoe sends and reads, as bytes (cases 197, 198): there is no .NET to run it with."""

from __future__ import annotations

import random
from collections import Counter
from urllib.parse import quote

from conformance.eureka.client import JSON, Eureka
from conformance.eureka.conftest import Expected

WITH_CHARSET = {"Content-Type": "application/json; charset=utf-8", "Accept": "application/json"}
ROUNDS = 30


def test_197_an_id_with_quoted_colons_renews(eureka: Eureka, app: str) -> None:
    instance_id = f"host:{app.lower()}:8080"
    assert eureka.register(app, instance_id, headers=WITH_CHARSET).status_code == 204
    path = f"apps/{app}/{quote(instance_id, safe='')}"
    assert "%3A" in path

    assert eureka.put(f"{path}?lastDirtyTimestamp=1000", headers=JSON).status_code == 200
    assert eureka.put(f"{path}?status=UP&lastDirtyTimestamp=1000", headers=JSON).status_code == 200
    assert eureka.delete(path, headers=JSON).status_code == 200


def test_197_no_hash_differs_while_instances_come_and_go(eureka: Eureka, app: str) -> None:
    """It reads the whole once, and then applies each delta and compares the hash."""
    choose = random.Random(197)
    known = {(a["name"], i["instanceId"]): i["status"] for a in eureka.registry()["application"] for i in a["instance"]}
    for number in range(ROUNDS):
        instance_id = f"i{choose.randrange(5)}"
        if choose.random() < 0.6:
            eureka.given(app, instance_id, status=choose.choice(["UP", "DOWN", "STARTING"]), lastDirtyTimestamp=number)
        else:
            eureka.cancel(app, instance_id)

        delta = eureka.delta()
        for application in delta["application"]:
            for changed in application["instance"]:
                key = application["name"], changed["instanceId"]
                known.pop(key, None)
                if changed["actionType"] != "DELETED":
                    known[key] = changed["status"]
        counts = Counter(known.values())
        assert "".join(f"{status}_{counts[status]}_" for status in sorted(counts)) == delta["apps__hashcode"]


def test_198_an_instance_registered_without_id_has_one_when_it_is_read(
    eureka: Eureka, app: str, expected: Expected
) -> None:
    """eureka-js-client's users leave it out, and Steeltoe drops an instance that has none."""
    eureka.given(app, without=["instanceId"])

    [read] = eureka.listed(app)
    assert bool(read.get("instanceId")) is expected(36, ours=True, real=False)
