"""Where a path leads: the parts of the API, their tenants, and the table of routes as a tree of segments.

Rules: paths are matched decoded, segment by segment: no prefixes, no trailing slash.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from starlette.types import Scope

from facade.access.rules import Needs
from facade.registry.model import Tenant
from facade.servicecenter.exchange import Answer, Ask, header

Handler = Callable[[Ask], Awaitable[Answer]]


class Place(NamedTuple):
    """Where a path leads: one of the two forms of the API, the tenant, and the segments after that.

    What is not below the registry keeps the name of its part in front, with a slash: no segment of a path has one.
    """

    is_v4: bool
    project: str
    rest: tuple[str, ...]


def place_of(path: str) -> Place | None:
    match tuple(path.split("/")):
        case ("", "v4", "token" | "self-perms" | "account-locks" | "accounts" | "roles" as part):
            return Place(True, "default", (f"/{part}",))
        case ("", "v4", "accounts" | "roles" as part, name):
            return Place(True, "default", (f"/{part}", name))
        case ("", "v4", "accounts", name, "password"):
            return Place(True, "default", ("/accounts", name, "password"))
        case ("", "v4", project, "registry", *rest) if project and rest:
            return Place(True, project, tuple(rest))
        case ("", "v4", project, "govern" | "admin" as part, *rest) if project:
            return Place(True, project, (f"/{part}", *rest))
        case ("", "v1", project, "gov", *rest) if project:
            return Place(True, project, ("/gov", *rest))
        case ("", "v1", "syncer", *rest):
            return Place(True, "default", ("/syncer", *rest))
        case ("", "registry", "v3", *rest) if rest:
            return Place(False, "default", tuple(rest))
        case ("", "openapi", name):
            return Place(True, "default", ("/openapi", name))
        case ("", "health" | "version" as name):
            return Place(True, "default", (name,))
    return None


def tenant_of(scope: Scope, place: Place) -> Tenant:
    domain = header(scope, b"x-domain-name")
    if not scope["path"].startswith(("/v4/", "/v1/")):
        domain = header(scope, b"x-tenant-name") or domain
    return Tenant(domain or "default", place.project)


class Branch:
    """One segment of the table of routes."""

    def __init__(self) -> None:
        self.methods: dict[str, Handler] = {}
        self.needs: dict[str, Needs] = {}
        self.v4_only: set[str] = set()
        self.branches: dict[str, Branch] = {}

    def at(self, segments: tuple[str, ...]) -> Branch:
        """The branch for a pattern, grown as needed."""
        branch = self
        for segment in segments:
            branch = branch.branches.setdefault(segment, Branch())
        return branch

    def find(self, place: Place | None) -> tuple[Branch | None, tuple[str, ...]]:
        """The branch that a path leads to, and the segments that stand for a `*`."""
        branch: Branch | None = self
        ids = []
        for segment in place.rest if place is not None else ():
            if branch is None:
                break
            inner = branch.branches.get(segment) if segment != "*" else None  # an id may be just that
            if inner is None and segment and (inner := branch.branches.get("*")) is not None:
                ids.append(segment)
            branch = inner
        return branch, tuple(ids)

    def allowed(self, *, is_v4: bool) -> Mapping[str, Handler]:
        if is_v4 or not self.v4_only:
            return self.methods
        return {method: handler for method, handler in self.methods.items() if method not in self.v4_only}


def segments_of(pattern: str) -> tuple[str, ...]:
    """Of a row of the table: below the registry, or with a slash in front below another part of the API."""
    first, *rest = pattern.removeprefix("/").split("/")
    return (f"/{first}" if pattern[0] == "/" else first, *rest)
