"""The member `for_each` of a step: what is refused and warned of, and at which place."""

from typing import Any

import pytest
from msgspec import structs

from stepwell.basics.strict_json.normalise import Handling
from stepwell.contract.definition import ForEach
from stepwell.contract.enums import ProviderType
from stepwell.definition.mapping.expressions import expressions_of
from stepwell.definition.validation.workflow import validate_workflow
from stepwell.lifecycle.steps import FlowControl, ForEachRule, StepMembers
from support.workflows.definitions import CATALOG, body, draw, faults_of, join, mapped, validate

FOR_EACH = ("body", "steps", 1, "for_each")
MIB = 1024 * 1024


def with_items(step: dict[str, Any] | None = None, /, **for_each: Any) -> dict[str, Any]:
    """Return a definition whose second step runs once for each item; the first one is `a`."""
    step = {"id": "b", "task_type": "PASSTHROUGH"} | (step or {})
    return body(join("a"), step | {"for_each": for_each}, inputs={"styles": ["red"]})


def picture(**config: Any) -> dict[str, Any]:
    return {"task_type": "GENERATION", "config": config}


def test_a_step_with_items_is_planned_with_them() -> None:
    validated = validate(with_items(items=["x", "y"], max_concurrency=3, on_item_failure="collect"))
    assert validated.steps[1].flow == FlowControl(for_each=ForEachRule(3, collect=True))
    assert validated.evaluates


def test_the_step_that_has_the_items_is_a_dependency() -> None:
    validated = validate(with_items(from_step="a", from_field="words", transform="FLATTEN"))
    assert validated.steps[1].depends_on == (0,)
    assert validated.request.steps[1].depends_on == ["a"]


@pytest.mark.parametrize("count", [3, 3.0])
def test_a_number_of_items_may_be_written_as_3_0(count: float) -> None:
    assert validate(with_items(count=count)).request.steps[1].for_each == ForEach(count=3)


def test_null_for_as_spreads_the_members_of_items_and_null_elsewhere_is_the_default() -> None:
    sent = with_items(items=[{"x": 1}], count=None, max_concurrency=None, on_item_failure=None, **{"as": None})
    assert validate(sent).request.steps[1].for_each == ForEach(items=[{"x": 1}], as_=None)


ONE_SOURCE = "Items come from one source: items, count, or from_step with from_field; "


