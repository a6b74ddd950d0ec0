"""The command line: read the settings, run the server.

Exit codes: 0 done, also a server told to stop · 1 `health` found the server not well, or a tool has something to tell ·
2 it cannot be done as asked, and one line on stderr says why · 130 a tool was interrupted. What takes long to import is
imported where it is used, so that each command answers soon.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TextIO

import typer

from facade import __version__
from facade.config import (
    CONFIG_VARIABLE,
    IMPORT_VARIABLE,
    KNOBS,
    Address,
    Loaded,
    Settings,
    flag,
    imported_from,
    is_list,
    is_switch,
    load,
    shown,
)
from facade.errors import StartRefused
from facade.inspection.interruption import INTERRUPTED, when_told_to_stop

if TYPE_CHECKING:
    import asyncio

    from facade.importing import Imported, Row

HEALTH_WITHIN_S = 3.0

app = typer.Typer(
    name="registry-facade",
    help="One registry that is a Eureka server and a ServiceCenter at once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its boxes shorten the names of flags
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(help="Look at the settings.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config_app, name="config")


def main() -> None:
    """The entry point. A start that is refused is one line, never a traceback."""
    # Not KeyboardInterrupt: asyncio turns that into a cancellation of what is being closed in good order.
    when_told_to_stop(lambda: sys.exit(0))
    try:
        app()
    except StartRefused as refusal:
        print(f"registry-facade: {refusal}", file=sys.stderr)
        sys.exit(2)


def _file_flag(name: str, spelt: str, about: str) -> inspect.Parameter:
    option = typer.Option(None, spelt, metavar="FILE", help=about, show_default=False)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=Path | None)


_FILE_FLAGS = [
    _file_flag("config", "--config", f"Settings as TOML, one key for each flag below. Also: {CONFIG_VARIABLE}."),
    _file_flag(
        "import_eureka",
        "--import-eureka",
        f"An existing Eureka server's application.yml, .yaml or .properties. Also: {IMPORT_VARIABLE}.",
    ),
]


def _flag(name: str) -> inspect.Parameter:
    """A knob as a flag. Its value stays text: config.py reads all sources alike, and words what is wrong alike."""
    knob = KNOBS[name]
    default = shown(getattr(Settings, name, knob.source)) or "none"
    about = f"{knob.about} (default: {default})"
    spelt = f"{flag(name)}/--no-{flag(name)[2:]}" if is_switch(name) else flag(name)
    kind: Any = bool if is_switch(name) else list[str] if is_list(name) else str
    option = typer.Option(None, spelt, metavar=None if is_switch(name) else knob.unit, help=about, show_default=False)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind | None)


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a flag for each file and for each knob, and call it with what all sources say together.

    What it takes beside that stands after `loaded` in its own signature.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    @functools.wraps(command)
    def run(config: Path | None, import_eureka: Path | None, **stated: object) -> None:
        beside = {parameter.name: stated.pop(parameter.name) for parameter in own}
        flags = {name: value for name, value in stated.items() if value not in (None, [])}
        imported = imported_from(import_eureka)
        loaded = load(flags, config, imported)
        if imported is not None:
            _tell(imported, loaded)
        command(loaded, **beside)

    # typer reads a command's flags from its signature.
    flags = [*own, *_FILE_FLAGS, *map(_flag, KNOBS)]
    run.__signature__ = inspect.Signature(flags)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in flags}
    return run


@app.command()
@takes_settings
def serve(loaded: Loaded) -> None:
    """Run the server until it is told to stop."""
    import asyncio

    from facade.console import set_up_logging
    from facade.server import serve as serve_until_told

    set_up_logging(loaded.settings)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve_until_told(loaded.settings))


@config_app.command()
@takes_settings
def show(loaded: Loaded) -> None:
    """Print each setting: its value, its unit, and where the value came from."""
    rows = [
        (name, shown(getattr(loaded.settings, name)), knob.unit, loaded.origins[name]) for name, knob in KNOBS.items()
    ]
    _print_table(("SETTING", "VALUE", "UNIT", "CAME FROM"), rows, sys.stdout)


@config_app.command()
@takes_settings
def check(loaded: Loaded) -> None:
    """Say whether the settings are good, without starting or opening anything."""
    from facade.clock import SystemClock
    from facade.registry.registry import Registry
    from facade.server import peers_of, store_of

    clock = SystemClock()
    peers_of(loaded.settings, Registry(store_of(loaded.settings, clock), clock))
    stated = sum(not origin.startswith("default") for origin in loaded.origins.values())
    print(f"The settings are good: {stated} stated, {len(KNOBS) - stated} left at their defaults.")


@app.command()
def health(
    url: str = typer.Option("", help="of the server; without it, the first address that the settings name"),
) -> None:
    """Ask a running server whether it is alive: exit code 0 or 1. For containers, which have no curl."""
    # Asked every few seconds, so without httpx: it takes ten times as long to import.
    import urllib.request

    asked = f"{(url or _url_here(load().settings.listen[0])).rstrip('/')}/healthz"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(asked, timeout=HEALTH_WITHIN_S) as answer:
            print(f"{asked}: {answer.status}")
    except (OSError, ValueError) as error:  # also any status but 2xx
        print(f"registry-facade: {asked}: {getattr(error, 'reason', error)}", file=sys.stderr)
        sys.exit(1)


_PLACE = "http://HOST:8761/eureka, servicecenter+http://HOST:30100, http://HOST:PORT of ours, or a dump file"
_AS_JSON = typer.Option(False, "--json", help="one JSON document instead of lines for people")


@app.command()
@takes_settings
def doctor(
    loaded: Loaded,
    urls: list[str] = typer.Argument(None, metavar="URL", help="to look at beside the registries behind us"),  # noqa: B008
    is_json: bool = _AS_JSON,
) -> None:
    """Look at the registries behind us: do they answer, do clocks agree, what would not fit, who else is there.

    Exit code 0: no problem · 1: a problem was found · 2: none of them can be asked.
    """
    commands = _tools()
    from facade.clock import SystemClock
    from facade.inspection import places
    from facade.server import policy_of
    from facade.stores.opening import open_store
    from facade.stores.urls import upstreams

    settings = loaded.settings
    behind = upstreams(settings.store)
    if not behind:  # then it has to be one of our own, or it is a slip of the pen
        open_store(settings.store, settings.data_dir, SystemClock(), policy_of(settings))
    found = [*map(places.of_upstream, behind), *map(places.parse, urls or ())]
    own_urls = [_url_here(address) for address in settings.listen]
    sys.exit(commands.doctor(found, policy_of(settings), cluster=settings.cluster, own_urls=own_urls, is_json=is_json))


@app.command()
def diff(
    a: str = typer.Argument(help=_PLACE),
    b: str = typer.Argument(help="likewise"),
    is_json: bool = _AS_JSON,
) -> None:
    """Print what two registries tell differently, as `dump` reads them: of the tenant default/default.

    Exit code 0: nothing · 1: something · 2: one cannot be asked.
    """
    commands = _tools()
    from facade.server import policy_of

    sys.exit(commands.diff(a, b, policy_of(load().settings), is_json=is_json))


@app.command()
def dump(
    place: str = typer.Argument(help=_PLACE),
    out: Path = typer.Option(None, metavar="FILE", help="to write, whole or not at all (default: standard output)"),  # noqa: B008
) -> None:
    """Write all that a registry holds, one JSON document a line.

    Of a ServiceCenter, and of ours, that is the tenant default/default with all its environments: no other is listed.
    """
    sys.exit(_tools().dump(place, out))


@app.command()
def restore(
    file: Path = typer.Argument(help="that `dump` has written"),  # noqa: B008
    place: str = typer.Argument(help="a server, named as for `dump`"),
    is_dry: bool = typer.Option(False, "--dry-run", help="ask what is there, and change nothing"),
) -> None:
    """Register what a dump holds and a registry does not, in the tenant default/default. What is there already stays.

    Exit code 0: all is there now · 1: the registry refused some of it · 2: it cannot be done.
    """
    commands = _tools()
    from facade.server import policy_of

    sys.exit(commands.restore(file, place, policy_of(load().settings), is_dry=is_dry))


@app.command()
def version() -> None:
    """Print the version."""
    print(f"registry-facade {__version__}")


def _tell(imported: Imported, loaded: Loaded) -> None:
    """What became of each key of a Eureka server's file; on stderr, for stdout belongs to the command."""

    def fate(row: Row) -> str:
        if not row.knob:
            return row.reason
        origin = loaded.origins[row.knob]
        overruled = "" if origin.startswith("imported ") else f"overruled by {origin}"
        remarks = "; ".join(filter(None, (row.reason, overruled)))
        return f"{row.knob} = {shown(imported.settings[row.knob])}" + (f" ({remarks})" if remarks else "")

    rows = [(row.outcome, row.key, fate(row)) for row in imported.rows]
    _print_table(("IMPORT", "KEY", "BECAME, OR WHY NOT"), rows, sys.stderr)
    for remark in imported.remarks:
        print(remark, file=sys.stderr)


def _print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], to: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    # Whoever pipes it into another program gets one line for each row, whatever its length.
    width = None if to.isatty() else 2000
    Console(file=to, markup=False, highlight=False, width=width).print(table)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it exists: several times faster than asyncio's own, and the server runs on either."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _tools() -> ModuleType:
    """The operator's tools. They may be interrupted from the beginning, also while they are imported."""
    when_told_to_stop(lambda: sys.exit(INTERRUPTED))
    from facade.inspection import commands

    return commands


def _url_here(address: Address) -> str:
    """Where a server that listens there can be asked from this machine."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
    return f"http://{address._replace(host=anywhere.get(address.host, address.host))}"
