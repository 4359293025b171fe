"""What the emulator of ComfyUI speaks besides plain HTTP: forms, and sockets under names that their clients chose."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from support.emulators.base import Call


class Sockets:
    """`open` are those that are, by client."""

    def __init__(self) -> None:
        self.open: dict[str, tuple[ServerProtocol, asyncio.StreamWriter]] = {}

    @contextmanager
    def accepted(self, call: Call, client_id: str, writer: asyncio.StreamWriter) -> Iterator[ServerProtocol]:
        """Shake hands. Another of that client loses its place."""
        protocol = ServerProtocol()
        head = "".join(f"{name}: {value}\r\n" for name, value in call.headers.items())
        protocol.receive_data(f"GET {call.path}?{urlencode(call.query)} HTTP/1.1\r\n{head}\r\n".encode())
        (request,) = protocol.events_received()
        assert isinstance(request, Request)
        protocol.send_response(protocol.accept(request))
        writer.write(b"".join(protocol.data_to_send()))
        self.open[client_id] = (protocol, writer)
        try:
            yield protocol
        finally:
            if self.open.get(client_id) == (protocol, writer):
                del self.open[client_id]

    async def serve(self, protocol: ServerProtocol, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the client goes; what it says is left unheard."""
        while protocol.state is State.OPEN and (data := await reader.read(1 << 16)):
            protocol.receive_data(data)
            assert all(isinstance(event, Frame) for event in protocol.events_received())
            writer.write(b"".join(protocol.data_to_send()))

    def tell(self, kind: str, data: Mapping[str, Any], client_id: str | None = None) -> None:
        """Send a message to one client, or to all."""
        self.send(json.dumps({"type": kind, "data": data}), client_id)

    def send(self, message: str | bytes, client_id: str | None = None) -> None:
        for sid, (protocol, writer) in list(self.open.items()):
            if client_id in (None, sid) and protocol.state is State.OPEN and not writer.is_closing():
                if isinstance(message, str):
                    protocol.send_text(message.encode())
                else:
                    protocol.send_binary(message)
                writer.write(b"".join(protocol.data_to_send()))

    def cut(self) -> None:
        """All connections are lost."""
        for _, writer in self.open.values():
            writer.transport.abort()


def form_of(call: Call) -> Iterator[tuple[str, tuple[str, bytes]]]:
    """The fields of a form: the name of each, its file's name, and what is in it."""
    boundary = call.headers["content-type"].partition("boundary=")[2].encode()
    for part in call.body.split(b"--" + boundary)[1:-1]:
        head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        about = dict(item.split("=", 1) for item in head.decode().splitlines()[0].split("; ")[1:])
        yield about["name"].strip('"'), (about.get("filename", "").strip('"'), data.removesuffix(b"\r\n"))
