"""Why somebody is not let in, or an account is not changed; stated as facts, each room has its own answers.

AccessRefused
├── NotIdentified           nobody we know has asked
│   ├── NoCredentials       nothing was said of who asks
│   ├── BadCredentials      what was said cannot be read, or is not signed by us
│   ├── TokenExpired        it was good once
│   ├── AccountGone         it is good, but its account has been deleted or made inactive
│   └── WrongPassword       no account of this name has this password
├── LockedOut               too many wrong passwords for this name from this address
├── TooManyLogins           more passwords wait to be checked than can be in good time
├── NotPermitted            somebody we know, who may not do this
└── AccountRefused          a change of accounts or roles that cannot be, for the fault it names
"""

from __future__ import annotations

from enum import Enum, auto

from facade.errors import FacadeError


class AccessRefused(FacadeError):
    """The texts never repeat a password or a token."""


class NotIdentified(AccessRefused):
    pass


class NoCredentials(NotIdentified):
    pass


class BadCredentials(NotIdentified):
    pass


class TokenExpired(NotIdentified):
    pass


class AccountGone(NotIdentified):
    pass


class WrongPassword(NotIdentified):
    pass


class LockedOut(AccessRefused):
    pass


class TooManyLogins(AccessRefused):
    pass


class NotPermitted(AccessRefused):
    pass


class Fault(Enum):
    """What is wrong with a change of accounts or roles."""

    NO_SUCH_ACCOUNT = auto()
    NO_SUCH_ROLE = auto()
    UNKNOWN_ROLES = auto()
    TOO_MANY_ACCOUNTS = auto()
    TOO_MANY_ROLES = auto()
    ROLE_IN_USE = auto()
    BAD_NEW_PASSWORD = auto()
    WRONG_OLD_PASSWORD = auto()
    BUILT_IN_ACCOUNT = auto()
    BUILT_IN_ROLE = auto()
    OWN_ACCOUNT = auto()
    ACCOUNT_OF_SOMEBODY_ELSE = auto()
    ACCOUNT_EXISTS = auto()
    ROLE_EXISTS = auto()


class AccountRefused(AccessRefused):
    def __init__(self, fault: Fault, text: str = "") -> None:
        super().__init__(text)
        self.fault = fault
