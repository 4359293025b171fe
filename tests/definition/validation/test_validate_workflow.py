from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.basics.errors import InvalidRequest
from stepwell.contract.definition import CreateWorkflow, WorkflowStepDefinition, WorkflowUpdate
from stepwell.contract.enums import OnFailure, RunIf
from stepwell.definition.mapping.input_mapping import effective_config
from stepwell.definition.validation.workflow import MAX_STEPS, parse_update, validate_workflow
from stepwell.lifecycle.feature_level import BASE_LEVEL
from support.workflows.definitions import CATALOG, body, draw, faults, faults_of, join, mapped, refine, validate


def test_the_example_of_the_contract_is_valid() -> None:
    size = {"width": 1024, "height": 1024}
    generate = draw("generate", config={"prompt": "fashion model wearing elegant dress"} | size)
    path = mapped("generate", "result_image_path", "base_image_url")
    value = body(generate, refine("refine", "generate", config={"upscale_factor": 2.0}, input_mappings=[path]))
    validated = validate(value)
    assert [step.step_id for step in validated.steps] == ["generate", "refine"]
    assert validated.steps[1].depends_on == (0,)
    assert validated.request.steps[1].config == {"upscale_factor": 2.0}


@pytest.mark.parametrize(
    "members",
    [
        {"optional": True},
        {"run_if": "any_completed"},
        {"when": "a"},
        {"repeat": {"until": "a", "max": 2}},
        {"for_each": {"count": 2}},
        {"task_type": "DELAY", "config": {"seconds": 1}},
        {"task_type": "SUBWORKFLOW", "config": {"workflow": {"name": "a child", "steps": [join("x")]}}},
    ],
)
def test_each_member_of_flow_control_makes_a_workflow_one_with_flow(members: dict[str, Any]) -> None:
    validated = validate(body(join("a"), join("b", "a") | members))
    assert (validated.has_flow, validated.feature_level) == (True, BASE_LEVEL)


def test_a_workflow_with_expressions_alone_is_one_without_flow() -> None:
    validated = validate(
        body(join("a"), join("b", "a", run_if="all_completed", optional=False, config={"x": "${a.x}"}))
    )
    assert (validated.has_flow, validated.evaluates, validated.feature_level) == (False, True, BASE_LEVEL)


def test_a_resolved_step_has_all_defaults_applied() -> None:
    validated = validate(
        body(
            join("z", "b", "a"),
            draw(max_retries=0, config={"prompt": "x", "timeout_s": 5}, fallback_provider_type="FAL"),
            refine("b", "a"),
            {"id": "c", "task_type": "EXPERIMENTAL_FAL", "provider_config": {"fal_app_id": "fal-ai/flux"}},
            join("d", provider_config={"provider_type": "FAL"}, fallback_provider_type="LOCAL"),
            config={
                "on_failure": "continue",
                "retry": {"max_retries": 7, "base_s": 0},
                "workflow_timeout_s": 60,
                "step_defaults": {"*": {"timeout_s": 50}, "REFINE": {"timeout_s": 20}},
                "mine": [1],
            },
        )
    )
    assert [step.depends_on for step in validated.steps] == [(2, 1), (), (1,), (), ()]
    assert [step.position for step in validated.steps] == [0, 1, 2, 3, 4]
    assert [step.max_retries for step in validated.steps] == [7, 0, 7, 7, 7]
    assert [step.timeout_s for step in validated.steps] == [50, 5, 20, 50, 50]
    assert [step.provider for step in validated.steps] == [None, "LOCAL", "LOCAL", "FAL", None]
    assert [step.fallback for step in validated.steps] == [None, "FAL", None, None, None]
    assert validated.config.on_failure is OnFailure.CONTINUE
    assert validated.config.retry.base_s == 0
    assert validated.config.retry.factor == 2
    assert validated.request.config["mine"] == [1]


def test_a_step_without_settings_has_the_services_defaults() -> None:
    [step] = validate(body(draw(run_if=None, optional=None))).steps
    assert (step.max_retries, step.timeout_s, step.fallback) == (3, 600.0, None)
    assert (step.run_if, step.optional) == (RunIf.ALL_COMPLETED, False)


