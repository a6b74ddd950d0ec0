"""Looks at each registry and says what stands in the way of living with it: findings in plain words, with what to do.

Nothing is written anywhere. What cannot be found out because a server does not answer is a finding, never an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from email.utils import parsedate_to_datetime

from facade.errors import FacadeError, StartRefused, StoreUnavailable
from facade.inspection import fitting
from facade.inspection.contents import Contents, is_eureka_born, is_servicecenter_born
from facade.inspection.findings import Level, Report
from facade.inspection.listing import is_own_service
from facade.inspection.places import Kind, Place, without_credentials
from facade.inspection.servers import Progress, Servers, Version, identified, read, read_version, silent, version_of
from facade.outbound import Reply
from facade.registry.rules import Policy
from facade.stores.marks import CLUSTER
from facade.stores.packed_in_servicecenter import is_truncated

TOLD_AT_MOST = 10
"""Records of one kind that are named; the others are counted."""


async def examine(
    places: Sequence[Place],
    through: Servers,
    policy: Policy,
    *,
    cluster: str,
    own_urls: Sequence[str] = (),
    progress: Progress = silent,
) -> Report:
    """`own_urls` are where the server with these settings can be asked, if it runs."""
    report = Report()
    held: dict[Place, Contents] = {}
    for place in await _all(places, through, report):
        if await _is_reached(place, through, report):
            contents = await _contents(place, through, report, progress)
            if contents is not None:
                held[place] = contents
                report.asked += 1
                _look_at_marks(place, contents, cluster, report)
        if place.kind is Kind.EUREKA:
            await _look_at_peers(place, through, report)
        if place.kind is Kind.OURS:
            await _look_at_readiness(place, through, report)
    told = {base for place in held for base in place.bases}
    ours = await _own(own_urls, through, report) if own_urls and told.isdisjoint(own_urls) else None
    if ours is not None and (contents := await _own_contents(ours, through, report, progress)) is not None:
        held[ours] = contents
    _look_at_limits(held, policy, report)
    return report


async def _all(places: Iterable[Place], through: Servers, report: Report) -> list[Place]:
    found = []
    for place in places:
        try:
            found.append(await identified(place, through))
        except FacadeError as error:
            report.add(Level.PROBLEM, place, _advice(place, str(error).removeprefix(f"{place}: ")))
    return list({place.bases: place for place in found}.values())


# Each address: does it answer, as what, by which clock


async def _is_reached(place: Place, through: Servers, report: Report) -> bool:
    reached = [await _reach(place, base, through, report) for base in place.bases]
    return any(reached)


async def _reach(place: Place, base: str, through: Servers, report: Report) -> bool:
    path = "/status" if place.kind is Kind.EUREKA else "/version"
    outbound = through.plain([base], place.credentials if place.kind is Kind.EUREKA else None)
    # A Eureka server cannot write this document as JSON.
    accepted = {"Accept": "application/xml"} if place.kind is Kind.EUREKA else None
    before_ms = through.clock.now_ms()
    try:
        reply = await outbound.ask("GET", path, lambda reply: reply, headers=accepted)
    except StoreUnavailable as error:
        report.add(Level.PROBLEM, base, _advice(place, str(error).removeprefix(f"{base}: ")))
        return False
    after_ms = through.clock.now_ms()
    product = _product(place, reply)
    if not product:
        report.add(Level.PROBLEM, base, _advice(place, f"answered {reply.status}, not as a {place.kind} does"))
        return False
    report.add(Level.OK, base, f"answers within {after_ms - before_ms} ms: {product}")
    _compare_clocks(base, reply, (before_ms + after_ms) / 2, report)
    return True


def _product(place: Place, reply: Reply) -> str:
    """Empty for an answer that no such server gives."""
    if place.kind is Kind.EUREKA:
        if reply.status != 200 or b"applicationStats" not in reply.body:
            return ""
        if b"<instanceId>registry-facade</instanceId>" in reply.body:
            return "a registry-facade as a Eureka server"
        return "a Eureka server (it does not tell its version)"
    told: Version | None = read_version(reply)
    return "" if told is None else told.product


def _compare_clocks(base: str, reply: Reply, now_ms: float, report: Report) -> None:
    try:
        theirs_s = parsedate_to_datetime(reply.headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        report.add(Level.WARNING, base, "tells no time (no Date header): its clock cannot be compared with ours")
        return
    report.compare_clocks(base, theirs_s + 0.5 - now_ms / 1000)


def _advice(place: Place, reason: str) -> str:
    """A reason, and what to do about it."""
    example = {
        Kind.EUREKA: "eureka+http://USER:PASSWORD@HOST:8761/eureka",
        Kind.SERVICECENTER: "servicecenter+http://ACCOUNT:PASSWORD@HOST:30100",
    }.get(place.kind, "http://USER:PASSWORD@HOST")
    if "401" in reason or "403" in reason or "account is refused" in reason:
        if place.credentials is not None:
            return f"{reason}: it does not take these credentials; characters such as @ are written as %40"
        return f"{reason}: it asks for credentials; give them in the URL, as in {example}"
    if "answered" in reason:
        return f"{reason}: is the address right, and is nothing else listening there?"
    return f"cannot be reached ({reason}): is it running, is the address right, does a firewall stand between?"


# What it holds


async def _contents(place: Place, through: Servers, report: Report, progress: Progress) -> Contents | None:
    try:
        contents = await read(place, through, progress)
    except FacadeError as error:
        report.add(Level.PROBLEM, place, _advice(place, str(error).removeprefix(f"{place}: ")))
        return None
    if place.credentials is not None:
        report.add(Level.OK, place, "takes our credentials")
    told = ", ".join(f"{count} {_WORDS[name]}" for name, count in contents.counts.items() if count)
    report.add(Level.OK, place, f"holds {told or 'nothing'}")
    return contents


_WORDS = {
    "services": "services",
    "schemas": "schemas",
    "serviceCenterInstances": "instances in ServiceCenter's form",
    "eurekaInstances": "instances in Eureka's form",
}


def _look_at_marks(place: Place, contents: Contents, cluster: str, report: Report) -> None:
    """Who of ours has been here, and whether that is one bridge."""
    told = [one.properties for held in contents.services for one in held.instances]
    told += [held.document.metadata for held in contents.applications]
    others = sorted({name for one in told if (name := one.get(CLUSTER, cluster)) != cluster})
    foreign = _foreign(contents) if place.kind is not Kind.OURS else 0
    helpers = {held.document.service_name for held in contents.services if is_own_service(held.document)}
    cut = sum(is_truncated(one) for held in contents.services for one in held.instances)
    if cut:
        report.add(Level.WARNING, place, f"{cut} of its instances did not fit whole; we keep the rest of them")
    if foreign:
        report.add(Level.OK, place, f"{foreign} of its instances were born in the other protocol and are kept by us")
    if any(name.upper() != "SERVICECENTER" for name in helpers):
        report.add(Level.OK, place, f"our own service is registered there: {', '.join(sorted(helpers))}")
    for name in others:
        text = f"another bridge, with the cluster name {name!r}, works here; ours is {cluster!r}"
        report.add(
            Level.PROBLEM, place, f"{text}: give all nodes of one bridge the same --cluster, or stop one of them"
        )


def _foreign(contents: Contents) -> int:
    of_eureka = sum(is_eureka_born(one) for held in contents.services for one in held.instances)
    return of_eureka + sum(is_servicecenter_born(held.document) for held in contents.applications)


# A Eureka's peers


_NOT_LISTED = (
    "does not list us as its peer, so what is registered straight there is seen only when its cache lets go, within "
    "30 s by default: for news within a second add http://THIS-HOST:8761/eureka to its "
    "eureka.client.service-url.defaultZone"
)


async def _look_at_peers(place: Place, through: Servers, report: Report) -> None:
    client = through.eureka(place)
    for base in place.bases:
        try:
            replicas = map(without_credentials, await client.replicas(base))
        except StoreUnavailable:  # told before, when it was reached for
            continue
        strangers = [replica for replica in replicas if replica not in place.bases]
        are_ours = [await _look_at_replica(base, replica, through, report) for replica in strangers]
        if not any(are_ours):
            report.add(Level.WARNING, base, _NOT_LISTED)


async def _look_at_replica(base: str, replica: str, through: Servers, report: Report) -> bool:
    """Whether it is one of ours."""
    root = replica.rpartition("/")[0]
    try:
        told = await version_of([root], through)
    except StoreUnavailable:
        report.add(Level.WARNING, base, f"tells {replica} of its changes, where nobody answers us")
        return False
    if told is not None and told.is_ours:
        report.add(Level.OK, base, f"lists a registry-facade as its peer: {replica}")
        return True
    text = f"tells {replica} of its changes, which is not in our list"
    report.add(Level.WARNING, base, f"{text}: add it, so that we can ask it when this one is away")
    return False


# Ourselves


async def _look_at_readiness(place: Place, through: Servers, report: Report) -> None:
    ready = await through.readiness(place)
    if ready is not None:
        is_well = ready.status == "ok"
        report.add(Level.OK if is_well else Level.WARNING, place, f"says of itself: {ready.status}, {ready.store.text}")


async def _own(urls: Sequence[str], through: Servers, report: Report) -> Place | None:
    """The server with these settings, where it runs."""
    reasons = []
    for url in urls:
        try:
            told = await version_of([url], through)
        except StoreUnavailable as error:
            reasons.append(str(error))
            continue
        if told is not None and told.is_ours:
            report.add(Level.OK, url, "a registry-facade with these addresses is running")
            place = Place(Kind.OURS, (url,))
            await _look_at_readiness(place, through, report)
            return place
    # It may be running all the same, with a certificate that names other hosts.
    why = f" ({reasons[0]})" if reasons else ""
    report.add(Level.OK, "here", f"no registry-facade with these settings answers us{why}")
    return None


async def _own_contents(place: Place, through: Servers, report: Report, progress: Progress) -> Contents | None:
    """None where nobody may look without an account: the settings name none."""
    try:
        contents = await read(place, through, progress)
    except FacadeError as error:
        reason = _advice(place, str(error).removeprefix(f"{place}: "))
        report.add(Level.WARNING, place, f"what it holds is not looked at: {reason}")
        return None
    report.add(Level.OK, place, "what it holds is looked at, too")
    return contents


# What would not fit


def _look_at_limits(held: dict[Place, Contents], policy: Policy, report: Report) -> None:
    for place in held:
        others = [contents for other, contents in held.items() if other != place]
        if place.kind is Kind.SERVICECENTER:
            _tell_misfits(place, fitting.in_servicecenter(others, policy), report)
        if place.kind is Kind.EUREKA:
            _tell_misfits(place, fitting.in_eureka(others, policy), report)


def _tell_misfits(place: Place, found: fitting.Fit, report: Report) -> None:
    if found.total:
        fits = found.total - len(found.refused) - len(found.in_part)
        report.add(
            Level.OK, place, f"{fits} of {found.total} instances of the other protocol fit whole; {found.limits}"
        )
    for level, misfits, what in (
        (Level.PROBLEM, found.refused, "cannot be kept there, only by us"),
        (Level.WARNING, found.in_part, found.in_part_means),
    ):
        for name, reason in misfits[:TOLD_AT_MOST]:
            report.add(level, place, f"{name} {what}: {reason}")
        if len(misfits) > TOLD_AT_MOST:
            report.add(level, place, f"{len(misfits) - TOLD_AT_MOST} more {what}")


def refuse_files(places: Iterable[Place]) -> None:
    """Raises StartRefused."""
    for place in places:
        if place.kind is Kind.FILE:
            raise StartRefused(f"{place} is a file; a doctor looks at servers")
