"""The operator's tools: doctor, diff, dump and restore. They look at registries from outside, over HTTP; start reading
in `contents.py`, then `commands.py`."""
