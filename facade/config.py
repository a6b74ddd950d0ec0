"""Settings: every knob, its unit, its default, and where the default comes from.

In:     flags > environment (REGISTRY_FACADE_<KNOB>, lists with commas) > TOML file > imported file > defaults.
Out:    one frozen Settings, and for each knob where its value came from.
Rules:  a key or variable that no knob has is refused, as is a value out of range: StartRefused, naming the origin.

To add a knob, add a field. Its flag, its variable, its key in the file and its line in `config show` follow from that.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from facade.errors import StartRefused

if TYPE_CHECKING:
    from facade.importing import Imported

ENV_PREFIX = "REGISTRY_FACADE_"
CONFIG_VARIABLE = f"{ENV_PREFIX}CONFIG"
IMPORT_VARIABLE = f"{ENV_PREFIX}IMPORT_EUREKA"


class Address(NamedTuple):
    """Where to listen. Port 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        with suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return self.host == "localhost"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read HOST:PORT, with brackets around an IPv6 host. Raises ValueError."""
        host, colon, port = text.strip().rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError(f"{text!r} is not HOST:PORT; write an IPv6 host in brackets, as in [::1]:8761")
        if not (host and colon and port.isascii() and port.isdigit() and int(port) <= 65535):
            raise ValueError(f"{text!r} is not HOST:PORT, as in 127.0.0.1:8761")
        return cls(host, int(port))


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


def _default_data_dir() -> Path:
    """Source: XDG Base Directory Specification: state that lasts, but is not worth carrying to another machine."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        return (state if state.is_absolute() else Path.home() / ".local" / "state") / "registry-facade"
    except RuntimeError:
        raise StartRefused("data_dir: this user has no home directory; name a directory with --data-dir") from None


_SPRING_DEFAULT = "Spring Cloud Netflix Eureka server's own default"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How this server is to run. Built directly it knows defaults only; `load` asks all sources."""

    store: Annotated[
        tuple[str, ...],
        Knob(
            "URL",
            "where registrations live: sqlite:///[FILE], memory://, servicecenter+http://HOST:30100 or eureka+http://"
            "HOST:8761/eureka; the last two also together",
            "one node, no set-up",
        ),
    ] = ("sqlite:///",)
    when_upstream_fails: Annotated[
        Literal["available", "strict"],
        Knob(
            "policy", "for writes while a registry behind us is away: let them wait, or refuse them", "as Eureka does"
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
        Knob("name", "of this bridge, the same on each of its nodes; copies carry it", "ours"),
    ] = "registry-facade"
    listen: Annotated[
        tuple[Address, ...],
        Knob("HOST:PORT", "where to listen; each address serves everything", "the ports of the originals, on loopback"),
    ] = (Address("127.0.0.1", 8761), Address("127.0.0.1", 30100), Address("127.0.0.1", 30103))
    data_dir: Annotated[
        Path,
        Knob("directory", "what lasts over a restart; created for its owner only", "XDG_STATE_HOME, or ~/.local/state"),
    ] = field(default_factory=_default_data_dir)

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
    list_virtual: Annotated[
        bool,
        Knob("yes/no", "list Eureka's applications in every app that asked for them", "ours: one entry for each"),
    ] = False

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


KNOBS: Mapping[str, Knob] = {
    name: get_args(annotation)[1] for name, annotation in get_type_hints(Settings, include_extras=True).items()
}
_TYPES: Mapping[str, Any] = get_type_hints(Settings)
_Origin = Callable[[str], str]
"""A source's words for a knob that it states."""


class Loaded(NamedTuple):
    settings: Settings
    origins: Mapping[str, str]
    """For each knob where its value came from, in words."""


def load(
    flags: Mapping[str, object] | None = None, file: Path | None = None, imported: Imported | None = None
) -> Loaded:
    """Settings as flags (knob to value), environment and files say; `file` is what --config names.

    Raises: StartRefused.
    """
    origins = {name: f"default: {knob.source}" for name, knob in KNOBS.items()}
    stated: dict[str, object] = {}
    imported = imported or imported_from(None)
    layers = _layers(flags or {}, file)
    for origin, layer in [(imported.origins.__getitem__, imported.settings), *layers] if imported else layers:
        for name, value in layer.items():
            origins[name] = origin(name)
            stated[name] = _checked(name, value, origins[name])
    return Loaded(Settings(**stated), origins)  # type: ignore[arg-type]


def imported_from(file: Path | None) -> Imported | None:
    """What a Eureka server's own file says, where --import-eureka or its variable names one. Raises StartRefused."""
    if file is None and (named := os.environ.get(IMPORT_VARIABLE)):
        file = Path(named)
    if file is None:
        return None
    from facade.importing import read_eureka  # here: most commands import nothing, and must answer soon

    return read_eureka(file)


