"""The served document holds everything that the contract holds, under the same names, with the same types."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from litestar.routes import HTTPRoute

from stepwell.api.openapi.components import EXAMPLE
from stepwell.api.openapi.document import problem_statuses
from stepwell.api.requests.operations import OPT_KEY, SHARED_KEY, Operation
from stepwell.api.routes.all_routes import openapi_document, operations
from stepwell.contract import enums
from stepwell.providers.installed_providers import installed_providers
from support.service.conformance import conforming_client
from support.service.live_service import Service

in_module_loop = pytest.mark.asyncio(loop_scope="module")
CONTRACT: dict[str, Any] = json.loads(Path(__file__).with_name("contract.openapi.json").read_text())
SERVED: dict[str, Any] = json.loads(json.dumps(openapi_document([*installed_providers()])))
COMPONENTS: dict[str, Any] = CONTRACT["components"]["schemas"]
OPERATIONS = [(path, method) for path, methods in CONTRACT["paths"].items() for method in methods]


NULL = {"type": "null"}
REF = "#/components/schemas/"
REQUESTS = ("CreateWorkflow", "WorkflowStepDefinition", "FieldMapping", "WorkflowUpdate")


def resolved(served: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with the component that it refers to, if the contract has no component of that name."""
    name = served.get("$ref", "").removeprefix(REF)
    return served if not name or name in COMPONENTS else SERVED["components"]["schemas"][name] | served


def different(wanted: dict[str, Any], served: dict[str, Any], place: str) -> list[str]:
    """Where *served* doesn't keep what *wanted* says.

    It may say more: members, limits, an enum's values, and null for a member of a request that may be absent. It may
    refer to a component where the contract has an object without a name.
    """
    if place.partition(".")[0] in REQUESTS and NULL in served.get("anyOf", []) and "anyOf" not in wanted:
        (choice,) = [choice for choice in served["anyOf"] if choice != NULL]
        served = choice | {word: value for word, value in served.items() if word != "anyOf"}
    served = resolved(served)
    if "$ref" in wanted:
        return [] if served.get("$ref") == wanted["$ref"] else [f"{place}: {served} isn't {wanted['$ref']}"]
    found = [
        f"{place}: {word} is {served.get(word)!r}, not {wanted[word]!r}"
        for word in (
            "type",
            "format",
            "default",
            "title",
            "minLength",
            "maxLength",
            "minItems",
            "additionalProperties",
            "scheme",
        )
        if word in wanted and served.get(word) != wanted[word]
    ]
    if sorted(wanted.get("required", [])) != sorted(served.get("required", [])):
        found.append(f"{place}: required {served.get('required')}, not {wanted.get('required')}")
    for name, member in wanted.get("properties", {}).items():
        if name in served.get("properties", {}):
            found += different(member, served["properties"][name], f"{place}.{name}")
        else:
            found.append(f"{place}.{name} is missing")
    if "items" in wanted:
        found += different(wanted["items"], served.get("items", {}), f"{place}[]")
    choices = served.get("anyOf", [])
    if len(choices) != len(wanted.get("anyOf", [])):
        found.append(f"{place}: anyOf {choices}, not {wanted.get('anyOf')}")
    for want in wanted.get("anyOf", []):
        if all(different(want, choice, place) for choice in choices):
            found.append(f"{place}: none of {choices} is {want}")
    return found


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_document_keeps_every_component_of_the_contract(name: str) -> None:
    served = SERVED["components"]["schemas"][name]
    if (
        name == "WorkflowListResponse"
    ):  # the total is null if total=false asks for that, which the contract doesn't know
        total = served["properties"]["total"]
        assert [choice["type"] for choice in total["anyOf"]] == ["integer", "null"]
        served = served | {"properties": served["properties"] | {"total": {"type": "integer", "title": total["title"]}}}
    assert different(COMPONENTS[name], served, name) == []


