"""An existing server's file, read by Spring and by `--import-eureka`: each key that changes answers means the same.

What Spring has read is told by its own /actuator/configprops, of a running server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from conformance.conftest import RanAgainst
from conformance.peers.builds import MissingToolError, maven_build, tool
from conformance.peers.processes import PROJECT, Processes, Program

_ALONE = """
eureka:
  instance: {hostname: localhost}
  client: {register-with-eureka: false, fetch-registry: false}
"""

# Name of the file, its text, and what is in the environment beside it.
FILES: dict[str, tuple[str, str, Mapping[str, str]]] = {
    "spellings": (
        "application.yml",
        _ALONE
        + """
  server:
    enableSelfPreservation: false
    renewal_percent_threshold: 0.49
    DISABLE-DELTA: true
    sync-when-timestamp-differs: off
    evictionIntervalTimerInMs: 4000
    retention-time-in-m-s-in-delta-queue: 120000
server: {port: '${PORT}'}
""",
        {},
    ),
    "profiles-and-placeholders": (
        "application.yml",
        _ALONE.replace("fetch-registry: false", "fetch-registry: false, service-url: {defaultZone: '${peers}'}")
        + """
  server:
    renewal-percent-threshold: ${threshold:0.7}
    eviction-interval-timer-in-ms: ${interval}
interval: 2500
peers: http://jack:p%40ss@one:8761/eureka/,http://two:8761/eureka
server.port: ${PORT}
---
spring.config.activate.on-profile: peer1
eureka.server.enable-self-preservation: false
eureka.server.disable-delta: true
---
spring.config.activate.on-profile: "!peer1"
eureka.server.renewal-percent-threshold: 0.2
""",
        {"SPRING_PROFILES_ACTIVE": "peer1", "EUREKA_SERVER_SYNCWHENTIMESTAMPDIFFERS": "false"},
    ),
    "properties-with-zones": (
        "application.properties",
        """
eureka.instance.hostname=localhost
eureka.client.register-with-eureka=false
eureka.client.fetch-registry = false
eureka.client.region: here
eureka.client.availability-zones.here=b,a
eureka.client.service-url.a=http://a:8761/eureka/
eureka.client.service-url.b=http://b1:8761/eureka/,\\
  http://b2:8761/eureka/
eureka.server.enableSelfPreservation=FALSE
eureka.server.eviction-interval-timer-in-ms=1500
server.port=${PORT}
""",
        {},
    ),
}


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("name", "text", "environment"), FILES.values(), ids=FILES.keys())
def test_a_file_means_to_us_what_it_means_to_spring(
    name: str,
    text: str,
    environment: Mapping[str, str],
    eureka_kind: str,
    processes: Processes,
    free_port: Callable[[], int],
    ran_against: RanAgainst,
    tmp_path: Path,
) -> None:
    if eureka_kind == "real":
        pytest.skip("it asks both")
    file = tmp_path / name
    file.write_text(text)
    port = free_port()
    environment = {"PORT": str(port), **environment}
    ours = _read_by_us(file, environment)
    try:
        spring = _read_by_spring(processes, file, port, environment)
    except MissingToolError as missing:
        pytest.skip(str(missing))
    ran_against("eureka", "ours and a real server with one file")

    server, client = spring["eureka.server"], spring["eureka.client"]
    assert ours["self_preservation"] == str(server["enableSelfPreservation"]).lower()
    assert float(ours["renewal_threshold"]) == server["renewalPercentThreshold"]
    assert ours["eureka_disable_delta"] == str(server["disableDelta"]).lower()
    assert ours["eureka_sync_when_timestamp_differs"] == str(server["syncWhenTimestampDiffers"]).lower()
    assert float(ours["eureka_delta_window_s"]) == server["retentionTimeInMSInDeltaQueue"] / 1000
    assert float(ours["eviction_interval_s"]) == server["evictionIntervalTimerInMs"] / 1000
    assert ours["listen"].split(",")[0] == f"0.0.0.0:{port}"

    zones = client["availabilityZones"].get(client["region"], "defaultZone").split(",")
    urls = [url.strip() for zone in zones for url in client["serviceUrl"].get(zone, "").split(",") if url]
    stated = [url.replace("p%40ss", "***") for url in urls if "localhost" not in url]  # Spring's own default is itself
    assert [url for url in ours["eureka_peers"].split(",") if url] == stated


def _read_by_us(file: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Setting to value, as `config show` tells."""
    told = subprocess.run(
        [sys.executable, "-m", "facade", "config", "show", "--import-eureka", str(file)],
        env=os.environ | {"PYTHONPATH": str(PROJECT)} | dict(environment),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    value_at, unit_at = told[0].index("VALUE"), told[0].index("UNIT")
    return {line[:value_at].strip(): line[value_at:unit_at].strip() for line in told[1:]}


def _read_by_spring(
    processes: Processes, file: Path, port: int, environment: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Prefix to the properties of its bean, as Spring has bound them."""
    program = Program(
        name="eureka",
        command=[
            *(tool("java"), "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", maven_build("eureka")),
            f"--spring.config.location=file:{file}",
            "--management.endpoints.web.exposure.include=configprops",
            "--management.endpoint.configprops.show-values=always",
        ],
        url=f"http://127.0.0.1:{port}",
        ready="/actuator/configprops",
        environment=environment,
    )
    running = processes.start(program)
    answer = httpx.get(f"{running.url}/actuator/configprops", timeout=30)
    running.stop()
    [context] = json.loads(answer.text)["contexts"].values()
    return {bean["prefix"]: bean["properties"] for bean in context["beans"].values()}
