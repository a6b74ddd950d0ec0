"""What this server says of itself under /eureka/status: the process, its peers, whether it can write."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable

from facade.eureka import wire
from facade.eureka.peers import Peers
from facade.eureka.records import DataCenterInfo, InstanceInfo
from facade.registry.registry import Registry
from facade.registry.store import PeerHealth


def status_info(registry: Registry, peers: Peers | None) -> wire.StatusInfo:
    """As Eureka's users know it; memory is that of this process."""
    uptime_min = int(registry.clock.monotonic_s() - registry.opened_s) // 60
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    general = {
        "num-of-cpus": str(os.cpu_count() or 1),
        "total-avail-memory": f"{memory_mb}mb",
        "current-memory-usage": f"{memory_mb}mb",
        "server-uptime": f"{uptime_min // 60:02}:{uptime_min % 60:02}",
        "registry-facade-node": registry.node,
    }
    known = peers.health() if peers is not None else []
    replicas = {
        "registered-replicas": _urls(known),
        "available-replicas": _urls([peer for peer in known if peer.is_available]),
        "unavailable-replicas": _urls([peer for peer in known if not peer.is_available]),
    }
    own = InstanceInfo(
        instance_id="registry-facade",
        host_name="localhost",
        app="EUREKA",
        ip_addr="127.0.0.1",
        data_center_info=DataCenterInfo("MyOwn"),
        last_updated_ms=registry.clock.now_ms(),
    )
    return wire.StatusInfo(general, replicas, own, registry.store_health().is_writable)


def _urls(peers: Iterable[PeerHealth]) -> str:
    """Each followed by a comma, as the original writes them."""
    return "".join(f"{peer.url}/," for peer in peers)
