"""Who may do what: accounts, roles, passwords, tokens. Knows neither protocol, nor HTTP.

Start reading at `control.AccessControl`; `rules` says what a role permits.
"""
