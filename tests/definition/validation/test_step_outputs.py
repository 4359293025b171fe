"""Mappings of outputs that can't exist are refused; whatever may exist is accepted."""

import pytest
from msgspec import structs

from stepwell.contract.enums import ProviderType
from stepwell.definition.validation.provider_rules import ProviderCatalog
from stepwell.lifecycle.steps import StepMembers
from stepwell.providers.local import descriptor
from support.workflows.definitions import CATALOG, body, draw, faults, faults_of, join, mapped, validate

LOCAL = frozenset({"result_image_path", "result_image_paths", "width", "usage"})
FAL = frozenset({"result_image_path", "seed"})


def catalog(**outputs: frozenset[str] | None) -> ProviderCatalog:
    members = {
        ProviderType(name): (lambda _task_type, _config, names=names: StepMembers(outputs=names))
        for name, names in outputs.items()
    }
    return structs.replace(CATALOG, members=members)


DECLARED = catalog(LOCAL=LOCAL, FAL=FAL)
FIELD = ("steps", 1, "input_mappings", 0, "from_field")


@pytest.mark.parametrize(
    "from_field",
    [
        "result_image_path",
        "result_image_paths[0]",
        "result_image_paths[-1:]",
        "result_image_paths[*]",
        "usage.total_tokens",
        "usage.tokens[0].count",
        "result_image_pth || result_image_path",
        "[result_image_pth, width][1]",
        "to_string(@)",
        "keys(@)",
        "@",
        "*",
        '"result_image_pth"',
    ],
)
def test_a_field_that_may_exist_is_accepted(from_field: str) -> None:
    validate(body(draw(), join("b", "a", input_mappings=[mapped("a", from_field)])), DECLARED)


@pytest.mark.parametrize(
    "from_field",
    ["result_image_pth", "result_image_pth[0]", "usag.total_tokens", "heigth", "result-image-path", "seed", "usage x"],
)
def test_a_field_that_cannot_exist_is_refused(from_field: str) -> None:
    value = body(draw(), join("b", "a", input_mappings=[mapped("a", from_field)]))
    assert faults(value, DECLARED) == [(FIELD, "unknown_output")]


def test_the_refusal_names_the_field_that_is_near_or_all_fields() -> None:
    near, far = (
        faults_of(body(draw(), join("b", "a", input_mappings=[mapped("a", name)])), DECLARED)[0].msg
        for name in ("result_image_pth", "caption")
    )
    assert near == ("The result of GENERATION by LOCAL has no result_image_pth; did you mean result_image_path?")
    assert far == (
        "The result of GENERATION by LOCAL has no caption; "
        "it may have result_image_path, result_image_paths, usage, width"
    )


def test_a_provider_that_cannot_do_the_step_is_the_only_fault() -> None:
    real = structs.replace(CATALOG, members={ProviderType.LOCAL: descriptor.LOCAL.members_of})
    value = body(draw(task_type="LLM_INTERACTION"), join("b", "a", input_mappings=[mapped("a", "result_text")]))
    assert [kind for _, kind in faults(value, real)] == ["provider_unable"]


def test_a_field_that_the_fallback_may_give_is_accepted() -> None:
    mappings = [mapped("a", "seed", "t"), mapped("a", "width", "u"), mapped("a", "sed", "v")]
    value = body(draw(fallback_provider_type="FAL"), join("b", "a", input_mappings=mappings))
    assert faults(value, DECLARED) == [(("steps", 1, "input_mappings", 2, "from_field"), "unknown_output")]


@pytest.mark.parametrize(
    "source",
    [
        join("a"),
        draw(fallback_provider_type="LOCAL", provider_config={"provider_type": "FAL"}),
        {"id": "a", "task_type": "EXPERIMENTAL_FAL", "provider_config": {"fal_app_id": "x/y"}},
    ],
)
def test_nothing_is_refused_where_a_provider_may_give_any_field(source: dict[str, object]) -> None:
    value = body(source, join("b", "a", input_mappings=[mapped("a", "anything")]))
    validate(value, catalog(LOCAL=None, FAL=None))
    validate(value, structs.replace(CATALOG, members={}))


def test_a_hostile_field_name_is_cut_in_the_message() -> None:
    value = body(draw(), join("b", "a", input_mappings=[mapped("a", "x" * 1000)]))
    (fault,) = faults_of(value, DECLARED)
    assert len(fault.msg) < 500


@pytest.mark.parametrize(
    "expression",
    [
        "[a.result_image_path, a.result_image_pth]",
        "{x: a.result_image_pth}",
        "a | result_image_pth",
        "contains(a.result_image_pth, 'x')",
        "a.width > `1` && a.result_image_pth == 'x'",
        "a.result_image_path || a.result_image_pth",
    ],
)
def test_an_expression_is_searched_for_fields_that_cannot_exist(expression: str) -> None:
    choices = {"id": "b", "task_type": "APPROVAL", "config": {"choices": f"${{{expression}}}"}}
    one_of_them = {"id": "c", "task_type": "APPROVAL", "config": {"choices": ["no", f"${{{expression}}}"]}}
    value = body(draw(), choices, one_of_them, join("d", when=expression))
    assert faults(value, DECLARED) == [
        (("steps", 1, "config", "choices"), "unknown_output"),
        (("steps", 2, "config", "choices", 1), "unknown_output"),
        (("steps", 3, "when"), "unknown_output"),
    ]


def test_a_field_with_a_default_may_be_one_that_cannot_exist() -> None:
    config = {"x": "${a.result_image_pth || a.result_image_path}", "y": "${not_null(a.result_image_pth, 'none')}"}
    validate(body(draw(), join("b", config=config)), DECLARED)
