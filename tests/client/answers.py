"""Answers of a service."""

from typing import Any

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
    "expires_at": "2026-01-01T00:00:00Z",
}
