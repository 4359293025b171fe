"""What the emulators of providers' APIs share: a real HTTP server on loopback, a ledger on disk of every job that was
accepted, and faults on demand.

A fault is planned for a kind of call ("submit", "poll", "fetch", "cancel", "list", "file" ...) by `plan`, each for one
call; or for all calls of a kind by `always`. Some strike before the call has any effect, the others after it.
"""

import asyncio
import json
import sqlite3
import ssl
import threading
from abc import ABC, abstractmethod
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import h11

CALLBACK_S = 60.0  # a lost callback is not sent again, and a loaded machine answers late
_MAX_BODY = 64 * 1024 * 1024
_HANG_S = 30.0  # beyond each deadline of a call in tests that skip time
_HUGE = 9_000_000  # bytes: more than any answer may have


class Fault(Enum):
    """*_AFTER: the call has had its effect. `HANG` holds the answer back until `Emulator.let_go`."""

    LOSE_BEFORE = auto()  # the connection is closed without a word
    LOSE_AFTER = auto()
    HANG_AFTER = auto()
    DRIP_AFTER = auto()  # a byte every 50 ms
    GARBAGE_AFTER = auto()  # 200 and HTML
    TRUNCATE_AFTER = auto()  # half of the body that was announced
    HUGE_AFTER = auto()  # 9 MB of spaces before the body
    BUSY = auto()  # 429 with Retry-After: 0
    AWAY = auto()  # 503 with Retry-After: 1
    UNAVAILABLE = auto()  # 503 in the provider's words
    BROKEN = auto()  # 500 in the provider's words
    GATEWAY_BEFORE = auto()  # 502 and HTML
    GATEWAY_AFTER = auto()
    REFUSED = auto()  # 422 in the provider's words


