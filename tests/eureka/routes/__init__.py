"""Whole requests, from the path to the bytes of the answer, against a registry over memory."""
