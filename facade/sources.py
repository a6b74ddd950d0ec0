"""The sources of settings: what each says, and what all say together.

In:     flags > environment (REGISTRY_FACADE_<KNOB>, lists with commas) > TOML file > imported file > defaults.
Out:    one frozen Settings, and for each knob where its value came from.
Rules:  a key or variable that no knob has is refused, as is a value out of range: StartRefused, naming the origin.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from facade.config import ENV_PREFIX, KNOBS, TYPES, Address, Settings, flag, is_list, shown, variable
from facade.errors import StartRefused

if TYPE_CHECKING:
    from facade.importing import Imported

CONFIG_VARIABLE = f"{ENV_PREFIX}CONFIG"
IMPORT_VARIABLE = f"{ENV_PREFIX}IMPORT_EUREKA"

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
    return Loaded(Settings(**stated), origins)  # type: ignore[arg-type]  # each was checked


def imported_from(file: Path | None) -> Imported | None:
    """What a Eureka server's own file says, where --import-eureka or its variable names one. Raises StartRefused."""
    if file is None and (named := os.environ.get(IMPORT_VARIABLE)):
        file = Path(named)
    if file is None:
        return None
    from facade.importing import read_eureka  # here: most commands import nothing, and must answer soon

    return read_eureka(file)


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
    yield (
        lambda name: f"variable {KNOBS[name].known_as}",
        {name: os.environ[knob.known_as] for name, knob in KNOBS.items() if os.environ.get(knob.known_as)},
    )
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
        checked: object = TypeAdapter(TYPES[name]).validate_python(read)
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
    if name == "cluster" and str(value).startswith("}"):  # a Redis cluster would see no name in {}}:records
        raise ValueError("it should not begin with }")
    if name == "host_name" and not _is_host(str(value)):
        raise ValueError("it should be a host name or an address, without scheme, brackets and port")
    if isinstance(value, float | int) and not knob.least <= value <= knob.most:  # NaN is refused, too
        limit = f" and at most {knob.most:g}" if knob.most < inf else ""
        raise ValueError(f"it should be at least {knob.least:g}{limit}")


def _is_host(text: str) -> bool:
    if ":" in text:
        with suppress(ValueError):
            return ipaddress.ip_address(text).version == 6
    return bool(re.fullmatch(r"[A-Za-z0-9._-]+", text))
