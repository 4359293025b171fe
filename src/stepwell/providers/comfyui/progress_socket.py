"""What a ComfyUI server tells of its jobs while they run: one socket for all that are polled.

Nothing here runs by itself, but for the library's pings. Of the polls that wait for news one reads the socket for all;
when it leaves, another does. An open socket that nobody polls by is closed by a timer.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from stepwell.providers.comfyui.job_progress import News, Watch
from stepwell.providers.comfyui.lenient_json import read_loosely

MAX_MESSAGE = 16 * 1024 * 1024  # bytes; previews of pictures come along, and are left unread
_OPENING_S = 2.0
_LONGEST_PAUSE_S = 60.0
_REMEMBERED = 10_000
# The library would tell the log of each connection, with its headers.
_SILENT = logging.Logger("comfyui.feed", logging.CRITICAL + 1)  # noqa: LOG001 - apart from all others


class _Connect(connect):
    """Follows no redirect: the headers hold a key."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class ProgressSocket:
    """*url* is the server's base. *wait_s*: how long to wait for news; *idle_s*: how long the socket is kept when no
    job is polled; *pause_s*: the first pause before one that failed is tried again, doubled up to a minute.

    `client_id`: what a job must be submitted with for the server to tell of it here.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], *, wait_s: float = 2.0, idle_s: float = 5.0, pause_s: float = 1.0
    ) -> None:
        self.client_id = uuid4().hex
        self._url = f"ws{url.removeprefix('http')}/ws?{urlencode({'clientId': self.client_id})}"
        self._headers, self._wait_s, self._idle_s, self._pause_s = headers, wait_s, idle_s, pause_s
        self._socket: ClientConnection | None = None
        self._watches: dict[str, Watch] = {}
        self._waiting: dict[anyio.Event, Watch] = {}
        self._reading = self._opening = False
        self._polls = 0  # under way
        self._idle: asyncio.TimerHandle | None = None
        self._failures, self._next_try = 0, 0.0

    @contextmanager
    def watched(self, job_id: str, nodes: Callable[[], frozenset[str]]) -> Iterator[Watch]:
        """For the length of a poll. What is heard of the job is kept until `forget`. *nodes* gives those of its graph;
        only the first poll asks for them.
        """
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._polls += 1
        kept_s = self._idle_s
        try:
            yield self._watch(job_id, nodes)
        except BaseException:
            kept_s = 0.0  # perhaps nobody comes any more
            raise
        finally:
            self._polls -= 1
            if not self._polls:
                self._rest(kept_s)

    def forget(self, job_id: str) -> None:
        """It has ended."""
        self._watches.pop(job_id, None)

    async def up(self) -> bool:
        """Whether there is a socket; it is opened if it is time for that."""
        if self._socket is None and not self._opening and anyio.current_time() >= self._next_try:
            await self._open()
        return self._socket is not None

    async def news(self, watch: Watch) -> News | None:
        """Wait for something new about the job. None if nothing came in time, or there is no socket."""
        try:
            with anyio.move_on_after(self._wait_s):
                while watch.news is None and self._socket is not None:
                    if self._reading:
                        await self._turn(watch)
                    else:
                        await self._read(self._socket, watch)
        finally:
            if not self._reading and self._waiting:
                next(iter(self._waiting)).set()
        return watch.take()

    def close(self) -> None:
        """Let go of the socket; a poll opens another."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._socket is not None:
            self._socket.transport.abort()
            self._socket = None
        self._wake(self._waiting)

    def _wake(self, events: Iterable[anyio.Event]) -> None:
        for event in events:
            event.set()

    def _watch(self, job_id: str, nodes: Callable[[], frozenset[str]]) -> Watch:
        if job_id not in self._watches:
            if len(self._watches) >= _REMEMBERED:
                del self._watches[next(iter(self._watches))]
            self._watches[job_id] = Watch(nodes())
        return self._watches[job_id]

    def _rest(self, kept_s: float) -> None:
        if not self._watches or not kept_s:
            self.close()
        elif self._socket is not None:
            self._idle = asyncio.get_running_loop().call_later(kept_s, self.close)

    async def _open(self) -> None:
        self._opening = True
        try:
            self._socket = await _Connect(
                self._url,
                additional_headers=self._headers,
                user_agent_header="stepwell",
                compression=None,
                proxy=None,
                open_timeout=_OPENING_S,
                max_size=MAX_MESSAGE,
                logger=_SILENT,
            )
        except (OSError, WebSocketException, ValueError):
            self._failed()
        finally:
            self._opening = False

    def _failed(self) -> None:
        self._socket = None
        pause = min(self._pause_s * 2 ** min(self._failures, 16), _LONGEST_PAUSE_S)
        self._failures, self._next_try = self._failures + 1, anyio.current_time() + pause

    async def _turn(self, watch: Watch) -> None:
        """Until there is news for *watch*, or nobody reads."""
        event = anyio.Event()
        self._waiting[event] = watch
        try:
            await event.wait()
        finally:
            del self._waiting[event]

    async def _read(self, socket: ClientConnection, watch: Watch) -> None:
        """For all, until there is news for *watch*."""
        self._reading = True
        try:
            while watch.news is None:
                self._hear(await socket.recv(decode=False))
        except ConnectionClosed:
            if self._socket is socket:
                self._failed()
            self._wake(self._waiting)
        finally:
            self._reading = False

    def _hear(self, message: bytes) -> None:
        self._failures = 0
        told = read_loosely(message, dict[str, Any]) if message.startswith(b"{") else None
        kind, data = (told.get("type"), told.get("data")) if told else (None, None)
        if not isinstance(kind, str) or not isinstance(data, dict):
            return
        if kind == "status":
            for watch in self._watches.values():
                watch.queue_changed(_remaining(data))
        elif isinstance(job_id := data.get("prompt_id"), str) and job_id in self._watches:
            self._watches[job_id].hear(kind, data)
        self._wake(event for event, watch in self._waiting.items() if watch.news is not None)


def _remaining(data: Mapping[str, Any]) -> object:
    """How many jobs are queued or run, by a message of the type "status"."""
    value: Any = data
    for name in ("status", "exec_info", "queue_remaining"):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
