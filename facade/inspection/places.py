"""Where to look: a place as an operator names it. Its text never shows a password again."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from facade.errors import StartRefused
from facade.registry.model import Origin
from facade.stores.urls import UpstreamUrl, upstreams

PLACES = (
    "http://HOST:8761/eureka (a Eureka server), servicecenter+http://HOST:30100 (a ServiceCenter), "
    "http://HOST:PORT (a registry-facade), or the name of a dump file"
)
A_REDIS = "a Redis is looked at by `doctor --store URL`, and what it holds is told by a server over it"


class Kind(StrEnum):
    EUREKA = "Eureka"
    SERVICECENTER = "ServiceCenter"
    OURS = "registry-facade"
    FILE = "dump"
    TO_BE_ASKED = "registry"
    """A bare http://HOST:PORT: its version says what it is."""


class Place(NamedTuple):
    kind: Kind
    bases: tuple[str, ...] = ()
    """Base URLs without credentials; several are nodes of one registry."""
    credentials: tuple[str, str] | None = None
    path: Path = Path()

    def __str__(self) -> str:
        return str(self.path) if self.kind is Kind.FILE else ", ".join(self.bases)


def parse(text: str) -> Place:
    """Read a place. Raises StartRefused, saying which forms there are."""
    if "://" not in text:
        return Place(Kind.FILE, path=Path(text))
    scheme = text.partition("://")[0].lower()
    if scheme in ("http", "https"):
        # Of the three only Eureka's API is below a path; a port of ours or of a ServiceCenter says which it is.
        path = text.partition("://")[2].partition("/")[2].strip("/")
        kind, url = (Kind.EUREKA, f"eureka+{text}") if path else (Kind.TO_BE_ASKED, f"servicecenter+{text}")
        return _upstream(url, kind)
    if scheme.partition("+")[0] in ("eureka", "servicecenter"):
        return _upstream(text, Kind.EUREKA if scheme.startswith("eureka") else Kind.SERVICECENTER)
    beside = f"; {A_REDIS}" if scheme.startswith("redis") else ""
    raise StartRefused(f"{scheme}:// is no place to look at; possible are {PLACES}{beside}")


def of_upstream(found: UpstreamUrl) -> Place:
    kind = Kind.EUREKA if found.origin is Origin.EUREKA else Kind.SERVICECENTER
    return Place(kind, found.bases, found.credentials)


def without_credentials(url: str) -> str:
    """Of a URL that somebody else wrote: also where its password was not quoted."""
    return re.sub("(?<=//).*@", "", url)


def _upstream(url: str, kind: Kind) -> Place:
    try:
        [found] = upstreams([url])
    except (StartRefused, ValueError):  # its own text is about a setting
        scheme = url.partition("://")[0]
        raise StartRefused(f"{scheme}:// is not followed by an address to ask; possible are {PLACES}") from None
    return of_upstream(found)._replace(kind=kind)
