"""Mistyped members, members that the provider ignores, and placeholders that nothing fills."""

from typing import Any

import pytest
from msgspec import structs

from stepwell.basics.strict_json.normalise import Handling
from stepwell.contract.enums import ProviderType
from stepwell.contract.task_configs import CONFIGS
from stepwell.definition.validation.member_checks import MAX_WARNINGS
from stepwell.definition.validation.workflow import validate_workflow
from stepwell.lifecycle.steps import StepMembers
from support.workflows.definitions import CATALOG, body, draw, faults, faults_of, join, mapped, validate

FAL = {"provider_type": "FAL"}
LOCAL_MEMBERS = {task_type: frozenset(kind.__struct_fields__) for task_type, kind in CONFIGS.items()}
DECLARED = structs.replace(
    CATALOG,
    members={
        ProviderType.LOCAL: lambda task_type, _: StepMembers(
            inputs=LOCAL_MEMBERS[task_type] - {"negative_prompt"}, config=frozenset({"provider_type"})
        ),
        ProviderType.FAL: lambda _task_type, _: StepMembers(
            ignored=frozenset({"num_images"}), config=frozenset({"provider_type", "fal_app_id", "loras"})
        ),
    },
)
STEP = ("body", "steps", 0)
MISTYPED = "mistyped_member"


def warnings(*steps: Any, **members: Any) -> list[tuple[Any, str]]:
    return [(each.loc, each.type) for each in validate(body(*steps, **members), DECLARED).warnings]


def config(**members: Any) -> dict[str, Any]:
    return {"prompt": "x"} | members


def test_a_sound_definition_has_no_warnings() -> None:
    assert warnings(draw(config=config(width=8, timeout_s=5, seed=None, num_images=1)), join("b", "a")) == []


def test_a_mistyped_member_on_local_is_a_fault_that_names_the_known_one() -> None:
    (fault,) = faults_of(body(draw(config=config(heigth=5))), DECLARED)
    assert (fault.loc, fault.type) == ((*STEP, "config", "heigth"), "mistyped_member")
    assert fault.msg == "LOCAL has no heigth; did you mean height?"


def test_warnings_are_in_the_order_of_the_definition() -> None:
    names = ["retri", "step_default", "on_failur", "workflow_timeouts", "on_unknow", "retr"]
    assert warnings(draw(), config=dict.fromkeys(names)) == [(("body", "config", name), MISTYPED) for name in names]


def test_faults_of_step_defaults_are_in_the_order_of_the_definition() -> None:
    names = ["widht", "promt", "sed", "heigth", "hight", "wdth"]
    value = body(draw(), config={"step_defaults": {"*": dict.fromkeys(names, 5)}})
    assert [fault.loc[-1] for fault in faults_of(value, DECLARED)] == names


def test_a_mistyped_member_on_local_leads_to_a_warning_under_lenient_handling() -> None:
    value = body(draw(config=config(heigth=5), provider_config={"provder_type": "FAL"}))
    found = validate_workflow(value, DECLARED, handling=Handling.LENIENT).warnings
    assert [(each.loc[3:], each.type) for each in found] == [
        (("config", "heigth"), "mistyped_member"),
        (("provider_config", "provder_type"), "mistyped_member"),
    ]
    assert found[0].msg == "LOCAL ignores heigth; did you mean height?"


def test_a_mistyped_provider_type_is_a_fault_where_the_default_is_local() -> None:
    value = body(draw(provider_config={"provder_type": "FAL"}))
    assert faults(value, DECLARED) == [(("steps", 0, "provider_config", "provder_type"), "mistyped_member")]


def test_a_mistyped_member_of_another_provider_is_a_fault_if_it_was_to_select_that_provider() -> None:
    value = body(draw(provider_config={"grap": {}}))
    assert [fault.msg for fault in faults_of(value, DECLARED)] == ["LOCAL has no grap; did you mean graph?"]
    assert warnings(draw(provider_config={"provider_type": "LOCAL", "grap": {}})) == [
        ((*STEP, "provider_config", "grap"), "ignored_member")
    ]


def test_a_mistyped_target_of_a_mapping_is_a_fault_on_local() -> None:
    source = join("s", config={"value": 7})
    target = draw("b", depends_on=["s"], input_mappings=[mapped("s", "value", "sed")])
    assert faults(body(source, target), DECLARED) == [
        (("steps", 1, "input_mappings", 0, "to_field"), "mistyped_member")
    ]


