"""An example worker for Stepwell's provider CUSTOM: one file, with nothing but Python's standard library.

    stepwell example custom-worker > worker.py
    python3 worker.py --port 8700 --folder jobs

Start Stepwell with STEPWELL_CUSTOM_URL=http://127.0.0.1:8700. Put your own work where `draw` is.
`stepwell openapi --custom-worker` prints the protocol.

Each option can also be in the environment: WORKER_HOST, WORKER_PORT, WORKER_FOLDER, WORKER_DELAY, WORKER_SECRET. With a
secret, the worker refuses requests that aren't signed with it, and signs its responses. Stepwell must have the same
secret in STEPWELL_CREDENTIALS__CUSTOM. Without a secret, keep the worker on a network that nobody else can reach.
"""
# ruff: noqa: T201 - it is a program

import argparse
import base64
import contextlib
import hashlib
import hmac
import json
import os
import queue
import re
import struct
import sys
import threading
import time
import urllib.request
import zlib
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

MAX_BODY = 256 * 1024 * 1024  # bytes; inputs may come as data URIs
MAX_SIDE = 8192  # pixels
TOLERANCE_S = 300
ENDED = ("succeeded", "failed", "cancelled")


def draw(inputs: dict[str, Any], seed: int) -> dict[str, Any]:
    """Draw a PNG that fades from one colour to another: the work. Raises ValueError for inputs that it can't draw."""
    width, height = inputs.get("width", 1024), inputs.get("height", 1024)
    if not all(type(side) is int and 1 <= side <= MAX_SIDE for side in (width, height)):
        raise ValueError(f"width and height must be integers from 1 to {MAX_SIDE}")
    ends = hashlib.sha256(f"{seed} {inputs.get('prompt')}".encode()).digest()
    packer, packed = zlib.compressobj(), b""
    for row in range(height):
        colour = bytes(first + (last - first) * row // height for first, last in zip(ends[:3], ends[3:6], strict=True))
        packed += packer.compress(b"\0" + colour * width)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", packed + packer.flush()), (b"IEND", b"")):
        png += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    file = {"field": "result_image_path", "media_type": "image/png", "data": base64.b64encode(png).decode()}
    return {
        "result": {"width": width, "height": height, "format": "PNG", "seed": seed},
        "files": [{**file, "size": len(png), "sha256": hashlib.sha256(png).hexdigest()}],
    }


class Jobs:
    """The jobs, each in a file of its own, so that a restart knows all of them.

    A job's id is made of its attempt's id: so an attempt has one job, however often it is sent. Nothing here deletes
    the files: do that a day after a job's end, or later.
    """

    def __init__(self, folder: Path, delay_s: float, secret: str | None) -> None:
        self._folder, self._delay_s, self._secret = folder, delay_s, secret
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime):
            if json.loads(path.read_bytes())["status"] not in ENDED:
                self._waiting.put(path.stem)  # an interrupted job starts again
        threading.Thread(target=self._work, daemon=True).start()

    def find(self, job_id: str) -> Any:
        """Return the job, or None if there is none."""
        with contextlib.suppress(FileNotFoundError):
            return json.loads((self._folder / f"{job_id}.json").read_bytes())

    def accept(self, request: dict[str, Any]) -> str:
        """Return the id of the attempt's job. A new job is on disk before this returns."""
        job_id = job_id_of(request["attempt_id"])
        with self._lock:
            if self.find(job_id) is None:
                self._write({"id": job_id, "status": "queued", "request": request})
                self._waiting.put(job_id)
        return job_id

    def set_status(self, job_id: str, status: str, **members: Any) -> Any:
        """Set the status of a job that hasn't ended, and return the job. Return None if there is none."""
        with self._lock:
            job = self.find(job_id)
            if job is None or job["status"] in ENDED:
                return job
            self._write(job := {**job, "status": status, **members})
        if status in ENDED:
            threading.Thread(target=self._call_back, args=[job], daemon=True).start()
        return job

    def _work(self) -> None:
        """Do one job after the other, as a GPU would. Long work should check now and then whether it was cancelled."""
        while True:
            job = self.set_status(self._waiting.get(), "running")
            if job is None or job["status"] in ENDED:
                continue
            time.sleep(self._delay_s)
            try:
                done = draw(job["request"]["inputs"], job["request"]["seed"])
            except ValueError as error:
                self.set_status(job["id"], "failed", error=str(error), retryable=False)
            except Exception as error:  # noqa: BLE001 - the next job must not suffer
                self.set_status(job["id"], "failed", error=f"the worker failed: {type(error).__name__}", retryable=True)
            else:
                self.set_status(job["id"], "succeeded", **done)

    def _write(self, job: dict[str, Any]) -> None:
        """Write the file of a job, completely or not at all. It is synced to disk when this returns."""
        path = self._folder / f"{job['id']}.json"
        with path.with_suffix(".new").open("w") as file:
            json.dump(job, file)
            file.flush()
            os.fsync(file.fileno())
        path.with_suffix(".new").replace(path)
        folder = os.open(self._folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def _call_back(self, job: dict[str, Any]) -> None:
        """Tell Stepwell once that the job has ended, whether it arrives or not: Stepwell polls as well."""
        url, attempt_id = job["request"].get("callback_url"), job["request"]["attempt_id"]
        body = json.dumps({"id": job["id"], "attempt_id": attempt_id, "status": job["status"]}).encode()
        headers = {"Content-Type": "application/json", **signature_headers(self._secret, body, attempt_id)}
        with contextlib.suppress(OSError, ValueError, HTTPException):
            if url:
                urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10).close()  # noqa: S310


