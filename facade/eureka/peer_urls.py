"""How an operator names a peer: its service URL, as clients have it in their lists of servers."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from facade.errors import StartRefused

_PORTS = {"http": 80, "https": 443}
"""What a URL without a port means to every Eureka client."""


class PeerUrl(NamedTuple):
    scheme: str
    host: str
    port: int
    path: str
    credentials: tuple[str, str] | None
    is_name: bool
    """Whether every address of the host is a peer."""

    @classmethod
    def parse(cls, url: str) -> PeerUrl:
        """http://user:p%40ss@host:8761/eureka, https://… or dns+http://name:8761/eureka. Raises StartRefused."""
        scheme, _, rest = url.partition("://")
        protocol = scheme.removeprefix("dns+")
        try:
            parts = urlsplit(f"{protocol}://{rest}")
            port = parts.port or _PORTS[protocol]
            host = (parts.hostname or "").encode("idna").decode()  # as it will be looked up
        except (ValueError, KeyError):  # the former also for names that are none
            host = ""
        if not host or parts.query or parts.fragment:
            # The text never repeats what may be a password.
            raise StartRefused(
                "eureka_peers: expected http://HOST:8761/eureka, https://… or dns+http://NAME:8761/eureka"
            )
        account = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
        return cls(protocol, host, port, parts.path.rstrip("/") or "/eureka", account, scheme != protocol)

    @property
    def base(self) -> str:
        """Without credentials, as logs and pages show it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"
