"""Checks whether the SDK of the protocol is installed. It comes with the extra `mcp`."""

from importlib.util import find_spec


def has_sdk() -> bool:
    """Return whether version 2 of the SDK is installed. Version 1 has no `mcp_types`."""
    return find_spec("mcp") is not None and find_spec("mcp_types") is not None
