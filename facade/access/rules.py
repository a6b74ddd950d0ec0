"""What a role permits: pure functions of resource, verb and labels. No I/O.

A call needs one verb on one resource (`Needs`). What the roles of an account permit of that is a `Grant`: everything,
or only services that carry certain labels. Whatever no permission names is denied.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from facade.registry.model import Permission, Resource, Role, RoleName, ServiceKey, ServiceName

ADMIN, DEVELOPER = "admin", "developer"
ANY_VERB = "*"
VERBS = frozenset({"get", "create", "update", "delete", ANY_VERB})
RESOURCES = ("account", "config", "role", "service", "governance", "ops", "service/schema")
LABELS = frozenset({"environment", "appId", "serviceName"})
WITH_LABELS = frozenset({"service", "service/schema"})
"""Resources that have labels. A permission for another that is bound to some reaches nothing."""
_VERB_OF = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}


class Needs(NamedTuple):
    """What a route asks of its callers; an entry of each table of routes."""

    resource: str
    verb: str = ""
    """Empty: the one that the method stands for."""

    def verb_of(self, method: str) -> str:
        return self.verb or _VERB_OF.get(method, "")


OPEN = Needs("open")
"""No account is needed."""
ANY_ACCOUNT = Needs("any account")
"""An account, whatever it may do."""
ACCOUNT, ROLE = Needs("account"), Needs("role")
SERVICE, SCHEMA = Needs("service"), Needs("service/schema")
GOVERNANCE, OPS = Needs("governance"), Needs("ops")
FIND_MANY = Needs("service", "get")
"""A question that is too long for a query, so it is a POST."""
ADMINISTER = Needs("account", ANY_VERB)
"""Who may do everything with accounts can give itself any right anyway; nobody else may move all records elsewhere."""
RENEW = Needs("service", "update")
"""A renewal by an open socket begins with a GET."""


class Labels(NamedTuple):
    """What a permission may be bound to; "" is a value like any other."""

    environment: str
    app: str
    name: str

    @classmethod
    def of(cls, name: ServiceName | ServiceKey) -> Labels:
        return cls(name.environment, name.app, name.name)

    def __str__(self) -> str:
        """As the original tells them."""
        return f"[map[appId:{self.app} environment:{self.environment} serviceName:{self.name}]]"


class Grant(NamedTuple):
    """What an account may do with one verb on one resource."""

    resource: str = ""
    verb: str = ""
    bound_to: tuple[Mapping[str, str], ...] | None = None
    """None: to nothing, so everything is permitted. Else the call's labels must fit one of these."""

    @property
    def is_limited(self) -> bool:
        return self.bound_to is not None

    def fits(self, labels: Labels) -> bool:
        """Whether the permission reaches a service. `*` in a label stands for any text, wherever labels count."""
        if self.bound_to is None:
            return True
        values = {"environment": labels.environment, "appId": labels.app, "serviceName": labels.name}
        return any(all(_fits(wanted, values.get(label)) for label, wanted in bound.items()) for bound in self.bound_to)


EVERYTHING = Grant()


def granted(roles: Iterable[Role], resource: str, verb: str) -> Grant | None:
    """What these roles permit together; None when they do not permit it at all."""
    bound_to: list[Mapping[str, str]] = []
    for permission in (permission for role in roles for permission in role.perms):
        if ANY_VERB not in permission.verbs and verb not in permission.verbs:
            continue
        for one in permission.resources:
            if one.type == resource:
                if not one.labels:
                    return Grant(resource, verb)
                bound_to.append(one.labels)
    return Grant(resource, verb, tuple(bound_to)) if bound_to else None


def built_in_roles() -> tuple[Role, ...]:
    """Source: servicecomb-service-center, server/service/rbac/permission.go."""
    below_admin = [one for one in RESOURCES if one not in ("account", "role")]
    return _built_in(ADMIN, RESOURCES), _built_in(DEVELOPER, below_admin)


def fault_of(permissions: Collection[Permission]) -> str:
    """Why a role cannot be as stated; empty when it can. A misspelt resource or verb would permit nothing, silently."""
    for permission in permissions:
        for verb in permission.verbs:
            if verb not in VERBS:
                return f"verb {verb!r} is none of {', '.join(sorted(VERBS))}"
        for resource in permission.resources:
            if resource.type not in RESOURCES:
                return f"resource type {resource.type!r} is none of {', '.join(RESOURCES)}"
            if unknown := resource.labels.keys() - LABELS:
                return f"label {min(unknown)!r} is none of {', '.join(sorted(LABELS))}"
    return ""


def _built_in(name: str, types: Iterable[str]) -> Role:
    permission = Permission(resources=tuple(Resource(type=one) for one in types), verbs=(ANY_VERB,))
    # The same id on every node, as a name would be.
    return Role(key=RoleName(name), id=uuid5(NAMESPACE_URL, f"role:{name}").hex, perms=(permission,))


def _fits(wanted: str, value: str | None) -> bool:
    """By looking for each piece between two stars where it stands first: an expression would try all places of all."""
    if value is None:
        return False
    first, *others = wanted.split("*")
    if not others:
        return value == wanted
    *between, last = others
    at, end = len(first), len(value) - len(last)
    if at > end or not value.startswith(first) or not value.endswith(last):
        return False
    for piece in between:
        at = value.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True
