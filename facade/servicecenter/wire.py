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

from facade.access import refusals
from facade.access.refusals import AccountRefused, Fault
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
    NOT_ENOUGH_QUOTA = 400100
    ACCOUNT_NOT_EXISTS = 400200
    ROLE_NOT_EXISTS = 400201
    UNKNOWN_ROLES = 400202
    NO_QUOTA_FOR_ACCOUNT = 400203
    NO_QUOTA_FOR_ROLE = 400204
    ROLE_IS_BOUND = 400205
    NEW_PASSWORD_BAD = 400206
    UNAUTHORIZED = 401201
    WRONG_LOGIN = 401202
    NO_AUTHORIZATION = 401204
    TOKEN_EXPIRED = 401205
    ACCOUNT_DELETED = 401206
    WRONG_PASSWORD = 401207
    FORBIDDEN = 403001
    ACCOUNT_BLOCKED = 403201
    BUILT_IN_ACCOUNT = 403202
    BUILT_IN_ROLE = 403203
    OWN_ACCOUNT = 403204
    NO_PERMISSION = 403205
    RECORD_NOT_EXISTS = 404001
    RECORD_EXISTS = 409001
    ACCOUNT_EXISTS = 409200
    ROLE_EXISTS = 409201
    TOO_MANY_LOGINS = 429001
    """Ours: the original hashes all that come."""
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
    Code.NOT_ENOUGH_QUOTA: "Not enough quota",
    Code.ACCOUNT_NOT_EXISTS: "Account not exists",
    Code.ROLE_NOT_EXISTS: "Role not exists",
    Code.UNKNOWN_ROLES: "Account has invalid role(s)",
    Code.NO_QUOTA_FOR_ACCOUNT: "No quota to create account",
    Code.NO_QUOTA_FOR_ROLE: "No quota to create role",
    Code.ROLE_IS_BOUND: "Role is bound to some user(s)",
    Code.NEW_PASSWORD_BAD: "New password is bad",
    Code.UNAUTHORIZED: "Request unauthorized",
    Code.WRONG_LOGIN: "User name or password is wrong",
    Code.NO_AUTHORIZATION: "No authorization header",
    Code.TOKEN_EXPIRED: "Token is expired",
    Code.ACCOUNT_DELETED: "The account that owns the token is deleted",
    Code.WRONG_PASSWORD: "Password is wrong",
    Code.FORBIDDEN: "Forbidden",
    Code.ACCOUNT_BLOCKED: "Account blocked",
    Code.BUILT_IN_ACCOUNT: "Forbid to operate build-in account(s)",
    Code.BUILT_IN_ROLE: "Forbid to operate build-in role(s)",
    Code.OWN_ACCOUNT: "Forbid to operate your own account",
    Code.NO_PERMISSION: "No permission(s)",
    Code.ACCOUNT_EXISTS: "account name is duplicated",
    Code.ROLE_EXISTS: "role name is duplicated",
    Code.TOO_MANY_LOGINS: "Too many logins",
    Code.RECORD_NOT_EXISTS: "record does not exist",
    Code.RECORD_EXISTS: "record already exist",
    Code.INTERNAL: "Internal server error",
    Code.UNAVAILABLE: "Registry service is unavailable",
}

_CODES: dict[type[FacadeError], Code] = {
    MalformedDocument: Code.INVALID_PARAMETERS,
    ServiceNotFound: Code.SERVICE_NOT_EXISTS,
    InstanceNotFound: Code.INSTANCE_NOT_EXISTS,
    StoreUnavailable: Code.UNAVAILABLE,
    refusals.BadCredentials: Code.UNAUTHORIZED,
    refusals.WrongPassword: Code.WRONG_LOGIN,
    refusals.NoCredentials: Code.NO_AUTHORIZATION,
    refusals.TokenExpired: Code.TOKEN_EXPIRED,
    refusals.AccountGone: Code.ACCOUNT_DELETED,
    refusals.LockedOut: Code.ACCOUNT_BLOCKED,
    refusals.NotPermitted: Code.NO_PERMISSION,
    refusals.TooManyLogins: Code.TOO_MANY_LOGINS,
}

_FAULTS = {
    Fault.NO_SUCH_ACCOUNT: Code.ACCOUNT_NOT_EXISTS,
    Fault.NO_SUCH_ROLE: Code.ROLE_NOT_EXISTS,
    Fault.UNKNOWN_ROLES: Code.UNKNOWN_ROLES,
    Fault.TOO_MANY_ACCOUNTS: Code.NO_QUOTA_FOR_ACCOUNT,
    Fault.TOO_MANY_ROLES: Code.NO_QUOTA_FOR_ROLE,
    Fault.ROLE_IN_USE: Code.ROLE_IS_BOUND,
    Fault.BAD_NEW_PASSWORD: Code.NEW_PASSWORD_BAD,
    Fault.WRONG_OLD_PASSWORD: Code.WRONG_PASSWORD,
    Fault.BUILT_IN_ACCOUNT: Code.BUILT_IN_ACCOUNT,
    Fault.BUILT_IN_ROLE: Code.BUILT_IN_ROLE,
    Fault.OWN_ACCOUNT: Code.OWN_ACCOUNT,
    Fault.ACCOUNT_OF_SOMEBODY_ELSE: Code.FORBIDDEN,
    Fault.ACCOUNT_EXISTS: Code.ACCOUNT_EXISTS,
    Fault.ROLE_EXISTS: Code.ROLE_EXISTS,
}
"""Source: go-chassis/cari, rbac/error.go."""


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
        number = error.code or Code.INVALID_PARAMETERS
        status = number // 1000 if 400_000 <= number < 500_000 else 500
        return Refusal(status, Error(error_code=str(int(number)), error_message=str(error)))
    if isinstance(error, AccountRefused):
        code = _FAULTS[error.fault]
    else:
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


def unmarshal(kind: type[DocumentT], body: bytes) -> DocumentT:
    """The same for what is about instances: there the original says nothing but the first two words."""
    try:
        return decode(kind, body)
    except MalformedDocument as error:
        raise MalformedDocument(f"Unmarshal error: {error}") from None


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
        return _read_texts if arguments[1] is str else _read_object
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
        members: dict[str, Any] = {}
        for stated, member in value.items():
            field = fields.get(stated.lower())
            if field is not None and member is not None:
                name, spelt, reader = field
                told, read_now = members.get(name), reader(member, (owner, spelt, place))
                if type(told) is dict:  # twice the same map, in two spellings: Go adds the second to the first
                    told.update(read_now)  # in place: there are a thousand spellings of `properties`
                else:
                    members[name] = read_now
        return kind(**members)

    return read


def _list_reader(kind: Any) -> _Reader:
    reader = _reader(kind)
    named = "string" if kind is str else f"*discovery.{getattr(kind, '__name__', kind)}"

    def read(value: Any, place: _Place) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _misfit(value, place, f"[]{named}")
        if len(value) > _MOST_ITEMS:
            raise MalformedDocument(f"{_path(place)}: more than {_MOST_ITEMS} items")
        if None in value and kind is not str:
            raise MalformedDocument("invalid nil pointer")
        return tuple("" if item is None else reader(item, place) for item in value)

    return read


def _read_texts(value: Any, place: _Place) -> dict[str, str]:
    if type(value) is not dict:
        raise _misfit(value, place, "map[string]string")
    return {name: "" if member is None else _read_text(member, place) for name, member in value.items()}


def _read_object(value: Any, place: _Place) -> dict[str, Any]:
    if type(value) is not dict:
        raise _misfit(value, place, "map[string]interface {}")
    return value


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
