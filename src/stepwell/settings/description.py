"""The description of a setting, for the manual."""

from msgspec import Meta


def about(description: str, *, default: str | None = None) -> Meta:
    """Describe a setting for the manual. *default* is what the manual says instead of the value in the code."""
    return Meta(description=description, extra=None if default is None else {"default": default})
