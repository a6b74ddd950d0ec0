"""How well a store can keep a record: for who wants to know before anything is written."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Kept(StrEnum):
    WHOLE = "whole"
    IN_PART = "in part"
    HERE_ALONE = "here alone"
    """By us and not by the registry behind us: its own readers do not see it."""
    REFUSED = "refused"
    """Writing it would fail."""


class Fit(NamedTuple):
    kept: Kept
    why: str = ""


WHOLE = Fit(Kept.WHOLE)
