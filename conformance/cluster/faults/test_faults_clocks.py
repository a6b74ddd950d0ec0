"""The wall clocks of all nodes go back, again and again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from .load import Load
from .stage import NODES, Stage, WallClock, in_thread
from .test_faults_redis import assert_nobody_registered_anew

TIMES = ("registrationTimestamp", "lastUpdatedTimestamp", "timestamp", "modTimestamp")


def times_shown(url: str, services: list[str]) -> dict[tuple[str, str], int]:
    """Of each instance that either protocol lists, its times, by the name that the protocol has for each."""
    apps = httpx.get(f"{url}/eureka/apps", headers={"Accept": "application/json"}, timeout=5).json()
    found = [one for app in apps["applications"]["application"] for one in app["instance"]]
    shown = {}
    for service in services:
        query = {"appId": "eureka", "serviceName": service}
        answer = httpx.get(f"{url}/v4/default/registry/instances", params=query, timeout=5)
        found += json.loads(answer.content).get("instances", ()) if answer.status_code == 200 else ()
    for one in found:
        times = {**one, **one.get("leaseInfo", {})}
        shown |= {(one["instanceId"], name): int(times[name]) for name in TIMES if name in times}
    return shown


@pytest.mark.timeout(1200)
def test_the_wall_clocks_of_all_nodes_go_back_each_second(
    with_wall_clock: Callable[[int], tuple[Stage, WallClock]], is_full: bool
) -> None:
    """F16: nobody is evicted. The times of a record do not go back; of those that are cancelled and come again, and of
    leases, which each node begins for itself, what is seen is printed, not judged."""
    stage, clock = with_wall_clock(NODES)
    latest: dict[tuple[str, str], int] = {}
    gone_back: Counter[str] = Counter()
    """By the name of the time."""

    def look(services: list[str]) -> None:
        for url in stage.urls:
            for (who, name), ms in times_shown(url, services).items():
                gone_back[name] += ms < latest.get((who, name), 0)
                latest[who, name] = max(ms, latest.get((who, name), 0))

    async def story(load: Load) -> None:
        names = load.fleet.names
        services = [names.service(number) for number in range(2)]
        with load.broken("all clocks go back by 1 s each second"):
            for second in range(60 if is_full else 20):
                clock.put_off_by(f"-{second + 1}")
                await in_thread(look, services)
                await load.go_on(1.0)

    load = stage.play(story, contend_at=NODES - 1)

    stage.report.tell(f"times shown earlier than before: {dict(gone_back)}, of {len(latest)} watched")
    assert gone_back.keys() == set(TIMES)
    assert_nobody_registered_anew(load)
