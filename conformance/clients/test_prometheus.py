"""Prometheus' eureka_sd (case 199): it reads XML without asking for it, and strictly."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from conformance.clients.conftest import Live
from conformance.clients.life import Life, soon
from conformance.clients.programs import PROMETHEUS

pytestmark = pytest.mark.parametrize("client", PROMETHEUS, ids=str, indirect=True)

LEASE = {"renewalIntervalInSecs": 30, "durationInSecs": 600}


def targets(life: Life) -> dict[str, dict[str, Any]]:
    """Its targets' labels as discovered, by instance id."""
    found = httpx.get(f"{life.running.url}/api/v1/targets").json()["data"]["activeTargets"]
    discovered = [target["discoveredLabels"] for target in found]
    return {labels["__meta_eureka_app_instance_id"]: labels for labels in discovered}


def test_199_lists_what_is_registered(live: Live, app: str) -> None:
    """Lists all instances whatever their status, with labels of their values, and drops who is gone; no complaint."""
    prometheus = live()
    eureka, name = prometheus.registry.eureka, app.upper()
    eureka.given(name, "up", metadata={"team": "blue & <green>", "my_key": "1"}, leaseInfo=LEASE)
    eureka.given(name, "down", status="DOWN", hostName="h2", leaseInfo=LEASE)
    soon(lambda: {"up", "down"} <= set(targets(prometheus)))

    stated = {
        "__address__": "h1:8080",
        "__meta_eureka_app_name": name,
        "__meta_eureka_app_instance_hostname": "h1",
        "__meta_eureka_app_instance_ip_addr": "10.0.0.1",
        "__meta_eureka_app_instance_status": "UP",
        "__meta_eureka_app_instance_port": "8080",
        "__meta_eureka_app_instance_port_enabled": "true",
        "__meta_eureka_app_instance_vip_address": "v1",
        "__meta_eureka_app_instance_datacenterinfo_name": "MyOwn",
        # Prometheus takes what stands in the XML as it stands there.
        "__meta_eureka_app_instance_metadata_team": "blue &amp; &lt;green&gt;",
        "__meta_eureka_app_instance_metadata_my__key": "1",
    }
    labels = targets(prometheus)
    assert {key: labels["up"].get(key) for key in stated} == stated
    assert labels["down"]["__meta_eureka_app_instance_status"] == "DOWN"

    eureka.cancel(name, "up")
    soon(lambda: "up" not in targets(prometheus))
    eureka.cancel(name, "down")
    soon(lambda: "down" not in targets(prometheus))
    assert prometheus.wire.statuses("GET", "/eureka/apps") == {200}
    assert not re.findall(r".*level=(?:error|warn).*", prometheus.running.log_text)


def test_follows_a_restart(live: Live, app: str) -> None:
    """Lists what is registered after the server was restarted without state."""
    prometheus = live()
    prometheus.registry.restart()
    prometheus.registry.eureka.given(app.upper(), "up", leaseInfo=LEASE)
    soon(lambda: "up" in targets(prometheus))

    prometheus.registry.eureka.cancel(app.upper(), "up")
