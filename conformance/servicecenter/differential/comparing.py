"""Runs a trace on two servers and says which answers are the same.

The original shows a write after up to 0.3 s and a deletion after up to 2.3 s: after each the trace waits, and what is
read is asked again until it is as ours says, for as long as that may take. Differences that we mean are taken out one
by one, each by its case number in docs/differences.md.
"""

from __future__ import annotations

import difflib
import json
import re
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from typing import NamedTuple

from conformance.servicecenter.asking import ServiceCenter
from conformance.servicecenter.differential.answering import Answer, Run, only_reads
from conformance.servicecenter.differential.operations import Operation, Trace

SHOWN_S = 0.4
GONE_S = 3.0
SOON_S = 20.0
"""Dependencies go through a queue of the original."""
AGAIN_S = 0.1
APART_S = 3
"""So far the time stamps of one trace on two servers may be apart."""
PATIENTLY = 3
"""Times the usual waits, before a difference is believed."""
RELIED_ON = "other service rely it"
TRIES = 60
"""A trace is shrunk with so many runs at most."""


def are_same(real: Answer, ours: Answer, operation: Operation, *, is_live: bool = True, is_vague: bool = False) -> bool:
    """`is_vague` is to say that we do not mean to have changed instances at the same times."""
    meant = as_meant(real, ours, operation)
    if meant[:3] != ours[:3]:
        return False
    pairs = zip(real.times, ours.times, strict=True) if is_live and real.status == ours.status else ()
    return all(
        one == other and (abs(then - our) <= APART_S or (is_vague and one == "instance.modTimestamp"))
        for (one, then), (other, our) in pairs
    )


def as_meant(real: Answer, ours: Answer, operation: Operation) -> Answer:
    """The original's answer as we mean to give it: each difference by its case number."""
    if real.body.startswith("Invalid Request URI "):  # cases 6-8: the answer of what is done all the same follows
        return real._replace(headers=ours.headers, body=ours.body)
    if real.shows and real.shows == ours.shows and ours.is_fresh:
        # Case 107: after a write either may say anew what the asker knows, or that it knows.
        return ours
    if real.status == 400 and '"400001"' in real.body and '"400001"' in ours.body:
        return real._replace(body=_as_said(real.body, ours.body))
    return real


def _as_said(real: str, ours: str) -> str:
    """A refusal in our words, where the original's tell less (32, 86), or are of Go's reader or printer (32, 77)."""
    said, our = json.loads(real), json.loads(ours)
    theirs, detail = said["detail"], our["detail"]
    value = re.compile(r"(?<=invalid value ').*(?=' does not match)", re.DOTALL)
    tells_more = theirs in ("Unmarshal error", "invalid nil pointer") and theirs in detail
    breaks = ("invalid character ", "unexpected end of JSON input", "JSON is malformed")
    is_of_the_reader = theirs.startswith(breaks) and detail.startswith(breaks)
    into = "json: cannot unmarshal "
    is_of_the_reader |= theirs.startswith(into) and detail.removeprefix("Unmarshal error: ").startswith(into)
    is_of_the_reader |= "invalid nil pointer" in detail  # told before other faults
    found = value.search(theirs)
    is_printed = found and found[0].startswith(("map[", "[")) and value.sub("", theirs) == value.sub("", detail)
    return ours if tells_more or is_of_the_reader or is_printed else real


class Step(NamedTuple):
    operation: Operation
    real: Answer
    ours: Answer


class Finding(NamedTuple):
    """A trace of which the last operation is answered differently."""

    steps: list[Step]

    @property
    def trace(self) -> Trace:
        return [step.operation for step in self.steps]

    def __str__(self) -> str:
        steps = "\n".join(f"  {number}. {step.operation}" for number, step in enumerate(self.steps, 1))
        _, real, ours = self.steps[-1]
        changes = difflib.unified_diff(_lines(real), _lines(ours), "the original", "ours", n=0, lineterm="")
        return (
            f"{steps}\n  the original: {real}\n  ours:         {ours}\n  times {real.times} {ours.times}\n    "
            + "\n    ".join(changes)
        )


def _lines(answer: Answer) -> list[str]:
    """For people: a member a line."""
    return str(answer).replace(', "', ',\n"').splitlines()


Pair = tuple[ServiceCenter, ServiceCenter]


def first_difference(pair: Pair, trace: Sequence[Operation], patience: float = 1) -> tuple[int, Finding | None]:
    """How many operations were compared, and what differs first."""
    real, ours = map(Run, pair)
    steps: list[Step] = []
    is_vague = False
    for operation in trace:
        operation = ours.without_wish(operation)
        # The original notes the time of a change that changes nothing (cases 95, 97), and none of one of many (101).
        is_vague |= ours.changes_nothing(operation) or operation.path.endswith("/instances/status")
        our, ours.known = ours.ask(operation)
        theirs, known = real.ask(operation)
        give_up_at = time.monotonic() + SOON_S * patience
        while (
            not are_same(theirs, our, operation, is_vague=is_vague)
            and only_reads(operation)
            and time.monotonic() < give_up_at
        ):
            time.sleep(AGAIN_S * patience)
            theirs, known = real.ask(operation)
        real.known = known
        steps.append(Step(operation, theirs, our))
        if theirs.status == 200 and "belongs to another service" in our.body:
            return len(steps), None  # case 44: the original now does to the other service what was meant for a new one
        if operation.path.endswith("/microservices") and (RELIED_ON in theirs.body) != (RELIED_ON in our.body):
            return len(steps), None  # case 61: whether a consumer goes before its provider is chance in the original
        if not are_same(theirs, our, operation, is_vague=is_vague):
            return len(steps), Finding(steps)
        time.sleep(settles_in_s(operation, theirs) * patience)
    return len(steps), None


def confirmed(pair: Pair, finding: Finding) -> Finding | None:
    """What differs also when the original is given time."""
    return first_difference(pair, finding.trace, PATIENTLY)[1]


def settles_in_s(operation: Operation, answer: Answer) -> float:
    """How long the original needs until its answers show what this operation did; finding is noted, too."""
    if answer.status != 200 or "heartbeat" in operation.path:
        return 0
    if only_reads(operation):
        return SHOWN_S if "X-ConsumerId" in operation.headers else 0
    if operation.method == "DELETE" and not re.search("/(tags|schemas)/", operation.path):
        return GONE_S
    return SHOWN_S


def shrunk(pair: Pair, finding: Finding, executor: Executor) -> Finding:
    """The shortest trace found that still differs: operations are left out, many at once and then fewer."""
    tries, size = TRIES, max(1, len(finding.trace) // 2)
    while size and tries > 0:
        trace = finding.trace
        shorter = [trace[:place] + trace[place + size :] for place in range(0, len(trace), size)]
        tries -= len(shorter)
        found = [one for _, one in executor.map(partial(first_difference, pair), shorter) if one is not None]
        if found:
            finding = min(found, key=lambda one: len(one.trace))
            size = min(size, max(1, len(finding.trace) // 2))
        else:
            size //= 2
    return finding
