"""Responses to URLs that contain a secret: a signature, a stream ticket or a sign-in code.

A browser must not pass such a URL on to the next page, and no cache may store its answer, because the URL expires.
"""

from litestar.types import HTTPResponseStartEvent, Scope

_SECRETS = (b"signature=", b"ticket=", b"code=")
_HEADERS = [(b"referrer-policy", b"no-referrer"), (b"cache-control", b"no-store")]
_REPLACED = frozenset(name for name, _ in _HEADERS)


def protect_secret_url(start: HTTPResponseStartEvent, scope: Scope) -> None:
    """Add the headers to the start of an answer, whatever its status is, if the URL of its request has a secret."""
    query = scope["query_string"]
    if query and any(name in query for name in _SECRETS):
        start["headers"] = [*(pair for pair in start["headers"] if pair[0].lower() not in _REPLACED), *_HEADERS]
