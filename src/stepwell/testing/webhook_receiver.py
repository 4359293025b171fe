"""A receiver of webhooks on loopback, which verifies their signatures."""

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec import Struct, json
from standardwebhooks import Webhook

WEBHOOK_SECRET = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cyBvZiBhIHByb2plY3Q="  # noqa: S105 - it protects nothing
_HOST = "127.0.0.1"
_MAX_BODY = 1024 * 1024
_OK, _UNAUTHORIZED = 204, 401
_POLL_S = 0.05
# `RunningStepwell.failure_of` of each service that runs in this process.
failure_lookups: list[Callable[[UUID | None, str], Awaitable[str | None]]] = []


class ReceivedWebhook(Struct, frozen=True, kw_only=True):
    """One delivery. `payload` is the decoded body: `type`, `timestamp` and `data`."""

    id: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    payload: Mapping[str, Any]
    status: int  # of the response to it

    @property
    def type(self) -> str:
        return str(self.payload["type"])

    @property
    def workflow_id(self) -> UUID | None:
        """The workflow that the webhook is about; None if its data names none."""
        data = self.payload["data"]
        value = data.get("id") or data.get("workflow_id")
        return None if value is None else UUID(value)


class WebhookReceiver:
    """Receives webhooks at `url`, or at any other path of it. `received` has all whose signature holds.

    Deliveries with a wrong signature are in `refused`, and get a 401.
    """

    def __init__(self, secret: str) -> None:
        self.received: list[ReceivedWebhook] = []
        self.refused: list[bytes] = []
        self.url = ""
        self._signer = Webhook(secret)
        self._statuses: list[int] = []
        self._unread: list[ReceivedWebhook] = []
        self._changed = asyncio.Condition()
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def respond_with(self, status: int, *, times: int = 1) -> None:
        """Give the next deliveries this status, before they get 204 again. Stepwell repeats those without a 2xx."""
        self._statuses += [status] * times

    async def wait(
        self, event_type: str | None = None, *, workflow_id: UUID | str | None = None, within_s: float = 10.0
    ) -> ReceivedWebhook:
        """Return the next webhook that no other call has returned: of *event_type* and of the workflow; None: of any.

        Raises TimeoutError after *within_s* seconds of real time, and RuntimeError with the workflow's error as soon
        as it has FAILED and no webhook is still to come. Without *workflow_id*, that holds for all workflows whose
        webhooks go to this receiver.
        """
        wanted_id = None if workflow_id is None else UUID(str(workflow_id))

        def matches(webhook: ReceivedWebhook) -> bool:
            return event_type in (None, webhook.type) and wanted_id in (None, webhook.workflow_id)

        try:
            async with asyncio.timeout(within_s):
                while True:
                    failure = await self._failure(wanted_id)  # first: what was sent until then is received now
                    async with self._changed:
                        if (webhook := next(filter(matches, self._unread), None)) is not None:
                            self._unread.remove(webhook)
                            return webhook
                        if failure is not None:
                            raise RuntimeError(failure)
                        with suppress(TimeoutError):
                            await asyncio.wait_for(self._changed.wait(), _POLL_S)
        except TimeoutError:
            got = ", ".join(each.type for each in self.received) or "none"
            refused = f", and {len(self.refused)} with a wrong signature" if self.refused else ""
            raise TimeoutError(f"no such webhook within {within_s:g} s; received: {got}{refused}") from None

    async def _failure(self, workflow_id: UUID | None) -> str | None:
        """Return why no webhook comes any more; None if one may come."""
        for lookup in failure_lookups:
            if (failure := await lookup(workflow_id, self.url)) is not None:
                return failure
        return None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, until it is closed."""
        asyncio_task = asyncio.current_task()
        assert asyncio_task is not None
        self._connections[asyncio_task] = writer
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    status = await self._receive(await _read_request(reader))
                    writer.write(f"HTTP/1.1 {status} -\r\nContent-Length: 0\r\n\r\n".encode())
                    await writer.drain()
        finally:
            del self._connections[asyncio_task]
            writer.close()

    async def close(self) -> None:
        """Close the connections, and wait until their asyncio tasks have ended."""
        for writer in self._connections.values():
            writer.transport.abort()
        if self._connections:
            await asyncio.wait(list(self._connections))

    async def _receive(self, request: "_Request") -> int:
        if not self._is_signed(request):
            self.refused.append(request.body)
            return _UNAUTHORIZED
        status = self._statuses.pop(0) if self._statuses else _OK
        webhook = ReceivedWebhook(
            id=request.headers["webhook-id"],
            path=request.path,
            headers=request.headers,
            body=request.body,
            payload=json.decode(request.body),
            status=status,
        )
        async with self._changed:
            self.received.append(webhook)
            self._unread.append(webhook)
            self._changed.notify_all()
        return status

    def _is_signed(self, request: "_Request") -> bool:
        """Return whether a signature is right. Its time isn't compared with the real time, because clocks may move."""
        try:
            at = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
            expected = self._signer.sign(request.headers["webhook-id"], at, request.body.decode())
            signatures = request.headers["webhook-signature"].split()
        except (KeyError, ValueError, OverflowError, OSError):
            return False
        return any(hmac.compare_digest(expected.encode(), each.encode()) for each in signatures)


class _Request(Struct):
    path: str
    headers: dict[str, str]
    body: bytes


async def _read_request(reader: asyncio.StreamReader) -> _Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    length = int(headers.get("content-length", "0"))
    if length > _MAX_BODY:
        raise ConnectionError("the body is too long")
    return _Request(head[0].split(" ")[1], headers, await reader.readexactly(length))


@asynccontextmanager
async def webhooks(secret: str = WEBHOOK_SECRET) -> AsyncIterator[WebhookReceiver]:
    """Run a receiver. *secret* is that of the service; the default is the one of `running`."""
    receiver = WebhookReceiver(secret)
    server = await asyncio.start_server(receiver.serve, _HOST, 0)
    receiver.url = f"http://{_HOST}:{server.sockets[0].getsockname()[1]}/"
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()
        await server.wait_closed()
