"""Files of the caller: what is sent is the file as its size says, and a download appears when it is complete."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from client.responses import ARTIFACT, PATH
from stepwell.client import AsyncStepwell, StepwellError


def uploading(sent: list[httpx.Request]) -> AsyncStepwell:
    async def respond(request: httpx.Request) -> httpx.Response:
        await request.aread()
        sent.append(request)
        return httpx.Response(507)

    return AsyncStepwell("http://t.local", transport=httpx.MockTransport(respond))


@pytest.mark.parametrize("size", [4, 600_000], ids=["shorter", "longer"])
async def test_a_file_that_changes_while_it_is_sent_is_reported_at_once(size: int, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(bytes(300_000))

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            assert isinstance(request.stream, httpx.AsyncByteStream)
            async for _ in request.stream:
                os.truncate(path, size)
            raise AssertionError("all was sent")

    async with AsyncStepwell("http://t.local", transport=Transport()) as client:
        with pytest.raises(StepwellError, match=r"a\.txt has changed while it was sent"):
            await client.upload(path)


async def test_a_pipe_is_sent_without_a_size(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    sent: list[httpx.Request] = []
    async with uploading(sent) as client, asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(path.write_bytes, b"content"), name="writer of the pipe")
        with pytest.raises(StepwellError, match="507"):
            await client.upload(path)
    assert (sent[0].content, sent[0].headers.get("Content-Length")) == (b"content", None)


async def test_an_empty_file_is_sent_with_its_size(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    sent: list[httpx.Request] = []
    async with uploading(sent) as client:
        with pytest.raises(StepwellError, match="507"):
            await client.upload(tmp_path / "empty")
    assert (sent[0].content, sent[0].headers["Content-Length"]) == (b"", "0")


async def test_what_is_no_content_is_refused_with_what_is() -> None:
    def parts() -> Iterator[bytes]:
        yield b"x"

    async with uploading([]) as client:
        for content in (parts(), 7, None):
            with pytest.raises(TypeError, match="an upload is a path, bytes or a file"):
                await client.upload(content)  # type: ignore[arg-type]


async def test_all_uploads_are_listed_although_each_is_deleted_or_others_come() -> None:
    paths = [f"media/{i}/a" for i in range(250)]

    def respond(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            paths.remove(request.url.path.removeprefix("/api/v1/artifacts/"))
            return httpx.Response(200, json=ARTIFACT)
        skip = int(request.url.params["skip"])
        page = [ARTIFACT | {"path": path} for path in paths[skip : skip + 100]]
        return httpx.Response(200, json={"artifacts": page, "total": len(paths), "skip": skip, "limit": 100})

    async with AsyncStepwell("http://t.local", transport=httpx.MockTransport(respond)) as client:
        listed = []
        async for upload in client.uploads():
            listed.append(upload.path)
            if len(listed) == 50:
                paths.insert(0, "media/new/a")
        assert listed == paths[1:]
        async for upload in client.uploads():
            await client.delete_upload(upload.path)
    assert paths == []


def downloading(content: Any) -> AsyncStepwell:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=content()))
    return AsyncStepwell("http://t.local", transport=transport, retry_s=0)


def texts_in(folder: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in folder.iterdir()}


async def test_two_downloads_into_one_file_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    both = asyncio.Barrier(2)
    names = iter(b"ab")

    async def content() -> AsyncIterator[bytes]:
        name = bytes([next(names)])
        for _ in range(4):
            await both.wait()
            yield name * 1000

    async with downloading(content) as client:
        await asyncio.gather(client.download_to(PATH, tmp_path), client.download_to(PATH, tmp_path))
    assert (tmp_path / "a.txt").read_bytes() in (b"a" * 4000, b"b" * 4000)
    assert texts_in(tmp_path).keys() == {"a.txt"}


async def test_a_download_that_fails_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "a.txt.part").write_text("mine")

    async def content() -> AsyncIterator[bytes]:
        yield b"new"
        raise httpx.ReadError("lost")

    async with downloading(content) as client:
        with pytest.raises(StepwellError):
            await client.download_to(PATH, tmp_path)
        for name in ("media/7/..", "media/7/"):
            with pytest.raises(ValueError, match="no name of a file"):
                await client.download_to(name, tmp_path)
        with pytest.raises(StepwellError):
            await client.download_outputs(PATH.split("/")[1], tmp_path)
    assert texts_in(tmp_path) == {"a.txt": "old", "a.txt.part": "mine"}


async def test_a_forked_process_has_connections_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    connections: list[asyncio.StreamWriter] = []
    pools: list[httpx.AsyncClient] = []

    class Pool(httpx.AsyncClient):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            pools.append(self)

    monkeypatch.setattr("stepwell.client.asynchronous.connection.httpx.AsyncClient", Pool)

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with AsyncStepwell(url) as client:
            await client.openapi()
            await client.openapi()
            assert len(connections) == 1
            monkeypatch.setattr("stepwell.client.asynchronous.connection.getpid", lambda: -1)
            await client.openapi()
            await pools[0].aclose()  # a child closes its copies without a word when they are collected
        assert len(connections) == 2
        for writer in connections:
            writer.transport.abort()
