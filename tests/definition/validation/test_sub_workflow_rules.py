"""The checks of steps that run sub-workflows: all rules of a definition, at any depth, each fault with its place."""

import tracemalloc
from typing import Any

import pytest

from stepwell.basics.strict_json.normalise import Handling
from stepwell.definition.mapping import templates
from stepwell.definition.mapping.expressions import expressions_of
from stepwell.definition.validation.member_checks import MAX_WARNINGS
from stepwell.definition.validation.sub_workflow_rules import MAX_DEPTH
from stepwell.definition.validation.workflow import validate_workflow
from stepwell.lifecycle.steps import FlowControl, RepeatRule
from support.workflows.definitions import CATALOG, body, draw, faults_of, join, mapped, validate

CONFIG = ("steps", 0, "config")
NESTED = (*CONFIG, "workflow")


def nested(*steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"name": "nested", "steps": list(steps or (join("inner"),)), **members}


def sub(definition: Any = None, step_id: str = "sub", **members: Any) -> dict[str, Any]:
    config = {"workflow": nested() if definition is None else definition, **members.pop("config", {})}
    return {"id": step_id, "task_type": "SUBWORKFLOW", "config": config, **members}


def deep(levels: int) -> dict[str, Any]:
    """A step whose sub-workflows are nested so many levels deep."""
    return sub() if levels == 1 else sub(nested(deep(levels - 1)))


def placed(step: dict[str, Any], *others: dict[str, Any], **members: Any) -> list[tuple[tuple[str | int, ...], str]]:
    return [(fault.loc[1:], fault.type) for fault in faults_of(body(step, *others, **members))]


def test_a_sub_workflow_has_no_provider_and_no_retries() -> None:
    until = {"until": "status == 'COMPLETED'", "max": 3}
    validated = validate(body(sub(), sub(step_id="again", repeat=until), config={"retry": {"max_retries": 9}}))
    first, second = validated.steps
    assert (first.provider, first.max_retries, first.flow) == (None, 0, FlowControl(runs_workflow=True))
    assert second.flow == FlowControl(repeat=RepeatRule(3), runs_workflow=True)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"id": "a", "task_type": "SUBWORKFLOW"}, [(NESTED, "missing")]),
        (sub(7), [(NESTED, "dict_type")]),
        (sub({"name": "n", "steps": []}), [((*NESTED, "steps"), "too_short")]),
        (sub({"steps": [join("a")]}), [((*NESTED, "name"), "missing")]),
        (sub(nested(join("a", "b"))), [((*NESTED, "steps", 0, "depends_on", 0), "unknown_step")]),
        (sub(nested(draw("a", config={}))), [((*NESTED, "steps", 0, "config", "prompt"), "missing")]),
        (sub(nested(colour="red")), [((*NESTED, "colour"), "extra_forbidden")]),
        (sub(nested(origin_instance="x")), [((*NESTED, "origin_instance"), "unused_member")]),
        (sub(nested(webhook_url="ftp://x")), [((*NESTED, "webhook_url"), "url_invalid")]),
        (sub(nested(inputs_schema={"$ref": "http://x"})), [((*NESTED, "inputs_schema", "$ref"), "remote_reference")]),
        (
            sub(nested(sub(nested(join("a", "a"))))),
            [((*NESTED, "steps", 0, "config", "workflow", "steps", 0, "depends_on", 0), "self_dependency")],
        ),
        (sub(config={"timeout_s": 3}), [((*CONFIG, "timeout_s"), "unused_member")]),
        (sub(config={"inputs": [1]}), [((*CONFIG, "inputs"), "dict_type")]),
        (sub(config={"input": {}}), [((*CONFIG, "input"), "mistyped_member")]),
        (sub(max_retries=2), [(("steps", 0, "max_retries"), "unused_member")]),
        (sub(provider_config={"provider_type": "LOCAL"}), [(("steps", 0, "provider_config"), "unused_member")]),
    ],
)
def test_each_fault_has_its_place(step: dict[str, Any], expected: list[tuple[tuple[str | int, ...], str]]) -> None:
    assert placed(step) == expected


