"""Clients that people run, against our server and against the original: the same assertions for both.

Each test module is about one client; `programs.py` says how to run it, `life.py` what one does while it runs. Eureka's
clients stand here, ServiceCenter's in `servicecenter`; the programs are in `conformance/peers/clients`.
`python -m conformance.clients.table` makes docs/compatibility.md.
"""
