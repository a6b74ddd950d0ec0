"""The pages that ServiceCenter's users know: the list of services, one service, its schemas, and who calls whom.

The tenant is in the address (`domain`, `project`); a service goes by its id, an application that only Eureka knows by
the id under which ServiceCenter's clients find it.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from facade.access.rules import SCHEMA, SERVICE, Needs
from facade.dashboard.forms import FormRefused, Forms
from facade.dashboard.overview import instance_row
from facade.dashboard.pages import PAGE_HEADERS, Asked, Pages, in_turns
from facade.dashboard.picture import HEIGHT, WIDTH, around, busiest, drawn
from facade.dashboard.relations import behind, callers_of, providers_of, relations
from facade.dashboard.services import (
    ROWS,
    face_of,
    instances_of,
    matches,
    order,
    row,
    schema_text,
    schemas_of,
    services,
    statuses,
)
from facade.errors import InstanceNotFound, StoreUnavailable
from facade.registry import rules
from facade.registry.faces import Face
from facade.registry.model import Instance, ServiceId, ServiceName, Status, Tenant
from facade.registry.registry import Registry

log = logging.getLogger(__name__)

Page = Callable[[Request], Awaitable[Response]]
Entry = tuple[str, str, Page, Needs]
"""Of the table of pages: method, path, who answers, and what that asks of the reader."""

CHANGE = Needs("service", "update")
"""A form can only POST."""

TABS = ("instances", "providers", "consumers", "schemas", "properties")

SHOWN_CHARACTERS = 200_000
"""Of a schema; the download has all."""

BUSIEST = 60
"""Boxes in one picture."""

_STATUS_CHANGES: Mapping[str, Callable[[Instance], Instance]] = {
    "out": lambda instance: rules.overridden(instance, Status.OUT_OF_SERVICE),
    "back": lambda instance: rules.restored(instance, Status.UP),
}
"""Of an operator. The second takes the first back."""

READER = "facade.reader"
"""Where the scope of a request says who looks, if accounts are asked for."""


class Reader(NamedTuple):
    """Who looks at a page."""

    account: str = ""
    may_change: bool = True

    @classmethod
    def of(cls, request: Request) -> Reader:
        reader = request.scope.get(READER, cls())
        assert isinstance(reader, Reader), "put there by the guard"
        return reader


DocumentOf = Callable[[ServiceId], Mapping[str, Any] | None]
"""What clients of the service's own protocol get of it; None when there is no such service."""


