"""Inputs that name files: which of them create refuses, at which place, and which it leaves for the run."""

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import structs

from stepwell.basics.strict_json.schema_faults import Loc
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.definition.validation.file_inputs import FILE_INPUTS, form_refusal
from stepwell.definition.validation.provider_rules import ProviderCatalog, ReferenceRule
from support.workflows.definitions import CATALOG, body, draw, faults_of, join, mapped, validate

ARTIFACT = "media/0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b/result.png"
DATA = "data:image/png;base64,AAAA"
PUBLIC = "https://pictures.example.com/a.png"
BAD = "./photo.jpg"
ACCEPTED = "an http(s) URL, a data URI, or the path of an artifact, media/{task_id}/{name}"
STEP: Loc = ("body", "steps", 0, "config")
DEFAULTS: Loc = ("body", "config", "step_defaults")


@pytest.mark.parametrize(
    "reference",
    [ARTIFACT, DATA, PUBLIC, "HTTPS://EXAMPLE.COM/A", "http://x", "DATA:,x", "data:", "http://127.0.0.1/", "http://["],
)
def test_every_form_of_a_reference_is_accepted(reference: str) -> None:
    assert form_refusal(reference) is None


@pytest.mark.parametrize(
    "reference",
    [
        "./photo.jpg",
        "../photo.jpg",
        "photo.jpg",
        "pictures/photo.jpeg",
        "my photo.png",
        " ./photo.jpg",
        "/etc/passwd",
        "/media/x/y.png",
        f"/api/v1/artifacts/{ARTIFACT}",
        f"./{ARTIFACT}",
        "~/x.png",
        "~root/x",
        "C:\\x.jpg",
        "c:/x.jpg",
        "\\\\server\\share\\x.jpg",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "file://localhost/x",
        "file:x.png",
        ".",
    ],
)
def test_a_local_path_is_refused_with_the_accepted_forms(reference: str) -> None:
    message = (
        f"The service can't read a path on your computer: expected {ACCEPTED}. POST /api/v1/artifacts uploads a file "
        "and returns such a path"
    )
    assert form_refusal(reference) == (message, "file_invalid")


@pytest.mark.parametrize(
    ("reference", "unread"),
    [
        ("ftp://example.com/x.png", "; ftp: isn't read"),
        ("s3://bucket/x.png", "; s3: isn't read"),
        ("gs://bucket/x", "; gs: isn't read"),
        ("javascript:x", "; javascript: isn't read"),
        ("blob:https://example.com/x", "; blob: isn't read"),
        ("http:/example.com", ""),
        ("https:example.com", ""),
        ("x", ""),
        ("photo", ""),
    ],
)
def test_anything_else_is_refused_with_the_accepted_forms(reference: str, unread: str) -> None:
    assert form_refusal(reference) == (f"Expected {ACCEPTED}{unread}", "file_invalid")


@pytest.mark.parametrize(
    "path",
    [
        "media/x/y.png",
        "media/",
        ARTIFACT.upper().replace("MEDIA", "media"),
        ARTIFACT.rpartition("/")[0],
        ARTIFACT.rpartition("/")[0] + "/",
        ARTIFACT.rpartition("/")[0] + "/../x",
        ARTIFACT + "/x",
        ARTIFACT + "\n",
        ARTIFACT.replace("-", ""),
    ],
)
def test_a_path_that_no_artifact_can_have_is_refused(path: str) -> None:
    expected = "No artifact has such a path: expected media/{task_id}/{name}, as in results"
    assert form_refusal(path) == (expected, "file_invalid")


def test_every_input_that_names_a_file_is_checked() -> None:
    assert FILE_INPUTS[TaskType.EDITING] == (
        "base_image_url",
        "reference_image_urls",
        "mask_image_url",
        "overlay_image_url",
    )
    assert FILE_INPUTS[TaskType.LLM_INTERACTION] == ("messages", "image_urls")
    assert FILE_INPUTS[TaskType.EXPERIMENTAL_FAL] == FILE_INPUTS[TaskType.PASSTHROUGH] == ()


def rule(task_type: TaskType, name: str, config: Mapping[str, Any]) -> ReferenceRule | None:
    """Refuses local paths, unless its `provider_config` says otherwise."""
    return None if config.get("reads_all") else form_refusal


TYPES = frozenset(TaskType) - {TaskType.PASSTHROUGH}
CHECKED = structs.replace(
    CATALOG,
    offers={
        ProviderType.LOCAL: dict.fromkeys(TYPES, frozenset[str]()),
        ProviderType.FAL: dict.fromkeys(TYPES, frozenset[str]()),
        ProviderType.CUSTOM: dict.fromkeys(TYPES, frozenset[str]()),
    },
    refusals={},
    file_rules={ProviderType.LOCAL: rule, ProviderType.FAL: rule},
)


def edit(step_id: str = "a", **members: Any) -> dict[str, Any]:
    return {"id": step_id, "task_type": "EDITING", "config": {"base_image_url": ARTIFACT}} | members


def places(value: dict[str, Any], catalog: ProviderCatalog = CHECKED) -> list[Loc]:
    """Return the places of the faults about files; there are no others."""
    faults = faults_of(value, catalog)
    assert {fault.type for fault in faults} == {"file_invalid"}
    return [fault.loc for fault in faults]


