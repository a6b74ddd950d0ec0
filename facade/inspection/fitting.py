"""What of the one protocol's instances a registry of the other can keep. Pure functions: they ask the packing rooms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from facade.errors import FacadeError, UpstreamRefused
from facade.eureka import mapping as eureka
from facade.inspection.contents import Contents
from facade.inspection.listing import is_own, is_own_service
from facade.inspection.unpacking import key_of, unpacked
from facade.registry.model import Instance, Microservice, ServiceId, Space, Tenant
from facade.registry.rules import Policy
from facade.servicecenter import mapping as servicecenter
from facade.servicecenter.client import PROPERTIES_BYTES, REGISTER_BYTES
from facade.stores import packed_in_eureka, packed_in_servicecenter
from facade.stores.packed_in_servicecenter import HOST_NAME_LENGTH

Misfit = tuple[str, str]
"""Which instance, and why."""


class Fit(NamedTuple):
    total: int
    """Instances looked at."""
    refused: list[Misfit]
    in_part: list[Misfit]
    in_part_means: str
    """What becomes of those, for people."""
    limits: str
    """What was looked at, for people."""


def in_servicecenter(others: Iterable[Contents], policy: Policy) -> Fit:
    refused: list[Misfit] = []
    in_part: list[Misfit] = []
    instances = {instance.key: instance for instance in _eureka_born(others, policy)}
    for instance in instances.values():
        who = f"{instance.application} {instance.key.instance_id}"
        try:
            packed = packed_in_servicecenter.pack(instance)
        except UpstreamRefused as refusal:
            refused.append((who, str(refusal)))
            continue
        if packed_in_servicecenter.is_truncated(packed):
            in_part.append((who, f"its document is larger than the {REGISTER_BYTES} bytes that ServiceCenter reads"))
    sizes = f"a registration may have {REGISTER_BYTES} bytes, properties {PROPERTIES_BYTES}"
    means = "fits there only in part; we keep the rest"
    return Fit(len(instances), refused, in_part, means, f"{sizes}, a host name {HOST_NAME_LENGTH} characters")


def in_eureka(others: Iterable[Contents], policy: Policy) -> Fit:
    """Eureka has no limits of size; it has no place for what HTTP cannot call."""
    refused: list[Misfit] = []
    in_part: list[Misfit] = []
    instances = {instance.key: instance for instance in _servicecenter_born(others, policy)}
    for instance in instances.values():
        who = f"{instance.application} {instance.key.instance_id}"
        try:
            packed_in_eureka.pack(instance, None)
        except FacadeError as refusal:
            refused.append((who, str(refusal)))
            continue
        if eureka.from_instance(instance) is None:
            in_part.append((who, "it has no address that speaks HTTP, so Eureka's clients do not see it"))
    means = "can be kept there, but not be called"
    return Fit(len(instances), refused, in_part, means, "names and addresses must do for a URL")


def _eureka_born(others: Iterable[Contents], policy: Policy) -> Iterator[Instance]:
    for contents in others:
        for held in unpacked(contents, policy).applications:
            space = Space(environment=held.environment)
            if not is_own(held.document):
                yield eureka.to_instance(held.document, space, policy, 0)


def _servicecenter_born(others: Iterable[Contents], policy: Policy) -> Iterator[Instance]:
    for contents in others:
        for held in unpacked(contents, policy).services:
            if is_own_service(held.document):
                continue
            name = key_of(held.document)
            service = Microservice(key=ServiceId(Tenant(), held.document.service_id), name=name)
            for instance in held.instances:
                yield servicecenter.to_instance(instance, service, instance.instance_id, policy)