@pytest.mark.parametrize(
    ("for_each", "place", "type_", "message"),
    [
        ({}, (), "missing", ONE_SOURCE + "name one of them"),
        ({"items": [1], "count": 2}, (), "conflict", ONE_SOURCE + "this names items and count"),
        ({"items": [1], "from_step": "a", "from_field": "f"}, (), "conflict", "this names items and from_step"),
        ({"from_step": "a"}, ("from_field",), "missing", "from_step needs a from_field"),
        ({"from_field": "f"}, ("from_step",), "missing", "from_field needs a from_step"),
        ({"from_step": "c", "from_field": "f"}, ("from_step",), "unknown_step", "There is no step 'c'"),
        ({"from_step": "b", "from_field": "items"}, ("from_step",), "self_dependency", "can't depend on itself"),
        ({"from_step": "a", "from_field": "f["}, ("from_field",), "bad_expression", ""),
        ({"items": [1], "transform": "FIRST"}, ("transform",), "conflict", "Only a value of from_step"),
        (
            {"from_step": "a", "from_field": "f", "transform": "PATH_TO_URL"},
            ("transform",),
            "bad_transform",
            "PATH_TO_URL reads files",
        ),
        ({"count": 0}, ("count",), "greater_than_equal", "Expected an integer >= 1"),
        ({"count": 1001}, ("count",), "less_than_equal", "<= 1000"),
        ({"count": 2.5}, ("count",), "", "number with a decimal point"),
        ({"count": "7"}, ("count",), "bad_expression", "Expected an integer, or one expression that gives it: ${…}"),
        ({"items": "x"}, ("items",), "bad_expression", "Expected a list, or one expression that gives it: ${…}"),
        ({"items": "a ${inputs.styles}"}, ("items",), "bad_expression", "Expected a list, or one expression"),
        ({"items": {"x": 1}}, ("items",), "", "got an object"),
        ({"items": [1] * 1001}, ("items",), "too_long", "Expected at most 1,000 items"),
        ({"items": ["x", "x" * MIB]}, ("items", 1), "too_long", "An item has at most 1,048,576 bytes"),
        ({"items": [{"x": 1}, 2], "as": None}, ("items", 1), "dict_type", "Expected an object: as is null"),
        ({"count": 2, "as": None}, ("as",), "conflict", "Numbers have no members"),
        ({"count": 2, "as": ""}, ("as",), "too_short", ""),
        ({"count": 2, "as": "a.b"}, ("as",), "bad_field", "without dots"),
        ({"count": 2, "as": "timeout_s"}, ("as",), "bad_field", "timeout_s is no input"),
        ({"count": 2, "max_concurrency": 0}, ("max_concurrency",), "greater_than_equal", ""),
        ({"count": 2, "max_concurrency": 1001}, ("max_concurrency",), "less_than_equal", ""),
        ({"count": 2, "on_item_failure": "ignore"}, ("on_item_failure",), "enum", "fail, collect"),
        ({"count": 2, "parallel": 2}, ("parallel",), "extra_forbidden", "max_concurrency"),
        ({"items": "${nobody.list}"}, ("items",), "unknown_step", "There is no step 'nobody'"),
        ({"items": ["${item}"]}, ("items", 0), "unknown_step", "item has a value only in the config of a step with"),
        ({"items": "${inputs."}, ("items",), "bad_expression", "No } ends this expression"),
        ({"count": "${inputs.n +}"}, ("count",), "bad_expression", "inputs.n +"),
    ],
)
def test_faulty_items_are_refused(for_each: dict[str, Any], place: tuple[Any, ...], type_: str, message: str) -> None:
    (fault,) = faults_of(with_items(**for_each))
    assert fault.loc == (*FOR_EACH, *place)
    assert type_ in ("", fault.type)
    assert message in fault.msg


def test_one_response_has_all_faults() -> None:
    sent = with_items(items=5, count=0, from_field="f[", **{"as": "timeout_s"}, on_item_failure="no", transform=3)
    found = {(fault.loc[4:], fault.type) for fault in faults_of(sent) if fault.loc[:4] == FOR_EACH}
    assert any(place == ("items",) for place, _ in found)
    assert found >= {
        (("count",), "greater_than_equal"),
        (("from_field",), "bad_expression"),
        (("from_step",), "missing"),
        (("as",), "bad_field"),
        (("on_item_failure",), "enum"),
        (("transform",), "enum"),
        ((), "conflict"),
    }


def test_a_cycle_through_the_step_with_the_items_is_named() -> None:
    sent = body(
        join("a", input_mappings=[mapped("b", "items")]), join("b", for_each={"from_step": "a", "from_field": "f"})
    )
    (fault,) = faults_of(sent)
    assert (fault.type, fault.msg) == (
        "dependency_cycle",
        "Dependencies form a cycle: 'a' needs 'b' needs 'a'; remove one of them",
    )


@pytest.mark.parametrize("task_type", ["APPROVAL", "SIGNAL", "DELAY"])
def test_a_step_that_waits_has_no_items(task_type: str) -> None:
    config = {"seconds": 5} if task_type == "DELAY" else {}
    (fault,) = faults_of(with_items({"task_type": task_type, "config": config}, count=2))
    assert fault.loc == FOR_EACH
    assert fault.msg == f"{task_type} has no items: leave this out"


