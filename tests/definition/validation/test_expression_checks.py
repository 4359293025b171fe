"""The checks of expressions in a definition: faults with their place, implied dependencies, lenient handling."""

from typing import Any

import pytest

from stepwell.basics.errors import InvalidRequest
from stepwell.basics.strict_json.normalise import Handling
from stepwell.definition.mapping.expressions import expressions_of
from stepwell.definition.mapping.templates import parse_template
from stepwell.definition.validation.workflow import ValidatedWorkflow, validate_workflow
from support.workflows.definitions import CATALOG, body, draw, faults, faults_of, join, mapped, refine, validate

PROMPT = ("body", "steps", 1, "config", "prompt")


def lenient(value: Any) -> ValidatedWorkflow:
    return validate_workflow(value, CATALOG, handling=Handling.LENIENT)


def test_an_expression_implies_a_dependency_on_each_step_that_it_names() -> None:
    validated = validate(
        body(
            join("z", "y", config={"x": ["${a.v}", {"n": "${'b'} ${\"s-1\".v} ${y.v}"}]}, input_mappings=[mapped("m")]),
            *map(join, ("a", "b", "s-1", "y", "m")),
        )
    )
    (reader, *_) = validated.request.steps
    assert validated.evaluates
    assert reader.depends_on == ["y", "a", "s-1"]
    assert reader.dependencies == ["y", "a", "s-1", "m"]
    assert validated.steps[0].depends_on == (4, 1, 3, 5)


def test_a_definition_without_expressions_stays_as_it_is() -> None:
    validated = validate(body(join("a", config={"x": "costs $5 {y}", "${k}": 1}), config={"mine": "${not.mine}"}))
    assert not validated.evaluates
    assert validated.request.steps[0].depends_on == []


@pytest.mark.parametrize(
    ("prompt", "type_", "message"),
    [
        ("${b.x}", "unknown_step", "There is no step 'b'. An expression begins with the id of a step, with inputs or"),
        ("${gnerate.x}", "unknown_step", "There is no step 'gnerate'; did you mean generate? An expression"),
        ("${input.x}", "unknown_step", "There is no step 'input'; did you mean inputs?"),
        ('${"step-2".x}', "unknown_step", "There is no step 'step-2'; did you mean \"step-1\"?"),
        ("${generate.x || [b.x]}", "unknown_step", "There is no step 'b'"),
        ("${item.x}", "unknown_step", "item has a value only in the config of a step with for_each"),
        ("${a b}", "bad_expression", "a b: Not a JMESPath expression: unexpected text at character 3; write $${"),
        ("${inputs.a == 64}", "bad_expression", "at character 13; a number stands in backticks, as in a == `1`"),
        ("${inputs.a + `1`}", "bad_expression", "Unknown token + at character 10; JMESPath has no arithmetic"),
        ("${step-1.x}", "bad_expression", "in an expression the id 'step-1' stands in double quotes"),
        ("${generate.x", "bad_expression", "No } ends this expression"),
        ("${}", "bad_expression", "The expression is empty"),
        ("${nope()}", "bad_expression", "There is no function nope()"),
        (
            "${!generate.x}",
            "bad_expression",
            "! binds tighter than the dot, so this is always null; write !(a.b); write",
        ),
        ("${'x'.y}", "bad_expression", "A text, a number or a boolean has no members, so this is always null"),
        ("${generate[0].x}", "bad_expression", "'generate' is an object and no list, so this is always null"),
        ('${["step-1"[]]}', "bad_expression", "'step-1' is an object and no list"),
        ("${inputs[?x]}", "bad_expression", "'inputs' is an object and no list"),
        ("${['x'.y, inputs.a]}", "bad_expression", "A text, a number or a boolean has no members"),
        ("${a.x}", "self_dependency", "A step can't depend on itself"),
    ],
)
def test_a_faulty_expression_is_refused_at_its_place(prompt: str, type_: str, message: str) -> None:
    (fault,) = faults_of(body(draw("generate"), draw("a", config={"prompt": prompt}), draw("step-1")))
    assert (fault.loc, fault.type) == (PROMPT, type_)
    assert message in fault.msg
    if type_ in ("unknown_step", "bad_expression"):
        assert "write $${ for a literal ${" in fault.msg