def test_a_run_if_that_is_none_is_refused_with_those_that_there_are() -> None:
    [fault] = faults_of(body(draw(run_if="any_complete")))
    allowed = "all_completed, any_completed, all_ended"
    assert fault.msg == f"Expected one of {allowed}; did you mean any_completed?"


def test_a_step_without_dependencies_may_have_a_run_if_which_permits_it() -> None:
    [step] = validate(body(draw(run_if="any_completed", optional=True))).steps
    assert (step.run_if, step.optional) == (RunIf.ANY_COMPLETED, True)


OPTIONAL_OF_A_STEP = set(WorkflowStepDefinition.__struct_fields__) - {"id", "task_type"}
OPTIONAL_OF_A_WORKFLOW = set(CreateWorkflow.__struct_fields__) - {"name", "steps", "origin_instance"}


def test_null_for_any_optional_member_means_that_it_is_not_given() -> None:
    step = {"id": "a", "task_type": "PASSTHROUGH"}
    mapping = mapped("a", transform=None)
    nulls = body(
        step | dict.fromkeys(OPTIONAL_OF_A_STEP),
        step | dict.fromkeys(OPTIONAL_OF_A_STEP) | {"id": "b", "depends_on": ["a"], "input_mappings": [mapping]},
        **dict.fromkeys(OPTIONAL_OF_A_WORKFLOW),
    )
    del mapping["transform"]
    absent = body(step, step | {"id": "b", "depends_on": ["a"], "input_mappings": [mapping]})
    assert validate(nulls) == validate(absent)


@pytest.mark.parametrize(
    ("config", "defaults", "expected"),
    [
        ({"width": None}, None, {}),
        ({"width": None}, {"GENERATION": {"width": 512}}, {"width": 512}),
        ({}, {"*": {"width": 256}, "GENERATION": {"width": None}}, {"width": 256}),
        ({"mine": None}, {"GENERATION": {"width": 512}}, {"mine": None, "width": 512}),
    ],
)
def test_null_in_a_config_hides_no_default(config: Any, defaults: Any, expected: Any) -> None:
    validated = validate(body(draw(config={"prompt": "x"} | config), config={"step_defaults": defaults}))
    known = effective_config(validated.config, validated.request.steps[0])
    assert {name: value for name, value in known.items() if name != "prompt"} == (expected or config)


def test_an_integral_float_is_an_integer_wherever_one_is_expected() -> None:
    config = {"prompt": "x", "width": 512.0, "height": 256.0, "seed": 1e18}
    validated = validate(body(draw(max_retries=2.0, config=config), draw("b"), config={"retry": {"max_retries": 5.0}}))
    assert [step.max_retries for step in validated.steps] == [2, 5]
    assert faults(body(draw(config={"prompt": "x", "width": 512.5}))) == [((*A, "config", "width"), "int_type")]
    assert faults(body(draw(config={"prompt": "x", "width": 8193.0}))) == [((*A, "config", "width"), "less_than_equal")]
    assert faults(body(draw(config={"prompt": "x", "seed": 1e19}))) == [((*A, "config", "seed"), "int_type")]
    crop = {"base_image_url": "x", "crop": [0.0, 0, 8.0, 9]}
    validate(body({"id": "a", "task_type": "EDITING", "config": crop}))


