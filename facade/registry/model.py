"""The records of the registry. Frozen, so they can be shared between tasks and compared; no I/O.

An instance is one record, whichever protocol it came by. It carries two names: `application`, the flat name that
readers of one name space know (Eureka), and `service`, the qualified name that readers with apps, environments and
versions know (ServiceCenter). What its own protocol says beyond these fields travels in `native`, which only that
protocol's room reads.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Literal, NamedTuple

import msgspec

Revision = int
"""The number of a visible change. Grows by at least one with each and is never reused within an epoch."""


class Origin(StrEnum):
    """The protocol by which a record came to us."""

    EUREKA = "eureka"
    SERVICECENTER = "servicecenter"

    __hash__ = str.__hash__  # Enum's own is Python, and every look-up of an instance would call it


class Status(StrEnum):
    """Whether an instance wants traffic. Separate from its lease: a renewal never changes it."""

    UP = "UP"
    DOWN = "DOWN"
    STARTING = "STARTING"
    OUT_OF_SERVICE = "OUT_OF_SERVICE"
    TESTING = "TESTING"
    UNKNOWN = "UNKNOWN"

    __hash__ = str.__hash__


class Tenant(NamedTuple):
    """The two upper name-space levels. Names below them never meet."""

    domain: str = "default"
    project: str = "default"


class Space(NamedTuple):
    """Where flat names live: one Eureka front, one environment of one tenant ("" is the unnamed environment)."""

    domain: str = "default"
    project: str = "default"
    environment: str = ""

    @property
    def tenant(self) -> Tenant:
        return Tenant(self.domain, self.project)


class ServiceName(NamedTuple):
    """A qualified name without its version: what a consumer asks for."""

    domain: str
    project: str
    environment: str
    app: str
    name: str

    @property
    def space(self) -> Space:
        return Space(self.domain, self.project, self.environment)

    @property
    def tenant(self) -> Tenant:
        return Tenant(self.domain, self.project)

    def version(self, version: str) -> ServiceKey:
        return ServiceKey(*self, version)


class ServiceKey(NamedTuple):
    """A qualified name with its version: what a microservice is registered under."""

    domain: str
    project: str
    environment: str
    app: str
    name: str
    version: str

    @property
    def unversioned(self) -> ServiceName:
        return ServiceName(*self[:5])

    @property
    def space(self) -> Space:
        return Space(self.domain, self.project, self.environment)

    @property
    def tenant(self) -> Tenant:
        return Tenant(self.domain, self.project)

    @property
    def derived_id(self) -> str:
        """The serviceId that every stock ServiceCenter gives to this key: 40 hex digits, the same on every node.

        Source: servicecomb-service-center, server/plugin/uuid/context; the vectors in tests/registry/test_model.py.
        """
        return hashlib.sha1("/".join(("/cse-sr/ms/indexes", *self)).encode(), usedforsecurity=False).hexdigest()


class InstanceKey(NamedTuple):
    """Who an instance is. `group` is its Eureka application (upper case) or its ServiceCenter serviceId."""

    origin: Origin
    space: Space
    group: str
    instance_id: str


class LeaseTerms(NamedTuple):
    """How long an instance is listed without a renewal, in milliseconds."""

    interval_ms: int
    """How often the owner says that it will renew."""
    first_ms: int
    """From registration to the first renewal."""
    renewed_ms: int
    """From one renewal to the next."""


class DataCentre(NamedTuple):
    name: str
    region: str
    zone: str


class Instance(msgspec.Struct, frozen=True, kw_only=True, tag="instance"):
    """A running copy of an application, as last registered, with what operators said of it since."""

    key: InstanceKey
    application: str
    """Flat name, upper case: what Eureka readers list it under."""
    service: ServiceKey
    """Qualified name: what ServiceCenter readers find it under."""
    portable_id: str
    """The id that ServiceCenter readers see: at most 64 of [A-Za-z0-9_.-]. Its own id when born there."""
    host: str
    """Host name as registered; not always what consumers connect to."""
    endpoints: tuple[str, ...] = ()
    """Where it listens, as URLs in ServiceCenter's notation: rest://10.0.0.1:8080?sslEnabled=true. Order is kept."""
    metadata: dict[str, str] = {}
    data_centre: DataCentre | None = None
    status: Status = Status.UP
    """What readers see: decided by rules.shown_status from the two fields below and the state before."""
    reported: Status = Status.UP
    """What the owner last said of itself."""
    override: Status | None = None
    """What an operator said of it, in either protocol. One for both."""
    lease: LeaseTerms
    dirty_ms: int = 0
    """The owner's own clock when it last changed its data; 0 where the protocol has no such thing."""
    registered_ms: int = 0
    """Server wall clock of the registration that created the record."""
    updated_ms: int = 0
    """Server wall clock of the last visible change."""
    source_address: str = ""
    """The address that the registration came from."""
    native: bytes = b""
    """What its own protocol's document says beyond the fields above; read by that protocol's room alone."""


class ServiceId(NamedTuple):
    """Who a microservice is: the id is unique within its tenant."""

    tenant: Tenant
    service_id: str


