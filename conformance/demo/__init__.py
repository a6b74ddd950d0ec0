"""The guide's story with real clients: account-server on Spring and hello-server on go-chassis, and one server of ours.

    python -m conformance.demo         tells it to a person
    pytest conformance/demo            asks it as tests, in both start orders and with hello-server in another app

Start reading in `story.py`.
"""
