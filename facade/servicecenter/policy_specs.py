"""What the spec of a governance policy has to hold: the few words of JSON Schema that the original's file uses.

Source: servicecomb-service-center, etc/conf/grc.json; the texts are those of k8s.io/kube-openapi, which it asks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from facade.errors import MalformedDocument

MATCH_GROUP = "match-group"
MOST_TOLD = 100
"""Faults of one spec: a list of 40,000 items has as many."""
_WHOLE = {"type": "integer", "minimum": 0}

_SPECS: dict[str, dict[str, Any]] = {
    MATCH_GROUP: {
        "required": ["matches", "alias"],
        "properties": {
            "alias": {"type": "string", "minLength": 1},
            "matches": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string", "minLength": 1},
                        "apiPath": {"type": "object", "minProperties": 1},
                        "headers": {"type": "object"},
                        "method": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "enum": ["GET", "POST", "DELETE", "PUT", "PATCH"]},
                        },
                    },
                },
            },
        },
    },
    "retry": {"required": ["maxAttempts"], "properties": {"retryOnSame": _WHOLE}},
    "rate-limiting": {"required": ["rate"]},
    "loadbalance": {"required": ["rule"], "properties": {"rule": {"type": "string", "minLength": 1}}},
    "circuit-breaker": {"required": ["minimumNumberOfCalls"], "properties": {"minimumNumberOfCalls": _WHOLE}},
    "instance-isolation": {"required": ["minimumNumberOfCalls"]},
    "fault-injection": {
        "required": ["percentage"],
        "properties": {"percentage": {"type": "number", "minimum": 0}},
    },
    "bulkhead": {"required": ["maxConcurrentCalls"]},
}

POLICIES = tuple(kind for kind in _SPECS if kind != MATCH_GROUP)
"""What may be laid down for a group of requests."""


def check_spec(kind: str, spec: Mapping[str, Any]) -> None:
    """Raises MalformedDocument."""
    wanted = _SPECS.get(kind)
    if wanted is None:
        raise MalformedDocument(f"not support kind[{kind}] yet")
    faults = list(islice(_faults(kind, spec, {"type": "object", **wanted}), MOST_TOLD))
    if faults:
        raise MalformedDocument(f"illegal policy[{kind}] spec, msg: {'; '.join(faults)}")


def _faults(path: str, value: object, wanted: Mapping[str, Any]) -> Iterator[str]:
    kind = wanted["type"]
    if not _is(kind, value):
        yield f"{path} in body must be of type {kind}: {json.dumps(_type_of(value))}"
        return
    if isinstance(value, str):
        yield from _faults_of_text(path, value, wanted)
    elif isinstance(value, int | float):
        if value < wanted.get("minimum", value):
            yield f"{path} in body should be greater than or equal to {wanted['minimum']}"
    elif isinstance(value, list):
        if len(value) < wanted.get("minItems", 0):
            yield f"{path} in body should have at least {wanted['minItems']} items"
        for item in value:  # whose place in the list is not told
            yield from _faults(path, item, wanted["items"])
    elif isinstance(value, dict):
        yield from _faults_of_object(path, value, wanted)


def _faults_of_text(path: str, value: str, wanted: Mapping[str, Any]) -> Iterator[str]:
    if len(value) < wanted.get("minLength", 0):
        yield f"{path} in body should be at least {wanted['minLength']} chars long"
    if value not in wanted.get("enum", [value]):
        yield f"{path} in body should be one of [{' '.join(wanted['enum'])}]"


def _faults_of_object(path: str, value: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    if len(value) < wanted.get("minProperties", 0):
        yield f"{path} in body should have at least {wanted['minProperties']} properties"
    for name, inner in wanted.get("properties", {}).items():
        if name in value:
            yield from _faults(f"{path}.{name}", value[name], inner)
    for name in wanted.get("required", ()):
        if name not in value:
            yield f"{path}.{name} in body is required"


def _is(kind: str, value: object) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "array":
            return isinstance(value, list)
    return isinstance(value, dict)


def _type_of(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "integer" if value == value // 1 else "number"  # type: ignore[operator]  # it is one
