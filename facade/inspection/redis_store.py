"""Looks at the Redis that servers of ours share: whether it will do, whether it lasts, who is there. It writes nothing.

What Redis says of itself (INFO) is asked for rather than its settings: our account may not read those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from facade.clock import Clock
from facade.errors import StartRefused, StoreUnavailable
from facade.inspection.findings import Level, Report
from facade.registry.store import NodeHealth
from facade.stores.redis_link import Link
from facade.stores.redis_nodes import Nodes
from facade.stores.redis_rejoining import SCHEMA_VERSION
from facade.stores.redis_url import RedisUrl
from facade.tls import Trust

NEARLY_FULL = 0.8
SENTINELS_AT_LEAST = 3
"""Of two, none may fail: the other one is no majority."""
MB = 1 << 20

_HERE = frozenset({"127.0.0.1", "localhost", "::1"})

Told = tuple[Level, str]


async def look_at_redis(url: RedisUrl, cluster: str, trust: Trust, clock: Clock) -> Report:
    report = Report()
    link = Link(url, cluster, trust)
    try:
        await link.connect()
        before_ms = clock.now_ms()
        info = await link.info()
        after_ms = clock.now_ms()
        nodes = Nodes(link, {}, clock, "doctor", "", 0.0)
        look = await nodes.look("", "")
        sentinels = await link.sentinels()
    except StartRefused as error:
        report.add(Level.PROBLEM, link.title, str(error).removeprefix(f"store: {link.title} "))
        return report
    except StoreUnavailable as error:
        why = str(error).removeprefix(f"{link.title} ")
        tls = "a certificate of ours (--tls-certificate)" if url.is_tls else "TLS (rediss://)"
        advice = f"is it running, is the address right, does it want {tls}, does a firewall stand between?"
        report.add(Level.PROBLEM, link.title, f"cannot be reached ({why}): {advice}")
        return report
    finally:
        await link.close()
    report.asked = 1
    report.add(Level.OK, link.title, f"answers within {after_ms - before_ms} ms: {_product(info)}")
    report.compare_clocks(link.title, int(info.get("server_time_usec", 0)) / 1e6 - (before_ms + after_ms) / 2e3)
    for level, text in (
        *_way(url),
        *of_server(info),
        *of_sentinels(sentinels),
        *_data(look.schema, cluster),
        *of_nodes(nodes.nodes()[1:]),
    ):
        report.add(level, link.title, text)
    return report


def _product(info: Mapping[str, Any]) -> str:
    return f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"


def _way(url: RedisUrl) -> Iterator[Told]:
    yield Level.OK, "our account may do all that is needed"
    if _HERE.issuperset(host for host, _ in url.hosts):
        return
    if url.password is None:
        yield (
            Level.WARNING,
            "lets us in without a password: whoever reaches it can register instances and read the key that signs "
            "tokens; give it one (docs/deployment.md)",
        )
    if not url.is_tls:
        yield Level.WARNING, "is asked without TLS: what is kept there can be read on the way; use rediss://"


def of_server(info: Mapping[str, Any]) -> Iterator[Told]:
    """`info` is its answer to INFO."""
    yield from _memory(info)
    yield from _persistence(info)
    if info.get("role") == "slave":
        primary = f"{info.get('master_host')}:{info.get('master_port')}"
        yield Level.PROBLEM, f"is a replica of {primary}, and takes no writes: name that one, or its sentinels"
        return
    replicas = int(info.get("connected_slaves", 0))
    yield Level.OK, f"replicas: {replicas}" + ("" if replicas else "; while it is away, nodes live on what they know")
    if "min_slaves_good_slaves" not in info:  # told only where it is asked for
        return
    good = int(info["min_slaves_good_slaves"])
    told = f"refuses writes while too few replicas follow it (min-replicas-to-write); {good} do"
    if good:
        yield Level.OK, told
    else:
        yield Level.PROBLEM, f"{told}: start them, or set it to 0, for nodes put back what a fail-over loses"


def _memory(info: Mapping[str, Any]) -> Iterator[Told]:
    used, most, policy = int(info["used_memory"]), int(info.get("maxmemory", 0)), info.get("maxmemory_policy")
    told = f"uses {used / MB:.0f} MB of memory" + (f" of {most / MB:.0f} (maxmemory)" if most else ", without a limit")
    if most and used >= NEARLY_FULL * most:
        yield Level.WARNING, f"{told}: raise maxmemory, for a full one refuses registrations"
    else:
        yield Level.OK, told
    if policy != "noeviction":
        level = Level.PROBLEM if most else Level.WARNING
        when = "when it is full" if most else "once it has a limit"
        advice = "set maxmemory-policy noeviction"
        yield level, f"throws registrations away {when} (maxmemory-policy {policy}): {advice}"


def _persistence(info: Mapping[str, Any]) -> Iterator[Told]:
    if int(info.get("aof_enabled", 0)):
        yield Level.OK, "appends each write to a file"
    else:
        yield (
            Level.WARNING,
            "keeps no log of writes: restarted, it holds what its last snapshot did, or nothing, and accounts are lost "
            "if no node is left to put them back; set appendonly yes and appendfsync everysec",
        )
    for field, what in (("aof_last_write_status", "log of writes"), ("rdb_last_bgsave_status", "last snapshot")):
        if info.get(field, "ok") != "ok":
            yield Level.PROBLEM, f"cannot write its {what}, and refuses ours for it: is its disk full, or not its own?"


def of_sentinels(told: Sequence[tuple[str, Mapping[str, Any] | str]]) -> Iterator[Told]:
    """`told` is what each of those in the URL says of the master, or why it does not."""
    if not told:
        return
    answers = [answer for _, answer in told if not isinstance(answer, str)]
    for name, answer in told:
        if isinstance(answer, str):
            yield Level.WARNING, f"its sentinel {name} does not answer ({answer}): start it, or take it out of the URL"
    known = max((int(answer["num-other-sentinels"]) + 1 for answer in answers), default=0)
    replicas = max((int(answer["num-slaves"]) for answer in answers), default=0)
    if known < SENTINELS_AT_LEAST:
        yield Level.WARNING, f"sentinels that know each other: {known}; run three, so that two are left to agree"
    else:
        yield Level.OK, f"sentinels that know each other: {known}"
    if not replicas:
        yield Level.WARNING, "no sentinel knows a replica of it, so nothing takes its place: start one"


def _data(schema: str, cluster: str) -> Iterator[Told]:
    if not schema:
        yield Level.OK, f"holds nothing of a cluster {cluster!r} yet"
    elif schema == str(SCHEMA_VERSION):
        yield Level.OK, f"holds data of the cluster {cluster!r}, version {schema} of their form"
    else:
        advice = "run the release that wrote them, or name another --cluster"
        yield Level.PROBLEM, f"holds data in version {schema} of their form; we know {SCHEMA_VERSION}: {advice}"


def of_nodes(nodes: Sequence[NodeHealth]) -> Iterator[Told]:
    well = [node for node in nodes if not node.is_missing]
    if names := sorted(node.name for node in well):
        yield Level.OK, f"nodes that share it: {len(names)} ({', '.join(names)})"
    else:
        yield Level.OK, "no node shares it at the moment"
    for node in nodes:
        if node.is_missing:
            yield (
                Level.WARNING,
                f"the node {node.name} has gone without a word {node.age_s:.0f} s ago, and leases that it heard last "
                "are kept: start it again, or wait for --protection-limit-s",
            )
    for name, times in Counter(node.name for node in well).items():
        if times > 1:
            advice = "give each a name of its own: the host's, or another port"
            yield Level.WARNING, f"{times} nodes call themselves {name}: {advice}"
