"""The response of an ASGI app in this process, collected as it is sent."""

import asyncio
from typing import Any


class CollectedResponse:
    """The response to a request with the body *body*. `receive` and `send` are what the app is called with."""

    def __init__(self, body: bytes) -> None:
        self._request_body: bytes | None = body
        self._parts: list[bytes] = []
        self._ended = asyncio.Event()
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []

    @property
    def body(self) -> bytes:
        return b"".join(self._parts)

    def header(self, name: bytes) -> str | None:
        """Return the first header *name*, which is in lower case."""
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == name), None)

    async def receive(self) -> Any:
        """Return the request, then a disconnect once the response is complete."""
        if self._request_body is None:
            await self._ended.wait()
            return {"type": "http.disconnect"}
        body, self._request_body = self._request_body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        """Take a part of the response."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            await self._add(message.get("body", b""))
            if not message.get("more_body", False):
                self._ended.set()

    async def _add(self, part: bytes) -> None:
        self._parts.append(part)
