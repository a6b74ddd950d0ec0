"""All that knows ServiceCenter's bytes. Start at `routes.py`; a renewal is answered in `Instances.renew`."""