@dataclass(frozen=True)
class Call:
    kind: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    status: int = 200
    body: Any = field(default_factory=dict)  # bytes go out as they are, anything else as JSON
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Ledger:
    """Every job that was ever accepted, in a file: it outlives the service, and the emulator too."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._sql = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._sql.execute("PRAGMA synchronous = OFF")  # no test crashes the machine
        self._sql.execute(
            "CREATE TABLE IF NOT EXISTS jobs (n INTEGER PRIMARY KEY, id TEXT UNIQUE, key TEXT, body TEXT)"
        )

    def accept(self, job_id: str, key: str, body: Any) -> None:
        """*key* tells what the job is for, as far as the provider can know."""
        with self._lock:
            self._sql.execute("INSERT INTO jobs (id, key, body) VALUES (?, ?, ?)", (job_id, key, json.dumps(body)))

    def keys(self) -> Counter[str]:
        """How many jobs were accepted for each key."""
        with self._lock:
            return Counter(key for (key,) in self._sql.execute("SELECT key FROM jobs"))

    def jobs(self) -> list[tuple[str, str, Any]]:
        """Id, key and body, in the order in which they were accepted."""
        with self._lock:
            found = self._sql.execute("SELECT id, key, body FROM jobs ORDER BY n")
            return [(job_id, key, json.loads(body)) for job_id, key, body in found]

    def close(self) -> None:
        self._sql.close()


class Emulator(ABC):
    """Subclasses say what a call is (`kind_of`), answer it (`answer`) and word an error (`error`). To be entered in the
    loop that it answers from; `url` is its address.

    If `skip_time` is set, an answer that hangs or drips takes no time: the clock of the client's loop moves on instead.
    With the fault AWAY, clients shall come back after `away_s` seconds.
    """

    skip_time: Callable[[float], None] | None = None
    away_s = 1

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.ledger = Ledger(folder / f"{type(self).__name__}.sqlite")
        self.calls: list[Call] = []
        self._port = port
        self._planned: dict[str, deque[Fault]] = defaultdict(deque)
        self._always: dict[str, Fault] = {}
        self._gate = asyncio.Event()
        self.open_requests: set[asyncio.Task[None]] = set()

    @abstractmethod
    def kind_of(self, method: str, path: str, query: Mapping[str, str]) -> str:
        """See the class."""

    @abstractmethod
    async def answer(self, call: Call) -> Reply:
        """See the class."""

    def error(self, status: int, message: str) -> Reply:
        """An error in the provider's own words."""
        return Reply(status, {"error": message})

    async def takes_over(
        self,
        call: Call,  # noqa: ARG002 - a subclass's
        reader: asyncio.StreamReader,  # noqa: ARG002
        writer: asyncio.StreamWriter,  # noqa: ARG002
    ) -> bool:
        """Whether the connection went on in another protocol, and has ended by now."""
        return False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._gate.set()
        self._server.close()
        for asyncio_task in list(self.open_requests):
            asyncio_task.cancel()
        await asyncio.gather(*self.open_requests, return_exceptions=True)
        self.ledger.close()

    def stop_listening(self) -> None:
        """Refuse connections from now on, until `listen`."""
        self._port = self._server.sockets[0].getsockname()[1]
        self._server.close()
        for asyncio_task in list(self.open_requests):
            asyncio_task.cancel()

    async def listen(self, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections again, at the same port."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port, ssl=tls)

    def plan(self, kind: str, *faults: Fault) -> None:
        """The next calls of that kind meet these, one each."""
        self._planned[kind] += faults

    def always(self, kind: str, fault: Fault | None) -> None:
        """All calls of that kind meet it; null ends that."""
        if fault is None:
            self._always.pop(kind, None)
        else:
            self._always[kind] = fault

    def let_go(self) -> None:
        """Answer what hangs."""
        self._gate.set()
        self._gate = asyncio.Event()

    def count(self, kind: str) -> int:
        return sum(call.kind == kind for call in self.calls)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asyncio_task = asyncio.current_task()
        assert asyncio_task is not None
        self.open_requests.add(asyncio_task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, h11.RemoteProtocolError, asyncio.CancelledError):
            pass
        finally:
            self.open_requests.discard(asyncio_task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        while (call := await self._received(wire, reader)) is not None:
            self.calls.append(call)
            fault = self._planned[call.kind].popleft() if self._planned[call.kind] else self._always.get(call.kind)
            reply = self._before(fault)
            if fault is Fault.LOSE_BEFORE:
                return
            if reply is None and await self.takes_over(call, reader, writer):
                return
            if reply is None:
                reply = await self.answer(call)
                if not await self._survives(fault, reply, reader, writer):
                    return
            head = [("Content-Length", str(len(reply.encoded()))), *reply.headers.items()]
            if isinstance(reply.body, dict | list):
                head.append(("Content-Type", "application/json"))
            writer.write(wire.send(h11.Response(status_code=reply.status, headers=head)) or b"")
            writer.write((wire.send(h11.Data(data=reply.encoded())) or b"") + (wire.send(h11.EndOfMessage()) or b""))
            await writer.drain()
            if wire.our_state is h11.MUST_CLOSE:
                return
            wire.start_next_cycle()

    async def _received(self, wire: h11.Connection, reader: asyncio.StreamReader) -> Call | None:
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = wire.next_event()
            if event is h11.NEED_DATA:
                if wire.they_are_waiting_for_100_continue:
                    raise h11.RemoteProtocolError("no such expectation")
                wire.receive_data(await reader.read(1 << 16))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                assert len(body) <= _MAX_BODY
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                parts = urlsplit(request.target.decode())
                query = dict(parse_qsl(parts.query))
                method = request.method.decode()
                headers = {name.decode(): value.decode() for name, value in request.headers}
                kind = self.kind_of(method, parts.path, query)
                return Call(kind, method, parts.path, query, headers, bytes(body))
            else:
                return None

    def _before(self, fault: Fault | None) -> Reply | None:
        match fault:
            case Fault.BUSY:
                reply = self.error(429, "too many requests")
                reply.headers["Retry-After"] = "0"
            case Fault.AWAY:
                reply = self.error(503, "come back later")
                reply.headers["Retry-After"] = str(self.away_s)
            case Fault.UNAVAILABLE:
                reply = self.error(503, "no capacity")
            case Fault.BROKEN:
                reply = self.error(500, "something broke")
            case Fault.REFUSED:
                reply = self.error(422, "this can't be done")
            case Fault.GATEWAY_BEFORE:
                reply = _gateway()
            case _:
                return None
        return reply

    async def _survives(
        self, fault: Fault | None, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Apply a fault that strikes after the effect; whether *reply* is still to be sent."""
        match fault:
            case Fault.LOSE_AFTER:
                return False
            case Fault.HANG_AFTER:
                if self.skip_time:
                    self.skip_time(_HANG_S)
                await self._gate.wait()
            case Fault.GARBAGE_AFTER:
                reply.status, reply.body, reply.headers = 200, b"<html>hello</html>", {"Content-Type": "text/html"}
            case Fault.GATEWAY_AFTER:
                gateway = _gateway()
                reply.status, reply.body, reply.headers = gateway.status, gateway.body, gateway.headers
            case Fault.HUGE_AFTER:
                reply.body = b" " * _HUGE + reply.encoded()
            case Fault.TRUNCATE_AFTER:
                writer.write(_raw(reply)[: -max(len(reply.encoded()) // 2, 1)])
                await writer.drain()
                return False
            case Fault.DRIP_AFTER:
                await self._drip(reply, reader, writer)
                return False
            case _:
                pass
        return True

    async def _drip(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in _raw(reply):
            if reader.at_eof():
                return
            writer.write(bytes([byte]))
            await writer.drain()
            if self.skip_time:
                self.skip_time(1.0)
            await asyncio.sleep(0 if self.skip_time else 0.05)


def _gateway() -> Reply:
    return Reply(502, b"<html><h1>502 Bad Gateway</h1></html>", {"Content-Type": "text/html"})


def _raw(reply: Reply) -> bytes:
    body = reply.encoded()
    return f"HTTP/1.1 {reply.status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
