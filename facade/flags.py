"""Settings as flags of a command: one for each knob of config.py, and one for each file that settings may stand in.

Also tables for people, as `config show` prints the settings and an import tells what became of each key.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

from facade.config import KNOBS, Settings, flag, is_list, is_switch, shown
from facade.sources import CONFIG_VARIABLE, IMPORT_VARIABLE, Loaded, imported_from, load

if TYPE_CHECKING:
    from facade.importing import Imported, Row


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

    flags = [*own, *_FILE_FLAGS, *map(_flag, KNOBS)]
    run.__signature__ = inspect.Signature(flags)  # type: ignore[attr-defined]  # where typer reads flags
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in flags}
    return run


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
    """A knob as a flag. Its value stays text: sources.py reads all sources alike, and words what is wrong alike."""
    knob = KNOBS[name]
    default = shown(getattr(Settings, name, knob.source)) or "none"
    about = f"{knob.about} (default: {default})"
    spelt = f"{flag(name)}/--no-{flag(name)[2:]}" if is_switch(name) else flag(name)
    kind: Any = bool if is_switch(name) else list[str] if is_list(name) else str
    option = typer.Option(None, spelt, metavar=None if is_switch(name) else knob.unit, help=about, show_default=False)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind | None)


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
    print_table(("IMPORT", "KEY", "BECAME, OR WHY NOT"), rows, sys.stderr)
    for remark in imported.remarks:
        print(remark, file=sys.stderr)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], to: TextIO) -> None:
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
