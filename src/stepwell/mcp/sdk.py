"""Whether the SDK of the protocol is installed. It comes with the extra `mcp`."""

from importlib.util import find_spec


def has_sdk() -> bool:
    return find_spec("mcp") is not None
