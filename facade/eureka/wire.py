"""What an HTTP answer of Eureka's consists of: the format that is asked for, the frames around instances, the refusals.

The two codecs are `wire_json` and `wire_xml`; this module chooses between them.
"""

from __future__ import annotations

import zlib
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from facade.access.refusals import AccessRefused, NotIdentified, TooManyLogins
from facade.errors import (
    FacadeError,
    InstanceNotFound,
    MalformedDocument,
    StoreFull,
    StoreUnavailable,
    UpstreamRefused,
)
from facade.eureka import wire_json, wire_xml
from facade.eureka.records import InstanceInfo

REGISTRATION_MAX_BYTES = 256 * 1024
BATCH_MAX_BYTES = 8 * 1024 * 1024
"""A peer sends up to 250 registrations at once."""


class RegistrationRefused(FacadeError):
    """Well formed, but no client could use such an instance. The text is the original's, to the letter."""


class BadQuery(FacadeError):
    """A query parameter is missing or means nothing."""


class BodyTooLarge(FacadeError):
    """The body exceeds what this resource ever needs."""


class UnsupportedMedia(FacadeError):
    """The body is of a type or in a charset that this resource does not read."""


class NotAcceptable(FacadeError):
    """The client takes neither XML nor JSON."""


class Format(StrEnum):
    XML = "application/xml"
    JSON = "application/json"

    __hash__ = str.__hash__  # Enum's own is Python, and every look-up of a kept document would call it


class Variant(NamedTuple):
    """One way of writing a registry document."""

    format: Format
    is_compact: bool = False
    depth: int = 2
    """How many elements stand around an instance. Only the full XML shows it, by its indentation."""

    @property
    def one_up(self) -> Variant:
        """The same where an application is the root."""
        return self if self.is_compact or self.format is Format.JSON else self._replace(depth=1)


# What a request asks for


@lru_cache(maxsize=1_000)
def negotiated_format(accept: str | None) -> Format:
    """The format that an Accept header asks for, XML when it does not say. Raises NotAcceptable.

    The original picks by two rules that can contradict one another, and mislabels; we pick once: whatever the client
    rates higher, and JSON at a tie that names it.
    """
    best: tuple[float, bool, Format] | None = None
    ranges = [_range(part) for part in accept.split(",") if part.strip()] if accept else []
    for media, quality in ranges or [("*/*", 1.0)]:
        asked = _FORMATS.get(media)
        if asked is None or quality <= 0:
            continue
        # A range with a star must not beat a name of equal quality.
        candidate = (quality, "*" not in media or "+" in media, asked)
        if best is None or candidate[:2] > best[:2] or (candidate[:2] == best[:2] and asked is Format.JSON):
            best = candidate
    if best is None:
        raise NotAcceptable(f"cannot write {accept}")
    return best[2]


_FORMATS = {
    "application/json": Format.JSON,
    "application/*+json": Format.JSON,
    "application/xml": Format.XML,
    "application/*": Format.XML,
    "*/*": Format.XML,
    "*": Format.XML,  # Java's own HTTP client
}


@lru_cache(maxsize=1_000)
def takes_gzip(accept_encoding: str | None) -> bool:
    """Whether gzip may be sent: named, and not with a quality of 0."""
    named = dict(_range(part) for part in (accept_encoding or "").split(","))
    return max(named.get("gzip", 0.0), named.get("x-gzip", 0.0)) > 0


def _range(part: str) -> tuple[str, float]:
    """One element of an Accept header: its lower-case name and its quality, 0 when that is not a number."""
    name, *parameters = part.split(";")
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            try:
                return name.strip().lower(), float(value)
            except ValueError:
                return name.strip().lower(), 0.0
    return name.strip().lower(), 1.0


def body_format(content_type: str | None) -> tuple[Format, str]:
    """Format and charset of a request body. Raises UnsupportedMedia."""
    media, *parameters = (content_type or "").split(";")
    charset = "utf-8"
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    try:
        found = Format(media.strip().lower())
    except ValueError:
        raise UnsupportedMedia(f"cannot read {content_type}") from None
    if charset not in ("utf-8", "iso-8859-1"):
        raise UnsupportedMedia(f"cannot read the charset {charset}")
    return found, charset


def inflated(body: bytes, most: int) -> bytes:
    """A gzipped body, never more than `most` bytes of it. Raises MalformedDocument, BodyTooLarge."""
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        plain = inflater.decompress(body, most + 1)
    except zlib.error:
        raise MalformedDocument("") from None
    if len(plain) > most:
        raise BodyTooLarge(f"more than {most} bytes")
    if not inflater.eof:
        raise MalformedDocument("")
    return plain


def is_xml(content_type: str | None) -> bool:
    """Whether a refusal of the body is to be written as XML."""
    return "xml" in (content_type or "")


def decode_registration(body: bytes, body_format: Format, charset: str = "utf-8") -> InstanceInfo:
    """Read a registration. Raises MalformedDocument."""
    if body_format is Format.XML:
        return wire_xml.decode_registration(body)
    return wire_json.decode_registration(body if charset == "utf-8" else body.decode("iso-8859-1").encode())


# Frames: how instances become documents


class Frame(NamedTuple):
    """What stands before and after the things that a document lists."""

    head: bytes
    tail: bytes

    def around(self, content: bytes) -> bytes:
        return b"".join((self.head, content, self.tail))


