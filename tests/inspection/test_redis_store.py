"""What a doctor says of the Redis that servers of ours share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from conformance.peers.processes import Processes
from conformance.peers.redis import Sentinels, ask, redis
from facade.clock import ManualClock, SystemClock
from facade.inspection.findings import Level, Report
from facade.inspection.redis_store import look_at_redis, of_nodes, of_sentinels, of_server
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.stores import redis_url
from facade.tls import Trust
from tests.ports import free_port
from tests.registry.shared import node
from tests.stores.redis_nodes import redis_store, until

pytestmark = pytest.mark.anyio

WELL = {
    "used_memory": 10 << 20,
    "maxmemory": 100 << 20,
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "rdb_last_bgsave_status": "ok",
    "role": "master",
    "connected_slaves": 1,
    "min_slaves_good_slaves": 1,
}


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as processes:
        yield processes


async def looked_at(url: str, cluster: str = "shop") -> Report:
    return await look_at_redis(redis_url.parse(url), cluster, Trust(), SystemClock())


def amiss(report: Report) -> list[tuple[Level, str]]:
    return [(found.level, found.text) for found in report.findings if found.level is not Level.OK]


def test_of_one_that_is_well_there_is_nothing_to_do() -> None:
    assert {level for level, _ in of_server(WELL)} == {Level.OK}


@pytest.mark.parametrize(
    ("changed", "level", "advice"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, Level.PROBLEM, "set maxmemory-policy noeviction"),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": 0}, Level.WARNING, "once it has a limit"),
        ({"used_memory": 81 << 20}, Level.WARNING, "raise maxmemory"),
        ({"aof_enabled": 0}, Level.WARNING, "set appendonly yes"),
        ({"aof_last_write_status": "err"}, Level.PROBLEM, "cannot write its log"),
        ({"rdb_last_bgsave_status": "err"}, Level.PROBLEM, "cannot write its last snapshot"),
        ({"role": "slave", "master_host": "r1", "master_port": 6379}, Level.PROBLEM, "is a replica of r1:6379"),
        ({"min_slaves_good_slaves": 0}, Level.PROBLEM, "start them, or set it to 0"),
    ],
)
def test_what_stands_in_the_way_is_told_with_what_to_do(changed: Mapping[str, Any], level: Level, advice: str) -> None:
    [(found, text)] = [told for told in of_server(WELL | dict(changed)) if told[0] is not Level.OK]

    assert found is level
    assert advice in text


def test_too_few_sentinels_or_replicas_and_one_that_is_away_are_told() -> None:
    told = [("s1:26379", {"num-other-sentinels": 1, "num-slaves": 0}), ("s2:26379", "no answer")]

    away, few, no_replica = [text for level, text in of_sentinels(told) if level is Level.WARNING]

    assert "sentinel s2:26379 does not answer (no answer)" in away
    assert "run three" in few
    assert "start one" in no_replica


def test_a_node_that_is_missing_and_two_of_one_name_are_told() -> None:
    nodes = [node("n1:8761"), node("n2:8761", is_missing=True, age_s=40.0), node("n1:8761", id="another")]

    gone, twice = [text for level, text in of_nodes(nodes) if level is Level.WARNING]

    assert "the node n2:8761 has gone without a word 40 s ago" in gone
    assert "2 nodes call themselves n1:8761" in twice


async def test_a_real_one_in_use_is_told_and_nothing_is_written(processes: Processes) -> None:
    server = processes.start(redis(free_port()))
    registry = Registry(redis_store(server.url, "shop", SystemClock()), ManualClock(), Policy())
    await registry.open()
    try:
        await until(lambda: ask(server.url, "HLEN", "{shop}:nodes"))
        report = await looked_at(server.url)
        nodes = ask(server.url, "HLEN", "{shop}:nodes")
    finally:
        await registry.close()

    assert (amiss(report), report.asked, nodes) == ([], 1, 1)
    texts = [found.text for found in report.findings]
    assert "nodes that share it: 1 (node:8761)" in texts
    assert "holds data of the cluster 'shop', version 1 of their form" in texts


async def test_an_empty_one_stays_empty(processes: Processes) -> None:
    server = processes.start(redis(free_port()))

    report = await looked_at(server.url)

    assert "holds nothing of a cluster 'shop' yet" in [found.text for found in report.findings]
    assert ask(server.url, "DBSIZE") == 0


async def test_what_a_start_would_be_refused_for_is_told(processes: Processes) -> None:
    server = processes.start(redis(free_port(), "sesame"))
    ask(server.url, "SET", "{strange}:records", "1")
    ask(server.url, "HSET", "{newer}:meta", "schema", "99", "epoch", "e", "head", "1 a")
    ask(server.url, "ACL", "SETUSER", "ann", "on", ">secret", "~*", "+@all", "-hset")
    port = server.url.rpartition(":")[2]
    told = {
        "another password": await looked_at(f"redis://:wrong@127.0.0.1:{port}"),
        "a foreign key": await looked_at(server.url, "strange"),
        "a newer release": await looked_at(server.url, "newer"),
        "rights": await looked_at(f"redis://ann:secret@127.0.0.1:{port}"),
        "away": await looked_at("redis://127.0.0.1:1"),
        "away over TLS": await looked_at("rediss://127.0.0.1:1"),
    }

    texts = {name: [text for level, text in amiss(report) if level is Level.PROBLEM] for name, report in told.items()}
    assert [len(problems) for problems in texts.values()] == [1, 1, 1, 1, 1, 1]
    assert "does not let us in" in texts["another password"][0]
    assert "another --cluster names other keys" in texts["a foreign key"][0]
    assert "run the release that wrote them" in texts["a newer release"][0]
    assert "HSET of {shop}:meta" in texts["rights"][0]
    assert "is it running" in texts["away"][0]
    assert "does it want TLS (rediss://)" in texts["away"][0]
    assert "does it want a certificate of ours (--tls-certificate)" in texts["away over TLS"][0]
    assert [report.asked for report in told.values()] == [0, 0, 1, 0, 0, 0]
    assert not any(word in str(texts) for word in ("wrong", "secret", "sesame"))


async def test_sentinels_are_asked_and_what_they_lead_to(processes: Processes) -> None:
    group = Sentinels(processes, free_port, replicas=1).start()

    report = await looked_at(group.store)

    assert amiss(report) == []
    texts = [found.text for found in report.findings]
    assert "sentinels that know each other: 3" in texts
    assert "replicas: 1" in texts


async def test_a_clock_that_is_far_away_is_a_problem() -> None:
    report = Report()
    report.compare_clocks("r", 61.0)
    report.compare_clocks("r", -5.0)

    assert [found.level for found in report.findings] == [Level.PROBLEM, Level.WARNING]
    assert "behind ours: let both follow one time server" in report.findings[1].text
