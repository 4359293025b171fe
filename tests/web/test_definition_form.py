"""The form of a stored definition: its model for the examples of json-schema.org, and runs that are made by it."""

import json
import re
from typing import Any, Final

import pytest
from playwright.async_api import FilePayload, Page, Request, Route, expect

from stepwell.contract.scopes import Permission
from stepwell.web.static_files import static_files
from support.browser.accessibility import accessibility_faults
from support.browser.drops import drop_file
from support.browser.pages import NARROW, Site, User, keep_screenshots, signed_in
from support.documents.schema_examples import SCHEMAS
from support.emulators.openai import drawn
from support.providers.configured_by_steps import passthrough_step

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

Json = dict[str, Any]
RUN_URL = re.compile(r"/ui/workflows/[0-9a-f-]{36}$")
# Makes a form of JSON, fills it, and returns its kinds and what it gives as JSON. A place is a path, "address.street"
# or "tags.0". An item that isn't there is added.
MODEL = """async ({ urls, text }) => {
  const [{ parseJson }, { createForm, fieldAt, readForm }] = await Promise.all(urls.map((url) => import(url)));
  const { schema, stored, values } = parseJson(text);
  const members = (field) => Object.fromEntries(field.fields.map((each) => [each.name, kinds(each)]));
  const kinds = (field) => field.fields ? members(field) : field.items?.map(kinds) ?? field.kind;
  const form = createForm(schema, stored);
  for (const [place, value] of Object.entries(values)) {
    let field = form;
    for (const part of place.split(".").filter(Boolean)) {
      if (field.kind === "list" && !field.items[part]) field.addItem();
      [field] = fieldAt(field, [field.kind === "list" ? Number(part) : part]);
    }
    field.value = value;
  }
  return JSON.stringify({ kinds: kinds(form), ...readForm(form) });
}"""


async def model(page: Page, schema: Any, stored: Json | None = None, **values: str) -> Json:
    urls = [static_files().url(path) for path in ("lib/json.js", "views/definition/form_model.js")]
    text = json.dumps({"schema": schema, "stored": stored or {}, "values": values})
    found: Json = json.loads(await page.evaluate(MODEL, {"urls": urls, "text": text}))
    return found


def properties(**members: Any) -> Json:
    return {"type": "object", "properties": members}


FILE: Final = {"type": "string", "format": "artifact", "contentMediaType": "image/png", "title": "Photo"}
TEXT: Final = {"type": "string"}
NUMBER: Final = {"type": "number"}


async def test_examples_of_json_schema_are_forms_or_fields_for_json(user: User) -> None:
    page = await user.open("/ui/costs")
    for name, example in SCHEMAS.items():
        found = await model(page, example.schema, {}, **example.values)
        assert (found["kinds"], found["faults"]) == (example.kinds, []), name
        assert found["inputs"] == example.inputs, name
        response = await user.client.post(
            "/api/v1/workflows/plan",
            json={
                "name": name,
                "origin_instance": "tests",
                "steps": [passthrough_step("a")],
                "inputs_schema": example.schema,
                "inputs": found["inputs"],
            },
        )
        assert response.status_code == 200, (name, response.text)


