"""The snapshot of the OpenAPI document."""

import json
from typing import Any

from stepwell.api.routes.all_routes import openapi_document
from stepwell.providers.installed_providers import installed_providers

NAME = "openapi.json"
_WIDTH = 120


def openapi() -> str:
    """Return the document as JSON with the members in the order of their names. What fits in a line is in one."""
    return _text(json.loads(json.dumps(openapi_document([*installed_providers()]))), 0, 0) + "\n"


def _text(value: Any, indent: int, taken: int) -> str:
    """Return *value* as JSON. *taken* is the width of what stands before it in its line."""
    line = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if indent + taken + len(line) <= _WIDTH or not isinstance(value, dict | list) or not value:
        return line
    inner, end = "\n" + " " * (indent + 1), "\n" + " " * indent
    if isinstance(value, list):
        return f"[{inner}{f',{inner}'.join(_text(each, indent + 1, 0) for each in value)}{end}]"
    names = [(json.dumps(name, ensure_ascii=False), value[name]) for name in sorted(value)]
    members = [f"{name}: {_text(each, indent + 1, len(name) + 2)}" for name, each in names]
    return f"{{{inner}{f',{inner}'.join(members)}{end}}}"
