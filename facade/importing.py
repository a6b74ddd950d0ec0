"""An existing Eureka server's settings -> ours: what each key becomes here, or why it becomes nothing.

In:     the properties of a Spring Eureka server.
Out:    texts for knobs, as a variable would state them, and a row for each key: used, mapped or ignored.
Rules:  the file is weaker than every other source of settings. A login or TLS that the file asks for, and that does
        not come of it here, keeps us on loopback. Raises StartRefused for what Spring could not read either.
Source: spring-cloud-netflix, EurekaServerConfigBean, EurekaClientConfigBean, InstanceRegistryProperties.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from facade.spring_properties import Properties, Property, read, refused, uniform

Outcome = Literal["used", "mapped", "ignored"]

_SPRING_GATE_MS = 300_000
"""How long Spring's server refuses lists where it refuses them at all. Source: EurekaServerConfigBean."""
_REGION = "us-east-1"
_DEFAULT_ZONE = "defaultZone"
_EUREKA_PORT = "8761"
_SERVICECENTER_LISTEN = ("127.0.0.1:30100", "127.0.0.1:30103")
"""Our other default addresses: a Eureka server's settings say nothing of them."""


class Row(NamedTuple):
    key: str
    """As the file or the environment spells it."""
    outcome: Outcome
    knob: str
    """"" for what is ignored."""
    reason: str


class Imported(NamedTuple):
    settings: Mapping[str, str]
    origins: Mapping[str, str]
    """For each of these knobs where its value came from, in words."""
    rows: tuple[Row, ...]
    remarks: tuple[str, ...]
    """What was not looked at, in words."""


def read_eureka(path: Path, environment: Mapping[str, str] = os.environ) -> Imported:
    """Raises StartRefused."""
    properties = read(path, environment)
    importing = _Importing(properties)
    for rule in _RULES:
        rule(importing)
    for stated in properties:
        if stated.name not in importing.rows and _is_ours(stated.name):
            importing.ignore(stated, _reason(uniform(stated.name)) if stated.text.strip() else "it says nothing")
    rows = tuple(sorted(importing.rows.values()))
    return Imported(importing.settings, importing.origins, rows, tuple(_remarks(path, properties)))


def _remarks(path: Path, properties: Properties) -> Iterator[str]:
    for text in properties.left_out:
        yield f"left out: {text}"
    for name in sorted(f"{path.stem}-{profile}{path.suffix}" for profile in properties.active_profiles):
        if (path.parent / name).exists():
            yield f"not read: {name}, which Spring would read as well; move its keys into {path.name}"
    others = {stated.name.partition(".")[0] for stated in properties if not uniform(stated.name).startswith(_LOOKED_AT)}
    if others:
        yield f"not about Eureka, so not looked at: {', '.join(f'{name}.*' for name in sorted(others))}"


class _Importing:
    """What has become of the keys so far."""

    def __init__(self, properties: Properties) -> None:
        self.properties = properties
        self.settings: dict[str, str] = {}
        self.origins: dict[str, str] = {}
        self.rows: dict[str, Row] = {}

    def find(self, name: str) -> Property | None:
        """A property that says something."""
        found = self.properties.find(name)
        return found if found is not None and self.properties.text(found) else None

    def text(self, name: str) -> str:
        return self.properties.text(self.properties.find(name))

    def state(self, knob: str, text: str, *sources: Property, outcome: Outcome = "mapped", reason: str = "") -> None:
        self.settings[knob] = text
        self.origins[knob] = "imported " + ", ".join(f"{found.name} from {found.source}" for found in sources)
        for found in sources:
            self._tell(found, outcome, knob, reason)

    def ignore(self, found: Property, reason: str) -> None:
        self._tell(found, "ignored", "", reason)

    def _tell(self, found: Property, outcome: Outcome, knob: str, reason: str) -> None:
        by = "" if found.source == self.properties.file_name else f"as {found.source} says"
        self.rows[found.name] = Row(found.name, outcome, knob, "; ".join(filter(None, (reason, by))))

    def note(self, name: str, knob: str, reason: str) -> None:
        """A key that decides about a knob without being its value."""
        found = self.properties.find(name)
        if found is not None:
            self._tell(found, "used", knob, reason)

    def milliseconds(self, found: Property) -> int:
        text = self.properties.text(found)
        if not text.isascii() or not text.removeprefix("-").isdigit():
            raise refused(self.properties.file_name, f"{found.name}: expected milliseconds, got {text[:60]}")
        return int(text)


# Keys that have a knob

_USED = {
    "eureka.server.enable-self-preservation": "self_preservation",
    "eureka.server.renewal-percent-threshold": "renewal_threshold",
    "eureka.server.disable-delta": "eureka_disable_delta",
    "eureka.server.sync-when-timestamp-differs": "eureka_sync_when_timestamp_differs",
}
_IN_MS = {
    "eureka.server.eviction-interval-timer-in-ms": "eviction_interval_s",
    "eureka.server.retention-time-in-m-s-in-delta-queue": "eureka_delta_window_s",
}


