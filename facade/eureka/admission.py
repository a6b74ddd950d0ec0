"""Who is let in on which resource of this front, and how far: what it asks of access control.

Without access control everybody is, and may do everything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import NamedTuple

from facade.access.control import AccessControl, Visitor, refuse_foreign_page, require, require_all
from facade.access.refusals import AccessRefused
from facade.access.rules import EVERYTHING, SERVICE, Grant, Labels, Needs
from facade.eureka.exchange import Answer, Ask
from facade.registry.model import Origin, Space
from facade.registry.registry import Registry
from facade.rendered import Question, Reply

Handler = Callable[..., Awaitable[Answer]]
Methods = dict[str, Handler]


class Reach(Enum):
    """What a resource is about, for those who may not do everything."""

    APPLICATION = auto()
    """The first of its names."""
    EVERY_SERVICE = auto()
    THIS_SERVER = auto()


REPLICATION = (Needs("service", "create"), Needs("service", "update"), Needs("service", "delete"))
"""A peer's batch may do any of these."""


class Resource(NamedTuple):
    """What a path names: its methods, the names in it, and who may use it. No methods: there is no such resource."""

    methods: Methods
    names: list[str]
    reach: Reach
    needs: tuple[Needs, ...] = (SERVICE,)
    """All of them, each with the verb of the method where it states none."""


class Admission:
    def __init__(self, access: AccessControl | None, registry: Registry) -> None:
        self._access = access
        self._registry = registry

    async def admit(self, ask: Ask, resource: Resource, method: str) -> Grant:
        """What the one who asks may do there. Raises AccessRefused."""
        if self._access is None:
            return EVERYTHING
        visitor = await self._access.identify(ask.header(b"authorization") or "", ask.source_address)
        return self._grant(self._access, visitor, ask, resource, method)

    def recall(self, ask: Ask, resource: Resource, method: str, question: Question) -> Question | None:
        """The question, for as long as its asker may ask it; None: it takes the long way. Raises AccessRefused."""
        access = self._access
        if access is None:
            return question
        recalled = access.recall(ask.header(b"authorization") or "")
        if recalled is None:
            return None
        if not self._grant(access, recalled.visitor, ask, resource, method).is_limited:
            return question

        def answer() -> Reply | None:
            try:
                # What is listed under a name decides what labels it takes, and it comes and goes.
                self._grant(access, recalled.visitor, ask, resource, method)
            except AccessRefused:
                return None
            return question()

        return answer

    def _grant(self, access: AccessControl, visitor: Visitor, ask: Ask, resource: Resource, method: str) -> Grant:
        """What a visitor may do there. Raises AccessRefused."""
        refuse_foreign_page(visitor, method, ask.header(b"sec-fetch-site") or "")
        for needs in resource.needs:
            grant = access.grant(visitor, needs, method)
            if resource.reach is Reach.EVERY_SERVICE:
                require_all(grant)
            elif resource.reach is Reach.APPLICATION and grant.is_limited:
                require(grant, *self._labels(ask.space, resource.names[0]))
        return grant

    def _labels(self, space: Space, application: str) -> set[Labels]:
        """All that is listed under a flat name: an application of Eureka, services of ServiceCenter, or both."""
        listed = self._registry.catalogue.in_application(space, application)
        return {Labels.of(one.service) for one in listed if one.key.origin is Origin.SERVICECENTER} | (
            {self.label(space, application)}
            if not listed or any(one.key.origin is Origin.EUREKA for one in listed)
            else set()
        )

    def label(self, space: Space, application: str) -> Labels:
        return Labels(space.environment, self._registry.policy.eureka_app, application.lower())
