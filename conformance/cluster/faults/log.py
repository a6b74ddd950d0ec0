"""What was asked of which node, when, and what it answered; what readers were shown meanwhile.

An instance is known by its `who`, which stands in its metadata whichever protocol shows it; each of its registrations
and each change of its metadata has the next number `n`. Times are the monotonic clock's, all of one process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from math import inf
from pathlib import Path


class What(StrEnum):
    REGISTER = "register"
    RENEW = "renew"
    CHANGE = "change"
    """Of the metadata: a new n."""
    STATUS = "status"
    """An operator's word; "" takes it back."""
    CANCEL = "cancel"
    READ = "read"


class Outcome(StrEnum):
    DONE = "done"
    GONE = "gone"
    """There is no such instance."""
    REFUSED = "refused"
    """It did not happen, and will not."""
    UNKNOWN = "unknown"
    """No answer, or one that leaves it open: it may have happened, or happen yet."""


class Shown(str):
    """How an instance is listed: its number and its status."""

    __slots__ = ()

    @staticmethod
    def of(n: int, status: str) -> Shown:
        return Shown(f"{n} {status.replace('_', '')}")

    @property
    def n(self) -> int:
        return int(self.split(" ")[0])


@dataclass(slots=True)
class Op:
    """One request; one that was sent again, to whichever node, is another."""

    who: str
    what: What
    node: int
    began_s: float
    n: int = 0
    """Of a registration or change its number; of all others the last before it."""
    status: str = ""
    """That an operator states; of a read what it was shown."""
    ended_s: float = inf
    outcome: Outcome = Outcome.UNKNOWN
    code: int = 0
    text: str = ""
    """Of a refusal."""

    def end(self, outcome: Outcome, code: int, text: str = "") -> None:
        self.ended_s, self.outcome, self.code, self.text = time.monotonic(), outcome, code, text


@dataclass(slots=True)
class Look:
    """One answer to a reader: all of the fleet that it lists."""

    node: int
    reader: str
    began_s: float
    ended_s: float
    code: int
    age_s: int = 0
    """That the answer admits; 0: it admits none."""
    shown: Mapping[str, Shown] = field(default_factory=dict)
    """By who. Only where the answer was 200."""


@dataclass
class Log:
    lease_s: Mapping[str, float] = field(default_factory=dict)
    """By who: how long it is listed after its last renewal, at least."""
    ops: list[Op] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    """What was broken from when to when."""
    cuts: list[tuple[int, float, float]] = field(default_factory=list)
    """Which node was cut off from Redis, and from when to when."""

    def is_cut(self, node: int, at_s: float) -> bool:
        return any(node == cut and began_s <= at_s <= ended_s for cut, began_s, ended_s in self.cuts)

    def is_broken(self, at_s: float) -> bool:
        return any(began_s <= at_s <= ended_s for _, began_s, ended_s in self.spans)

    def save(self, path: Path) -> None:
        """A line each: first the spans, then the operations, then the looks."""
        with path.open("w") as file:
            for one in self.spans:
                file.write(json.dumps({"span": one}) + "\n")
            for op in self.ops:
                file.write(json.dumps({"op": asdict(op)}) + "\n")
            for look in self.looks:
                file.write(json.dumps({"look": asdict(look)}) + "\n")
