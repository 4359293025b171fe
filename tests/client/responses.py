"""Responses of a service, and a clock for clients that wait for them."""

from typing import Any

import pytest

PATH = "media/7/a.txt"
ARTIFACT: dict[str, Any] = {
    "path": PATH,
    "name": "a.txt",
    "size": 1,
    "sha256": "",
    "media_type": "text/plain",
    "width": None,
    "height": None,
    "duration_s": None,
    "created_at": "2026-01-01T00:00:00Z",
    "created_by": "alice",
    "expires_at": "2026-01-01T00:00:00Z",
}


class Clock:
    """A clock that only pauses and responses move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        for module in ("asynchronous.connection", "asynchronous.workflows", "retries"):
            monkeypatch.setattr(f"stepwell.client.{module}.monotonic", lambda: self.now)
        for module in ("workflows", "connection"):
            monkeypatch.setattr(f"stepwell.client.asynchronous.{module}.async_sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
