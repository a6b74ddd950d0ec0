"""The command line: read the settings, run the server.

Exit codes: 0 done, also a server told to stop · 1 `health` found the server not well, or a tool has something to tell ·
2 it cannot be done as asked, and one line on stderr says why · 130 a tool was interrupted. What takes long to import is
imported where it is used, so that each command answers soon.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import typer

from facade import __version__
from facade.config import KNOBS, Address, Settings, shown
from facade.errors import StartRefused
from facade.flags import print_table, takes_settings
from facade.inspection.interruption import INTERRUPTED, when_told_to_stop
from facade.sources import Loaded, load

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
    # Not KeyboardInterrupt: asyncio turns that into a cancellation of what is being closed in good order.
    when_told_to_stop(lambda: sys.exit(0))
    try:
        app()
    except StartRefused as refusal:
        print(f"registry-facade: {refusal}", file=sys.stderr)
        sys.exit(2)


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
    print_table(("SETTING", "VALUE", "UNIT", "CAME FROM"), rows, sys.stdout)


@config_app.command()
@takes_settings
def check(loaded: Loaded) -> None:
    """Say whether the settings are good, without starting or opening anything."""
    from facade.clock import SystemClock
    from facade.parts import peers_of, store_of, tls_of, trust_of
    from facade.registry.registry import Registry

    clock = SystemClock()
    tls_of(loaded.settings)
    trust = trust_of(loaded.settings)
    peers_of(loaded.settings, Registry(store_of(loaded.settings, clock, trust), clock), trust)
    stated = sum(not origin.startswith("default") for origin in loaded.origins.values())
    print(f"The settings are good: {stated} stated, {len(KNOBS) - stated} left at their defaults.")


@app.command()
def health(
    url: str = typer.Option("", help="of the server; without it, the first address that the settings name"),
) -> None:
    """Ask a running server whether it is alive: exit code 0 or 1. For containers, which have no curl.

    Settings, as listen and tls_certificate, come from the environment and the file that REGISTRY_FACADE_CONFIG names.
    """
    # Asked every few seconds, so without httpx: it takes ten times as long to import.
    import urllib.request

    settings = load().settings
    asked = f"{(url or _url_here(settings.listen[0], settings)).rstrip('/')}/healthz"
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if asked.startswith("https:"):
        from facade.tls import Trust, trusting_only

        # Its certificate names the host for clients, hardly ever the address on which it is asked here.
        own = settings.tls_certificate if not url else None
        trust = Trust(settings.trusted_ca, settings.tls_certificate, settings.tls_key)
        context = trusting_only(own, settings.tls_key) if own is not None else trust.context()
        handlers.append(urllib.request.HTTPSHandler(context=context))
    direct = urllib.request.build_opener(*handlers)
    try:
        with direct.open(asked, timeout=HEALTH_WITHIN_S) as answer:
            print(f"{asked}: {answer.status}")
    except (OSError, ValueError) as error:  # also any status but 2xx
        print(f"registry-facade: {asked}: {getattr(error, 'reason', error)}", file=sys.stderr)
        sys.exit(1)


_PLACE = "http://HOST:8761/eureka, servicecenter+http://HOST:30100, http://HOST:PORT of ours, or a dump file"
_MOVED = (
    "a store (sqlite:///path/to/file, redis://HOST:6379), a registry to be kept behind us "
    "(eureka+http://HOST:8761/eureka, servicecenter+http://HOST:30100), a running server of ours (http://HOST:PORT); "
    "FROM may be a dump file, too"
)
_ONLY_THERE = "with --live, of records that only a store of ours holds, left there before perhaps: what to do"
_AS_JSON = typer.Option(False, "--json", help="one JSON document instead of lines for people")


@app.command()
@takes_settings
def doctor(
    loaded: Loaded,
    urls: list[str] = typer.Argument(None, metavar="URL", help="to look at beside the registries behind us"),
    is_json: bool = _AS_JSON,
) -> None:
    """Look at the Redis that we share or the registries behind us.

    Do they answer, do clocks agree, who else is there; would that Redis keep what it holds, what would not fit into
    those registries. The server itself is looked at, too, where one with these settings runs.

    Exit code 0: no problem · 1: a problem was found · 2: none of them can be asked.
    """
    commands = _tools()
    from facade.clock import SystemClock
    from facade.inspection import places
    from facade.parts import policy_of, trust_of
    from facade.stores import redis_url
    from facade.stores.opening import open_store
    from facade.stores.urls import upstreams

    settings = loaded.settings
    behind = upstreams(settings.store)
    if not behind:  # then it has to be one of our own, or it is a slip of the pen
        open_store(settings.store, settings.data_dir, SystemClock(), policy_of(settings))
    found = [*map(places.of_upstream, behind), *map(places.parse, urls or ())]
    own_urls = [_url_here(address, settings) for address in settings.listen]
    trust = trust_of(settings)
    sys.exit(
        commands.doctor(
            found,
            policy_of(settings),
            trust,
            cluster=settings.cluster,
            own_urls=own_urls,
            redis=redis_url.of_store(settings.store[0]),
            is_json=is_json,
        )
    )


@app.command()
def diff(
    a: str = typer.Argument(help=_PLACE),
    b: str = typer.Argument(help="likewise"),
    is_json: bool = _AS_JSON,
) -> None:
    """Print what two registries tell differently. They are read as by `dump`: the tenant default/default.

    Exit code 0: nothing · 1: something · 2: one cannot be asked.

    Settings, as trusted_ca, come from the environment and the file that REGISTRY_FACADE_CONFIG names.
    """
    commands = _tools()
    from facade.parts import policy_of, trust_of

    settings = load().settings
    sys.exit(commands.diff(a, b, policy_of(settings), trust_of(settings), is_json=is_json))


@app.command()
def dump(
    place: str = typer.Argument(help=_PLACE),
    out: Path = typer.Option(None, metavar="FILE", help="to write, whole or not at all (default: standard output)"),
) -> None:
    """Write all that a registry holds, one JSON document a line.

    Of a ServiceCenter, and of ours, that is the tenant default/default with all its environments: no other is listed.

    Settings, as trusted_ca, come from the environment and the file that REGISTRY_FACADE_CONFIG names.
    """
    commands = _tools()
    from facade.parts import trust_of

    sys.exit(commands.dump(place, out, trust_of(load().settings)))


@app.command()
def restore(
    file: Path = typer.Argument(help="that `dump` has written"),
    place: str = typer.Argument(help="a server, named as for `dump`"),
    is_dry: bool = typer.Option(False, "--dry-run", help="ask what is there, and change nothing"),
) -> None:
    """Register what a dump holds and a registry does not. In the tenant default/default; what is there stays.

    Exit code 0: all is there now · 1: the registry refused some of it · 2: it cannot be done.

    Settings, as trusted_ca, come from the environment and the file that REGISTRY_FACADE_CONFIG names.
    """
    commands = _tools()
    from facade.parts import policy_of, trust_of

    settings = load().settings
    sys.exit(commands.restore(file, place, policy_of(settings), trust_of(settings), is_dry=is_dry))


@app.command()
def top(
    urls: list[str] = typer.Argument(
        None,
        metavar="URL",
        help="http://HOST:PORT of a server, which names the others of its cluster (default: where we listen)",
    ),
    every_s: float = typer.Option(2.0, "--every", min=0.5, metavar="SECONDS", help="how often they are asked"),
    is_once: bool = typer.Option(False, "--once", help="print one table; so it is where there is no terminal"),
    is_json: bool = typer.Option(False, "--json", help="print one JSON document instead, for scripts"),
) -> None:
    """Show the servers of a cluster: how they fare and what they hold. One alone, too. Ctrl-C ends it.

    LAG: until a change of another node was shown · AGE: how old its answers may be · WAIT: writes that wait.

    No account is needed. Exit code of --once and --json, 0: all are well · 1: one is not · 2: none can be asked.

    Settings, as trusted_ca, come from the environment and the file that REGISTRY_FACADE_CONFIG names.
    """
    is_once = is_once or is_json or not sys.stdout.isatty()
    commands = _tools(INTERRUPTED if is_once else 0)
    from facade.parts import trust_of

    settings = load().settings
    urls = urls or [_url_here(settings.listen[0], settings)]
    sys.exit(commands.top(urls, trust_of(settings), every_s=every_s, is_once=is_once, is_json=is_json))


@app.command()
@takes_settings
def migrate(
    loaded: Loaded,
    places: list[str] = typer.Argument(None, metavar="FROM TO", help=_MOVED),
    apply: bool = typer.Option(False, "--apply", help="do it; without this the plan is printed and nothing is written"),
    rate: float = typer.Option(500.0, min=0, max=1_000_000, help="records a second at most; 0 for as many as go"),
    is_live: bool = typer.Option(False, "--live", help="let a running server change its store to TO"),
    server: str = typer.Option("", metavar="URL", help="the one that --live is for (default: where we listen)"),
    only_there: Literal["refuse", "keep", "remove"] = typer.Option("refuse", help=_ONLY_THERE),
    is_off: bool = typer.Option(False, "--call-off", help="end a switch under way; the server keeps its store"),
    is_json: bool = _AS_JSON,
) -> None:
    """Carry all records from one store or registry into another. With --live a running server changes its own.

    The plan comes first: what would be written, what is there, what does not fit and why. What is there stays as it is,
    and the same again goes on where it ended. Exit code 0: done, or nothing in the way · 1: something was left out,
    differs, or was refused · 2: it cannot be done.
    """
    if len(places or ()) != (0 if is_off else 1 if is_live else 2):
        raise StartRefused("migrate: name FROM and TO; with --live TO alone; with --call-off none")
    if not (is_live or is_off) and (server or only_there != "refuse"):
        raise StartRefused("migrate: --server and --only-there are for --live")
    _tools()
    from facade.clock import SystemClock
    from facade.inspection import moving
    from facade.parts import opener_of, policy_of, trust_of

    settings = loaded.settings
    trust, url = trust_of(settings), server or _url_here(settings.listen[0], settings)
    if is_off:
        sys.exit(moving.call_off(url, trust))
    if is_live:
        sys.exit(
            moving.migrate_live(
                places[0],
                url,
                trust,
                title=shown(places[0]),
                apply=apply,
                rate=rate,
                only_there=only_there,
                is_json=is_json,
            )
        )
    from_, to = places
    titles = (shown(from_), shown(to))
    open_store = opener_of(settings, SystemClock(), trust)
    sys.exit(
        moving.migrate(
            from_, to, open_store, policy_of(settings), trust, titles=titles, apply=apply, rate=rate, is_json=is_json
        )
    )


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


def _tools(interrupted: int = INTERRUPTED) -> ModuleType:
    """The operator's tools. They may be interrupted from the beginning, also while they are imported."""
    when_told_to_stop(lambda: sys.exit(interrupted))
    from facade.inspection import commands

    return commands


def _url_here(address: Address, settings: Settings) -> str:
    """Where a server that listens there can be asked from this machine."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared, not listened on
    return settings.resolved(address)._replace(host=anywhere.get(address.host, address.host)).url
