"""Makes text from outside fit to be stored and shown."""

from collections.abc import Iterable

from stepwell.basics.errors import AttemptError

MAX_MESSAGE = 1_000  # bytes of UTF-8: an error must never be too large to be recorded
SHORTEST_SECRET = 8  # characters of a secret that is masked wherever it appears


def sanitised(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return *text* without control characters and lone surrogates, cut to *limit* bytes of UTF-8."""
    head = text[:limit]  # a character has at least one byte, so the rest of a huge text isn't read
    clean = "".join(char if char.isprintable() else " " for char in head)
    return clean.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


def invalid_input(field: str, why: str) -> AttemptError:
    """Return the error for an input that neither a retry nor another provider can use."""
    return AttemptError(sanitised(f"{field}: {why}"), retryable=False, provider_fault=False)


def mask_secrets(text: str, secrets: Iterable[str], mark: str = "…") -> str:
    """Replace each of *secrets* in *text* by *mark*. Secrets shorter than `SHORTEST_SECRET` stay: words contain them.

    *text* may have been cut off inside a secret, so the beginning of a secret at the end of *text* is replaced too.
    """
    for secret in secrets:
        if len(secret) < SHORTEST_SECRET:
            continue
        text = text.replace(secret, mark)
        cut = next((n for n in range(len(secret) - 1, SHORTEST_SECRET - 1, -1) if text.endswith(secret[:n])), 0)
        text = text[: len(text) - cut] + (mark if cut else "")
    return text
