"""The page at /schema: the OpenAPI document as plain HTML that loads nothing and runs no script."""

from collections.abc import Iterator
from html import escape
from typing import Any

import msgspec

from stepwell.api.responses.page_style import STYLE
from stepwell.api.responses.problems import BY_STATUS, MEANINGS


def render_page(document: dict[str, Any]) -> bytes:
    info = document["info"]
    title = f"{escape(info['title'])} {escape(info['version'])}"
    body, contents = "".join(_body(document)), "".join(_contents(document))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style>'
        f'<nav class="side">{contents}</nav><main><h1>{title}</h1><p>{escape(info["description"])}</p>'
        '<p><a href="/manual/api">The manual</a> has examples. For machines: '
        '<a href="/schema/openapi.json">openapi.json</a>. Send a token as '
        "<code>Authorization: Bearer …</code>.</p>"
        f'<details class="menu"><summary>Contents</summary><nav>{contents}</nav></details>{body}</main></html>'
    ).encode()


def _operations(document: dict[str, Any], tag: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield path, method, operation


def _contents(document: dict[str, Any]) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<strong>{escape(tag['name'])}</strong>"
        for _, _, operation in _operations(document, tag["name"]):
            yield f'<a href="#{escape(operation["operationId"])}">{escape(operation["summary"])}</a>'
    yield '<strong>Reference</strong><a href="#components">Components</a><a href="#problems">Problems</a>'


def _body(document: dict[str, Any]) -> Iterator[str]:
    for tag in document["tags"]:
        yield f'<h2>{escape(tag["name"])}</h2><p class="dim">{escape(tag["description"])}</p>'
        for path, method, operation in _operations(document, tag["name"]):
            yield from _operation(path, method, operation)
    yield '<h2 id="components">Components</h2>'
    for name, component in document["components"]["schemas"].items():
        yield from _component(name, component)
    yield '<h2 id="problems">Problems</h2><p class="dim">RFC 9457; <code>type</code> leads here.</p><article><table>'
    for status, row in sorted(BY_STATUS.items()):
        meaning = escape(MEANINGS[status])
        yield f'<tr id="problem-{status}"><td><b>{status}</b> {escape(row.title)}</td><td>{meaning}</td></tr>'
    yield "</table></article>"


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f'<article id="{escape(operation["operationId"])}">'
    yield f'<h3><span class="verb {method}">{method.upper()}</span>'
    yield f"<code>{escape(path).replace('/', '/<wbr>')}</code></h3>"
    needs = "" if "security" in operation else ' <span class="dim">No token needed.</span>'
    yield f"<p><b>{escape(operation['summary'])}.</b> {escape(operation['description'])}{needs}</p>"
    if operation["parameters"]:
        yield "<table>"
        for parameter in operation["parameters"]:
            kind = _kind(parameter["schema"])
            note = f"{parameter['in']}, {kind}. {escape(parameter.get('description', ''))}"
            yield f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{note}</td></tr>"
        yield "</table>"
    if body := operation.get("requestBody"):
        for media_type, content in body["content"].items():
            note = "" if media_type == "application/json" else f" ({escape(media_type)})"
            yield f"<p>Body: {_kind(content['schema'])}{note}</p>"
            if "example" in content:
                yield f"<details><summary>Example</summary><pre>{_json(content['example'])}</pre></details>"
    yield "<details><summary>Answers</summary><table>"
    for status, answer in operation["responses"].items():
        kinds = ", ".join(_kind(content["schema"]) for content in answer.get("content", {}).values())
        yield f"<tr><td>{status}</td><td>{escape(answer['description'])} <span class=dim>{kinds}</span></td></tr>"
    yield "</table></details></article>"


def _component(name: str, component: dict[str, Any]) -> Iterator[str]:
    yield f'<article id="{escape(name)}"><h3>{escape(name)}</h3>'
    if "description" in component:
        yield f"<p>{escape(component['description'])}</p>"
    if "enum" in component:
        yield "<p>" + " · ".join(f"<code>{escape(str(member))}</code>" for member in component["enum"]) + "</p>"
    if "oneOf" in component:
        yield f"<p>One of {_kind(component)}.</p>"
    for part in component.get("allOf", ()):
        yield f"<p>Also {_kind(part)}.</p>"
    if members := component.get("properties"):
        required = component.get("required", ())
        yield "<table>"
        for member, kind in members.items():
            mark = " <b>*</b>" if member in required else ""
            note = escape(kind.get("description", ""))
            yield f"<tr><td><code>{escape(member)}</code>{mark}</td><td>{_kind(kind)}. {note}</td></tr>"
        yield '</table><p class="dim"><b>*</b> required</p>'
    yield "</article>"


def _kind(schema: dict[str, Any]) -> str:
    """Return a schema in a few words of HTML, with a link to its component."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if choices := schema.get("anyOf", schema.get("oneOf")):
        return " or ".join(_kind(choice) for choice in choices)
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}" if "items" in schema else "list"
    words = [escape(str(schema.get("format", schema.get("type", "anything"))))]
    if "const" in schema:
        words.append(f"<code>{escape(str(schema['const']))}</code>")
    if "exclusiveMinimum" in schema:
        words.append(f"more than {schema['exclusiveMinimum']}, at most {schema.get('maximum', '…')}")
    elif "minimum" in schema or "maximum" in schema:
        words.append(f"{schema.get('minimum', '…')} to {schema.get('maximum', '…')}")
    if "maxLength" in schema:
        words.append(f"{schema.get('minLength', 0)} to {schema['maxLength']} characters")
    if "enum" in schema:
        words.append("one of " + ", ".join(escape(str(member)) for member in schema["enum"]))
    if "default" in schema:
        words.append(f"default <code>{_json(schema['default'])}</code>")
    return ", ".join(words)


def _json(value: Any) -> str:
    return escape(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
