"""The tools as an operator meets them: what is printed, what the exit code is, how far the work has come.

Exit codes: 0 done, nothing to tell · 1 there is a difference, a problem, a refusal · 2 it cannot be asked.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import httpx
import msgspec

from facade.clock import SystemClock
from facade.errors import FacadeError, StartRefused
from facade.escaping import one_line
from facade.inspection import dumps, restoring
from facade.inspection.comparison import Comparison, Difference, Side, as_document, compared
from facade.inspection.contents import Contents
from facade.inspection.doctor import examine, refuse_files
from facade.inspection.findings import Report
from facade.inspection.interruption import INTERRUPTED, when_told_to_stop
from facade.inspection.listing import listing_of
from facade.inspection.places import Kind, Place, parse
from facade.inspection.servers import Progress, Servers, identified, read, servers, silent
from facade.inspection.survey import OK, Survey
from facade.inspection.top import keep_showing, print_once
from facade.registry.rules import Policy
from facade.stores.redis_url import RedisUrl
from facade.tls import Trust

TOLD_OF_ONE = 5


def diff(a: str, b: str, policy: Policy, trust: Trust | None = None, *, is_json: bool = False) -> int:
    """Print what two places tell differently."""

    async def work(through: Servers, progress: Progress) -> int:
        return await _diff(parse(a), parse(b), policy, through, progress, is_json=is_json)

    return run(work, trust)


def dump(place: str, out: Path | None, trust: Trust | None = None) -> int:
    """Write all that a place holds to a file, or to standard output."""
    return run(lambda through, progress: _dump(parse(place), out, through, progress), trust)


def restore(file: Path, place: str, policy: Policy, trust: Trust | None = None, *, is_dry: bool = False) -> int:
    """Register what a dump holds and a place does not."""
    return run(lambda through, progress: _restore(file, parse(place), policy, through, progress, is_dry=is_dry), trust)


def doctor(
    places: Sequence[Place],
    policy: Policy,
    trust: Trust | None = None,
    *,
    cluster: str,
    own_urls: Sequence[str],
    redis: RedisUrl | None = None,
    is_json: bool = False,
) -> int:
    """Print what stands in the way of living with these registries, and with the Redis that keeps our records."""
    refuse_files(places)

    async def work(through: Servers, progress: Progress) -> int:
        report = Report() if redis is None else await _examine_redis(redis, cluster, trust)
        report += await examine(places, through, policy, cluster=cluster, own_urls=own_urls, progress=progress)
        return _tell_report(report, len(places) + (redis is not None), is_json=is_json)

    return run(work, trust)


async def _examine_redis(redis: RedisUrl, cluster: str, trust: Trust | None) -> Report:
    from facade.inspection.redis_store import look_at_redis  # here: its library takes long to import

    return await look_at_redis(redis, cluster, trust or Trust(), SystemClock())


def top(
    urls: Sequence[str], trust: Trust | None = None, *, every_s: float, is_once: bool = False, is_json: bool = False
) -> int:
    """Show how servers of ours fare, all the time, or once."""
    bases = [base for url in urls for base in _addresses(url)]

    async def work(through: Servers, _progress: Progress) -> int:
        survey = Survey(bases, through)
        if not (is_once or is_json):
            await keep_showing(survey, every_s)
            return 0
        rows = await print_once(survey, is_json=is_json)
        if not any(row.has_answered for row in rows):
            raise StartRefused("none of these servers can be asked")
        return 0 if all(row.state == OK for row in rows) else 1

    return run(work, trust, has_bars=False)


def _addresses(url: str) -> Sequence[str]:
    place = parse(url)
    if place.kind is not Kind.TO_BE_ASKED:
        raise StartRefused(f"{place}: only a registry-facade tells how its nodes fare; name it as http://HOST:PORT")
    return place.bases


async def _diff(a: Place, b: Place, policy: Policy, through: Servers, progress: Progress, *, is_json: bool) -> int:
    # Both at once: what changes between the two readings would be told as a difference.
    contents_a, contents_b = await asyncio.gather(read(a, through, progress), read(b, through, progress))
    sides = (Side.of(one, listing_of(one, policy)) for one in (contents_a, contents_b))
    found = compared(*sides)
    if is_json:
        places = {"a": _place_document(contents_a), "b": _place_document(contents_b)}
        print(msgspec.json.encode(places | as_document(found)).decode())
    else:
        _tell_comparison(found, contents_a, contents_b)
    return 1 if found.differences else 0


async def _dump(place: Place, out: Path | None, through: Servers, progress: Progress) -> int:
    contents = await read(place, through, progress)
    if out is None:
        dumps.write_lines(contents, sys.stdout.buffer)
        return 0
    dumps.write(contents, out)
    print(f"{out}: {dumps.told(contents.counts)} of {one_line(contents.product)} at {contents.place}")
    return 0


async def _restore(
    file: Path, place: Place, policy: Policy, through: Servers, progress: Progress, *, is_dry: bool
) -> int:
    contents = dumps.read(file)
    place = await identified(place, through)
    outcomes = await restoring.restore(contents, place, through, policy, is_dry=is_dry, progress=progress)
    for outcome in outcomes:
        if outcome.detail:
            print(one_line(f"{outcome.state}: {outcome.what}: {outcome.detail}"), file=sys.stderr)
    states = Counter(outcome.state for outcome in outcomes)
    told = ", ".join(
        f"{states[state]} {state}" for state in restoring.STATES if states[state] or state == restoring.ADDED
    )
    print(f"{place}: {told}{' (dry run: nothing was sent)' if is_dry else ''}")
    if states[restoring.ADDED] and not is_dry:
        print("What was added is listed for one lease, mostly 90 to 120 s, unless its owner renews it.")
    return 1 if states[restoring.REFUSED] else 0


def _tell_comparison(found: Comparison, a: Contents, b: Contents) -> None:
    for _, group in groupby(found.differences, key=lambda difference: difference[:2]):
        for line in _in_short(list(group)):
            print(one_line(line))
    kinds = Counter(difference.kind for difference in found.differences)
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    print(f"A = {a.place} ({one_line(a.product)}), B = {b.place} ({one_line(b.product)})")
    beyond = f"; {found.beyond_eureka} without an HTTP address left out" if found.beyond_eureka else ""
    print(f"{told or 'no difference'}; {found.same} the same{beyond}")


def _in_short(group: Sequence[Difference]) -> Iterator[str]:
    """What is told of one thing: metadata that did not fit into a registry comes by the dozen. --json tells all."""
    yield from map(str, group[:TOLD_OF_ONE])
    if len(group) > TOLD_OF_ONE:
        yield str(group[0]._replace(detail=f"{len(group) - TOLD_OF_ONE} more differences"))


def _tell_report(report: Report, places: int, *, is_json: bool) -> int:
    if is_json:
        print(msgspec.json.encode([finding._asdict() for finding in report.findings]).decode())
    else:
        for finding in report.findings:
            print(one_line(str(finding)))
    if places and not report.asked:
        raise StartRefused("none of these can be asked")
    return 1 if report.has_problem else 0


def _place_document(contents: Contents) -> dict[str, object]:
    return {"place": contents.place, "product": contents.product, "counts": contents.counts}


# Around every tool

_Work = Callable[[Servers, Progress], Awaitable[int]]


def run(
    work: _Work, trust: Trust | None = None, transport: httpx.AsyncBaseTransport | None = None, *, has_bars: bool = True
) -> int:
    """The exit code of some work; `has_bars` shows how far it is.

    Raises StartRefused for all that an operator can do something about.
    """
    for told_at_the_end in ("facade.outbound", "facade.servicecenter.client", "facade.stores.contact"):
        logging.getLogger(told_at_the_end).disabled = True
    try:
        return asyncio.run(_work_through(work, trust, transport, has_bars=has_bars))
    except FacadeError as error:
        raise StartRefused(one_line(str(error))) from None
    except asyncio.CancelledError:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has had enough
        sys.stderr.close()
        return 1


async def _work_through(
    work: _Work, trust: Trust | None, transport: httpx.AsyncBaseTransport | None, *, has_bars: bool
) -> int:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None, "asyncio.run makes one"
    when_told_to_stop(lambda: loop.is_closed() or loop.call_soon_threadsafe(task.cancel))
    async with servers(transport, trust) as through:
        with _shown_progress(has_bars=has_bars) as progress:
            return await work(through, progress)


@contextmanager
def _shown_progress(*, has_bars: bool) -> Iterator[Progress]:
    """A bar on a terminal, nothing for a script."""
    if not (has_bars and sys.stderr.isatty()):
        yield silent
        return
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    with Bars(console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show
