"""What carrying records from one store into another means, before it is done. No I/O."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from facade.registry.model import (
    AccountName,
    ConsumerId,
    FaceId,
    InstanceKey,
    PolicyId,
    Record,
    RecordKey,
    RoleName,
    SchemaId,
    ServiceId,
    SigningKeyName,
)
from facade.registry.store import Store
from facade.stores.fit import WHOLE, Fit, Kept
from facade.stores.mirror import is_same
from facade.stores.upstream import UpstreamStore

RECORDS_A_TURN = 200
LONGEST_NAME = 120
TOLD_AT_MOST = 100
"""Records of one kind of trouble that are told by name; the others are counted."""


class Misfits(msgspec.Struct, frozen=True):
    """Records of which there is something to tell: how many, and some of them by name, with the reason."""

    count: int
    some: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, reasons: Mapping[RecordKey, str]) -> Misfits:
        return cls(len(reasons), tuple((named(key), why) for key, why in islice(reasons.items(), TOLD_AT_MOST)))


class Plan(msgspec.Struct, frozen=True, rename="camel"):
    """A survey as it is told to people, also from one process to another."""

    missing: dict[str, int]
    """What would be written, by kind."""
    same: int
    differing: Misfits
    only_there: int
    in_part: Misfits
    here_alone: Misfits
    refused: Misfits
    theirs: Misfits


@dataclass
class Survey:
    missing: list[RecordKey] = field(default_factory=list)
    """What would be written, in an order in which it can be."""
    same: int = 0
    """There already."""
    differing: list[RecordKey] = field(default_factory=list)
    """There already, and otherwise."""
    theirs: list[RecordKey] = field(default_factory=list)
    """Likewise, and to stay as they are there."""
    only_there: int = 0
    in_part: dict[RecordKey, str] = field(default_factory=dict)
    here_alone: dict[RecordKey, str] = field(default_factory=dict)
    refused: dict[RecordKey, str] = field(default_factory=dict)
    """What does not fit there, and why."""

    def told(self) -> Plan:
        return Plan(
            missing=dict(Counter(map(kind_of, self.missing))),
            same=self.same,
            differing=Misfits.of(dict.fromkeys(self.differing, "")),
            only_there=self.only_there,
            in_part=Misfits.of(self.in_part),
            here_alone=Misfits.of(self.here_alone),
            refused=Misfits.of(self.refused),
            theirs=Misfits.of(dict.fromkeys(self.theirs, "")),
        )

    def leave(self, keys: Collection[RecordKey]) -> None:
        """These stay as they are there."""
        self.theirs += [key for key in self.differing if key in keys]
        self.differing = [key for key in self.differing if key not in keys]

    def note(self, key: RecordKey, fit: Fit) -> None:
        if fit.kept is not Kept.WHOLE:
            of_kind = {Kept.IN_PART: self.in_part, Kept.HERE_ALONE: self.here_alone, Kept.REFUSED: self.refused}
            of_kind[fit.kept][key] = fit.why


FitOf = Callable[[Record], Fit]


async def surveyed(
    records: Iterable[Record], there: Mapping[RecordKey, Record], fit_there: FitOf, *, is_comparable: bool = True
) -> Survey:
    """With room for others. `there` is what the new place holds; where it cannot be compared, what is is the same."""
    survey = Survey()
    shared = 0
    for number, record in enumerate(records, 1):
        if number % RECORDS_A_TURN == 0:
            await asyncio.sleep(0)
        held = there.get(record.key)
        shared += held is not None
        fit = fit_there(record)
        survey.note(record.key, fit)
        if held is None:
            if fit.kept is not Kept.REFUSED:
                survey.missing.append(record.key)
        elif not is_comparable or is_same(held, record):
            survey.same += 1
        else:
            survey.differing.append(record.key)
    survey.only_there = len(there) - shared
    return survey


def fit_of(record: Record, to: Store) -> Fit:
    return to.fit(record) if isinstance(to, UpstreamStore) else WHOLE


def named(key: RecordKey) -> str:
    """A record for people. Names come from clients, so they are cut."""
    match key:
        case InstanceKey():
            text = f"instance {key.group}/{key.instance_id}"
        case ServiceId():
            text = f"service {key.service_id}"
        case SchemaId():
            text = f"schema {key.schema_id} of service {key.service.service_id}"
        case ConsumerId():
            text = f"dependencies of service {key.consumer.service_id}"
        case FaceId():
            text = f"face {key.name.app}/{key.name.name}"
        case PolicyId():
            text = f"policy {key.kind}/{key.policy_id}"
        case AccountName():
            text = f"account {key.account}"
        case RoleName():
            text = f"role {key.role}"
        case SigningKeyName():
            text = "the key that signs tokens"
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}…"


def kind_of(key: RecordKey) -> str:
    return _KINDS[type(key)]


_KINDS: Mapping[type, str] = {
    InstanceKey: "instances",
    ServiceId: "services",
    SchemaId: "schemas",
    ConsumerId: "dependencies",
    FaceId: "faces in use",
    PolicyId: "policies",
    AccountName: "accounts",
    RoleName: "roles",
    SigningKeyName: "signing keys",
}


RANKS = range(3)


def rank_of(key: RecordKey) -> int:
    """Records of a lower one are written first, and removed last: an instance needs its service."""
    return 0 if isinstance(key, ServiceId) else 1 if isinstance(key, SchemaId) else 2
