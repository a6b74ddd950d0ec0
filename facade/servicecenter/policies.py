"""Governance configuration: which requests belong together, and how clients are to treat them (retries, limits …).

The original keeps none of it: it passes each call on to a second server, servicecomb-kie; without one it stores nothing
and says nothing. Here they are records like all others, and the answers are those of the two together.
Source: servicecomb-service-center, server/resource/gov, server/service/grc/kie; servicecomb-kie, server/service/kv.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import string
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from facade.errors import MalformedDocument
from facade.registry.model import GovernancePolicy, PolicyId, Tenant
from facade.registry.registry import Registry
from facade.registry.store import Put, Remove, Write
from facade.servicecenter import wire
from facade.servicecenter.exchange import JSON_TYPE, OK, Answer, Ask
from facade.servicecenter.pace import Pace, large
from facade.servicecenter.policy_specs import MATCH_GROUP, POLICIES, check_spec
from facade.servicecenter.records import Policy
from facade.servicecenter.wire import Code, Refused

DISPLAY = "display"
"""No kind: every group of requests, and with each what is laid down for it."""
ANY_ENVIRONMENT = "all"
ENABLED = "enabled"

MOST_POLICIES = 10_000
"""Of a tenant. The original's second server has such a limit, too."""
MOST_SPEC_BYTES = 131_072
MOST_BODY_BYTES = 2 * MOST_SPEC_BYTES
MOST_SPEC_LEVELS = 32
"""Answers are indented: far within a thousand brackets each byte of a spec would be a line of two thousand."""
MOST_LABELS = 6
_NAME = re.compile(r"[a-zA-Z0-9._:-]{0,2000}", re.ASCII)
_LABEL_NAME = re.compile(r"[a-zA-Z0-9]{1,32}|[a-zA-Z0-9][a-zA-Z0-9_\-.]{1,30}[a-zA-Z0-9]", re.ASCII)
_LABEL_VALUE = re.compile(r"[a-zA-Z0-9]{0,160}|[a-zA-Z0-9][a-zA-Z0-9_\-.]{0,158}[a-zA-Z0-9]", re.ASCII)
_STATUS = ("", ENABLED, "disabled")

_LETTERS = string.digits + string.ascii_lowercase
_NOT_THERE = "can not find any key value"


class Policies:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._catalogue = registry.catalogue

    async def list_all(self, ask: Ask) -> Answer:
        """Those of one kind; of one that nobody knows there are none. Without `environment` those of the unnamed one,
        without `app` those of every app."""
        (kind,) = ask.ids
        wanted = _labels(ask)
        if kind == DISPLAY:
            return await _listed(ask, self._displayed(ask.tenant, wanted))
        return await _listed(ask, map(_document, self._found(ask.tenant, kind, wanted)))

    def _displayed(self, tenant: Tenant, wanted: dict[str, str]) -> Iterator[dict[str, Any]]:
        laid_down = {(one.kind, one.name): one for kind in POLICIES for one in self._found(tenant, kind, wanted)}
        for group in self._found(tenant, MATCH_GROUP, wanted):
            policies = [laid_down[kind, group.name] for kind in POLICIES if (kind, group.name) in laid_down]
            told = [_document(one) | {"kind": _camel(one.kind)} for one in policies]
            yield ({"policies": told} if told else {}) | {"matchGroup": _document(group)}

    def _found(self, tenant: Tenant, kind: str, wanted: dict[str, str]) -> Sequence[GovernancePolicy]:
        """What was written last comes first."""
        policies = self._catalogue.policies(tenant)
        found = [one for one in policies if one.kind == kind and wanted.items() <= one.selector.items()]
        return sorted(found, key=lambda one: one.updated_ms)[::-1]

    async def show(self, ask: Ask) -> Answer:
        return Answer(200, JSON_TYPE, _indented(_document(self._held(ask))).encode())

    async def create(self, ask: Ask) -> Answer:
        """A new one is enabled, whatever it says."""
        (kind,) = ask.ids
        asked = wire.decode(Policy, await ask.body(MOST_BODY_BYTES))
        _check(kind, asked)
        name = asked.name or (self._free_name(ask.tenant, asked.selector) if kind == MATCH_GROUP else "")
        policy = _policy(ask.tenant, kind, name, asked, self._registry.clock.now_ms())

        def decide() -> Sequence[Write]:
            if self._catalogue.find(policy.key) is not None:
                raise Refused(Code.RECORD_EXISTS, "record already exist(kv already exists)")
            held = len(self._catalogue.policies(ask.tenant))
            if held >= MOST_POLICIES:
                raise Refused(Code.NOT_ENOUGH_QUOTA, f"no quota to create POLICY, max num is {MOST_POLICIES}")
            return [Put(policy)]

        await self._registry.transact(_turn(ask.tenant), decide)
        return Answer(200, JSON_TYPE, wire.encode({"id": policy.key.policy_id}))

    def _free_name(self, tenant: Tenant, selector: dict[str, str]) -> str:
        taken = {one.name for one in self._found(tenant, MATCH_GROUP, selector)}
        while True:
            name = "scene-" + "".join(secrets.choice(_LETTERS) for _ in range(4))
            if name not in taken:
                return name

    async def set(self, ask: Ask) -> Answer:
        """Replace the spec, and the status if one is given. Name and selector make the id: they stay."""
        kind, _ = ask.ids
        asked = wire.decode(Policy, await ask.body(MOST_BODY_BYTES))
        _check(kind, asked)
        if asked.status not in _STATUS:
            raise MalformedDocument("a status is enabled or disabled")

        def decide() -> Sequence[Write]:
            held = self._held(ask)
            status, now_ms = asked.status or held.status, self._registry.clock.now_ms()
            return [Put(replace(held, spec=_spec(asked.spec), status=status, updated_ms=now_ms))]

        await self._registry.transact(_turn(ask.tenant), decide)
        return OK

    async def delete(self, ask: Ask) -> Answer:
        """With a group of requests goes all that is laid down for it."""

        def decide() -> Sequence[Write]:
            held = self._held(ask)
            if held.kind != MATCH_GROUP:
                return [Remove(held.key)]
            of_group = [
                one
                for one in self._catalogue.policies(ask.tenant)
                if one.name == held.name and held.selector.items() <= one.selector.items()
            ]
            return [Remove(one.key) for one in of_group]

        await self._registry.transact(_turn(ask.tenant), decide)
        return OK

    def _held(self, ask: Ask) -> GovernancePolicy:
        kind, policy_id = ask.ids
        held = self._catalogue.find(PolicyId(ask.tenant, kind, policy_id))
        if not isinstance(held, GovernancePolicy):
            raise Refused(Code.RECORD_NOT_EXISTS, _NOT_THERE)
        return held