class Microservice(msgspec.Struct, frozen=True, kw_only=True, tag="microservice"):
    """One version of an application as a ServiceCenter client registered it."""

    key: ServiceId
    name: ServiceKey
    alias: str = ""
    properties: dict[str, str] = {}
    tags: dict[str, str] = {}
    schemas: tuple[str, ...] = ()
    """Declared schema ids; contents are records of their own and may be missing."""
    registered_ms: int = 0
    updated_ms: int = 0
    native: bytes = b""
    """The rest of its document (description, level, framework, paths …); read by its protocol's room alone."""


class SchemaId(NamedTuple):
    service: ServiceId
    schema_id: str


class Schema(msgspec.Struct, frozen=True, kw_only=True, tag="schema"):
    """The content of one schema. `summary` is whatever digest the client computed."""

    key: SchemaId
    text: str
    summary: str = ""


class ConsumerId(NamedTuple):
    """The key of a consumer's dependencies: the consumer's serviceId."""

    consumer: ServiceId


class Dependencies(msgspec.Struct, frozen=True, kw_only=True, tag="dependencies"):
    """Whom a consumer has asked for: it hears of their changes on its watch. Outlives its providers."""

    key: ConsumerId
    providers: tuple[ServiceName, ...]


class FaceId(NamedTuple):
    """The key of a face in use: the qualified name under which a consumer asked for a flat-named application."""

    name: ServiceName


class FaceInUse(msgspec.Struct, frozen=True, kw_only=True, tag="face"):
    """A qualified name by which somebody has found an application that was registered under a flat name.

    Recorded only while no microservice of that name exists, and kept: its id can still be asked for later, and
    consumers who rely on it must not lose its instances when a microservice of that very name is registered.
    """

    key: FaceId
    application_space: Space
    application: str
    version: str
    """The version under which its instances are shown."""


class PolicyId(NamedTuple):
    """The key of a governance policy."""

    tenant: Tenant
    kind: str
    policy_id: str


class GovernancePolicy(msgspec.Struct, frozen=True, kw_only=True, tag="policy"):
    """How clients are to treat some requests: we keep it for them, and act on none of it."""

    key: PolicyId
    name: str
    selector: dict[str, str] = {}
    """Labels of those whom it is for: app, environment."""
    spec: bytes
    """JSON; what it holds depends on the kind."""
    status: str
    created_ms: int
    updated_ms: int

    @property
    def kind(self) -> str:
        return self.key.kind


class AccountName(NamedTuple):
    """The key of an account. `kind` keeps it apart from a role of that name: keys are compared, and kept, as tuples."""

    account: str
    kind: Literal["account"] = "account"


class Account(msgspec.Struct, frozen=True, kw_only=True, tag="account"):
    """Who may use this server, in either protocol, and by which roles."""

    key: AccountName
    id: str
    password_hash: str
    """Of argon2, with its own salt and cost."""
    roles: tuple[str, ...]
    is_active: bool = True
    created_s: int = 0
    updated_s: int = 0


class Resource(msgspec.Struct, frozen=True):
    """A kind of thing, bound to those that carry these labels when there are any."""

    type: str = ""
    labels: dict[str, str] = {}


class Permission(msgspec.Struct, frozen=True):
    resources: tuple[Resource, ...] = ()
    verbs: tuple[str, ...] = ()


class RoleName(NamedTuple):
    """The key of a role."""

    role: str
    kind: Literal["role"] = "role"


class Role(msgspec.Struct, frozen=True, kw_only=True, tag="role"):
    """What those who have it may do."""

    key: RoleName
    id: str
    perms: tuple[Permission, ...] = ()
    created_s: int = 0
    updated_s: int = 0


class SigningKeyName(NamedTuple):
    """The key of the one record of its kind; `kind` as with accounts."""

    signs: Literal["tokens"] = "tokens"
    kind: Literal["signing-key"] = "signing-key"


class SigningKey(msgspec.Struct, frozen=True, kw_only=True, tag="signing-key"):
    """What signs the tokens of every node of this store. A secret: it is shown, told and copied nowhere else."""

    key: SigningKeyName = SigningKeyName()
    pem: str
    """An RSA private key (PKCS#1)."""
    made_s: int = 0

    def __repr__(self) -> str:
        """For logs and tracebacks."""
        return f"SigningKey(pem=***, made_s={self.made_s})"


Record = Instance | Microservice | Schema | Dependencies | FaceInUse | GovernancePolicy | Account | Role | SigningKey
RecordKey = (
    InstanceKey | ServiceId | SchemaId | ConsumerId | FaceId | PolicyId | AccountName | RoleName | SigningKeyName
)


class Cause(StrEnum):
    """Why a record changed."""

    REGISTERED = "registered"
    AMENDED = "amended"
    CANCELLED = "cancelled"
    LAPSED = "lapsed"
    GONE = "gone"
    """The registry behind us no longer has it: cancelled or lapsed there, or lost."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One visible change of one record: `before` is None for a new one, `after` is None for one that is gone."""

    revision: Revision
    at_ms: int
    cause: Cause
    before: Record | None
    after: Record | None
    is_replicated: bool = False
    """Told by a peer, who has told all others."""

    @property
    def record(self) -> Record:
        """The record as it is now, or as it last was."""
        latest = self.after if self.after is not None else self.before
        assert latest is not None, "a change is of a record"
        return latest
