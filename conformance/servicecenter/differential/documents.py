"""Bodies for the generator: mostly plain, some with odd members; and text that is no JSON at all.

`@s0@`, `@i0@` and so on stand for ids that the servers give while the trace runs (see `operations`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

Document = dict[str, Any]

APPS = ("shop", "shop", "shop", "depot")
NAMES = ("prov", "prov", "prov", "cons", "cons", "other")
VERSIONS = ("1.0.0", "1.0.0", "1.0.0", "2.0.0", "1.0")
ENVIRONMENTS = (*("development",) * 8, "", "production")
STATUSES = ("UP", "DOWN", "STARTING", "TESTING", "OUTOFSERVICE")

_WRONG_TYPES: tuple[Any, ...] = (
    0,
    1,
    -1,
    1.5,
    10**12,
    True,
    False,
    None,
    "",
    "text",
    [],
    ["x"],
    [1],
    {},
    {"a": "b"},
    {"a": 1},
)
_NAMES: tuple[Any, ...] = (
    "",
    "x",
    "-a",
    "a-",
    "a_b-c.d",
    "a b",
    "ü",
    "a/b",
    "A",
    "a" * 128,
    "a" * 129,
    "a" * 160,
    "a" * 161,
)
_TEXTS: tuple[Any, ...] = ("", " ", "x", "ü <&\"> ' 名", "x" * 64, "x" * 65, "ü" * 256, "x" * 257, "a/b", "%20")
_MAPS: tuple[Any, ...] = (
    {},
    {"k": "v"},
    {"": ""},
    {"k": ""},
    {"ü": '<ß> & " \\'},
    {"allowCrossApp": "TRUE"},
    {"allowCrossApp": "true", "k": "v"},
    {"k": None},
    {"k": 1},
    {"K": "v", "k": "w"},
)
_KEY = {"appId": "shop", "serviceName": "prov", "version": "0+"}

# Not here, for we mean to differ: two environments joined (case 41), a host name
# of 65 to 253 characters (79), bodies of more than 3 KiB (54, 89, 97), text that is not Unicode (32), null in
# lists of texts (46).
_SERVICE: dict[str, Sequence[Any]] = {
    "appId": _NAMES,
    "serviceName": _NAMES,
    "version": (
        "",
        "1",
        "1.2.3.4",
        "1.2.3.4.5",
        "32767.0",
        "32768",
        "0001.0",
        "1.",
        "latest",
        "1.0.0+",
        "v1",
        " 1",
        "1\n",
    ),
    "description": _TEXTS,
    "level": ("FRONT", "MIDDLE", "BACK", "front", ""),
    "schemas": (
        ["a", "b"],
        ["b", "a"],
        ["-a"],
        [""],
        ["a", "a"],
        ["a" * 160],
        ["a" * 161],
        ["a.b_c-d"],
        [f"s{number}" for number in range(100)],
        [f"s{number}" for number in range(101)],
    ),
    "paths": (
        [{"path": "/rest"}],
        [{"path": "/x?a=b&c", "property": {"k": "v"}}],
        [{"path": "a b"}],
        [{"path": "/ü"}],
        [{"path": "/;a"}],
        [{}],
        [None],
        [{"path": None, "property": None}],
    ),
    "status": ("UP", "DOWN", "up", "", "STARTING"),
    "properties": _MAPS,
    "alias": ("", "shop:odd", "a.b_c-d:e", "x" * 128, "x" * 129, "a/b", "ü", ":"),
    "LBStrategy": _MAPS,
    "lbStrategy": _MAPS,
    "environment": ("", "development", "testing", "acceptance", "production", "dev", "Development", " "),
    "registerBy": ("SDK", "SIDECAR", "PLATFORM", "", "sdk", "SDKSDK"),
    "framework": (
        {},
        {"name": "Go-Chassis", "version": "2.8.0"},
        {"name": "-"},
        {"name": "x" * 64, "version": "x" * 64},
        {"name": "x" * 65},
        {"version": "x" * 65},
        {"name": None},
        {"NAME": "x"},
    ),
    "providers": ([_KEY], [{}], [{"version": 1}]),
    "serviceId": ("", "given-id-one", "a b", "x" * 64, "x" * 65, "a/b"),
    "timestamp": ("1", "", "x"),
    "modTimestamp": ("1", "", "x"),
    "unknown": ("x", None, {"a": [1]}),
}
_INSTANCE: dict[str, Sequence[Any]] = {
    "instanceId": ("", "a b", "x" * 65, "a/b", "ü", "a:b"),
    "serviceId": ("", "nope", "a b"),
    "endpoints": (
        [],
        ["rest://10.0.0.1:80", "highway://10.0.0.1:81?sslEnabled=true"],
        [""],
        [" "],
        ["x", "x"],
        ["ü"],
    ),
    "hostName": ("", " ", "h", "x" * 64, "ü", "a b"),
    "status": (*STATUSES, "", "up", "UNKNOWN", " UP"),
    "properties": _MAPS,
    "healthCheck": (
        {},
        {"mode": "push", "interval": 30, "times": 3},
        {"mode": "push", "interval": 1, "times": 40},
        {"mode": "push", "interval": 40, "times": 0},
        {"mode": "pull", "interval": 100, "times": 9, "port": 80, "url": "/health"},
        {"mode": "pull", "port": 65536},
        {"mode": "push", "interval": 0, "times": 3},
        {"mode": "push", "interval": 60, "times": -1},
        {"mode": "push", "interval": 60, "times": 3, "port": -1},
        {"mode": "push", "interval": 60, "times": 3, "url": "a b"},
        {"mode": "push", "interval": "60"},
        {"mode": "push", "interval": 60.5},
        {"mode": "push", "interval": 60, "times": 2147483648},
        {"mode": "pulled", "interval": 60},
        {"interval": 60, "times": 3},
        {"MODE": "push", "Interval": 60, "tImes": 4},
    ),
    "dataCenterInfo": (
        {"name": "dc", "region": "r", "availableZone": "z"},
        {},
        {"name": "dc"},
        {"name": "dc", "region": "r"},
        {"name": "d c", "region": "r", "availableZone": "z"},
        {"name": "x" * 128, "region": "r.-_", "availableZone": "z"},
        {"name": "x" * 129, "region": "r", "availableZone": "z"},
    ),
    "timestamp": ("1", "x"),
    "modTimestamp": ("1",),
    "version": ("9.9.9", ""),
    "unknown": ("x", [{}]),
}
_NO_JSON = (
    "",
    " ",
    "null",
    "[]",
    "{",
    "}",
    '"x"',
    "5",
    "true",
    "{}x",
    "{} {}",
    '{"service":}',
    '{"a":1,}',
    "nan",
    "{'a':1}",
    "[{}]",
)


def service(random: Random) -> Document:
    """A microservice as clients send it, in a small world of names, so that they meet again."""
    app, name = random.choice(APPS), random.choice(NAMES)
    document: Document = {"serviceName": name, "appId": app, "version": random.choice(VERSIONS)}
    if environment := random.choice(ENVIRONMENTS):
        document["environment"] = environment
    if random.random() < 0.3:
        document["alias"] = f"{app}:{name}"
    if random.random() < 0.3:
        document["properties"] = dict(random.choice(({"allowCrossApp": "true"}, {"a": "1"}, {"a": "1", "b": "2"})))
    if random.random() < 0.2:
        document["schemas"] = random.choice((["a"], ["a", "b"], ["x", "y", "a"]))
    if random.random() < 0.2:
        document["framework"] = {"name": "Go-Chassis", "version": "2.8.0"}
        document["registerBy"] = "SDK"
    return document


def instance(random: Random) -> Document:
    document: Document = {
        "hostName": random.choice(("h1", "h2")),
        "endpoints": random.choice((["rest://10.0.0.1:80"], ["rest://10.0.0.2:80?sslEnabled=true"], [])),
    }
    if random.random() < 0.3:
        document["properties"] = dict(random.choice(({"zone": "z1"}, {"zone": "z2", "a": "1"})))
    if random.random() < 0.15:  # not twice the same: registering a living id again is another matter (case 87)
        document["instanceId"] = f"given.{random.randrange(10**9):x}".ljust(random.choice((16, 64)), "_")
    if random.random() < 0.2:
        document["status"] = random.choice(STATUSES)
    if random.random() < 0.2:
        document["dataCenterInfo"] = {"name": "dc", "region": "r", "availableZone": "z"}
    if random.random() < 0.2:
        document["healthCheck"] = {"mode": "push", "interval": random.choice((30, 60)), "times": 3}
    return document


def odd_service(random: Random) -> Document:
    return _odd(random, service(random), _SERVICE)


def odd_instance(random: Random) -> Document:
    return _odd(random, instance(random), _INSTANCE)


def properties(random: Random) -> Document:
    """The body of a properties call. Clients send the whole record; ids in it are left out (case 162)."""
    document: Document = {
        "properties": dict(random.choice(({"a": "1"}, {"a": "2", "b": "3"}, {"allowCrossApp": "true"})))
    }
    if random.random() < 0.3:
        return _odd(random, document, {"properties": _MAPS, "framework": ({"name": "x"}, 1), "status": ("DOWN",)})
    return document


def tags(random: Random) -> Document:
    document: Document = {"tags": dict(random.choice(({"t1": "v1"}, {"t1": "v1", "t2": "v2"}, {"t2": "x.y_z-1"}, {})))}
    if random.random() < 0.3:
        odd = (
            {"1a": "v"},
            {"a": "1"},
            {"a": ""},
            {"": "v"},
            {"a" * 64: "v" * 64},
            {"a" * 65: "v"},
            {"a b": "v"},
            {f"t{number}": "v" for number in range(100)},
            {f"t{number}": "v" for number in range(101)},
            {"a": None},
            {"a": 1},
        )
        # Not misspelt: that clears the tags of the original, which reads this body in a way of its own (case 74).
        return (
            document | {"tags": random.choice(odd)} if random.random() < 0.8 else {"tags": random.choice(_WRONG_TYPES)}
        )
    return document


def schema(random: Random) -> Document:
    document: Document = {"schema": random.choice(("swagger: 2", "text ü"))}
    if random.random() < 0.7:
        document["summary"] = random.choice(("ab12", "cd34"))
    if random.random() < 0.3:
        return _odd(random, document, {"schema": _TEXTS, "summary": ("", "a-b", "x" * 128, "x" * 129, "ü")})
    return document


def schemas(random: Random) -> Document:
    """A set. None names one schema twice (case 70)."""
    names = random.sample(("x", "y", "z.1", "a"), k=random.choice((0, 1, 1, 2, 2, 3)))
    documents = [{"schemaId": name, "schema": f"text {random.choice('ab')}", "summary": "ab12"} for name in names]
    if documents and random.random() < 0.3:
        odd = {
            "schemaId": ("", "-a", "q" * 160, "q" * 161),
            "schema": ("", "x"),
            "summary": ("", "a-b", "x" * 128, "x" * 129),
        }
        documents[0] = _odd(random, documents[0], odd)
    return {"schemas": documents}


def key(random: Random) -> Document:
    """The name of a microservice, as dependencies and batch finds have it."""
    document: Document = {"appId": random.choice(APPS), "serviceName": random.choice(NAMES)}
    if environment := random.choice(ENVIRONMENTS):
        document["environment"] = environment
    document["version"] = random.choice(VERSIONS)
    return document


def dependency(random: Random) -> Document:
    providers = []
    for _ in range(random.choice((0, *(1,) * 8, *(2,) * 3))):
        provider = key(random)
        provider["version"] = random.choice(("0+", "latest", "1.0.0", "1.0.0-2.0.0", "1.0.0+", ""))
        if random.random() < 0.3:
            del provider["appId"]
        if random.random() < 0.08:
            provider = _odd(random, provider, _SERVICE | {"version": ("0.0.0.0+", "1.0.0-", "+", "1.0+0", "LATEST")})
        providers.append(provider)
    consumer = key(random)
    if random.random() < 0.05:
        consumer = _odd(random, consumer, _SERVICE)
    document: Document = {"consumer": consumer, "providers": providers}
    if random.random() < 0.1:
        return _odd(random, document, {"consumer": (None, {}), "providers": (None, [None], [{}])})
    return document


def mangled(random: Random, text: str) -> str:
    """What is no JSON, or not of the right kind; sometimes the text broken off."""
    if random.random() < 0.3 and len(text) > 3:
        return text[: random.randrange(1, len(text) - 1)]
    return random.choice(_NO_JSON)


def text_of(random: Random, document: Document, mangle: float = 0.04) -> str:
    """The JSON of a document, now and then something else."""
    text = json.dumps(document, ensure_ascii=random.random() < 0.5)
    return mangled(random, text) if random.random() < mangle else text


def _odd(random: Random, document: Document, values: Mapping[str, Sequence[Any]]) -> Document:
    """The document with one or two members that are missing, misspelt, of another type, or at the edge of a rule."""
    document = dict(document)
    for _ in range(random.choice((1, 1, 2))):
        match random.choice(("value", "value", "value", "type", "missing", "spelling")):
            case "value":
                name = random.choice(tuple(values))
                document[name] = random.choice(values[name])
            case "type":
                document[random.choice(tuple(values))] = random.choice(_WRONG_TYPES)
            case "missing" if document:
                del document[random.choice(tuple(document))]
            case "spelling" if document:
                name = random.choice(tuple(document))
                value = document[name] if random.random() < 0.3 else document.pop(name)
                document[random.choice((name.upper(), name.lower(), name.swapcase(), name.title()))] = value
    return document
