"""Ids, names and queries for the generator: mostly of what is there, some of nobody, some that no rule allows."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from urllib.parse import quote

from conformance.servicecenter.differential.documents import APPS, ENVIRONMENTS, NAMES, Document

Made = tuple[str, str, str | None]
"""Method, path below the registry, body."""

_ODD_IDS = (
    "nope",
    "a%20b",
    "a%2Fb",
    "%E4%B8%AD",
    "a%25b",
    "x" * 64,
    "x" * 65,
    "%20",
    "A.b-c_d",
    "a+b",
    "a:b",
    "a,b",
    "*",
)
_ODD_VALUES = ("", " ", "a b", "x" * 64, "x" * 65, "ü", "a/b", "%", "1", "true")


def service(random: Random, *, escaped: bool = True) -> str:
    if random.random() < 0.1:
        odd = random.choice(_ODD_IDS)
        return odd if escaped else odd.replace("%20", " ").replace("%", "")
    return random.choice((*("@s0@",) * 5, *("@s1@",) * 3, "@s2@", "@s3@"))


def instance(random: Random) -> str:
    """The path of an instance; sometimes under another service's id."""
    number = random.choice((0, 0, 0, 0, 1, 1, 2))
    instance_id = random.choice(_ODD_IDS) if random.random() < 0.08 else f"@i{number}@"
    service_id = service(random) if random.random() < 0.1 else f"@h{number}@"
    return f"microservices/{service_id}/instances/{instance_id}"


def pair(random: Random) -> Document:
    number = random.choice((0, 0, 1, 2))
    pair: Document = {"serviceId": f"@h{number}@", "instanceId": f"@i{number}@"}
    if random.random() < 0.12:
        pair[random.choice(("serviceId", "instanceId"))] = random.choice(("nope", "", "a b", "x" * 65))
    return pair


def schema_id(random: Random) -> str:
    return random.choice((*("a", "a", "x", "y") * 3, "z.1", "b", "none", "-a", "a%20b", "x" * 160, "x" * 161))


def name(random: Random) -> dict[str, str]:
    app, name = random.choice(APPS), random.choice((*NAMES * 2, "nobody"))
    if random.random() < 0.2:
        name = f"{app}:{name}"
    query = {"appId": app, "serviceName": name}
    if environment := random.choice(ENVIRONMENTS):
        query["env"] = environment
    return query


def bend(random: Random, query: dict[str, str], values: Mapping[str, tuple[str, ...]]) -> None:
    """Leave a parameter out, or give it an odd value."""
    name = random.choice((*query, *values))
    if name in query and random.random() < 0.3:
        del query[name]
    else:
        query[name] = random.choice((*values.get(name, ()), *_ODD_VALUES))


def query(parameters: Mapping[str, str]) -> str:
    """Escaped, so that no value makes the URI one that is refused (cases 6 to 8)."""
    return (
        "?" + "&".join(f"{name}={quote(value, safe='@')}" for name, value in parameters.items()) if parameters else ""
    )
