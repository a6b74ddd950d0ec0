"""Bytes <> records, and errors to answers. No I/O.

In:     request bodies. Member names are matched without regard to case, unknown members and nulls pass over, and what
        does not fit is told in the words of Go's JSON decoder; all as the original reads.
Out:    compact JSON without empty members; refusals whose code is text and whose status is its first three digits.
Rules:  whatever the bytes are, reading them ends in a record or in MalformedDocument.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec

from facade.errors import (
    FacadeError,
    InstanceNotFound,
    MalformedDocument,
    ServiceNotFound,
    StoreFull,
    StoreUnavailable,
    UpstreamRefused,
)
from facade.servicecenter.records import Document, Error

DocumentT = TypeVar("DocumentT", bound=Document)

_MAX_INT32 = 2**31 - 1
_MOST_ITEMS = 10_000
"""In one list. Two megabytes of empty objects would be 700,000 of them, and cost a second."""


class Code(IntEnum):
    """What a refusal is about. Source: go-chassis/cari, discovery/error.go."""

    INVALID_PARAMETERS = 400001
    SERVICE_EXISTS = 400010
    SERVICE_NOT_EXISTS = 400012
    SERVICE_HAS_INSTANCES = 400013
    SCHEMA_NOT_EXISTS = 400016
    INSTANCE_NOT_EXISTS = 400017
    TAG_NOT_EXISTS = 400018
    SERVICE_HAS_CONSUMERS = 400023
    VERSION_NOT_EXISTS = 400026
    INTERNAL = 500003
    UNAVAILABLE = 500011


_MESSAGES = {
    Code.INVALID_PARAMETERS: "Invalid parameter(s)",
    Code.SERVICE_EXISTS: "Micro-service already exists",
    Code.SERVICE_NOT_EXISTS: "Micro-service does not exist",
    Code.SERVICE_HAS_INSTANCES: "Micro-service has deployed instance(s)",
    Code.SCHEMA_NOT_EXISTS: "Schema does not exist",
    Code.INSTANCE_NOT_EXISTS: "Instance does not exist",
    Code.TAG_NOT_EXISTS: "Tag does not exist",
    Code.SERVICE_HAS_CONSUMERS: "Consumer(s) depends on this micro-service",
    Code.VERSION_NOT_EXISTS: "Micro-service version does not exist",
    Code.INTERNAL: "Internal server error",
    Code.UNAVAILABLE: "Registry service is unavailable",
}

_CODES: dict[type[FacadeError], Code] = {
    MalformedDocument: Code.INVALID_PARAMETERS,
    ServiceNotFound: Code.SERVICE_NOT_EXISTS,
    InstanceNotFound: Code.INSTANCE_NOT_EXISTS,
    StoreUnavailable: Code.UNAVAILABLE,
}


class Refused(FacadeError):
    """This protocol has a code of its own for what went wrong."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Refusal(NamedTuple):
    status: int
    error: Error


def to_refusal(error: FacadeError) -> Refusal:
    """Status and body of a refusal.

    Shape:  400, {"errorCode": "400017", "errorMessage": "...", "detail": "..."}; the code is text.
    Source: go-chassis/cari, pkg/errsvc/err.go.
    """
    if isinstance(error, UpstreamRefused):  # in its own words: clients know its codes, of quotas for one
        code = error.code or Code.INVALID_PARAMETERS
        status = code // 1000 if 400_000 <= code < 500_000 else 500
        return Refusal(status, Error(error_code=str(int(code)), error_message=str(error)))
    code = error.code if isinstance(error, Refused) else _code(type(error))
    detail = "leaseId not exist, instance not exist" if isinstance(error, InstanceNotFound) else str(error)
    # The original says 500 also when its store is full; that it will take writes again only with room is worth telling.
    status = 507 if isinstance(error, StoreFull) else code // 1000
    return Refusal(status, Error(error_code=str(int(code)), error_message=_MESSAGES[code], detail=detail))


def told(error: FacadeError) -> str:
    """A refusal on one line, as the entries of a set carry it: message(detail)."""
    refusal = to_refusal(error).error
    return f"{refusal.error_message}({refusal.detail})"


def encode(document: Document | dict[str, Any]) -> bytes:
    """Compact JSON. A plain mapping is for answers that only give something a name; it has no empty values."""
    return _encoder.encode(document)


_encoder = msgspec.json.Encoder()