async def test_what_a_form_cannot_show_is_a_field_for_json(user: User) -> None:
    page = await user.open("/ui/costs")
    node = properties(value=TEXT, next={"$ref": "#/$defs/node"})
    cases: list[tuple[Any, Any]] = [
        ({"oneOf": [TEXT, NUMBER]}, "json"),
        ({"anyOf": [TEXT, NUMBER], "type": "string"}, "json"),
        (properties(a=TEXT) | {"if": {}, "then": {}}, "json"),
        (properties(a=TEXT) | {"patternProperties": {"^x": TEXT}}, "json"),
        (properties(a=TEXT) | {"additionalProperties": TEXT}, "json"),
        (properties(a=TEXT) | {"additionalProperties": False, "dependentRequired": {"a": ["b"]}}, {"a": "text"}),
        ({"type": "array", "prefixItems": [TEXT, NUMBER]}, "json"),
        ({"type": "array"}, "json"),
        ({"type": "object"}, "json"),
        ({"type": ["string", "number"]}, "json"),
        ({"type": ["string", "null"]}, "text"),
        ({"anyOf": [{"$ref": "#/$defs/a~1b"}, {"type": "null"}], "default": None}, "integer"),
        ({"anyOf": [TEXT, {"type": "null"}], "type": ["string", "null"]}, "json"),  # two types
        ({"oneOf": [{"type": "null"}]}, "json"),
        ({"title": "no type"}, "json"),
        (True, "json"),
        ({"$ref": "#/$defs/node"}, {"value": "text", "next": "json"}),
        ({"$ref": "#/$defs/node", "title": "Node"}, {"value": "text", "next": "json"}),
        ({"$ref": "#/$defs/node", "required": ["value"], "type": "object"}, "json"),  # two types
        ({"$ref": "#named"}, "yes/no"),
        ({"$ref": "#/$defs/a~1b"}, "integer"),
        ({"$ref": "#/$defs/nothing"}, "json"),
        ({"$ref": "#"}, "json"),
        ({"const": 5}, "choice"),
        ({"enum": [1, "a", None, [2]]}, "choice"),
        (FILE, "file"),
    ]
    definitions = {"node": node, "x": {"$anchor": "named", "type": "boolean"}, "a/b": {"type": "integer"}}
    for schema, kind in cases:
        found = await model(page, properties(member=schema) | {"$defs": definitions})
        assert found["kinds"] == {"member": kind}, schema
    for schema in (None, True, {"type": "array", "items": TEXT}, {"oneOf": [properties(a=TEXT)]}, {"enum": [{}]}):
        found = await model(
            page, schema, {"kept": 2**53 - 1, "gone": 1}, **{"": '{"kept": 9007199254740991, "new": [{}]}'}
        )
        assert (found["kinds"], found["inputs"]) == ("json", {"gone": None, "new": [{}]})
    found = await model(page, {"properties": {"a": TEXT}})
    assert found["kinds"] == {"a": "text"}  # inputs are an object, whatever the schema says
    assert (await model(page, {"$ref": "#/$defs/node", "$defs": definitions}))["kinds"] == {
        "value": "text",
        "next": "json",
    }


async def test_a_form_gives_the_changes_of_the_stored_inputs(user: User) -> None:
    page = await user.open("/ui/costs")
    schema = properties(
        text=TEXT,
        number=NUMBER,
        integer={"type": "integer", "default": 3},
        flag={"type": "boolean"},
        choice={"enum": ["a", 2]},
        tags={"type": "array", "items": TEXT},
        size=properties(width={"type": "integer"}, height={"type": "integer"}) | {"required": ["width"]},
        extra={"title": "any"},
    )
    assert (await model(page, schema, {"integer": None, "choice": None}))["inputs"] == {"integer": 3}
    stored = {"text": "a", "number": 1.5, "flag": True, "tags": ["x"], "size": {"width": 1, "unit": "px"}, "hidden": 7}
    assert (await model(page, schema, stored))["inputs"] == {"integer": 3}
    changes = {"size.height": "2", "tags.1": "y", "choice": "1", "flag": "false"}
    assert (await model(page, schema, stored, **changes))["inputs"] == {
        "integer": 3,
        "size": {"height": 2},
        "tags": ["x", "y"],
        "choice": 2,
        "flag": False,
    }
    cleared = await model(page, schema, stored, text="", number="", integer="", flag="", extra='{"a": [1]}')
    assert cleared["inputs"] == {"text": "", "number": None, "flag": None, "extra": {"a": [1]}}
    found = await model(page, schema, {}, number="1,5", integer="1.5", extra="{", **{"size.height": "x", "tags.0": ""})
    assert {".".join(map(str, fault["loc"])): fault["message"].split(":")[0] for fault in found["faults"]} == {
        "number": "Expected a number", "integer": "Expected an integer", "tags.0": "Required", "size.width": "Required",
        "size.height": "Expected an integer", "extra": "Not JSON",
    }  # fmt: skip
    assert (await model(page, schema))["faults"] == []  # an object that may be missing requires nothing
    required = await model(page, {**schema, "required": ["size", "text", "tags"]})
    assert [fault["loc"] for fault in required["faults"]] == [["text"], ["size", "width"]]
    assert required["inputs"]["tags"] == []
    names = properties(__proto__=TEXT, constructor=TEXT)
    assert (await model(page, names, {}, __proto__="a"))["inputs"] == {"__proto__": "a"}


