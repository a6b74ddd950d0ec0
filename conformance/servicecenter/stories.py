"""What time does to leases and sockets, as test_leases.py reads it.

The shortest lease lasts 20 s and a server pings each 30 s. All stories run side by side, and beside all other tests.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from conformance.peers.patience import PATIENCE_S

from .asking import Answer, ServiceCenter, Shop, assert_ok, unique
from .sockets import opened

SHORTEST = {"mode": "push", "interval": 5, "times": 3}  # a lease of 20 s
PAST_A_PING = {"mode": "push", "interval": 9, "times": 3}  # a lease of 36 s, ended long before 45 s without renewals
PING_WITHIN_S = PATIENCE_S


@dataclass(frozen=True)
class Lapse:
    """What was seen of an instance that sends no heartbeat, and of one beside it that sends one after 15 s."""

    at_15_s: set[str]
    at_26_s: set[str]
    silent: str
    renewed: str
    event: dict[str, Any]
    heartbeat: Answer
    registered_again: Answer
    seen_again: dict[str, Any]


def lapse(sc: ServiceCenter) -> Lapse:
    shop = Shop.create(sc, unique("lapse"))
    start = time.monotonic()
    silent = sc.register(shop.s1, instanceId=unique("silent"), healthCheck=SHORTEST, endpoints=["rest://old:1"])
    renewed = sc.register(shop.s2, healthCheck=SHORTEST)
    _sleep_until(start + 15)
    at_15_s = sc.find(shop.app, "prov", consumer=shop.consumer).instance_ids()
    assert_ok(sc.put(f"microservices/{shop.s2}/instances/{renewed}/heartbeat"))
    with opened(sc, f"microservices/{shop.consumer}/watcher") as watch:
        _sleep_until(start + 26)
        at_26_s = sc.find(shop.app, "prov").instance_ids()
        event = watch.next_event()
    path = f"microservices/{shop.s1}/instances"
    heartbeat = sc.put(f"{path}/{silent}/heartbeat")
    instance = {"instanceId": silent, "hostName": "back", "endpoints": ["rest://new:1"]}
    registered_again = sc.post(path, {"instance": instance})
    sc.soon(lambda: sc.instance(shop.s1, silent))
    seen_again = sc.instance(shop.s1, silent)
    return Lapse(at_15_s, at_26_s, silent, renewed, event, heartbeat, registered_again, seen_again)


def kept_alive_by_a_socket(sc: ServiceCenter) -> tuple[bool, bool]:
    """Whether an instance outlives its lease with a heartbeat socket that answers pings, and without one."""
    shop = Shop.create(sc, unique("socket"))
    start = time.monotonic()
    alone = sc.register(shop.s1, healthCheck=PAST_A_PING)
    kept = sc.register(shop.s1, healthCheck=PAST_A_PING)
    with opened(sc, f"microservices/{shop.s1}/instances/{kept}/heartbeat"):
        _sleep_until(start + 45)
        found = sc.find(shop.app, "prov").instance_ids()
    return kept in found, alone in found


def pinged_by_the_watcher(sc: ServiceCenter) -> bool:
    shop = Shop.create(sc, unique("pinged"))
    with opened(sc, f"microservices/{shop.consumer}/watcher") as watch:
        return watch.pinged.wait(PING_WITHIN_S)


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


@dataclass(frozen=True)
class Stories:
    lapse: Future[Lapse]
    kept_alive: Future[tuple[bool, bool]]
    pinged: Future[bool]


@contextmanager
def told(sc: ServiceCenter) -> Iterator[Stories]:
    """Each begins now, on a thread of its own."""
    with ThreadPoolExecutor(3) as pool:
        yield Stories(
            pool.submit(lapse, sc), pool.submit(kept_alive_by_a_socket, sc), pool.submit(pinged_by_the_watcher, sc)
        )
