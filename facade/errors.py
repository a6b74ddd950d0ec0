"""What can go wrong in the registry, stated as facts; no HTTP here.

FacadeError
├── MalformedDocument     the bytes are not what the protocol promises
├── InstanceNotFound      no lease is held under that key
├── ServiceNotFound       no microservice is known under that id or name
├── RevisionCompacted     the history asked for is gone: read in full again
├── StoreUnavailable      the store did not answer; trying again may help
│   └── StoreFull         the store has no room left: writes are refused until it has
│   └── OwnStoreUnavailable  the store of our own that keeps the picture of a registry behind us
├── Overtaken             another node has written the record meanwhile: decide anew
├── UpstreamRefused       the registry behind us does not take this record, now or later
└── StartRefused          the server cannot start as asked; the text is for the operator

A protocol room adds its own below these where its answers need to tell more cases apart.
"""


class FacadeError(Exception):
    """The base of all that this package raises on purpose. The text may be shown to the caller."""


class MalformedDocument(FacadeError):
    """The bytes are not what the protocol promises; the text names what does not fit."""


class InstanceNotFound(FacadeError):
    """No lease is held under this key: the client should register again."""

    def __init__(self, group: str, instance_id: str) -> None:
        super().__init__(f"no lease for {group}/{instance_id}")
        self.group = group
        self.instance_id = instance_id


class ServiceNotFound(FacadeError):
    """No microservice is known under this id or name."""


class RevisionCompacted(FacadeError):
    """The history asked for is no longer kept: the follower has to read in full again."""


class StoreUnavailable(FacadeError):
    """The store did not take the write. Nothing of it is visible; trying again may help."""


class StoreFull(StoreUnavailable):
    """The store has no room left. Renewals go on; writes are refused until there is room again."""


class Overtaken(FacadeError):
    """Another node has written the same record; it is shown by now. Nothing of this write is: decide anew."""


class OwnStoreUnavailable(StoreUnavailable):
    """Our own disk did not take what a registry behind us told: no fault of that registry."""


class UpstreamRefused(FacadeError):
    """The registry behind us does not take this, and trying again will not help; the text has its own words."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        """The error code of its protocol, where it has such a thing: 400100 in ServiceCenter's."""


class StartRefused(FacadeError):
    """The server cannot start as asked; the text tells the operator what to change, on one line."""
