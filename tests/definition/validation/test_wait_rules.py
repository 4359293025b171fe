"""The checks of steps that wait for decisions and signals: each fault with its place."""

from datetime import UTC, datetime
from typing import Any

import pytest

from stepwell.contract.enums import ProviderType, WaitKind
from stepwell.lifecycle.steps import FlowControl
from support.workflows.definitions import body, draw, faults_of, mapped, validate

NOW = datetime(2026, 11, 27, 18, tzinfo=UTC)
MANY = [f"c{number}" for number in range(51)]


def approval(step_id: str = "ask", **others: Any) -> dict[str, Any]:
    return {"id": step_id, "task_type": "APPROVAL"} | others


def signal(step_id: str = "sent", **others: Any) -> dict[str, Any]:
    return {"id": step_id, "task_type": "SIGNAL"} | others


def test_steps_that_wait_have_no_provider_and_no_retries() -> None:
    steps = validate(body(approval(config={"message": "Print?", "timeout_s": 86_401}), signal(), draw("c"))).steps
    assert [(step.provider, step.max_retries, step.flow) for step in steps] == [
        (None, 0, FlowControl(waits_for=WaitKind.DECISION)),
        (None, 0, FlowControl(waits_for=WaitKind.SIGNAL, signal="sent")),
        (ProviderType.LOCAL, 3, None),
    ]


@pytest.mark.parametrize(
    "config",
    [
        {"choices": ["a", "b"], "on_timeout": "b", "timeout_s": 9},
        {"choices": ["a", "reject"], "on_reject": "continue"},
        {"on_timeout": "approve", "on_reject": "fail", "timeout_s": 31_536_000},
        {"choices": "${draw.choices}", "on_timeout": "later", "timeout_s": 9, "on_reject": "fail"},
        {"choices": ["${draw.a}", "b"], "on_timeout": "later", "timeout_s": 9},
        {"timeout_s": "${inputs.hours}", "on_timeout": "${inputs.what}"},
        {"picture": "${draw.result_image_path}", "message": "Is ${inputs.title} good?"},
    ],
)
def test_an_approval_may_have_these_members(config: dict[str, Any]) -> None:
    inputs = {"hours": 3, "what": "approve", "title": "this"}
    assert validate(body(draw("draw"), approval(config=config), inputs=inputs)).warnings == ()


@pytest.mark.parametrize(
    ("step", "place", "type_"),
    [
        (approval(config={"choices": []}), ("config", "choices"), "too_short"),
        (approval(config={"choices": MANY}), ("config", "choices"), "too_long"),
        (approval(config={"choices": ["a", ""]}), ("config", "choices", 1), "too_short"),
        (approval(config={"choices": ["a", "fail"]}), ("config", "choices", 1), "reserved_choice"),
        (approval(config={"choices": ["a", "b", "a"]}), ("config", "choices", 2), "duplicate_choice"),
        (approval(config={"on_timeout": "later"}), ("config", "on_timeout"), "unknown_choice"),
        (approval(config={"choices": ["a"], "on_reject": "fail"}), ("config", "on_reject"), "unknown_choice"),
        (approval(config={"on_reject": "reject"}), ("config", "on_reject"), "enum"),
        (approval(config={"timeout_s": 31_536_001}), ("config", "timeout_s"), "less_than_equal"),
        (approval(config={"timeout_s": 0}), ("config", "timeout_s"), "greater_than"),
        (approval(config={"mesage": "?"}), ("config", "mesage"), "mistyped_member"),
        (approval(max_retries=1), ("max_retries",), "unused_member"),
        (approval(provider_config={"provider_type": "LOCAL"}), ("provider_config",), "unused_member"),
        (approval(fallback_provider_type="LOCAL"), ("fallback_provider_type",), "unused_member"),
        (approval(fallback_provider_type=""), ("fallback_provider_type",), "unused_member"),
        (approval(active_provider_capabilities=["x"]), ("active_provider_capabilities",), "unused_member"),
        (approval(fallback_provider_config={}), ("fallback_provider_config",), "unused_member"),
        (signal(fallback_provider_capabilities=[]), ("fallback_provider_capabilities",), "unused_member"),
        (approval(config={"choices": "a ${draw.x}"}), ("config", "choices"), "list_type"),
        (approval(config={"timeout_s": "1${draw.x}"}), ("config", "timeout_s"), "float_type"),
        (approval(config={"picture": "x" * 70_000, "text": "${draw.x}"}), ("config",), "too_long"),
        (signal(config={"on_timeout": "approve"}), ("config", "on_timeout"), "enum"),
        (signal(config={"name": "${draw.x}"}), ("config", "name"), "bad_expression"),
        (signal(input_mappings=[mapped("draw", "x", "name")]), ("config", "name"), "bad_expression"),
        (signal(config={"name": ""}), ("config", "name"), "too_short"),
        (signal(config={"name": ".."}), ("config", "name"), "bad_field"),
        (signal("."), ("config", "name"), "bad_field"),
        (signal(config={"name": "other"}), ("config", "name"), "duplicate_signal"),
    ],
)
def test_a_fault_of_a_step_that_waits_has_its_place(step: dict[str, Any], place: tuple[Any, ...], type_: str) -> None:
    found = faults_of(body(draw("draw"), signal("other"), step))
    assert [(fault.loc, fault.type) for fault in found] == [(("body", "steps", 2, *place), type_)]