def test_a_path_to_no_member_of_inputs_or_workflow_has_a_warning() -> None:
    texts = [
        "${inputs.thing} ${inputs.absent} ${inputs.described} ${inputs.nope || 'x'} ${workflow.labels.any}",
        "a ${inputs.thnig.a[0]}",
        '${workflow."input".thing}',
    ]
    validated = validate(
        body(
            join("a", config={"x": texts}),
            inputs={"thing": "shoe", "absent": None},
            inputs_schema={"properties": {"described": {}}},
        )
    )
    assert [(each.loc[5:], each.type, each.msg) for each in validated.warnings] == [
        (
            (1,),
            "unknown_member",
            "inputs has no 'thnig'; did you mean thing? The value of inputs.thnig.a[0] is null",
        ),
        ((2,), "unknown_member", "workflow has no 'input'. The value of workflow.\"input\".thing is null"),
    ]


def test_a_cycle_through_implied_dependencies_is_refused() -> None:
    steps = [join("a", config={"x": "${b.v}"}), join("b", config={"y": ["${c.v}"]}), join("c", "a")]
    assert faults(body(*steps)) == [(("steps", 0, "config", "x"), "dependency_cycle")]


def test_all_faults_are_reported_also_beside_a_broken_structure() -> None:
    steps = [draw("a", config={"prompt": "${x.y}", "width": "${b"}), draw("b", config={"prompt": 1}, nope=1)]
    assert sorted(faults(body(*steps)), key=str) == [
        (("steps", 0, "config", "prompt"), "unknown_step"),
        (("steps", 0, "config", "width"), "bad_expression"),
        (("steps", 1, "config", "prompt"), "string_type"),
        (("steps", 1, "nope"), "extra_forbidden"),
    ]


def test_members_with_expressions_pass_the_checks_of_types() -> None:
    config = {
        "base_image_url": "${draw.result_image_path}",
        "crop": [0, 0, "${inputs.w}", "${inputs.h}"],
        "scale": "${inputs.scale}",
        "rotate": "${inputs.angle}",
        "reference_image_urls": "${inputs.files}",
        "opacity": 0.5,
    }
    assert validate(body(draw("draw"), {"id": "edit", "task_type": "EDITING", "config": config})).evaluates


def test_members_without_expressions_are_checked_beside_them() -> None:
    config = {"base_image_url": "${draw.result_image_path}", "crop": [0, "x", "${inputs.w}"], "scale": "$${inputs.s}"}
    assert faults(body(draw("draw"), {"id": "edit", "task_type": "EDITING", "config": config})) == [
        (("steps", 1, "config", "scale"), "float_type"),
        (("steps", 1, "config", "crop"), "too_short"),
        (("steps", 1, "config", "crop", 1), "int_type"),
    ]


def test_an_expression_with_text_around_it_is_refused_where_no_text_is_valid() -> None:
    config = {"prompt": "a ${inputs.thing}", "width": "6${inputs.digit}", "height": "${inputs.height}"}
    (fault,) = faults_of(body(draw(config=config)))
    assert (fault.loc, fault.type) == (("body", "steps", 0, "config", "width"), "int_type")
    assert fault.msg.endswith("An expression with text around it gives a text: write one whole ${…}")


def test_the_advice_about_an_unknown_name_names_item_where_that_is_readable() -> None:
    step = draw(config={"prompt": "a ${itme}"}, for_each={"count": 2})
    (fault,) = faults_of(body(step))
    assert "did you mean item?" in fault.msg
    assert "with inputs, with workflow or with item" in fault.msg


def test_a_time_limit_has_no_expression() -> None:
    assert faults(body(draw(config={"prompt": "x", "timeout_s": "${inputs.t}"}))) == [
        (("steps", 0, "config", "timeout_s"), "bad_expression")
    ]


