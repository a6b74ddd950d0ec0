"""Ours in front of a real Eureka, a real ServiceCenter, or both: asked over HTTP on either side of us.

`setups.py` says what stands where and how to look at it; start reading in `test_written_through_us.py`. The faults are
in `test_lies.py` (registries that lie, dawdle or hang, by `proxy.py`) and `test_restarts.py` (frozen, killed, empty).
"""
