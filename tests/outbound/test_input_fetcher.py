"""Inputs from the store, the web and the reference itself, against a server that misbehaves on request."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_network
from typing import Any

import pytest
from anyio import run_process

from providers.image_files import file_of, gradient
from stepwell.basics.errors import ArtifactError, ArtifactGone, AttemptError
from stepwell.basics.tenancy import FileScope
from stepwell.outbound.address_policy import AddressPolicy
from stepwell.outbound.http_client import retry_after_s
from stepwell.outbound.input_fetcher import HttpInputFetcher
from stepwell.outbound.sanitise import sanitised
from stepwell.outbound.ssrf_guard import guarded_client
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.providers import Blob, InputFetcher
from support.emulators.clock import skip_time

PNG = file_of(gradient())
FIELD = "base_image_url"
MAX_BYTES = 200_000
PATH = "media/0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b/result.png"
BROKEN_PATH = "media/0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b/broken.png"


class Shelf:
    """As much of `Artifacts` as inputs need, of a store that isn't on this machine."""

    async def local_path(self, path: str) -> str | None:  # noqa: ARG002 - the port's name
        return None

    @asynccontextmanager
    async def stream(self, path: str, part: tuple[int, int] | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        assert part is None
        if path == BROKEN_PATH:
            raise ArtifactError("could not be read: Input/output error")
        if path != PATH:
            raise ArtifactGone("gone")

        async def chunks() -> AsyncIterator[bytes]:
            yield PNG[:100]
            yield PNG[100:]

        yield chunks()


OURS = FileScope("ours")


async def size_of(path: str, scope: FileScope) -> int | None:
    return len(PNG) if scope == OURS else None


class Room:
    """A `FileMemory` that records what is asked for. It says of the first `waits` calls that they took a wait."""

    def __init__(self, waits: int = 0) -> None:
        self.waits, self.taken, self.given_back = waits, list[int](), list[int]()

    async def take_file(self, size: int) -> bool:
        self.taken.append(size)
        return len(self.taken) <= self.waits

    async def take_decoded(self, size: int) -> bool:
        self.taken.append(size)
        return False

    @contextmanager
    def for_request(self) -> Iterator[None]:
        before = len(self.taken)
        yield
        self.given_back += self.taken[before:]


def response(status: str, *headers: str, body: bytes = PNG, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


IMAGE = "Content-Type: image/png; charset=binary"
ANSWERS = {
    "/ok": response("200 OK", IMAGE),
    "/untyped": response("200 OK"),
    "/octets": response("200 OK", "Content-Type: application/octet-stream"),
    "/unsized": b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n" + PNG,
    "/html": response("200 OK", "Content-Type: text/html", body=b"<html>login</html>"),
    "/empty": response("200 OK", IMAGE, body=b""),
    "/gzip": response("200 OK", IMAGE, "Content-Encoding: gzip"),
    "/truncated": response("200 OK", IMAGE, length=len(PNG) + 10),
    "/announced": response("200 OK", IMAGE, body=b"", length=10**12),
    "/garbage": b"\x00\x01\x02 nonsense\r\n\r\n",
    "/redirect": response("302 Found", "Location: /ok", body=b""),
    "/304": response("304 Not Modified", body=b""),
    "/headers": b"HTTP/1.1 200 OK\r\nX-Padding: " + b"a" * 300_000 + b"\r\n\r\n",
    "/429": response("429 Too Many Requests", "Retry-After: 7"),
    "/503": response(
        "503 Service Unavailable",
        "Date: Wed, 25 Nov 2026 00:00:00 GMT",
        "Retry-After: Wed, 25 Nov 2026 00:02:00 GMT",
    ),
    "/nothing": b"",
} | {f"/{code}": response(f"{code} X") for code in (400, 401, 403, 404, 408, 410, 425, 500, 502, 504)}


class Server:
    """A loopback web server; `seen` holds the requests as they came."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.url = ""

    async def respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.seen.append(request)
        path = request.split()[1].partition("?")[0]
        try:
            if path == "/huge":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n")
                while True:
                    writer.write(b"x" * 65_536)
                    await writer.drain()
            if path == "/drip":
                writer.write(response("200 OK", IMAGE, body=b"", length=1_000))
                while True:
                    writer.write(b"x")
                    await writer.drain()
                    skip_time(1.0)
                    await asyncio.sleep(0)
            writer.write(ANSWERS[path])
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    listener = await asyncio.start_server(server.respond, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    yield server
    listener.close()


Fetch = Callable[..., Awaitable[Blob]]


@asynccontextmanager
async def fetcher() -> AsyncIterator[InputFetcher]:
    shelf: Any = Shelf()
    artifacts: Artifacts = shelf
    async with guarded_client(AddressPolicy([ip_network("127.0.0.0/8")])) as client:
        yield HttpInputFetcher(artifacts, size_of, client=client, max_bytes=MAX_BYTES, timeout_s=10.0)


@pytest.fixture
async def fetch() -> AsyncIterator[Fetch]:
    async with fetcher() as port:

        async def run(
            reference: str, field: str = FIELD, tenant: str | None = "ours", room: Room | None = None
        ) -> Blob:
            return await port.fetch(reference, field, FileScope(tenant), room or Room())

        yield run


async def refusal(call: Awaitable[Blob], *, retryable: bool) -> AttemptError:
    with pytest.raises(AttemptError) as caught:
        await call
    error, message = caught.value, str(caught.value)
    assert error.retryable is retryable
    assert not error.provider_fault
    assert message.startswith(FIELD)
    assert message.isprintable()
    assert len(message.encode()) <= 1_000
    return error


class TestArtifacts:
    async def test_an_artifact_of_the_tenant_is_read(self, fetch: Fetch) -> None:
        assert await fetch(PATH) == Blob(PNG, "image/png")

    @pytest.mark.parametrize("tenant", ["theirs", None])
    async def test_an_artifact_of_another_tenant_is_not_found(self, fetch: Fetch, tenant: str | None) -> None:
        theirs = await refusal(fetch(PATH, tenant=tenant), retryable=False)
        assert str(theirs) == f"{FIELD}: artifact '{PATH}' not found"

    @pytest.mark.parametrize(
        "path", ["media/", "media/gone.png", "media/\0", "media/é", "media/\ud800", "media/" + "x" * 9_999]
    )
    async def test_a_path_without_an_artifact_is_not_found(self, fetch: Fetch, path: str) -> None:
        assert "not found" in str(await refusal(fetch(path), retryable=False))

    async def test_an_error_of_the_artifact_store_is_retryable(self, fetch: Fetch) -> None:
        await refusal(fetch(BROKEN_PATH), retryable=True)


class TestFiles:
    @pytest.mark.parametrize("kind", ["artifact", "URL", "data URI"])
    async def test_another_process_reads_the_file_by_a_path_and_its_room_is_given_back(
        self, server: Server, kind: str
    ) -> None:
        data_uri = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
        reference = {"artifact": PATH, "URL": server.url + "/ok", "data URI": data_uri}[kind]
        room = Room()
        async with fetcher() as inputs, inputs.file(reference, FIELD, OURS, room) as path:
            assert (await run_process(["cat", path])).stdout == PNG
            assert room.given_back == room.taken != []

    @pytest.mark.parametrize(("path", "retryable"), [("media/gone.png", False), (BROKEN_PATH, True)])
    async def test_errors_are_those_of_fetch(self, path: str, *, retryable: bool) -> None:
        async with fetcher() as inputs:
            with pytest.raises(AttemptError, match=f"^{FIELD}") as caught:
                await inputs.file(path, FIELD, OURS, Room()).__aenter__()
        assert caught.value.retryable is retryable


class TestWeb:
    @pytest.mark.parametrize(
        ("path", "media_type"),
        [("/ok", "image/png"), ("/untyped", ""), ("/octets", "application/octet-stream"), ("/unsized", "image/png")],
    )
    async def test_an_image_is_downloaded_with_its_media_type(
        self, fetch: Fetch, server: Server, path: str, media_type: str
    ) -> None:
        assert await fetch(server.url + path) == Blob(PNG, media_type)

    async def test_the_request_contains_only_the_plain_headers(self, fetch: Fetch, server: Server) -> None:
        await fetch(server.url + "/ok?token=secret")
        (request,) = (text.lower() for text in server.seen)
        assert "accept-encoding: identity" in request
        assert "cookie" not in request
        assert "authorization" not in request

    @pytest.mark.parametrize(
        ("path", "why"),
        [
            *((f"/{code}", f"responded with {code}") for code in (400, 401, 403, 404, 410)),
            ("/redirect", "redirects are not followed"),
            ("/304", "responded with 304"),
            ("/huge", "larger than"),
            ("/announced", "larger than"),
            ("/html", "expected an image, got text/html"),
            ("/empty", "is empty"),
            ("/gzip", "compressed"),
        ],
    )
    async def test_errors_that_a_retry_cannot_change_are_not_retryable(
        self, fetch: Fetch, server: Server, path: str, why: str
    ) -> None:
        assert why in str(await refusal(fetch(server.url + path), retryable=False))
        assert len(server.seen) == 1

    @pytest.mark.parametrize(
        "path",
        [
            *(f"/{code}" for code in (408, 425, 429, 500, 502, 503, 504)),
            *("/truncated", "/garbage", "/headers", "/nothing"),
        ],
    )
    async def test_errors_that_a_retry_may_change_are_retryable(self, fetch: Fetch, server: Server, path: str) -> None:
        error = await refusal(fetch(server.url + path), retryable=True)
        assert error.retry_after_s == {"/429": 7, "/503": 120}.get(path)

    async def test_a_time_out_is_retryable(self, fetch: Fetch, server: Server) -> None:
        assert "took longer than 10 s" in str(await refusal(fetch(server.url + "/drip"), retryable=True))

    async def test_a_closed_port_is_retryable(self, fetch: Fetch, server: Server) -> None:
        listener = await asyncio.start_server(server.respond, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        listener.close()
        await listener.wait_closed()
        await refusal(fetch(f"http://127.0.0.1:{port}/ok"), retryable=True)

    async def test_only_image_fields_require_an_image_type(self, fetch: Fetch, server: Server) -> None:
        assert (await fetch(server.url + "/html", "document_url")).media_type == "text/html"

    async def test_messages_do_not_contain_the_query(self, fetch: Fetch, server: Server) -> None:
        error = await refusal(fetch(server.url + "/404?signature=secret#fragment"), retryable=False)
        assert "secret" not in str(error)

    @pytest.mark.parametrize("userinfo", ["user:secret@", "secret@", ":secret@", "user%3Asecret@"])
    async def test_a_password_in_the_url_is_refused_and_not_shown(
        self, fetch: Fetch, server: Server, userinfo: str
    ) -> None:
        error = await refusal(fetch(server.url.replace("//", "//" + userinfo) + "/ok"), retryable=False)
        assert "secret" not in str(error)
        assert server.seen == []

    @pytest.mark.parametrize(
        "url",
        [
            "http://",
            "https://",
            "http:///x",
            "http://[::1",
            "http://[::1]:99999/",
            "http://[::1]8080/",
            "http://[2606:4700:4700::1111]8080/",
            "http://[::ffff:1.2.3.4]x/",
            "http://[::1]@example.com/",
            "http://example.com:8_0/",
            "http://\u2100.com/",
            "http://a:b/",
            "http://\0/",
            "http://x\n/",
            "http://\ud800/",
            "http://xn--/",
            "http://" + "a" * 9_000,
            "http://" + "a" * 300 + "." + "b" * 300 + "/",
            "http://a..b/",
            "http://%00/",
            "http:// /",
        ],
        ids=ascii,
    )
    async def test_a_broken_url_is_refused(self, fetch: Fetch, url: str) -> None:
        with pytest.raises(AttemptError, match=r"^base_image_url: "):
            await fetch(url)


class TestDataUris:
    @pytest.mark.parametrize(
        "uri",
        [
            "data:image/png;base64," + base64.b64encode(PNG).decode(),
            "DATA:IMAGE/PNG;name=x.png;BASE64," + base64.b64encode(PNG).decode().rstrip("="),
            "data:image/png;base64," + base64.encodebytes(PNG).decode(),
            "data:image/png;base64," + base64.b64encode(PNG).decode().replace("+", "%2B").replace("=", "%3D"),
            "data:image/png," + "".join(f"%{byte:02x}" for byte in PNG),
        ],
        ids=["base64", "unpadded", "lines", "escaped", "percent"],
    )
    async def test_every_form_of_a_data_uri_is_read(self, fetch: Fetch, uri: str) -> None:
        assert await fetch(uri) == Blob(PNG, "image/png")

    @pytest.mark.parametrize(
        ("uri", "why"),
        [
            ("data:", "comma"),
            ("data:image/png;base64", "comma"),
            ("data:image/png;base64,", "empty"),
            ("data:image/png;base64,####", "decoded"),
            ("data:image/png;base64,AAAAA", "decoded"),
            ("data:image/png,\ud800", "decoded"),
            ("data:text/html,<b>", "expected an image"),
            ("data:image/png," + "x" * (MAX_BYTES + 1), "larger than"),
            ("data:image/png;base64," + "A" * (4 * MAX_BYTES + 1), "larger than"),
            ("data:image/png;base64," + "AAAA" * MAX_BYTES, "larger than"),
        ],
    )
    async def test_a_broken_data_uri_is_refused(self, fetch: Fetch, uri: str, why: str) -> None:
        assert why in str(await refusal(fetch(uri), retryable=False))


@pytest.mark.parametrize(
    "reference",
    [
        *("", " ", "x", "/etc/passwd", "file:///etc/passwd", "ftp://x/y", "javascript:alert(1)", "gopher://x", "//x/y"),
        *("media", "/media/x", "../media/x", "httpx://x", "http:/x", "blob:http://x", "\0", "\ud800", "s3://b/k"),
        *("x" * 100_000, "x?secret=1", "http:\\\\x"),
    ],
    ids=lambda text: ascii(text[:20]),
)
async def test_other_references_are_refused(fetch: Fetch, reference: str) -> None:
    assert "secret" not in str(await refusal(fetch(reference), retryable=False))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *(("7", 7), ("0", 0), ("1000000000", 3_600), ("9" * 5_000, 3_600)),
        *(("-5", None), ("1.5", None), ("soon", None), ("", None), ("\u0667", None)),
        *(("Wed, 25 Nov 2026 00:01:00 GMT", 60), ("Tue, 24 Nov 2026 00:00:00 GMT", 0)),
        *(("Wed, 25 Nov 2026 09:00:00 GMT", 3_600), ("Wed, 99 Nov 2026 00:01:00 GMT", None)),
    ],
)
def test_retry_after_is_read_in_seconds_and_as_a_date(value: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": value, "date": "Wed, 25 Nov 2026 00:00:00 GMT"}) == seconds


def test_a_retry_after_date_without_a_date_header_is_ignored() -> None:
    assert retry_after_s({"retry-after": "Wed, 25 Nov 2026 00:01:00 GMT"}) is None


def test_control_characters_and_surrogates_are_replaced_and_the_length_is_bounded() -> None:
    assert sanitised("a\0b\ud800c\x1b[2J\u202e") == "a b c [2J "
    assert len(sanitised("é" * 10_000).encode()) <= 1_000
    assert sanitised("日本" * 2, 7) == "日本"


class TestRoom:
    async def test_an_artifact_has_its_room_before_it_is_read(self, fetch: Fetch) -> None:
        room = Room()
        await fetch(PATH, room=room)
        assert room.taken == [len(PNG)]

    async def test_a_url_has_room_for_the_length_that_it_announces(self, fetch: Fetch, server: Server) -> None:
        room = Room()
        await fetch(f"{server.url}/ok", room=room)
        assert (room.taken, len(server.seen)) == ([len(PNG)], 1)

    async def test_a_url_is_requested_again_after_a_wait_so_that_the_server_need_not_wait(
        self, fetch: Fetch, server: Server
    ) -> None:
        room = Room(waits=1)
        assert (await fetch(f"{server.url}/ok", room=room)).data == PNG
        assert (room.taken, len(server.seen)) == ([len(PNG)], 2)

    async def test_a_url_without_a_length_gets_room_as_it_grows(self, fetch: Fetch, server: Server) -> None:
        room = Room()
        assert (await fetch(f"{server.url}/unsized", room=room)).data == PNG
        assert len(PNG) <= sum(room.taken) <= MAX_BYTES

    async def test_what_is_too_large_gets_no_room(self, fetch: Fetch, server: Server) -> None:
        room = Room()
        await refusal(fetch(f"{server.url}/announced", room=room), retryable=False)
        assert room.taken == []

    async def test_a_data_uri_has_room_before_it_is_decoded(self, fetch: Fetch) -> None:
        room, uri = Room(), "data:image/png;base64," + base64.b64encode(PNG).decode()
        await fetch(uri, room=room)
        assert room.taken == [len(uri)]

    async def test_the_wait_for_room_is_not_the_servers_time(self, fetch: Fetch, server: Server) -> None:
        class SlowRoom(Room):
            async def take_file(self, size: int) -> bool:
                asyncio.get_running_loop().call_soon(skip_time, 60.0)
                await asyncio.sleep(60)
                return await super().take_file(size)

        assert (await fetch(f"{server.url}/ok", room=SlowRoom())).data == PNG
