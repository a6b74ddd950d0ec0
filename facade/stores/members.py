"""The nodes of one bridge: they meet as instances of a service in the ServiceCenter, and share the copies out."""

from __future__ import annotations

import hashlib
import logging
import secrets

from facade.errors import FacadeError, ServiceNotFound
from facade.registry.model import InstanceKey, ServiceKey
from facade.servicecenter.client import ServiceCenterClient
from facade.servicecenter.records import HealthCheck, MicroService, MicroServiceInstance
from facade.stores.marks import CLUSTER, ORIGIN, OURS

BRIDGE = ServiceKey("default", "default", "", "registry-facade", "registry-facade-bridge", "1.0.0")
"""Where nodes of bridges meet: one instance for each."""
BRIDGE_LEASE = HealthCheck(mode="push", interval=5, times=3)
ANSWERS_KEPT = 100_000
"""Of the question who owns a copy. When there are more, they are worked out again."""

log = logging.getLogger(__name__)


class Members:
    """The nodes that copy between these registries, ourselves among them."""

    def __init__(self, client: ServiceCenterClient, cluster: str) -> None:
        self.node = secrets.token_hex(8)
        self.nodes: tuple[str, ...] = ()
        """All of our cluster, the same object while they are the same; none until they were asked for the first time,
        and none beside a stranger."""
        self.stranger = ""
        """The name of another cluster that copies between the same registries."""
        self._client = client
        self.cluster = cluster
        self._owned: dict[InstanceKey, bool] = {}

    async def meet(self) -> None:
        """Say that we are here, and see who else is. Raises StoreUnavailable, UpstreamRefused."""
        tenant, service_id = BRIDGE.tenant, BRIDGE.derived_id
        try:
            if await self._client.heartbeats(tenant, [(service_id, self.node)]):
                await self._client.register(tenant, service_id, self._document())
            found = await self._client.instances(tenant, service_id)
        except ServiceNotFound:
            await self._client.create_service(tenant, _bridge_service())
            return
        names = {one.instance_id: one.properties.get(CLUSTER, "") for one in found} | {self.node: self.cluster}
        self.stranger = next((cluster for cluster in names.values() if cluster != self.cluster), "")
        self._note(() if self.stranger else tuple(sorted(names)))

    def _note(self, nodes: tuple[str, ...]) -> None:
        if nodes != self.nodes:
            self.nodes = nodes
            self._owned.clear()

    async def leave(self) -> None:
        try:
            await self._client.unregister(BRIDGE.tenant, BRIDGE.derived_id, self.node)
        except FacadeError as error:  # its lease ends in seconds
            log.info("marker of this bridge stays for a while reason=%s", error)

    def owns(self, key: InstanceKey) -> bool:
        """Whether a copy is ours to keep: of all nodes, ours comes first when hashed with it (rendezvous hashing)."""
        is_owned = self._owned.get(key)
        if is_owned is None:
            if len(self._owned) >= ANSWERS_KEPT:
                self._owned.clear()
            is_owned = self._owned[key] = self._comes_first(key)
        return is_owned

    def _comes_first(self, key: InstanceKey) -> bool:
        text = "\0".join((key.group, key.instance_id))
        first = min(self.nodes, key=lambda node: hashlib.sha256(f"{node}\0{text}".encode()).digest(), default="")
        return first == self.node

    def _document(self) -> MicroServiceInstance:
        marks = {ORIGIN: OURS, CLUSTER: self.cluster}
        return MicroServiceInstance(
            instance_id=self.node, host_name="registry-facade", status="UP", properties=marks, health_check=BRIDGE_LEASE
        )


def _bridge_service() -> MicroService:
    return MicroService(
        service_id=BRIDGE.derived_id,
        app_id=BRIDGE.app,
        service_name=BRIDGE.name,
        version=BRIDGE.version,
        properties={ORIGIN: OURS},
    )
