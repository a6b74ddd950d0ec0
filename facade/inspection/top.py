"""The servers of a registry as a table: kept up to date on a terminal, printed once everywhere else.

Names and remarks come from servers: they are shown as they are, without markup, and cannot move the cursor.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from facade.escaping import one_line
from facade.inspection.survey import MISSING, NO_ANSWER, OK, Row, Survey

WIDTH_OF_A_FILE = 2000
"""Whoever pipes it into another program gets one line for each row, whatever its length."""

_STYLES = {OK: "green", "degraded": "yellow", MISSING: "bold red", NO_ANSWER: "bold red"}


def console() -> Console:
    return Console(markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE)


async def print_once(survey: Survey, *, is_json: bool) -> list[Row]:
    rows = await survey.look()
    if is_json:
        print(msgspec.json.encode({"nodes": rows}).decode())
    else:
        console().print(picture(rows))
    return rows


async def keep_showing(survey: Survey, every_s: float) -> None:
    """Until cancelled. What was seen last stays on the terminal."""
    screen, rows = console(), list[Row]()
    try:
        with Live(Text("Asking …"), console=screen, screen=True, auto_refresh=False) as live:
            while True:
                rows = await survey.look()
                heading = Text(f"{datetime.now():%H:%M:%S}, every {every_s:g} s; Ctrl-C ends", style="dim")
                live.update(Group(heading, picture(rows)), refresh=True)
                await asyncio.sleep(every_s)
    except asyncio.CancelledError:
        screen.print(picture(rows))


def picture(rows: Sequence[Row]) -> Group:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("NODE")
    table.add_column("STATE", no_wrap=True)
    for heading in ("REVISION", "LAG", "RENEW/S", "EUREKA", "SC", "AGE", "WAIT"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            _plain(f"{row.name} *" if row.leads else row.name),
            Text(one_line(row.state), _STYLES.get(row.state, "red")),
            _number(row.revision),
            "-" if row.lag_ms is None else _duration(row.lag_ms / 1000),
            "-" if row.renewals_a_second is None else f"{row.renewals_a_second:.1f}",
            _count(row, "eureka"),
            _count(row, "servicecenter"),
            "-" if row.data_age_s is None else _duration(row.data_age_s),
            _number(row.waiting_writes),
        )
    remarks = [_plain(f"{row.name}: {remark}") for row in rows for remark in row.remarks]
    if any(row.leads for row in rows):
        remarks.append(_plain("* ends lapsed leases"))
    return Group(table, *remarks)


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _count(row: Row, origin: str) -> str:
    return _number((row.instances or {}).get(origin))


def _duration(seconds: float) -> str:
    """In six characters."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds else "0"
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"


def _plain(text: str) -> Text:
    return Text(one_line(text), overflow="fold")
