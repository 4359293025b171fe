"""Client generators read the served document as intended.

The rules are those of openapi-typescript and openapi-python-client. `test_typescript_client` and `test_python_client`
run both.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import Struct

from stepwell.api.openapi.components import EXAMPLE
from stepwell.api.routes.all_routes import openapi_document
from stepwell.basics.strict_json.normalise import normalise
from stepwell.basics.strict_json.schema_faults import collect
from stepwell.contract.definition import WorkflowConfig
from stepwell.contract.enums import TaskType
from stepwell.contract.task_configs import CONFIGS, ProviderConfig
from stepwell.definition.mapping.task_configs import config_faults, without_nulls
from stepwell.providers.installed_providers import installed_providers

CONTRACT: dict[str, Any] = json.loads(Path(__file__).with_name("contract.openapi.json").read_text())
SERVED: dict[str, Any] = json.loads(json.dumps(openapi_document([*installed_providers()])))
COMPONENTS: dict[str, Any] = SERVED["components"]["schemas"]
REF = "#/components/schemas/"
# Named after the task type alone, so that a renamed type can't rename a schema unnoticed.
CONFIG_NAMES = {
    "GENERATION": "GenerationConfig",
    "EDITING": "EditingConfig",
    "REFINE": "RefineConfig",
    "VIDEO_GENERATION": "VideoGenerationConfig",
    "BACKGROUND_FIX": "BackgroundFixConfig",
    "FACE_ENHANCER": "FaceEnhancerConfig",
    "IMAGE_ADJUSTER": "ImageAdjusterConfig",
    "DETAIL_ENHANCER": "DetailEnhancerConfig",
    "BACKGROUND_REMOVE": "BackgroundRemoveConfig",
    "LLM_INTERACTION": "LlmInteractionConfig",
    "EXPERIMENTAL_FAL": "ExperimentalFalConfig",
    "PASSTHROUGH": "PassthroughConfig",
    "APPROVAL": "ApprovalConfig",
    "SIGNAL": "SignalConfig",
    "DELAY": "DelayConfig",
    "SUBWORKFLOW": "SubworkflowConfig",
}
VALUES: list[Any] = [
    *(None, True, "", "x", "red", "#fff", "red\n", "zoom_in", "media/a/b.png", "x" * 20_001, "\U0001f600" * 20_000),
    *(-1_000_001, -101, -1, 0, 1, 2, 3, 8, 60, 100, 8192, 8193, 86_401, 2**63 - 1, 2**63),
    *(-0.5, 0.0, 0.5, 1.0, 1.5, 86_400.0, 1e300),
    *([], {}, [0, 0, 1, 1], [0, 0, 1], [-1, 0, 1, 1], ["a"], [""], ["a"] * 65, [{}], [{"role": "user"}], {"a": [1]}),
]


def schemas(node: Any, place: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object inside *node*, schemas and what holds them, with its JSON pointer."""
    if isinstance(node, dict):
        yield place, node
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from schemas(value, f"{place}/{key}")


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": REF + name, "components": SERVED["components"]})


def test_no_two_components_share_a_title() -> None:
    titles = Counter(component["title"] for component in COMPONENTS.values() if "title" in component)
    assert [title for title, count in titles.items() if count > 1] == []
    assert all(component["title"] == name for name, component in COMPONENTS.items() if "properties" in component)


def test_every_object_and_enum_beside_null_has_a_name() -> None:
    """openapi-python-client numbers the others: CreateWorkflowConfigType0."""
    choices = [
        (name, member, choice)
        for name, component in COMPONENTS.items()
        for member, schema in component.get("properties", {}).items()
        for choice in schema.get("anyOf", [])
    ]
    assert [each for each in choices if each[2].get("type") == "object" or "enum" in each[2]] == []
    assert COMPONENTS["WorkflowStepPublic"]["properties"]["result"]["anyOf"][0] == {"$ref": REF + "StepResult"}


def test_an_enum_of_one_value_is_a_constant() -> None:
    """Generators make a class of an enum: one for each reason of an explanation."""
    assert COMPONENTS["RemoteJob"]["properties"]["code"] == {"type": "string", "const": "remote_job"}
    assert [place for place, schema in schemas(SERVED["components"]) if len(schema.get("enum", "..")) == 1] == []