A = ("steps", 0)
B = ("steps", 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, [((), "dict_type")]),
        ([], [((), "dict_type")]),
        ({}, [(("name",), "missing"), (("steps",), "missing"), (("origin_instance",), "missing")]),
        (body(), [(("steps",), "too_short")]),
        (body(draw(), steps={}), [(("steps",), "list_type")]),
        (body(draw(), name=""), [(("name",), "too_short")]),
        (body(draw(), name="x" * 256), [(("name",), "too_long")]),
        (body(draw(), naem="x"), [(("naem",), "extra_forbidden")]),
        (body(draw(), suppress_subtask_events=1), [(("suppress_subtask_events",), "bool_type")]),
        (body("x"), [(A, "dict_type")]),
        (body(draw(depend_on=["x"])), [((*A, "depend_on"), "extra_forbidden")]),
        (body(draw("")), [((*A, "id"), "too_short")]),
        (body(draw("x" * 256)), [((*A, "id"), "too_long")]),
        (body(draw("a\n")), [((*A, "id"), "string_pattern_mismatch")]),
        (body(draw("a\x7fb")), [((*A, "id"), "string_pattern_mismatch")]),
        (body(draw(task_type="PAINT")), [((*A, "task_type"), "enum")]),
        (body(draw(task_type=None)), [((*A, "task_type"), "enum")]),
        (body(draw(max_retries=21)), [((*A, "max_retries"), "less_than_equal")]),
        (body(draw(max_retries=3.5)), [((*A, "max_retries"), "int_type")]),
        (body(draw(max_retries=21.0)), [((*A, "max_retries"), "less_than_equal")]),
        (body(draw(max_retries=1e300)), [((*A, "max_retries"), "int_type")]),
        (body(draw(id=None)), [((*A, "id"), "string_type")]),
        (body(draw(fallback_provider_type="X")), [((*A, "fallback_provider_type"), "enum")]),
        (body(draw(run_if="any")), [((*A, "run_if"), "enum")]),
        (body(draw(optional="yes")), [((*A, "optional"), "bool_type")]),
        (body(draw(active_provider_capabilities=[1])), [((*A, "active_provider_capabilities", 0), "string_type")]),
        (
            body(draw(), join("b", "a", input_mappings=[mapped("a", transform="UP")])),
            [((*B, "input_mappings", 0, "transform"), "enum")],
        ),
        (
            body(draw(), join("b", "a", input_mappings=[mapped("a", "")])),
            [((*B, "input_mappings", 0, "from_field"), "too_short")],
        ),
    ],
)
def test_a_broken_structure_is_refused_at_its_place(value: Any, expected: Any) -> None:
    assert faults(value) == expected


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([draw(), draw()], [((*B, "id"), "duplicate_step_id")]),
        ([draw(), refine("b", "c")], [((*B, "depends_on", 0), "unknown_step")]),
        ([draw(), refine("b", "a", "a")], [((*B, "depends_on", 1), "repeated_dependency")]),
        ([draw(), refine("b", "a", "b")], [((*B, "depends_on", 1), "self_dependency")]),
        ([refine("a", "b"), refine("b", "a")], [((*A, "depends_on", 0), "dependency_cycle")]),
        (
            [draw(), join("b", input_mappings=[mapped("b")])],
            [((*B, "input_mappings", 0, "from_step"), "self_dependency")],
        ),
        (
            [join("a", "b"), join("b", input_mappings=[mapped("a")])],
            [((*A, "depends_on", 0), "dependency_cycle")],
        ),
        (
            [draw(), join("b", "a", input_mappings=[mapped("c")])],
            [((*B, "input_mappings", 0, "from_step"), "unknown_step")],
        ),
        (
            [draw(), join("b", "a", input_mappings=[mapped("a", "f(")])],
            [((*B, "input_mappings", 0, "from_field"), "bad_expression")],
        ),
        ([draw(), join("b", "a"), join("c", "b", input_mappings=[mapped("a")])], []),
    ],
)
def test_a_broken_graph_is_refused_at_its_place(steps: list[Any], expected: Any) -> None:
    if expected:
        assert faults(body(*steps)) == expected
    else:
        validate(body(*steps))


@pytest.mark.parametrize(
    ("fields", "bad"),
    [
        (["a", "b", "c.d", "c.e", "ab"], {}),
        (["a", "a"], {1: "conflicting_mappings"}),
        (["a", "a.b"], {1: "conflicting_mappings"}),
        (["a.b.c", "a.b", "a", "a.b.d"], {1: "conflicting_mappings", 2: "conflicting_mappings"}),
        (["a..b", ".a", "b.", "."], dict.fromkeys(range(4), "bad_field")),
        ([".".join("x" * 17), ".".join("x" * 16)], {0: "bad_field"}),
        (["timeout_s"], {0: "bad_field"}),
    ],
)
def test_two_mappings_may_not_write_the_same_field(fields: list[str], bad: dict[int, str]) -> None:
    value = body(draw(), join("b", "a", input_mappings=[mapped("a", to_field=field) for field in fields]))
    if bad:
        assert faults(value) == [((*B, "input_mappings", index, "to_field"), type_) for index, type_ in bad.items()]
    else:
        validate(value)


