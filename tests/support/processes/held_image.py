"""An image that a step downloads for as long as a test wants: an attempt that runs, and needs no processor."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from stepwell.testing import png

_WITHIN_S = 120.0
# For the environment of a service that downloads the image.
ALLOWED = {"STEPWELL_ALLOWED_CIDRS": "127.0.0.0/8"}


@dataclass
class HeldImage:
    """The image at *url*, which is sent from `release` on."""

    url: str
    _requested: Event = field(default_factory=Event, repr=False)
    _released: Event = field(default_factory=Event, repr=False)

    @property
    def steps(self) -> list[dict[str, Any]]:
        """A step of LOCAL that downloads the image, and runs until then."""
        return [{"id": "refine", "task_type": "REFINE", "config": {"base_image_url": self.url}}]

    def wait_for_request(self) -> None:
        """Block until an attempt downloads the image."""
        assert self._requested.wait(_WITHIN_S), "nobody downloads the image"

    def release(self) -> None:
        self._released.set()

    def serve(self) -> bytes:
        self._requested.set()
        self._released.wait()
        return png(8, 8)


@contextmanager
def held_image() -> Iterator[HeldImage]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = image.serve()
            try:
                self.send_response(200)
                self.send_header("Content-Type", "image/png")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # whoever wanted it was killed
                pass

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        image = HeldImage(f"http://127.0.0.1:{server.server_port}/image.png")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield image
        finally:
            image.release()
            server.shutdown()
            thread.join()
