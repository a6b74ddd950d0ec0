"""`python -m conformance.clients.table OURS.xml REAL.xml` makes docs/compatibility.md of two runs' junit reports.

The reports are those of `pytest conformance/clients --junit-xml FILE`, without and with `--eureka-kind real
--servicecenter-kind real`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "compatibility.md"

HEAD = """# Clients that work with this server

Each of these programs was run as it is published, against our server and against the original, by the same tests:
`conformance/clients`. "yes" means that it works; other words tell what happens with that server instead, where the
test expects it. This page is generated:

    pytest conformance/clients --junit-xml ours.xml
    pytest conformance/clients --eureka-kind real --servicecenter-kind real --junit-xml real.xml
    python -m conformance.clients.table ours.xml real.xml
"""

# What sets the clients of a protocol apart, and the words above their table.
SECTIONS: Mapping[str, tuple[str, str]] = {
    "transport": ("transport", "## Eureka's clients\n\nThe original is Spring Cloud Netflix Eureka Server."),
    "access": (
        "access control",
        "## ServiceCenter's clients\n\n"
        "The original is Apache ServiceComb ServiceCenter v2.2.0. With access control on, each client logs in as root.",
    ),
}

Row = tuple[str, ...]
"""Which section, the client, its version, how it is set apart there, what was tried."""


def main(ours: str, real: str) -> None:
    PAGE.write_text(page(Path(ours), Path(real)))
    print(f"{PAGE} is written")


def page(ours: Path, real: Path) -> str:
    """The page; a test that only one of the runs had is told as not run in the other."""
    with_ours, with_real = dict(_results(ours)), dict(_results(real))
    rows = sorted({*with_ours, *with_real}, key=lambda row: row[:-1])
    in_order = sorted(rows, key=lambda row: (row[:-1], _place(row, with_ours, with_real)))
    text = HEAD
    for key, (column, words) in SECTIONS.items():
        head = ["client", "version", column, "what was tried", "against ours", "against the original"]
        lines = [_line(head), "|" + "---|" * len(head)]
        lines += [
            _line([*map(_cell, row[1:]), with_ours.get(row, "not run"), with_real.get(row, "not run")])
            for row in in_order
            if row[0] == key
        ]
        text += f"\n{words}\n\n" + "\n".join(lines) + "\n"
    return text


def _place(row: Row, *runs: dict[Row, str]) -> int:
    """As in the test module."""
    return next(list(run).index(row) for run in runs if row in run)


def _results(report: Path) -> Iterator[tuple[Row, str]]:
    for case in ElementTree.parse(report).iter("testcase"):
        told = {one.get("name", ""): one.get("value", "") for one in case.iter("property")}
        if "tried" in told:
            section = next(key for key in SECTIONS if key in told)
            yield (section, *(told[key] for key in ("name", "version", section, "tried"))), _result(case, told)


def _result(case: ElementTree.Element, told: dict[str, str]) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "**no**"
    if (skipped := case.find("skipped")) is not None:
        return _cell(f"not run: {skipped.get('message', '')}")
    return _cell(told.get("noted") or "yes")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main(*sys.argv[1:])
