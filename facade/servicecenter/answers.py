"""What another ServiceCenter answers: replies to records, and refusals to errors. No I/O.

Members of documents that we do not know pass over, those of the objects around them do not: an object that holds
anything else is none of ServiceCenter's. Whatever the bytes are, reading them ends in a record or in MalformedDocument.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import msgspec

from facade.errors import FacadeError, InstanceNotFound, MalformedDocument, ServiceNotFound, UpstreamRefused
from facade.outbound import Reply
from facade.servicecenter.records import (
    Document,
    Error,
    FindFailedResult,
    HeartbeatSetElement,
    MicroService,
    MicroServiceInstance,
    Schema,
)
from facade.servicecenter.wire import Code

_T = TypeVar("_T")


class Version(Document, frozen=True):
    version: str
    api_version: str


class Found(NamedTuple):
    """What one entry of a batch find holds now; `instances` are read one by one with decode_instance."""

    rev: str
    instances: tuple[msgspec.Raw, ...]


class _Envelope(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    pass


class _Services(_Envelope, frozen=True):
    services: tuple[msgspec.Raw, ...] = ()


class _Service(_Envelope, frozen=True):
    service: MicroService


class _ServiceId(_Envelope, frozen=True):
    service_id: str


class _Detail(msgspec.Struct, frozen=True, rename="camel"):
    micro_service: MicroService
    tags: dict[str, str] = {}


class _Details(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    all_services_detail: tuple[_Detail, ...] = ()
    statistics: msgspec.Raw = msgspec.Raw()


class _Tags(_Envelope, frozen=True):
    tags: dict[str, str] = {}


class _SchemaText(_Envelope, frozen=True):
    schema: str = ""
    schema_summary: str = ""


class _Schemas(_Envelope, frozen=True):
    schemas: tuple[Schema, ...] = ()


class _Instances(_Envelope, frozen=True):
    instances: tuple[MicroServiceInstance, ...] = ()


class _AnyInstances(_Envelope, frozen=True):
    instances: tuple[msgspec.Raw, ...] = ()


class _Instance(_Envelope, frozen=True):
    instance: MicroServiceInstance


class _InstanceId(_Envelope, frozen=True):
    instance_id: str


class _Renewed(_Envelope, frozen=True):
    instances: tuple[HeartbeatSetElement, ...]


class _FoundOne(_Envelope, frozen=True):
    index: int
    rev: str
    instances: tuple[msgspec.Raw, ...] = ()


class _FoundServices(_Envelope, frozen=True):
    failed: tuple[FindFailedResult, ...] = ()
    not_modified: tuple[int, ...] = ()
    updated: tuple[_FoundOne, ...] = ()


class _BatchFound(_Envelope, frozen=True):
    services: _FoundServices


class _Token(_Envelope, frozen=True):
    token: str


class _Claims(msgspec.Struct, frozen=True):
    exp: float


_SERVICE = msgspec.json.Decoder(MicroService)
_INSTANCE = msgspec.json.Decoder(MicroServiceInstance)
_CLAIMS = msgspec.json.Decoder(_Claims)

_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_LONGEST_CODE = 9
"""Digits. The server's have six."""


class Refusal(NamedTuple):
    status: int
    code: int
    text: str

    @property
    def is_of_us(self) -> bool:
        """Whether it is our account or token that is not taken."""
        return self.status == 401 and not self.names_nothing

    @property
    def names_nothing(self) -> bool:
        """To accounts that are no administrators, a serviceId that does not exist is out of scope. Measured: v2.2.0."""
        return self.code == _UNAUTHORIZED and "no valid resouce scope" in self.text  # in the original's spelling


def _reads(kind: type[_T]) -> Callable[[Reply], _T]:
    decoder = msgspec.json.Decoder(kind)

    def read(reply: Reply) -> _T:
        try:
            return decoder.decode(reply.body)
        except _UNREADABLE as error:
            raise MalformedDocument(f"answered {reply.status} with what no ServiceCenter says: {error}") from None

    return read


read_version = _reads(Version)
read_services = _reads(_Services)
read_service = _reads(_Service)
read_service_id = _reads(_ServiceId)
read_tags = _reads(_Tags)
_read_details = _reads(_Details)
read_schema = _reads(_SchemaText)
read_schemas = _reads(_Schemas)
read_instances = _reads(_Instances)
read_any_instances = _reads(_AnyInstances)
read_instance = _reads(_Instance)
read_instance_id = _reads(_InstanceId)
_read_found = _reads(_BatchFound)
_read_renewed = _reads(_Renewed)
_read_token = _reads(_Token)
_read_error = _reads(Error)


