"""The guide's story with real clients: account-server on Spring, hello-server on go-chassis, and one process of ours.

    python -m conformance.demo --setup both   tells it to a person, in one of seven set-ups
    pytest conformance/demo                   asks it as tests: each set-up, both start orders, another app, a restart

Start reading in `story.py`; `setups.py` says what runs where.
"""