def test_schemas_have_the_contracts_defaults_and_no_others() -> None:
    def defaults(components: dict[str, Any]) -> dict[str, Any]:
        return {place: node["default"] for place, node in schemas(components) if "default" in node}

    assert defaults(COMPONENTS) == defaults(CONTRACT["components"]["schemas"])


def test_requests_require_what_the_contract_requires() -> None:
    assert COMPONENTS["WorkflowStepDefinition"]["required"] == ["id", "task_type"]
    assert COMPONENTS["FieldMapping"]["required"] == ["from_step", "from_field", "to_field"]
    assert sorted(COMPONENTS["CreateWorkflow"]["required"]) == ["name", "origin_instance", "steps"]
    assert "required" not in COMPONENTS["WorkflowUpdate"]


@pytest.mark.parametrize("name", ["CostSums", "DryRun", "Health", "Latency", "ModelLimit", "WorkflowPlan"])
def test_responses_beyond_the_contract_require_the_members_that_they_always_have(name: str) -> None:
    assert COMPONENTS[name]["required"] == list(COMPONENTS[name]["properties"])


def test_a_notice_requires_all_that_it_has_whatever_the_workflows_size() -> None:
    notice = COMPONENTS["WorkflowNoticeData"]
    assert notice["properties"].keys() - COMPONENTS["WorkflowPublic"]["properties"].keys() == {"link"}
    assert set(notice["properties"]) - set(notice["required"]) == {
        *("config", "cost", "description", "error_message", "errors", "final_step_result", "link", "steps")
    }
    assert COMPONENTS["WorkflowNotice"]["properties"]["data"] == {"$ref": REF + "WorkflowNoticeData"}


def test_the_config_of_each_task_type_is_a_schema_of_its_own_and_open() -> None:
    assert CONFIG_NAMES.keys() == {str(task_type) for task_type in TaskType}
    for task_type, name in CONFIG_NAMES.items():
        config = COMPONENTS[name]
        assert list(config["properties"]) == list(CONFIGS[TaskType(task_type)].__struct_fields__)
        assert config["additionalProperties"] is True
        assert "required" not in config


def test_a_step_is_discriminated_by_its_task_type() -> None:
    variant = COMPONENTS["StepVariant"]
    mapping = variant["discriminator"]["mapping"]
    assert variant["discriminator"]["propertyName"] == "task_type"
    assert mapping.keys() == CONFIG_NAMES.keys()
    assert variant["oneOf"] == [{"$ref": reference} for reference in mapping.values()]
    for task_type, reference in mapping.items():
        step = COMPONENTS[reference.removeprefix(REF)]
        assert step["properties"]["task_type"] == {"type": "string", "const": task_type}
        assert step["properties"]["config"] == {"anyOf": [{"$ref": REF + CONFIG_NAMES[task_type]}, {"type": "null"}]}
        assert step["required"] == ["task_type"]


def test_a_step_stays_the_contracts_object_for_generators_that_know_no_variants() -> None:
    """openapi-python-client generates no class for a schema with `oneOf` or `anyOf`, nor for one of a single
    reference; openapi-typescript takes the discriminating member away from what stands in `allOf` with a
    `discriminator`.
    """
    step = COMPONENTS["WorkflowStepDefinition"]
    assert step["type"] == "object"
    of_contract = CONTRACT["components"]["schemas"]["WorkflowStepDefinition"]["properties"].keys()
    assert step["properties"].keys() == of_contract | {"run_if", "optional", "when", "for_each", "repeat", "reuse"}
    assert not step.keys() & {"oneOf", "anyOf", "discriminator"}
    assert step["allOf"] == [{"oneOf": [{"$ref": REF + "StepVariant"}]}]


def test_the_defaults_of_configs_stand_in_their_descriptions() -> None:
    described = COMPONENTS["GenerationConfig"]["properties"]
    assert described["width"]["description"] == "In pixels, default 1024"
    assert described["timeout_s"]["description"].endswith(", default 600")
    assert COMPONENTS["EditingConfig"]["properties"]["scale"]["description"] == "Default 1"
    assert "description" not in described["seed"]


