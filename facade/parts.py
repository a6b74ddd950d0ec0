"""The parts of a server, each as the settings ask for it: store, peers, accounts, TLS, policy. Nothing runs here yet.

Each raises StartRefused, naming the setting, where the settings do not fit together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

from facade.access.accounts import Accounts
from facade.access.control import AccessControl
from facade.clock import Clock
from facade.config import Address, Settings, shown
from facade.errors import StartRefused, StoreUnavailable
from facade.eureka.peers import Peers, connected
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.registry.store import Store
from facade.stores.left import note_left, refuse_left
from facade.stores.opening import Behind, is_node, open_store
from facade.stores.switchboard import Switchboard
from facade.stores.switching import SwitchingStore
from facade.stores.urls import upstreams
from facade.tls import ServerTls, Trust


def tls_of(settings: Settings) -> ServerTls | None:
    """None where every address is plain. Raises StartRefused."""
    if settings.tls_certificate is not None:
        return ServerTls(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    for name in ("tls_key", "tls_client_ca"):
        if getattr(settings, name) is not None:
            raise StartRefused(f"{name}: there is no TLS without a certificate: name one with --tls-certificate")
    for address in settings.listen:
        if address.scheme == "https":
            raise StartRefused(f"listen: {address.url} needs a certificate: name one with --tls-certificate")
    return None


def trust_of(settings: Settings) -> Trust:
    """Raises StartRefused."""
    trust = Trust(settings.trusted_ca, settings.tls_certificate, settings.tls_key)
    if settings.trusted_ca is not None:
        trust.context()
    return trust


def store_of(settings: Settings, clock: Clock, trust: Trust | None = None) -> Store:
    """Raises StartRefused."""
    refuse_left(settings.data_dir, shown(settings.store))
    return open_store(settings.store, settings.data_dir, clock, policy_of(settings), _behind(settings, trust))


def opener_of(settings: Settings, clock: Clock, trust: Trust | None = None) -> Callable[[str], Store]:
    """How a tool opens stores: no write waits in its memory for a registry that is away."""
    behind = dataclasses.replace(_behind(settings, trust), is_strict=True, publish=False)
    return lambda url: open_store([url], settings.data_dir, clock, policy_of(settings), behind)


def _behind(settings: Settings, trust: Trust | None) -> Behind:
    return Behind(
        is_strict=settings.when_upstream_fails == "strict",
        publish=settings.publish,
        cluster=settings.cluster,
        trust=trust or Trust(),
        node=str(Address(settings.host_name, settings.listen[0].port)),
    )


def switchboard_of(
    settings: Settings, store: SwitchingStore, registry: Registry, trust: Trust | None = None
) -> Switchboard:
    """Over a store that is the one of the settings until it is switched."""
    stated = shown(settings.store)

    def open_new(url: str) -> tuple[Store, str]:
        if settings.publish:
            raise StartRefused("publish: copies go between two registries behind us; start anew with another --store")
        if settings.eureka_peers and upstreams([url]):
            raise StartRefused("store: with eureka_peers, records live in a store of our own")
        behind = _behind(settings, trust)
        return open_store([url], settings.data_dir, registry.clock, policy_of(settings), behind), shown(url)

    def note_switched(now: str) -> None:
        note_left(settings.data_dir, stated, now, registry.clock.now_ms())

    is_ourselves = partial(is_node, registry.node, trust=trust)
    return Switchboard(store, registry, stated, open_new, note_switched, is_ourselves)


def peers_of(settings: Settings, registry: Registry, trust: Trust | None = None) -> Peers | None:
    """Raises StartRefused."""
    if not settings.eureka_peers:
        return None
    if upstreams(settings.store):
        raise StartRefused(
            "eureka_peers: a registry behind us tells its own nodes; name peers of a store of our own only"
        )
    return Peers(registry, settings.eureka_peers, partial(connected, trust=trust))


async def access_of(settings: Settings, registry: Registry) -> AccessControl | None:
    """Over an open registry. A store of many nodes that is away has not told who there is: the server goes on.

    Raises: StartRefused.
    """
    if not settings.auth:
        return None
    access = AccessControl(registry)
    try:
        await Accounts(registry, access).open(settings.data_dir, settings.signing_key)
    except StoreUnavailable as error:
        if not registry.is_shared:
            raise StartRefused(f"auth: the first accounts cannot be written: {error}") from None
    return access


def policy_of(settings: Settings) -> Policy:
    return Policy(
        self_preservation=settings.self_preservation,
        renewal_threshold=settings.renewal_threshold,
        protection_limit_s=settings.protection_limit_s,
        eviction_interval_s=settings.eviction_interval_s,
        exact_leases=settings.exact_leases,
        eureka_app=settings.eureka_app,
        plain_apps=settings.plain_apps,
        merge=settings.merge,
        share=settings.share,
        hide=settings.hide,
        keep_marks=settings.keep_marks,
    )