def test_a_missing_required_input_is_refused() -> None:
    assert faults(body(draw(config={}))) == [((*A, "config", "prompt"), "missing")]
    assert faults(body(draw(config={"prompt": None}))) == [((*A, "config", "prompt"), "missing")]
    assert faults(body(draw(config={"prompt": ""}))) == [((*A, "config", "prompt"), "too_short")]
    talk = {"id": "a", "task_type": "LLM_INTERACTION", "provider_config": {"provider_type": "FAL"}}
    assert faults(body(talk)) == [((*A, "config", "prompt"), "missing")]
    assert "prompt or messages" in faults_of(body(talk))[0].msg
    validate(body(talk | {"config": {"messages": [{"role": "user", "content": "x"}]}}))
    validate(body(draw(config={}), config={"step_defaults": {"GENERATION": {"prompt": "x"}}}))
    validate(body(draw(config={}), config={"step_defaults": {"*": {"prompt": "x"}}}))
    validate(body(join("j"), draw("b", config={}, depends_on=["j"], input_mappings=[mapped("j", to_field="prompt")])))
    nested = [mapped("j", to_field="messages.x")]
    validate(body(join("j"), talk | {"depends_on": ["j"], "input_mappings": nested}))


def test_faults_of_a_steps_config_and_of_its_defaults_are_reported() -> None:
    assert faults(body(draw(config={"prompt": "x", "width": 0, "seed": 2**63}))) == [
        ((*A, "config", "width"), "greater_than_equal"),
        ((*A, "config", "seed"), "less_than_equal"),
    ]
    defaults = {"*": {"timeout_s": 0}, "GENERATION": {"width": "x"}, "PAINT": {}, "REFINE": 1}
    assert sorted(faults(body(draw(), refine("b"), config={"step_defaults": defaults}))) == [
        (("config", "step_defaults", "*", "timeout_s"), "greater_than"),
        (("config", "step_defaults", "GENERATION", "width"), "int_type"),
        (("config", "step_defaults", "PAINT"), "enum"),
        (("config", "step_defaults", "REFINE"), "dict_type"),
    ]
    both = body(draw(config={"prompt": "x", "width": 8192}), config={"step_defaults": {"*": {"height": 8192}}})
    assert faults(both) == [((*A, "config", "width"), "too_many_pixels")]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"on_failure": "explode"}, [(("on_failure",), "enum")]),
        ({"on_unknown": "fail\n"}, [(("on_unknown",), "enum")]),
        ({"workflow_timeout_s": 0}, [(("workflow_timeout_s",), "greater_than")]),
        ({"workflow_timeout_s": "1"}, [(("workflow_timeout_s",), "float_type")]),
        ({"retry": 3}, [(("retry",), "dict_type")]),
        (
            {"retry": {"max_retries": 21, "base": 1}},
            [(("retry", "max_retries"), "less_than_equal"), (("retry", "base"), "extra_forbidden")],
        ),
        ({"step_defaults": []}, [(("step_defaults",), "dict_type")]),
        ({"on_failure": None, "retry": None, "step_defaults": None, "on_failures": "x"}, []),
        ({"retry": {"max_retries": None, "base_s": None}}, []),
    ],
)
def test_a_broken_workflow_config_is_refused_at_its_place(config: Any, expected: Any) -> None:
    value = body(draw(), config=config)
    if expected:
        assert faults(value) == [(("config", *loc), type_) for loc, type_ in expected]
    else:
        assert validate(value).request.config == config


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook?x=1#f",
        "http://localhost:8080",
        "https://[::1]:8443/x",
        "HTTPS://EXAMPLE.com",
        "https://bücher.de/ä",
    ],
)
def test_a_webhook_url_is_accepted(url: str) -> None:
    assert validate(body(draw(), webhook_url=url)).request.webhook_url == url
    assert parse_update({"webhook_url": url}).webhook_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com",
        "ftp://example.com",
        "javascript:alert(1)",
        "http://",
        "http:///x",
        "https://u@example.com",
        "https://u:p@example.com",
        "https://@example.com",
        "https://example.com:0",
        "https://example.com:99999",
        "https://example.com:x",
        "https://[::1",
        "https://[::1]8080/",
        "https://[::1].com/",
        "https://[::1]@example.com/",
        "https://\u2100.com/",
        "https://exa mple.com",
        " https://example.com",
        "https://example.com\n",
        "https://example.com/\t",
        "https://example.com\\@evil.com",
        "https://exa\u00a0mple.com",
        "file:///etc/passwd",
    ],
)
def test_an_invalid_webhook_url_is_refused(url: str) -> None:
    assert faults(body(draw(), webhook_url=url)) == [(("webhook_url",), "url_invalid")]
    with pytest.raises(InvalidRequest) as caught:
        parse_update({"webhook_url": url})
    assert [fault.loc for fault in caught.value.faults] == [("body", "webhook_url")]


