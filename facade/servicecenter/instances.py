"""Instances: registration, heartbeats, status, properties, end.

In:   one request each, by the ids that readers of this protocol see; the instance may have been born under a flat name.
Out:  one call to the registry.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from facade.access.control import require, require_all
from facade.access.rules import Grant, Labels
from facade.errors import FacadeError, InstanceNotFound, MalformedDocument
from facade.registry import rules
from facade.registry.model import Instance, InstanceKey, Microservice, Origin, ServiceId, Status, Tenant
from facade.registry.registry import Registry
from facade.registry.store import Put, Write
from facade.registry.views import Shown
from facade.servicecenter import validation, wire
from facade.servicecenter.directory import Directory, turn_of_services
from facade.servicecenter.exchange import LARGE_BODY, OK, SMALL_BODY, Answer, Ask, found
from facade.servicecenter.mapping import to_instance, to_status
from facade.servicecenter.pace import Pace
from facade.servicecenter.quotas import Counting
from facade.servicecenter.records import (
    HeartbeatSetElement,
    HeartbeatSetRequest,
    MicroServiceInstance,
    RegisterInstanceRequest,
    UpdateInstancePropsRequest,
    UpdateInstancesStatusRequest,
)
from facade.servicecenter.wire import Code, Refused

_NO_LEASE = "leaseId not exist, instance not exist"
_GONE = "Service instance does not exist."


class Instances:
    def __init__(self, registry: Registry, directory: Directory, counting: Counting) -> None:
        self._registry = registry
        self._counting = counting
        self._catalogue = registry.catalogue
        self._directory = directory

    async def register(self, ask: Ask) -> Answer:
        (service_id,) = ask.ids
        request = wire.unmarshal(RegisterInstanceRequest, await ask.body(SMALL_BODY))
        if request.instance is None:
            raise MalformedDocument(
                "field 'RegisterInstanceRequest.Instance' invalid value '<nil>' does not match rule: {Min: 1}"
            )
        instance_id = await self.enter(ServiceId(ask.tenant, service_id), request.instance, ask.address)
        return found({"instanceId": instance_id})

    async def enter(self, service_id: ServiceId, document: MicroServiceInstance, address: str) -> str:
        """Register an instance of this service, anew when the id is known; returns its id."""
        validation.check_instance(replace(document, service_id=service_id.service_id))
        service = await self._registered(service_id)
        instance_id = document.instance_id or uuid.uuid4().hex
        policy = self._registry.policy
        wanted = to_instance(document, service, instance_id, policy, address)
        with self._counting.entering(wanted.key, service):
            held = await self._registry.register(wanted)
        if self._catalogue.service(service_id) is None:
            # The service was deleted while the store was writing: nobody could ever find what is left.
            await self._registry.cancel(held.key)
            raise Refused(Code.SERVICE_NOT_EXISTS, "Service does not exist.")
        return instance_id

    async def _registered(self, service_id: ServiceId) -> Microservice:
        """The service's record; of one that is only implied, it is made now."""

        def decide() -> Sequence[Write]:
            service, first = self._directory.writable(service_id, "Invalid 'serviceID' in request body.")
            return [*first, Put(service)] if self._catalogue.service(service_id) is None else ()

        stored = self._catalogue.service(service_id)
        if stored is None:
            await self._registry.transact(turn_of_services(service_id.tenant), decide)
            stored = self._directory.expected(service_id)
        return stored

    # Heartbeats

    async def renew(self, ask: Ask) -> Answer:
        """From memory. InstanceNotFound becomes 400017, and the client registers again."""
        service_id, instance_id = ask.ids
        self.beat(ask.tenant, ask.grant, service_id, instance_id, "HeartbeatRequest")
        return OK

    def beat(self, tenant: Tenant, grant: Grant, service_id: str, instance_id: str, request: str = "") -> Instance:
        service = ServiceId(tenant, service_id)
        stored = self._catalogue.service(service)
        if stored is not None:  # most are its own, and need no look at what else is shown there
            key = InstanceKey(Origin.SERVICECENTER, stored.name.space, service_id, instance_id)
            if key in self._catalogue.leases:
                return self._registry.renew(key)
        lost = self._registry.lost(service, instance_id)
        return self._registry.renew(lost or self._key(tenant, grant, service_id, instance_id, _NO_LEASE, request))

    def beats(self, ask: Ask) -> Callable[[], None]:
        """The heartbeats of one instance. Ids of one that was born here lead to the same key while it is listed; what
        service an id is of may change, and with it who may renew."""
        service_id, instance_id = ask.ids
        beaten: InstanceKey | None = None

        def beat() -> None:
            nonlocal beaten
            self._directory.require(ask.grant, ServiceId(ask.tenant, service_id))
            if beaten is not None and beaten in self._catalogue.leases:
                self._registry.renew(beaten)
            else:
                key = self.beat(ask.tenant, ask.grant, service_id, instance_id, "HeartbeatRequest").key
                beaten = key if key.origin is Origin.SERVICECENTER else None

        return beat

    async def renew_many(self, ask: Ask) -> Answer:
        """Each by itself; the answer tells which are gone."""
        request = wire.unmarshal(HeartbeatSetRequest, await ask.body(LARGE_BODY))
        if not request.instances:
            raise MalformedDocument("Request format invalid.")
        self._directory.require_any(ask.grant, (ServiceId(ask.tenant, one.service_id) for one in request.instances))
        results, pace = [], Pace()
        for service_id, instance_id in dict.fromkeys((one.service_id, one.instance_id) for one in request.instances):
            if pace.is_due:
                await pace.rest()
            fault = ""
            try:
                self._directory.require(ask.grant, ServiceId(ask.tenant, service_id))
                self.beat(ask.tenant, ask.grant, service_id, instance_id)
            except FacadeError as error:
                fault = wire.told(error)
            results.append(HeartbeatSetElement(service_id=service_id, instance_id=instance_id, err_message=fault))
        return found({"instances": results})

    # Changes

    async def set_status(self, ask: Ask) -> Answer:
        service_id, instance_id = ask.ids
        status = ask.query.get("value", "")
        validation.check("UpdateInstanceStatusRequest.ServiceId", service_id, validation.REQUIRED_ID)
        validation.check("UpdateInstanceStatusRequest.InstanceId", instance_id, validation.REQUIRED_INSTANCE_ID)
        validation.check("UpdateInstanceStatusRequest.Status", status, validation.STATUS)
        key = self._key(ask.tenant, ask.grant, service_id, instance_id, _GONE)
        await self._registry.amend(key, _with_status(to_status(status)))
        return OK

    async def set_properties(self, ask: Ask) -> Answer:
        """Replace all properties. Clients send the whole instance; what else it says does not count."""
        service_id, instance_id = ask.ids
        stated = wire.unmarshal(UpdateInstancePropsRequest, await ask.body(SMALL_BODY)).properties
        properties = rules.ordinary(stated, self._registry.policy)
        request = "UpdateInstancePropsRequest"
        key = self._key(ask.tenant, ask.grant, service_id, instance_id, _GONE, request)
        await self._registry.amend(
            key, lambda held: held if held.metadata == properties else replace(held, metadata=properties)
        )
        return OK

    async def set_many_statuses(self, ask: Ask) -> Answer:
        """The status of every instance that carries all the properties given; of all, when none are."""
        require_all(ask.grant)
        request = wire.unmarshal(UpdateInstancesStatusRequest, await ask.body(LARGE_BODY))
        validation.check("UpdateInstanceStatusRequest.Status", request.status, validation.STATUS)
        how = _with_status(to_status(request.status))
        wanted = (request.matches.properties if request.matches else {}).items()
        for key in [one.key for one in self._all(ask.tenant) if wanted <= one.metadata.items()]:
            try:
                await self._registry.amend(key, how)
            except InstanceNotFound:
                continue  # it left while others were being written
            await asyncio.sleep(0)  # a store in memory never waits, and watchers must take in what they are told
        return OK

    def _all(self, tenant: Tenant) -> Iterable[Instance]:
        found_under = {}
        for service in self._directory.services(tenant, with_shared=False):
            for shown in self.shown_under(service.key):
                found_under[shown.instance.key] = shown.instance
        return found_under.values()

    # The end

    async def cancel(self, ask: Ask) -> Answer:
        service_id, instance_id = ask.ids
        detail = "Instance's leaseId not exist."
        request = "UnregisterInstanceRequest"
        await self._registry.cancel(self._key(ask.tenant, ask.grant, service_id, instance_id, detail, request))
        return OK

    async def end_all(self, service_id: ServiceId, grant: Grant) -> None:
        """All that was registered for a service; of one that is only implied, what it shows. Raises NotPermitted."""
        if self._catalogue.service(service_id) is not None:
            await self.end_all_of(service_id)
        else:
            instances = [one.instance for one in self.shown_under(service_id)]
            require(grant, *{Labels.of(one.service) for one in instances})
            await self._cancel([one.key for one in instances])

    async def end_all_of(self, service_id: ServiceId) -> None:
        """All that was registered for this very service, whether it is still there or not."""
        await self._cancel([one.key for one in self._catalogue.in_service(service_id)])

    async def _cancel(self, keys: Iterable[InstanceKey]) -> None:
        for key in keys:
            try:
                await self._registry.cancel(key)
            except InstanceNotFound:
                continue  # it left by itself

    def shown_under(self, service_id: ServiceId) -> tuple[Shown, ...]:
        view = self._directory.instances(service_id)
        return view.shown if view is not None else ()

    def _key(
        self, tenant: Tenant, grant: Grant, service_id: str, instance_id: str, detail: str, request: str = ""
    ) -> InstanceKey:
        """The instance that goes by these ids; `request` is the type that its refusals name. A set has none.

        Whoever changes one that was born under a flat name has to reach its application: the service under which it is
        found is in whatever app it was asked for. Raises NotPermitted.
        """
        shown = self._directory.instance(ServiceId(tenant, service_id), instance_id)
        if shown is None:
            if request:  # ids that are found fit the rules: heartbeats need not pay for looking
                validation.check(f"{request}.ServiceId", service_id, validation.REQUIRED_ID)
                validation.check(f"{request}.InstanceId", instance_id, validation.REQUIRED_INSTANCE_ID)
            raise Refused(Code.INSTANCE_NOT_EXISTS, detail)
        require(grant, Labels.of(shown.instance.service))
        return shown.instance.key


def _with_status(status: Status) -> Callable[[Instance], Instance]:
    """What a status means that came by this protocol.

    An instance born here reports it of itself. One born under a flat name has an owner who cannot: there it is an
    operator's word, which UP takes back.
    """

    def amended(held: Instance) -> Instance:
        if held.key.origin is Origin.SERVICECENTER:
            return rules.reporting(held, status)
        return rules.restored(held, Status.UP) if status is Status.UP else rules.overridden(held, status)

    return amended
