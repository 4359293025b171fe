"""Makes responses about different workflows comparable: ids and times become placeholders, all else stays."""

import json
import re
from typing import Any, NamedTuple

import httpx

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_ETAG_TIME = re.compile(r'"(\d+)-[0-9a-f]+-')
_DURATION = re.compile(r"\b\d+(\.\d+)? s\b")
_NUMBERS = ("latency_ms", "seconds", "seed")  # members whose numbers differ from one workflow to another
_HEADERS = (
    "content-type",
    "etag",
    "idempotency-replayed",
    "link",
    "location",
    "preference-applied",
    "retry-after",
    "www-authenticate",
)


class ComparableResponse(NamedTuple):
    """A response. Two are equal if they say the same about different workflows."""

    status: int
    headers: dict[str, str]
    body: Any


def comparable(response: httpx.Response) -> ComparableResponse:
    """Return the response without times, durations and seeds. Its ids are numbered in the order of their appearance."""
    ids: dict[str, str] = {}
    headers = {name: response.headers[name] for name in _HEADERS if name in response.headers}
    body = json.loads(response.content) if "json" in headers.get("content-type", "") else response.text
    return ComparableResponse(response.status_code, _plain(headers, ids), _plain(body, ids))


def _plain(value: Any, ids: dict[str, str]) -> Any:
    match value:
        case str():
            numbered = _ID.sub(lambda found: ids.setdefault(found[0], f"id {len(ids) + 1}"), value)
            timeless = _ETAG_TIME.sub(r'"\1-time-', _TIME.sub("time", numbered))
            return _DURATION.sub("some s", timeless)
        case dict():
            return {
                name: "some" if name in _NUMBERS and isinstance(each, int | float) else _plain(each, ids)
                for name, each in value.items()
            }
        case list():
            return [_plain(each, ids) for each in value]
        case _:
            return value