def _or_first(content: Any) -> Any:
    """Return *content* with the first of several alternatives, which is the contract's."""
    return content and {kind: schema.get("anyOf", [schema])[0] for kind, schema in content.items()}


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_the_document_keeps_every_operation_of_the_contract(path: str, method: str) -> None:
    wanted, served = CONTRACT["paths"][path][method], SERVED["paths"][path][method]
    assert served["summary"] == wanted["summary"]
    assert wanted["description"] in served["description"]
    assert served["security"] == wanted["security"]
    parameters = {(p["name"], p["in"]): p for p in served["parameters"]}
    for parameter in wanted["parameters"]:
        mine = parameters[parameter["name"], parameter["in"]]
        assert mine["required"] == parameter["required"]
        assert mine["schema"]["type"] == parameter["schema"]["type"]
        assert mine["schema"].get("default") == parameter["schema"].get("default")
    accepted = _content(served.get("requestBody"))
    if method == "patch" and accepted is not None:
        assert accepted.pop("application/merge-patch+json") == accepted["application/json"]
    assert _or_first(accepted) == _content(wanted.get("requestBody"))
    success = "201" if served["operationId"] == "create_workflow" else "200"
    responses, more = _content(wanted["responses"]["2XX"]), _content(served["responses"][success])
    assert responses is not None
    assert more is not None
    assert responses.items() <= more.items()
    # Other responses come only where the caller has asked for them.
    assert more.keys() - responses.keys() <= {"application/vnd.stepwell.dry-run+json"}
    assert _content(served["responses"]["422"]) == _content(wanted["responses"]["422"])


