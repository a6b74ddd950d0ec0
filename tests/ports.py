"""Ports that nobody listens on."""

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """Below the range from which systems take ports for outgoing connections (Linux: from 32768)."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port is left")