async def test_the_form_of_a_hostile_schema_is_small(user: User) -> None:
    page = await user.open("/ui/costs")

    def size(kinds: Any) -> int:
        below = kinds.values() if isinstance(kinds, dict) else kinds if isinstance(kinds, list) else ()
        return 1 + sum(map(size, below))

    doubling: Json = {"40": TEXT}
    for level in range(40):
        below = {"$ref": f"#/$defs/{level + 1}"}
        doubling[str(level)] = properties(a=below, b=below)
    nested: Json = TEXT
    for _ in range(20):
        nested = {"type": "array", "minItems": 1_000_000, "items": nested}
    many = {"type": "array", "items": TEXT}
    for schema, stored in (
        (properties(a={"$ref": "#/$defs/0"}) | {"$defs": doubling}, {}),
        (properties(a=nested) | {"required": ["a"]}, {}),
        (properties(a=many), {"a": ["x"] * 50_000}),
    ):
        found = await model(page, schema, stored)
        assert size(found["kinds"]) < 3_000


async def put(user: User, name: str, schema: Json | None, *steps: Json, **inputs: Any) -> None:
    body = {"steps": steps or [passthrough_step("a")], "inputs": inputs, "inputs_schema": schema}
    response = await user.client.put(f"/api/v1/definitions/{name}", json=body)
    assert response.status_code == 201, response.text


async def run_by(user: User, page: Page) -> tuple[Json, Json]:
    """Press "Run". Return the run, and its definition."""
    await page.get_by_role("button", name="Run", exact=True).click()
    await expect(page).to_have_url(RUN_URL)
    run_id = page.url.rsplit("/", 1)[1]
    run: Json = await user.site.service.until_ended(run_id)
    definition: Json = (await user.client.get(f"/api/v1/workflows/{run_id}/definition")).json()
    return run, definition