def job_id_of(attempt_id: str) -> str:
    return hashlib.sha256(attempt_id.encode()).hexdigest()[:32]


def signature(secret: str, timestamp: str, body: bytes, *parts: str) -> str:
    """Return the signature of the timestamp, *parts* and *body*, with dots between them."""
    message = ".".join([timestamp, *parts, ""]).encode() + body
    return "v1=" + hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def signature_headers(secret: str | None, body: bytes, *parts: str) -> dict[str, str]:
    """Return the headers of a message that is signed now; none without a secret."""
    now = str(int(time.time()))
    return {"Stepwell-Timestamp": now, "Stepwell-Signature": signature(secret, now, body, *parts)} if secret else {}


class Handler(BaseHTTPRequestHandler):
    """Handles the requests of Stepwell.

    An exception closes the connection without a response. That is right: nobody knows whether there is a job now, so
    Stepwell looks for it. A response with an error says that there is none.
    """

    protocol_version = "HTTP/1.1"
    timeout = 60
    jobs: Jobs
    secret: str | None

    def do_GET(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal() or int(length) > MAX_BODY:
            self.close_connection = True  # the body is still unread
            return self._send(413, {"error": f"a body must have a Content-Length, of at most {MAX_BODY}"})
        body = self.rfile.read(int(length))
        if self.secret and not self._is_genuine(self.secret, body):
            return self._send(401, {"error": "the signature is missing, wrong or too old", "retryable": False})
        if self.command == "POST" and self.path == "/jobs":
            return self._submit(body)
        return self._look(urlsplit(self.path).path, parse_qs(urlsplit(self.path).query))

    def do_POST(self) -> None:
        self.do_GET()

    def _submit(self, body: bytes) -> None:
        request: Any = None
        with contextlib.suppress(ValueError):
            request = json.loads(body)
        kinds = [type(request.get(name)) for name in ("attempt_id", "inputs", "seed")] if type(request) is dict else []
        if kinds != [str, dict, int] or request["attempt_id"] != self.headers.get("Idempotency-Key"):
            return self._send(400, {"error": "needed: attempt_id, the same as Idempotency-Key; inputs; seed"})
        if request.get("task_type") != "GENERATION":
            return self._send(422, {"error": "this worker does GENERATION alone", "retryable": False})
        return self._send(202, {"id": self.jobs.accept(request)})

    def _look(self, path: str, query: dict[str, list[str]]) -> None:
        if self.command == "GET" and path == "/jobs":
            attempt_id = query.get("attempt_id", [""])[0]
            job = self.jobs.find(job_id_of(attempt_id))
            return self._send(200, {"jobs": [{"id": job["id"], "attempt_id": attempt_id}] if job else []})
        found = re.fullmatch(r"/jobs/([0-9a-f]{32})(/cancel)?", path)
        if found is None or (self.command == "POST") != bool(found[2]):
            return self._send(404, {"error": "there is no such path"})
        job = self.jobs.set_status(found[1], "cancelled") if found[2] else self.jobs.find(found[1])
        if job is None:
            return self._send(404, {"error": "there is no such job"})
        return self._send(200, {name: value for name, value in job.items() if name != "request"})

    def _is_genuine(self, secret: str, body: bytes) -> bool:
        sent, timestamp = (self.headers.get(f"Stepwell-{name}", "") for name in ("Signature", "Timestamp"))
        expected = signature(secret, timestamp, body, self.command, self.path)
        is_equal = hmac.compare_digest(expected.encode(), sent.encode())
        return is_equal and abs(time.time() - int(timestamp)) <= TOLERANCE_S

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        request_signature = self.headers.get("Stepwell-Signature", "").removeprefix("v1=")
        signed = signature_headers(self.secret, body, str(status), request_signature)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **signed}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def give_up(failure: threading.ExceptHookArgs) -> None:
    """End the worker when its disk fails, because it must accept no more jobs. A restart continues with its jobs."""
    sys.__excepthook__(failure.exc_type, failure.exc_value or failure.exc_type(), failure.exc_traceback)
    os._exit(1)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("host", "127.0.0.1"), ("port", "8700"), ("folder", "jobs"), ("delay", "1"), ("secret", "")):
        options.add_argument(f"--{name}", default=os.environ.get(f"WORKER_{name.upper()}", default))
    chosen = options.parse_args()
    threading.excepthook = give_up
    Handler.secret = chosen.secret or None
    Handler.jobs = Jobs(Path(chosen.folder), float(chosen.delay), Handler.secret)
    server = ThreadingHTTPServer((chosen.host, int(chosen.port)), Handler)
    print(f"ready on http://{chosen.host}:{server.server_port}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
