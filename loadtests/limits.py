"""What our server promises beyond speed: growth laws, memory, starts, latencies under an open loop, watchers, idleness.

    python -m loadtests.limits                  about ten minutes; up to 100,000 instances
    python -m loadtests.limits --quick          less than two: a twentieth of that, fewer of everything
    python -m loadtests.limits --only TEXT      the measurements with TEXT in their name
    python -m loadtests.limits --markdown FILE  the table as Markdown too

The server runs on one core, what asks it on the other. The goals are stated where they are measured; the registries are
as large as the goals say, unless --instances or --quick makes them smaller.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from loadtests.limits_measures import batch, changes, idle, lag, memory, open_loop, renewals, starts
from loadtests.limits_registries import Registries, Row
from loadtests.limits_watchers import watchers
from loadtests.servers import GENERATOR_CORE

MEASUREMENTS: dict[str, Callable[[Registries], Iterator[Row]]] = {
    "start": starts,
    "memory": memory,
    "cost of a renewal": renewals,
    "cost of a change": changes,
    "open loop": open_loop,
    "lag of the loop": lag,
    "batch": batch,
    "watchers": watchers,
    "idle": idle,
}
LARGE, QUICK = 100_000, 5_000
HEADINGS = ("what", "measured", "goal", "")


def main() -> None:
    asked = _arguments()
    os.sched_setaffinity(0, {int(GENERATOR_CORE)})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for the server too: it is a child of ours
    console = Console(width=None if os.isatty(1) else 160)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="limits-") as folder:
        registries = Registries(Path(folder), itertools.count(asked.ports_from), asked.instances, asked.quick)
        try:
            for name, measure in MEASUREMENTS.items():
                if asked.only in name:
                    began_s = time.perf_counter()
                    rows += measure(registries)
                    console.print(f"measured: {name}, in {time.perf_counter() - began_s:.0f} s")
        finally:  # what a run has measured until it was ended is not lost
            console.print(_table(rows, asked))
            if asked.markdown:
                asked.markdown.write_text(_markdown(rows, asked))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.limits", description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"at most {QUICK:,} instances, fewer of everything")
    parser.add_argument("--only", default="", metavar="TEXT", help=f"of: {', '.join(MEASUREMENTS)}")
    parser.add_argument("--instances", type=int, help=f"of the largest registry; others have a tenth of it ({LARGE:,})")
    parser.add_argument("--ports-from", type=int, default=24_000, metavar="PORT")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    asked = parser.parse_args()
    asked.instances = asked.instances or (QUICK if asked.quick else LARGE)
    if not any(asked.only in name for name in MEASUREMENTS):
        parser.error(f"--only {asked.only!r} names none of: {', '.join(MEASUREMENTS)}")
    return asked


def _setting(asked: argparse.Namespace) -> str:
    load = os.getloadavg()[1]
    said = f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f}"
    return f"{said}; the quick form, which says little about the goals" if asked.quick else said


def _cells(rows: list[Row]) -> Iterator[tuple[str, str, str, str]]:
    for what, measured, goal, is_met in rows:
        yield what, measured, goal, {True: "ok", False: "missed", None: ""}[is_met]


def _table(rows: list[Row], asked: argparse.Namespace) -> Table:
    table = Table(*HEADINGS, title=_setting(asked))
    for cells in _cells(rows):
        table.add_row(*cells, style="red" if cells[-1] == "missed" else None)
    return table


def _markdown(rows: list[Row], asked: argparse.Namespace) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (HEADINGS, *_cells(rows))]
    lines.insert(1, "|" + "---|" * len(HEADINGS))
    return "\n".join([_setting(asked), "", *lines, ""])


if __name__ == "__main__":
    main()
