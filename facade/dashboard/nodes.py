"""The servers that share a store, as this one knows them: in order, each under a name of its own. No HTML here."""

from __future__ import annotations

from facade.registry.registry import Registry
from facade.registry.store import NodeHealth

SHOWN_OF_AN_ID = 6


def nodes_of(registry: Registry) -> list[NodeHealth]:
    """This one first, the others by name; none where the store is ours alone.

    A server that was killed and started again is listed twice for a while, and servers on different machines may all
    call themselves 127.0.0.1:8761. The one heard last keeps the plain name, so that its series goes on.
    """
    taken: set[str] = set()
    named = []
    for node in sorted(registry.nodes(), key=lambda node: (not node.is_self, node.age_s)):
        named.append(
            node if node.name not in taken else node._replace(name=f"{node.name} ({node.id[:SHOWN_OF_AN_ID]})")
        )
        taken.add(node.name)
    return sorted(named, key=lambda node: (not node.is_self, node.name))