def decode(kind: type[DocumentT], body: bytes) -> DocumentT:
    """Read a request body. Raises MalformedDocument."""
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise MalformedDocument("exceeded max depth") from None
    except UnicodeDecodeError:
        raise MalformedDocument("invalid UTF-8 in string literal") from None
    except msgspec.DecodeError as error:
        is_cut_off = "truncated" in str(error)
        raise MalformedDocument("unexpected end of JSON input" if is_cut_off else str(error)) from None
    if value is None:  # Go reads null into anything, and changes nothing
        return kind()
    if type(value) is not dict:
        raise MalformedDocument(
            f"json: cannot unmarshal {_go_kind(value)} into Go value of type discovery.{kind.__name__}"
        )
    record: DocumentT = _reader(kind)(value, None)
    return record


_Place = tuple[str, str, Any] | None
"""Where in a document a value stands: the type and the name of the member, and where that type stands. Put into words
only when it is told; a batch of a thousand has three thousand places.
"""

_Reader = Callable[[Any, _Place], Any]


def _reader(kind: Any) -> _Reader:
    """The function that reads values of a type; made once for each."""
    reader = _readers.get(kind)
    if reader is None:
        reader = _readers[kind] = _make_reader(kind)
    return reader


_readers: dict[Any, _Reader] = {}


def _make_reader(kind: Any) -> _Reader:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):  # X | None: None is the member that is not there
        return _reader(arguments[0])
    if origin is tuple:
        return _list_reader(arguments[0])
    if origin is dict:
        return _read_texts
    if isinstance(kind, type) and issubclass(kind, Document):
        return _document_reader(kind)
    return {str: _read_text, int: _read_number, bool: _read_truth}[kind]


def _document_reader(kind: type[Document]) -> _Reader:
    owner = kind.__name__
    fields = {
        field.encode_name.lower(): (field.name, field.encode_name, _reader(field.type))
        for field in msgspec.structs.fields(kind)
    }

    def read(value: Any, place: _Place) -> Document:
        if type(value) is not dict:
            raise _misfit(value, place, f"discovery.{owner}")
        members = {}
        for stated, member in value.items():
            field = fields.get(stated.lower())
            if field is not None and member is not None:
                name, spelt, reader = field
                members[name] = reader(member, (owner, spelt, place))
        return kind(**members)

    return read


def _list_reader(kind: Any) -> _Reader:
    reader = _reader(kind)
    empty = kind() if isinstance(kind, type) else ""
    named = "string" if kind is str else f"*discovery.{getattr(kind, '__name__', kind)}"

    def read(value: Any, place: _Place) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _misfit(value, place, f"[]{named}")
        if len(value) > _MOST_ITEMS:
            raise MalformedDocument(f"{_path(place)}: more than {_MOST_ITEMS} items")
        return tuple(empty if item is None else reader(item, place) for item in value)

    return read


def _read_texts(value: Any, place: _Place) -> dict[str, str]:
    if type(value) is not dict:
        raise _misfit(value, place, "map[string]string")
    return {name: "" if member is None else _read_text(member, place) for name, member in value.items()}


def _read_text(value: Any, place: _Place) -> str:
    if type(value) is not str:
        raise _misfit(value, place, "string")
    return value


def _read_number(value: Any, place: _Place) -> int:
    if type(value) is not int or abs(value) > _MAX_INT32:
        raise _misfit(value, place, "int32")
    return value


def _read_truth(value: Any, place: _Place) -> bool:
    if type(value) is not bool:
        raise _misfit(value, place, "bool")
    return value


def _misfit(value: Any, place: _Place, wanted: str) -> MalformedDocument:
    """As Go's decoder tells it: the innermost type, then the whole path."""
    owner = place[0] if place is not None else ""
    return MalformedDocument(
        f"json: cannot unmarshal {_go_kind(value)} into Go struct field {owner}.{_path(place)} of type {wanted}"
    )


def _path(place: _Place) -> str:
    names = []
    while place is not None:
        _, name, place = place
        names.append(name)
    return ".".join(reversed(names))


def _go_kind(value: Any) -> str:
    return {bool: "bool", str: "string", list: "array", dict: "object"}.get(type(value), "number")


def _code(kind: type[FacadeError]) -> Code:
    """The code for an error that the core raises, or for the nearest of its bases."""
    return next((_CODES[base] for base in kind.__mro__ if base in _CODES), Code.INTERNAL)
