"""Figures for Prometheus, read off the registry when they are asked for: nothing is counted on the way of a request.

No label takes its value from a client, so nobody can make the number of series grow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from facade.dashboard.nodes import nodes_of
from facade.registry.model import Cause, Change, Instance, Origin
from facade.registry.registry import Registry
from facade.registry.store import NodeHealth, PeerHealth

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Figures(Collector):
    """All that `/metrics` tells."""

    def __init__(self, registry: Registry, peers: Callable[[], Sequence[PeerHealth]] = tuple) -> None:
        self._registry = registry
        self._peers = peers
        self._changes: Counter[tuple[Origin, Cause]] = Counter()
        self._collectors = CollectorRegistry()
        self._collectors.register(self)
        registry.feed.follow(self._count)

    def text(self) -> bytes:
        return generate_latest(self._collectors)

    def collect(self) -> Iterator[Metric]:
        registry = self._registry
        instances = GaugeMetricFamily("registry_instances", "Instances listed.", labels=["origin"])
        changes = CounterMetricFamily("registry_changes", "Visible changes of instances.", labels=["origin", "cause"])
        renewals = GaugeMetricFamily("registry_renewals_last_minute", "Renewals heard.", labels=["origin"])
        threshold = GaugeMetricFamily(
            "registry_renewals_threshold", "Renewals a minute to be exceeded.", labels=["origin"]
        )
        protected = GaugeMetricFamily(
            "registry_protected_leases", "Lapsed leases that self-preservation keeps.", labels=["origin"]
        )
        for origin in Origin:
            protection = registry.protection(origin)
            instances.add_metric([origin], registry.catalogue.count(origin))
            renewals.add_metric([origin], protection.renewals_last_minute)
            threshold.add_metric([origin], protection.threshold)
            protected.add_metric([origin], protection.held_back)
            for cause in Cause:
                changes.add_metric([origin, cause], self._changes[origin, cause])
        health = registry.store_health()
        available = GaugeMetricFamily("registry_peer_available", "1 while the peer answers.", labels=["url"])
        waiting = GaugeMetricFamily("registry_peer_waiting", "Instances it has to hear of.", labels=["url"])
        age = GaugeMetricFamily("registry_peer_lag_seconds", "How long the first of them waits.", labels=["url"])
        for peer in self._peers():
            available.add_metric([peer.url], int(peer.is_available))
            waiting.add_metric([peer.url], peer.waiting)
            age.add_metric([peer.url], peer.age_s)
        yield from (instances, changes, renewals, threshold, protected, available, waiting, age)
        tenants = registry.catalogue.tenants()
        services = sum(len(registry.catalogue.services(tenant)) for tenant in tenants)
        yield GaugeMetricFamily("registry_services", "ServiceCenter's services, each version for itself.", services)
        yield GaugeMetricFamily("registry_schemas", "Contents of their schemas.", registry.catalogue.schema_count)
        yield GaugeMetricFamily("registry_domains", "Tenants' domains in use.", len({one.domain for one in tenants}))
        yield GaugeMetricFamily("registry_revision", "Number of the last visible change.", registry.revision)
        yield GaugeMetricFamily("registry_store_writable", "1 when the store takes writes.", int(health.is_writable))
        yield GaugeMetricFamily("registry_data_age_seconds", "How old answers may be.", registry.data_age_s)
        yield GaugeMetricFamily("registry_waiting_writes", "Answered, and waiting for the store.", health.waiting)
        yield GaugeMetricFamily("registry_parked_instances", "Not taken by a registry behind us.", health.parked)
        yield GaugeMetricFamily("registry_doubted_records", "Gone behind us, and not believed.", health.doubted)
        yield CounterMetricFamily("registry_restored_records", "Lost by Redis, and put back by us.", health.restored)
        yield from _of_nodes(nodes_of(registry))

    def _count(self, change: Change) -> None:
        if isinstance(change.record, Instance):
            self._changes[change.record.key.origin, change.cause] += 1


def _of_nodes(nodes: Sequence[NodeHealth]) -> Iterator[Metric]:
    """Of the servers that share a store. Their names are ours to give, and they are few."""
    yield GaugeMetricFamily("registry_nodes", "Servers that share the store, this one included.", len(nodes))
    told: Sequence[tuple[str, str, Callable[[NodeHealth], float]]] = (
        ("registry_node_missing", "1 when it is gone without a word.", lambda node: node.is_missing),
        ("registry_node_leads", "1 when it is its turn to end lapsed leases.", lambda node: node.leads),
        ("registry_node_age_seconds", "Since its last sign.", lambda node: node.age_s),
        ("registry_node_lag_seconds", "From a change to its being shown there.", lambda node: node.lag_ms / 1000),
        ("registry_node_revision", "Number of the last change shown there.", lambda node: node.revision),
        ("registry_node_renewals_last_minute", "Renewals it heard.", lambda node: node.renewals_last_minute),
    )
    for name, about, figure in told:
        family = GaugeMetricFamily(name, about, labels=["node"])
        for node in nodes:
            family.add_metric([node.name], figure(node))
        yield family