def test_faults_of_the_body_and_of_nested_definitions_are_in_one_response() -> None:
    found = placed(sub(nested(join("a", "b"))), join("c", "d"), name="")
    assert {place for place, _ in found} == {
        ("name",),
        (*NESTED, "steps", 0, "depends_on", 0),
        ("steps", 1, "depends_on", 0),
    }


def test_sub_workflows_are_nested_five_deep_at_most() -> None:
    assert validate(body(deep(MAX_DEPTH))).steps
    ((place, type_),) = placed(deep(MAX_DEPTH + 1))
    assert (type_, place.count("workflow")) == ("too_deep", MAX_DEPTH + 1)


def test_nested_steps_count_into_the_limit_of_a_definition() -> None:
    inner = [join(f"s{number}") for number in range(4_999)]
    assert len(validate(body(sub(nested(*inner)), sub(nested(*inner), step_id="other"))).steps) == 2
    assert placed(sub(nested(*inner)), sub(nested(*inner), step_id="other"), join("c")) == [(("steps",), "too_long")]


def test_nested_expressions_count_into_the_limit_of_a_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "MAX_EXPRESSIONS", 5)
    inner = nested(join("a", config={"x": ["${workflow.id}"] * 3}))
    validate(body(sub(inner), join("b", config={"x": ["${workflow.id}"] * 2})))
    ((place, type_),) = placed(sub(inner), sub(inner, step_id="other"))
    assert (place[:2], place[-1], type_) == (("steps", 1), 2, "too_many_expressions")


def test_only_the_sub_workflow_evaluates_its_definition() -> None:
    inner = nested(join("a", config={"x": "${inputs.colour} ${inputs.size}"}), inputs={"size": 3})
    step = sub(inner, config={"inputs": {"colour": "${draw.seed}"}})
    validated = validate(body(draw("draw"), step))
    assert validated.warnings == ()
    assert validated.request.steps[1].config["workflow"] == inner
    assert validated.steps[1].depends_on == (0,)
    (fault,) = faults_of(body(draw("draw"), sub(nested(join("a", config={"x": "${draw.seed}"})))))
    assert fault.loc == ("body", "steps", 1, "config", "workflow", "steps", 0, "config", "x")


def test_a_literal_text_of_the_step_is_escaped_without_its_sub_workflow() -> None:
    inner = nested(join("a", config={"x": "${inputs.size}"}), inputs={"size": 3})
    step = sub(inner, config={"inputs": {"text": "${nobody.x}"}})
    config = validate_workflow(body(step), CATALOG, handling=Handling.LENIENT).request.steps[0].config
    assert (config["workflow"], config["inputs"]) == (inner, {"text": "$${nobody.x}"})


def test_under_lenient_handling_the_origin_of_a_sub_workflow_is_ignored() -> None:
    pasted = nested(join("a"), origin_instance="x", origin_tenant_id="other", origin_zone=None)
    warnings = validate_workflow(body(sub(pasted)), CATALOG, handling=Handling.LENIENT).warnings
    assert [(each.loc, each.type) for each in warnings] == [
        (("body", *NESTED, "origin_instance"), "ignored_member"),
        (("body", *NESTED, "origin_tenant_id"), "ignored_member"),
    ]
    refused = faults_of(body(sub(pasted)))
    assert [(fault.loc, fault.type) for fault in refused] == [
        (("body", *NESTED, "origin_instance"), "unused_member"),
        (("body", *NESTED, "origin_tenant_id"), "unused_member"),
    ]
    assert refused[0].msg.endswith("leave this out; handling=lenient ignores it")


def test_warnings_of_nested_definitions_have_their_place() -> None:
    (warning,) = validate(body(sub(nested(join("a", config={"x": "${inputs.size}"}))))).warnings
    assert (warning.loc, warning.type) == (("body", *NESTED, "steps", 0, "config", "x"), "unknown_member")


def test_warnings_of_many_nested_definitions_take_no_memory() -> None:
    texts = ["{{x}}"] * 200
    steps = [sub(nested(join("a", config={"texts": texts})), f"s{number}") for number in range(40)]
    definition = body(*steps)
    tracemalloc.start()
    try:
        warnings = validate(definition).warnings
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(warnings) == MAX_WARNINGS + 1, "the last one says how many more there are"
    assert peak < 2 * 1024 * 1024


