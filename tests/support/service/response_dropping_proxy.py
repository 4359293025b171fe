"""A proxy that loses a response: the request arrives, but its client gets no response."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx


class ResponseDroppingProxy:
    """Listens at `url`; `lost` counts the responses that it has lost."""

    def __init__(self, target: str, first: str) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._target, self._first = httpx.URL(target), first.encode()
        self.lost = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def serve(self) -> None:
        """Accept connections until `close`."""
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _forward(self, client: socket.socket) -> None:
        with client, socket.create_connection((self._target.host, self._target.port or 80)) as server:
            responding = threading.Thread(target=_copy, args=(server, client), daemon=True)
            responding.start()
            while data := _receive(client):
                server.sendall(data)
                if data.startswith(self._first) and not self.lost:
                    self.lost += 1
                    return self._lose(server, client)
            return None

    def _lose(self, server: socket.socket, client: socket.socket) -> None:
        client.shutdown(socket.SHUT_RDWR)
        server.shutdown(socket.SHUT_WR)
        while _receive(server):
            pass


def _copy(source: socket.socket, target: socket.socket) -> None:
    while data := _receive(source):
        try:
            target.sendall(data)
        except OSError:
            return


def _receive(source: socket.socket) -> bytes:
    try:
        return source.recv(65_536)
    except OSError:
        return b""


@contextmanager
def first_response_lost(target: str, first: str) -> Iterator[ResponseDroppingProxy]:
    """Run a proxy to *target* that loses the response to the first request which begins with *first*."""
    proxy = ResponseDroppingProxy(target, first)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
