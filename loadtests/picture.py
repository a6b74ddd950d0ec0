"""The ratios of a comparison as a PNG: for each row, how fast each server is beside nginx."""

from __future__ import annotations

import math
import time
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch

from loadtests.report import HELLO, ORIGINALS, OURS, Report
from loadtests.work import Work

COLOURS = {OURS: "#0072B2", HELLO: "#999999", "Eureka": "#D55E00", "ServiceCenter": "#009E73"}
"""Okabe and Ito's, told apart by colour-blind eyes too; the labels and the order say the same."""
NAMES = {
    OURS: "registry-facade",
    HELLO: 'uvicorn, "hello"',
    "Eureka": "Netflix Eureka",
    "ServiceCenter": "ServiceCenter",
}
BAR, GAP = 0.17, 0.17
"""Heights, in inches: of a bar, and between rows."""
HEAD = 1.5
"""As well: of title, legend and axis."""
TITLE = "Requests a second, as a share of what nginx answers"
INK, QUIET = "#222222", "#666666"


def draw(report: Report, to: Path) -> None:
    works = [work for work in report.works if work.is_in_quick]
    height = sum(BAR * len(_servers(report, work)) + GAP for work in works)
    inch = 1 / (height + HEAD)
    figure = Figure(figsize=(9, height + HEAD))
    FigureCanvasAgg(figure)
    figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - 0.6 * inch)))
    axes = figure.add_subplot()
    ticks, ratios, at = list[float](), list[float](), 0.0
    for work in works:
        servers = _servers(report, work)
        ticks.append(at + BAR * (len(servers) - 1) / 2)
        for server in servers:
            ratios.append(report.table[work.name, server].rate / report.against(work).rate)
            _bar(axes, at, ratios[-1], server)
            at += BAR
        at += GAP
    axes.set_yticks(ticks, [_label(work) for work in works], color=INK, fontsize=9)
    axes.set_ylim(at - GAP - BAR / 2 + 0.1, -BAR / 2 - 0.1)  # the first row on top
    _scale(axes, min(ratios))
    run = report.run
    setting = (
        f"nginx answers an empty 200. Each server has one core and {run.instances:,} instances. "
        f"Medians of {run.rounds} rounds, {time.strftime('%Y-%m-%d')}."
    )
    figure.text(0.012, 1 - 0.1 * inch, TITLE, va="top", color=INK, fontsize=14, weight="bold")
    figure.text(0.012, 1 - 0.4 * inch, setting, va="top", color=QUIET, fontsize=9)
    _legend(axes, report, works)
    figure.savefig(to, dpi=144, facecolor="white")


def _servers(report: Report, work: Work) -> list[str]:
    """Ours first. An answer of five bytes says nothing beside a megabyte."""
    anchors = () if work.is_bulk else (HELLO,)
    return [server for server in (OURS, *ORIGINALS, *anchors) if (work.name, server) in report.table]


def _bar(axes: Axes, at: float, ratio: float, server: str) -> None:
    is_ours = server == OURS
    axes.barh(at, ratio, height=BAR * 0.88, color=COLOURS[server])
    axes.annotate(
        f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.3f}",
        (ratio, at),
        xytext=(3, -0.5),
        textcoords="offset points",
        va="center",
        fontsize=7.5,
        color=INK if is_ours else QUIET,
        weight="bold" if is_ours else "normal",
    )


def _scale(axes: Axes, least: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(10 ** math.floor(math.log10(least * 0.9)), 2.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.axvline(1, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="both", which="both", length=0, labelcolor=QUIET, labelsize=8.5)
    axes.tick_params(axis="y", labelcolor=INK, labelsize=9)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel("× nginx, on a logarithmic scale", color=QUIET, fontsize=8.5)


def _label(work: Work) -> str:
    return f"{work.name}\n(nginx sends the same bytes)" if work.is_bulk else work.name


def _legend(axes: Axes, report: Report, works: list[Work]) -> None:
    shown = [server for server in COLOURS if any(server in _servers(report, work) for work in works)]
    patches = [Patch(color=COLOURS[server], label=NAMES[server]) for server in shown]
    axes.legend(
        handles=patches,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=len(shown),
        frameon=False,
        fontsize=9,
        handlelength=1,
        columnspacing=1.6,
    )