def _take_used(importing: _Importing) -> None:
    for name, knob in _USED.items():
        found = importing.find(name)
        if found is not None:
            importing.state(knob, importing.properties.text(found), found, outcome="used")


def _take_durations(importing: _Importing) -> None:
    for name, knob in _IN_MS.items():
        found = importing.find(name)
        if found is not None:
            importing.state(knob, str(importing.milliseconds(found) / 1000), found, reason="in seconds")


def _take_gate(importing: _Importing) -> None:
    """An empty start counts as one instance copied unless told otherwise, so Spring's gate mostly stands open.

    Source: spring-cloud-netflix, InstanceRegistry.openForTraffic.
    """
    wait = importing.find("eureka.server.wait-time-in-ms-when-sync-empty")
    count = importing.find("eureka.instance.registry.default-open-for-traffic-count")
    if count is not None and importing.properties.text(count) == "0":
        wait_ms = _SPRING_GATE_MS if wait is None else importing.milliseconds(wait)
        stated = [count] if wait is None else [wait, count]
        importing.state("eureka_read_gate_s", str(wait_ms / 1000), *stated, reason="in seconds")
    elif wait is not None:
        importing.ignore(
            wait, "Spring's server obeys it only with default-open-for-traffic-count: 0; here: eureka_read_gate_s"
        )


def _take_addresses(importing: _Importing) -> None:
    sources = [found for found in map(importing.find, ("server.port", "server.address")) if found is not None]
    if not sources:
        return
    host = importing.text("server.address") or "0.0.0.0"  # noqa: S104  as Spring's server does, and it is guarded below
    port = importing.text("server.port") or _EUREKA_PORT
    reason = "" if importing.text("server.address") else "Spring's server listens on every interface"
    if missing := _missing_guard(importing):
        host, reason = "127.0.0.1", f"on loopback only: {missing}, which is not here; --listen says otherwise"
    eureka = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    others = [other for other in _SERVICECENTER_LISTEN if not other.endswith(f":{port}")]
    importing.state("listen", ",".join([eureka, *others]), *sources, reason=reason)


_LOGIN = ("spring.security.user.name", "spring.security.user.password", "security.user.name", "security.user.password")
_TLS = ("server.ssl.key-store", "server.ssl.certificate", "server.ssl.bundle", "server.ssl.key-alias")


def _missing_guard(importing: _Importing) -> str:
    """What keeps strangers out there and not here; "" for nothing. No secret is resolved for that."""
    if any((found := importing.properties.find(name)) and found.text.strip() for name in _LOGIN):
        return "the file asks for a login"
    return "the file asks for TLS" if _is_tls(importing) and "tls_certificate" not in importing.settings else ""


def _is_tls(importing: _Importing) -> bool:
    stated = any((found := importing.properties.find(name)) and found.text.strip() for name in _TLS)
    return (importing.text("server.ssl.enabled").lower() or str(stated).lower()) == "true"