class ServicePages:
    def __init__(self, registry: Registry, pages: Pages, document_of: DocumentOf) -> None:
        self._registry = registry
        self._pages = pages
        self._document_of = document_of
        self._forms = Forms()

    def table(self) -> list[Entry]:
        return [
            ("GET", "/services", self.services, SERVICE),
            ("GET", "/services/{service_id}", self.service, SERVICE),
            ("POST", "/services/{service_id}/status", self.set_status, CHANGE),
            ("GET", "/services/{service_id}/schemas/{schema_id}", self.schema, SCHEMA),
            ("GET", "/services/{service_id}/schemas/{schema_id}/download", self.download, SCHEMA),
            ("GET", "/topology", self.topology, SERVICE),
        ]

    async def services(self, request: Request) -> Response:
        asked = Asked.of(request)
        listed = await in_turns(services(self._registry, asked.tenant))
        ordered = await in_turns((order(face), face) if matches(face, asked.wanted) else None for face in listed)
        found = [face for _, face in sorted((one for one in ordered if one is not None), key=itemgetter(0))]
        pages = max(-(-len(found) // ROWS), 1)
        page = min(asked.page, pages)
        return await self._pages.write(
            "services.html",
            asked,
            tenants=self._tenants(asked),
            counts=await self._counts(asked.tenant, listed),
            found=len(found),
            rows=(row(self._registry, face) for face in found[(page - 1) * ROWS : page * ROWS]),
            page=page,
            pages=pages,
        )

    async def service(self, request: Request) -> Response:
        asked = Asked.of(request)
        face = self._face(request, asked)
        if face is None:
            return await self._missing(asked, "no service")
        registry = self._registry
        stated = asked.query.get("tab", "")
        tab = stated if stated in TABS else TABS[0]
        instances = instances_of(registry, face)
        providers = providers_of(registry, face)
        consumers = sorted(callers_of(registry, face), key=order)
        schemas = schemas_of(registry, face.service) if face.service is not None else []
        sizes = {
            "instances": len(instances),
            "providers": len(providers),
            "consumers": len(consumers),
            "schemas": len(schemas),
        }
        pages = max(-(-sizes.get(tab, 0) // ROWS), 1)
        page = min(asked.page, pages)
        on_page = slice((page - 1) * ROWS, page * ROWS)
        visitor = self._forms.visitor(request)
        response = await self._pages.write(
            "service.html",
            asked,
            tenants=self._tenants(asked),
            tab=tab,
            tabs=TABS,
            sizes=sizes,
            row=row(registry, face),
            service=face.service,
            # Each is asked for on its own tab only.
            instances=(instance_row(registry, one) for one in instances[on_page]),
            page=page,
            pages=pages,
            providers=((name, self._rows(faces)) for name, faces in providers[on_page]),
            consumers=(row(registry, one) for one in consumers[on_page]),
            schemas=schemas[on_page],
            document=self._document_of(ServiceId(asked.tenant, face.service_id)) or {},
            token=self._forms.token(visitor) if Reader.of(request).may_change else None,
        )
        self._forms.remember(request, response, visitor)
        return response

    async def set_status(self, request: Request) -> Response:
        """An operator's word on one instance: out of service, or that word taken back. It holds in both protocols."""
        asked = Asked.of(request)
        try:
            fields = await self._forms.read(request)
        except FormRefused as refused:
            log.warning("form refused reason=%s", refused)
            return await self._missing(asked, "form refused", 403)
        face = self._face(request, asked)
        wanted = fields.get("origin"), fields.get("instance")
        held = instances_of(self._registry, face) if face is not None else ()
        key = next((one.key for one in held if (one.key.origin, one.portable_id) == wanted), None)
        how = _STATUS_CHANGES.get(fields.get("to", ""))
        if key is None or how is None:
            return await self._missing(asked, "no instance")
        try:
            amended = await self._registry.amend(key, how)
        except InstanceNotFound:
            return await self._missing(asked, "no instance")
        except StoreUnavailable:
            return await self._missing(asked, "not written", 503)
        log.info(
            "status set on a page application=%s instance=%s status=%s by=%s",
            key.group,
            key.instance_id,
            amended.status,
            Reader.of(request).account or (request.client.host if request.client else ""),
        )
        return RedirectResponse(asked.link(asked.path.removesuffix("/status")), 303, PAGE_HEADERS)

    async def schema(self, request: Request) -> Response:
        asked = Asked.of(request)
        face = self._face(request, asked)
        schema_id = request.path_params["schema_id"]
        text = schema_text(self._registry, ServiceId(asked.tenant, request.path_params["service_id"]), schema_id)
        if face is None or text is None:
            return await self._missing(asked, "no schema")
        return await self._pages.write(
            "schema.html",
            asked,
            tenants=self._tenants(asked),
            row=row(self._registry, face),
            schema_id=schema_id,
            text=text[:SHOWN_CHARACTERS],
            is_cut=len(text) > SHOWN_CHARACTERS,
            shown=SHOWN_CHARACTERS,
        )

    async def download(self, request: Request) -> Response:
        """Always a file and plain text: what a client describes itself with is never run by a browser."""
        asked = Asked.of(request)
        schema_id = request.path_params["schema_id"]
        text = schema_text(self._registry, ServiceId(asked.tenant, request.path_params["service_id"]), schema_id)
        if text is None:
            return await self._missing(asked, "no schema")
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", schema_id)[:160].lstrip(".") or "schema"
        headers = PAGE_HEADERS | {"Content-Disposition": f'attachment; filename="{name}.yaml"'}
        return Response(text.encode(errors="replace"), media_type="text/plain", headers=headers)

    async def topology(self, request: Request) -> Response:
        asked = Asked.of(request)
        registry = self._registry
        found = await in_turns(relations(registry, asked.tenant))
        arrows = list(dict.fromkeys(arrow for arrow in found if arrow is not None))
        names = {name for arrow in arrows for name in arrow}
        if asked.wanted:
            called = await in_turns((name, _is_called(name, asked.wanted)) for name in names)
            wanted = {name for name, is_wanted in called if is_wanted}
            shown = busiest(around(arrows, wanted), BUSIEST)
        else:
            shown = busiest(arrows, BUSIEST)
        *_, drawing = await in_turns(drawn(shown))
        assert drawing is not None, "the last"
        listed = {face.key.unversioned for face in await in_turns(services(registry, asked.tenant))}
        return await self._pages.write(
            "topology.html",
            asked,
            tenants=self._tenants(asked),
            drawing=drawing,
            relations=shown,
            boxes=((box, self._rows(behind(registry, box.node))) for box in drawing.boxes),
            box_width=WIDTH,
            box_height=HEIGHT,
            all=len(names),
            others=len(listed - names),
        )

    def _face(self, request: Request, asked: Asked) -> Face | None:
        return face_of(self._registry, ServiceId(asked.tenant, request.path_params["service_id"]))

    def _rows(self, faces: Iterable[Face]) -> list[Any]:
        return [row(self._registry, face) for face in sorted(faces, key=order)]

    def _tenants(self, asked: Asked) -> Sequence[Tenant]:
        return sorted({*self._registry.catalogue.tenants(), asked.tenant})

    async def _counts(self, tenant: Tenant, listed: Sequence[Face]) -> dict[str, Any]:
        registry = self._registry
        by_status: Counter[Status] = Counter()
        for counted in await in_turns(statuses(registry, tenant)):
            by_status += counted
        arrows = [arrow for arrow in await in_turns(relations(registry, tenant)) if arrow is not None]
        return {
            "services": len(listed),
            "instances": by_status.total(),
            "providers": len({arrow.provider for arrow in arrows}),
            "consumers": len({arrow.consumer for arrow in arrows}),
            "statuses": sorted(by_status.items()),
        }

    async def _missing(self, asked: Asked, why: str, status: int = 404) -> Response:
        return await self._pages.write("missing.html", asked, status, tenants=self._tenants(asked), why=why)


def _is_called(name: ServiceName, wanted: str) -> bool:
    called = "\n".join(name[2:]).casefold()
    return all(word in called for word in wanted.casefold().split())
