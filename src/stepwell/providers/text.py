"""Texts from outside, made fit to be stored and shown."""

MAX_MESSAGE = 1_000  # bytes of UTF-8: an error must never be too large to be recorded


def sanitised(text: str, limit: int = MAX_MESSAGE) -> str:
    """*text* without control characters and lone surrogates, as at most *limit* bytes of UTF-8."""
    head = text[:limit]  # a character has at least one byte; a 1 GB text isn't walked through
    clean = "".join(char if char.isprintable() else " " for char in head)
    return clean.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")
