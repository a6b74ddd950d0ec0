"""The answers that many ask for, kept as bytes: an instance is encoded once when it changes, a list once per revision.

In:   what the registry shows under a name or an id, and the revision of that.
Out:  `{"instances":[...]}`, with a token that clients send back to hear whether anything changed.
Rules: nothing is kept that could be stale, for every lookup compares records or revisions; what is kept is bounded.
      A token follows from what is listed, in whatever order: it is the same on every node, and after a restart.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from facade.registry.model import Change, Instance, InstanceKey
from facade.registry.registry import Registry
from facade.registry.views import Shown
from facade.rendered import Rendered
from facade.servicecenter import wire
from facade.servicecenter.exchange import GZIP_FROM, JSON_TYPE, compress
from facade.servicecenter.mapping import from_instance

KEPT_LISTS = 4_096
"""One for each name that is asked for, and one more for askers who see less of it. The least recently used go first."""
KEPT_BYTES = 64 * 1024 * 1024
"""Of all lists together."""

KEPT_FACES = 32
"""Documents of one instance: whoever asks chooses the app, so each new one would cost a document for ever."""


NOTHING_LISTED = hashlib.sha1(b"0.0,", usedforsecurity=False).hexdigest()
"""The token of an empty list. Source: servicecomb-service-center, datasource/etcd/cache: revision 0 of 0 instances."""


class Document(NamedTuple):
    """One instance as JSON."""

    body: bytes
    digest: bytes

    @property
    def token(self) -> str:
        return self.digest.hex()


class Listing(NamedTuple):
    """A list of instances, ready to send."""

    token: str
    rendered: Rendered

    @property
    def size(self) -> int:
        return len(self.rendered.body)


class _Face(NamedTuple):
    """How an instance is presented: one instance has as many documents as it has faces."""

    service_id: str
    version: str
    hides_out_of_service: bool
    without_properties: bool = False


class Documents:
    def __init__(self, registry: Registry) -> None:
        self._catalogue = registry.catalogue
        self._instances: dict[InstanceKey, tuple[Instance, dict[_Face, Document]]] = {}
        self._lists: OrderedDict[Hashable, Listing] = OrderedDict()
        self._kept_bytes = 0
        registry.feed.follow(self._forget)

    def instance(
        self, shown: Shown, *, hides_out_of_service: bool = False, without_properties: bool = False
    ) -> Document:
        """One instance, under the identity that was asked for."""
        key = shown.instance.key
        held, documents = self._instances.get(key, (None, {}))
        if held is not shown.instance:
            documents = {}
            if self._catalogue.instance(key) is shown.instance:  # of one that is gone only a last event tells
                self._instances[key] = shown.instance, documents
        face = _Face(shown.service_id, shown.face.version, hides_out_of_service, without_properties)
        document = documents.get(face)
        if document is None:
            if len(documents) >= KEPT_FACES:
                del documents[next(iter(documents))]
            document = documents[face] = _encoded(shown.instance, face)
        return document

    def listing(
        self,
        identity: Hashable,
        revision: int,
        shown: Sequence[Shown],
        *,
        hides_out_of_service: bool = False,
        is_gzipped: bool = False,
    ) -> Listing:
        """The list of what is shown. `identity` says what was asked for; with the revision it stands for all of it."""
        place = (identity, hides_out_of_service, is_gzipped)
        listing = self._lists.get(place)
        if listing is None or listing.rendered.revision != revision:
            if is_gzipped:
                plain = self.listing(identity, revision, shown, hides_out_of_service=hides_out_of_service)
                listing = plain._replace(rendered=gzipped(plain.rendered))
            else:
                listed = [self.instance(one, hides_out_of_service=hides_out_of_service) for one in shown]
                body = b'{"instances":[' + b",".join([one.body for one in listed]) + b"]}" if listed else b"{}"
                rendered = Rendered(body=body, content_type=JSON_TYPE.decode(), revision=revision)
                listing = Listing(_token(listed), rendered)
            self._keep(place, listing)
        self._lists.move_to_end(place)
        return listing

    def _keep(self, place: Hashable, listing: Listing) -> None:
        outdated = self._lists.pop(place, None)
        self._kept_bytes += listing.size - (outdated.size if outdated is not None else 0)
        self._lists[place] = listing
        while len(self._lists) > KEPT_LISTS or (self._kept_bytes > KEPT_BYTES and len(self._lists) > 1):
            _, unused = self._lists.popitem(last=False)
            self._kept_bytes -= unused.size

    def _forget(self, change: Change) -> None:
        if isinstance(change.before, Instance):
            self._instances.pop(change.before.key, None)


def gzipped(plain: Rendered) -> Rendered:
    """The same compressed; as it is when it is too small for that."""
    if len(plain.body) < GZIP_FROM:
        return plain
    return msgspec.structs.replace(plain, body=compress(plain.body), is_gzipped=True)


def _token(listed: Iterable[Document]) -> str:
    """40 hex digits, as the original's. A node that read its instances from a store has them in another order."""
    digests = sorted([one.digest for one in listed])
    return hashlib.sha1(b"".join(digests), usedforsecurity=False).hexdigest() if digests else NOTHING_LISTED


def _encoded(instance: Instance, face: _Face) -> Document:
    document = from_instance(instance, face.service_id, face.version)
    if face.hides_out_of_service and document.status == "OUTOFSERVICE":
        document = msgspec.structs.replace(document, status="DOWN")
    if face.without_properties:
        document = msgspec.structs.replace(document, properties={})
    body = wire.encode(document)
    return Document(body, hashlib.sha1(body, usedforsecurity=False).digest())