def test_under_lenient_handling_a_faulty_expression_is_escaped_and_reported() -> None:
    text = "${generate.x} ${b.x} $${c.x} ${a b} ${item}"
    validated = lenient(body(draw("generate"), draw("a", config={"prompt": text, "note": "${x"})))
    step = validated.request.steps[1]
    assert step.config == {"prompt": "${generate.x} $${b.x} $${c.x} $${a b} $${item}", "note": "$${x"}
    assert step.depends_on == ["generate"]
    found = [(warning.loc[4], warning.type) for warning in validated.warnings if warning.type == "literal_expression"]
    assert found == [("prompt", "literal_expression")] * 3 + [("note", "literal_expression")]
    strict = validate(body(draw("generate"), draw("a", config=step.config)))  # what is stored is valid by itself
    assert strict.request.steps[1].config == step.config


def test_an_expression_in_a_key_leads_to_a_warning_with_its_place() -> None:
    config = {"${inputs.x}": 1, "list": [{"deep": {"a ${b}": "${inputs.x}", "$${c}": None}}], "plain": {"$x": "y"}}
    inner = {"name": "n", "steps": [join("below", config={"${d}": 1})]}
    step = {"id": "sub", "task_type": "SUBWORKFLOW", "config": {"workflow": inner}}
    validated = validate(body(join("j", config=config), step, inputs={"x": 1}))
    nested = ("steps", 1, "config", "workflow", "steps", 0, "config", "${d}")
    assert sorted((warning.loc[1:], warning.type) for warning in validated.warnings) == [
        (("steps", 0, "config", "${inputs.x}"), "literal_expression"),
        (("steps", 0, "config", "list", 0, "deep", "$${c}"), "literal_expression"),
        (("steps", 0, "config", "list", 0, "deep", "a ${b}"), "literal_expression"),
        (nested, "literal_expression"),
    ]


def test_an_expression_where_nothing_evaluates_it_leads_to_a_warning() -> None:
    steps = [
        draw(provider_config={"provider_type": "FAL", "note": ["${inputs.x}"]}),
        join("j", config={"x": "${inputs}"}),
    ]
    validated = validate(
        body(*steps, config={"step_defaults": {"*": {"prompt": "a ${inputs.x}"}}, "mine": "${inputs.x}"})
    )
    assert [(warning.loc[1:], warning.type) for warning in validated.warnings] == [
        (("steps", 0, "provider_config", "note", 0), "literal_expression"),
        (("config", "step_defaults", "*", "prompt"), "literal_expression"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "${nope '${inputs.x}'} z",
        "${nope.x || '${generate.y}'}",
        "${nope.x || '${item'}",
        "${nope '}${inputs.x}'}",
        '${nope.x || `"$${"`}',
    ],
)
def test_nothing_in_a_faulty_expression_is_an_expression_under_lenient_handling(text: str) -> None:
    step = lenient(body(draw("generate"), draw("a", config={"prompt": text}))).request.steps[1]
    assert step.depends_on == []
    assert parse_template(step.config["prompt"]).parts == (text,)


def test_what_lenient_handling_keeps_literal_has_the_type_of_a_text() -> None:
    with pytest.raises(InvalidRequest) as caught:
        lenient(body(draw(config={"prompt": "x", "width": "${nope.x}"})))
    assert [fault.type for fault in caught.value.faults] == ["int_type"]


def test_the_expressions_of_a_step_and_of_a_definition_are_bounded() -> None:
    of_step = body(join("a", config={"x": ["${inputs.a}"] * 1_001}))
    assert faults(of_step) == [(("steps", 0, "config"), "too_many_expressions")]
    long = "${'" + "x" * 990 + "'}"
    assert faults(body(join("a", config={"x": long * 21}))) == [(("steps", 0, "config"), "too_many_expressions")]
    of_definition = body(*(join(f"s{n}", config={"x": ["${inputs.a}"] * 1_000}) for n in range(51)))
    assert faults(of_definition) == [(("steps", 50, "config", "x", 0), "too_many_expressions")]


def test_expressions_that_never_end_are_bounded_too() -> None:
    with pytest.raises(InvalidRequest) as caught:
        lenient(body(join("a", config={"x": ["${"] * 1_001})))
    assert [(fault.loc[1:], fault.type) for fault in caught.value.faults] == [
        (("steps", 0, "config"), "too_many_expressions")
    ]


