"""HTTP to the outside: the SSRF guard, name resolution, HTTP clients, downloads and the webhook sender.

Every address that a user or a provider names passes `ssrf_guard` before a connection is made. This package imports no
provider, and LOCAL's child processes import it as well, so nothing is imported here.
"""
