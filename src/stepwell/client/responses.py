"""Decodes responses into structs of the contract and of the client, and failures into errors."""

from collections.abc import Hashable
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from time import time
from typing import Any, Self, TypeVar, cast
from urllib.parse import parse_qsl

import httpx
from msgspec import DecodeError, json

import stepwell
from stepwell.client.errors import (
    UNKNOWN_PROBLEM,
    ConnectionFailed,
    StepwellError,
    UnexpectedResponse,
    invalid_request,
    refusal_of,
)
from stepwell.client.requests import ClientRequest
from stepwell.contract.enums import unknown_members
from stepwell.contract.events import FeedEventPublic
from stepwell.contract.problems import HTTPValidationError, Problem
from stepwell.contract.tasks import CostsResponse
from stepwell.contract.workflows import WorkflowListResponse

_Body = TypeVar("_Body")
_MAX_TEXT = 200  # characters of a response that isn't one of the API
_TRANSFER_HEADERS = frozenset({"content-encoding", "content-length", "transfer-encoding"})
# Raised for JSON that is damaged, of another type or nested too deeply. `msgspec.ValidationError` is a `DecodeError`.
_UNDECODABLE = (DecodeError, UnicodeDecodeError, RecursionError)
# Nothing was sent if one of these was raised.
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


def decode(response: httpx.Response, kind: type[_Body]) -> _Body:
    """Return the body of a successful response. Raises `UnexpectedResponse` if it is of another kind."""
    request = response.request
    return decode_json(response.content, kind, f"the response to {request.method} {request.url.copy_with(query=None)}")


def decode_json(content: bytes | str, kind: type[_Body], source: str) -> _Body:
    """Return the JSON text *content* as a *kind*. *source* names it in the error. Raises `UnexpectedResponse`.

    A later version of the service may send types of events, for example, that this version doesn't know.
    """
    try:
        with unknown_members():
            body: _Body = _decoder(cast("Hashable", kind)).decode(content)
    except _UNDECODABLE as error:
        raise UnexpectedResponse(
            f"{source} isn't one of Stepwell's API, or is of another version than this client "
            f"({stepwell.__version__}): {error}"
        ) from None
    return body


def with_amounts(response: CostsResponse) -> CostsResponse:
    """Decode the amounts in *response*, as exact decimals, and return it."""
    for group in response.costs:
        group.amount = decode_json(bytes(group.amount), Decimal, "the amount of a cost")
        group.saved = decode_json(bytes(group.saved), Decimal, "what reuse saved")
    return response


@cache
def _decoder(kind: Hashable) -> json.Decoder[Any]:
    return json.Decoder(kind)


def with_body(response: httpx.Response, content: bytes) -> httpx.Response:
    """Return *response* with its decoded body *content*, which has been read from it."""
    headers = [(name, value) for name, value in response.headers.multi_items() if name not in _TRANSFER_HEADERS]
    return httpx.Response(response.status_code, headers=headers, content=content, request=response.request)


def failure_of(request: ClientRequest, response: httpx.Response) -> StepwellError:
    """Return the error for a response that isn't a success. Its body has been read."""
    status = response.status_code
    text = str(request)
    if status < HTTPStatus.BAD_REQUEST:
        target = response.headers.get("Location", "")
        return UnexpectedResponse(
            f"{status}: the service is at another URL, {target[:_MAX_TEXT]} ({text})", status=status
        )
    try:
        if status == HTTPStatus.UNPROCESSABLE_ENTITY:
            return invalid_request(json.decode(response.content, type=HTTPValidationError), text)
        problem = json.decode(response.content, type=Problem)
    except _UNDECODABLE:  # of a proxy or of another server
        phrase = response.reason_phrase or "Failed"
        is_page = "html" in response.headers.get("Content-Type", "")
        detail = "the response is a web page" if is_page else text_of(response)[:_MAX_TEXT].strip()
        problem = Problem(type=UNKNOWN_PROBLEM, title=phrase, status=status, detail=detail)
    return refusal_of(status, problem, text, retry_after_of(response))


def retry_after_of(response: httpx.Response) -> float | None:
    """Return the seconds that `Retry-After` asks for: a number of seconds, or a date."""
    value = response.headers.get("Retry-After", "")
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except (ValueError, OverflowError):
        return None


def text_of(response: httpx.Response) -> str:
    """Return the body as text. `Response.text` would let the response choose any of Python's codecs."""
    return response.content.decode(errors="replace")


def connection_failed(request: ClientRequest, error: httpx.HTTPError, base: str) -> ConnectionFailed:
    reason = str(error) or type(error).__name__
    is_certificate_bad = isinstance(error, httpx.ConnectError) and "CERTIFICATE_VERIFY_FAILED" in reason
    is_temporary = not (is_certificate_bad or isinstance(error, httpx.LocalProtocolError))
    message = f"no response from {base} to {request}: {reason}"
    return ConnectionFailed(message, was_sent=not isinstance(error, _UNSENT), is_temporary=is_temporary)


class ListPage(WorkflowListResponse):
    """A page of workflows. `next_cursor` leads to the next page; None if this is the last one."""

    next_cursor: str | None = None

    @classmethod
    def of(cls, page: WorkflowListResponse, link: str | None) -> Self:
        """Return *page*, with the cursor in the *link* to the next one."""
        return cls(page.workflows, page.total, page.skip, page.limit, cursor_of(link))


def cursor_of(link: str | None) -> str | None:
    """Return the cursor in the *link* to the next page; None without a link."""
    query = "" if link is None else link.partition("?")[2]
    return dict(parse_qsl(query)).get("cursor")


class FeedItem(FeedEventPublic):
    """An event with its workflow. `cursor` is the position after it in the feed."""

    cursor: str = ""