def test_all_steps_together_have_at_most_10_000_items() -> None:
    steps = [join(f"s{number}", for_each={"count": 1000}) for number in range(11)]
    (fault,) = faults_of(body(*steps))
    assert (fault.loc, fault.type) == (("body", "steps", 10, "for_each", "count"), "too_many_items")


def test_a_mapping_and_the_items_cant_write_the_same_input() -> None:
    step = {"input_mappings": [{"from_step": "a", "from_field": "f", "to_field": "word.x"}]}
    (fault,) = faults_of(with_items(step, items=["x"], **{"as": "word"}))
    assert (fault.loc, fault.type) == ((*FOR_EACH, "as"), "conflicting_mappings")


class TestItemInExpressions:
    def test_the_config_of_a_step_with_items_reads_item(self) -> None:
        config = {"text": "${item.name} of ${inputs.styles}", "whole": "${item}"}
        assert validate(with_items({"config": config}, items="${inputs.styles}")).evaluates

    @pytest.mark.parametrize(
        ("step", "place"),
        [
            ({"when": "item.x"}, "when"),
            ({"when": "item.x", "for_each": {"count": 2}}, "when"),
            ({"config": {"x": "${item}"}}, "config"),
        ],
    )
    def test_elsewhere_it_has_no_value(self, step: dict[str, Any], place: str) -> None:
        (fault,) = faults_of(body(join("a"), {"id": "b", "task_type": "PASSTHROUGH"} | step))
        assert (fault.loc[3], fault.type) == (place, "unknown_step")
        assert "item has a value only in the config of a step with for_each" in fault.msg

    def test_who_writes_the_name_of_the_input_learns_that_it_is_item(self) -> None:
        (fault,) = faults_of(with_items({"config": {"x": "${style}"}}, items=["x"], **{"as": "style"}))
        assert "There is no step 'style'; the item is item in expressions." in fault.msg

    def test_faulty_texts_of_items_stay_literal_under_lenient_handling(self) -> None:
        sent = with_items(items=["${nobody}", "x"])
        validated = validate_workflow(sent, CATALOG, handling=Handling.LENIENT)
        assert validated.request.steps[1].for_each == ForEach(items=["$${nobody}", "x"])
        assert [(each.loc, each.type) for each in validated.warnings] == [
            ((*FOR_EACH, "items", 0), "literal_expression")
        ]

    def test_a_child_process_parses_the_expressions_of_items(self) -> None:
        found = expressions_of(with_items(items=["${inputs.a || 'b'}"], from_step="a", from_field="x[].y"))
        assert found == ["x[].y", "inputs.a || 'b'"]


class TestInputsOfItems:
    @pytest.mark.parametrize(
        "for_each",
        [
            {"items": ["a cat"], "as": "prompt"},
            {"items": "${inputs.styles}", "as": "prompt"},
            {"items": [{"prompt": "a cat"}, {"prompt": "a dog", "width": 256}], "as": None},
            {"items": "${inputs.styles}", "as": None},
            {"from_step": "a", "from_field": "f", "as": None},
            {"items": [], "as": None},
        ],
    )
    def test_an_item_may_provide_a_required_input(self, for_each: dict[str, Any]) -> None:
        validate(with_items(picture(), **for_each))

    @pytest.mark.parametrize(
        "for_each",
        [{"items": ["a cat"]}, {"items": [{"prompt": "a cat"}, {"prompt": None}], "as": None}],
    )
    def test_an_input_that_an_item_lacks_is_missing(self, for_each: dict[str, Any]) -> None:
        (fault,) = faults_of(with_items(picture(), **for_each))
        assert fault.loc == ("body", "steps", 1, "config", "prompt")
        assert fault.msg == "GENERATION needs prompt, from config, a mapping or each item"

    @pytest.mark.parametrize(
        ("for_each", "place"),
        [
            ({"items": ["a cat", 5], "as": "prompt"}, ("items", 1)),
            ({"items": [{"width": 64}, {"width": "x"}], "as": None}, ("items", 1, "width")),
        ],
    )
    def test_each_item_must_fit_the_config(self, for_each: dict[str, Any], place: tuple[Any, ...]) -> None:
        (fault,) = faults_of(with_items(picture(prompt="a cat"), **for_each))
        assert fault.loc == (*FOR_EACH, *place)

    def test_an_expression_among_the_items_is_checked_later(self) -> None:
        validate(with_items(picture(), items=[{"prompt": "a", "width": "${inputs.styles}"}], **{"as": None}))
        validate(with_items(picture(prompt="a"), items=["${inputs.styles}"], **{"as": "width"}))

    def test_a_mistyped_input_is_refused(self) -> None:
        (fault,) = faults_of(with_items(picture(prompt="a"), items=[64], **{"as": "widht"}))
        assert (fault.loc, fault.type) == ((*FOR_EACH, "as"), "mistyped_member")
        (fault,) = faults_of(with_items(picture(prompt="a"), items=[{"widht": 64}], **{"as": None}))
        assert fault.loc == (*FOR_EACH, "items", 0, "widht")


