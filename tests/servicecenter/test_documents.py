"""What is kept ready: encoded once, never stale, bounded."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from facade.registry.registry import Registry
from facade.registry.views import Shown
from facade.servicecenter import documents as module
from facade.servicecenter.documents import Documents, Listing
from tests.registry.records import flat, qualified

pytestmark = pytest.mark.anyio


@pytest.fixture
def documents(registry: Registry) -> Documents:
    return Documents(registry)


async def _held(registry: Registry, **changes: object) -> Shown:
    instance = await registry.register(replace(flat(), **changes))
    return Shown(instance, instance.service, "face")


def _listing(documents: Documents, shown: Sequence[Shown], revision: int = 1, identity: str = "name") -> Listing:
    return documents.listing(identity, revision, shown)


async def test_an_instance_is_encoded_once_for_each_face(registry: Registry, documents: Documents) -> None:
    shown = await _held(registry)
    elsewhere = shown._replace(service_id="other-face")

    assert documents.instance(shown) is documents.instance(shown)
    assert b'"serviceId":"other-face"' in documents.instance(elsewhere).body
    assert b'"serviceId":"face"' in documents.instance(shown).body


async def test_a_changed_instance_is_encoded_anew(registry: Registry, documents: Documents) -> None:
    documents.instance(await _held(registry))
    changed = await _held(registry, host="elsewhere", dirty_ms=2_000)

    assert b'"hostName":"elsewhere"' in documents.instance(changed).body


async def test_an_earlier_state_is_told_as_it_was(registry: Registry, documents: Documents) -> None:
    """The watch tells those who knew an instance by a name that it has left."""
    earlier = await _held(registry)
    now = await _held(registry, host="elsewhere", dirty_ms=2_000)
    documents.instance(now)

    assert b'"hostName":"orders-1"' in documents.instance(earlier).body
    assert b'"hostName":"elsewhere"' in documents.instance(now).body


async def test_nothing_is_kept_of_an_instance_that_is_gone(registry: Registry, documents: Documents) -> None:
    """A last event still tells of it."""
    shown = await _held(registry)
    documents.instance(shown)
    await registry.cancel(shown.instance.key)

    assert b'"hostName":"orders-1"' in documents.instance(shown).body
    assert not documents._instances


async def test_a_list_is_made_once_for_each_revision(registry: Registry, documents: Documents) -> None:
    shown = [await _held(registry)]
    first = _listing(documents, shown)

    assert _listing(documents, shown) is first
    assert _listing(documents, [], revision=2).rendered.body == b"{}"
    assert _listing(documents, [], revision=2).token != first.token


async def test_a_token_follows_from_what_is_listed_alone(registry: Registry, documents: Documents) -> None:
    """Another node has revisions of its own, and its instances in the order in which it read them."""
    first, second = await _held(registry), await _held(registry, key=flat().key._replace(instance_id="orders-2"))
    token = _listing(documents, [first, second], revision=1).token
    elsewhere = Documents(registry)

    assert _listing(elsewhere, [second, first], revision=2).token == token
    assert _listing(elsewhere, [second], revision=3).token != token
    assert _listing(elsewhere, [second._replace(service_id="another"), first], revision=4).token != token


async def test_a_long_list_is_kept_compressed_too(registry: Registry, documents: Documents) -> None:
    shown = [Shown(qualified(instance_id=f"i{n}", native=b"{}"), qualified().service, "s") for n in range(20)]
    compressed = documents.listing("name", 1, shown, is_gzipped=True)

    assert compressed.rendered.is_gzipped
    assert len(compressed.rendered.body) < len(_listing(documents, shown).rendered.body)
    assert documents.listing("name", 1, shown, is_gzipped=True) is compressed
    assert compressed.token == _listing(documents, shown).token


async def test_the_least_recently_used_list_goes_first(
    registry: Registry, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_LISTS", 2)
    first = _listing(documents, [], identity="a")
    second = _listing(documents, [], identity="b")
    _listing(documents, [], identity="a")
    _listing(documents, [], identity="c")

    assert _listing(documents, [], identity="a") is first
    assert _listing(documents, [], identity="b") is not second


async def test_all_lists_together_are_bounded(
    registry: Registry, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks chooses the names, and each list may be long."""
    shown = [await _held(registry)]
    first = _listing(documents, shown, identity="first")
    monkeypatch.setattr(module, "KEPT_BYTES", 2 * len(first.rendered.body))
    for name in ("second", "third"):
        _listing(documents, shown, identity=name)

    assert _listing(documents, shown, identity="third") is _listing(documents, shown, identity="third")
    assert _listing(documents, shown, identity="first") is not first


async def test_an_instance_has_a_bounded_number_of_documents(registry: Registry, documents: Documents) -> None:
    shown = await _held(registry)
    first = documents.instance(shown)
    for number in range(module.KEPT_FACES):
        documents.instance(shown._replace(service_id=f"face-{number}"))

    assert documents.instance(shown) == first
    assert documents.instance(shown) is not first
