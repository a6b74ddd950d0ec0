"""What a run has measured, in lines for a person. Times are not judged: they depend on the machine."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from .checker import CONTENDED
from .log import Log, Op, Outcome, What
from .readers import DeltaReader
from .watchers import Watcher

WRITES = (What.REGISTER, What.CHANGE, What.STATUS, What.CANCEL)


@dataclass
class Report:
    """What one test leaves for a person."""

    log: Path = field(default_factory=Path)
    """Where all that was seen is kept, if it broke a promise."""
    lines: list[str] = field(default_factory=list)
    """They stand at the end of pytest's output."""

    def tell(self, text: str) -> None:
        print(text)
        self.lines += text.splitlines()


def figures(log: Log, deltas: Sequence[DeltaReader], watchers: Sequence[Watcher]) -> str:
    ops = [op for op in log.ops if not op.who.startswith(CONTENDED)]
    renewals = [op for op in ops if op.what is What.RENEW]
    during = [op for op in renewals if log.is_broken(op.began_s)]
    oldest: dict[int, int] = defaultdict(int)
    for look in log.looks:
        oldest[look.node] = max(oldest[look.node], look.age_s)
    contended = [op for op in log.ops if op.who.startswith(CONTENDED)]
    unanswered = [op for op in contended if op.outcome is Outcome.UNKNOWN and op.what in WRITES]
    lines = [
        f"renewals: {_answers(renewals)}; {_times(renewals)}",
        f"  while something is broken: {_answers(during)}; {_times(during)}",
        f"writes: {_answers([op for op in ops if op.what in WRITES])}; "
        f"longest time without one: {write_gap_s(log):.1f} s",
        f"contended: {len(contended)} calls to {len({op.who for op in contended})} instances, "
        f"of which {len(unanswered)} writes without an answer",
        f"lists: {len(log.looks)}, {sum(look.code == 0 for look in log.looks)} without an answer; "
        f"oldest by node: {[f'{oldest[node]} s' for node in sorted(oldest)]}",
        f"deltas: {sum(one.full_fetches for one in deltas)} lists in full, "
        f"{sum(one.mismatches for one in deltas)} of them because a hash differed, by {len(deltas)} readers",
        f"watchers: {sum(one.events for one in watchers)} events, {sum(one.listed for one in watchers)} lists by "
        f"{len(watchers)}; {sum(one.skipped for one in watchers)} changes told together with the next",
    ]
    return "\n".join(lines)


def registered_anew(log: Log) -> int:
    """How often a client was told within its lease that it is not there, and had not left: also not by a request that
    had no answer, and may have been done after the client's next registration. A node that does not hear of others
    knows an earlier registration of who comes to it then, and asks for the later one."""
    left = {op.who for op in log.ops if op.what is What.CANCEL and op.outcome is Outcome.UNKNOWN}
    lasts_until_s: dict[str, float] = {}
    registered_at: dict[str, int] = {}
    count = 0
    for op in log.ops:
        if op.who in left or op.who.startswith(CONTENDED) or op.what not in (What.REGISTER, What.RENEW):
            continue
        if op.outcome is Outcome.DONE:
            lasts_until_s[op.who] = op.began_s + log.lease_s[op.who]
            if op.what is What.REGISTER:
                registered_at[op.who] = op.node
        elif op.outcome is Outcome.GONE:
            has_moved = op.node != registered_at.get(op.who) and log.is_broken(op.began_s)
            count += op.ended_s < lasts_until_s.get(op.who, 0.0) and not has_moved
    return count


def write_gap_s(log: Log) -> float:
    """The longest time between two acknowledged writes."""
    ends = sorted(op.ended_s for op in log.ops if op.what in WRITES and op.outcome is Outcome.DONE)
    return max((after - before for before, after in pairwise(ends)), default=0.0)


def _answers(ops: Sequence[Op]) -> str:
    codes = Counter(op.code or "no answer" for op in ops)
    return f"{len(ops)} ({', '.join(f'{count} x {code}' for code, count in codes.most_common())})"


def _times(ops: Sequence[Op]) -> str:
    took_ms = sorted(1000 * (op.ended_s - op.began_s) for op in ops if op.code)
    if not took_ms:
        return "none answered"
    at = [took_ms[min(len(took_ms) - 1, int(len(took_ms) * part))] for part in (0.5, 0.99)]
    return f"median {at[0]:.0f} ms, p99 {at[1]:.0f} ms"
