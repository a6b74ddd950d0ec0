"""From the URLs of --store to a store, with all its parts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from facade.clock import Clock
from facade.errors import StartRefused
from facade.eureka.client import EurekaClient
from facade.eureka.records import Hear
from facade.outbound import Outbound
from facade.registry.model import InstanceKey, Origin, RecordKey
from facade.registry.rules import Policy
from facade.registry.store import Store
from facade.servicecenter.client import ServiceCenterClient
from facade.stores import redis_url
from facade.stores.backend import Backend
from facade.stores.eureka_nodes import facades_among
from facade.stores.mirror import Mirror
from facade.stores.publishing import Publisher
from facade.stores.switching import SwitchingStore
from facade.stores.upstream import UpstreamStore
from facade.stores.upstream_eureka import EurekaBackend
from facade.stores.upstream_servicecenter import ServiceCenterBackend
from facade.stores.urls import UpstreamUrl, mirror_store, own_store, upstreams, urlsplit_or_refuse
from facade.tls import Trust


@dataclass(frozen=True)
class Behind:
    """What an operator may decide about registries behind us."""

    is_strict: bool = False
    """Refuse writes while one does not answer, instead of letting them wait."""
    publish: bool = False
    """Copy what one of two has into the other."""
    cluster: str = "registry-facade"
    """The name of this bridge, the same on each of its nodes."""
    trust: Trust = field(default_factory=Trust)
    """What they are judged by, where they are asked over https."""
    node: str = ""
    """host:port of this server, by which other nodes know it."""


def open_store(
    urls: Sequence[str], data_dir: Path, clock: Clock, policy: Policy, behind: Behind | None = None
) -> Store:
    """The store that these URLs ask for, not opened yet. Raises StartRefused."""
    behind = behind or Behind()
    registries = upstreams(urls)
    if behind.publish and len(registries) < 2:
        raise StartRefused("publish: copies go between two registries; give --store once for each")
    if registries:
        return upstream_store(registries, mirror_store(registries, data_dir, clock), clock, policy, behind)
    if len(urls) > 1:
        raise StartRefused("store: registrations live in one store of our own; several are for registries behind us")
    if urlsplit_or_refuse(urls[0]).scheme in redis_url.SCHEMES:
        return _redis(urls[0], clock, policy, behind)
    return own_store(urls[0], data_dir, clock)


def _redis(url: str, clock: Clock, policy: Policy, behind: Behind) -> Store:
    from facade.stores.redis_backed import RedisStore  # here: its library takes long to import
    from facade.stores.redis_link import Link

    link = Link(redis_url.parse(url), behind.cluster, behind.trust)
    return RedisStore(link, clock, behind.node, policy.protection_limit_s, is_strict=behind.is_strict)


def upstream_store(
    registries: Sequence[UpstreamUrl], local: Store, clock: Clock, policy: Policy, behind: Behind
) -> UpstreamStore:
    # Only what is written as a copy names its bridge: that is how copies are told from what is kept there, packed.
    cluster = behind.cluster if behind.publish else ""
    backends = [_backend(registry, policy, clock, cluster, behind.trust) for registry in registries]
    pictures = mirrors(clock, *backends, is_strict=behind.is_strict)
    publisher = _publisher(pictures, policy, clock, behind.cluster) if behind.publish else None
    return UpstreamStore(local, pictures, publisher)


def mirrors(clock: Clock, *backends: Backend, is_strict: bool = False) -> list[Mirror]:
    """Of one registry, which holds all that it takes; or of two, where each holds what came by its own protocol."""
    if len(backends) == 1:
        return [Mirror(backends[0], clock, is_strict=is_strict)]
    return [Mirror(one, clock, concerns=partial(_is_its_own, one), is_strict=is_strict) for one in backends]


def hear_of(store: Store) -> Hear | None:
    """Who is to be told what Eureka servers behind us say as our peers; None when there are none."""
    if isinstance(store, SwitchingStore):
        store = store.current
    for mirror in store.mirrors if isinstance(store, UpstreamStore) else ():
        if isinstance(mirror.backend, EurekaBackend):
            return mirror.backend.hear
    return None


async def is_node(node: str, url: str, trust: Trust | None = None) -> bool:
    """Whether a registry that this URL names is the server of ours with that name, under whatever address."""
    for registry in upstreams([url]):
        is_eureka = registry.origin is Origin.EUREKA
        bases = [base if is_eureka else f"{base}/eureka" for base in registry.bases]  # every port answers both
        outbound = Outbound(bases, auth=registry.credentials, trust=trust)
        client = EurekaClient(outbound)
        try:
            names = await asyncio.gather(*map(client.node, bases), return_exceptions=True)
        finally:
            await outbound.close()
        if node in names:
            return True
    return False


def _is_its_own(backend: Backend, key: RecordKey) -> bool:
    """With a registry for each protocol, an instance belongs to that of the protocol by which it came."""
    if isinstance(key, InstanceKey):
        return key.origin is backend.origin and backend.takes(key)
    return backend.takes(key)


def _publisher(pictures: Sequence[Mirror], policy: Policy, clock: Clock, cluster: str) -> Publisher:
    backends = [picture.backend for picture in pictures]
    client = next(one.client for one in backends if isinstance(one, ServiceCenterBackend))
    return Publisher(pictures, client, cluster, policy, clock)


def _backend(registry: UpstreamUrl, policy: Policy, clock: Clock, cluster: str, trust: Trust) -> Backend:
    if registry.origin is Origin.EUREKA:
        outbound = Outbound(registry.bases, auth=registry.credentials, trust=trust, clock=clock)
        find_facades = partial(facades_among, trust=trust)
        return EurekaBackend(EurekaClient(outbound), policy, clock, cluster=cluster, find_facades=find_facades)
    client = ServiceCenterClient(Outbound(registry.bases, trust=trust, clock=clock), registry.credentials, clock)
    return ServiceCenterBackend(client, policy, clock, cluster=cluster)
