"""Pages for people, probes and metrics for machines; reads the registry only. Start at `routes.py`."""
