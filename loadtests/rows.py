"""What is asked, row by row, and the least that is expected of ours there.

Servers by what they hold:
eureka          all instances, none changed lately: the delta is quiet
holding         all instances, and a delta that holds them all
no-lane         ours only, as eureka, started with --no-lane
servicecenter   as many instances, registered in that protocol
Writes come last: a delta that holds their changes would be no quiet one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from loadtests.registrations import (
    DIRTY_MS,
    HUGE,
    LARGE,
    PER_APPLICATION,
    eureka_instance,
    service_name,
    servicecenter_instance,
)
from loadtests.work import NO_GOALS, Goals, Work

SAMPLE = 2_000
"""Different requests of one kind; more would only fill wrk's memory."""

AS_JSON, GZIP = ("Accept", "application/json"), ("Accept-Encoding", "gzip")
JSON_BODY, XML_BODY = ("Content-Type", "application/json"), ("Content-Type", "application/xml")
FULL, DELTA = "GET /eureka/apps/", "GET /eureka/apps/delta"


def rows(count: int, service_ids: Sequence[str], revision: str) -> list[Work]:
    """`service_ids` and `revision`, that of the first service, are of the ServiceCenter that is asked."""
    return [*_eureka_reads(count), *_eureka_writes(count), *_servicecenter(count, service_ids, revision)]


def renewals(count: int) -> list[str]:
    return [_renewal(number) for number in _sampled(count)]


def heartbeats(count: int, service_ids: Sequence[str]) -> list[str]:
    return [f"PUT {_instances(service_ids, number)}/{number:032x}/heartbeat" for number in _sampled(count)]


def _eureka_reads(count: int) -> list[Work]:
    everything = (AS_JSON, GZIP)
    works = [
        Work("Eureka renewal", "eureka", renewals(count), goals=Goals(0.55, 1.5, 8)),
        Work("Eureka renewal, without the lane", "no-lane", renewals(count), goals=Goals(0.12, 0.4)),
        Work(
            f"Eureka application of {len(LARGE)}, gzip",
            "eureka",
            [f"GET /eureka/apps/{eureka_instance(0)['app']}"],
            everything,
            lists=min(len(LARGE), count),
            goals=Goals(0.4, 1.1, 8),
        ),
        _bulk("Eureka full fetch, gzip", "eureka", FULL, everything, count, Goals(0.8, None, 4)),
        _bulk("Eureka full fetch, plain", "eureka", FULL, (AS_JSON,), count, is_in_quick=False),
        _bulk("Eureka delta of all, gzip", "holding", DELTA, everything, count, Goals(None, None, 4)),
        Work("Eureka delta, quiet, gzip", "eureka", [DELTA], everything, lists=0, goals=Goals(0.45, 1.2, 5)),
        Work("Eureka delta, quiet, plain", "eureka", [DELTA], (AS_JSON,), lists=0, is_in_quick=False),
    ]
    if count >= HUGE.stop:
        lines = [_renewal(number) for number in HUGE]
        works.insert(1, Work(f"Eureka renewal in an application of {len(HUGE):,}", "eureka", lines))
    return works


def _bulk(
    name: str,
    asked_of: str,
    line: str,
    headers: tuple[tuple[str, str], ...],
    count: int,
    goals: Goals = NO_GOALS,
    is_in_quick: bool = True,
) -> Work:
    return Work(name, asked_of, [line], headers, lists=count, is_bulk=True, goals=goals, is_in_quick=is_in_quick)


def _eureka_writes(count: int) -> list[Work]:
    """The mix registers twenty instances again and again. At this speed any more would be in the delta within seconds,
    and the row would measure its bytes."""
    json_lines = [_registration(number) for number in _sampled(count)]
    xml = [f"POST /eureka/apps/{info['app']} {_xml(info)}" for info in map(eureka_instance, _sampled(count))]
    mixed = _mixed(renewals(count), DELTA, FULL, json_lines)
    headers = (AS_JSON, GZIP, JSON_BODY)
    json_goals, xml_goals = Goals(0.2, 0.6, 3), Goals(0.05, 0.12)
    return [
        Work("Eureka mixed fleet", "eureka", mixed, headers, goals=Goals(0.45, 1.3, 8)),
        Work("Eureka registration, JSON", "eureka", json_lines, (JSON_BODY,), status=204, goals=json_goals),
        Work("Eureka registration, XML", "eureka", xml, (XML_BODY,), status=204, goals=xml_goals),
    ]


