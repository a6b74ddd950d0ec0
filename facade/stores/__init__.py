"""Where registrations live. Each module is one kind of store and keeps the contract of `registry/store.py`."""
