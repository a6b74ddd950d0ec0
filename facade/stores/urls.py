"""Which store a URL asks for."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from facade.clock import Clock
from facade.errors import StartRefused
from facade.registry.store import Store
from facade.stores.memory import MemoryStore
from facade.stores.sqlite import SqliteStore

DEFAULT_FILE = "registry.db"
"""Where records are kept within the data directory when the URL names no file."""

_POSSIBLE = "possible are sqlite:/// (a file in the data directory), sqlite:///path/to/file and memory://"
_LATER = {
    *("redis", "rediss", "redis+sentinel", "redis+cluster"),
    *("servicecenter+http", "servicecenter+https", "eureka+http", "eureka+https"),
}


def open_store(url: str, data_dir: Path, clock: Clock) -> Store:
    """The store that `url` names, not opened yet. Raises StartRefused; its text never repeats a password.

    The path of sqlite:///path/to/file is absolute, with three slashes or, as SQLAlchemy writes it, four.
    """
    try:
        scheme, host, path, query, fragment = urlsplit(url)
    except ValueError:  # its text may repeat the part with the password
        raise StartRefused(f"store: not a URL; {_POSSIBLE}") from None
    if scheme in _LATER:
        raise StartRefused(f"store: {scheme}:// is not built yet; {_POSSIBLE}")
    if scheme not in ("memory", "sqlite"):
        what = f"{scheme}:// is not known" if scheme else "a URL is needed"
        raise StartRefused(f"store: {what}; {_POSSIBLE}")
    if query or fragment:
        raise StartRefused(f"store: {scheme}:// takes no options after the path; {_POSSIBLE}")
    if scheme == "memory":
        return _memory(host + path, clock)
    return _sqlite(host, unquote(path), data_dir, clock)


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
