"""The scope of a request that is made to an ASGI app in this process."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote


def http_scope(
    method: str,
    target: bytes,
    headers: Iterable[tuple[bytes, bytes]],
    *,
    scheme: str = "http",
    server: tuple[str, int | None] | None,
    client: tuple[str, int] | None = None,
) -> dict[str, Any]:
    """Return the scope of a request for *target*, which is the path with the query, as they are sent."""
    path, _, query = target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in headers],
        "server": server,
        "client": client,
        "state": {},
    }
