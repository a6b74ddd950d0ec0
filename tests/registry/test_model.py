"""Ids that other programs must agree with."""

from __future__ import annotations

import msgspec
import pytest

from facade.registry.model import Record, ServiceKey
from tests.registry.records import flat, qualified, service


@pytest.mark.parametrize(
    ("key", "service_id"),
    [
        pytest.param(
            ServiceKey("default", "default", "", "eureka", "account-server", "0.0.1"),
            "80784229255ec96d90353e3c041bdf3586fdbbae",
            id="log-line-of-the-multi-servicecenters-guide",
        ),
        pytest.param(
            ServiceKey("default", "default", "development", "default", "calculator", "1.0.0"),
            "cf2f5cbbc44e7219388bce34daa41cf7d4834e03",
            id="measured-with-an-environment",
        ),
        pytest.param(
            ServiceKey("default", "default", "", "default", "calculator", "0.0.1"),
            "8ef9d644842988a427357b8f4488ea0d0b2b5e77",
            id="measured-without-an-environment",
        ),
    ],
)
def test_a_service_gets_the_id_that_every_stock_servicecenter_gives_it(key: ServiceKey, service_id: str) -> None:
    assert key.derived_id == service_id


@pytest.mark.parametrize("record", [flat(), qualified(), service()], ids=["flat", "qualified", "service"])
def test_a_record_survives_its_encoding(record: Record) -> None:
    """Stores keep records as tagged MessagePack, named tuples included."""
    encoded = msgspec.msgpack.encode(record)

    assert msgspec.msgpack.decode(encoded, type=Record) == record
