"""B1: a server that runs, asked by what its OpenAPI document says of each call.

Calls that fit the document and calls that do not: half of them about things that are there. Answers have a documented
status and content type and fit their schemas, which here name every member; none is a 5xx. A few of each call take half
a minute; `--examples 2000 --timeout 900` asks more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from facade import servicecenter

from .product import BASE, Process, eureka_document, running

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

PASSWORD = "Pl4nted-secret"
ROOT = ("root", PASSWORD)
SECRET = "for-the-owner-only"
ACCOUNT, ROLE, UNUSED_ROLE, LIMITED = "anna", "reader", "unused", "limited"

THERE = {
    "project": "default",
    "serviceId": "stock-id",
    "X-ConsumerId": "stock-id",
    "instanceId": "stock-1",
    "appId": "shop",
    "serviceName": "stock",
    "version": "1.0.0",
    "env": "production",
    "environment": "production",
    "schemaId": "hello",
    "tag": "colour",
    "kind": "retry",
    "account": ACCOUNT,
    "role": UNUSED_ROLE,
}
"""What is there when a test begins, by the names that paths, queries and bodies have for it."""

SPEC = {"maxAttempts": 1}
GOVERN = "/v1/default/gov/retry"


def strict(value: Any) -> Any:
    """The same document, but an object has no members that it does not name."""
    if isinstance(value, list):
        return [strict(item) for item in value]
    if not isinstance(value, dict):
        return value
    closed = {name: strict(inner) for name, inner in value.items()}
    if value.get("type") == "object" and "properties" in value:
        closed.setdefault("additionalProperties", False)
    return closed


DOCUMENT = yaml.safe_load((Path(servicecenter.__file__).parent / "openapi.yaml").read_text())
SCHEMA = schemathesis.openapi.from_dict(strict(DOCUMENT))
SCHEMA.config.generation.with_security_parameters = False


class Call(NamedTuple):
    method: str
    path: str

    @property
    def names(self) -> list[str]:
        """What the path leaves open."""
        return re.findall(r"\{(\w+)\}", self.path)


CALLS = [
    Call(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item if method != "parameters"
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SC_INIT_ROOT_PASSWORD", PASSWORD)
        with running(tmp_path_factory.mktemp("openapi") / "data", "--auth", "--store", "memory://") as process:
            yield process


@pytest.fixture(scope="module")
def root(server: Process) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, auth=ROOT) as http:
        yield http


@pytest.fixture(scope="module")
def limited(server: Process, root: httpx.Client) -> dict[str, str]:
    """What an account sends along that may do everything with services of a name that nobody has."""
    perms = [{"resources": [{"type": "service", "labels": {"serviceName": "own"}}], "verbs": ["*"]}]
    root.post("/v4/roles", json={"name": "own", "perms": perms}).raise_for_status()
    account = {"name": LIMITED, "password": PASSWORD, "roles": ["own"]}
    root.post("/v4/accounts", json=account).raise_for_status()
    return authorization(server, LIMITED)


@pytest.fixture(scope="module")
def mighty(server: Process) -> dict[str, str]:
    return authorization(server, "root")


def authorization(server: Process, name: str) -> dict[str, str]:
    answer = httpx.post(f"{server.url}/v4/token", json={"name": name, "password": PASSWORD}).raise_for_status()
    return {"Authorization": f"Bearer {answer.json()['token']}"}


@pytest.fixture
def there(root: httpx.Client) -> dict[str, str]:
    """Makes what is missing of `THERE`."""
    key = {"appId": "shop", "serviceName": "stock", "version": "1.0.0", "environment": "production"}
    service = {**key, "serviceId": "stock-id", "properties": {"note": SECRET}}
    instance = {"instanceId": "stock-1", "hostName": "h", "endpoints": ["rest://h:1"], "properties": {"note": SECRET}}
    of_stock = f"{BASE}/microservices/stock-id"
    schema = {"schema": SECRET, "summary": "a1"}
    root.post(f"{BASE}/microservices", json={"service": service}).raise_for_status()
    root.post(f"{of_stock}/instances", json={"instance": instance}).raise_for_status()
    root.put(f"{of_stock}/schemas/hello", json=schema).raise_for_status()
    root.post(f"{of_stock}/tags", json={"tags": {"colour": "red"}}).raise_for_status()
    root.post("/eureka/apps/ORDERS", json={"instance": eureka_document("ORDERS", "orders:1")}).raise_for_status()
    perms = [{"resources": [{"type": "service"}], "verbs": ["get"]}]
    for role in (ROLE, UNUSED_ROLE):
        root.post("/v4/roles", json={"name": role, "perms": perms})
    root.post("/v4/accounts", json={"name": ACCOUNT, "password": PASSWORD, "roles": [ROLE]})
    root.post(GOVERN, json={"name": "n", "spec": SPEC})
    policies = root.get(GOVERN, params={"environment": "all"}).json()
    return {**THERE, "policyId": next(one["id"] for one in policies if one.get("name") == "n")}


def about(value: Any, there: dict[str, str]) -> Any:
    """The same body about things that are there; of a list the first: all would be the same."""
    if isinstance(value, list):
        return [about(item, there) for item in value[:1]]
    if not isinstance(value, dict):
        return value
    known = {**there, "serviceIds": [there["serviceId"]], "roles": [ROLE], "password": PASSWORD, "spec": SPEC}
    return {name: known[name] if name in known else about(inner, there) for name, inner in value.items()}


def calls(call: Call, there: dict[str, str], *, always_there: bool = False) -> st.SearchStrategy[Any]:
    """`always_there`: the service is always the one that is there."""
    operation = SCHEMA[call.path][call.method]
    fitting = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    can_misfit = any((operation.path_parameters, operation.query, operation.headers, operation.body))
    misfit = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE) if can_misfit else fitting

    def turned(case: Any, strange: str) -> Any:
        for values in (case.path_parameters, case.query, case.headers):
            values.update({name: there[name] for name in values if name in there and name != strange})
        # Given or not: half a name finds nothing.
        case.query.update({one.name: there[one.name] for one in operation.query if one.name in there})
        if isinstance(case.body, dict | list):
            case.body = about(case.body, there)
        return case

    # A tag, schema, instance ... of the service that is there may be one that it does not have.
    strange = st.sampled_from(["", *(name for name in call.names if name not in ("project", "serviceId"))])
    of_strangers = [] if always_there else [fitting, misfit]
    return st.one_of(st.builds(turned, st.one_of(fitting, misfit), strange), *of_strangers)


def few(request: pytest.FixtureRequest, fewest: int) -> settings:
    return settings(
        max_examples=request.config.getoption("--examples") or fewest,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
        database=None,
        derandomize=True,
    )


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_answers_are_what_the_document_says(
    request: pytest.FixtureRequest, server: Process, mighty: dict[str, str], there: dict[str, str], call: Call
) -> None:
    @few(request, 8)
    @given(calls(call, there))
    def ask(case: Any) -> None:
        answer = case.call(base_url=server.url, headers=mighty)
        case.validate_response(answer, checks=CHECKS)

    ask()


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_a_limited_account_neither_sees_nor_changes_what_is_not_its_own(
    request: pytest.FixtureRequest,
    server: Process,
    root: httpx.Client,
    limited: dict[str, str],
    there: dict[str, str],
    call: Call,
) -> None:
    whole = f"/v4/default/govern/microservices/{there['serviceId']}"
    before = root.get(whole).json()

    @few(request, 4)
    @given(calls(call, there, always_there=True))
    def ask(case: Any) -> None:
        answer = case.call(base_url=server.url, headers=limited)
        case.validate_response(answer, checks=CHECKS)
        assert not ("serviceId" in call.names and answer.status_code < 300), answer.text
        assert SECRET not in answer.text

    ask()
    assert root.get(whole).json() == before
