"""`migrate` as an operator meets it: the plan, what was done, what was left out and why."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from facade.errors import StartRefused
from facade.escaping import one_line
from facade.inspection.commands import run
from facade.inspection.live import LiveSwitch
from facade.inspection.migration import OpenStore, Source, Target, source, surveyed_for, target
from facade.inspection.places import Kind, parse
from facade.inspection.restoring import ADDED, LEFT_OUT, REFUSED, STATES, Outcome
from facade.inspection.servers import Pace, Progress, Servers
from facade.registry.model import RecordKey
from facade.registry.rules import Policy
from facade.stores.survey import Misfits, Plan, Survey, named
from facade.stores.switch import Phase
from facade.stores.switchboard import SwitchState
from facade.tls import Trust


def migrate(
    from_: str,
    to: str,
    open_store: OpenStore,
    policy: Policy,
    trust: Trust | None = None,
    *,
    titles: tuple[str, str],
    apply: bool,
    rate: float,
    is_json: bool,
) -> int:
    """Print what would be written from one place into another, and with `apply` write it. `titles` show no password."""

    if titles[0] == titles[1]:
        raise StartRefused(f"migrate: FROM and TO are the same place, {titles[0]}")

    async def work(through: Servers, progress: Progress) -> int:
        found = await source(from_, open_store, through, policy, progress)
        async with target(to, open_store, through, policy, progress, is_dry=not apply) as there:
            survey = await surveyed_for(found.records, there)
            if not is_json:
                _tell_plan(survey.told(), titles, len(found.records), "kept as they are there")
            outcomes = await _written(found, there, survey, Pace(rate), progress) if apply else []
        return _tell_end(survey, outcomes, titles, apply=apply, is_json=is_json)

    return run(work, trust)


async def _written(found: Source, there: Target, survey: Survey, pace: Pace, progress: Progress) -> list[Outcome]:
    missing = set(survey.missing)
    return await there.write([record for record in found.records if record.key in missing], pace, progress)


def _tell_end(
    survey: Survey, outcomes: Sequence[Outcome], titles: tuple[str, str], *, apply: bool, is_json: bool
) -> int:
    left_out = [*_left_out(survey.refused), *(one for one in outcomes if one.state in (LEFT_OUT, REFUSED))]
    states = Counter(outcome.state for outcome in outcomes)
    if is_json:
        plan = msgspec.to_builtins(survey.told())
        told = {"from": titles[0], "to": titles[1], "plan": plan, "applied": apply, "states": dict(states)}
        print(msgspec.json.encode(told | {"leftOut": [(one.what, one.detail) for one in left_out]}).decode())
    elif apply:
        for outcome in left_out:
            print(one_line(f"left out: {outcome.what}: {outcome.detail}"), file=sys.stderr)
        states[LEFT_OUT] = len(left_out)
        states.pop(REFUSED, None)
        print(", ".join(f"{states[state]} {state}" for state in STATES if states[state] or state == ADDED))
        if states[ADDED] and titles[1].partition("://")[0] != "sqlite":
            print("Instances are listed there for one lease, mostly 90 to 120 s, unless their owners renew them there.")
    else:
        print("Nothing was written. --apply writes it.")
    return 1 if left_out or survey.differing else 0


def _left_out(refused: dict[RecordKey, str]) -> Iterator[Outcome]:
    for key, why in refused.items():
        yield Outcome(named(key), LEFT_OUT, why)


def migrate_live(
    to: str,
    server: str,
    trust: Trust | None = None,
    *,
    title: str,
    apply: bool,
    rate: float,
    only_there: str,
    is_json: bool,
) -> int:
    """Let a running server change its store, and watch it."""

    async def work(through: Servers, progress: Progress) -> int:
        live = _live(server, through)

        def looked(switch: SwitchState) -> None:
            if switch.plan is not None and not is_json:
                _tell_live_plan(switch, switch.plan)

        state = await live.begin(to, title, apply=apply, rate=rate, only_there=only_there)
        end = await live.watched(state, progress, looked)
        if is_json:
            print(msgspec.json.encode(end.switch).decode())
        assert end.switch is not None, "it has been watched"
        return _tell_live_end(end.switch, end.stated, is_json=is_json)

    return run(work, trust)


def call_off(server: str, trust: Trust | None = None) -> int:
    async def work(through: Servers, _progress: Progress) -> int:
        state = await _live(server, through).call_off()
        print(f"Called off. The records stay in {one_line(state.store)}.")
        return 0

    return run(work, trust)


def _live(server: str, through: Servers) -> LiveSwitch:
    place = parse(server)
    if place.kind is not Kind.TO_BE_ASKED:
        raise StartRefused(f"server: {place} is no address of a running server; name http://HOST:PORT")
    return LiveSwitch(place, through)


def _tell_live_plan(switch: SwitchState, plan: Plan) -> None:
    _tell_plan(
        plan, ("the running server", switch.to), switch.total + plan.same + plan.theirs.count, "replaced by ours"
    )
    if plan.only_there:
        print("What is only there and belongs to no other server needs --only-there keep or remove.")
    if switch.unrenewed:
        print(
            f"{switch.unrenewed} instances were not renewed through this server: who renews them elsewhere has to come "
            "here first, for after the switch they are listed for one more term."
        )


def _tell_live_end(switch: SwitchState, stated: str, *, is_json: bool) -> int:
    match switch.phase:
        case Phase.SWITCHED:
            if not is_json:
                print(f"Switched: the records are in {switch.to} now.")
                if switch.to != stated:
                    print(
                        one_line(f"The settings name {stated} yet: put this one there (--store) before the next start.")
                    )
            return 0
        case Phase.LOOKED:
            if not is_json:
                print("Nothing was written. --apply begins the switch.")
            return 1 if switch.plan is not None and switch.plan.refused.count else 0
    told = "Called off" if switch.phase is Phase.CALLED_OFF else f"Not switched: {switch.trouble.removesuffix('.')}"
    print(one_line(f"{told}. The records are where they were."), file=sys.stderr)
    return 1


def _tell_plan(plan: Plan, titles: tuple[str, str], looked_at: int, of_differing: str) -> None:
    print(one_line(f"from {titles[0]}: {looked_at} records"))
    there = plan.same + plan.differing.count + plan.theirs.count + plan.only_there
    print(one_line(f"to {titles[1]}: {there} records"))
    missing = ", ".join(f"{count} {kind}" for kind, count in plan.missing.items())
    print(f"to be written: {missing or 'nothing'}; there already: {plan.same}; only there: {plan.only_there}")
    for what, misfits in (
        (f"there, but otherwise; {of_differing}", plan.differing),
        ("there, but otherwise; theirs stays, for other servers let clients in by it", plan.theirs),
        ("kept there only in part", plan.in_part),
        ("kept by us alone, beside it", plan.here_alone),
        ("left out", plan.refused),
    ):
        _tell_misfits(what, misfits)


def _tell_misfits(what: str, misfits: Misfits) -> None:
    for reason, names in _by_reason(misfits):
        some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        print(one_line(f"{what}: {len(names)} ({some}){': ' if reason else ''}{reason}"))
    if misfits.count > len(misfits.some):
        print(f"{what}: {misfits.count - len(misfits.some)} more")


def _by_reason(misfits: Misfits) -> Iterator[tuple[str, list[str]]]:
    names: dict[str, list[str]] = {}
    for name, why in misfits.some:
        names.setdefault(why, []).append(name)
    yield from names.items()