def test_a_file_is_refused_at_its_place() -> None:
    files = {"base_image_url": BAD, "mask_image_url": PUBLIC, "reference_image_urls": [DATA, BAD, ARTIFACT, "x"]}
    assert places(body(edit(config=files))) == [
        (*STEP, "base_image_url"),
        (*STEP, "reference_image_urls", 1),
        (*STEP, "reference_image_urls", 3),
    ]


def test_inputs_that_a_mapping_replaces_are_not_checked() -> None:
    config = {"base_image_url": BAD, "mask_image_url": BAD}
    mappings = [mapped("q", to_field="base_image_url"), mapped("q", to_field="mask_image_url.x")]
    validate(body(edit(config=config, depends_on=["q"], input_mappings=mappings), join("q")), CHECKED)


def test_unknown_members_are_not_checked() -> None:
    validate(body(edit(config={"base_image_url": ARTIFACT, "tail_image_url": BAD, "x_urls": [BAD]})), CHECKED)
    validate(body(join("a", config={"base_image_url": BAD})), CHECKED)
    arguments = {"arguments": {"image_url": BAD}}
    app = {"provider_config": {"fal_app_id": "a/b"}}
    validate(body({"id": "a", "task_type": "EXPERIMENTAL_FAL", "config": arguments} | app), CHECKED)
    validate(body(edit(config={"base_image_url": ARTIFACT, "mask_image_url": None})), CHECKED)


@pytest.mark.parametrize("padding", ["", "x" * 600])
def test_a_default_is_refused_once_at_its_own_place(padding: str) -> None:
    """However big the defaults are, and however many steps take them."""
    defaults = {
        "EDITING": {"mask_image_url": BAD, "note": padding},
        "*": {"mask_image_url": "x", "reference_image_urls": [ARTIFACT, BAD], "base_image_url": BAD},
    }
    value = body(edit("a"), edit("b"), join("c"), config={"step_defaults": defaults})
    assert sorted(map(str, places(value))) == sorted(
        map(str, [(*DEFAULTS, "EDITING", "mask_image_url"), (*DEFAULTS, "*", "reference_image_urls", 1)])
    )


def test_a_default_is_checked_once_for_all_steps() -> None:
    """Else the defaults of a definition of a few megabytes, with thousands of steps, would take minutes."""
    judged: list[str] = []

    def refused_nothing(reference: str) -> None:
        judged.append(reference)

    catalog = structs.replace(CHECKED, file_rules={ProviderType.LOCAL: lambda *_: refused_nothing})
    defaults = {"EDITING": {"reference_image_urls": [PUBLIC, DATA]}}
    steps = [edit(f"s{number}", provider_config={"seed": number}) for number in range(5)]
    validate(body(*steps, config={"step_defaults": defaults}), catalog)
    assert judged == [ARTIFACT, PUBLIC, DATA, *[ARTIFACT] * 4]


def test_a_default_that_no_step_takes_is_not_refused() -> None:
    defaults = {"*": {"base_image_url": BAD, "mask_image_url": BAD}, "REFINE": {"base_image_url": BAD}}
    own = {"base_image_url": ARTIFACT, "mask_image_url": None}
    validate(body(edit(config=own), config={"step_defaults": defaults}), CHECKED)


def test_either_provider_may_refuse_and_one_fault_is_enough() -> None:
    bad: dict[str, Any] = {"config": {"base_image_url": BAD}}
    custom: dict[str, Any] = {"provider_config": {"provider_type": "CUSTOM"}}
    validate(body(edit(**bad, **custom)), CHECKED)
    assert places(body(edit(**bad, **custom, fallback_provider_type="FAL"))) == [(*STEP, "base_image_url")]
    assert places(body(edit(**bad, fallback_provider_type="FAL"))) == [(*STEP, "base_image_url")]
    validate(body(edit(**bad, provider_config={"provider_type": "FAL", "reads_all": True})), CHECKED)


def test_images_in_messages_are_refused_at_their_place() -> None:
    content = [
        {"type": "text", "text": BAD},
        {"type": "image_url", "image_url": {"url": BAD}},
        {"type": "image_url", "image_url": BAD},
        {"type": "image_url", "image_url": {"url": DATA}},
        {"type": "image_url", "image_url": 5},
        5,
    ]
    messages = [{"role": "user", "content": BAD}, {"role": "user", "content": content}, {"content": 5}]
    step = {"id": "a", "task_type": "LLM_INTERACTION", "config": {"messages": messages, "image_urls": [PUBLIC, BAD]}}
    place = (*STEP, "messages", 1, "content")
    assert places(body(step | {"provider_config": {"provider_type": "FAL"}})) == [
        (*place, 1, "image_url", "url"),
        (*place, 2, "image_url"),
        (*STEP, "image_urls", 1),
    ]


def test_file_faults_are_reported_beside_other_faults() -> None:
    broken = {"base_image_url": 5, "mask_image_url": BAD, "reference_image_urls": [5, BAD, ""], "opacity": 9}
    faults = {fault.loc for fault in faults_of(body(edit(config=broken, depends_on=5)), CHECKED)}
    assert {(*STEP, "mask_image_url"), (*STEP, "reference_image_urls", 1), (*STEP, "base_image_url")} <= faults
    unsound = edit(config={"base_image_url": BAD}, input_mappings=[5])
    assert {fault.loc[-1] for fault in faults_of(body(unsound), CHECKED)} == {0}


def test_without_a_rule_nothing_is_refused() -> None:
    validate(body(edit(config={"base_image_url": BAD})), CATALOG)
    validate(body(draw()), CHECKED)