def test_the_example_is_a_request_of_the_document() -> None:
    assert [error.message for error in validator("CreateWorkflow").iter_errors(EXAMPLE)] == []


@pytest.mark.parametrize(
    ("task_type", "config"),
    [
        ("GENERATION", {"width": "wide"}),
        ("GENERATION", {"prompt": ""}),
        ("REFINE", {"upscale_factor": 9}),
        ("EDITING", {"crop": [0, 0, 1]}),
        ("LLM_INTERACTION", {"messages": []}),
        ("PASSTHROUGH", {"timeout_s": 0}),
    ],
)
def test_a_config_is_validated_by_the_steps_task_type(task_type: str, config: dict[str, Any]) -> None:
    step = validator("WorkflowStepDefinition")
    assert not step.is_valid({"id": "a", "task_type": task_type, "config": config})
    other = "EXPERIMENTAL_FAL" if task_type == "PASSTHROUGH" else "PASSTHROUGH"
    assert step.is_valid({"id": "a", "task_type": other, "config": config}) == (task_type != "PASSTHROUGH")
    assert step.is_valid({"id": "a", "task_type": task_type, "config": {"unknown": config}})
    assert step.is_valid({"id": "a", "task_type": task_type})


STEPS = validator("WorkflowStepDefinition")


@pytest.mark.extended
@pytest.mark.parametrize("task_type", TaskType)
def test_the_document_validates_single_members_as_the_service_does(task_type: TaskType) -> None:
    """The document refuses every member that the service refuses. Only the service checks members together."""
    for name in (*CONFIGS[task_type].__struct_fields__, "unknown"):
        for value in VALUES:
            config = {name: value}
            faults = [fault for fault in config_faults(task_type, config, ()) if fault.type != "too_many_pixels"]
            accepted = STEPS.is_valid({"id": "a", "task_type": task_type, "config": config})
            assert accepted == (not faults), config


KNOWN_VALUES = [*VALUES, "continue", "fail", "FAL", "a/b", 20, 21, 3.0, {"retry": None}, {"*": {"width": 1}}]
KNOWN_VALUES += [{"max_retries": value} for value in (None, 3, 3.0, 21, 1.5, "3")] + [{"base": 1}, {"max_s": -1}]


@pytest.mark.extended
@pytest.mark.parametrize(
    ("struct", "place"), [(WorkflowConfig, "config"), (ProviderConfig, "provider_config")], ids=["workflow", "provider"]
)
def test_the_document_validates_the_known_members_of_free_form_objects(struct: type[Struct], place: str) -> None:
    create = validator("CreateWorkflow")
    step = {"id": "a", "task_type": "PASSTHROUGH"}
    body: dict[str, Any] = {"name": "n", "origin_instance": "o", "steps": [step]}
    for name in (*struct.__struct_fields__, "unknown"):
        for value in KNOWN_VALUES:
            members = {name: value}
            request = body | {"config": members} if place == "config" else body | {"steps": [step | {place: members}]}
            refused = bool(collect(struct, normalise(struct, without_nulls(members)), ()))
            # The document lists the installed providers. Validation knows their names by itself.
            refused |= name == "provider_type" and isinstance(value, str) and value not in installed_providers()
            assert create.is_valid(request) == (not refused), members


@pytest.mark.extended
@settings(max_examples=200)
@given(st.data())
def test_the_document_accepts_every_config_that_the_service_accepts(data: st.DataObject) -> None:
    task_type = data.draw(st.sampled_from(list(TaskType)))
    names = st.sampled_from([*CONFIGS[task_type].__struct_fields__, "unknown"])
    config = data.draw(st.dictionaries(names, st.sampled_from(VALUES)))
    accepted = {name: value for name, value in config.items() if not list(config_faults(task_type, {name: value}, ()))}
    if not list(config_faults(task_type, accepted, ())):
        assert STEPS.is_valid({"id": "a", "task_type": task_type, "config": accepted})


def test_a_file_is_described_as_binary() -> None:
    response = SERVED["paths"]["/api/v1/artifacts/{path}"]["get"]["responses"]["200"]
    binary = {"schema": {"type": "string", "format": "binary"}}
    assert response["content"] == {"application/octet-stream": binary, "*/*": binary}
