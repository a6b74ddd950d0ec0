"""What a doctor has found: in plain words, with what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

CLOCK_MAY_DIFFER_S = 3.0
"""The Date header tells whole seconds, and the way there and back takes its time."""
CLOCK_IS_WRONG_S = 60.0
"""Tokens of ServiceCenter's and timestamps of Eureka's clients stop making sense."""


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(NamedTuple):
    level: Level
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.level:<8} {self.place}: {self.text}"


@dataclass
class Report:
    findings: list[Finding] = field(default_factory=list)
    asked: int = 0
    """Places that could be asked at all."""

    def __add__(self, other: Report) -> Report:
        return Report([*self.findings, *other.findings], self.asked + other.asked)

    def add(self, level: Level, place: object, text: str) -> None:
        self.findings.append(Finding(level, str(place), text))

    @property
    def has_problem(self) -> bool:
        return any(finding.level is Level.PROBLEM for finding in self.findings)

    def compare_clocks(self, place: object, ahead_s: float) -> None:
        """By how much that one's clock is ahead of ours."""
        if abs(ahead_s) <= CLOCK_MAY_DIFFER_S:
            self.add(Level.OK, place, "its clock agrees with ours")
            return
        level = Level.PROBLEM if abs(ahead_s) >= CLOCK_IS_WRONG_S else Level.WARNING
        which = "ahead of" if ahead_s > 0 else "behind"
        self.add(level, place, f"its clock is {abs(ahead_s):.0f} s {which} ours: let both follow one time server (NTP)")
