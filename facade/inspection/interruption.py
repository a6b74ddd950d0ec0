"""Told to stop by an operator. A leaf that is imported soon: the tools themselves take a while."""

from __future__ import annotations

import signal
from collections.abc import Callable

INTERRUPTED = 130
"""The exit code of a tool: work that was cut short is not done, so it is not 0, as that of a server is."""


def when_told_to_stop(act: Callable[[], object]) -> None:
    for told_to_stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(told_to_stop, lambda *_: act())
