"""Where a Redis is, as an operator writes it.

Shape:  redis://[account:password@]host[:6379][/0]
        redis+sentinel://[account:password@]host[:26379],host2/master[/0]
        redis+cluster://[account:password@]host[:6379],host2
        and the same with rediss for TLS. Without an account the password is that of Redis' own, `default`.
Raises: StartRefused; its text never repeats a password.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from facade.errors import StartRefused

SCHEMES = frozenset(f"{one}{kind}" for one in ("redis", "rediss") for kind in ("", "+sentinel", "+cluster"))
_PORTS = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_SEVERAL_ACCOUNTS = re.compile(r"^[^:]*,|@.*,")
"""One before each address; or before the second, which then looks like the end of a name."""


class RedisUrl(NamedTuple):
    kind: Literal["single", "sentinel", "cluster"]
    hosts: tuple[tuple[str, int], ...]
    """Of the one server, of the sentinels, or of some nodes of the cluster."""
    is_tls: bool = False
    username: str | None = None
    password: str | None = None
    master: str = ""
    """The name by which sentinels know it."""
    database: int = 0

    @property
    def title(self) -> str:
        """For people, without the password."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        match self.kind:
            case "sentinel":
                return f"Redis {self.master!r} of the sentinels at {hosts}"
            case "cluster":
                return f"Redis cluster at {hosts}"
        return f"Redis at {hosts}" + (f"/{self.database}" if self.database else "")


def of_store(url: str) -> RedisUrl | None:
    """None where a store is no Redis."""
    return parse(url) if url.partition("://")[0].lower() in SCHEMES else None


def parse(url: str) -> RedisUrl:
    scheme, slashes, rest = url.partition("://")
    if not slashes:
        raise _no_address(url.partition(":")[0].lower())
    scheme = scheme.lower()
    family, _, kind = scheme.partition("+")
    kind = kind or "single"
    account, has_account, place = rest.rpartition("@")  # the last one: a password may hold one that was not quoted
    place, _, path = place.partition("/")
    if any(sign in rest.rpartition("@")[2] for sign in "?#"):
        raise StartRefused(f"store: {scheme}:// takes no options after the path")
    if _SEVERAL_ACCOUNTS.search(account):
        raise StartRefused(
            f"store: {scheme}:// takes one account for all addresses: name it in the first, with , as %2C and @ as %40"
        )
    addresses = [_address(part, _PORTS[kind]) for part in place.split(",")]
    hosts = tuple(address for address in addresses if address is not None)
    if len(hosts) < len(addresses):  # without an account it may be one whose host was forgotten: it is not repeated
        raise _no_address(scheme, place if has_account else "")
    if kind == "single" and len(hosts) > 1:
        raise StartRefused(
            f"store: {scheme}:// names one server; several are named with {family}+sentinel:// or {family}+cluster://"
        )
    names = [unquote(name) for name in path.split("/")] if path.strip("/") else []
    master = ""
    if kind == "sentinel":
        if not names or not names[0]:
            raise StartRefused(f"store: {scheme}://HOST:26379/NAME ends in the name by which sentinels know the master")
        master = names.pop(0)
    if kind == "cluster" and names:
        raise StartRefused(f"store: {scheme}:// takes no path: a cluster has one database")
    if len(names) > 1 or not all(name.isascii() and name.isdigit() and len(name) < 10 for name in names):
        raise StartRefused(f"store: the path of {scheme}:// ends in the number of a database, as /0")
    username, password = _account(account)
    return RedisUrl(
        kind,  # type: ignore[arg-type]  # one of the SCHEMES
        hosts,
        family == "rediss",
        username,
        password,
        master,
        int(names[0]) if names else 0,
    )


def _account(text: str) -> tuple[str | None, str | None]:
    name, colon, password = text.partition(":")
    return unquote(name) or None, unquote(password) if colon else None


def _address(text: str, default_port: int) -> tuple[str, int] | None:
    try:
        address: SplitResult = urlsplit(f"//{text.strip()}")
        if address.hostname and not address.path and address.port != 0:
            return address.hostname, address.port or default_port
    except ValueError:
        pass
    return None


def _no_address(scheme: str, stated: str = "") -> StartRefused:
    return StartRefused(
        f"store: {scheme}:// is followed by HOST:PORT, or several with commas, an IPv6 host in brackets"
        + (f": {stated!r} is none" if stated else "")
    )
