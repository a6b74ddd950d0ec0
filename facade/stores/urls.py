"""Which store the URLs of --store ask for: one of our own, or the registries behind us."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from facade.clock import Clock
from facade.errors import StartRefused
from facade.registry.model import Origin
from facade.registry.store import Store
from facade.stores.memory import MemoryStore
from facade.stores.redis_url import SCHEMES
from facade.stores.sqlite import SqliteStore

DEFAULT_FILE = "registry.db"
"""Where records are kept within the data directory when the URL names no file."""

_POSSIBLE = (
    "possible are sqlite:/// (a file in the data directory), sqlite:///path/to/file, memory://, redis://HOST:6379, "
    "servicecenter+http://HOST:30100 and eureka+http://HOST:8761/eureka"
)
_UPSTREAM = {
    "servicecenter+http": Origin.SERVICECENTER,
    "servicecenter+https": Origin.SERVICECENTER,
    "eureka+http": Origin.EUREKA,
    "eureka+https": Origin.EUREKA,
}
_DEFAULT_PATH = {Origin.SERVICECENTER: "", Origin.EUREKA: "/eureka"}
"""Where the API begins, for a URL that names no path."""
_DEFAULT_PORT = {Origin.SERVICECENTER: 30100, Origin.EUREKA: 8761}


class UpstreamUrl(NamedTuple):
    """A registry behind us, as an operator names it."""

    origin: Origin
    """The protocol that it speaks."""
    bases: tuple[str, ...]
    """http://host:port/path of each of its servers, without credentials."""
    credentials: tuple[str, str] | None = None

    @property
    def title(self) -> str:
        kind = "Eureka" if self.origin is Origin.EUREKA else "ServiceCenter"
        return f"{kind} at {', '.join(self.bases)}"


def upstreams(urls: Sequence[str]) -> list[UpstreamUrl]:
    """The registries that these URLs put behind us; none when they name a store of our own. Raises StartRefused.

    Shape:  servicecenter+http://account:password@host:30100,host2:30100 and eureka+https://user:p%40ss@host:8761/eureka.
            One account serves all addresses, named in the first; a path that an address leaves out is that of the last.
    """
    found = [_upstream(url, scheme) for url in urls if (scheme := urlsplit_or_refuse(url).scheme) in _UPSTREAM]
    if found and len(found) < len(urls):
        raise StartRefused("store: a registry behind us and a store of our own cannot both hold the registrations")
    if len({one.origin for one in found}) < len(found):
        raise StartRefused("store: one URL for each protocol; name several servers of a registry with commas")
    return found


def own_store(url: str, data_dir: Path, clock: Clock) -> Store:
    """The store of our own that `url` names, not opened yet. Raises StartRefused; its text never repeats a password.

    The path of sqlite:///path/to/file is absolute, with three slashes or, as SQLAlchemy writes it, four.
    """
    scheme, host, path, query, fragment = urlsplit_or_refuse(url)
    if scheme not in ("memory", "sqlite"):
        what = f"{scheme}:// is not known" if scheme else "a URL is needed"
        raise StartRefused(f"store: {what}; {_POSSIBLE}")
    if query or fragment:
        raise StartRefused(f"store: {scheme}:// takes no options after the path; {_POSSIBLE}")
    if scheme == "memory":
        return _memory(host + path, clock)
    return _sqlite(host, unquote(path), data_dir, clock)


def is_own(url: str) -> bool:
    """Whether this is how a store of our own is named, whether or not there is such a one."""
    return urlsplit_or_refuse(url).scheme in {"sqlite", "memory"} | SCHEMES


def mirror_store(registries: Sequence[UpstreamUrl], data_dir: Path, clock: Clock) -> Store:
    """Where the picture of these registries is kept, beside what only we hold.

    Their addresses are no part of its name: nodes come and go, and what only we hold must outlive that.
    """
    name = registries[0].origin if len(registries) == 1 else "both"
    return SqliteStore(data_dir / f"mirror-{name}.db", clock)


def urlsplit_or_refuse(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # its text may repeat the part with the password
        raise StartRefused(f"store: not a URL (in a password, [ is written %5B and @ %40); {_POSSIBLE}") from None


def _upstream(url: str, scheme: str) -> UpstreamUrl:
    origin, protocol = _UPSTREAM[scheme], scheme.partition("+")[2]
    parts = url.partition("://")[2].split(",")
    try:
        addresses = [urlsplit(f"{protocol}://{part.strip()}") for part in parts]
        default_path = addresses[-1].path.rstrip("/") or _DEFAULT_PATH[origin]
        bases = tuple(_bases(addresses, origin, default_path))
    except ValueError:
        raise StartRefused(f"store: {scheme}:// is followed by HOST:PORT, or several with commas") from None
    first, *later = map(_account, addresses)
    if any(account not in (None, first) for account in later):
        raise StartRefused(f"store: {scheme}:// takes one account for all its addresses: name it in the first")
    return UpstreamUrl(origin, bases, first)


def _account(address: SplitResult) -> tuple[str, str] | None:
    return (unquote(address.username), unquote(address.password or "")) if address.username is not None else None


def _bases(addresses: Sequence[SplitResult], origin: Origin, default_path: str) -> Iterator[str]:
    for address in addresses:
        if not address.hostname or address.query or address.fragment:
            raise ValueError("a host is needed, and nothing after the path")
        host = f"[{address.hostname}]" if ":" in address.hostname else address.hostname
        port = address.port or _DEFAULT_PORT[origin]
        yield f"{address.scheme}://{host}:{port}{address.path.rstrip('/') or default_path}"


def _memory(rest: str, clock: Clock) -> Store:
    if rest:
        raise StartRefused(f"store: memory:// keeps no file, so nothing may follow it; {_POSSIBLE}")
    return MemoryStore(clock)


def _sqlite(host: str, path: str, data_dir: Path, clock: Clock) -> Store:
    if host or not path.startswith("/"):
        raise StartRefused(f"store: the path of sqlite:// starts with a third slash; {_POSSIBLE}")
    if "\0" in path:
        raise StartRefused(f"store: the path of sqlite:// holds a NUL; {_POSSIBLE}")
    name = path.strip("/")
    return SqliteStore(Path("/", name) if name else data_dir / DEFAULT_FILE, clock)
