"""Checks every exchange against the OpenAPI document that the same app serves.

A status, a content type or a member of a response that isn't documented fails the test that provoked it, and so does a
body that the service accepts and the document doesn't.
"""

import gzip
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, cast

import httpx
import msgspec
from jsonschema_rs import Draft202012Validator
from litestar import Litestar

from stepwell.api.routes.all_routes import openapi_document
from stepwell.api.routes.system import DOCS
from stepwell.providers.installed_providers import installed_providers

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FORMATS: dict[str, Callable[[str], bool]] = {
    "date-time": lambda text: bool(_TIME.fullmatch(text)),
    "uuid": lambda text: bool(_UUID.fullmatch(text)),
}

_WITH_DEFINITIONS = {f"#/components/schemas/{name}" for name in ("CreateWorkflow", "DefinitionPublic")}

# Routing refuses before any operation is known.
_METHOD_NOT_ALLOWED = 405
_UNROUTED = {400, 404, _METHOD_NOT_ALLOWED}


class NonConforming(AssertionError):
    """A response that the document doesn't describe."""


def conforming_client(app: Litestar, token: str | None = None, **headers: str) -> httpx.AsyncClient:
    """A client that speaks to *app* without a socket, and raises `NonConforming` from the request that provokes it."""
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=cast("Any", app)),
        base_url="http://t.local",
        headers=headers,
        event_hooks={"response": [conformance().check]},
    )


def conformance() -> "Conformance":
    return _conformance(tuple(installed_providers()))


@cache
def _conformance(providers: tuple[str, ...]) -> "Conformance":
    return Conformance(openapi_document(providers))


class Conformance:
    """Checks responses against *document*; `checked` lists what was checked, as (operationId, status)."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = msgspec.json.decode(msgspec.json.encode(document))
        self._requests = msgspec.json.decode(msgspec.json.encode(document["components"]))
        self._validators: dict[tuple[str, bool], Draft202012Validator] = {}
        self.checked: set[tuple[str, int]] = set()
        # Tests that wait for something read the same response many times.
        self._valid: set[tuple[str, int, str, str, int]] = set()
        for component in self.document["components"]["schemas"].values():
            # Answers may hold what is documented and no more; clients are promised less than that.
            if "properties" in component:
                component.setdefault("additionalProperties", False)
        # As the specification has it: a path without parameters comes before one with. A step's id has its slashes
        # encoded, but tests also send them as they are, so the longer path comes first.
        paths = sorted(self.document["paths"].items(), key=lambda item: ("{" in item[0], -item[0].count("/")))
        self.templates = [(_pattern(path), operations) for path, operations in paths]

    async def check(self, response: httpx.Response) -> None:
        """A response hook of httpx."""
        await response.aread()
        operation = None if response.status_code == _METHOD_NOT_ALLOWED else self.operation(response.request)
        if operation is None:
            if response.request.method == "OPTIONS" or response.request.url.path == DOCS:  # a page for people
                return
            if response.status_code not in _UNROUTED:
                raise NonConforming(f"{response.request.method} {response.request.url.path} is not documented")
            self.validate_response({"$ref": "#/components/schemas/Problem"}, response)
            return
        name = operation["operationId"]
        documented = operation["responses"].get(str(response.status_code))
        if documented is None:
            raise NonConforming(f"{name} responded with {response.status_code}: {response.text[:300]}")
        self.checked.add((name, response.status_code))
        for header, described in documented.get("headers", {}).items():
            if described["required"] and header not in response.headers:
                raise NonConforming(f"{name} {response.status_code} lacks the header {header}")
        media_type = response.headers.get("content-type", "")
        same = (name, response.status_code, response.request.method, media_type, hash(response.content))
        if same not in self._valid:
            self.check_content(name, documented.get("content", {}), response)
            self._valid.add(same)
        body = operation.get("requestBody", {"content": {}})
        content = body["content"].get("application/json")
        lenient = "handling=lenient" in response.headers.get("preference-applied", "")
        is_checked = response.is_success and content is not None and not lenient
        if is_checked and (body["required"] or response.request.content):
            self._validate(content["schema"], response, _strict(response.request), as_request=True)

    def operation(self, request: httpx.Request) -> Any:
        path = request.url.raw_path.partition(b"?")[0].decode()
        method = "get" if request.method == "HEAD" else request.method.lower()
        for pattern, operations in self.templates:
            if method in operations and pattern.fullmatch(path):
                return operations[method]
        return None

    def check_content(self, name: str, content: Mapping[str, Any], response: httpx.Response) -> None:
        if not content or response.request.method == "HEAD":
            if response.content:
                raise NonConforming(f"{name} {response.status_code} has a body")
            return
        media_type = response.headers.get("content-type", "").partition(";")[0]
        described = content.get(media_type) or content.get("*/*")
        if described is None:
            raise NonConforming(f"{name} {response.status_code} is {media_type}, documented {list(content)}")
        if media_type.endswith("json") and described["schema"]:
            self.validate_response(described["schema"], response)

    def validate_response(self, schema: Mapping[str, Any], response: httpx.Response) -> None:
        if response.request.method == "HEAD":
            if response.content:
                raise NonConforming(f"HEAD {response.request.url.path} has a body")
            return
        # A definition is validated as a request, because its steps are described by several schemas together.
        as_request = schema.get("$ref") in _WITH_DEFINITIONS
        self._validate(schema, response, _strict(response), as_request=as_request)

    def _validate(self, schema: Mapping[str, Any], response: httpx.Response, value: Any, *, as_request: bool) -> None:
        errors = [
            f"{'.'.join(map(str, ['$', *error.instance_path]))}: {error.message[:300]}"
            for error in self.validator(schema, as_request=as_request).iter_errors(value)
        ]
        if errors:
            raise NonConforming(f"{response.request.method} {response.request.url.path}: {errors}")

    def validator(self, schema: Mapping[str, Any], *, as_request: bool = False) -> Draft202012Validator:
        """Return the validator of *schema*, which may refer to the document's components."""
        key = json.dumps(schema), as_request
        if key not in self._validators:
            components = self._requests if as_request else self.document["components"]
            self._validators[key] = Draft202012Validator(
                {**schema, "components": components}, formats=_FORMATS, validate_formats=True
            )
        return self._validators[key]


def _pattern(template: str) -> re.Pattern[str]:
    escaped = re.sub(
        r"\\\{(\w+)\\\}", lambda m: ".+" if m[1] in ("path", "step_id", "signal_name") else "[^/]+", re.escape(template)
    )
    return re.compile(escaped.removesuffix("/") + "/?")


def _strict(message: httpx.Request | httpx.Response) -> Any:
    def refuse(constant: str) -> None:
        raise NonConforming(f"{constant} is not JSON")

    is_gzip = isinstance(message, httpx.Request) and message.headers.get("content-encoding") == "gzip"
    return json.loads(gzip.decompress(message.content) if is_gzip else message.content, parse_constant=refuse)