def decode_service(raw: bytes) -> MicroService:
    try:
        return _SERVICE.decode(raw)
    except _UNREADABLE as error:
        raise MalformedDocument(f"a service that cannot be read: {error}") from None


def is_no_such_path(reply: Reply) -> bool:
    """A ServiceCenter that knows no such path; the text is that of its router."""
    return reply.status == 404 and reply.body == b"404 page not found\n"


def read_details_if_any(reply: Reply) -> _Details | None:
    return None if is_no_such_path(reply) else _read_details(reply)


def read_nothing(reply: Reply) -> None:
    if reply.body:
        raise MalformedDocument(
            f"answered {reply.status} with {len(reply.body)} bytes where ServiceCenter says nothing"
        )


def reads_found(count: int) -> Callable[[Reply], list[Found | None]]:
    def read(reply: Reply) -> list[Found | None]:
        found = _read_found(reply).services
        answers: dict[int, Found | None] = dict.fromkeys(found.not_modified)
        answers |= {one.index: Found(one.rev, one.instances) for one in found.updated}
        for failure in found.failed:
            if failure.error.error_code not in _NOT_THERE:
                raise MalformedDocument(f"a find failed: {failure.error.error_code} {failure.error.detail}")
            answers |= dict.fromkeys(failure.indexes, Found("", ()))
        if answers.keys() != set(range(count)):
            raise MalformedDocument(f"answered {len(answers)} of {count} finds")
        return [answers[index] for index in range(count)]

    return read


def read_renewed(reply: Reply) -> set[tuple[str, str]]:
    answered = _read_renewed(reply).instances
    return {(one.service_id, one.instance_id) for one in answered if not one.err_message}


def reads_or_refusal(read: Callable[[Reply], _T]) -> Callable[[Reply], _T | Refusal]:
    """Refusals are answers, too: a server that gives them is well."""

    def read_either(reply: Reply) -> _T | Refusal:
        if reply.status == 200 or is_no_such_path(reply):
            return read(reply)
        if 400 <= reply.status < 500:
            error = _read_error(reply)
            if error.error_code.isdecimal() and len(error.error_code) <= _LONGEST_CODE:
                text = ": ".join(filter(None, (error.error_message, error.detail)))
                return Refusal(reply.status, int(error.error_code), f"{error.error_code} {text}")
        raise MalformedDocument(f"answered {reply.status}, as no ServiceCenter does")

    return read_either


_UNAUTHORIZED = 401201
_NO_SERVICE = (Code.SERVICE_NOT_EXISTS, Code.VERSION_NOT_EXISTS, Code.SCHEMA_NOT_EXISTS, Code.TAG_NOT_EXISTS)
_NOT_THERE = (str(int(Code.SERVICE_NOT_EXISTS)), str(int(Code.INSTANCE_NOT_EXISTS)))


def to_error(refusal: Refusal) -> FacadeError:
    if refusal.code in _NO_SERVICE or refusal.names_nothing:
        return ServiceNotFound(refusal.text)
    if refusal.code == Code.INSTANCE_NOT_EXISTS:
        return InstanceNotFound("", refusal.text)
    return UpstreamRefused(refusal.text, refusal.code)


def decode_instance(raw: msgspec.Raw) -> MicroServiceInstance:
    """Raises MalformedDocument."""
    try:
        return _INSTANCE.decode(raw)
    except _UNREADABLE as error:
        raise MalformedDocument(str(error)) from None


def read_token(reply: Reply) -> str | Refusal:
    """A token; "" where the server asks for none (its router knows no such path then)."""
    if is_no_such_path(reply):
        return ""
    answer = reads_or_refusal(_read_token)(reply)
    if isinstance(answer, Refusal):
        return answer
    expiry_s(answer.token)
    return answer.token


def expiry_s(token: str) -> float:
    """When a token ends, epoch seconds. Raises MalformedDocument."""
    try:
        claims = token.split(".")[1]
        return _CLAIMS.decode(urlsafe_b64decode(claims + "=" * (-len(claims) % 4))).exp
    except (IndexError, ValueError, *_UNREADABLE) as error:
        raise MalformedDocument(f"a token that cannot be read: {error}") from None