async def test_a_form_with_all_kinds_of_fields_runs_what_it_shows(user: User) -> None:
    schema = properties(
        product={"type": "string", "title": "Product", "description": "What the photos show."},
        count={"type": "integer", "title": "Count", "minimum": 1, "maximum": 8, "default": 2},
        strength={"type": "number", "title": "Strength"},
        style={"enum": ["plain", "warm"], "title": "Style"},
        upright={"type": "boolean", "title": "Upright", "default": True},
        shadow={"type": "boolean", "title": "Shadow"},
        day={"type": "string", "format": "date", "title": "Day"},
        tags={"type": "array", "title": "Tags", "items": {"type": "string", "maxLength": 20}},
        size={**properties(width={"type": "integer"}, height={"type": "integer"}), "title": "Size"},
        more={"title": "More", "oneOf": [TEXT, {"type": "object"}]},
    ) | {"required": ["product"]}
    await put(user, "photo-set", schema, tags=["stored"], size={"width": 64})
    page = await user.open("/ui/definitions/photo-set")
    await expect(page.get_by_text("It is shown once the inputs are complete.")).to_be_visible()
    await expect(page.get_by_text("What the photos show.")).to_be_visible()
    await page.get_by_role("button", name="Run", exact=True).click()
    await expect(page.get_by_label("Product")).to_be_focused()
    await expect(page.locator(".field-error")).to_have_text("Required")
    await page.get_by_label("Product").fill("a cup\nand a spoon")
    await expect(page.get_by_role("region", name="Price")).to_contain_text("Free")
    await expect(page.locator(".field-error")).to_have_count(0)
    await expect(page.get_by_label("Count")).to_have_value("2")
    await page.get_by_label("Strength").fill("0.25")
    await page.get_by_label("Style").select_option("warm")
    await page.get_by_label("Upright").uncheck()
    await page.get_by_label("Shadow").select_option("Yes")
    await page.get_by_label("Day").fill("2026-12-01")
    await page.get_by_role("button", name="Add to Tags").click()
    await expect(page.get_by_label("Tags 2", exact=True)).to_be_focused()
    await page.keyboard.type("second")
    await page.get_by_role("button", name="Remove Tags 1").click()
    await expect(page.get_by_role("button", name="Add to Tags")).to_be_focused()
    await page.get_by_label("height").fill("32")
    await page.get_by_label("More").fill('{"a": [1]}')
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "definition-form")
    await page.emulate_media(color_scheme="dark")
    assert await accessibility_faults(page) == []
    await page.set_viewport_size({"width": NARROW, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW
    run, definition = await run_by(user, page)
    assert (run["name"], run["status"], run["definition"]) == (
        "photo-set",
        "COMPLETED",
        {"name": "photo-set", "version": 1},
    )
    assert definition["inputs"] == {
        "product": "a cup\nand a spoon", "count": 2, "strength": 0.25, "style": "warm", "upright": False,
        "shadow": True, "day": "2026-12-01", "tags": ["second"], "size": {"width": 64, "height": 32},
        "more": {"a": [1]},
    }  # fmt: skip
    await page.get_by_text("Details").click()
    await page.get_by_role("link", name="photo-set@1").click()
    await expect(page.get_by_role("heading", level=1, name="photo-set")).to_be_visible()


async def test_each_example_of_json_schema_is_accessible_and_fits_a_narrow_screen(user: User) -> None:
    page = await user.open("/ui/definitions", width=NARROW)
    for name, example in SCHEMAS.items():
        await put(user, name.replace(" ", "-"), example.schema)
        await page.goto(f"{user.site.url}/ui/definitions/{name.replace(' ', '-')}")
        await expect(page.get_by_role("button", name="Run", exact=True)).to_be_visible()
        await expect(page.locator(".plan-column[aria-busy=false]")).to_be_visible()
        for button in await page.get_by_role("button", name="Add to").all():
            await button.click()
        shown = await page.locator("form :is(input, select, textarea):not([type=file])").count()
        assert shown > 2 or example.kinds == "json", name  # beside the name and the instance of the run
        assert await page.evaluate("document.documentElement.scrollWidth") == NARROW, name
        assert await accessibility_faults(page) == [], name
    await keep_screenshots(page, "definition-example")
    await page.close()
    user.errors.clear()  # the console names the 422 of the inputs that are missing


async def test_the_messages_of_the_service_stand_at_their_fields(user: User) -> None:
    schema = properties(
        count={"type": "integer", "maximum": 8},
        sizes={"type": "array", "items": properties(width={"type": "integer", "minimum": 16})},
        code={"oneOf": [{"type": "object", "required": ["a"]}]},
    ) | {"minProperties": 2}
    await put(user, "photo-set", schema, count=1, code={"a": 1})
    page = await user.open("/ui/definitions/photo-set")
    await expect(page.get_by_role("region", name="Price")).to_contain_text("Free")
    await page.get_by_label("count").fill("9")
    count = page.locator(".field", has=page.get_by_label("count"))
    await expect(count.locator(".field-error")).to_have_text("Expected maximum 8")
    await expect(page.get_by_label("count")).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_label("count")).to_have_accessible_description("at most 8 Expected maximum 8")
    await page.get_by_role("button", name="Add to sizes").click()
    await page.get_by_label("width").fill("3")
    width = page.locator(".field", has=page.get_by_label("width"))
    await expect(width.locator(".field-error")).to_have_text("Expected minimum 16")
    await page.get_by_label("code").fill("{}")
    await expect(page.locator(".field", has=page.get_by_label("code")).locator(".field-error")).to_have_count(1)
    await keep_screenshots(page, "definition-faults")
    assert await accessibility_faults(page) == []
    await page.get_by_label("code").fill("{")
    await expect(page.locator(".field-error").filter(has_text="Not JSON")).to_be_visible()
    await page.close()
    user.errors.clear()  # the console names the 422


async def test_files_are_uploaded_with_a_preview_and_run(user: User) -> None:
    schema = properties(photo=FILE, more={"type": "array", "title": "More photos", "items": FILE}) | {
        "required": ["photo"]
    }
    steps = [{"id": "refine", "task_type": "REFINE", "config": {"base_image_url": "${inputs.photo}"}}]
    await put(user, "photo-set", schema, *steps)
    page = await user.open("/ui/definitions/photo-set")
    upload = page.get_by_label("Upload Photo", exact=True)
    text: FilePayload = {"name": "a.txt", "mimeType": "text/plain", "buffer": b"a text"}
    await upload.set_input_files(text)
    await expect(page.locator(".field-error")).to_have_text("Expected image/png, a.txt is text/plain")
    await drop_file(page, page.locator(".input-file"), "red.png", drawn((64, 48)))
    await expect(page.get_by_role("img", name="Preview of red.png")).to_have_js_property("naturalWidth", 64)
    await expect(page.get_by_label("Photo", exact=True)).to_have_value(re.compile(r"^media/[0-9a-f-]{36}/red\.png$"))
    files: list[FilePayload] = [
        {"name": f"{name}.png", "mimeType": "image/png", "buffer": drawn((size, 32))}
        for name, size in (("blue", 32), ("green", 48))
    ]
    await page.get_by_label("Upload More photos").set_input_files(files)
    await expect(page.locator(".input-items li")).to_have_count(2)
    await expect(page.get_by_role("img", name=re.compile("Preview of"))).to_have_count(3)
    await expect(page.get_by_role("region", name="Price")).to_contain_text("Free")
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "definition-files")
    run, definition = await run_by(user, page)
    assert run["status"] == "COMPLETED"
    assert [path.rsplit("/", 1)[1] for path in definition["inputs"]["more"]] == ["blue.png", "green.png"]


