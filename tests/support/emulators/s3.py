"""An S3 service on loopback: moto's, in this process, with faults on demand.

It keeps everything in memory, and checks no signatures and no expiry: whatever looks like a key may do everything, and
only what has no key at all is refused. So it shows that requests are made as S3 wants them, not that keys are right.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, NamedTuple
from urllib.parse import parse_qs
from uuid import uuid4

import httpx
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from msgspec.structs import replace
from werkzeug.serving import make_server

from stepwell.artifacts.s3 import Bucket
from stepwell.artifacts.store_setup import ID_FILE

REGION = "us-east-1"
KEY_ID, SECRET_KEY = "AKIATHEIDOFAKEYCANARY", "the-secret/of+a+key-canary"
_SIGNED = f"AWS4-HMAC-SHA256 Credential={KEY_ID}/20260101/{REGION}/s3/aws4_request, SignedHeaders=host, Signature=0"


class Call(NamedTuple):
    method: str
    path: str
    query: dict[str, list[str]]

    @property
    def kind(self) -> str:
        """The method, and for calls about a file in parts or a listing what it is about."""
        about = [name for name in ("uploads", "partNumber", "uploadId", "list-type") if name in self.query]
        return " ".join([self.method, *about[:1]])


class S3Server:
    """`calls` are all that have come. `always` and `once` make calls of a kind fail."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Silent)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.calls: list[Call] = []
        self._always: dict[str, tuple[int, str, str]] = {}
        self._once: deque[tuple[str, int, str]] = deque()
        self._cut: dict[str, int] = {}
        self._held: set[str] = set()
        self._healed = Event()

    def bucket(self, **changes: Any) -> Bucket:
        """A new, empty one."""
        bucket = Bucket(
            name=f"pictures-{uuid4().hex[:12]}",
            prefix="some/where",
            endpoint=self.url,
            region=REGION,
            access_key_id=KEY_ID,
            secret_access_key=SECRET_KEY,
        )
        made = httpx.put(f"{self.url}/{bucket.name}", headers={"Authorization": _SIGNED})
        assert made.status_code == 200, made.text
        return replace(bucket, **changes)

    def keys(self, bucket: Bucket) -> list[str]:
        """Of all objects that are in it, without the one that names the bucket's database."""
        answer = httpx.get(f"{self.url}/{bucket.name}?list-type=2", headers={"Authorization": _SIGNED})
        keys = (part.partition("</Key>")[0] for part in answer.text.split("<Key>")[1:])
        return [key for key in keys if not key.endswith(ID_FILE)]

    def put(self, bucket: Bucket, key: str, data: bytes = b"x") -> None:
        answer = httpx.put(f"{self.url}/{bucket.name}/{key}", content=data, headers={"Authorization": _SIGNED})
        assert answer.status_code == 200, answer.text

    def always(self, kind: str, status: int = 503, code: str = "SlowDown", *, about: str = "") -> None:
        """Calls about paths that have *about* in them."""
        self._always[kind] = (status, code, about)

    def once(self, kind: str, status: int = 503, code: str = "SlowDown") -> None:
        self._once.append((kind, status, code))

    def cut(self, kind: str, after: int) -> None:
        """Answers to calls of that kind end after so many bytes, whatever was announced."""
        self._cut[kind] = after

    def hold(self, kind: str) -> None:
        """Calls of that kind get no answer."""
        self._healed.clear()
        self._held.add(kind)

    def heal(self) -> None:
        for faults in (self._always, self._once, self._cut, self._held):
            faults.clear()
        self._healed.set()

    def kinds(self) -> list[str]:
        return [call.kind for call in self.calls]

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.02)

    def close(self) -> None:
        self.heal()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        query = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
        call = Call(environ["REQUEST_METHOD"], environ["PATH_INFO"], query)
        self.calls.append(call)
        fault: tuple[int, str] | None = None
        if call.kind in self._always and (found := self._always[call.kind])[2] in call.path:
            fault = found[:2]
        if self._once and self._once[0][0] == call.kind:
            fault = self._once.popleft()[1:]
        if call.kind in self._held:
            self._healed.wait(10)
        if fault is None:
            answer: Iterable[bytes] = self._moto(environ, start)
            return answer if call.kind not in self._cut else [b"".join(answer)[: self._cut[call.kind]]]
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, code = fault
        # What Amazon says of a wrong key names it.
        said = f"<Error><Code>{code}</Code><Message>{KEY_ID}</Message><AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId></Error>"
        start(f"{status} Fault", [("Content-Type", "application/xml"), ("Content-Length", str(len(said)))])
        return [said.encode()]


class _Silent(MotoRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002, ARG002 - named there
        logging.getLogger("moto").debug(message, *args)


@contextmanager
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    serving = Thread(target=server.serve, name="s3")
    serving.start()
    try:
        yield server
    finally:
        server.close()
        serving.join()
