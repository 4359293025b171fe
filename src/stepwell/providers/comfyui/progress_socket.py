"""The progress of jobs, which a ComfyUI server reports by a websocket. All polled jobs share one socket.

The messages: https://docs.comfy.org/development/comfyui-server/comms_messages. Newer servers also send
`progress_state`; see comfy_execution/progress.py of https://github.com/Comfy-Org/ComfyUI.

There is no task here, except for the library's pings. One of the waiting polls reads the socket for all; when it ends,
another one continues. A timer closes a socket that isn't used by polls.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from stepwell.providers.comfyui.lenient_json import read_lenient_json

_PROGRESS_STEP = 0.01  # smaller changes aren't reported
_ENDS = frozenset({"execution_success", "execution_error", "execution_interrupted"})
MAX_MESSAGE = 16 * 1024 * 1024  # bytes; some messages are previews of images, which are ignored
_OPENING_S = 2.0
_MAX_PAUSE_S = 60.0
_MAX_WATCHES = 10_000
# The library would log each connection with its headers, which contain the key.
_SILENT = logging.Logger("comfyui.feed", logging.CRITICAL + 1)  # noqa: LOG001 - outside the hierarchy of loggers


class News(Enum):
    """A change of a job's progress."""

    PROGRESS = auto()  # its progress
    END = auto()  # it has ended, or may have; the history shows it


class Watch:
    """The progress of a job that is polled.

    *nodes* are the nodes of its graph; each counts the same. Nodes that the server adds while it works don't count.
    `progress` is from 0 to 1, and never falls; None until it is known. `node` is the node at work.
    `running` says that the last poll found the job running.
    """

    def __init__(self, nodes: frozenset[str]) -> None:
        self._nodes = nodes
        self.progress: float | None = None
        self.node: str | None = None
        self.running = False
        self.news: News | None = None
        self._ended = False
        self._detailed = False
        self._done: dict[str, float] = {}
        self._reported_progress = 0.0

    def take_news(self) -> News | None:
        """Return the news since the last call."""
        news, self.news = self.news, None
        self._reported_progress = self.progress or 0.0
        return news

    def process(self, kind: str, data: Mapping[str, Any]) -> None:
        match kind:
            case "execution_cached":
                cached = data.get("nodes")
                self._finish(*(cached if isinstance(cached, list) else ()))
            case "progress_state":
                self._process_states(data.get("nodes"))
            case "executing" if data.get("node") is None:
                self._end()
            case "executing" if not self._detailed:
                self._finish(self.node)
                self._set_node(data.get("node"), data.get("display_node"))
            case "progress" if not self._detailed:
                self._set_progress(data.get("node"), _progress(data))
            case "executed" if not self._detailed:
                self._finish(data.get("node"))
            case _ if kind in _ENDS:
                self._end()
        self._update_progress()

    def queue_changed(self, remaining: object) -> None:
        """Process a change of the queue, in which *remaining* jobs are left."""
        # A job enters the history after the message about its end. The next message is this one.
        if self._ended or remaining == 0:
            self.news = News.END

    def _process_states(self, states: object) -> None:
        if not isinstance(states, Mapping):
            return
        self._detailed = True
        for node, state in states.items():
            if not isinstance(state, Mapping):
                continue
            self._set_progress(node, 1.0 if state.get("state") == "finished" else _progress(state))
            if state.get("state") == "running":
                self._set_node(node, state.get("display_node_id"))

    def _set_node(self, node: object, display_node: object) -> None:
        known_name = next((name for name in (node, display_node) if name in self._nodes), None)
        if isinstance(known_name, str):
            self.node = known_name

    def _finish(self, *nodes: object) -> None:
        for node in nodes:
            self._set_progress(node, 1.0)

    def _set_progress(self, node: object, progress: float | None) -> None:
        if isinstance(node, str) and node in self._nodes and progress is not None:
            self._done[node] = max(progress, self._done.get(node, 0.0))

    def _end(self) -> None:
        self._ended, self.news = True, News.END

    def _update_progress(self) -> None:
        if not self._nodes:
            return
        self.progress = min(sum(self._done.values()) / len(self._nodes), 1.0)
        if self.news is None and self.progress >= self._reported_progress + _PROGRESS_STEP:
            self.news = News.PROGRESS


def _progress(state: Mapping[str, Any]) -> float | None:
    value, most = state.get("value"), state.get("max")
    if not isinstance(value, int | float) or not isinstance(most, int | float) or not most > 0:
        return None
    progress = value / most
    return min(max(progress, 0.0), 1.0) if math.isfinite(progress) else None