def _take_tls(importing: _Importing) -> None:
    """Files in PEM are taken, keystores are not. Half of what the file asks for is not done.

    Source: spring-boot, Ssl.
    """
    certificate, key = map(importing.find, ("server.ssl.certificate", "server.ssl.certificate-private-key"))
    authorities = importing.find("server.ssl.trust-certificate")
    is_mutual = importing.text("server.ssl.client-auth").lower() == "need"
    stated = {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": authorities if is_mutual else None}
    files = {knob: found for knob, found in stated.items() if found is not None}
    texts = {knob: importing.properties.text(found) for knob, found in files.items()}
    if not _is_tls(importing) or certificate is None or (is_mutual and authorities is None):
        return
    if any(text.startswith(("classpath:", "-----")) for text in texts.values()):
        return
    for knob, found in files.items():
        importing.state(knob, texts[knob].removeprefix("file:"), found)
    importing.note("server.ssl.client-auth", "tls_client_ca" if is_mutual else "tls_certificate", "decides who gets in")
    importing.note("server.ssl.enabled", "tls_certificate", "")


def _take_peers(importing: _Importing) -> None:
    """The URLs of each zone of the region; a zone without any has those of the default zone."""
    region = importing.text("eureka.client.region") or _REGION
    zones = importing.text(f"eureka.client.availability-zones.{region}") or _DEFAULT_ZONE
    by_zone = {zone: found for zone, found in _service_urls(importing) if importing.properties.text(found)}
    wanted = [by_zone.get(zone.strip()) or by_zone.get(_DEFAULT_ZONE) for zone in zones.split(",")]
    sources = list(dict.fromkeys(found for found in wanted if found is not None))
    urls = [url.strip() for found in sources for url in importing.properties.text(found).split(",")]
    for zone, found in by_zone.items():
        spelling = f"; Spring's name for the default is {_DEFAULT_ZONE}" if uniform(zone) == "defaultzone" else ""
        importing.ignore(found, f"no zone of region {region} is called {zone}{spelling}")
    if urls:
        reason = "this server may be among them: it finds itself"
        importing.state("eureka_peers", ",".join(filter(None, dict.fromkeys(urls))), *sources, reason=reason)
        importing.note("eureka.client.region", "eureka_peers", "decides which zones count")
        importing.note(f"eureka.client.availability-zones.{region}", "eureka_peers", "decides which zones count")


def _service_urls(importing: _Importing) -> Iterator[tuple[str, Property]]:
    """Zones as the file spells them: they are keys of a map, which Spring takes to the letter."""
    prefix = "eureka.client.serviceurl."
    for stated in importing.properties:
        if uniform(stated.name).startswith(prefix):
            yield stated.name.split(".", 3)[3], stated
    default = importing.find(f"eureka.client.service-url.{_DEFAULT_ZONE}")
    if default is not None and default.source != importing.properties.file_name:  # variables have no small letters
        yield _DEFAULT_ZONE, default


_RULES: tuple[Callable[[_Importing], None], ...] = (
    _take_used,
    _take_durations,
    _take_gate,
    _take_tls,
    _take_addresses,
    _take_peers,
)


# Keys that have none

_OURS = ("eureka.", "server.", "spring.application.name", "spring.security.user.", "security.user.")
_LOOKED_AT = (*_OURS, "spring.profiles", "spring.config.activate.")


def _is_ours(name: str) -> bool:
    return uniform(name).startswith(_OURS)


def _reason(name: str) -> str:
    """Of the beginnings that fit a name the longest one tells why."""
    return next(reason for beginning, reason in _REASONS if name.startswith(beginning))


_SERVER = {
    "no read is older than the last write: there is no such cache": (
        "response-cache", "use-read-only-response-cache", "initial-capacity-of-response-cache",
    ),
    "a change leaves the delta when its time is over, not in rounds": ("delta-retention-timer",),
    "the threshold follows each registration and each end of a lease": ("renewal-threshold-update",),
    "each lease counts with its own interval": ("expected-client-renewal-interval",),
    "every start copies from the peers": ("registry-sync", "number-registry-sync-retries"),
    "replication has bounds of its own: see docs/eureka-peers.md": (
        "peer-", "batch-replication", "enable-replicated-request-compression", "number-of-replication-retries",
        "max-time-for-replication", "max-elements-in", "max-threads-for", "min-threads-for", "max-idle-thread",
    ),
    "there is no rate limit here; connections_per_address bounds what one client may take": ("rate-limiter",),
    "requests are not counted by identity": ("log-identity-headers",),
    "there is one codec, which writes what the original's default writes": ("json-codec", "xml-codec"),
    "it finds itself among its peers by asking": ("my-url",),
    "healthy means that the store can be written": ("min-available-instances-for-peer-replication",),
    "see /metrics": ("metrics.",),
    "has no effect here: remote regions": (
        "remote-region", "disable-transparent-fallback", "g-zip-content-from", "disable-delta-for-remote",
    ),
    "has no effect here: AWS": (
        "a-w-s", "e-i-p", "a-s-g", "route53", "binding-strategy", "list-auto-scaling-groups", "prime-aws",
        "use-aws-asg",
    ),
    "Spring's Eureka server knows no such key": ("",),
}  # fmt: skip
"""Why a key is ignored, and how the names begin under eureka.server of those that it is for."""

_OTHERS = {
    "eureka.": "Spring's Eureka server knows no such key; Netflix's own spelling is not read",
    "eureka.dashboard.": "the dashboard stands at / always",
    "eureka.environment": "shown nowhere",
    "eureka.datacenter": "shown nowhere",
    "eureka.instance.": "this server does not list itself; placeholders may name it",
    "eureka.instance.registry.": "leases are counted as they are",
    "eureka.client.": "this server is no client of a Eureka server",
    "server.": "has no effect here: Java's web server",
    "server.ssl.": "certificates are read from files in PEM here: --tls-certificate, --tls-key, --tls-client-ca",
    "server.servlet.context-path": "Eureka stands at /eureka: a proxy has to take the prefix away",
    "server.context-path": "Eureka stands at /eureka: a proxy has to take the prefix away",
    "spring.application.name": "this server does not list itself",
    "spring.security.user.": "start with --auth and make that account: docs/access.md",
    "security.user.": "start with --auth and make that account: docs/access.md",
}
_REASONS = sorted(
    (
        *((uniform(f"eureka.server.{name}"), reason) for reason, names in _SERVER.items() for name in names),
        *((uniform(name), reason) for name, reason in _OTHERS.items()),
    ),
    key=lambda each: -len(each[0]),
)