def test_a_file_that_an_expression_names_is_not_checked_before_it_is_known() -> None:
    config = {"base_image_url": "${inputs.photo}", "prompt": "x"}
    assert validate(body(refine("r", config=config))).evaluates


WHEN = ("body", "steps", 0, "when")


def test_a_condition_implies_a_dependency_on_each_step_that_it_names() -> None:
    validated = validate(
        body(join("z", "y", when="a.ok && inputs.x == '${' && !b", config={"x": "${c.v}"}), *map(join, "yabc"))
    )
    (reader, *_) = validated.request.steps
    assert (validated.evaluates, reader.condition) == (True, "a.ok && inputs.x == '${' && !b")
    assert reader.depends_on == ["y", "a", "b", "c"]


@pytest.mark.parametrize(
    ("when", "type_", "message"),
    [
        ("${a.ok}", "bad_expression", "A condition is one whole expression: write it without ${ and }"),
        ("b.ok", "unknown_step", "There is no step 'b'. An expression begins with the id of a step, with inputs or"),
        ("step-1.ok", "bad_expression", "in an expression the id 'step-1' stands in double quotes"),
        (
            "a.score > 5",
            "bad_expression",
            "a.score > 5: Not a JMESPath expression: unexpected text at character 11",
        ),
        ("a.ok == true", "unknown_step", "There is no step 'true'; as a value, true stands in backticks: `true`. An"),
        ('a.kind == "big"', "unknown_step", "There is no step 'big'; a text stands in single quotes: 'big'. An"),
        ('a.kind == "step-2".kind', "unknown_step", "There is no step 'step-2'; did you mean \"step-1\"?"),
        ("a.ok and a.b", "bad_expression", "at character 6; JMESPath writes && for and, || for or, and ! for not"),
        ("not a.ok", "bad_expression", "at character 5; JMESPath writes && for and"),
        ("item", "unknown_step", "item has a value only in the config of a step with for_each"),
        (" ", "bad_expression", "Not a JMESPath expression: it ends too early"),
        ("z.ok", "self_dependency", "A step can't depend on itself"),
        ("", "too_short", ""),
        ("a" * 1_001, "too_long", ""),
        (True, "string_type", ""),
    ],
)
@pytest.mark.parametrize("check", [validate, lenient])
def test_a_faulty_condition_is_refused(check: Any, when: Any, type_: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check(body(join("z", when=when), join("a"), join("step-1")))
    (fault,) = refused.value.faults
    assert (fault.loc, fault.type) == (WHEN, type_)
    assert message in fault.msg
    assert "$${" not in fault.msg


def test_a_condition_of_a_broken_step_is_checked_too() -> None:
    step = join("z", when="nope.ok", max_retries=-1)
    assert {fault.loc[3] for fault in faults_of(body(step))} == {"when", "max_retries"}


def test_a_condition_that_reads_no_member_of_inputs_has_a_warning() -> None:
    (warning,) = validate(body(join("z", when="inputs.thnig"), inputs={"thing": 1})).warnings
    assert (warning.loc, warning.type) == (WHEN, "unknown_member")
    assert "did you mean thing?" in warning.msg


def test_a_condition_counts_as_an_expression_of_its_step() -> None:
    config = {"x": "${inputs.a}" * 1_000}
    (fault,) = faults_of(body(join("z", when="inputs.a", config=config), inputs={"a": 1}))
    assert (fault.loc, fault.type) == (("body", "steps", 0, "config"), "too_many_expressions")


def test_conditions_are_among_the_expressions_that_a_child_process_parses() -> None:
    sent = body(join("z", when="a.ok", config={"x": "${a.v}"}), join("a", when=5), join("b", when="x" * 1_001))
    assert expressions_of(sent) == ["a.ok", "a.v"]


@pytest.mark.parametrize(
    "expression",
    [
        "!(a.x)",
        "a.x[0]",
        "!a && a.*",
        '`{"b": 1}`.b',
        "a | [x][0]",
        "values(a)[0]",
        "[a][0].x",
        "sort_by(a.x, &y[0])",
        "@.a",
    ],
)
def test_an_expression_that_may_have_a_value_is_accepted(expression: str) -> None:
    assert validate(body(join("z", when=expression), join("a"))).steps[0].depends_on in ((1,), ())
