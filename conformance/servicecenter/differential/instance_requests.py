"""What the generator asks about instances: registration, heartbeats, changes, and finding them."""

from __future__ import annotations

import json
from random import Random

from conformance.servicecenter.differential import documents, naming
from conformance.servicecenter.differential.documents import STATUSES, text_of
from conformance.servicecenter.differential.naming import Made


def register(random: Random) -> Made:
    instance = documents.odd_instance(random) if random.random() < 0.35 else documents.instance(random)
    document: documents.Document = {"instance": instance}
    if random.random() < 0.03:
        document = random.choice(({}, {"instance": None}, {"instance": []}, {"INSTANCE": document["instance"]}))
    return "POST", f"microservices/{naming.service(random)}/instances", text_of(random, document)


def list_instances(random: Random) -> Made:
    return "GET", f"microservices/{naming.service(random)}/instances{_reading(random, {})}", None


def show_instance(random: Random) -> Made:
    """Not from the cache only: there the original finds none, and then none either way for two minutes (case 92)."""
    return "GET", f"{naming.instance(random)}{_reading(random, {}, ('noCache', 'global'))}", None


def find(random: Random) -> Made:
    query = naming.name(random)
    if random.random() < 0.6:
        query["version"] = random.choice(("0%2B", "0.0.0.0+", "latest", "1.0.0", "0+", "x y", ""))
    if random.random() < 0.15:
        naming.bend(random, query, {"tags": ("t1", "t1,t2", "none", ","), "global": ("true",)})
    return "GET", f"instances{_reading(random, query)}", None


def _reading(random: Random, query: dict[str, str], flags: tuple[str, ...] = ("noCache", "cacheOnly", "global")) -> str:
    if random.random() < 0.5:
        query["rev"] = random.choice(("@rev@", "@rev@", "@rev@", "", "0", "nope"))
    if random.random() < 0.08:
        query["tags"] = random.choice(("t1", "t1,t2", "none", ",", "t1,"))
    if random.random() < 0.08:
        query[random.choice(flags)] = random.choice(("1", "true", "TRUE", "0", ""))
    return naming.query(query)


def find_many(random: Random) -> Made:
    document: documents.Document = {}
    if random.random() < 0.75:
        document["services"] = [
            {"service": documents.key(random), "rev": random.choice(("@rev@", "@rev@", "", "nope"))}
            for _ in range(random.choice((1, 1, 2, 3)))
        ]
    if random.random() < 0.5:
        document["instances"] = [
            {"instance": naming.pair(random), "rev": random.choice(("@rev@", "", "nope"))}
            for _ in range(random.choice((1, 2)))
        ]
    if random.random() < 0.12:
        half = random.choice(("services", "instances"))
        member = half[:-1]
        document[half] = random.choice(
            (
                None,
                [],
                {},
                [None],
                [{}],
                [{member: None}],
                [{member: {}}],
                [{member: 1}],
                [{member: {}, "rev": 1}],
                ["x"],
            )
        )
    kind = random.choice(("?type=query",) * 12 + ("", "?type=", "?type=find", "?type=query&x=y"))
    return "POST", f"instances/action{kind}", text_of(random, document)


def beat(random: Random) -> Made:
    return "PUT", f"{naming.instance(random)}/heartbeat", random.choice((None, None, "{}", "x"))


def beat_many(random: Random) -> Made:
    """Without `null` in the list (case 94)."""
    document: documents.Document = {"instances": [naming.pair(random) for _ in range(random.choice((0, 1, 1, 2, 3)))]}
    if random.random() < 0.1:
        document["instances"] = random.choice((None, {}, [{}], ["x"], [{"serviceId": 1}], [{"instanceId": "x"}]))
    return "PUT", "heartbeats", text_of(random, document)


def set_status(random: Random) -> Made:
    value = random.choice((*STATUSES * 3, "up", "", "UNKNOWN", "UP%20"))
    query = f"?value={value}" if random.random() < 0.95 else ""
    return "PUT", f"{naming.instance(random)}/status{query}", None


def set_instance_properties(random: Random) -> Made:
    return "PUT", f"{naming.instance(random)}/properties", text_of(random, documents.properties(random))


def set_statuses(random: Random) -> Made:
    """Of all of the domain; only with one of the five statuses (case 101)."""
    document: documents.Document = {"status": random.choice(STATUSES)}
    if random.random() < 0.8:
        matches: tuple[documents.Document, ...] = (
            {"properties": {"zone": "z1"}},
            {"properties": {"a": "1"}},
            {},
            {"properties": {}},
            {"properties": {"a": ""}},
        )
        document["matches"] = random.choice(matches)
    return "PUT", "instances/status", json.dumps(document)


def cancel(random: Random) -> Made:
    return "DELETE", naming.instance(random), None
