"""Responses to URLs that contain a secret: a signature, a stream ticket or a sign-in code.

A browser must not pass such a URL on to the next page, and no cache may store its answer, because the URL expires.
"""

from litestar.types import HTTPResponseStartEvent, Scope

_SECRETS = (b"signature=", b"ticket=")
# The page of a sign-in code has a form, with which the browser would send `Origin: null` by no-referrer. By
# strict-origin, the browser passes on the origin alone.
_SIGN_IN_CODE, _ORIGIN_ALONE = b"code=", b"strict-origin"
_POLICY, _CACHE = b"referrer-policy", b"cache-control"


def protect_secret_url(start: HTTPResponseStartEvent, scope: Scope) -> None:
    """Add the headers to the start of an answer, whatever its status is, if the URL of its request has a secret."""
    query = scope["query_string"]
    if not query:
        return
    if _SIGN_IN_CODE in query:
        policy = _ORIGIN_ALONE
    elif any(name in query for name in _SECRETS):
        policy = b"no-referrer"
    else:
        return
    others = [pair for pair in start["headers"] if pair[0].lower() not in (_POLICY, _CACHE)]
    start["headers"] = [*others, (_POLICY, policy), (_CACHE, b"no-store")]
