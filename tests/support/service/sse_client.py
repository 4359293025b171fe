"""A client of event streams that reads when it is told to: without a socket, or with a real one."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from litestar import Litestar

from stepwell.runtime.asgi_scope import http_scope

_WITHIN_S = 120


@dataclass
class Frame:
    """What stands between two blank lines. *text* is the data as it came."""

    type: str = ""
    id: str | None = None
    text: str | None = None
    retry: int | None = None
    comments: list[str] = field(default_factory=list)

    @property
    def data(self) -> Any:
        assert self.text is not None
        return json.loads(self.text)


def parsed(block: str) -> Frame:
    """By the standard: one colon, and one space after it that doesn't count."""
    frame = Frame()
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                frame.comments.append(value)
            case "event":
                frame.type = value
            case "id":
                frame.id = value
            case "retry":
                frame.retry = int(value)
            case "data":
                assert frame.text is None, "data is one line"
                frame.text = value
            case _:
                raise AssertionError(f"no such field: {line}")
    return frame


class Reader:
    """Frames out of *more*, which gives bytes, and none at the end."""

    def __init__(self) -> None:
        self._rest = ""
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    async def any_frame(self) -> Frame | None:
        """The next one, comments too; null at the end."""
        while "\n\n" not in self._rest:
            async with asyncio.timeout(_WITHIN_S):
                more = await self.received.get()
            if not more:
                assert self._rest == "", "cut off in a frame"
                self.received.put_nowait(b"")
                return None
            self._rest += more.decode()
        block, _, self._rest = self._rest.partition("\n\n")
        return parsed(block)

    async def frame(self) -> Frame | None:
        """The next event."""
        while (frame := await self.any_frame()) is not None:
            if frame.text is not None:
                return frame
        return None

    async def frames(self, number: int) -> list[Frame]:
        found: list[Frame] = []
        for _ in range(number):
            frame = await self.frame()
            assert frame is not None, f"ended after {len(found)} events"
            found.append(frame)
        return found

    async def rest(self) -> list[Frame]:
        """All events up to the end."""
        frames: list[Frame] = []
        while (frame := await self.frame()) is not None:
            frames.append(frame)
        return frames

    async def all_of_it(self) -> list[Frame]:
        """All frames up to the end, comments too."""
        frames: list[Frame] = []
        while (frame := await self.any_frame()) is not None:
            frames.append(frame)
        return frames


class AsgiStream(Reader):
    """While `takes` is clear the connection takes nothing, as that of a client that doesn't read."""

    def __init__(self) -> None:
        super().__init__()
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.takes, self.gone, self.complete = asyncio.Event(), asyncio.Event(), False
        self.takes.set()
        self.sends = 0
        self._asked = False

    async def receive(self) -> Any:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        self.sends += 1
        await self.takes.wait()
        if body := message["body"]:
            self.received.put_nowait(bytes(body))
        self.complete = not message["more_body"]

    async def text(self) -> str:
        """Of an answer that is no stream."""
        found = b""
        while chunk := await self.received.get():
            found += chunk
        return found.decode()


@asynccontextmanager
async def streaming(
    app: Litestar, path: str, token: str | None, headers: Mapping[str, str] | None = None, *, takes: bool = True
) -> AsyncIterator[AsgiStream]:
    """GET *path*, without a socket. At the end the client goes away, and the app must be done with it at once."""
    stream = AsgiStream()
    if not takes:
        stream.takes.clear()
    sent = {"accept": "text/event-stream", "host": "t.local"} | dict(headers or {})
    if token is not None:
        sent["authorization"] = f"Bearer {token}"
    encoded = [(name.encode(), value.encode()) for name, value in sent.items()]
    scope: Any = http_scope("GET", path.encode(), encoded, server=("t.local", 80), client=("t.local", 1))

    async def serve() -> None:
        try:
            await app(scope, stream.receive, stream.send)
        finally:
            stream.received.put_nowait(b"")

    async with asyncio.TaskGroup() as group:
        serving = group.create_task(serve(), name="stream")
        async with asyncio.timeout(_WITHIN_S):
            while stream.status is None and not serving.done():
                await asyncio.sleep(0)
        try:
            yield stream
        finally:
            stream.gone.set()
            stream.takes.set()
            async with asyncio.timeout(_WITHIN_S):
                await asyncio.wait({serving})


@asynccontextmanager
async def connected(port: int, path: str, token: str | None) -> AsyncIterator["SocketStream"]:
    """GET *path* over a socket."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        authorization = "" if token is None else f"Authorization: Bearer {token}\r\n"
        head = f"GET {path} HTTP/1.1\r\nHost: t.local\r\nAccept: text/event-stream\r\n{authorization}\r\n"
        writer.write(head.encode())
        async with asyncio.timeout(_WITHIN_S):
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        yield SocketStream(reader, int(lines[0].split(" ")[1]), lines[1:])
    finally:
        writer.transport.abort()


class SocketStream(Reader):
    def __init__(self, reader: asyncio.StreamReader, status: int, headers: list[str]) -> None:
        super().__init__()
        self.status, self.headers, self._reader = status, headers, reader

    async def any_frame(self) -> Frame | None:
        async with asyncio.timeout(_WITHIN_S):
            while "\n\n" not in self._rest:
                size = int((await self._reader.readline()).strip() or b"0", 16)
                chunk = await self._reader.readexactly(size + 2)
                if size == 0:
                    return None
                self._rest += chunk[:-2].decode()
        block, _, self._rest = self._rest.partition("\n\n")
        return parsed(block)


def numbers(frames: list[Frame]) -> list[int]:
    return [int(frame.id or 0) for frame in frames]
