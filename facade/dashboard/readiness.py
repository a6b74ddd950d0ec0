"""What `/readyz` says of a server, for load balancers by its status and for tools in its body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from facade.dashboard.overview import health
from facade.registry.model import Origin
from facade.registry.registry import Registry
from facade.registry.store import NodeHealth, PeerHealth

OK, DEGRADED, NO_DATA = "ok", "degraded", "no data"

STATUS = {OK: 200, DEGRADED: 200, NO_DATA: 503}
"""A store that takes no writes makes a server degraded, not down: reads and renewals go on. Without data reads are
refused, so a load balancer is to ask another node.
"""


def readiness(registry: Registry, peers: Sequence[PeerHealth], *, has_accounts: bool) -> tuple[int, dict[str, object]]:
    """The status and the document."""
    state = health(registry)
    status = _status(registry, is_writable=state.store_is_writable)
    return STATUS[status], {
        "status": status,
        "store": {
            "writable": state.store_is_writable,
            "text": state.store,
            "dataAgeSeconds": state.data_age_s,
            "waiting": registry.store_health().waiting,
        },
        "selfPreservation": {
            origin: {"on": one.is_on, "text": one.text, "renewalsLastMinute": one.renewals_last_minute}
            for origin, one in state.protections
        },
        "instances": {origin: registry.catalogue.count(origin) for origin in Origin},
        "nodes": [_node(node) for node in registry.nodes()],
        "peers": {peer.url: {"available": peer.is_available, "waiting": peer.waiting} for peer in peers},
        "auth": "on" if has_accounts else "none",
        "revision": registry.revision,
    }


def _status(registry: Registry, *, is_writable: bool) -> str:
    if not registry.has_data:
        return NO_DATA
    return OK if is_writable else DEGRADED


def _node(node: NodeHealth) -> Mapping[str, object]:
    return {
        "id": node.id,
        "name": node.name,
        "self": node.is_self,
        "leads": node.leads,
        "missing": node.is_missing,
        "ageSeconds": round(node.age_s, 1),
        "lagMilliseconds": node.lag_ms,
        "revision": node.revision,
        "renewalsLastMinute": node.renewals_last_minute,
    }