def test_faults_of_structure_and_rules_are_reported_together() -> None:
    value = body(
        draw(config={"prompt": "x", "width": -1}, max_retries=99),
        {"id": "a", "task_type": "PAINT", "depends_on": ["nope", 5, "a"]},
        7,
        refine("r", "q", config={}, input_mappings=[{"from_step": "zz"}, mapped("zz", "f(")], provider_config=[]),
        draw("x", provider_config={"token": "t", "provider_type": "VERTEX"}),
        name=5,
        webhook_url="ftp://x",
        config={"on_failure": 1},
    )
    assert sorted(faults(value), key=str) == sorted(
        [
            (("name",), "string_type"),
            (("webhook_url",), "url_invalid"),
            (("config", "on_failure"), "enum"),
            (("steps", 0, "max_retries"), "less_than_equal"),
            (("steps", 0, "config", "width"), "greater_than_equal"),
            (("steps", 1, "task_type"), "enum"),
            (("steps", 1, "id"), "duplicate_step_id"),
            (("steps", 1, "depends_on", 0), "unknown_step"),
            (("steps", 1, "depends_on", 1), "string_type"),
            (("steps", 1, "depends_on", 2), "self_dependency"),
            (("steps", 2), "dict_type"),
            (("steps", 3, "depends_on", 0), "unknown_step"),
            (("steps", 3, "provider_config"), "dict_type"),
            (("steps", 3, "input_mappings", 0, "from_field"), "missing"),
            (("steps", 3, "input_mappings", 0, "to_field"), "missing"),
            (("steps", 3, "input_mappings", 1, "from_step"), "unknown_step"),
            (("steps", 3, "input_mappings", 1, "from_field"), "bad_expression"),
            (("steps", 4, "provider_config", "token"), "secret_in_request"),
            (("steps", 4, "provider_config", "provider_type"), "provider_not_configured"),
        ],
        key=str,
    )


def test_the_number_of_steps_is_bounded() -> None:
    steps = [join(f"s{n}") for n in range(MAX_STEPS + 1)]
    assert len(validate(body(*steps[:-1])).steps) == MAX_STEPS
    assert faults(body(*steps)) == [(("steps",), "too_long")]


def test_the_number_of_faults_is_bounded() -> None:
    found = faults_of(body(*[{"id": str(n), "task_type": "REFINE", "x": 1} for n in range(300)]))
    assert len(found) == 201
    assert found[-1].type == "too_many_faults"
    assert found[-1].msg == "400 more faults"


def test_the_length_of_all_expressions_is_bounded() -> None:
    def reading(*fields: str) -> Any:
        mappings = [mapped("a", field, f"t{index}") for index, field in enumerate(fields)]
        return body(draw(), join("b", "a", input_mappings=mappings))

    long = [f"[{n:0>4}]" + ".x" * 490 for n in range(310)]
    validate(reading(*long[:300]))
    validate(reading(*["x" * 900] * 400, *[long[0]] * 400))
    assert {type_ for _, type_ in faults(reading(*long))} == {"bad_expression"}


