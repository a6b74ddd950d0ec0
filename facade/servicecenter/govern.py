"""What operators and the front end see: services with all that belongs to them, who depends on whom, and counts.

In:   one request each. Out: both worlds, an application with a flat name as the service that its face implies.
Rules: these answers are as large as the registry: each is made piece by piece, and others are served in between. A
      service that goes meanwhile is told as it was, or left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from msgspec.structs import replace

from facade.access.control import Visitor
from facade.access.rules import Grant, Labels
from facade.errors import MalformedDocument
from facade.registry.model import Microservice, ServiceId
from facade.registry.views import Shown
from facade.servicecenter import validation, wire
from facade.servicecenter.directory import Directory
from facade.servicecenter.documents import Documents
from facade.servicecenter.exchange import Answer, Ask, found
from facade.servicecenter.mapping import from_service
from facade.servicecenter.pace import Pace, large
from facade.servicecenter.records import MicroService
from facade.servicecenter.relations import Relations
from facade.servicecenter.schemas import Schemas

_DETAILS = frozenset({"tags", "instances", "schemas", "dependencies"})


class Governance:
    def __init__(
        self,
        directory: Directory,
        documents: Documents,
        relations: Relations,
        schemas: Schemas,
        reach_of_schemas: Callable[[Visitor | None], Grant | None],
    ) -> None:
        """`reach_of_schemas` says of which services somebody may read schemas, if of any."""
        self._directory = directory
        self._documents = documents
        self._relations = relations
        self._schemas = schemas
        self._reach_of_schemas = reach_of_schemas

    # Services

    async def list_services(self, ask: Ask) -> Answer:
        """Every service that fits the filters, with the details that `options` name. Other options mean nothing."""
        options = frozenset(ask.query.get("options", "").split(","))
        counts = ask.query.get("countOnly", "")
        if counts not in ("0", "1") and counts.strip():
            raise MalformedDocument("parameter countOnly must be 1 or 0")
        wants_all, with_shared, pace = "all" in options, ask.flag("withShared"), Pace()
        document: dict[str, object] = {}
        if wants_all or "statistics" in options:
            document["statistics"] = await self._statistics(ask, pace, with_shared=with_shared)
        if options == {"statistics"}:
            return found(document)
        fits, details = _filter(ask), []
        for service in self._directory.each(ask.tenant, with_shared=with_shared, grant=ask.grant):
            if fits(service):
                shown = _DETAILS if wants_all else options
                details.append(await self._overview(service, shown, pace, ask, counts_only=counts == "1"))
            if pace.is_due:
                await pace.rest()
        return await large(ask, wire.encode(({"allServicesDetail": details} if details else {}) | document))

    async def show_service(self, ask: Ask) -> Answer:
        """Everything of one service. Unlike in the list, nothing is left out, and its own consumption counts."""
        (service_id,) = ask.ids
        validation.check("GetServiceRequest.ServiceId", service_id, validation.REQUIRED_ID)
        service = self._directory.expected(ServiceId(ask.tenant, service_id))
        pace = Pace()
        members = {
            "microService": from_service(service),
            "instances": await self._instances(service, pace),
            "schemaInfos": self._schema_infos(service, ask),
            "providers": _documents(self._relations.providers(service), ask.grant),
            "consumers": _documents(self._directory.consumers(service), ask.grant),
            "tags": service.tags,
            "microServiceVersions": [one.name.version for one in self._directory.behind(service.name.unversioned)],
        }
        return await large(ask, wire.encode({"service": _filled(members)}))

    async def _overview(
        self, service: Microservice, options: frozenset[str], pace: Pace, ask: Ask, *, counts_only: bool
    ) -> msgspec.Raw:
        members: dict[str, object] = {"microService": replace(from_service(service), schemas=())}
        statics: dict[str, object] = {}
        if "instances" in options:
            if counts_only:
                statics["instances"] = _numbers(count=len(self._shown(service)))
            else:
                members["instances"] = await self._instances(service, pace, without_properties=True)
        if "schemas" in options:
            members["schemaInfos"] = self._schema_infos(service, ask)
        if "dependencies" in options:
            members["providers"] = _documents(_others(service, self._relations.providers(service)), ask.grant)
            members["consumers"] = _documents(_others(service, self._directory.consumers(service)), ask.grant)
        if "tags" in options:
            members["tags"] = service.tags
        return msgspec.Raw(wire.encode(_filled(members) | ({"statics": statics} if counts_only else {})))

    async def _instances(self, service: Microservice, pace: Pace, *, without_properties: bool = False) -> object:
        instances = []
        for shown in self._shown(service):
            instances.append(msgspec.Raw(self._documents.instance(shown, without_properties=without_properties).body))
            if pace.is_due:
                await pace.rest()
        return instances

    def _schema_infos(self, service: Microservice, ask: Ask) -> object:
        """With their texts for whoever may read those."""
        reach = self._reach_of_schemas(ask.visitor)
        return self._schemas.listed(service, with_text=reach is not None and reach.fits(Labels.of(service.name)))

    def _shown(self, service: Microservice) -> tuple[Shown, ...]:
        view = self._directory.instances(service.key)
        return view.shown if view is not None else ()

    # Pictures and counts

    async def relations(self, ask: Ask) -> Answer:
        """A graph: every service, and a line from each to each that it depends on. Here nothing empty is left out."""
        with_shared, pace = ask.flag("withShared"), Pace()
        nodes, lines = [], []
        for service in self._directory.each(ask.tenant, with_shared=with_shared, grant=ask.grant):
            node = _node(service.key.service_id, service.name.name, service.name.app, service.name.version)
            nodes.append(node)
            for provider in _others(service, self._relations.providers(service)):
                is_listed = with_shared or not self._directory.is_shared(provider)
                if is_listed and ask.grant.fits(Labels.of(provider.name)):
                    target = _node(provider.key.service_id, provider.name.name)
                    lines.append({"from": node, "to": target, "type": "", "color": "", "descriptor": ""})
            if pace.is_due:
                await pace.rest()
        return await large(ask, wire.encode({"nodes": nodes or None, "lines": lines or None, "circles": None}))

    async def apps(self, ask: Ask) -> Answer:
        """The apps of one environment; without `env` of the unnamed one, not of all."""
        environment, pace = ask.query.get("env", ""), Pace()
        validation.check("GetAppsRequest.Environment", environment, validation.ENVIRONMENT)
        apps: dict[str, None] = {}
        for service in self._directory.each(ask.tenant, with_shared=ask.flag("withShared"), grant=ask.grant):
            if service.name.environment == environment:
                apps[service.name.app] = None
            if pace.is_due:
                await pace.rest()
        return found({"appIds": list(apps)} if apps else {})

    async def statistics(self, ask: Ask) -> Answer:
        return found({"statistics": await self._statistics(ask, Pace(), with_shared=False)})

    async def _statistics(self, ask: Ask, pace: Pace, *, with_shared: bool) -> dict[str, object]:
        """Versions of one name count as one service; what is shared, only when it is asked for."""
        apps, services, online = set(), set(), set()
        instances = 0
        for service in self._directory.each(ask.tenant, with_shared=with_shared, grant=ask.grant):
            name, count = service.name.unversioned, len(self._shown(service))
            apps.add(name.app)
            services.add(name)
            instances += count
            if count:
                online.add(name)
            if pace.is_due:
                await pace.rest()
        return {
            "services": _numbers(count=len(services), onlineCount=len(online)),
            # A service belongs to one project: none of the others of the domain holds instances of it.
            "instances": _numbers(count=instances, countByDomain=instances),
            "apps": _numbers(count=len(apps)),
        }


def _filter(ask: Ask) -> Callable[[Microservice], bool]:
    """Whether a service has the names, if any, and all the properties that are asked for, as `property=name:value`."""
    environment, app, name = (ask.query.get(asked, "") for asked in ("env", "appId", "serviceName"))
    wanted = {key: value for key, _, value in (text.partition(":") for text in ask.values("property"))}.items()

    def fits(service: Microservice) -> bool:
        return (
            environment in ("", service.name.environment)
            and app in ("", service.name.app)
            and name in ("", service.name.name)
            and wanted <= service.properties.items()
        )

    return fits


def _node(service_id: str, name: str, app: str = "", version: str = "") -> dict[str, str]:
    return {"id": service_id, "name": name, "appId": app, "version": version, "type": "", "color": "", "position": ""}


def _others(service: Microservice, related: Iterable[Microservice]) -> Iterable[Microservice]:
    """Lists and pictures show neither what depends on itself nor what is shared from another tenant."""
    return (one for one in related if one.key != service.key and one.key.tenant == service.key.tenant)


def _documents(services: Iterable[Microservice], grant: Grant) -> list[MicroService]:
    return [from_service(service) for service in services if grant.fits(Labels.of(service.name))]


def _filled(members: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value}


def _numbers(**numbers: int) -> dict[str, int]:
    return {name: number for name, number in numbers.items() if number}
