"""The command line: read the settings, run the server.

Exit codes: 0 done, also when told to stop · 1 `health` found the server not well · 2 it cannot be done as asked, and
one line on stderr says why. What takes long to import is imported where it is used, so that each command answers soon.
"""

from __future__ import annotations

import functools
import inspect
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from facade import __version__
from facade.config import CONFIG_VARIABLE, KNOBS, Address, Loaded, Settings, flag, is_list, is_switch, load, shown
from facade.errors import StartRefused

if TYPE_CHECKING:
    import asyncio

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
    for told_to_stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_stop, _end_quietly)
    try:
        app()
    except StartRefused as refusal:
        print(f"registry-facade: {refusal}", file=sys.stderr)
        sys.exit(2)


def _config_flag() -> inspect.Parameter:
    about = f"Settings as TOML, one key for each flag below. Also: {CONFIG_VARIABLE}."
    option = typer.Option(None, "--config", metavar="FILE", help=about, show_default=False)
    return inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=option, annotation=Path | None)


def _flag(name: str) -> inspect.Parameter:
    """A knob as a flag. Its value stays text: config.py reads all sources alike, and words what is wrong alike."""
    knob = KNOBS[name]
    default = shown(getattr(Settings, name, knob.source)) or "none"
    about = f"{knob.about} (default: {default})"
    spelt = f"{flag(name)}/--no-{flag(name)[2:]}" if is_switch(name) else flag(name)
    kind: Any = bool if is_switch(name) else list[str] if is_list(name) else str
    option = typer.Option(None, spelt, metavar=None if is_switch(name) else knob.unit, help=about, show_default=False)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind | None)


def takes_settings(command: Callable[[Loaded], None]) -> Callable[..., None]:
    """Give a command --config and one flag for each knob, and call it with what all sources say together."""

    @functools.wraps(command)
    def run(config: Path | None, **flags: object) -> None:
        command(load({name: value for name, value in flags.items() if value not in (None, [])}, config))

    # typer reads a command's flags from its signature.
    flags = [_config_flag(), *map(_flag, KNOBS)]
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
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("SETTING", "VALUE", "UNIT", "CAME FROM"):
        table.add_column(heading, overflow="fold")
    for name, knob in KNOBS.items():
        table.add_row(name, shown(getattr(loaded.settings, name)), knob.unit, loaded.origins[name])
    # Whoever pipes it into another program gets one line for each setting, whatever its length.
    width = None if sys.stdout.isatty() else 2000
    Console(markup=False, highlight=False, width=width).print(table)


@config_app.command()
@takes_settings
def check(loaded: Loaded) -> None:
    """Say whether the settings are good, without starting or opening anything."""
    from facade.clock import SystemClock
    from facade.stores.urls import open_store

    open_store(loaded.settings.store, loaded.settings.data_dir, SystemClock())
    stated = sum(not origin.startswith("default") for origin in loaded.origins.values())
    print(f"The settings are good: {stated} stated, {len(KNOBS) - stated} left at their defaults.")


@app.command()
def health(
    url: str = typer.Option("", help="of the server; without it, the first address that the settings name"),
) -> None:
    """Ask a running server whether it is alive: exit code 0 or 1. For containers, which have no curl."""
    # Asked every few seconds, so without httpx: it takes ten times as long to import.
    import urllib.request

    asked = f"{(url or _own_url()).rstrip('/')}/healthz"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(asked, timeout=HEALTH_WITHIN_S) as answer:
            print(f"{asked}: {answer.status}")
    except (OSError, ValueError) as error:  # also any status but 2xx
        print(f"registry-facade: {asked}: {getattr(error, 'reason', error)}", file=sys.stderr)
        sys.exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    print(f"registry-facade {__version__}")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it exists: several times faster than asyncio's own, and the server runs on either."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _own_url() -> str:
    """Where a server with these settings can be asked from this machine."""
    host, port = load().settings.listen[0]
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
    return f"http://{Address(anywhere.get(host, host), port)}"


def _end_quietly(_signal: int, _frame: object) -> None:
    # Not KeyboardInterrupt: asyncio turns that into a cancellation of what is being closed in good order.
    sys.exit(0)