@pytest.mark.parametrize(
    ("for_each", "place", "message"),
    [
        ({"items": []}, "items", "There are no items"),
        ({"count": 12, "max_concurrency": 13}, "max_concurrency", "There are only 12 items"),
    ],
)
def test_items_that_are_hardly_meant_are_warned_of(for_each: dict[str, Any], place: str, message: str) -> None:
    (warning,) = validate(with_items(**for_each)).warnings
    assert warning.loc == (*FOR_EACH, place)
    assert message in warning.msg


def test_few_items_with_the_default_concurrency_are_fine() -> None:
    assert validate(with_items(count=2)).warnings == ()


@pytest.mark.parametrize(
    ("from_field", "message"),
    [
        ("items[0].seed", None),
        ("result_image_paths", None),
        ("failed", None),
        ("result_image_path", "The result of all items of GENERATION by LOCAL has no result_image_path; did you mean"),
        ("result_texts", "has no result_texts"),
    ],
)
def test_the_result_of_a_step_with_items_has_lists(from_field: str, message: str | None) -> None:
    outputs = {ProviderType.LOCAL: lambda *_: StepMembers(outputs=frozenset({"seed", "result_image_path"}))}
    catalog = structs.replace(CATALOG, members=outputs)
    sent = body(draw(for_each={"count": 2}), join("b", input_mappings=[mapped("a", from_field)]))
    if message is None:
        validate(sent, catalog)
        return
    (fault,) = faults_of(sent, catalog)
    assert message in fault.msg


def with_items_of_a_sub_workflow(name: str | None, items: list[Any], to_field: str = "inputs.x") -> dict[str, Any]:
    nested = {"name": "n", "steps": [join("c", config={"x": "${inputs.thing}"})], "inputs": {}}
    step = {"id": "b", "task_type": "SUBWORKFLOW", "config": {"workflow": nested}, "depends_on": ["a"]}
    mapping = {"from_step": "a", "from_field": "y", "to_field": to_field}
    return body(join("a"), step | {"for_each": {"items": items, "as": name}, "input_mappings": [mapping]})


@pytest.mark.parametrize(("name", "items"), [("thing", ["x", 1]), (None, [{"thing": "x"}]), ("workflow", [1])])
def test_an_item_of_a_sub_workflow_is_one_of_its_inputs(name: str | None, items: list[Any]) -> None:
    validated = validate(with_items_of_a_sub_workflow(name, items))
    warned = [warning.msg for warning in validated.warnings if "thing" in warning.msg]
    assert bool(warned) == (name == "workflow")


def test_a_mapping_and_the_items_cant_write_the_same_input_of_a_sub_workflow() -> None:
    (fault,) = faults_of(with_items_of_a_sub_workflow("x", [1]))
    assert (fault.loc, fault.type) == ((*FOR_EACH, "as"), "conflicting_mappings")
