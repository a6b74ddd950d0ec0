"""How long the suites wait for what comes at once by design: a case asserts that it comes, not when.

Others may use the machine, too, which then stands still for seconds; only a case that fails takes as long as this.
"""

from __future__ import annotations

import inspect

import httpx

PATIENCE_S = 60.0


def be_patient() -> None:
    """httpx waits 5 s where nothing else is said. Every call in this process that says nothing waits longer."""
    default: httpx.Timeout = inspect.signature(httpx.get).parameters["timeout"].default
    default.connect = default.read = default.write = default.pool = PATIENCE_S
