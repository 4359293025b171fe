"""The requests of the client, and the paths of the API."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeAlias, TypedDict
from urllib.parse import quote, urlencode
from uuid import UUID, uuid4

from msgspec import UNSET, Struct, json

WORKFLOWS = "/api/v1/workflows/"
Id: TypeAlias = UUID | str
QueryValue: TypeAlias = Any
NO_HEADERS: Mapping[str, str] = {}
JSON_BODY = {"Content-Type": "application/json"}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):  # that is no dictionary
        return dict(value)
    raise TypeError(f"a {type(value).__name__} can't be part of a JSON text")


_ENCODER = json.Encoder(decimal_format="number", enc_hook=_plain)


class ClientRequest(Struct, frozen=True, kw_only=True):
    """A request to the service.

    - `is_repeatable`: it may be sent again although it was sent before, because it changes nothing or because it has an
      idempotency key.
    - `wait_s`: the response may take that much longer, because the service waits.
    """

    method: str
    path: str
    query: Mapping[str, QueryValue] = {}
    headers: Mapping[str, str] = NO_HEADERS
    content: bytes | None = None
    is_repeatable: bool = False
    wait_s: float = 0.0

    def __post_init__(self) -> None:
        for name, value in self.headers.items():
            if not (value.isascii() and value.isprintable() and value == value.strip()):
                raise ValueError(f"the header {name} takes printable ASCII only, and no space at its ends: {value!r}")

    @property
    def url(self) -> str:
        """The address below the service's URL."""
        pairs = [(name, text) for name, value in self.query.items() for text in _texts(value)]
        return f"{self.path}?{urlencode(pairs)}" if pairs else self.path

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def read(path: str, query: Mapping[str, QueryValue] = {}, **rest: Any) -> ClientRequest:
    """Return a request that changes nothing."""
    return ClientRequest(method="GET", path=path, query=query, is_repeatable=True, **rest)


def post_read(
    path: str, content: bytes, query: Mapping[str, QueryValue] = {}, headers: Mapping[str, str] = NO_HEADERS
) -> ClientRequest:
    """Return a request with the JSON text *content* that changes nothing, although it is a POST."""
    headers = {**JSON_BODY, **headers}
    return ClientRequest(method="POST", path=path, query=query, headers=headers, content=content, is_repeatable=True)


class ChangeOptions(TypedDict, total=False):
    """`if_match` is the tag that the workflow must still have. `idempotency_key` is that of the request; default: a
    new one.
    """

    if_match: str | None
    idempotency_key: str | None


def change(
    method: str,
    path: str,
    options: ChangeOptions,
    *,
    query: Mapping[str, QueryValue] = {},
    headers: Mapping[str, str] = NO_HEADERS,
    content: bytes | None = None,
    wait_s: float = 0.0,
) -> ClientRequest:
    """Return a request that has its effect once, however often it is sent. *content* is JSON text."""
    headers = {**_conditions(**options), **({} if content is None else JSON_BODY), **headers}
    rest: dict[str, Any] = {"content": content, "wait_s": wait_s}
    return ClientRequest(method=method, path=path, query=query, headers=headers, is_repeatable=True, **rest)


def _conditions(*, if_match: str | None = None, idempotency_key: str | None = None) -> dict[str, str]:
    key = {"Idempotency-Key": f"client-{uuid4()}" if idempotency_key is None else idempotency_key}
    return key if if_match is None else key | {"If-Match": if_match}


def workflow_path(workflow_id: Id, rest: str = "") -> str:
    return f"{WORKFLOWS}{segment(workflow_id)}{rest}"


def artifact_path(path: str) -> str:
    """Return the address of the file *path*, as results and uploads name it."""
    return "/api/v1/artifacts/" + "/".join(segment(part) for part in path.split("/"))


def segment(value: Id) -> str:
    """Return *value* as one segment of a path. Raises ValueError if it can't be one."""
    if not isinstance(value, UUID | str):
        raise TypeError(f"an id is a UUID or text, not a {type(value).__name__}")
    text = str(value)
    if text in ("", ".", ".."):
        raise ValueError(f"{text!r} is neither an id nor part of the path of a file")
    return quote(text, safe="")


def json_body(value: Any) -> bytes:
    return value if isinstance(value, bytes) else _ENCODER.encode(value)


def preferences(*, wait_s: int | None = None, lenient: bool = False) -> dict[str, str]:
    """Return the header `Prefer`, if there is anything to prefer."""
    parts = ([] if wait_s is None else [f"wait={wait_s}"]) + (["handling=lenient"] if lenient else [])
    return {"Prefer": ", ".join(parts)} if parts else {}


def _texts(value: QueryValue) -> Iterable[str]:
    """Yield the values of a parameter as text: none for one that is None or UNSET, several for one that is repeated."""
    if value is None or value is UNSET:
        return ()
    if isinstance(value, bool):
        return ("true" if value else "false",)
    if isinstance(value, datetime):
        return (value.isoformat(),)
    if isinstance(value, list | tuple | set | frozenset):
        return tuple(text for each in value for text in _texts(each))
    return (str(value),)
