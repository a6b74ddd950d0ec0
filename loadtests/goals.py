"""A run of measurements beside their goals: its arguments, its rows as they come, and the table at the end.

What a run has measured until it was ended is not lost.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import resource
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from rich.console import Console
from rich.table import Table

from loadtests.servers import GENERATOR_CORE

LARGE, QUICK = 100_000, 5_000
HEADINGS = ("what", "measured", "goal", "")
COLUMNS = 170
"""Where there is no terminal to ask."""


class Row(NamedTuple):
    """One line of the table."""

    what: str
    measured: str
    goal: str = ""
    is_met: bool | None = None
    """None: there is no goal."""


_Run = TypeVar("_Run")
Measurements = Mapping[str, Callable[[_Run], Iterator[Row]]]


def measure(
    name: str,
    about: str,
    measurements: Measurements[_Run],
    run_of: Callable[[Path, Iterator[int], int, bool], _Run],
    *,
    ports_from: int,
) -> None:
    """Take the measurements that the command line asks for, and print them.

    `name` and `about` are a module's own; `run_of` makes what each measurement is given, of a folder, free ports, the
    number of instances, and whether the run is a quick one.
    """
    asked = _arguments(name, about, list(measurements), ports_from)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends us, the servers end too
    os.sched_setaffinity(0, {int(GENERATOR_CORE)})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for the servers too: they are children of ours
    console = Console(width=None if os.isatty(1) else COLUMNS)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
        run = run_of(Path(folder), itertools.count(asked.ports_from), asked.instances, asked.quick)
        try:
            for title, taken in measurements.items():
                if asked.only in title:
                    began_s = time.perf_counter()
                    rows += taken(run)
                    console.print(f"measured: {title}, in {time.perf_counter() - began_s:.0f} s")
        finally:
            console.print(_table(rows, is_quick=asked.quick))
            if asked.markdown:
                asked.markdown.write_text(_markdown(rows, is_quick=asked.quick))


def _arguments(name: str, about: str, titles: list[str], ports_from: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m loadtests.{name}", description=about.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"at most {QUICK:,} instances, fewer of everything")
    parser.add_argument("--only", default="", metavar="TEXT", help=f"of: {', '.join(titles)}")
    parser.add_argument("--instances", type=int, help=f"of the largest registry; others have a tenth of it ({LARGE:,})")
    parser.add_argument("--ports-from", type=int, default=ports_from, metavar="PORT")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    asked = parser.parse_args()
    asked.instances = asked.instances or (QUICK if asked.quick else LARGE)
    if not any(asked.only in title for title in titles):
        parser.error(f"--only {asked.only!r} names none of: {', '.join(titles)}")
    return asked


def _setting(is_quick: bool) -> str:
    load = os.getloadavg()[1]
    said = f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f}"
    return f"{said}; the quick form, which says little about the goals" if is_quick else said


def _cells(rows: list[Row]) -> Iterator[tuple[str, str, str, str]]:
    for what, measured, goal, is_met in rows:
        yield what, measured, goal, {True: "ok", False: "missed", None: ""}[is_met]


def _table(rows: list[Row], *, is_quick: bool) -> Table:
    written = Table(*HEADINGS, title=_setting(is_quick))
    for cells in _cells(rows):
        written.add_row(*cells, style="red" if cells[-1] == "missed" else None)
    return written


def _markdown(rows: list[Row], *, is_quick: bool) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (HEADINGS, *_cells(rows))]
    lines.insert(1, "|" + "---|" * len(HEADINGS))
    return "\n".join([_setting(is_quick), "", *lines, ""])
