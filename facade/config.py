"""Settings: every knob, its unit, its default, and where the default comes from.

To add a knob, add a field. Its flag, its variable, its key in the file and its line in `config show` follow from that.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from facade.errors import StartRefused

ENV_PREFIX = "REGISTRY_FACADE_"


class Address(NamedTuple):
    """Where to listen. Port 0 lets the system choose one."""

    host: str
    port: int
    scheme: str = ""
    """http or https where it is stated; else there is TLS as soon as there is a certificate."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme or 'http'}://{self}"

    @property
    def is_loopback(self) -> bool:
        with suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return self.host == "localhost"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read HOST:PORT, with or without http:// or https://, and brackets around an IPv6 host. Raises ValueError."""
        scheme, _, rest = text.strip().rpartition("://")
        if scheme not in ("", "http", "https"):
            raise ValueError(f"{text!r} begins with neither http:// nor https://")
        host, colon, port = rest.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError(f"{text!r} is not HOST:PORT; write an IPv6 host in brackets, as in [::1]:8761")
        if not (host and colon and port.isascii() and port.isdigit() and int(port) <= 65535):
            raise ValueError(f"{text!r} is not HOST:PORT, as in 127.0.0.1:8761")
        return cls(host, int(port), scheme)


@dataclass(frozen=True)
class Knob:
    """What there is to say of a setting beside its type and default."""

    unit: str
    about: str
    source: str
    """Where the default comes from."""
    least: float = 0
    most: float = inf
    flag: str = ""
    """Where it is not the name of the knob."""
    known_as: str = ""
    """The variable by which the original's operators set it: read where ours says nothing."""