def _turn(tenant: Tenant) -> tuple[str, Tenant]:
    """Groups and what belongs to them are written one after the other."""
    return "policies", tenant


def _labels(ask: Ask) -> dict[str, str]:
    wanted = {"app": ask.query["app"]} if ask.query.get("app") else {}
    environment = ask.query.get("environment", "")
    return wanted if environment == ANY_ENVIRONMENT else wanted | {"environment": environment}


def _check(kind: str, asked: Policy) -> None:
    """Raises MalformedDocument. Its size first: what is wrong with a spec is told for each item."""
    if _levels(asked.spec) > MOST_SPEC_LEVELS:
        raise MalformedDocument(f"a spec has at most {MOST_SPEC_LEVELS} levels")
    if len(_spec(asked.spec)) > MOST_SPEC_BYTES:
        raise MalformedDocument(f"a spec has at most {MOST_SPEC_BYTES} bytes")
    check_spec(kind, asked.spec)
    if not _NAME.fullmatch(asked.name):
        raise MalformedDocument(f"name {asked.name[:200]!r} is not of at most 2000 letters, digits and . _ : -")
    if len(asked.selector) > MOST_LABELS:
        raise MalformedDocument(f"a selector has at most {MOST_LABELS} labels")
    for name, value in asked.selector.items():
        if not _LABEL_NAME.fullmatch(name) or not _LABEL_VALUE.fullmatch(value):
            raise MalformedDocument(f"label {name[:200]!r} of the selector is of other letters than A-Z a-z 0-9 . _ -")


def _levels(value: Any) -> int:
    """How deep lists and objects lie in each other; beyond what is allowed it is not counted further."""
    levels, layer = 0, [value]
    while levels <= MOST_SPEC_LEVELS:
        layer = [one for one in layer if isinstance(one, list | dict)]
        if not layer:
            break
        levels += 1
        layer = [inner for one in layer for inner in (one.values() if isinstance(one, dict) else one)]
    return levels


def _policy(tenant: Tenant, kind: str, name: str, asked: Policy, now_ms: int) -> GovernancePolicy:
    """The id is that of servicecomb-kie: whoever creates a policy anew finds it under the id that it had."""
    labels = "::".join(f"{label}={value}" for label, value in sorted(asked.selector.items())) or "none"
    place = f"{tenant.domain}/{tenant.project}/servicecomb.{_camel(kind)}.{name}/{labels}"
    return GovernancePolicy(
        key=PolicyId(tenant, kind, hashlib.sha256(place.encode()).hexdigest()),
        name=name,
        selector=asked.selector,
        spec=_spec(asked.spec),
        status=ENABLED,
        created_ms=now_ms,
        updated_ms=now_ms,
    )


def _document(policy: GovernancePolicy) -> dict[str, Any]:
    """As the original writes it: seconds, and nothing that is empty. `creatTime` is its own spelling."""
    members = {
        "name": policy.name,
        "id": policy.key.policy_id,
        "status": policy.status,
        "creatTime": policy.created_ms // 1000,
        "updateTime": policy.updated_ms // 1000,
        "selector": dict(sorted(policy.selector.items())),
        "kind": policy.kind,
        "spec": json.loads(policy.spec),
    }
    return {name: value for name, value in members.items() if value}


def _spec(spec: dict[str, Any]) -> bytes:
    return json.dumps(spec, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def _indented(document: object) -> str:
    """These answers alone come with line breaks."""
    return json.dumps(document, indent=2, ensure_ascii=False)


async def _listed(ask: Ask, documents: Iterable[object]) -> Answer:
    """The same of a list, made a little at a time: thousands take a quarter of a second."""
    pace, items = Pace(), []
    for document in documents:
        items.append(_indented(document).replace("\n", "\n  "))
        if pace.is_due:
            await pace.rest()
    text = "[\n  " + ",\n  ".join(items) + "\n]" if items else "[]"
    return await large(ask, text.encode())


def _camel(kind: str) -> str:
    """How kinds are spelt in keys: rate-limiting is rateLimiting."""
    first, *rest = kind.split("-")
    return first + "".join(word.capitalize() for word in rest)