def flag(name: str) -> str:
    return KNOBS[name].flag or f"--{name.replace('_', '-')}"


def variable(name: str) -> str:
    return f"{ENV_PREFIX}{name.upper()}"


def is_switch(name: str) -> bool:
    return _TYPES[name] is bool


def is_list(name: str) -> bool:
    """Whether the knob takes several values: with commas, or by repeating the flag."""
    return get_origin(_TYPES[name]) in (tuple, frozenset)


def shown(value: object) -> str:
    """A value as people may see it, and as a variable would state it; without the passwords of URLs."""
    match value:
        case bool():
            return str(value).lower()
        case frozenset():
            return ",".join(sorted(value))
        case tuple() | list() if not isinstance(value, Address):
            return ",".join(map(shown, value))
        case str() if "://" in value and "@" in value:
            return _PASSWORD.sub(lambda found: found["kept"] or ":***@", value)
    return str(value)


_PASSWORD = re.compile(
    r"(?P<kept>(?:^|,)\s*[\w+.-]*://|\[[^]@,]*\])"
    r"|:(?!\d*\s*(?:/[^@,]*)?(?:,|$))[^@]*@(?:[^@,]*@)*"
)
"""What follows a colon that is not of a scheme, an IPv6 address or a port, to the last @ of that address. A password
may hold what should have been quoted."""


def _layers(flags: Mapping[str, object], file: Path | None) -> Iterator[tuple[_Origin, Mapping[str, object]]]:
    """What each source says, the weakest first; a name that no knob has is refused."""
    # Imported here: this takes longer to import than all else that the command line needs.
    from pydantic import create_model
    from pydantic_settings import BaseSettings, EnvSettingsSource, TomlConfigSettingsSource

    texts: dict[str, Any] = dict.fromkeys(KNOBS, (str, ""))
    shape = create_model("Settings", __base__=BaseSettings, **texts)
    if file is None and (named := os.environ.get(CONFIG_VARIABLE)):
        file = Path(named)
    if file is not None:
        try:
            with file.open("rb"):  # the source below takes a file that is not there for an empty one
                keys = TomlConfigSettingsSource(shape, file)()
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise StartRefused(f"cannot read the settings in {file}: {reason}") from None
        _refuse_unknown(keys, KNOBS, f"in {file}")
        yield lambda _: f"file {file}", keys
    variables = [name for name in os.environ if name.startswith(ENV_PREFIX)]
    _refuse_unknown(variables, [*map(variable, KNOBS), CONFIG_VARIABLE, IMPORT_VARIABLE], "in the environment")
    yield (
        lambda name: f"variable {variable(name)}",
        EnvSettingsSource(shape, env_prefix=ENV_PREFIX, env_ignore_empty=True)(),
    )
    yield lambda name: f"flag {flag(name)}", flags


def _refuse_unknown(names: Iterable[str], known: Iterable[str], where: str) -> None:
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "`registry-facade config show` lists those there are"
            raise StartRefused(f"unknown setting {name!r} {where}: {hint}")


def _checked(name: str, value: object, origin: str) -> object:
    """The value in the knob's own type. Text is read as a variable would state it, whichever source it comes from."""
    from pydantic import TypeAdapter, ValidationError

    try:
        read: object = _split(value) if is_list(name) else value
        if name == "store":
            read = _split(value, _BETWEEN_URLS)
        if name == "listen":
            read = [Address.parse(part) for part in _split(value)]
        checked: object = TypeAdapter(_TYPES[name]).validate_python(read)
        _refuse_unfit(name, checked)
    except ValueError as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            reason = error.errors()[0]["msg"].replace("Input should", "it should", 1)
        raise StartRefused(f"{name}: {shown(value)!r} will not do ({origin}): {reason}") from None
    return checked


_BETWEEN_URLS = re.compile(r",(?=\s*[a-z][a-z0-9+.-]*://)")
"""A comma inside a URL stands between the addresses of one registry."""


def _split(value: object, between: re.Pattern[str] = re.compile(",")) -> list[str]:
    match value:
        case str():
            return [part.strip() for part in between.split(value) if part.strip()]
        case list() | tuple():
            return [part for text in value for part in _split(text, between)]
    raise ValueError("it should be a list of texts")


def _refuse_unfit(name: str, value: object) -> None:
    knob = KNOBS[name]
    if value in ("", ()):
        raise ValueError("it should not be empty")
    if isinstance(value, float | int) and not knob.least <= value <= knob.most:  # NaN is refused, too
        limit = f" and at most {knob.most:g}" if knob.most < inf else ""
        raise ValueError(f"it should be at least {knob.least:g}{limit}")