def test_unusual_step_ids_are_accepted() -> None:
    ids = ["../../etc/passwd", "'; DROP TABLE", "é", "e\u0301", "A", "a", "x" * 255, " ", "😀"]
    assert [step.step_id for step in validate(body(*map(join, ids))).steps] == ids


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, [((), "dict_type")]),
        ({"name": ""}, [(("name",), "too_short")]),
        (
            {"description": "x" * 1001, "webhook_url": 5},
            [(("description",), "too_long"), (("webhook_url",), "string_type")],
        ),
        ({"status": "COMPLETED"}, [(("status",), "extra_forbidden")]),
        ({"labels": {str(n): "" for n in range(21)}}, [(("labels",), "too_long")]),
        (
            {"labels": {"": "", "a:b": "", "a\n": "", "x" * 64: "", "a": "x" * 256, "b": 1}},
            [
                *((("labels", key), "string_pattern_mismatch") for key in ("", "a:b", "a\n", "x" * 64)),
                (("labels", "a"), "too_long"),
                (("labels", "b"), "string_type"),
            ],
        ),
    ],
)
def test_an_invalid_update_is_refused(value: Any, expected: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_update(value)
    assert [(fault.loc[1:], fault.type) for fault in caught.value.faults] == expected


def test_an_update_keeps_absent_fields_and_clears_null_ones() -> None:
    assert parse_update({}) == WorkflowUpdate()
    cleared = parse_update({"description": None, "webhook_url": None, "labels": None})
    assert (cleared.description, cleared.webhook_url, cleared.labels) == (None, None, None)
    assert cleared.name is msgspec.UNSET
    assert parse_update({"name": None}) == WorkflowUpdate()


def test_labels_may_have_the_longest_keys_and_values_and_empty_values() -> None:
    labels = {"x" * 63: "é" * 255, "Az0._/-": ""} | {str(n): "" for n in range(18)}
    assert parse_update({"labels": labels}).labels == labels


SCALARS = st.sampled_from(
    [None, True, 0, -1, 1.5, "", "a", "b", "GENERATION", "REFINE", "PASSTHROUGH", "FAL", "*", "http://x"]
)
NAMES = st.sampled_from(
    sorted({*CreateWorkflow.__struct_fields__, "retry", "step_defaults", "provider_type", "api_key", "GENERATION", "x"})
)
JUNK = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=8
)
IDS = st.sampled_from("abc")
STEPS = st.fixed_dictionaries(
    {"id": IDS | JUNK, "task_type": st.sampled_from(["GENERATION", "PASSTHROUGH", "EXPERIMENTAL_FAL"]) | JUNK},
    optional={
        "config": st.just({"prompt": "x"}) | JUNK,
        "depends_on": st.lists(IDS | JUNK, max_size=3),
        "input_mappings": st.lists(st.builds(mapped, IDS) | JUNK, max_size=2),
        "provider_config": st.fixed_dictionaries({"provider_type": st.sampled_from(["FAL", "LOCAL"]) | JUNK}) | JUNK,
        "fallback_provider_config": JUNK,
        "active_provider_capabilities": JUNK,
    },
)
BODIES = st.fixed_dictionaries(
    {"name": st.just("n"), "origin_instance": st.just("o"), "steps": st.lists(STEPS, max_size=3) | JUNK},
    optional={"config": JUNK, "webhook_url": JUNK},
)


@given(BODIES | JUNK)
def test_any_body_is_valid_or_refused_at_places_that_exist(value: Any) -> None:
    try:
        validated = validate_workflow(value, CATALOG)
    except InvalidRequest as error:
        found = error.faults
    else:
        found = ()
        assert len(validated.steps) == len(value["steps"])
    for fault in found:
        place = value
        for part in fault.loc[1:-1]:
            place = place.get(part, {}) if isinstance(place, dict) else place[part]
    assert len({(fault.loc, fault.type) for fault in found}) == len(found)