def encode_instance(variant: Variant, info: InstanceInfo) -> bytes:
    """One instance as it stands inside an application."""
    if variant.format is Format.JSON:
        return wire_json.encode_compact_instance(info) if variant.is_compact else wire_json.encode_instance(info)
    if variant.is_compact:
        return wire_xml.encode_compact_instance(info)
    return wire_xml.encode_instance(info, indent="  " * variant.depth)


def encode_single_instance(asked: Format, info: InstanceInfo) -> bytes:
    """One instance as a document of its own: always in full."""
    if asked is Format.JSON:
        return b'{"instance":%b}' % wire_json.encode_instance(info)
    return wire_xml.encode_instance(info, indent="").rstrip(b"\n")


def separator(variant: Variant) -> bytes:
    """What stands between two instances, and between two applications."""
    return b"," if variant.format is Format.JSON else b""


def application_frame(variant: Variant, name: str) -> Frame:
    """Around the instances of one application inside a registry document."""
    if variant.format is Format.JSON:
        return Frame(b'{"name":%b,"instance":[' % wire_json.encode_text(name), b"]}")
    text = wire_xml.escape_text(name).encode()
    if variant.is_compact:
        return Frame(b"<application><name>%b</name>" % text, b"</application>")
    outer, inner = b"  " * (variant.depth - 1), b"  " * variant.depth
    return Frame(b"%b<application>\n%b<name>%b</name>\n" % (outer, inner, text), b"%b</application>\n" % outer)


def application_root(variant: Variant, name: str) -> Frame:
    """Around the instances of one application that is a document of its own."""
    frame = application_frame(variant, name)
    if variant.format is Format.JSON:
        return Frame(b'{"application":%b' % frame.head, b"%b}" % frame.tail)
    return Frame(frame.head, frame.tail.rstrip())


def registry_frame(variant: Variant, version: int, hash_code: str) -> Frame:
    """Around the applications of a registry document. The compact form states version and hash last."""
    code = hash_code.encode()
    if variant.format is Format.JSON:
        figures = b'"versions__delta":"%d","apps__hashcode":"%b"' % (version, code)
        if variant.is_compact:
            return Frame(b'{"applications":{"application":[', b"],%b}}" % figures)
        return Frame(b'{"applications":{%b,"application":[' % figures, b"]}}")
    if variant.is_compact:
        figures = b"<versions__delta>%d</versions__delta><apps__hashcode>%b</apps__hashcode>" % (version, code)
        return Frame(b"<applications>", b"%b</applications>" % figures)
    figures = b"  <versions__delta>%d</versions__delta>\n  <apps__hashcode>%b</apps__hashcode>\n" % (version, code)
    return Frame(b"<applications>\n%b" % figures, b"</applications>")


class StatusInfo(NamedTuple):
    """What a server tells of itself, for people and scripts."""

    general: dict[str, str]
    application: dict[str, str]
    own: InstanceInfo
    is_healthy: bool


def encode_status_info(asked: Format, info: StatusInfo) -> bytes:
    """The one document whose XML is named after a Java class and has a misspelt element: scripts know it so."""
    if asked is Format.JSON:
        figures = wire_json.encode_object({"generalStats": info.general, "applicationStats": info.application})
        healthy = b"true" if info.is_healthy else b"false"
        return b'%b,"instanceInfo":%b,"healthy":%b}' % (figures[:-1], wire_json.encode_instance(info.own), healthy)
    name = "com.netflix.eureka.util.StatusInfo"
    own = wire_xml.encode_instance(info.own, indent="  ").replace(b"instance>", b"instanceInfo>").decode()
    figures_xml = _figures("generalStats", info.general) + _figures("applicationStats", info.application)
    health = "true" if info.is_healthy else "false"
    return f"<{name}>\n{figures_xml}{own}  <isHeathly>{health}</isHeathly>\n</{name}>".encode()


def _figures(name: str, figures: dict[str, str]) -> str:
    elements = "".join(f"    <{key}>{wire_xml.escape_text(value)}</{key}>\n" for key, value in figures.items())
    return f"  <{name}>\n{elements}  </{name}>\n"


# Refusals


class Refusal(NamedTuple):
    status: int
    body: bytes = b""
    content_type: str | None = None


_STATUSES: dict[type[FacadeError], int] = {
    InstanceNotFound: 404,
    BadQuery: 400,
    NotAcceptable: 406,
    BodyTooLarge: 413,
    UnsupportedMedia: 415,
    StoreFull: 507,
    StoreUnavailable: 503,
    NotIdentified: 401,
    TooManyLogins: 429,
    AccessRefused: 403,
}


def encode_refusal(error: FacadeError, *, is_xml: bool = False) -> Refusal:
    """Status and body for a fact that went wrong.

    Bodies are empty but for 400s: Netflix's clients try to read the body of a 404 on their renewal, fail,
    and never register again.
    """
    if isinstance(error, RegistrationRefused | UpstreamRefused):
        return Refusal(400, str(error).encode(), "text/plain")
    if isinstance(error, MalformedDocument):
        return _unparsable(str(error), is_xml=is_xml)
    return Refusal(next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 500))


def _unparsable(detail: str, *, is_xml: bool) -> Refusal:
    message = f"cannot parse request body: {detail}" if detail else "cannot parse request body"
    if is_xml:
        text = f"<error><message>{wire_xml.escape_text(message)}</message></error>"
        return Refusal(400, text.encode(), Format.XML)
    return Refusal(400, b'{"error": %b}' % wire_json.encode_text(message), Format.JSON)
