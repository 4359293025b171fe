"""Whatever a broken or hostile service sends, a call ends with an error of the client, and in bounded memory."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from stepwell.client import AsyncStepwell, RequestRefused, UnexpectedResponse

Call = Callable[[AsyncStepwell], Awaitable[Any]]
ID = "00000000-0000-0000-0000-000000000007"
GET: Call = lambda client: client.get(ID)  # noqa: E731


async def _all(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


EVENTS: Call = lambda client: _all(client.events(ID))  # noqa: E731


def client_of(*responses: httpx.Response) -> AsyncStepwell:
    rest = list(responses)
    transport = httpx.MockTransport(lambda _: rest.pop(0))
    return AsyncStepwell("http://t.local", transport=transport, retry_s=0)


def stream(*chunks: bytes, repeat: bool = False) -> httpx.Response:
    async def content() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk
        while repeat:
            yield chunks[-1]

    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=content())


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b'{"id":"\xff"}', b'{"id":' + b"[" * 100_000, b'{"x":' + b'{"a":' * 100_000, b"[1]", b'{"id":1}'],
    ids=lambda content: repr(content[:12]),
)
async def test_a_response_that_is_damaged_or_of_another_type_is_unexpected(content: bytes) -> None:
    async with client_of(httpx.Response(200, content=content)) as client:
        with pytest.raises(UnexpectedResponse):
            await client.get(ID)


@pytest.mark.parametrize(
    ("call", "response"),
    [
        (lambda c: c.upload(b"x"), httpx.Response(201, json={"artifacts": []})),
        (lambda c: c.tag(ID), httpx.Response(200)),
        (
            lambda c: c.costs(),
            httpx.Response(200, json={"costs": [{"currency": "USD", "amount": [], "attempts": 1, "saved": 0}]}),
        ),
    ],
    ids=["upload", "tag", "costs"],
)
async def test_a_response_without_the_requested_content_is_unexpected(call: Call, response: httpx.Response) -> None:
    async with client_of(response) as client:
        with pytest.raises(UnexpectedResponse):
            await call(client)


@pytest.mark.parametrize("status", [403, 422])
@pytest.mark.parametrize("content", [b"\xff" * 9, b'{"detail":"\xff"}', b'{"x":' + b"[" * 100_000], ids=len)
@pytest.mark.parametrize("charset", ["hex", "undefined", "none"])
async def test_a_refusal_is_one_whatever_its_body_is(status: int, content: bytes, charset: str) -> None:
    refused = httpx.Response(status, content=content, headers={"Content-Type": f"text/html; charset={charset}"})
    async with client_of(refused) as client:
        with pytest.raises(RequestRefused) as error:
            await client.get(ID)
    assert error.value.status == status
    assert len(str(error.value)) < 1_000


@pytest.mark.parametrize(
    "value", ["9" * 400, "-1", "Thu, 01 Jan 2026 00:00:00 +99999999999999", "Thu, 01 Jan 9999999999 00:00:00 GMT"]
)
async def test_a_pause_that_is_no_time_or_a_long_one_is_not_waited_for(value: str) -> None:
    async with client_of(httpx.Response(503, headers={"Retry-After": value})) as client:
        with pytest.raises(RequestRefused):
            await client.get(ID)


async def test_the_size_of_a_response_is_bounded() -> None:
    async def endless() -> AsyncIterator[bytes]:
        chunk = bytes(1_000_000)
        while True:
            yield chunk

    for status in (200, 500):
        async with client_of(httpx.Response(status, content=endless())) as client:
            with pytest.raises(UnexpectedResponse, match="the response has over 256 MiB"):
                await client.get(ID)


@pytest.mark.parametrize(
    "response",
    [
        stream(b"data: ", b"x" * 1_000_000, repeat=True),
        stream(b"data: " + b"x" * 1_000_000 + b"\n", repeat=True),
        stream(b"event: step.started\ndata: \xff\n\n"),
        stream(b"event: step.started\nid: 1\ndata: {\n\n"),
        stream(b"event: step.started\nid: \xc3\xa4\ndata: {}\n\n"),
        stream(b"id: 1\x00\ndata: {}\n\n"),
    ],
    ids=[
        "a line without end",
        "an event without end",
        "no UTF-8",
        "no JSON",
        "an id beyond ASCII",
        "a control character",
    ],
)
async def test_a_stream_that_can_not_be_the_services_is_unexpected(response: httpx.Response) -> None:
    async with client_of(response) as client:
        with pytest.raises(UnexpectedResponse):
            await EVENTS(client)


async def test_a_page_has_the_cursor_of_its_link_wherever_that_leads() -> None:
    page: dict[str, Any] = {"workflows": [], "total": None, "skip": 0, "limit": 1}
    link = {"Link": '<http://[elsewhere/?cursor=c&x=1>; rel="next"'}
    async with client_of(httpx.Response(200, json=page, headers=link)) as client:
        assert (await client.page()).next_cursor == "c"


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.create({}, idempotency_key="a\nb"),
        lambda c: c.create({}, idempotency_key="ä"),
        lambda c: c.start(ID, if_match="a\r\nX-Other: b"),
        lambda c: _all(c.feed("a\nb")),
        lambda c: c.page(cursor="x" * 100_000),
    ],
    ids=["a line feed", "beyond ASCII", "a second header", "a cursor", "a long URL"],
)
async def test_a_request_that_can_not_be_sent_is_the_callers_mistake_at_once(call: Call) -> None:
    async with client_of() as client:
        with pytest.raises(ValueError, match=r"the header|URL too long"):
            await call(client)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, Decimal("nan")], ids=str)
async def test_a_number_that_json_can_not_express_is_refused_with_its_place(number: float | Decimal) -> None:
    steps = [{"id": "a"}, {"id": "b", "config": MappingProxyType({"sizes": (1, number)})}]
    async with client_of() as client:
        for call in (client.create, client.plan):
            with pytest.raises(ValueError, match=r"^steps\[1\]\.config\.sizes\[1\] is .*, which JSON can't express"):
                await call({"name": "n", "steps": steps})


async def test_a_web_page_is_named_as_one_and_not_quoted() -> None:
    page = httpx.Response(404, html="<!DOCTYPE html><h1>Error response</h1>")
    async with client_of(page, httpx.Response(200, json={"hello": 1})) as client:
        with pytest.raises(RequestRefused, match=r"^404 Not Found: the response is a web page \(GET "):
            await client.get(ID)
        with pytest.raises(UnexpectedResponse, match=f"^the response to GET http://t.*{ID} isn't one of Stepwell's"):
            await client.get(ID)


async def test_pages_that_lead_to_themselves_end_a_list() -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        link = {"Link": '</?cursor=c>; rel="next"'}
        page: dict[str, Any] = {"workflows": [], "total": None, "skip": 0, "limit": 1}
        return httpx.Response(200, json=page | {"deliveries": [], "has_more": True}, headers=link)

    async with AsyncStepwell("http://t.local", transport=httpx.MockTransport(respond)) as client:
        assert await _all(client.deliveries(ID)) == []
        with pytest.raises(UnexpectedResponse, match="leads to itself"):
            await _all(client.list())


async def test_what_is_no_id_or_no_json_is_refused_with_its_type() -> None:
    async with client_of() as client:
        with pytest.raises(TypeError, match="an id is a UUID or text, not a dict"):
            await client.get({"id": ID})  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a type can't be part"):
            await client.create({"labels": object})
    async with client_of(httpx.Response(418)) as client:
        with pytest.raises(RequestRefused):
            await client.create(MappingProxyType({"labels": MappingProxyType({})}))
