"""The guide's story with real clients: account-server on Spring and hello-server on go-chassis, and one server of ours.

    python -m conformance.demo         tells it to a person
    pytest conformance/demo            asks it as tests: both start orders, hello-server in another app, a restart

Start reading in `story.py`.
"""
