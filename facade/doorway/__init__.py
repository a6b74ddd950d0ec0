"""Whoever connects comes in here: guards on what a peer may send, TLS, and the lane of ready answers.

Start at connection.py, which is one connection; hall.py knows them all.
"""