async def test_a_run_whose_response_was_lost_is_created_once(user: User) -> None:
    await put(user, "photo-set", properties(a=TEXT))
    page = await user.open("/ui/definitions/photo-set")
    await expect(page.get_by_role("region", name="Price")).to_contain_text("Free")
    keys: list[str] = []

    async def lose(route: Route, request: Request) -> None:
        keys.append(request.headers["idempotency-key"])
        if len(keys) == 1:
            await route.fetch()
            await route.abort()
        else:
            await route.continue_()

    await page.route("**/api/v1/workflows/", lose)
    await page.get_by_role("button", name="Run", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("The service can't be reached")
    await page.get_by_text("Name and instance of the run").click()
    run, _ = await run_by(user, page)
    assert keys[0] == keys[1]
    listed = (await user.client.get("/api/v1/workflows/", params={"definition": "photo-set"})).json()["workflows"]
    assert [each["id"] for each in listed] == [run["id"]]
    await page.unroute("**/api/v1/workflows/")
    await page.go_back()
    await page.get_by_text("Name and instance of the run").click()
    await page.get_by_label("Name", exact=True).fill("The second")
    other, _ = await run_by(user, page)
    assert (other["name"], other["id"] != run["id"]) == ("The second", True)
    user.errors.clear()  # the console names the request that failed


async def test_the_instance_of_a_run_is_the_page_if_the_service_has_none(user: User) -> None:
    await put(user, "photo-set", properties(a=TEXT))
    page = await user.context.new_page()

    async def refuse(route: Route, request: Request) -> None:
        if "origin_instance" in (request.post_data_json or {}):
            await route.continue_()
        else:
            fault = {"loc": ["body", "origin_instance"], "msg": "Field required", "type": "missing"}
            await route.fulfill(status=422, json={"title": "Invalid request", "detail": [fault]})

    await page.route("**/api/v1/workflows/plan", refuse)
    await page.goto(f"{user.site.url}/ui/definitions/photo-set")
    await expect(page.get_by_role("region", name="Price")).to_contain_text("Free")
    run, _ = await run_by(user, page)
    assert run["origin_instance"] == "web"
    user.errors.clear()  # the console names the 422


async def test_a_definition_without_inputs_says_so_and_one_without_a_schema_has_a_field_for_json(user: User) -> None:
    await put(user, "plain", None)
    page = await user.open("/ui/definitions/plain")
    await expect(page.get_by_text("It has no inputs.")).to_be_visible()
    _, definition = await run_by(user, page)
    assert definition.get("inputs") in (None, {})
    await put(user, "open", None, a=1, b=2)
    await page.goto(f"{user.site.url}/ui/definitions/open")
    await page.get_by_label("Inputs").last.fill('{"a": 1234567890123456789}')
    await expect(page.get_by_role("region", name="Price")).to_contain_text("Free")
    _, definition = await run_by(user, page)
    assert definition["inputs"] == {"a": 1234567890123456789}


async def test_who_may_only_read_sees_the_price_and_uploads_nothing(site: Site) -> None:
    reading = (Permission.READ, Permission.READ_DEFINITIONS)
    async with signed_in(site) as owner, signed_in(site, tenant=owner.tenant, permissions=reading) as reader:
        await put(owner, "photo-set", properties(photo=FILE))
        page = await reader.open("/ui/definitions/photo-set")
        await expect(page.get_by_role("region", name="Price")).to_contain_text("Free")
        await expect(page.get_by_role("button", name="Run", exact=True)).to_have_count(0)
        await expect(page.locator("input[type=file]")).to_have_count(0)
