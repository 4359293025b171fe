"""The options that change a definition before it is sent."""

from pathlib import Path
from typing import Any

import pytest

from stepwell.cli.errors import MISUSED, REFUSED, Refused
from stepwell.cli.workflow_commands.definition_changes import (
    read_definition,
    set_labels,
    set_uploads,
    set_values,
)


@pytest.fixture
def definition() -> dict[str, Any]:
    steps = [
        {"id": "a", "config": {"prompt": "x", "n": {"m": 1}}},
        {"id": "b.c"},
        {"id": 'd="e'},
        {"id": "f", "config": 7},
    ]
    return {"steps": steps, "labels": {"old": "1"}}


@pytest.mark.parametrize(
    ("option", "step", "expected"),
    [
        ("a.config.width=64", 0, {"config": {"prompt": "x", "n": {"m": 1}, "width": 64}}),
        ("a.config.prompt=a red=square", 0, {"config": {"prompt": "a red=square", "n": {"m": 1}}}),
        ('a.config.prompt="7"', 0, {"config": {"prompt": "7", "n": {"m": 1}}}),
        ("a.config.prompt=", 0, {"config": {"prompt": "", "n": {"m": 1}}}),
        ("a.config.prompt=null", 0, {"config": {"prompt": None, "n": {"m": 1}}}),
        ('a.config.n.m={"k": [1]}', 0, {"config": {"prompt": "x", "n": {"m": {"k": [1]}}}}),
        ("a.provider_config.fal_app_id=fal-ai/x", 0, {"provider_config": {"fal_app_id": "fal-ai/x"}}),
        ('"b.c".config.x.y=true', 1, {"config": {"x": {"y": True}}}),
        ('"b.c".config."x.y"=true', 1, {"config": {"x.y": True}}),
        (r'"d=\"e".config.x=1', 2, {"config": {"x": 1}}),
    ],
)
def test_a_value_is_set_at_its_place(
    option: str, step: int, expected: dict[str, Any], definition: dict[str, Any]
) -> None:
    before = definition["steps"][step]
    set_values(definition, [option])
    assert definition["steps"][step] == {**before, **expected}


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("inputs.size=3", {"size": 3}),
        ("inputs.style.name=noir", {"style": {"name": "noir"}}),
        ("inputs.config=x", {"config": "x"}),
    ],
)
def test_an_input_is_set(option: str, expected: dict[str, Any], definition: dict[str, Any]) -> None:
    set_values(definition, [option])
    assert definition["inputs"] == expected


FORM = "Expected STEP.config.KEY=VALUE or inputs.KEY=VALUE; a step id with dots stands in double quotes"


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("a", f"--set a: {FORM}"),
        ("a.config.x", f"--set a.config.x: {FORM}"),
        ("a.config=1", f"--set a.config=1: {FORM}"),
        ("a.depends_on.x=1", f"--set a.depends_on.x=1: {FORM}"),
        ("a..config.x=1", f"--set a..config.x=1: {FORM}"),
        ("b.c.config.x=1", f"--set b.c.config.x=1: {FORM}"),
        ("aa.config.x=1", "--set aa.config.x: the definition has no step aa; did you mean a?"),
        ("a.config.prompt.x=1", "--set a.config.prompt.x: prompt is no object in the definition"),
        ("f.config.x=1", "--set f.config.x: config is no object in the definition"),
    ],
)
def test_a_wrong_place_is_refused_with_the_option(option: str, line: str, definition: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        set_values(definition, [option])
    assert (refused.value.lines, refused.value.code) == ((line,), MISUSED)


def test_files_are_uploaded_once_after_all_options_are_checked(definition: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "a=b.png"
    file.write_bytes(b"x")
    sent: list[Path] = []

    def upload(path: Path) -> str:
        sent.append(path)
        return "media/1/a.png"

    with pytest.raises(Refused) as refused:
        set_uploads(definition, [f"a.config.image_url={file}", "a.config.x=nowhere.png"], upload)
    assert (refused.value.lines, sent) == (("--upload a.config.x: there is no file nowhere.png",), [])
    set_uploads(definition, [f"a.config.image_url={file}", f'"b.c".config.image_url={file}'], upload)
    assert [step["config"]["image_url"] for step in definition["steps"][:2]] == ["media/1/a.png"] * 2
    assert sent == [file]


SCHEMA = {
    "properties": {
        "photos": {"type": "array"},
        "frames": {"$ref": "#/$defs/files"},
        "some": {"anyOf": [{"type": "null"}, {"type": ["array"]}]},
        "either": {"type": ["string", "array"]},
        "photo": {"type": "string"},
        "style": {"properties": {"masks": {"type": "array"}}},
    },
    "$defs": {"files": {"type": "array"}},
}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["inputs.photos=a", "inputs.photos=b", "inputs.photos=a"], {"photos": ["A", "B", "A"]}),
        (["inputs.photos=a"], {"photos": ["A"]}),
        (["inputs.frames=a"], {"frames": ["A"]}),
        (["inputs.some=a"], {"some": ["A"]}),
        (["inputs.either=a"], {"either": "A"}),
        (["inputs.either=a", "inputs.either=b"], {"either": ["A", "B"]}),
        (["inputs.photo=a"], {"photo": "A"}),
        (["inputs.photo[]=a"], {"photo": ["A"]}),
        (["inputs.style.masks=a"], {"style": {"masks": ["A"]}}),
        (["inputs.listed=b"], {"listed": ["B"]}),
        (['inputs."photo[]"=a'], {"photo[]": "A"}),
    ],
)
def test_uploads_make_a_list_where_the_schema_the_default_or_brackets_say_so(
    options: list[str], expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / name).write_text(name)
    definition = {"inputs": {"listed": ["old"]}, "inputs_schema": SCHEMA, "steps": []}
    set_uploads(definition, options, lambda path: str(path).upper())
    assert definition["inputs"] == {"listed": ["old"], **expected}


