"""Makes traces of operations on one application, from a seed. What the original cannot survive is left out by name.

In paths and bodies `@APP@` and `@app@` stand for the application's name, which is a new one each time a trace runs;
ids, hosts and VIPs hold it, so that traces meet nobody else's instances, overrides (case 135) or caches (case 97).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any, NamedTuple

from conformance.eureka.client import REPLICATED, Document
from conformance.eureka.differential.documents import (
    STATUSES,
    TIMES,
    host_of,
    json_instance,
    json_registration,
    xml_registration,
)

IDS = ("i1-@APP@", "i2-@APP@", "i3-@APP@")
STRANGER = "nobody-@APP@"
SHORTEST, LONGEST = 10, 40

_ACCEPTS = (
    "application/json",
    "application/json",
    "application/xml",
    "application/xml",
    None,
    "*/*",
    "application/json, application/*+json",
    "application/*",
    "text/html, application/json;q=0.5",
    "application/xml;q=0.5, application/json",
)
_ENCODINGS = (None, None, "gzip", "gzip, deflate", "identity", "deflate, gzip;q=0.5")
_PORTS = ("port", "securePort")
_DETAILS = (None, None, None, "compact", "full", "COMPACT", "bogus")


class Operation(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: str | None = None

    def of(self, application: str) -> Operation:
        """The operation on an application that is named so."""
        body = None if self.body is None else _named(self.body, application)
        return self._replace(path=_named(self.path, application), body=body)

    def __str__(self) -> str:
        headers = "".join(f"\n      {name}: {value}" for name, value in self.headers.items())
        return f"{self.method} {self.path}{headers}" + ("" if self.body is None else f"\n      {self.body!r}")


Trace = list[Operation]


def _named(text: str, application: str) -> str:
    return text.replace("@APP@", application.upper()).replace("@app@", application.lower())


def trace(seed: str) -> Trace:
    """The same trace for the same seed, for ever."""
    random = Random(seed)
    begun = [_register(random) for _ in range(random.choice((1, 1, 2)))]
    makers, weights = zip(*_MAKERS, strict=True)
    chosen = random.choices(makers, weights, k=random.randint(SHORTEST, LONGEST))
    # Once only, and last: the original keeps this form for up to 210 s whatever happens (case 97).
    last = _vip_in_brief(random)
    return [*begun, *(make(random) for make in chosen), last]


def _vip_in_brief(random: Random) -> Operation:
    headers = {"Accept": random.choice(("application/json", "application/xml")), "X-Eureka-Accept": "compact"}
    return Operation("GET", random.choice(("vips/v-@app@", "svips/s-@app@")), headers)


def _register(random: Random) -> Operation:
    instance_id = random.choice(IDS)
    app = random.choice(("@APP@", "@APP@", "@app@"))
    if random.random() < 0.7:
        headers = {"Content-Type": "application/json"}
        body = json_registration(random, instance_id)
    else:
        headers = {"Content-Type": random.choice(("application/xml", "application/xml", "text/xml"))}
        body = xml_registration(random, instance_id)
    return Operation("POST", f"apps/{app}", headers | _replicated(random), body)


def _renew(random: Random) -> Operation:
    """Without an override that is news: the original shows it with the next renewal, its caches later (case 171)."""
    query: dict[str, str] = {}
    if random.random() < 0.8:
        query["status"] = random.choice((*STATUSES, "bogus"))
        query["lastDirtyTimestamp"] = _time(random)
    if random.random() < 0.2:
        query["overriddenstatus"] = "UNKNOWN"
    return Operation("PUT", _instance(random) + _query(query), _replicated(random))


def _override(random: Random) -> Operation:
    """Without UNKNOWN, which traps the client (case 138)."""
    query = {"value": random.choice(("UP", "DOWN", "STARTING", "OUT_OF_SERVICE", "OUT_OF_SERVICE"))}
    if random.random() < 0.03:
        query = random.choice(({}, {"value": "up"}, {"value": ""}))
    if random.random() < 0.4:
        query["lastDirtyTimestamp"] = str(random.choice(TIMES))
    return Operation("PUT", f"{_instance(random)}/status{_query(query)}", _replicated(random))


def _lift(random: Random) -> Operation:
    query: dict[str, str] = {}
    if random.random() < 0.6:
        query["value"] = random.choice(STATUSES)
    if random.random() < 0.4:
        query["lastDirtyTimestamp"] = str(random.choice(TIMES))
    return Operation("DELETE", f"{_instance(random)}/status{_query(query)}", _replicated(random))


def _amend(random: Random) -> Operation:
    query = random.choice(
        ("", "?zone=z2", "?a=1&b=two+words", "?k=", "?my_key=%C3%BC%26", "?a=1&a=2", "?k", "?zone=z3")
    )
    return Operation("PUT", f"{_instance(random)}/metadata{query}", _replicated(random))


def _cancel(random: Random) -> Operation:
    return Operation("DELETE", _instance(random), _replicated(random))


def _batch(random: Random) -> Operation:
    items = [_item(random) for _ in range(random.choice((0, 1, 1, 1, 2, 3)))]
    # Last, for the copy in an answer to a renewal is the original's as it is after the whole batch (case 175).
    items.sort(key=lambda item: item.get("action") == "Heartbeat")
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    path = random.choice(("peerreplication/batch/", "peerreplication/batch"))
    return Operation("POST", path, headers, json.dumps({"replicationList": items}))


def _item(random: Random) -> Document:
    """One event, of those that the original answers.

    No unknown keys (case 178), a time with every end of an override (173), an id always (177: a failure or a 404,
    depending on whether the application has ever been there), no word that is no override in renewals (171), no port
    that is a bare number (65: whether that spoils one item or all depends on what follows it).
    """
    instance_id = random.choice((*IDS, *IDS, STRANGER))
    action = random.choice(("Heartbeat", "Heartbeat", "Register", "Cancel", "StatusUpdate", "DeleteStatusOverride"))
    item: dict[str, Any] = {"appName": "@APP@", "id": instance_id, "lastDirtyTimestamp": random.choice(TIMES)}
    if random.random() < 0.3:
        known = ("UNKNOWN", None) if action == "Heartbeat" else (*STATUSES, None, "x")  # as in _renew
        item["overriddenStatus"] = random.choice(known)
    item["status"] = random.choice((*STATUSES, "UP", None, "x"))
    if action == "Register" and random.random() < 0.95:
        info = json_instance(random, instance_id)
        item["instanceInfo"] = {name: value for name, value in info.items() if not (name in _PORTS and value == 8080)}
    elif action == "StatusUpdate" and item["status"] == "UNKNOWN":  # traps the client (138)
        item["status"] = "DOWN"
    elif action == "DeleteStatusOverride" and item["status"] == "x":  # the original fails, ours lifts it (173)
        del item["status"]
    item["action"] = action
    if random.random() < 0.05:
        item.pop(random.choice(("appName", "status", "action")), None)
    if action != "DeleteStatusOverride" and random.random() < 0.1:
        item.pop("lastDirtyTimestamp")
    return item


def _read(random: Random) -> Operation:
    path = random.choice(
        (
            *("apps", "apps/delta", "apps/delta", "apps/@APP@", "apps/@APP@", "apps/@app@", "apps/NOBODY-@APP@"),
            *("vips/v-@app@", "svips/s-@app@", "vips/nobody-@app@", "apps/", "vips/V-@APP@"),
            *(_instance(random) for _ in range(5)),
            f"instances/{random.choice((*IDS, STRANGER))}",
        )
    )
    headers = {
        "Accept": random.choice(_ACCEPTS),
        "Accept-Encoding": random.choice(_ENCODINGS),
        "X-Eureka-Accept": random.choice(_DETAILS),
    }
    if "vips/" in path:
        headers["X-Eureka-Accept"] = "full"
    return Operation("GET", path, {name: value for name, value in headers.items() if value is not None})


_MAKERS = (
    (_register, 6),
    (_renew, 6),
    (_override, 3),
    (_lift, 2),
    (_amend, 2),
    (_cancel, 2),
    (_batch, 4),
    (_read, 12),
)


def _instance(random: Random) -> str:
    instance_id = random.choice((*IDS, *IDS, *IDS, host_of(IDS[0]), STRANGER))
    return f"apps/{random.choice(('@APP@', '@APP@', '@app@'))}/{instance_id}"


def _replicated(random: Random) -> dict[str, str]:
    if random.random() < 0.25:
        return dict(REPLICATED)
    return {"x-netflix-discovery-replication": random.choice(("false", "TRUE", "1"))} if random.random() < 0.03 else {}


def _time(random: Random) -> str:
    """Also what is no number (case 114)."""
    return random.choice((*map(str, TIMES), "0", "garbage")) if random.random() < 0.2 else str(random.choice(TIMES))


def _query(parameters: Mapping[str, str]) -> str:
    return "?" + "&".join(f"{name}={value}" for name, value in parameters.items()) if parameters else ""
