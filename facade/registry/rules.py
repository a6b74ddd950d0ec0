"""Decisions: which registration wins, which status shows, may we evict now. Pure functions; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from msgspec.structs import replace

from facade.registry.model import Instance, Origin, Status

FEW = 5
"""Self-preservation needs more leases than this: the loss of one among a handful is no sign of a broken network.
Source: ServiceCenter's own limit, servicecomb-service-center datasource/etcd/sd/types.go."""

CAP_FACTOR = 0.85
"""One sweep ends at most this fraction's complement of a protocol's leases: Netflix's mass-eviction brake.
Source: Netflix/eureka, AbstractInstanceRegistry.evict."""


MARKS = ("_eureka.", "_sc.", "_bridge.")
"""How the keys begin by which registries tell each other of origins."""


@dataclass(frozen=True)
class Policy:
    """What an operator may decide about the registry. Seconds unless the name says otherwise."""

    self_preservation: bool = True
    renewal_threshold: float = 0.85
    """Below this share of the expected renewals a minute, lapsed leases are kept."""
    protection_limit_s: float = 600.0
    """After this long the survivors are the new normal and protection ends by itself."""
    eviction_interval_s: float = 1.0
    exact_leases: bool = False
    """End a Eureka lease after its stated duration also when it was renewed, not after twice that."""
    eureka_app: str = "eureka"
    """The app under which applications without one are found."""
    eureka_version: str = "0.0.1"
    plain_apps: frozenset[str] = frozenset({"default", "eureka"})
    """Services of these apps are listed by their bare name in a flat name space, others as APP.NAME."""
    merge: frozenset[str] = frozenset()
    """Service names whose flat-named instances always join a service of the same qualified name."""
    share: frozenset[str] = frozenset({"*"})
    """Patterns of flat names that readers of the other protocol may see."""
    hide: frozenset[str] = frozenset()
    """Patterns of those among them that they may not."""
    keep_marks: bool = False
    """Take marked metadata as it comes: for a registry that stands behind another of ours."""


def is_shared(application: str, policy: Policy) -> bool:
    """Whether readers of the other protocol may see what is listed under a flat name, in any case of letters."""
    name = application.upper()
    return any(fnmatchcase(name, pattern.upper()) for pattern in policy.share) and not any(
        fnmatchcase(name, pattern.upper()) for pattern in policy.hide
    )


def ordinary(metadata: dict[str, str], policy: Policy) -> dict[str, str]:
    """Metadata of a client, less the marks: nobody outside may forge an origin."""
    if policy.keep_marks or not any(key.startswith(MARKS) for key in metadata):
        return metadata
    return {key: value for key, value in metadata.items() if not key.startswith(MARKS)}


def keeps_held(held: Instance, candidate: Instance) -> bool:
    """Whether a registration is older than what is held, by its owner's own clock. Equal means newer data.

    Source: Netflix/eureka, AbstractInstanceRegistry.register.
    """
    return held.dirty_ms > candidate.dirty_ms


def shown_status(
    origin: Origin, reported: Status, override: Status | None, held: Status | None, *, is_replicated: bool = False
) -> Status:
    """The status that readers see. The first rule that matches decides.

    `held` is what the lease showed until now, None without one. Only Eureka lets it decide: an instance that comes back
    UP stays OUT_OF_SERVICE when that is what its lease said.
    Source: Netflix/eureka, registry/rule/*.
    """
    if reported not in (Status.UP, Status.OUT_OF_SERVICE, Status.TESTING):
        return reported
    if override is not None:
        return override
    if origin is Origin.EUREKA and not is_replicated and held in (Status.UP, Status.OUT_OF_SERVICE):
        return held
    return reported


def registered(held: Instance | None, candidate: Instance, *, is_replicated: bool = False) -> Instance:
    """The record that a registration leaves, but for its timestamps."""
    reported = candidate.reported
    if held is None:
        override, held_status = candidate.override, None
    else:
        if keeps_held(held, candidate):
            # What shows stands for what its owner reports, also where an operator has said so.
            candidate, reported = held, held.status
        override, held_status = held.override or candidate.override, held.status
    status = shown_status(candidate.key.origin, reported, override, held_status, is_replicated=is_replicated)
    return replace(candidate, override=override, status=status)


def is_same_but_for_time(one: Instance, other: Instance) -> bool:
    """Whether no reader could tell the two apart, timestamps of the server aside."""
    return one == replace(
        other, registered_ms=one.registered_ms, updated_ms=one.updated_ms, source_address=one.source_address
    )


def overridden(instance: Instance, status: Status, dirty_ms: int = 0) -> Instance:
    """An operator's word on an instance. Naming the status it already shows records nothing.

    Source: Netflix/eureka, AbstractInstanceRegistry.statusUpdate.
    """
    if status is instance.status:
        return instance
    return replace(instance, override=status, status=status, dirty_ms=max(dirty_ms, instance.dirty_ms))


def overridden_elsewhere(instance: Instance, status: Status) -> Instance:
    """An operator's word that a peer tells of: unlike one said here it changes nothing for an owner that is not up."""
    shown = shown_status(instance.key.origin, instance.reported, status, instance.status)
    return replace(instance, override=status, status=shown)


def restored(instance: Instance, then: Status, dirty_ms: int = 0) -> Instance:
    """The operator's word taken back; without one nothing changes.

    A Eureka instance shows `then` until its owner speaks again (Netflix/eureka, deleteStatusOverride); elsewhere the
    owner's last word holds at once.
    """
    if instance.override is None:
        return instance
    status = then if instance.key.origin is Origin.EUREKA else instance.reported
    return replace(instance, override=None, status=status, dirty_ms=max(dirty_ms, instance.dirty_ms))


def reporting(instance: Instance, status: Status) -> Instance:
    """The owner's own word on its status, outside of a registration: it ends an operator's."""
    if instance.reported is status and instance.override is None:
        return instance
    return replace(instance, reported=status, override=None, status=status)


class Renewals(NamedTuple):
    """What self-preservation is judged by, for one protocol."""

    leases: int
    expected_a_minute: float
    """The sum of 60 s / interval over all leases."""
    last_minute: int


def renewal_threshold(renewals: Renewals, policy: Policy) -> int:
    """Renewals a minute that must be exceeded for lapsed leases to end: 1, 3, 17, 170 for 1, 2, 10, 100 at 30 s."""
    return int(renewals.expected_a_minute * policy.renewal_threshold)


def is_endangered(renewals: Renewals, policy: Policy) -> bool:
    """Whether so few renew that the network, not the instances, is to be doubted."""
    return (
        policy.self_preservation
        and renewals.leases > FEW
        and renewals.last_minute <= renewal_threshold(renewals, policy)
    )


def eviction_cap(leases: int) -> int:
    """How many of so many leases one sweep may end: 3 of 20, 1 of anything below 7."""
    return leases - int(leases * CAP_FACTOR)