def test_the_value_of_a_step_that_is_a_list_takes_a_list(definition: dict[str, Any]) -> None:
    definition["steps"][0]["config"]["images"] = ["old"]
    set_uploads(definition, [f"a.config.images={__file__}"], lambda _path: "path")
    assert definition["steps"][0]["config"]["images"] == ["path"]


@pytest.mark.parametrize("place", ["inputs.photo", "a.config.image_url"])
def test_several_files_for_what_is_no_list_are_refused_with_the_way_to_say_it(
    place: str, definition: dict[str, Any]
) -> None:
    definition["inputs_schema"] = SCHEMA
    with pytest.raises(Refused) as refused:
        set_uploads(definition, [f"{place}={__file__}"] * 2, lambda _path: "path")
    advice = f"for a list, write --upload {place}[]={__file__} --upload {place}[]={__file__}"
    assert refused.value.lines == (f"--upload {place}: several files for what is no list; {advice}",)
    assert refused.value.code == MISUSED


@pytest.mark.parametrize(
    ("option", "warning"),
    [
        ("inputs.fraems=1", "the definition has no input fraems; did you mean frames?"),
        (
            "inputs.x=1",
            "the definition has no input x; it has a-b, either, frames, listed, photo, photos, read, some, style",
        ),
        ("inputs.style.mask=1", "the definition has no input mask; did you mean masks?"),
        ("inputs.listed=1", None),
        ("inputs.photos=1", None),
        ("inputs.read=1", None),
        ('inputs."a-b"=1', None),
        ("inputs.style.masks=1", None),
        ("a.config.anything=1", None),
    ],
)
def test_an_input_that_the_definition_does_not_know_is_a_warning(
    option: str, warning: str | None, definition: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    definition["steps"][1]["config"] = {"prompt": '${inputs.read} ${inputs."a-b"}'}
    set_values(definition | {"inputs": {"listed": 1}, "inputs_schema": SCHEMA}, [option])
    place = option.partition("=")[0]
    assert capsys.readouterr().err == ("" if warning is None else f"stepwell: warning: --set {place}: {warning}\n")


def test_an_input_of_a_definition_without_inputs_is_no_warning(capsys: pytest.CaptureFixture[str]) -> None:
    definition: dict[str, Any] = {"steps": []}
    set_values(definition, ["inputs.photo=1"])
    assert (definition["inputs"], capsys.readouterr().err) == ({"photo": 1}, "")


def test_labels_are_added_to_those_of_the_definition(definition: dict[str, Any]) -> None:
    set_labels(definition, ["team=shop", "url=a=b", "old=2"])
    assert definition["labels"] == {"old": "2", "team": "shop", "url": "a=b"}
    with pytest.raises(Refused) as refused:
        set_labels(definition, ["team"])
    assert refused.value.lines == ("--label team: Expected KEY=VALUE",)


@pytest.mark.parametrize("data", [b"", b"[1]", b'{"a": 1, "a": 2}', b"\xff"])
def test_a_file_that_holds_no_definition_is_refused(data: bytes) -> None:
    with pytest.raises(Refused) as refused:
        read_definition(data)
    assert refused.value.code == REFUSED
    assert refused.value.lines[0] == "the definition is not valid:"