def test_defaults_for_every_type_dont_apply_to_waits() -> None:
    defaults = {"*": {"timeout_s": 5, "choices": 1}, "APPROVAL": {"choices": ["a"]}}
    step = approval(config={"on_timeout": "a", "timeout_s": 9})
    assert validate(body(step, config={"step_defaults": defaults})).warnings == ()


@pytest.mark.parametrize("step", [approval(config={"on_timeout": "reject"}), signal(config={"on_timeout": "continue"})])
def test_an_on_timeout_without_a_timeout_has_a_warning(step: dict[str, Any]) -> None:
    (warning,) = validate(body(step)).warnings
    assert (warning.loc, warning.type) == (("body", "steps", 0, "config", "on_timeout"), "no_timeout")
    known = step | {"config": step["config"] | {"timeout_s": "${inputs.s}"}}
    assert validate(body(known, inputs={"s": 1})).warnings == ()
    defaults = {"APPROVAL": {"timeout_s": 5}, "SIGNAL": {"timeout_s": 5}}
    assert validate(body(step, config={"step_defaults": defaults})).warnings == ()


def test_a_wait_that_the_workflows_timeout_ends_first_has_a_warning() -> None:
    (warning,) = validate(body(signal(config={"timeout_s": 60}), config={"workflow_timeout_s": 60})).warnings
    assert (warning.loc, warning.type) == (("body", "steps", 0, "config", "timeout_s"), "timeout_too_long")


def test_an_output_that_a_decision_never_has_is_refused() -> None:
    join = {"id": "j", "task_type": "PASSTHROUGH", "input_mappings": [mapped("ask", "choise", "x")]}
    (fault,) = faults_of(body(approval(), join))
    assert fault.loc == ("body", "steps", 1, "input_mappings", 0, "from_field")
    assert "The result of ask" in fault.msg or "APPROVAL" in fault.msg


def test_step_defaults_cant_name_a_signal() -> None:
    (fault,) = faults_of(body(signal(), config={"step_defaults": {"SIGNAL": {"name": "paid"}}}))
    assert (fault.loc, fault.type) == (("body", "config", "step_defaults", "SIGNAL", "name"), "bad_field")


def delay(**config: Any) -> dict[str, Any]:
    return {"id": "later", "task_type": "DELAY", "config": config}


@pytest.mark.parametrize(
    "config",
    [
        {"seconds": 31_536_000},
        {"seconds": 0.5},
        {"until": "2026-11-27T18:00:00Z"},
        {"until": "2026-11-27T18:00:00+01:00"},
        {"seconds": "${draw.wait}"},
        {"until": "${draw.when}"},
    ],
)
def test_a_delay_has_seconds_or_until(config: dict[str, Any]) -> None:
    validated = validate(body(draw("draw"), delay(**config)))
    assert validated.warnings == ()
    assert validated.steps[1].flow == FlowControl(waits_for=WaitKind.DELAY)


@pytest.mark.parametrize(
    ("config", "place", "type_"),
    [
        ({}, (), "missing"),
        ({"seconds": None}, (), "missing"),
        ({"seconds": 1, "until": "2026-11-27T18:00:00Z"}, ("until",), "conflict"),
        ({"seconds": "${draw.x}", "until": "${draw.y}"}, ("until",), "conflict"),
        ({"seconds": 0}, ("seconds",), "greater_than"),
        ({"seconds": 31_536_001}, ("seconds",), "less_than_equal"),
        ({"seconds": "soon"}, ("seconds",), "float_type"),
        ({"until": "tomorrow"}, ("until",), "datetime_format"),
        ({"until": "2026-11-27T18:00:00"}, ("until",), "datetime_format"),
        ({"until": "2027-11-27T18:00:01Z"}, ("until",), "less_than_equal"),
        ({"seconds": 1, "timeout_s": 5}, ("timeout_s",), "unused_member"),
        ({"second": 1}, ("second",), "mistyped_member"),
    ],
)
def test_a_fault_of_a_delay_has_its_place(config: dict[str, Any], place: tuple[Any, ...], type_: str) -> None:
    found = faults_of(body(draw("draw"), delay(**config)), now=NOW)
    assert (("body", "steps", 1, "config", *place), type_) in [(fault.loc, fault.type) for fault in found]
    assert len(found) == (2 if "second" in config else 1)


def test_a_time_that_has_passed_and_a_longer_wait_than_the_workflows_timeout_have_warnings() -> None:
    (passed,) = validate(body(delay(until="2026-11-27T18:00:00Z")), now=NOW).warnings
    assert (passed.loc, passed.type) == (("body", "steps", 0, "config", "until"), "time_passed")
    (longer,) = validate(body(delay(seconds=60), config={"workflow_timeout_s": 60})).warnings
    assert (longer.loc, longer.type) == (("body", "steps", 0, "config", "seconds"), "timeout_too_long")


def test_a_delay_may_get_its_time_by_a_mapping() -> None:
    validate(body(draw("draw"), delay() | {"input_mappings": [mapped("draw", "result_image_path", "until")]}))
