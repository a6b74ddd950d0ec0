"""What is registered, by every key that somebody asks by. The registry fills it, commit by commit; all others only
read.

Instances are reached by flat name (`in_application`), by microservice (`in_service`) and by their key; microservices by
id, by qualified name and by alias. Revisions tell when the answer to such a question last changed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Sequence
from functools import lru_cache
from typing import TypeVar

from facade.registry.leases import Lease
from facade.registry.model import (
    Account,
    AccountName,
    ConsumerId,
    Dependencies,
    FaceId,
    FaceInUse,
    GovernancePolicy,
    Instance,
    InstanceKey,
    Microservice,
    Origin,
    PolicyId,
    Record,
    RecordKey,
    Revision,
    Role,
    RoleName,
    Schema,
    SchemaId,
    ServiceId,
    ServiceKey,
    ServiceName,
    SigningKey,
    SigningKeyName,
    Space,
    Tenant,
)

ApplicationKey = tuple[Space, str]

_Group = TypeVar("_Group", bound=Hashable)
_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Catalogue:
    def __init__(self) -> None:
        self.leases: dict[InstanceKey, Lease] = {}
        """Held and dropped by the registry; a lease carries the instance as it is shown."""
        self.revision: Revision = 0
        """Of the last visible change."""
        self.meanings = 0
        """Counts whatever may let a name mean something else: services, aliases, faces, and applications as such."""
        self.accounts: dict[str, Account] = {}
        self.roles: dict[str, Role] = {}
        self.signing_key: SigningKey | None = None
        self.access_changes = 0
        """Counts changes of these three: what was decided by them before one of them is to be decided anew."""
        self.is_settled = True
        """False between two writes of one commit: what is seen then has its revision, and not yet all that it shows."""
        self._counts: Counter[Origin] = Counter()
        self._tenant_counts: Counter[tuple[Origin, str, str]] = Counter()
        self._applications: dict[Space, dict[str, dict[InstanceKey, Instance]]] = defaultdict(dict)
        self._application_revisions: dict[ApplicationKey, Revision] = {}
        self._service_instances: dict[ServiceId, dict[InstanceKey, Instance]] = {}
        self._portable: dict[tuple[Space, str], InstanceKey] = {}
        self._services: dict[Tenant, dict[ServiceId, Microservice]] = defaultdict(dict)
        self._versions: dict[ServiceName, dict[ServiceKey, Microservice]] = {}
        self._aliases: dict[ServiceName, dict[ServiceKey, Microservice]] = {}
        self._service_revisions: dict[ServiceName, Revision] = {}
        self._schemas: dict[ServiceId, dict[str, Schema]] = {}
        self._dependencies: dict[ServiceId, Dependencies] = {}
        self._consumers: dict[ServiceName, dict[ServiceId, None]] = {}
        self._wanted: dict[tuple[Tenant, str], dict[ServiceName, None]] = {}
        self._natural: dict[tuple[Space, str], str] = {}
        self._natural_names: dict[ApplicationKey, set[str]] = defaultdict(set)
        self._faces: dict[ServiceName, FaceInUse] = {}
        self._policies: dict[Tenant, dict[PolicyId, GovernancePolicy]] = {}
        self._implied: dict[ServiceId, ServiceKey] = {}
        self._application_faces: dict[ApplicationKey, dict[ServiceName, FaceInUse]] = {}

    # Instances

    def __len__(self) -> int:
        return len(self.leases)

    def count(self, origin: Origin, tenant: Tenant | None = None) -> int:
        """Instances of one origin: all, or those of a tenant."""
        return self._counts[origin] if tenant is None else self._tenant_counts[origin, *tenant]

    def lease(self, key: InstanceKey) -> Lease | None:
        return self.leases.get(key)

    def instance(self, key: InstanceKey) -> Instance | None:
        lease = self.leases.get(key)
        return lease.instance if lease is not None else None

    def spaces(self) -> Collection[Space]:
        return [space for space, applications in self._applications.items() if applications]

    def tenants(self) -> set[Tenant]:
        """Those that hold an instance or a microservice."""
        with_services = {tenant for tenant, services in self._services.items() if services}
        return with_services | {space.tenant for space in self.spaces()}

    def applications(self, space: Space) -> Collection[str]:
        """Flat names with at least one instance, in the order in which they appeared."""
        return self._applications.get(space, {}).keys()

    def in_application(self, space: Space, application: str) -> Collection[Instance]:
        """All that is listed under a flat name, by whichever protocol it came."""
        return self._applications.get(space, {}).get(application, {}).values()

    def application_revision(self, space: Space, application: str) -> Revision:
        """Of the last visible change under this flat name; 0 when there was none."""
        return self._application_revisions.get((space, application), 0)

    def in_service(self, service: ServiceId) -> Collection[Instance]:
        """The instances that were registered for this very microservice."""
        return self._service_instances.get(service, {}).values()

    def portable(self, space: Space, portable_id: str) -> Instance | None:
        """An instance with a flat name, by the id that readers of qualified names see."""
        key = self._portable.get((space, portable_id))
        return self.instance(key) if key is not None else None

    def application_named(self, space: Space, natural_name: str) -> str | None:
        """The flat name of the application that goes by this natural name there, in any case of letters."""
        return self._natural.get((space, natural_name.lower()))

    # Microservices and what hangs on them

    def service(self, service: ServiceId) -> Microservice | None:
        return self._services.get(service.tenant, {}).get(service)

    def services(self, tenant: Tenant) -> Collection[Microservice]:
        return self._services.get(tenant, {}).values()

    def service_at(self, key: ServiceKey) -> Microservice | None:
        return self._versions.get(key.unversioned, {}).get(key)

    def versions(self, name: ServiceName) -> Collection[Microservice]:
        return self._versions.get(name, {}).values()

    def aliased(self, alias: ServiceName) -> Collection[Microservice]:
        """Microservices whose alias is the name given."""
        return self._aliases.get(alias, {}).values()

    def service_revision(self, name: ServiceName) -> Revision:
        """Of the last visible change of a microservice of this name or of an instance of one; 0 when there was none."""
        return self._service_revisions.get(name, 0)

    def schema(self, schema: SchemaId) -> Schema | None:
        return self._schemas.get(schema.service, {}).get(schema.schema_id)

    def schemas_of(self, service: ServiceId) -> Collection[Schema]:
        return self._schemas.get(service, {}).values()

    @property
    def schema_count(self) -> int:
        return sum(map(len, self._schemas.values()))

    def dependencies(self, consumer: ServiceId) -> Dependencies | None:
        return self._dependencies.get(consumer)

    def consumers(self, provider: ServiceName) -> Collection[ServiceId]:
        return self._consumers.get(provider, {}).keys()

    def relied_on(self) -> Collection[ServiceName]:
        """Every qualified name that some consumer depends on."""
        return tuple(self._consumers)

    def wanted(self, tenant: Tenant, natural_name: str) -> Collection[ServiceName]:
        """Qualified names that consumers depend on and that end in this natural name, in any case of letters."""
        return self._wanted.get((tenant, natural_name.lower()), {}).keys()

    def face_in_use(self, name: ServiceName) -> FaceInUse | None:
        return self._faces.get(name)

    def faces_in_use(self, space: Space, application: str) -> Collection[FaceInUse]:
        return self._application_faces.get((space, application), {}).values()

    def implied(self, service: ServiceId) -> ServiceKey | None:
        """The native face, or the face in use, that has this id though no microservice was registered with it."""
        return self._implied.get(service)

    def policies(self, tenant: Tenant) -> Sequence[GovernancePolicy]:
        return tuple(self._policies.get(tenant, {}).values())

    def find(self, key: RecordKey) -> Record | None:
        """Any record by its key."""
        match key:
            case InstanceKey():
                return self.instance(key)
            case ServiceId():
                return self.service(key)
            case SchemaId():
                return self.schema(key)
            case ConsumerId():
                return self.dependencies(key.consumer)
            case FaceId():
                return self.face_in_use(key.name)
            case PolicyId():
                return self._policies.get(key.tenant, {}).get(key)
            case AccountName():
                return self.accounts.get(key.account)
            case RoleName():
                return self.roles.get(key.role)
            case SigningKeyName():
                return self.signing_key

    def record_keys(self) -> list[RecordKey]:
        """Of all records, in an order in which they can be written: what others need comes first."""
        services = [key for services in self._services.values() for key in services]
        schemas = [record.key for by_id in self._schemas.values() for record in by_id.values()]
        dependencies = [ConsumerId(consumer) for consumer in self._dependencies]
        faces = [FaceId(name) for name in self._faces]
        policies = [key for policies in self._policies.values() for key in policies]
        roles = [record.key for record in self.roles.values()]
        accounts = [record.key for record in self.accounts.values()]
        signing = [self.signing_key.key] if self.signing_key is not None else []
        return [*signing, *roles, *accounts, *policies, *services, *schemas, *dependencies, *faces, *self.leases]

    # The registry's side

    def show(self, record: Record, before: Record | None, revision: Revision) -> None:
        """Make a record visible under all its keys, in place of what was there."""
        self.revision = revision
        if before is not None and not _is_same_place(before, record):
            self._unindex(before)
            self._note(before, revision)
            before = None
        if before is None:
            self._index(record)
        if isinstance(record, Instance):
            self._place(record, revision)
        else:
            self._note(record, revision)

    def hide(self, record: Record, revision: Revision) -> None:
        """Take a record out of every index. The caller has looked it up by its key."""
        self.revision = revision
        self._unindex(record)
        self._note(record, revision)

    def _index(self, record: Record) -> None:
        if isinstance(record, (Microservice, FaceInUse)):
            self.meanings += 1
        match record:
            case Instance(key=key):
                self._counts[key.origin] += 1
                self._tenant_counts[key.origin, key.space.domain, key.space.project] += 1
                if key.origin is Origin.EUREKA:
                    self._portable[key.space, record.portable_id] = key
                    self._name(key.space, record.application, record.service.name.lower())
                    self._implied[_implied_id(record.service)] = record.service
            case Microservice(key=key, name=name):
                self._services[key.tenant][key] = record
                self._versions.setdefault(name.unversioned, {})[name] = record
                if record.alias:
                    self._aliases.setdefault(_alias_of(record), {})[name] = record
            case Schema(key=key):
                self._schemas.setdefault(key.service, {})[key.schema_id] = record
            case Dependencies(key=key):
                self._dependencies[key.consumer] = record
                for provider in record.providers:
                    self._consumers.setdefault(provider, {})[key.consumer] = None
                    self._wanted.setdefault((provider.tenant, provider.name.lower()), {})[provider] = None
            case FaceInUse(key=key):
                self._faces[key.name] = record
                application = (record.application_space, record.application)
                self._application_faces.setdefault(application, {})[key.name] = record
                shown = key.name.version(record.version)
                self._implied[_implied_id(shown)] = shown
            case GovernancePolicy(key=key):
                self._policies.setdefault(key.tenant, {})[key] = record
            case Account(key=key):
                self.accounts[key.account] = record
                self.access_changes += 1
            case Role(key=key):
                self.roles[key.role] = record
                self.access_changes += 1
            case SigningKey():
                self.signing_key = record
                self.access_changes += 1

    def _name(self, space: Space, application: str, natural_name: str) -> None:
        if self._natural.get((space, natural_name)) != application:
            self._natural[space, natural_name] = application
            self._natural_names[space, application].add(natural_name)
            self.meanings += 1

    def _unname(self, space: Space, application: str) -> None:
        for natural_name in self._natural_names.pop((space, application), ()):
            if self._natural.get((space, natural_name)) == application:
                del self._natural[space, natural_name]
        self.meanings += 1

    def _place(self, instance: Instance, revision: Revision) -> None:
        """List an instance under its names, and note that what is listed there has changed."""
        key, space, application = instance.key, instance.service.space, instance.application
        applications = self._applications[space]
        if application not in applications:
            applications[application] = {}
        applications[application][key] = instance
        self._application_revisions[space, application] = revision
        if key.origin is Origin.SERVICECENTER:
            self._service_instances.setdefault(ServiceId(key.space.tenant, key.group), {})[key] = instance
            self._note_name(instance.service.unversioned, revision)

    def _unindex(self, record: Record) -> None:
        if isinstance(record, (Microservice, FaceInUse)):
            self.meanings += 1
        match record:
            case Instance(key=key):
                self._counts[key.origin] -= 1
                place = key.origin, key.space.domain, key.space.project
                self._tenant_counts[place] -= 1
                if not self._tenant_counts[place]:
                    del self._tenant_counts[place]
                _discard(self._applications[record.service.space], record.application, key)
                if key.origin is Origin.SERVICECENTER:
                    _discard(self._service_instances, ServiceId(key.space.tenant, key.group), key)
                else:
                    self._portable.pop((key.space, record.portable_id), None)
                    if not self.in_application(key.space, record.application):
                        self._implied.pop(_implied_id(record.service), None)
                if not self.in_application(record.service.space, record.application):
                    self._unname(record.service.space, record.application)
            case Microservice(key=key, name=name):
                del self._services[key.tenant][key]
                _discard(self._versions, name.unversioned, name)
                if record.alias:
                    _discard(self._aliases, _alias_of(record), name)
            case Schema(key=key):
                _discard(self._schemas, key.service, key.schema_id)
            case Dependencies(key=key):
                del self._dependencies[key.consumer]
                for provider in record.providers:
                    _discard(self._consumers, provider, key.consumer)
                    if provider not in self._consumers:
                        _discard(self._wanted, (provider.tenant, provider.name.lower()), provider)
            case FaceInUse(key=key):
                del self._faces[key.name]
                _discard(self._application_faces, (record.application_space, record.application), key.name)
                self._implied.pop(_implied_id(key.name.version(record.version)), None)
            case GovernancePolicy(key=key):
                _discard(self._policies, key.tenant, key)
            case Account(key=key):
                del self.accounts[key.account]
                self.access_changes += 1
            case Role(key=key):
                del self.roles[key.role]
                self.access_changes += 1
            case SigningKey():
                self.signing_key = None
                self.access_changes += 1

    def _note(self, record: Record, revision: Revision) -> None:
        """Note when the answers that the record is part of last changed.

        Names that mean nothing any more are forgotten, or every name ever heard would stay; a name that a consumer
        relies on is not, for its next revision must differ from all before.
        """
        match record:
            case Instance(key=key):
                application = (record.service.space, record.application)
                self._application_revisions[application] = revision
                if not self.in_application(*application) and application not in self._application_faces:
                    del self._application_revisions[application]
                if key.origin is Origin.SERVICECENTER:
                    self._note_name(record.service.unversioned, revision)
            case Microservice(name=name):
                self._note_name(name.unversioned, revision)
            case FaceInUse(key=key):
                self._note_name(key.name, revision)

    def _note_name(self, name: ServiceName, revision: Revision) -> None:
        self._service_revisions[name] = revision
        if name not in self._versions and name not in self._faces:
            del self._service_revisions[name]


def _is_same_place(one: Record, other: Record) -> bool:
    """Whether the two stand under the same keys, so that one can take the other's place in the order."""
    return (
        isinstance(one, Instance)
        and isinstance(other, Instance)
        and (one.application, one.service, one.portable_id) == (other.application, other.service, other.portable_id)
    )


def _alias_of(service: Microservice) -> ServiceName:
    return service.name.unversioned._replace(name=service.alias)


@lru_cache(maxsize=10_000)  # a digest is 2 µs, and a start over Redis reads instances of all applications in no order
def _implied_id(key: ServiceKey) -> ServiceId:
    return ServiceId(key.tenant, key.derived_id)


def _discard(groups: dict[_Group, dict[_Key, _Value]], group: _Group, key: _Key) -> None:
    """Drop one entry of a group, and the group with its last."""
    members = groups.get(group)
    if members is None:
        return
    members.pop(key, None)
    if not members:
        del groups[group]
