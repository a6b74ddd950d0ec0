"""The core: what is registered, until when, and what changed. Knows neither protocol, nor HTTP, nor any one store.

Start at `model.py` (the records), then `registry.py` (register, renew, cancel, amend), then `faces.py` (who is found
under which name).
"""
