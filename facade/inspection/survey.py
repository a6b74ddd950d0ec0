"""How the servers of a registry fare, looked at again and again: each is asked, and what the others say of it is heard.

In:     addresses of some of them; one of a cluster is enough, for it names the others.
Out:    a row for each, also for one that does not answer: why, and what the others last heard of it.
Rules:  nothing is written, and no account is needed. An answer counts for a node only when it comes from that node:
        another may have its address by now, or the address mean this machine here and another one there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

import msgspec

from facade.errors import StoreUnavailable
from facade.inspection.readiness import Node, Readiness, ask_readiness
from facade.inspection.servers import Servers
from facade.outbound import Outbound

ANSWERS_WITHIN_S = 3.0
SHOWN_OF_AN_ID = 6

OK, MISSING, NO_ANSWER = "ok", "missing", "no answer"


class Row(msgspec.Struct, rename="camel", frozen=True):
    """One server. None: nobody knows."""

    name: str
    url: str
    """Where it was asked."""
    state: str
    """What it says of itself (ok, degraded, no data), else missing or no answer."""
    leads: bool = False
    """Ends lapsed leases."""
    revision: int | None = None
    lag_ms: int | None = None
    renewals_a_second: float | None = None
    instances: Mapping[str, int] | None = None
    data_age_s: float | None = None
    waiting_writes: int | None = None
    protected: tuple[str, ...] = ()
    """Protocols whose lapsed leases self-preservation keeps."""
    remarks: tuple[str, ...] = ()
    """What is to be said of it, each a sentence."""

    @property
    def has_answered(self) -> bool:
        return self.state not in (MISSING, NO_ANSWER)


_Found = Readiness | str
"""What a server answered, or why it did not."""


class Survey:
    def __init__(self, bases: Sequence[str], through: Servers) -> None:
        self._stated = list(dict.fromkeys(bases))
        self._through = through
        self._asked: dict[str, Outbound] = {}

    async def look(self) -> list[Row]:
        """All servers as they are now, in the order of their names."""
        found = await self._ask(self._stated)
        met = {node.id for answer in found.values() if (node := _self_of(answer)) is not None}
        addresses = {node.id: base for base, node in _named_by(found) if node.id not in met}
        found |= await self._ask(set(addresses.values()) - found.keys())
        heard = _newest(found.values())
        rows: dict[str, Row] = {}
        for base in self._stated:
            node = _self_of(found[base])
            if node is not None:
                rows.setdefault(node.id, _row(base, found[base], heard.get(node.id)))
            elif base not in addresses.values():
                rows[base] = _row(base, found[base], None)
        for node_id, base in addresses.items():
            rows[node_id] = _row(base, _only_from(node_id, found[base]), heard.get(node_id))
        return sorted(_told_apart(rows), key=lambda row: _in_order(row.name))

    async def _ask(self, bases: Collection[str]) -> dict[str, _Found]:
        return dict(zip(bases, await asyncio.gather(*map(self._ask_one, bases)), strict=True))

    async def _ask_one(self, base: str) -> _Found:
        if base not in self._asked:
            self._asked[base] = self._through.plain([base])
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                return await ask_readiness(self._asked[base])
        except TimeoutError:
            return f"no answer within {ANSWERS_WITHIN_S:g} s"
        except StoreUnavailable as error:
            return str(error).removeprefix(f"{base}: ")


def _named_by(found: Mapping[str, _Found]) -> Iterator[tuple[str, Node]]:
    """Every node that an answer tells of, with its address: nodes of a cluster are asked over http or https alike."""
    for base, answer in found.items():
        for node in answer.nodes if isinstance(answer, Readiness) else ():
            yield f"{urlsplit(base).scheme}://{node.name}", node


def _self_of(answer: _Found) -> Node | None:
    return next((node for node in answer.nodes if node.is_self), None) if isinstance(answer, Readiness) else None


def _only_from(node_id: str, answer: _Found) -> _Found:
    if isinstance(answer, str):
        return answer
    node = _self_of(answer)
    return answer if node is not None and node.id == node_id else "another server answers at its address"


def _newest(answers: Iterable[_Found]) -> dict[str, Node]:
    """What was last heard of each node by another one, by id."""
    newest: dict[str, Node] = {}
    for answer in answers:
        for node in answer.nodes if isinstance(answer, Readiness) else ():
            if not node.is_self and (node.id not in newest or node.age_seconds < newest[node.id].age_seconds):
                newest[node.id] = node
    return newest


def _row(base: str, answer: _Found, heard: Node | None) -> Row:
    if isinstance(answer, Readiness):
        return _row_of_its_own(base, answer, heard)
    remark = f"Does not answer at {base}: {answer}."
    if heard is None:
        return Row(urlsplit(base).netloc, base, NO_ANSWER, remarks=(remark,))
    told = "is missing" if heard.missing else "is well"
    return Row(
        name=heard.name,
        url=base,
        state=MISSING if heard.missing else NO_ANSWER,
        leads=heard.leads,
        revision=heard.revision,
        lag_ms=heard.lag_milliseconds,
        renewals_a_second=heard.renewals_last_minute / 60,
        remarks=(remark, f"The other nodes say that it {told}: heard {heard.age_seconds:.0f} s ago."),
    )


def _row_of_its_own(base: str, answer: Readiness, heard: Node | None) -> Row:
    node, store = _self_of(answer), answer.store
    by_protocol = answer.self_preservation
    protected = tuple(origin for origin, one in by_protocol.items() if one.on)
    is_remarkable = answer.status != OK or store.data_age_seconds > 0 or store.waiting > 0
    remarks = [store.text] if is_remarkable else []
    remarks += [f"{origin}: {by_protocol[origin].text}" for origin in protected]
    if heard is not None and heard.missing:
        remarks.append(f"The other nodes have not heard of it for {heard.age_seconds:.0f} s.")
    renewals = sum(one.renewals_last_minute for one in by_protocol.values())
    return Row(
        name=node.name if node is not None else urlsplit(base).netloc,
        url=base,
        state=answer.status,
        leads=node is not None and node.leads,
        revision=answer.revision,
        lag_ms=node.lag_milliseconds if node is not None else None,
        renewals_a_second=(node.renewals_last_minute if node is not None else renewals) / 60,
        instances=answer.instances,
        data_age_s=store.data_age_seconds,
        waiting_writes=store.waiting,
        protected=protected,
        remarks=tuple(remarks),
    )


def _told_apart(rows: Mapping[str, Row]) -> Iterator[Row]:
    """Each under a name of its own. A server that was started again has the name of the one that is gone."""
    taken: set[str] = set()
    for key, row in sorted(rows.items(), key=lambda item: not item[1].has_answered):
        yield (
            row if row.name not in taken else msgspec.structs.replace(row, name=f"{row.name} ({key[:SHOWN_OF_AN_ID]})")
        )
        taken.add(row.name)


def _in_order(name: str) -> list[str | int]:
    """node-9 comes before node-10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