class _Connect(connect):
    """A connection that refuses redirects, because the headers contain a key."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class ProgressSocket:
    """The socket of one server, at base *url*.

    *wait_s* is how long a poll waits for news. *idle_s* is how long the socket stays open while no job is polled.
    *pause_s* is the pause after the first failure; it doubles with each further failure, up to a minute. *max_watches*
    is the largest number of jobs whose progress is stored. `client_id` must be sent with a job, so that the server
    reports it here.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        wait_s: float = 2.0,
        idle_s: float = 5.0,
        pause_s: float = 1.0,
        max_watches: int = _MAX_WATCHES,
    ) -> None:
        self.client_id = uuid4().hex
        self._url = f"ws{url.removeprefix('http')}/ws?{urlencode({'clientId': self.client_id})}"
        self._headers, self._max_watches = headers, max_watches
        self.wait_s, self.idle_s, self.pause_s = wait_s, idle_s, pause_s
        self._socket: ClientConnection | None = None
        self.watches: dict[str, Watch] = {}  # by the id of the job, oldest first
        self.waiting: dict[anyio.Event, Watch] = {}  # of the polls that wait while another one reads
        self.is_reading = self._opening = False
        self._polls = 0  # running now
        self._idle_timer: asyncio.TimerHandle | None = None
        self.failures, self.next_try = 0, 0.0

    @contextmanager
    def watch(self, job_id: str, nodes: Callable[[], frozenset[str]]) -> Iterator[Watch]:
        """Watch a job during a poll. Its progress is kept until `forget`. *nodes* returns the nodes of its graph.

        Only the first poll of a job calls *nodes*.
        """
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        self._polls += 1
        keep_s = self.idle_s
        try:
            yield self._watch_of(job_id, nodes)
        except BaseException:
            keep_s = 0.0  # the poll was cancelled, and there may be no further one
            raise
        finally:
            self._polls -= 1
            if not self._polls:
                self._close_later(keep_s)

    def forget(self, job_id: str) -> None:
        """Drop the progress of a job that has ended."""
        self.watches.pop(job_id, None)

    async def ensure_open(self) -> bool:
        """Open the socket if it is closed, unless it is too early after a failure. Returns whether it is open."""
        if self._socket is None and not self._opening and anyio.current_time() >= self.next_try:
            await self._open()
        return self._socket is not None

    async def news(self, watch: Watch) -> News | None:
        """Wait for news about the job. Returns None if there is none in time, or no socket."""
        try:
            with anyio.move_on_after(self.wait_s):
                while watch.news is None and self._socket is not None:
                    if self.is_reading:
                        await self._wait_for_news(watch)
                    else:
                        await self._read(self._socket, watch)
        finally:
            if not self.is_reading and self.waiting:
                next(iter(self.waiting)).set()
        return watch.take_news()

    def close(self) -> None:
        """Close the socket. A later poll opens another one."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        if self._socket is not None:
            self._socket.transport.abort()
            self._socket = None
        self._wake(self.waiting)

    def _wake(self, events: Iterable[anyio.Event]) -> None:
        for event in events:
            event.set()

    def _watch_of(self, job_id: str, nodes: Callable[[], frozenset[str]]) -> Watch:
        if job_id not in self.watches:
            if len(self.watches) >= self._max_watches:
                del self.watches[next(iter(self.watches))]
            self.watches[job_id] = Watch(nodes())
        return self.watches[job_id]

    def _close_later(self, keep_s: float) -> None:
        if not self.watches or not keep_s:
            self.close()
        elif self._socket is not None:
            self._idle_timer = asyncio.get_running_loop().call_later(keep_s, self.close)

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
            self._note_failure()
        finally:
            self._opening = False

    def _note_failure(self) -> None:
        self._socket = None
        pause = min(self.pause_s * 2 ** min(self.failures, 16), _MAX_PAUSE_S)
        self.failures, self.next_try = self.failures + 1, anyio.current_time() + pause

    async def _wait_for_news(self, watch: Watch) -> None:
        """Wait until there is news for *watch*, or nobody reads the socket."""
        event = anyio.Event()
        self.waiting[event] = watch
        try:
            await event.wait()
        finally:
            del self.waiting[event]

    async def _read(self, socket: ClientConnection, watch: Watch) -> None:
        """Read the socket for all polls, until there is news for *watch*."""
        self.is_reading = True
        try:
            while watch.news is None:
                self._process(await socket.recv(decode=False))
        except ConnectionClosed:
            if self._socket is socket:
                self._note_failure()
            self._wake(self.waiting)
        finally:
            self.is_reading = False

    def _process(self, message: bytes) -> None:
        self.failures = 0
        parsed = read_lenient_json(message, dict[str, Any]) if message.startswith(b"{") else None
        kind, data = (parsed.get("type"), parsed.get("data")) if parsed else (None, None)
        if not isinstance(kind, str) or not isinstance(data, dict):
            return
        if kind == "status":
            for watch in self.watches.values():
                watch.queue_changed(_remaining(data))
        elif isinstance(job_id := data.get("prompt_id"), str) and job_id in self.watches:
            self.watches[job_id].process(kind, data)
        self._wake(event for event, watch in self.waiting.items() if watch.news is not None)


def _remaining(data: Mapping[str, Any]) -> object:
    """Return the number of queued and running jobs, from a message of the type "status"."""
    value: Any = data
    for name in ("status", "exec_info", "queue_remaining"):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