def test_a_wait_that_no_webhook_reports_has_a_warning_if_the_root_has_a_webhook() -> None:
    ask, paid = {"id": "ask", "task_type": "APPROVAL"}, {"id": "paid", "task_type": "SIGNAL"}
    hook = "https://example.com/hook"
    silent = sub(nested(join("first"), ask, paid, sub(nested(paid), step_id="below")))
    reported = sub(nested(ask, sub(nested(paid), step_id="below"), webhook_url=hook), step_id="reported")
    warnings = validate(body(silent, reported, webhook_url=hook)).warnings
    assert [(warning.loc[1:], warning.type) for warning in warnings] == [
        ((*NESTED, "steps", 1), "no_webhook"),
        ((*NESTED, "steps", 3, "config", "workflow", "steps", 0), "no_webhook"),
    ]
    assert validate(body(silent)).warnings == ()


def test_mappings_give_inputs_of_the_sub_workflow() -> None:
    inner = nested(join("a", config={"x": "${inputs.picture}"}))
    step = sub(inner, input_mappings=[mapped("draw", "result_image_path", "inputs.picture")])
    assert validate(body(draw("draw"), step)).warnings == ()
    for target in ("workflow.name", "inputs", "picture"):
        step = sub(inner, input_mappings=[mapped("draw", "result_image_path", target)])
        found = [(fault.loc[3:], fault.type) for fault in faults_of(body(draw("draw"), step))]
        assert (("input_mappings", 0, "to_field"), "bad_field") in found


def test_a_result_has_the_members_of_a_sub_workflow() -> None:
    assert validate(body(sub(), join("b", "sub", input_mappings=[mapped("sub", "final.text", "x")]))).steps
    (fault,) = faults_of(body(sub(), join("b", "sub", input_mappings=[mapped("sub", "image", "x")])))
    assert fault.type == "unknown_output"


@pytest.mark.parametrize(
    ("path", "items", "is_valid"),
    [
        ("sub.results.inner.x", False, True),
        ('sub.results."in-ner"[0].x', False, True),
        ("sub.results.iner.x", False, False),
        ('sub.results."inn-er"', False, False),
        ("sub.results.iner || `1`", False, True),
        ("sub.results", False, True),
        ("sub.items[*].results.inner.x", True, True),
        ("sub.items[*].results.iner.x", True, False),
        ("sub.items[0].results.iner", True, False),
        ("max_by(sub.items, &results.iner.x).final", True, True),
    ],
)
def test_a_result_of_a_step_that_the_sub_workflow_does_not_have_is_refused(
    path: str,
    items: bool,  # noqa: FBT001
    is_valid: bool,  # noqa: FBT001
) -> None:
    source = sub(nested(join("inner"), join("in-ner"))) | ({"for_each": {"count": 2}} if items else {})
    checked = body(source, join("b", config={"x": f"${{{path}}}"}))
    if is_valid:
        assert validate(checked).steps
        return
    (fault,) = faults_of(checked)
    assert (fault.loc[-1], fault.type) == ("x", "unknown_output")
    assert fault.msg.endswith("; it has inner, in-ner")


def test_a_condition_and_until_read_no_absent_step_of_the_sub_workflow() -> None:
    source = sub(repeat={"until": "results.iner.ok", "max": 2})
    assert placed(source, join("b", when="sub.results.iner.ok")) == [
        (("steps", 0, "repeat", "until"), "unknown_output"),
        (("steps", 1, "when"), "unknown_output"),
    ]


def test_defaults_define_no_sub_workflow() -> None:
    found = placed(sub(), config={"step_defaults": {"SUBWORKFLOW": {"workflow": nested()}}})
    assert found == [(("config", "step_defaults", "SUBWORKFLOW", "workflow"), "bad_field")]


def test_the_expressions_of_nested_definitions_are_parsed_ahead() -> None:
    inner = nested({**join("a", "b"), "when": "b.x"}, join("b", config={"y": "${inputs.z}"}))
    assert set(expressions_of(body(sub(inner, config={"inputs": {"z": "${c.v}"}})))) == {"b.x", "inputs.z", "c.v"}
