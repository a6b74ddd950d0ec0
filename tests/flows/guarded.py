"""A server with access control, and one account for each of a few roles; the fixture `guarded` is in conftest.py."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import httpx

from .product import BASE, Product

ROOT_PASSWORD = "Str0ng-enough"
PASSWORD = "Ab1@:xé9"
REGISTRY = "/v4/default/registry"


def basic(name: str, password: str = PASSWORD) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"}


AS_ROOT = basic("root", ROOT_PASSWORD)


def perms(*verbs: str, type: str = "service", **labels: str) -> list[dict[str, Any]]:
    return [{"resources": [{"type": type, "labels": labels}], "verbs": list(verbs)}]


ROLES = {
    "reader": perms("get"),
    "tester": perms("*", environment="testing"),
    "shopkeeper": perms("*", appId="eureka", serviceName="orders"),
    "peer": perms("create", "update", "delete"),
    "clerk": perms("get", "create", type="account"),
    "nothing": [],
}
"""Each has an account of the same name."""


async def created(product_: Product, name: str, environment: str = "", **headers: str) -> httpx.Response:
    service = {"appId": "shop", "serviceName": name, "version": "1.0.0", "environment": environment}
    return await product_.http.post(f"{BASE}/microservices", json={"service": service}, headers=headers or AS_ROOT)


def code(answer: httpx.Response) -> str:
    return str(answer.json()["errorCode"])


async def token(guarded: Product, name: str, password: str = PASSWORD) -> dict[str, str]:
    answer = await guarded.http.post("/v4/token", json={"name": name, "password": password})
    return {"Authorization": f"Bearer {answer.json()['token']}"}
