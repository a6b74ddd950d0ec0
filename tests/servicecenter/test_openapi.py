"""The OpenAPI document and the table of routes: neither names a call that the other lacks."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from facade import servicecenter
from facade.access.control import AccessControl
from facade.access.rules import OPEN
from facade.registry.registry import Registry
from facade.servicecenter.paths import Branch, place_of
from facade.servicecenter.routes import ServiceCenterFront

from .conftest import Client

pytestmark = pytest.mark.anyio

DOCUMENT = Path(servicecenter.__file__).parent / "openapi.yaml"

Call = tuple[str, tuple[str, ...]]
"""A method, and the segments of a row of the table."""


@pytest.fixture
async def table(registry: Registry) -> AsyncIterator[Branch]:
    """With accounts: without access control their routes are not there."""
    control = AccessControl(registry)
    yield ServiceCenterFront(registry, access=control)._table
    control.close()


@pytest.fixture
def documented() -> dict[Call, list[dict[str, Any]]]:
    """What the document says of each call; some have two addresses."""
    calls: dict[Call, list[dict[str, Any]]] = {}
    for path, item in yaml.safe_load(DOCUMENT.read_text())["paths"].items():
        place = place_of(re.sub(r"\{\w+\}", "*", path))
        assert place is not None, path
        for method, operation in item.items():
            if method != "parameters":
                calls.setdefault((method.upper(), place.rest), []).append(operation)
    return calls


def rows(branch: Branch, segments: tuple[str, ...] = ()) -> Iterator[tuple[Call, Branch]]:
    for method in branch.methods:
        yield (method, segments), branch
    for segment, inner in branch.branches.items():
        yield from rows(inner, (*segments, segment))


async def test_the_document_and_the_table_name_the_same_calls(
    table: Branch, documented: dict[Call, list[dict[str, Any]]]
) -> None:
    assert documented.keys() == {call for call, _ in rows(table)}


async def test_the_document_says_which_calls_need_no_account(
    table: Branch, documented: dict[Call, list[dict[str, Any]]]
) -> None:
    needless = {call for call, branch in rows(table) if branch.needs[call[0]] == OPEN}

    assert {call for call, told in documented.items() if all(one.get("security") == [] for one in told)} == needless


async def test_the_document_says_which_calls_the_older_form_lacks(
    table: Branch, documented: dict[Call, list[dict[str, Any]]]
) -> None:
    lacking = {call for call, branch in rows(table) if call[0] in branch.v4_only}

    assert {call for call, told in documented.items() if any(one.get("x-v4-only") for one in told)} == lacking


async def test_an_operation_has_an_id_of_its_own(documented: dict[Call, list[dict[str, Any]]]) -> None:
    ids = [one["operationId"] for told in documented.values() for one in told]

    assert len(set(ids)) == len(ids)


async def test_the_document_is_served_as_it_is_kept(client: Client) -> None:
    answer = await client.get("/openapi/servicecenter.yaml")

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/yaml")
    assert answer.content == DOCUMENT.read_bytes()