def _content(holder: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if holder is None else {kind: content["schema"] for kind, content in holder["content"].items()}


def test_the_document_keeps_the_security_scheme_of_the_contract() -> None:
    scheme = SERVED["components"]["securitySchemes"]["HTTPBearer"]
    assert CONTRACT["components"]["securitySchemes"]["HTTPBearer"].items() <= scheme.items()


def test_create_has_the_example_of_the_contract() -> None:
    assert COMPONENTS["CreateWorkflow"]["example"] == EXAMPLE
    create = SERVED["paths"]["/api/v1/workflows/"]["post"]
    assert create["requestBody"]["content"]["application/json"]["example"] == EXAMPLE


@pytest.mark.parametrize("name", ["TaskType", "ProviderType", "TransformType", "WorkflowStatus", "StepStatus"])
def test_enums_list_their_values(name: str) -> None:
    component = SERVED["components"]["schemas"][name]
    assert component["type"] == "string"
    assert set(component["enum"]) == {member.value for member in getattr(enums, name)}


@pytest.mark.parametrize(
    ("config", "member", "evaluated"),
    [
        ("GenerationConfig", "width", True),
        ("GenerationConfig", "timeout_s", False),
        ("ApprovalConfig", "choices", True),
        ("ApprovalConfig", "timeout_s", True),
        ("SignalConfig", "timeout_s", True),
        ("SignalConfig", "name", False),
        ("DelayConfig", "seconds", True),
        ("SubworkflowConfig", "inputs", True),
        ("SubworkflowConfig", "workflow", False),
    ],
)
def test_members_of_a_config_permit_an_expression_where_create_does(
    config: str,
    member: str,
    evaluated: bool,  # noqa: FBT001
) -> None:
    choices = SERVED["components"]["schemas"][config]["properties"][member]["anyOf"]
    assert ({"$ref": f"{REF}Expression"} in choices) is evaluated


def test_the_filter_of_events_names_their_types() -> None:
    (asked,) = [p for p in SERVED["paths"]["/api/v1/events"]["get"]["parameters"] if p["name"] == "type"]
    assert asked["description"].endswith(f": {', '.join(enums.EventType)}")


@pytest.mark.extended
def test_the_document_is_openapi_3_1() -> None:
    """By the schema of https://spec.openapis.org/oas/3.1/schema/2022-10-07, which leaves out what schemas hold."""
    specification = json.loads(Path(__file__).with_name("openapi-3.1.schema.json").read_text())
    errors = Draft202012Validator(specification).iter_errors(SERVED)
    assert [f"{error.json_path}: {error.message[:200]}" for error in errors] == []


def test_every_schema_is_valid_and_every_reference_resolves() -> None:
    for component in SERVED["components"]["schemas"].values():
        Draft202012Validator.check_schema(component)
    text = json.dumps(SERVED)
    for reference in set(text.split('"$ref": "#/components/schemas/')[1:]):
        assert reference.partition('"')[0] in SERVED["components"]["schemas"]


def test_operation_ids_are_unique() -> None:
    ids = [operation.id for operation in operations()]
    assert len(set(ids)) == len(ids)


@in_module_loop
async def test_every_route_has_an_operation_and_every_operation_its_route(api: Service) -> None:
    routed = set()
    for route in api.app.api.routes:
        assert isinstance(route, HTTPRoute)
        # The web page, that of decision links and that of the document, which are no part of the API.
        if route.path in ("/ui", "/decide", "/docs") or route.path.startswith("/ui/"):
            continue
        for handler in route.route_handlers:
            if handler.http_methods != {"OPTIONS"}:
                operation: Operation = handler.opt[OPT_KEY]
                for each in (operation, *handler.opt[SHARED_KEY]):
                    assert handler.http_methods == {*each.methods}
                    assert each.route_path == operation.route_path
                    routed.add((each.path, each.method.lower()))
    assert routed == {(path, method) for path, methods in SERVED["paths"].items() for method in methods}


def test_only_the_listed_operations_need_no_token() -> None:
    open_to_all = {operation.path for operation in operations() if operation.permission is None}
    assert open_to_all == {
        "/",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/schema",
        "/schema/openapi.json",
        "/openapi.json",
        "/manual",
        "/manual/{page}",
        "/manual/images/{image}",
        "/api/v1/callbacks/{token}",
    }
    assert [operation.id for operation in operations() if operation.signable] == ["get_artifact"]


HARMLESS = {"create_artifact_link", "plan_workflow", "create_stream_ticket"}


def test_operations_that_change_something_need_the_scope_to_write() -> None:
    for operation in operations():
        if operation.method != "GET" and operation.permission is not None:
            usual = "definitions:write" if operation.tag == "definitions" else "workflows:write"
            scope = {"decide_step": "workflows:approve"}.get(operation.id, usual)
            assert operation.permission == ("workflows:read" if operation.id in HARMLESS else scope)
            assert {401, 403, 413, 415, 422, 503} <= set(problem_statuses(operation))


@in_module_loop
async def test_the_document_is_served_without_a_token(api: Service) -> None:
    async with conforming_client(api.app.api) as client:
        for path in ("/schema/openapi.json", "/openapi.json"):
            assert (await client.get(path)).json() == SERVED


@in_module_loop
async def test_the_page_of_the_document_is_at_docs(api: Service) -> None:
    async with conforming_client(api.app.api) as client:
        response = await client.get("/schema")
        assert (response.status_code, response.headers["location"]) == (307, "/docs")


VERBS = "update_workflow start_workflow pause_workflow resume_workflow cancel_workflow cleanup_workflow"
# The operations that read JSON, or refuse a body.
CHANGES = " ".join(
    operation.id
    for operation in operations()
    if operation.method != "GET" and operation.permission is not None and operation.id != "upload_artifact"
)
BY_HAND = "give_step_result skip_step give_item_result skip_item"
DEFINITIONS = "put_definition update_definition delete_definition"
LISTS = "list_items list_tasks list_outputs list_deliveries list_events list_all_events"


@pytest.mark.parametrize(
    ("header", "status", "said", "names"),
    [
        (
            "Idempotency-Key",
            "409",
            "Idempotency-Replayed",
            f"create_workflow rerun_workflow redeliver decide_step signal_workflow {BY_HAND} {VERBS}",
        ),
        ("If-Match", "412", "ETag", f"redeliver decide_step signal_workflow {BY_HAND} {VERBS} {DEFINITIONS}"),
        (
            "If-None-Match",
            "304",
            "ETag",
            (
                f"get_workflow list_workflows get_task {LISTS} explain_workflow list_providers get_artifact sum_costs "
                "put_definition get_definition list_definitions list_definition_versions"
            ),
        ),
        ("Range", "416", "Accept-Ranges", "get_artifact"),
        ("If-Range", "206", "ETag", "get_artifact"),
        (
            "Prefer",
            None,
            "Preference-Applied",
            f"get_workflow {CHANGES}",
        ),
    ],
)
def test_each_request_header_has_its_status_and_its_response_header(
    header: str, status: str | None, said: str, names: str
) -> None:
    found = set()
    for path, methods in SERVED["paths"].items():
        for method, operation in methods.items():
            if any((each["name"], each["in"]) == (header, "header") for each in operation["parameters"]):
                found.add(operation["operationId"])
                expected = "412" if method == "put" else status
                assert status is None or expected in operation["responses"], (path, method)
                success = operation["responses"]["201" if "201" in operation["responses"] else "200"]
                # A redelivery returns the delivery, and a decision the step, not what was matched. A deleted definition
                # has no ETag.
                others = ("redeliver", "decide_step", "signal_workflow", "delete_definition", *BY_HAND.split())
                assert said in success["headers"] or (header == "If-Match" and operation["operationId"] in others)
    assert found == set(names.split())