def _servicecenter(count: int, service_ids: Sequence[str], revision: str) -> list[Work]:
    """Registrations are of new instances: the original takes a known one for a heartbeat and writes nothing."""
    beats = heartbeats(count, service_ids)
    find, unchanged = _find(0), f"{_find(0)}&rev={revision}"
    finds = [_find(number) for number in range(0, count, PER_APPLICATION) if number not in (*LARGE, *HUGE)]
    registrations = []
    for number in _sampled(count):
        instance = servicecenter_instance(number) | {"endpoints": ["rest://host-@@:8080"]}
        del instance["instanceId"]
        body = json.dumps({"instance": instance}, separators=(",", ":"))
        registrations.append(f"POST {_instances(service_ids, number)} {body}")
    # Not into the service that is polled: in a fleet most polls are of services in which nothing happens.
    mixed = _mixed(beats, unchanged, find, registrations[len(registrations) // 2 :])
    large, asked = min(len(LARGE), count), "servicecenter"
    find_goals = Goals(0.3, None, 15)
    return [
        Work("ServiceCenter heartbeat", asked, beats, goals=Goals(0.5, 1.4, 8)),
        Work("ServiceCenter find, unchanged (304)", asked, [unchanged], status=304, goals=Goals(0.45, 1.2, 6)),
        Work(f"ServiceCenter find of {len(LARGE)}", asked, [find], lists=large, goals=find_goals),
        Work(
            f"ServiceCenter find of {PER_APPLICATION}, all services",
            asked,
            finds,
            lists=PER_APPLICATION,
            is_in_quick=False,
        ),
        Work("ServiceCenter mixed fleet", asked, mixed, (JSON_BODY,), goals=Goals(0.45, 1.3, 8)),
        Work("ServiceCenter registration", asked, registrations, (JSON_BODY,), goals=Goals(0.2, 0.6, 20)),
    ]


def _mixed(beats: Sequence[str], poll: str, full: str, registrations: Sequence[str]) -> list[str]:
    """Of a hundred: 49 renewals, 49 polls, one that fetches everything, one that registers."""
    lines: list[str] = []
    step = max(1, len(registrations) // (SAMPLE // 100))
    for number, registration in enumerate(registrations[::step][: SAMPLE // 100]):
        for at in range(49):
            lines += [beats[(number * 49 + at) % len(beats)], poll]
        lines += [full, registration]
    return lines


def _sampled(count: int) -> list[int]:
    """Evenly, without the huge application's, which has a row of its own."""
    return [number for number in range(0, count, max(1, count // SAMPLE)) if number not in HUGE]


def _renewal(number: int) -> str:
    info = eureka_instance(number)
    return f"PUT /eureka/apps/{info['app']}/{info['instanceId']}?status=UP&lastDirtyTimestamp={DIRTY_MS}"


def _registration(number: int) -> str:
    """With a growing timestamp, as of a client that restarts."""
    changing = eureka_instance(number) | {"lastDirtyTimestamp": "@@"}
    return f"POST /eureka/apps/{changing['app']} {json.dumps({'instance': changing}, separators=(',', ':'))}"


def _instances(service_ids: Sequence[str], number: int) -> str:
    return f"/v4/default/registry/microservices/{service_ids[number // PER_APPLICATION]}/instances"


def _find(number: int) -> str:
    return f"GET /v4/default/registry/instances?appId=default&serviceName={service_name(number)}&version=0%2B"


def _xml(info: dict[str, object]) -> str:
    """As a Netflix client writes XML, with a timestamp that grows."""

    def element(name: str, value: object) -> str:
        if isinstance(value, dict) and "$" in value:
            return f'<{name} enabled="{value["@enabled"]}">{value["$"]}</{name}>'
        if isinstance(value, dict):
            kind = f' class="{value["@class"]}"' if "@class" in value else ""
            inner = "".join(element(key, one) for key, one in value.items() if key != "@class")
            return f"<{name}{kind}>{inner}</{name}>"
        return f"<{name}>{value}</{name}>"

    return element("instance", info | {"lastDirtyTimestamp": "@@"})
