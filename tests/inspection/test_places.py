"""How a place is named, and that its password is never told."""

from __future__ import annotations

from pathlib import Path

import pytest

from facade.errors import StartRefused
from facade.inspection.places import Kind, Place, parse


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("http://h:8761/eureka", Place(Kind.EUREKA, ("http://h:8761/eureka",))),
        ("http://h:8761/eureka/", Place(Kind.EUREKA, ("http://h:8761/eureka",))),
        ("eureka+https://h/eureka/v2", Place(Kind.EUREKA, ("https://h:8761/eureka/v2",))),
        ("servicecenter+http://h:30100", Place(Kind.SERVICECENTER, ("http://h:30100",))),
        (
            "servicecenter+http://h:30100,h2:30100",
            Place(Kind.SERVICECENTER, ("http://h:30100", "http://h2:30100")),
        ),
        ("http://h:30103", Place(Kind.TO_BE_ASKED, ("http://h:30103",))),
        ("http://[::1]:30103/", Place(Kind.TO_BE_ASKED, ("http://[::1]:30103",))),
        ("eureka+http://ann:p%40ss@h:1/eureka", Place(Kind.EUREKA, ("http://h:1/eureka",), ("ann", "p@ss"))),
        ("./some.dump", Place(Kind.FILE, path=Path("some.dump"))),
    ],
)
def test_a_place_is_read(text: str, place: Place) -> None:
    assert parse(text) == place


@pytest.mark.parametrize(
    "text",
    [
        *("ftp://h", "http://", "consul+http://h", "+http://h", "http://h/eureka?a=b", "eureka://h"),
        "http://ann:secret@h:port",
        "http://ann:secret@[h",
        "nonsense://ann:secret@h",
    ],
)
def test_what_is_no_place_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(StartRefused, match="possible are") as refusal:
        parse(text)

    assert "secret" not in str(refusal.value)


def test_whoever_names_a_redis_is_told_the_way_to_look_at_one() -> None:
    with pytest.raises(StartRefused, match="`doctor --store URL`"):
        parse("rediss://:secret@h:6380")


def test_a_place_is_shown_without_credentials() -> None:
    assert str(parse("http://ann:secret@h:1/eureka")) == "http://h:1/eureka"
