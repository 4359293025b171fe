"""What no HTTP client would send, over a real socket: never a 5xx, nothing stored, and the next request works."""

import asyncio

import pytest

from support.providers.configured_by_steps import WORKFLOWS
from support.service.listening_service import listening
from support.service.live_service import Service, token
from support.service.raw_bodies import raw

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY = raw()
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
HEAD = (
    f"POST {WORKFLOWS}?start=false HTTP/1.1\r\nHost: t.local\r\nAuthorization: Bearer {token()}\r\n"
    "Content-Type: application/json\r\n"
).encode()
GET = HEAD.replace(b"POST", b"GET").replace(b"?start=false", b"?limit=1")
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CUT_OFF = b""  # the server may just close the connection


def _chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


async def status_of(port: int, data: bytes, *, ends: bool = False, within_s: float = 20) -> bytes:
    """Return the status of the response to *data*; `CUT_OFF` without one. With *ends*, the client ends its side."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(within_s):
            writer.write(data)
            if ends:
                writer.write_eof()
            line = await reader.readline()
    except ConnectionError:
        return CUT_OFF
    finally:
        writer.close()
    return line.split(b" ")[1] if line else CUT_OFF


CASES = [
    ("sound", HEAD + LENGTH + b"\r\n" + BODY, {b"201"}),
    ("sound, in chunks", HEAD + CHUNKED + b"\r\n" + _chunks(BODY[:7], BODY[7:]), {b"201"}),
    ("no body, no length", HEAD + b"\r\n", {b"422"}),
    ("a chunk without a size", HEAD + CHUNKED + b"\r\nzz\r\n" + BODY, {b"400"}),
    ("a negative chunk", HEAD + CHUNKED + b"\r\n-1\r\n" + BODY, {b"400"}),
    ("a chunk that is too long", HEAD + CHUNKED + b"\r\nffffffffffffffffff\r\nx", {b"400"}),
    ("a chunk that never ends", HEAD + CHUNKED + b"\r\nff\r\n{", {b"400", CUT_OFF}),
    ("half a body", HEAD + LENGTH + b"\r\n" + BODY[:9], {b"400", CUT_OFF}),
    ("a negative length", HEAD + b"Content-Length: -1\r\n\r\n" + BODY, {b"400"}),
    ("a length in words", HEAD + b"Content-Length: many\r\n\r\n" + BODY, {b"400"}),
    ("two lengths", HEAD + LENGTH + b"Content-Length: 3\r\n\r\n" + BODY, {b"400"}),
    ("chunks and a length", HEAD + CHUNKED + LENGTH + b"\r\n" + _chunks(BODY), {b"400"}),
    ("another transfer encoding", HEAD + b"Transfer-Encoding: gzip\r\n\r\n" + BODY, {b"400", b"415", b"422"}),
    ("a length beyond all bounds", HEAD + b"Content-Length: 99999999999999999999\r\n\r\n" + BODY, {b"400"}),
    ("17 MiB announced", HEAD + b"Content-Length: 17825792\r\n\r\n" + BODY, {b"413"}),
    ("NUL in a header", GET + b"X-A: \x00\r\n\r\n", {b"400"}),
    ("bytes in a header", GET + b"X-A: \xff\xfe\r\n\r\n", {b"200"}),
    ("a header without a colon", GET + b"nonsense\r\n\r\n", {b"400"}),
    ("a folded header", GET + b"X-A: b\r\n c\r\n\r\n", {b"200", b"400"}),
    ("half a megabyte of headers", GET + b"X-A: " + b"x" * 500_000 + b"\r\n\r\n", {b"200", b"400", b"431", CUT_OFF}),
    ("no such method", b"NOPE" + GET[3:] + b"\r\n", {b"400", b"405"}),
    ("a path with a space", GET.replace(b"?limit", b"a b?limit") + b"\r\n", {b"400", b"404"}),
    ("a path with NUL", GET.replace(b"?limit", b"\x00?limit") + b"\r\n", {b"400", b"404"}),
    ("raw bytes in the path", GET.replace(b"?limit", b"\xff\xfe?limit") + b"\r\n", {b"400", b"404"}),
    ("a path without a slash", GET.replace(b"GET /", b"GET ") + b"\r\n", {b"400", b"404"}),
    ("an absolute address", GET.replace(b"GET /", b"GET http://elsewhere/") + b"\r\n", {b"200", b"400", b"404"}),
    ("HTTP 0.9", b"GET /\r\n\r\n", {b"400", b"200"}),
    ("HTTP 9.9", GET.replace(b"HTTP/1.1", b"HTTP/9.9") + b"\r\n", {b"400", b"505"}),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64, {b"400"}),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {b"400", CUT_OFF}),
    ("nothing at all", b"", {CUT_OFF}),
    ("only blank lines", b"\r\n" * 1_000, {b"400", CUT_OFF}),
]


async def test_malformed_http_is_refused_and_the_service_goes_on(live: Service) -> None:
    responses: dict[str, bytes] = {}
    async with listening(live) as port:
        for name, data, expected in CASES:
            responses[name] = await status_of(port, data, ends=CUT_OFF in expected)
            assert await status_of(port, GET + b"\r\n") == b"200", name
    wrong = {name: responses[name] for name, _, expected in CASES if responses[name] not in expected}
    assert wrong == {}
    found = (await live.client.get(WORKFLOWS)).json()
    assert found["total"] == sum(status == b"201" for status in responses.values()) == 2
