"""Stepwell: workflows of AI-media tasks, checkpointed to PostgreSQL."""

__version__: str


def __getattr__(name: str) -> str:
    """Return `__version__`. It is read late, because that takes a tenth of the time that importing the client may."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # noqa: PLC0415 - see above

    globals()[name] = number = version("stepwell")
    return number
