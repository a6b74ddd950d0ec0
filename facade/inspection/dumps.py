"""A dump file <> contents.

Shape:  JSON Lines. The first line says what the file is, whence and how much follows; then one document a line, as its
        protocol writes it, under a name that says what it is: `service` (with `tags`), then its schemas and instances;
        `application` for a Eureka instance.
Rules:  a file is written whole or not at all; one that is cut, damaged or foreign is refused with the line at fault.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import msgspec

from facade.errors import MalformedDocument, StartRefused
from facade.eureka import wire_json
from facade.inspection.contents import Contents, HeldApplication, HeldService
from facade.servicecenter import wire
from facade.servicecenter.records import MicroService, MicroServiceInstance, Schema

FORMAT = "registry-facade dump"
VERSION = 1


# Out


def write(contents: Contents, to: Path) -> None:
    """Write a file that is there only when it is whole. Raises StartRefused."""
    try:
        with tempfile.NamedTemporaryFile(dir=to.parent, prefix=f".{to.name}-", delete=False) as file:
            temporary = Path(file.name)
            try:
                write_lines(contents, file)
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(to)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
    except OSError as error:
        raise StartRefused(f"cannot write {to}: {error.strerror}") from None


def write_lines(contents: Contents, file: IO[bytes]) -> None:
    for line in _lines(contents):
        file.write(line + b"\n")


def _lines(contents: Contents) -> Iterator[bytes]:
    yield msgspec.json.encode(
        {
            "format": FORMAT,
            "version": VERSION,
            "place": contents.place,
            "product": contents.product,
            "taken": datetime.fromtimestamp(contents.taken_ms / 1000, UTC).isoformat(timespec="milliseconds"),
            "servicecenter": contents.speaks_servicecenter,
            "eureka": contents.speaks_eureka,
            "counts": contents.counts,
        }
    )
    for held in contents.services:
        service_id = held.document.service_id
        yield b'{"service":%b,"tags":%b}' % (wire.encode(held.document), msgspec.json.encode(held.tags))
        for schema in held.schemas:
            yield b'{"schema":%b,"of":%b}' % (wire.encode(schema), msgspec.json.encode(service_id))
        for instance in held.instances:
            yield b'{"instance":%b,"of":%b}' % (wire.encode(instance), msgspec.json.encode(service_id))
    for application in contents.applications:
        document = wire_json.encode_instance(application.document)
        yield b'{"application":%b,"environment":%b}' % (document, msgspec.json.encode(application.environment))


# In


_ABSENT = msgspec.Raw()


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """Any line but the first: one of its first four members is there."""

    service: msgspec.Raw = _ABSENT
    schema: msgspec.Raw = _ABSENT
    instance: msgspec.Raw = _ABSENT
    application: msgspec.Raw = _ABSENT
    tags: dict[str, str] = {}
    of: str = ""
    environment: str = ""


class _Header(msgspec.Struct):
    format: str
    version: int
    place: str
    product: str
    taken: datetime
    servicecenter: bool
    eureka: bool
    counts: dict[str, int]


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_header = msgspec.json.Decoder(_Header).decode


class _Fault(Exception):
    """What is wrong with one line."""


def read(path: Path) -> Contents:
    """Read a whole file. Raises StartRefused, naming the line at fault."""
    number = 0
    try:
        with path.open("rb") as file:
            header = _read_header(file.readline())
            number, parts = 1, _Parts()
            for line in file:
                number += 1
                parts.take(line)
        return parts.whole(header, str(path))
    except OSError as error:
        raise StartRefused(f"cannot read {path}: {error.strerror}") from None
    except _Fault as fault:
        raise StartRefused(f"{path}, line {number or 1}: {fault}") from None


def _read_header(line: bytes) -> _Header:
    try:
        header = _decode_header(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise _Fault("this is no dump of registry-facade") from None
    if header.format != FORMAT:
        raise _Fault("this is no dump of registry-facade")
    if header.version != VERSION:
        raise _Fault(f"its format is version {header.version}, and this registry-facade reads version {VERSION}")
    return header


class _Parts:
    """What was read so far, line by line."""

    def __init__(self) -> None:
        self._services: dict[str, tuple[MicroService, dict[str, str]]] = {}
        self._schemas: dict[str, list[Schema]] = defaultdict(list)
        self._instances: dict[str, list[MicroServiceInstance]] = defaultdict(list)
        self._applications: list[HeldApplication] = []

    def take(self, text: bytes) -> None:
        try:
            line = _decode_line(text)
            self._take(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, MalformedDocument) as error:
            raise _Fault(f"damaged: {str(error) or 'not a document of its kind'}") from None

    def _take(self, line: _Line) -> None:
        if line.service:
            document = wire.decode(MicroService, bytes(line.service))
            self._services[document.service_id] = (document, line.tags)
        elif line.application:
            document_of_eureka = wire_json.decode_listed(bytes(line.application))
            self._applications.append(HeldApplication(document_of_eureka, line.environment))
        elif line.of not in self._services:
            raise MalformedDocument(f"it belongs to service {line.of!r}, and no line before it holds that")
        elif line.schema:
            self._schemas[line.of].append(wire.decode(Schema, bytes(line.schema)))
        elif line.instance:
            self._instances[line.of].append(wire.decode(MicroServiceInstance, bytes(line.instance)))
        else:
            raise MalformedDocument("it holds no document")

    def whole(self, header: _Header, name: str) -> Contents:
        services = tuple(
            HeldService(document, tags, tuple(self._schemas[key]), tuple(self._instances[key]))
            for key, (document, tags) in self._services.items()
        )
        contents = Contents(
            place=name,
            product=f"a dump of {header.product} at {header.place}",
            taken_ms=int(header.taken.timestamp() * 1000),
            services=services,
            applications=tuple(self._applications),
            speaks_servicecenter=header.servicecenter,
            speaks_eureka=header.eureka,
        )
        if contents.counts != header.counts:
            raise _Fault(f"the file ends here with {told(contents.counts)}; its first line says {told(header.counts)}")
        return contents


def told(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
