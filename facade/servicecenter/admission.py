"""Who is let in on which route, and how far: what the front asks of access control, by the headers of a request.

Without access control everybody is, and may do everything.
"""

from __future__ import annotations

from starlette.types import Scope

from facade.access.control import AccessControl, Visitor, refuse_foreign_page, require_all
from facade.access.refusals import NotPermitted
from facade.access.rules import EVERYTHING, OPEN, SCHEMA, SERVICE, WITH_LABELS, Grant, Labels, Needs
from facade.registry.model import ServiceId, Tenant
from facade.servicecenter.directory import Directory
from facade.servicecenter.exchange import header, peer
from facade.servicecenter.watch import MaySee


class Admission:
    def __init__(self, access: AccessControl | None, directory: Directory) -> None:
        self._access = access
        self._directory = directory

    async def admit(
        self, scope: Scope, needs: Needs | None, tenant: Tenant, ids: tuple[str, ...]
    ) -> tuple[Visitor | None, Grant]:
        """Who asks, and what that one may do on this route. Raises AccessRefused, also for a route without an entry.

        A service that the path names has to be within its reach; what else a call names, its handler looks at.
        """
        if self._access is None or needs == OPEN:
            return None, EVERYTHING
        visitor = await self._access.identify(header(scope, b"authorization"), peer(scope))
        return visitor, self._grant(self._access, visitor, scope, needs, tenant, ids)

    def recall(self, scope: Scope, needs: Needs | None, tenant: Tenant, ids: tuple[str, ...]) -> Grant | None:
        """The same without waiting; None: it takes the long way. Raises AccessRefused."""
        if self._access is None or needs == OPEN:
            return EVERYTHING
        recalled = self._access.recall(header(scope, b"authorization"))
        if recalled is None:
            return None
        return self._grant(self._access, recalled.visitor, scope, needs, tenant, ids)

    def may_see(self, visitor: Visitor | None) -> MaySee | None:
        """What somebody may see of events to come, by the permissions of then."""
        if self._access is None or visitor is None:
            return None
        grant = self._access.grant
        return lambda name: grant(visitor, SERVICE, "GET").fits(Labels.of(name))

    def lasts_s(self, visitor: Visitor | None, scope: Scope) -> float | None:
        """How long what was admitted by these headers may go on; None: without end. Raises AccessRefused."""
        if self._access is None or visitor is None:
            return None
        return self._access.lasts_s(header(scope, b"authorization"))

    def reach_of_schemas(self, visitor: Visitor | None) -> Grant | None:
        """Of which services somebody may read schemas; None: of none."""
        if self._access is None or visitor is None:
            return EVERYTHING
        try:
            return self._access.grant(visitor, SCHEMA, "GET")
        except NotPermitted:
            return None

    def check_again(self, visitor: Visitor | None, needs: Needs, scope: Scope) -> Grant:
        """For what goes on after the request: its account may be gone by now, or its token at an end. Raises
        AccessRefused."""
        if self._access is None or visitor is None:
            return EVERYTHING
        self.lasts_s(visitor, scope)
        return self._access.grant(visitor, needs, "")

    def _grant(
        self,
        access: AccessControl,
        visitor: Visitor,
        scope: Scope,
        needs: Needs | None,
        tenant: Tenant,
        ids: tuple[str, ...],
    ) -> Grant:
        if needs is None:
            raise NotPermitted("this route is open to nobody")
        method = scope.get("method", "GET")  # a handshake has none
        # What it is told by GET a foreign page cannot read, but by a socket it can.
        asked = method if scope["type"] == "http" else "CONNECT"
        refuse_foreign_page(visitor, asked, header(scope, b"sec-fetch-site"))
        grant = access.grant(visitor, needs, method)
        if grant.is_limited and needs.resource not in WITH_LABELS:
            require_all(grant)
        elif ids:
            self._directory.require(grant, ServiceId(tenant, ids[0]))
        return grant
