"""Statuses that an operator sets, and metadata."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from facade.registry.model import Status
from facade.registry.registry import Registry
from tests.eureka.routes.client import Client, status_of
from tests.registry.records import qualified, service

pytestmark = pytest.mark.anyio


async def test_an_override_holds_until_it_is_lifted(client: Client) -> None:
    """Cases 122-124, P7."""
    await client.register()
    answer = await client("PUT", "/eureka/apps/A/i1/status?value=OUT_OF_SERVICE")
    assert (answer.status_code, answer.content) == (200, b"")
    assert await status_of(client) == ("OUT_OF_SERVICE", "OUT_OF_SERVICE", "MODIFIED")
    overrides = await client("GET", "/eureka/serverinfo/statusoverrides")
    assert overrides.content == b'{"i1":"OUT_OF_SERVICE"}'

    await client.register()
    assert (await status_of(client))[:2] == ("OUT_OF_SERVICE", "OUT_OF_SERVICE")

    await client("DELETE", "/eureka/apps/A/i1/status?value=UP")
    assert (await status_of(client))[:2] == ("UP", "UNKNOWN")
    assert (await client("PUT", "/eureka/apps/A/i1")).status_code == 200


async def test_lifting_without_a_value_makes_the_owner_register(client: Client) -> None:
    """Cases 125 and 126, P7."""
    await client.register()
    assert (await client("DELETE", "/eureka/apps/A/i1/status")).status_code == 200
    assert (await status_of(client))[0] == "UP"

    await client("PUT", "/eureka/apps/A/i1/status?value=DOWN&value=UP")
    await client("DELETE", "/eureka/apps/A/i1/status")

    assert (await status_of(client))[:2] == ("UNKNOWN", "UNKNOWN")
    assert (await client("PUT", "/eureka/apps/A/i1")).status_code == 404
    await client.register()
    assert (await status_of(client))[0] == "UP"


@pytest.mark.parametrize(
    "query", ["", "?value=", "?value=up", "?value=FOO", "?value=UNKNOWN", "?value=DOWN&lastDirtyTimestamp=abc"]
)
async def test_a_bad_override_changes_nothing(client: Client, query: str) -> None:
    """Cases 128, 130 and 138."""
    await client.register()

    assert (await client("PUT", f"/eureka/apps/A/i1/status{query}")).status_code == 400
    assert await status_of(client) == ("UP", "UNKNOWN", "ADDED")


async def test_statuses_pass_unchanged(client: Client) -> None:
    """P7, case 99: also the rare ones, also in XML."""
    for status in ("STARTING", "DOWN", "UNKNOWN"):
        await client.register(instance_id=status, status=status)
        answer = await client("GET", f"/eureka/apps/A/{status}")
        assert ElementTree.fromstring(answer.content).findtext("status") == status


async def test_an_override_reaches_instances_of_the_other_protocol(client: Client, registry: Registry) -> None:
    """Drained in one, drained in both."""
    born_elsewhere = qualified(service("orders", "default"), "sc1", application="A")
    await registry.register(born_elsewhere)

    assert (await client("PUT", "/eureka/apps/A/sc1/status?value=OUT_OF_SERVICE")).status_code == 200

    held = registry.catalogue.instance(born_elsewhere.key)
    assert held is not None
    assert (held.status, held.override) == (Status.OUT_OF_SERVICE, Status.OUT_OF_SERVICE)


async def test_metadata_is_merged(client: Client) -> None:
    """Cases 139 and 140, P1: all else stays as it was."""
    await client.register(metadata={"zone": "z0", "keep": "me"})
    before = await client.json("/eureka/apps/A/i1")

    answer = await client("PUT", "/eureka/apps/A/i1/metadata?zone=z1&x=&flag&k=a+b%20c&a=1&a=2")

    assert (answer.status_code, answer.content) == (200, b"")
    after = await client.json("/eureka/apps/A/i1")
    assert after == before | {
        "metadata": {"zone": "z1", "keep": "me", "x": "", "flag": "", "k": "a b c", "a": "1"},
        "lastUpdatedTimestamp": after["lastUpdatedTimestamp"],
        "leaseInfo": after["leaseInfo"],
    }
    delta = (await client.json("/eureka/apps/delta"))["application"]
    assert [found["actionType"] for found in delta[0]["instance"]] == ["ADDED"]
