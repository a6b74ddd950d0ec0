"""Two listings -> what only one of them has, and what they tell differently. Pure functions.

Ids differ between protocols, so instances are paired by environment, name and id where both tell of the same id, else
by a shared address. What one side could not hold at all is no difference; it is counted apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from facade.inspection.contents import Contents
from facade.inspection.listing import ListedInstance, ListedService, Listing, comparable_metadata, told_service

ONLY_A = "only in A"
ONLY_B = "only in B"
DIFFERS = "differs"


class Difference(NamedTuple):
    """One line for people; its fields are the members of the JSON form."""

    kind: str
    what: str
    """Who it is about: `ORDERS orders-1`."""
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}{f': {self.detail}' if self.detail else ''}"


class Comparison(NamedTuple):
    differences: tuple[Difference, ...]
    same: int
    """Instances and services that both tell alike."""
    beyond_eureka: int
    """Instances without an HTTP address that only one side has, while the other is a Eureka, which cannot list them."""


class Side(NamedTuple):
    listing: Listing
    has_services: bool
    """Whether it can hold services without instances."""
    has_all_instances: bool
    """Whether it can list instances without an HTTP address; Eureka cannot."""

    @classmethod
    def of(cls, contents: Contents, listing: Listing) -> Side:
        return cls(listing, contents.speaks_servicecenter, contents.speaks_servicecenter)


def compared(a: Side, b: Side) -> Comparison:
    pairs, only_a, only_b = _paired(a.listing.instances, b.listing.instances)
    differences = [found for pair in pairs for found in _instance_differences(*pair)]
    differing = len({found.what for found in differences})
    lost_a = [one for one in only_a if b.has_all_instances or one.is_callable]
    lost_b = [one for one in only_b if a.has_all_instances or one.is_callable]
    differences += [Difference(ONLY_A, _told(one), _where(one)) for one in lost_a]
    differences += [Difference(ONLY_B, _told(one), _where(one)) for one in lost_b]
    same = len(pairs) - differing
    if a.has_services and b.has_services:
        of_services = list(_service_differences(a.listing.services, b.listing.services))
        named = {found.what for found in of_services}
        same += sum(told_service(one) not in named for one in a.listing.services)
        differences += of_services
    beyond = len(only_a) + len(only_b) - len(lost_a) - len(lost_b)
    return Comparison(tuple(sorted(differences)), same, beyond)


# Instances

_Pair = tuple[ListedInstance, ListedInstance]
_Key = Callable[[ListedInstance], Iterable[object]]


def _paired(
    a: Iterable[ListedInstance], b: Iterable[ListedInstance]
) -> tuple[list[_Pair], list[ListedInstance], list[ListedInstance]]:
    """Pairs, and what has no partner. Of an application that is registered in both protocols, one is enough."""
    pairs: list[_Pair] = []
    left_a, left_b = list(a), list(b)
    for key in (_by_id, _by_spot):
        left_a, left_b = _pair_off(left_a, left_b, key, pairs)
    seen_a = {spot: one.origin for one, _ in pairs for spot in _by_spot(one)}
    seen_b = {spot: one.origin for _, one in pairs for spot in _by_spot(one)}
    return (
        pairs,
        [one for one in left_a if not _is_twin(one, seen_b)],
        [one for one in left_b if not _is_twin(one, seen_a)],
    )


def _pair_off(
    a: list[ListedInstance], b: list[ListedInstance], key: _Key, pairs: list[_Pair]
) -> tuple[list[ListedInstance], list[ListedInstance]]:
    waiting: dict[object, list[ListedInstance]] = defaultdict(list)
    for one in b:
        for value in key(one):
            waiting[value].append(one)
    taken: set[int] = set()
    left = []
    for one in a:
        found = next((other for value in key(one) for other in waiting[value] if id(other) not in taken), None)
        if found is None:
            left.append(one)
        else:
            taken.add(id(found))
            pairs.append((one, found))
    return left, [one for one in b if id(one) not in taken]


def _by_id(one: ListedInstance) -> Iterable[object]:
    return [(one.environment, one.name, one.origin, one.instance_id)]


def _by_spot(one: ListedInstance) -> Iterable[object]:
    return [(one.environment, one.name, spot) for spot in sorted(one.spots)]


def _is_twin(one: ListedInstance, seen: Mapping[object, object]) -> bool:
    """Whether the other side has it as registered in the other protocol (N10): one thing, told once."""
    return any(seen.get(spot, one.origin) is not one.origin for spot in _by_spot(one))


def _instance_differences(a: ListedInstance, b: ListedInstance) -> Iterator[Difference]:
    who = _told(a)
    if a.status is not b.status:
        yield Difference(DIFFERS, who, f"status {a.status} in A, {b.status} in B")
    is_alike = a.addresses == b.addresses if a.told_by is b.told_by else bool(a.spots & b.spots)
    if not is_alike and (a.spots or b.spots):
        yield Difference(DIFFERS, who, f"address {_addresses(a)} in A, {_addresses(b)} in B")
    for detail in _map_differences("metadata", comparable_metadata(a, b), comparable_metadata(b, a)):
        yield Difference(DIFFERS, who, detail)


def _map_differences(what: str, a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(a.keys() | b.keys()):
        if a.get(name) != b.get(name):
            yield f"{what} {name} is {_value(a, name)} in A, {_value(b, name)} in B"


def _value(texts: Mapping[str, str], name: str) -> str:
    if name not in texts:
        return "missing"
    text = texts[name]
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _told(one: ListedInstance) -> str:
    within = f" (environment {one.environment})" if one.environment else ""
    return f"{one.name} {one.instance_id}{within}"


def _where(one: ListedInstance) -> str:
    return f"{one.status} at {_addresses(one)}"


def _addresses(one: ListedInstance) -> str:
    return ", ".join(sorted(one.addresses)) or "no HTTP address"


# Services


def _service_differences(a: Iterable[ListedService], b: Iterable[ListedService]) -> Iterator[Difference]:
    by_key_a, by_key_b = {one[:4]: one for one in a}, {one[:4]: one for one in b}
    for key in by_key_a.keys() | by_key_b.keys():
        one, other = by_key_a.get(key), by_key_b.get(key)
        if one is None or other is None:
            present = one or other
            assert present is not None
            yield Difference(ONLY_A if one else ONLY_B, told_service(present))
            continue
        for what in ("properties", "tags", "schemas"):
            for detail in _map_differences(what, getattr(one, what), getattr(other, what)):
                yield Difference(DIFFERS, told_service(one), detail)


def as_document(comparison: Comparison) -> dict[str, Any]:
    """For --json."""
    return {
        "equal": not comparison.differences,
        "differences": [found._asdict() for found in comparison.differences],
        "same": comparison.same,
        "beyondEureka": comparison.beyond_eureka,
    }
