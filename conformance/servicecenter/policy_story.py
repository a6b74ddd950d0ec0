"""Governance configuration, as a story for `record.py`: of a ServiceCenter with a servicecomb-kie behind it."""

from __future__ import annotations

from typing import Any

from .record import Request

GOV = "/v1/{project}/gov"
SELECTOR = {"app": "shop", "environment": "production"}
BAD_GROUP = {"alias": "a", "matches": [{"name": "n", "method": ["X"]}]}
DEEP = {"maxAttempts": 9, "deep": {"b": [1.5, None, True], "a": "ü"}}
GROUP = {"alias": "pays", "matches": [{"name": "all", "apiPath": {"prefix": "/pay"}, "method": ["GET", "POST"]}]}
RETRY = f"{GOV}/retry/{{p}}"


def policy(spec: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"name": "pay", "selector": SELECTOR, "spec": spec, **members}


STORY = [
    Request("no policies", "GET", f"{GOV}/retry"),
    Request("nothing displayed", "GET", f"{GOV}/display?environment=all"),
    Request("no such policy", "GET", f"{GOV}/retry/nope"),
    Request("change no policy", "PUT", f"{GOV}/retry/nope", policy({"maxAttempts": 1})),
    Request("delete no policy", "DELETE", f"{GOV}/retry/nope"),
    Request("delete no group", "DELETE", f"{GOV}/match-group/nope"),
    Request("no kind", "POST", f"{GOV}/nonsense", policy({})),
    Request("no attempts", "POST", f"{GOV}/retry", policy({})),
    Request("bad attempts", "POST", f"{GOV}/retry", policy({"maxAttempts": 1, "retryOnSame": "x"})),
    Request("bad method", "POST", f"{GOV}/match-group", policy(BAD_GROUP)),
    Request("lay down a retry", "POST", f"{GOV}/retry", policy({"maxAttempts": 3}), keeps=("p", "id")),
    Request("lay it down again", "POST", f"{GOV}/retry", policy({"maxAttempts": 4})),
    Request("the retry", "GET", RETRY),
    Request("all retries", "GET", f"{GOV}/retry?environment=all"),
    Request("retries of the app", "GET", f"{GOV}/retry?environment=production&app=shop"),
    Request("retries of another app", "GET", f"{GOV}/retry?environment=production&app=bank"),
    Request("name a group", "POST", f"{GOV}/match-group", policy(GROUP), keeps=("g", "id")),
    Request("displayed", "GET", f"{GOV}/display?environment=all"),
    Request(
        "change",
        "PUT",
        RETRY,
        policy(DEEP, status="disabled"),
    ),
    Request("changed", "GET", RETRY),
    Request("delete the group", "DELETE", f"{GOV}/match-group/{{g}}"),
    Request("the retry went with it", "GET", f"{GOV}/retry?environment=all"),
]
