"""The originals and their real clients, to ask and to compare with: built and started here, known to the suites by URL.

A folder is one program's sources and settings; `processes.py` builds them and runs them.
"""
