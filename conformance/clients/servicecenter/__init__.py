"""Clients of the ServiceCenter protocol, each with access control off and on; built as `conformance.clients` says."""
