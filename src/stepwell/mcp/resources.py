"""The resources: the pages of the manual, and the schemas of the API and of a definition."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from msgspec import Struct, json

from stepwell.api.routes.manual_pages import PAGES, read_heading, read_page
from stepwell.mcp.service_access import ServiceAccess

_MANUAL: Final = "stepwell://manual/"
OPENAPI: Final = "stepwell://schema/openapi"
DEFINITION: Final = "stepwell://schema/definition"
_DEFINITION_NAME = "CreateWorkflow"
_COMPONENTS = "#/components/schemas/"
_JSON = "application/json"


class TextResource(Struct, frozen=True):
    uri: str
    name: str
    description: str
    media_type: str


class UnknownResource(Exception):
    """There is no resource of that URI."""


@cache
def list_resources() -> tuple[TextResource, ...]:
    """Return all resources. They are the same for every caller."""
    pages = [
        TextResource(f"{_MANUAL}{name}", read_heading(name)[0], read_heading(name)[1], "text/markdown")
        for name in PAGES
    ]
    return (
        TextResource(DEFINITION, "Definition schema", "The JSON Schema of a workflow definition.", _JSON),
        TextResource(OPENAPI, "OpenAPI document", "The complete description of the REST API.", _JSON),
        *pages,
    )


async def read_resource(access: ServiceAccess, uri: str) -> tuple[str, str]:
    """Return the media type and the text of the resource *uri*. Raises `UnknownResource`."""
    if uri == OPENAPI:
        return _JSON, _text(await access.client.openapi())
    if uri == DEFINITION:
        return _JSON, _text(definition_schema(await access.client.openapi()))
    name = uri.removeprefix(_MANUAL)
    if name == uri or name not in PAGES:
        raise UnknownResource(f"There is no resource {uri!r}. resources/list lists all.")
    return "text/markdown", read_page(name)


def definition_schema(openapi: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a definition, with all that it refers to, from an OpenAPI document."""
    schemas = openapi["components"]["schemas"]
    definitions: dict[str, Any] = {}
    names = [_DEFINITION_NAME]
    while names:
        name = names.pop()
        if name not in definitions:
            definitions[name] = _with_own_references(schemas[name], names)
    root = definitions.pop(_DEFINITION_NAME)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": definitions}


def _with_own_references(value: Any, names: list[str]) -> Any:
    """Return *value* with references to `$defs`, and append the names that it refers to to *names*."""
    if isinstance(value, dict):
        return {key: _with_own_references(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_own_references(each, names) for each in value]
    if isinstance(value, str) and value.startswith(_COMPONENTS):
        name = value.removeprefix(_COMPONENTS)
        names.append(name)
        return f"#/$defs/{name}"
    return value


def _text(value: Any) -> str:
    return json.encode(value).decode()