def _default_data_dir() -> Path:
    """Source: XDG Base Directory Specification: state that lasts, but is not worth carrying to another machine."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        return (state if state.is_absolute() else Path.home() / ".local" / "state") / "registry-facade"
    except RuntimeError:
        raise StartRefused("data_dir: this user has no home directory; name a directory with --data-dir") from None


_SPRING_DEFAULT = "Spring Cloud Netflix Eureka server's own default"
_QUOTA = "ServiceCenter's own default"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How this server is to run. Built directly it knows defaults only; `sources.load` asks all sources."""

    store: Annotated[
        tuple[str, ...],
        Knob(
            "URL",
            "where registrations live: sqlite:///[FILE], memory://, redis://HOST:6379 (rediss, redis+sentinel, "
            "redis+cluster), servicecenter+http://HOST:30100 or eureka+http://HOST:8761/eureka; the last two also "
            "together",
            "one node, no set-up",
        ),
    ] = ("sqlite:///",)
    when_upstream_fails: Annotated[
        Literal["available", "strict"],
        Knob(
            "policy",
            "for writes while Redis or a registry behind us is away: let them wait, or refuse them",
            "as Eureka does",
        ),
    ] = "available"
    publish: Annotated[
        bool,
        Knob(
            "yes/no", "copy each of two registries behind us into the other, for clients that ask it directly", "ours"
        ),
    ] = False
    cluster: Annotated[
        str,
        Knob("name", "of these nodes, the same on each: keys in Redis and copies carry it", "ours"),
    ] = "registry-facade"
    listen: Annotated[
        tuple[Address, ...],
        Knob(
            "HOST:PORT",
            "where to listen; each address serves everything, with TLS where there is a certificate; http://HOST:PORT "
            "stays without",
            "the ports of the originals, on loopback",
        ),
    ] = (Address("127.0.0.1", 8761), Address("127.0.0.1", 30100), Address("127.0.0.1", 30103))
    host_name: Annotated[
        str,
        Knob(
            "host",
            "or address by which others reach this server: clients are told it where it listens on all addresses, "
            "and other nodes know it by it",
            "this machine's name",
        ),
    ] = field(default_factory=socket.gethostname)
    data_dir: Annotated[
        Path,
        Knob("directory", "what lasts over a restart; created for its owner only", "XDG_STATE_HOME, or ~/.local/state"),
    ] = field(default_factory=_default_data_dir)

    tls_certificate: Annotated[
        Path | None,
        Knob("file", "in PEM, with its chain: serve with TLS; a changed file is taken without a restart", "plain HTTP"),
    ] = None
    tls_key: Annotated[
        Path | None,
        Knob("file", "with the certificate's private key in PEM", "it is in the certificate's file"),
    ] = None
    tls_client_ca: Annotated[
        Path | None,
        Knob("file", "of authorities in PEM: let in only clients with a certificate of theirs", "clients need none"),
    ] = None
    trusted_ca: Annotated[
        Path | None,
        Knob("file", "of authorities in PEM for https servers that we call, beside the system's", "the system's alone"),
    ] = None

    self_preservation: Annotated[
        bool,
        Knob("yes/no", "keep lapsed leases while too few instances renew", _SPRING_DEFAULT),
    ] = True
    renewal_threshold: Annotated[
        float,
        Knob("share", "of the expected renewals; at or below it self-preservation begins", _SPRING_DEFAULT, most=1),
    ] = 0.85
    protection_limit_s: Annotated[
        float,
        Knob("seconds", "after which self-preservation ends by itself", "ours; Netflix's never ends"),
    ] = 600.0
    eviction_interval_s: Annotated[
        float,
        Knob("seconds", "between two sweeps for lapsed leases", "ours; Netflix: 60 s", least=0.05, most=3600),
    ] = 1.0
    exact_leases: Annotated[
        bool,
        Knob("yes/no", "end renewed Eureka leases after their duration, not twice that", "as Netflix's server does"),
    ] = False

    eureka_read_gate_s: Annotated[
        float,
        Knob("seconds", "to refuse Eureka's list reads with 403 after a start with an empty registry", _SPRING_DEFAULT),
    ] = 0.0
    eureka_disable_delta: Annotated[
        bool,
        Knob("yes/no", "answer 403 to Eureka's delta reads", _SPRING_DEFAULT),
    ] = False
    eureka_delta_window_s: Annotated[
        float,
        Knob("seconds", "that a change stays in Eureka's delta", _SPRING_DEFAULT, least=1),
    ] = 180.0
    eureka_sync_when_timestamp_differs: Annotated[
        bool,
        Knob("yes/no", "compare a renewal's lastDirtyTimestamp with the one held", _SPRING_DEFAULT),
    ] = True

    eureka_peers: Annotated[
        tuple[str, ...],
        Knob(
            "URL",
            "of other Eureka servers to replicate with, as http://HOST:8761/eureka; this one may be among them; "
            "dns+http://NAME:8761/eureka stands for every address of a name",
            "one node",
            flag="--eureka-peer",
        ),
    ] = ()

    eureka_app: Annotated[
        str,
        Knob("appId", "under which ServiceCenter consumers find Eureka's applications", "ServiceComb's Syncer guide"),
    ] = "eureka"
    plain_apps: Annotated[
        frozenset[str],
        Knob("appIds", "whose services Eureka shows by their bare name, not as APP.NAME", "go-chassis; eureka_app"),
    ] = frozenset({"default", "eureka"})
    merge: Annotated[
        frozenset[str],
        Knob("names", "of services to show as one when both protocols have them", "ours: unlike systems stay apart"),
    ] = frozenset()
    share: Annotated[
        frozenset[str],
        Knob("patterns", "of Eureka names, as SHOP.*, that the other protocol's readers see", "ours: one view of all"),
    ] = frozenset({"*"})
    hide: Annotated[
        frozenset[str],
        Knob("patterns", "of those that they do not see after all", "ours: one view of all"),
    ] = frozenset()
    keep_marks: Annotated[
        bool,
        Knob("yes/no", "take _eureka., _sc. and _bridge. metadata: we stand behind another registry-facade", "ours"),
    ] = False
    sc_version: Annotated[
        str,
        Knob("version", "that /version tells ServiceCenter's clients", "Apache ServiceComb ServiceCenter's release"),
    ] = "2.2.0"
    sc_shared_services: Annotated[
        frozenset[str],
        Knob(
            "names",
            "of services in domain, project and app `default`, environment `development`, that every tenant finds",
            "as ServiceCenter's",
            known_as="CSE_SHARED_SERVICES",
        ),
    ] = frozenset()
    quota_services: Annotated[
        int,
        Knob("services", "that a tenant may register in ServiceCenter's protocol", _QUOTA, known_as="QUOTA_SERVICE"),
    ] = 50_000
    quota_instances: Annotated[
        int,
        Knob("instances", "that a tenant may register so", _QUOTA, known_as="QUOTA_INSTANCE"),
    ] = 150_000
    quota_schemas: Annotated[
        int,
        Knob("schemas", "that a service may have", _QUOTA, known_as="QUOTA_SCHEMA"),
    ] = 100
    quota_tags: Annotated[
        int,
        Knob("tags", "that a service may have", _QUOTA, known_as="QUOTA_TAG"),
    ] = 100
    list_virtual: Annotated[
        bool,
        Knob("yes/no", "list Eureka's applications in every app that asked for them", "ours: one entry for each"),
    ] = False

    auth: Annotated[
        bool,
        Knob("yes/no", "let in who has an account only, in both protocols; root's password: docs/access.md", "ours"),
    ] = False
    signing_key: Annotated[
        Path | None,
        Knob("file", "with an RSA key in PEM: from now on it signs tokens, on all nodes", "the store holds one"),
    ] = None

    lane: Annotated[
        bool,
        Knob("yes/no", "answer renewals and polls by the short way; the answers are the same without", "ours"),
    ] = True
    connections: Annotated[
        int,
        Knob("connections", "open at once", "ours; keep below the limit of open files", least=1),
    ] = 10_000
    connections_per_address: Annotated[
        int,
        Knob("connections", "open at once from one address; raise it behind a proxy", "ours", least=1),
    ] = 1_000

    log_level: Annotated[
        Literal["debug", "info", "warning"],
        Knob("level", "below which log lines are left out", "ours"),
    ] = "info"
    log_format: Annotated[
        Literal["auto", "text", "json"],
        Knob("form", "of log lines; auto is text on a terminal, else JSON", "ours"),
    ] = "auto"

    def resolved(self, address: Address) -> Address:
        """With the scheme that it has."""
        return address._replace(scheme=address.scheme or ("https" if self.tls_certificate else "http"))