@pytest.mark.parametrize(
    "members",
    [
        {"provider_config": FAL},
        {"fallback_provider_type": "FAL"},
        {"provider_config": FAL, "fallback_provider_type": "LOCAL"},
    ],
)
def test_a_mistyped_member_may_be_another_providers_own(members: dict[str, Any]) -> None:
    found = warnings(draw(config=config(heigth=5), **members))
    assert ((*STEP, "config", "heigth"), "mistyped_member") in found


def test_members_of_a_provider_config_are_compared_with_those_that_the_provider_reads() -> None:
    provider_config: dict[str, Any] = {**FAL, "lora": {}, "fal_ap_id": "x/y", "graph": {}, "nothing": None}
    place = (*STEP, "provider_config")
    assert warnings(draw(provider_config=provider_config)) == [
        ((*place, "lora"), "mistyped_member"),
        ((*place, "fal_ap_id"), "mistyped_member"),
        ((*place, "graph"), "ignored_member"),
    ]
    fallback = draw(fallback_provider_type="FAL", fallback_provider_config={"graph": {}})
    assert warnings(fallback) == [((*STEP, "fallback_provider_config", "graph"), "ignored_member")]


def test_members_that_the_provider_ignores_lead_to_warnings() -> None:
    assert warnings(draw(config=config(negative_prompt="y", other=1))) == [
        ((*STEP, "config", "negative_prompt"), "ignored_member"),
        ((*STEP, "config", "other"), "ignored_member"),
    ]
    drawn = draw(config=config(num_images=2, other=1), provider_config=FAL)
    assert warnings(drawn) == [((*STEP, "config", "num_images"), "ignored_member")]


def test_inputs_of_a_passthrough_have_any_name() -> None:
    assert warnings(join("a", config={"timeout": 5, "heigth": 1}, provider_config={"provder_type": "FAL"})) == []


def test_mistyped_defaults_are_faults_if_only_local_uses_them() -> None:
    defaults = {"step_defaults": {"GENERATION": {"heigth": 5}, "*": {"wdth": 5, "upscale_factor": 2}}}
    value = body(draw(), config=defaults)
    assert faults(value, DECLARED) == [
        (("config", "step_defaults", "GENERATION", "heigth"), "mistyped_member"),
        (("config", "step_defaults", "*", "wdth"), "mistyped_member"),
    ]
    found = warnings(draw(), draw("b", provider_config=FAL), config=defaults)
    assert (("body", "config", "step_defaults", "*", "wdth"), "mistyped_member") in found
    assert warnings(join("a"), config=defaults) == []


def test_a_mistyped_member_of_the_workflows_config_leads_to_a_warning() -> None:
    assert warnings(draw(), config={"on_failur": "cancel", "mine": 1}) == [
        (("body", "config", "on_failur"), "mistyped_member")
    ]


@pytest.mark.parametrize("text", ["a {{x}} b", "{{ user.name }}", "{{a-b}}{{c}}"])
def test_a_placeholder_leads_to_a_warning_at_its_string(text: str) -> None:
    steps = join("a", config={"list": ["", {"t": text}]}), draw("b", provider_config={"note": text})
    assert warnings(*steps, config={"step_defaults": {"GENERATION": {"prompt": text}}}) == [
        ((*STEP, "config", "list", 1, "t"), "unfilled_placeholder"),
        (("body", "steps", 1, "provider_config", "note"), "unfilled_placeholder"),
        (("body", "steps", 1, "provider_config", "note"), "ignored_member"),
        (("body", "config", "step_defaults", "GENERATION", "prompt"), "unfilled_placeholder"),
    ]


@pytest.mark.parametrize("text", ["{{}}", "{{{a}", "{ {x} }", '{"a": {"b": 1}}', "{{a b\n}}"])
def test_other_braces_are_no_placeholders(text: str) -> None:
    assert warnings(join("a", config={"t": text})) == []


def test_warnings_of_a_hostile_definition_are_bounded() -> None:
    found = validate(body(draw(config=config(**{f"m{n}": 1 for n in range(1000)}))), DECLARED).warnings
    assert len(found) == MAX_WARNINGS + 1
    assert (found[-1].msg, found[-1].type) == (f"{1000 - MAX_WARNINGS} more warnings", "too_many_warnings")
    long = validate(body(draw(config=config(**{"n" * 1_000_000: "{{" * 1_000_000}))), DECLARED).warnings
    assert [len(str(each.loc[-1])) for each in long] == [256]


def test_a_provider_that_declares_nothing_ignores_nothing() -> None:
    step = draw(config=config(negative_prompt="y", other=1), provider_config={"provider_type": "LOCAL", "mine": 1})
    assert validate(body(step)).warnings == ()
