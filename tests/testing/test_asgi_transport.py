"""The transport calls an ASGI app as a server would: parts at once, disconnects, deadlines and errors."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from stepwell.testing.asgi_transport import AsgiApp, open_transport

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}


@asynccontextmanager
async def client_of(app: AsgiApp, timeout_s: float = 5) -> AsyncIterator[httpx.AsyncClient]:
    async with open_transport(app) as transport, httpx.AsyncClient(transport=transport, timeout=timeout_s) as client:
        yield client


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def test_a_part_is_read_before_the_app_sends_the_next() -> None:
    read = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(part(b"one"))
        await read.wait()
        await send(part(b"two", more=False))

    async with client_of(app) as client, client.stream("GET", "http://test/") as response:
        parts = response.aiter_raw()
        assert await anext(parts) == b"one"
        read.set()
        assert [each async for each in parts] == [b"two"]


async def test_an_app_that_is_faster_than_its_reader_waits() -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send(START)
        for _ in range(100):
            await send(part(b"x"))
            sent += 1
        await send(part(b"", more=False))

    async with client_of(app) as client, client.stream("GET", "http://test/") as response:
        for _ in range(200):
            await asyncio.sleep(0)
        assert sent < 20
        assert len(await response.aread()) == 100


async def test_the_app_is_notified_when_the_reader_closes_the_response() -> None:
    received = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await send(START)
        await send(part(b"one"))
        assert await receive() == {"type": "http.disconnect"}
        await send(part(b"after the end"))
        received.set()

    async with client_of(app) as client:
        async with client.stream("GET", "http://test/") as response:
            assert await anext(response.aiter_raw()) == b"one"
        async with asyncio.timeout(60):
            await received.wait()


async def test_a_request_that_waits_when_the_transport_ends_fails_and_is_not_cancelled() -> None:
    begun = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass

    async with asyncio.TaskGroup() as group:
        async with open_transport(app) as transport:
            client = httpx.AsyncClient(transport=transport)
            request = group.create_task(_error_of(client.get("http://test/")), name="request")
            await begun.wait()
        later = await _error_of(client.get("http://test/"))
    assert (type(request.result()), type(later)) == (httpx.ReadError, httpx.ConnectError)


async def test_a_body_that_is_read_when_the_transport_ends_is_not_taken_for_complete() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(part(b"one"))
        while (await receive())["type"] != "http.disconnect":
            pass

    async with open_transport(app) as transport:
        client = httpx.AsyncClient(transport=transport)
        response = await client.send(client.build_request("GET", "http://test/"), stream=True)
        parts = response.aiter_raw()
        assert await anext(parts) == b"one"
    with pytest.raises(httpx.ReadError):
        await anext(parts)


async def _error_of(awaitable: Awaitable[object]) -> BaseException | None:
    try:
        await awaitable
    except BaseException as error:  # noqa: BLE001 - returned
        return error
    return None


async def test_a_request_without_a_response_ends_at_its_deadline() -> None:
    disconnected = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        disconnected.set()

    async with client_of(app, timeout_s=0.05) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post("http://test/", content=b"body")
        async with asyncio.timeout(60):
            await disconnected.wait()


async def test_a_body_that_stalls_ends_at_the_deadline() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(part(b"one"))
        while (await receive())["type"] != "http.disconnect":
            pass

    async with client_of(app, timeout_s=0.05) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get("http://test/")


async def test_an_error_of_the_app_is_an_error_of_the_response_with_its_cause() -> None:
    async def before(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("broken")

    async def within(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(part(b"one"))
        raise RuntimeError("broken")

    for app in (before, within):
        async with client_of(app) as client:
            with pytest.raises(httpx.RemoteProtocolError, match="the app raised RuntimeError: broken"):
                await client.get("http://test/")


async def test_the_app_reads_the_request_as_from_a_server() -> None:
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["more_body"]:
            body += message["body"]
        seen.update(scope, body=body)
        await send(START)
        await send(part(b"ok", more=False))

    async def content() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with client_of(app) as client:
        response = await client.put("http://test/a%20b?x=1", content=content(), headers={"X-Name": "value"})
    assert (response.text, seen["body"], seen["method"]) == ("ok", b"onetwo", "PUT")
    assert (seen["path"], seen["raw_path"], seen["query_string"]) == ("/a b", b"/a%20b", b"x=1")
    assert (b"x-name", b"value") in seen["headers"]


async def test_an_error_of_the_user_is_raised_as_it_is() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(KeyError):
        async with open_transport(app):
            raise KeyError("a test's")
