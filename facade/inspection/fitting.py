"""What of the one protocol's instances a registry of the other can keep. Pure functions: they ask the packing rooms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from facade.errors import FacadeError
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
    sizes = f"a registration may have {REGISTER_BYTES} bytes, properties {PROPERTIES_BYTES}"
    limits = f"{sizes}, a host name {HOST_NAME_LENGTH} characters"
    means = "fits there only in part; we keep the rest"
    return _fit(_eureka_born(others, policy), packed_in_servicecenter.lost, means, limits)


def in_eureka(others: Iterable[Contents], policy: Policy) -> Fit:
    """Eureka has no limits of size; it has no place for what HTTP cannot call."""
    limits = "names and addresses must do for a URL"
    return _fit(
        _servicecenter_born(others, policy), packed_in_eureka.lost, "can be kept there, but not be called", limits
    )


def _fit(instances: Iterable[Instance], lost: Callable[[Instance], str], means: str, limits: str) -> Fit:
    """`lost` says what of an instance is lost there; it raises FacadeError for one that is refused."""
    looked_at = {instance.key: instance for instance in instances}.values()
    refused: list[Misfit] = []
    in_part: list[Misfit] = []
    for instance in looked_at:
        who = f"{instance.application} {instance.key.instance_id}"
        try:
            if what := lost(instance):
                in_part.append((who, what))
        except FacadeError as refusal:
            refused.append((who, str(refusal)))
    return Fit(len(looked_at), refused, in_part, means, limits)


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
