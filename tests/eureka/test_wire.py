"""What is asked for and how it is refused: formats, encodings, charsets, sizes, statuses."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest

from facade.errors import FacadeError, InstanceNotFound, MalformedDocument, StoreFull, StoreUnavailable
from facade.eureka import wire
from facade.eureka.wire import Format, NotAcceptable, Refusal

ACCEPTED = [
    pytest.param(None, Format.XML, id="py_eureka_client-says-nothing"),
    pytest.param("", Format.XML, id="empty"),
    pytest.param("*/*", Format.XML, id="curl"),
    pytest.param("application/*", Format.XML, id="any-application"),
    pytest.param("application/json", Format.JSON, id="netflix"),
    pytest.param("application/json, application/*+json", Format.JSON, id="resttemplate"),
    pytest.param("application/*+json", Format.JSON, id="any-json"),
    pytest.param("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format.XML, id="browser"),
    pytest.param("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", Format.XML, id="jdk"),
    pytest.param("application/JSON", Format.JSON, id="upper-case"),
    pytest.param("application/json;q=0.1, application/xml", Format.XML, id="quality"),
    pytest.param("application/xml;q=0.5, application/json", Format.JSON, id="quality-of-json"),
    pytest.param("application/xml, application/json", Format.JSON, id="tie"),
    pytest.param("application/json, */*", Format.JSON, id="name-before-star"),
    pytest.param("*/*, application/json", Format.JSON, id="name-after-star"),
    pytest.param("application/json;charset=utf-8", Format.JSON, id="parameter"),
]


@pytest.mark.parametrize(("accept", "expected"), ACCEPTED)
def test_one_format_is_chosen(accept: str | None, expected: Format) -> None:
    assert wire.negotiated_format(accept) is expected


@pytest.mark.parametrize(
    "accept", ["text/html", "text/plain", "application/vnd.x+json", "garbage", "application/json;q=0"]
)
def test_nothing_else_can_be_written(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        wire.negotiated_format(accept)


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("x-gzip", True),
        ("gzip, deflate", True),
        ("GZIP", True),
        ("gzip;q=0", False),
        ("gzip;q=0.001", True),
        ("deflate", False),
        ("identity, gzip;q=0.0, x-gzip;q=0", False),
        ("gzip;q=abc", False),
    ],
)
def test_gzip_is_sent_to_those_who_name_it(accept_encoding: str | None, expected: bool) -> None:
    assert wire.takes_gzip(accept_encoding) is expected


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", (Format.JSON, "utf-8")),
        ("APPLICATION/JSON", (Format.JSON, "utf-8")),
        ('application/json;charset="utf-8"', (Format.JSON, "utf-8")),
        ("application/json; charset=ISO-8859-1", (Format.JSON, "iso-8859-1")),
        ("application/xml", (Format.XML, "utf-8")),
    ],
)
def test_bodies_that_are_read(content_type: str, expected: tuple[Format, str]) -> None:
    assert wire.body_format(content_type) == expected


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "text/xml",
        "application/json; charset=utf-16",
        "application/json;charset=US-ASCII",
    ],
)
def test_bodies_that_are_not_read(content_type: str | None) -> None:
    with pytest.raises(wire.UnsupportedMedia):
        wire.body_format(content_type)


def test_a_latin_body_is_read_in_its_charset() -> None:
    body = '{"instance":{"app":"ü"}}'.encode("iso-8859-1")

    assert wire.decode_registration(body, Format.JSON, "iso-8859-1").app == "Ü"


def test_a_bomb_is_not_inflated() -> None:
    bomb = gzip.compress(b"0" * 20_000_000)
    tracemalloc.start()

    with pytest.raises(wire.BodyTooLarge):
        wire.inflated(bomb, 256 * 1024)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize("body", [b"", b"no gzip", gzip.compress(b"cut short", mtime=0)[:-9]])
def test_what_is_no_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedDocument):
        wire.inflated(body, 1_000)


UNPARSABLE = b"cannot parse request body"


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        pytest.param(InstanceNotFound("A", "i1"), Refusal(404), id="netflix-registers-again-only-when-empty"),
        pytest.param(
            wire.RegistrationRefused("Missing hostname"), Refusal(400, b"Missing hostname", "text/plain"), id="check"
        ),
        pytest.param(
            MalformedDocument(""), Refusal(400, b'{"error": "%b"}' % UNPARSABLE, Format.JSON), id="unparsable"
        ),
        pytest.param(
            MalformedDocument('port: "'),
            Refusal(400, b'{"error": "%b: port: \\""}' % UNPARSABLE, Format.JSON),
            id="named",
        ),
        pytest.param(wire.BadQuery("value"), Refusal(400), id="query"),
        pytest.param(wire.NotAcceptable(""), Refusal(406), id="accept"),
        pytest.param(wire.BodyTooLarge(""), Refusal(413), id="large"),
        pytest.param(wire.UnsupportedMedia(""), Refusal(415), id="media"),
        pytest.param(StoreUnavailable("down"), Refusal(503), id="store-down"),
        pytest.param(StoreFull("full"), Refusal(507), id="store-full"),
        pytest.param(FacadeError("?"), Refusal(500), id="unforeseen"),
    ],
)
def test_refusals(error: FacadeError, refusal: Refusal) -> None:
    assert wire.encode_refusal(error) == refusal


def test_an_xml_body_is_refused_in_xml() -> None:
    refusal = wire.encode_refusal(MalformedDocument("a < b"), is_xml=True)

    assert refusal == Refusal(400, b"<error><message>cannot parse request body: a &lt; b</message></error>", Format.XML)
