"""The whole product as one ASGI application, over an open registry, and the short way to its commonest answers.

In:   requests that have passed the doorway, on any port. Out: a front, by the first segment of the path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facade.access.control import AccessControl
from facade.administration import Administration
from facade.config import Address, Settings, shown
from facade.console import reachable
from facade.dashboard.routes import Dashboard
from facade.eureka.peers import Peers
from facade.eureka.records import HearOf, nobody
from facade.eureka.routes import EurekaFront, EurekaOptions
from facade.registry.registry import Registry
from facade.rendered import Lane, Question, Reply
from facade.servicecenter.quotas import Quotas
from facade.servicecenter.routes import ServiceCenterFront, ServiceCenterOptions
from facade.stores.switchboard import Switchboard

EUREKA_PATHS = ("eureka", "t")
SERVICECENTER_PATHS = ("v4", "v1", "registry", "health", "version")
"""First segments of the paths that each front answers."""

DATA_AGE = b"X-Registry-Data-Age"
"""Seconds; only on answers that may be old, because the registry behind us is away or in doubt."""


def application(
    registry: Registry,
    settings: Settings,
    listening: Sequence[Address],
    stopping: asyncio.Event | None = None,
    hear_of: HearOf = nobody,
    peers: Peers | None = None,
    access: AccessControl | None = None,
    switchboard: Switchboard | None = None,
) -> tuple[ASGIApp, Lane]:
    """Both fronts, the pages and the lane, over an open registry.

    `stopping` ends answers that have no end; `hear_of` says who is told what Eureka servers behind us say as our
    peers; without `access` everybody may do everything, and without `switchboard` the store stays what it is.
    """
    eureka = EurekaFront(registry, _eureka_options(settings), hear_of, peers, access)
    servicecenter = ServiceCenterFront(registry, _servicecenter_options(settings, listening), access)
    # What nobody knows is refused in the words of ServiceCenter's router.
    pages = Starlette(
        routes=[
            *Dashboard(
                registry, stopping, peers.health if peers is not None else None, servicecenter.document_of, access
            ).routes(),
            *(Administration(switchboard, access).routes() if switchboard is not None else ()),
            Mount("/", app=servicecenter),
        ]
    )
    pages.router.redirect_slashes = False  # clients of both protocols take a redirect for a failure
    fronts: dict[str, ASGIApp] = dict.fromkeys(EUREKA_PATHS, eureka) | dict.fromkeys(SERVICECENTER_PATHS, servicecenter)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        # By the first segment: a route table costs renewals and polls, which outnumber all else, twice their own work.
        first = scope["path"][1:].partition("/")[0]
        if scope.get("method") != "PUT" and (age_s := registry.data_age_s):  # renewals are never old
            send = _with_age(send, age_s)
        await fronts.get(first, pages)(scope, receive, send)

    questions = dict.fromkeys(EUREKA_PATHS, eureka.question) | dict.fromkeys(
        SERVICECENTER_PATHS, servicecenter.question
    )
    return answer, _Lane(registry, questions, access)


class _Lane:
    """The fronts' ready answers, by the first segment of a path as above."""

    def __init__(
        self,
        registry: Registry,
        questions: Mapping[str, Callable[[Scope], Question | None]],
        access: AccessControl | None,
    ) -> None:
        self._registry = registry
        self._questions = questions
        self._access = access

    @property
    def is_open(self) -> bool:
        """Answers that may be old say so in a header, and those that nobody knows yet are refused: by `application`."""
        return self._registry.has_data and not self._registry.data_age_s

    def question(self, scope: Scope) -> Question | None:
        ask = self._questions.get(scope["path"][1:].partition("/")[0])
        try:
            question = ask(scope) if ask is not None else None
            if question is None or self._access is None:
                return question
            return self._while_admitted(question, scope, self._access)
        except Exception:  # refused, or a fault of ours: the long way tells which
            return None

    def _while_admitted(self, question: Question, scope: Scope, access: AccessControl) -> Question | None:
        """The same for as long as what its asker may do has not changed, and its token or password is good.

        A head is kept for long, and by its bytes alone: this is looked at each time it comes.
        """
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        recalled = access.recall(authorization.decode("latin-1"))
        if recalled is None:
            return None
        epoch, until_s = access.epoch, recalled.until_s
        now_s = self._registry.clock.monotonic_s

        def answer() -> Reply | None:
            return question() if access.epoch == epoch and now_s() < until_s else None

        return answer


def _with_age(send: Send, age_s: float) -> Send:
    """Say on an answer how old its data may be."""
    header = (DATA_AGE, b"%d" % max(1, round(age_s)))

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], header]
        await send(message)

    return told


def _eureka_options(settings: Settings) -> EurekaOptions:
    return EurekaOptions(
        read_gate_s=settings.eureka_read_gate_s,
        disable_delta=settings.eureka_disable_delta,
        delta_window_s=settings.eureka_delta_window_s,
        sync_when_timestamp_differs=settings.eureka_sync_when_timestamp_differs,
    )


def _servicecenter_options(settings: Settings, listening: Sequence[Address]) -> ServiceCenterOptions:
    endpoints = tuple(
        f"rest://{reachable(address, settings.host_name)}/" + ("?sslEnabled=true" if address.scheme == "https" else "")
        for address in dict.fromkeys(listening)
    )
    return ServiceCenterOptions(
        version=settings.sc_version,
        endpoints=endpoints,
        host=settings.host_name,
        list_virtual=settings.list_virtual,
        shared_services=settings.sc_shared_services,
        stores=tuple(shown(store) for store in settings.store),
        quotas=Quotas(
            services=settings.quota_services,
            instances=settings.quota_instances,
            schemas=settings.quota_schemas,
            tags=settings.quota_tags,
        ),
    )