KNOBS: Mapping[str, Knob] = {
    name: get_args(annotation)[1] for name, annotation in get_type_hints(Settings, include_extras=True).items()
}
TYPES: Mapping[str, Any] = get_type_hints(Settings)


def flag(name: str) -> str:
    return KNOBS[name].flag or f"--{name.replace('_', '-')}"


def variable(name: str) -> str:
    return f"{ENV_PREFIX}{name.upper()}"


def is_switch(name: str) -> bool:
    return TYPES[name] is bool


def is_list(name: str) -> bool:
    """Whether the knob takes several values: with commas, or by repeating the flag."""
    return get_origin(TYPES[name]) in (tuple, frozenset)


def shown(value: object) -> str:
    """A value as people may see it, and as a variable would state it; without the passwords of URLs."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case Address(scheme=scheme) if scheme:
            return value.url
        case frozenset():
            return ",".join(sorted(value))
        case tuple() | list() if not isinstance(value, Address):
            return ",".join(map(shown, value))
        case str() if "://" in value and "@" in value:
            return _PASSWORD.sub(lambda found: found["kept"] or ":***@", value)
        case str():  # what was meant to be a URL may hold a password, too
            return _AFTER_NO_HOST.sub(r"\g<kept>***", _WITHOUT_SLASHES.sub(r"\g<kept>***@", value))
    return str(value)


_PASSWORD = re.compile(
    r"(?P<kept>(?:^|,)\s*[\w+.-]*://|\[[^]@,]*\])"
    r"|:(?!\d*\s*(?:/[^@,]*)?(?:,|$))[^@]*@(?:[^@,]*@)*"
)
"""What follows a colon that is not of a scheme, an IPv6 address or a port, to the last @ of that address. A password
may hold what should have been quoted."""
_WITHOUT_SLASHES = re.compile(r"(?i)^(?P<kept>[a-z+]+:)(?!//).*@")
_AFTER_NO_HOST = re.compile(r"^(?P<kept>[\w+.-]+://(?:[^/:,]*(?::\d+)?,)*[^/:,\[\]]*:)(?!\d*\s*(?:[,/]|$)).*")
"""What follows a colon without being a port, where nobody wrote the @ and the host that come after a password."""
