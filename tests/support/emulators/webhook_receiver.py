"""A receiver of webhooks on loopback, with a ledger of all that has come to it."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook

from support.providers.scripted import eventually
from support.service.live_service import WEBHOOK_SECRET

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
# In place of a response.
HANG, CLOSE = b"hang", b"close"


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def payload(self) -> Any:
        return json.loads(self.body)

    def verified(self, secret: str = WEBHOOK_SECRET) -> Any:
        """What it says, by the standard's own library, which raises if the signature doesn't hold."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class WebhookReceiver:
    """`responses` are taken one a request, then `response`; a `drip` is sent byte by byte after each, for ever."""

    host: str = "127.0.0.1"
    port: int = 0
    response: bytes = OK
    drip: bytes = b""
    responses: list[bytes] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    busy: int = 0
    peak: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    on_request: Callable[[Received], object] = lambda _: None

    def url(self, path: str = "/hook", host: str | None = None) -> str:
        return f"http://{host or self.host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        received = Received(head[0].split(" ")[1], headers, body)
        self.received.append(received)
        self.on_request(received)
        self.busy += 1
        self.peak = max(self.peak, self.busy)
        try:
            return await self._respond(writer)
        finally:
            self.busy -= 1

    async def _respond(self, writer: asyncio.StreamWriter) -> bool:
        response = self.responses.pop(0) if self.responses else self.response
        if response == HANG:
            await self.gate.wait()
            response = OK
        if response == CLOSE:
            return False
        writer.write(response)
        await writer.drain()
        while self.drip:
            writer.write(self.drip)
            await writer.drain()
            await asyncio.sleep(0.01)
        return True

    def of(self, workflow_id: str) -> list[Received]:
        return [one for one in self.received if workflow_id.replace("-", "") in one.id]

    def times(self, ids: Iterable[str]) -> list[int]:
        counted = Counter(one.id for one in self.received)
        return [counted[each] for each in ids]

    async def until(self, count: int, workflow_id: str | None = None) -> Sequence[Received]:
        def enough() -> bool:
            return len(self.received if workflow_id is None else self.of(workflow_id)) >= count

        await eventually(enough, f"{count} webhooks came")
        return self.received if workflow_id is None else self.of(workflow_id)


def response_of(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


@asynccontextmanager
async def running_sink(host: str = "127.0.0.1", **settings: Any) -> AsyncIterator[WebhookReceiver]:
    sink = WebhookReceiver(host=host, **settings)
    server = await asyncio.start_server(sink.serve, host, 0)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        sink.gate.set()
        sink.drip = b""
        server.close()
