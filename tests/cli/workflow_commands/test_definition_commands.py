"""`stepwell definitions`, on a real `stepwell up`."""

from typing import Any

from msgspec import json

from support.processes.command_line import CommandLine


def put(shell: CommandLine, name: str, *ids: str, code: int = 0, options: tuple[str, ...] = (), **members: Any) -> str:
    definition = {"steps": [{"id": step_id, "task_type": "PASSTHROUGH"} for step_id in ids], **members}
    done = shell("definitions", "put", name, "-", *options, stdin=json.encode(definition).decode())
    assert done.code == code, done.err
    return str(done.out)


def test_a_definition_is_stored_in_versions_shown_and_compared(shell: CommandLine) -> None:
    assert put(shell, "photo-set", "a", options=("--dry-run",)) == "photo-set@1\n"
    assert shell("definitions", "show", "photo-set").code == 4
    assert [put(shell, "photo-set", *ids) for ids in ("a", "a", "ab")] == [
        *("photo-set@1\n", "photo-set@1\n", "photo-set@2\n")
    ]
    assert json.decode(shell("definitions", "show", "photo-set@1").out)["steps"][0]["id"] == "a"
    assert len(json.decode(shell("definitions", "show", "photo-set").out)["steps"]) == 2
    assert shell("definitions", "show", "photo-set", "--json").json["version"] == 2
    assert shell("definitions", "show", "photo-set@x").code == 2
    lines = shell("definitions", "diff", "photo-set", "1", "2").out.splitlines()
    assert lines[:2] == ["--- photo-set@1", "+++ photo-set@2"]
    assert '+      "id": "b",' in lines
    assert not any(line.startswith("-") for line in lines[2:])
    assert shell("definitions", "diff", "photo-set", "1", "1").out.strip() == ""
    assert put(shell, "photo-set", code=3) == ""


def test_a_whole_definition_is_stored_without_what_belongs_to_a_run(shell: CommandLine) -> None:
    step = {"id": "a", "task_type": "PASSTHROUGH", "config": {"text": "long " * 3_000}}
    body = {"name": "n", "origin_instance": "o", "labels": {}, "steps": [step]}
    done = shell("definitions", "put", "whole", "-", stdin=json.encode(body).decode())
    assert (done.code, done.out) == (0, "whole@1\n")
    assert "left out, because it belongs to a run: name, origin_instance, labels" in done.err
    assert json.decode(shell("definitions", "show", "whole").out) == {"steps": body["steps"]}


def test_a_definition_is_listed_pinned_archived_and_deleted(shell: CommandLine) -> None:
    for ids in ("a", "ab"):
        put(shell, "cards", *ids)
    assert shell("definitions", "pin", "cards", "1", "--json").json["default_version"] == 1
    assert shell("definitions", "ls", "--name", "card").out.splitlines()[1].split()[:3] == ["cards", "2", "1"]
    assert shell("definitions", "pin", "cards", "newest").out.splitlines()[1].split()[:3] == ["cards", "2", "newest"]
    assert shell("definitions", "pin", "cards", "3").code == 3
    assert shell("definitions", "pin", "cards", "last").code == 2
    assert shell("definitions", "archive", "cards").code == 0
    assert shell("definitions", "ls", "--name", "cards").out == "There are no such definitions.\n"
    assert [each["name"] for each in shell("definitions", "ls", "--name", "cards", "--archived", "--json").lines] == [
        "cards"
    ]
    assert not shell("definitions", "archive", "cards", "--undo", "--json").json["archived"]
    assert shell("definitions", "rm", "cards").code == 2
    assert shell("definitions", "rm", "cards", "--yes").out == "deleted cards with 2 versions\n"
    assert shell("definitions", "rm", "cards", "--yes").code == 4


def test_an_example_is_stored_with_its_description_and_runs_by_name(shell: CommandLine) -> None:
    assert shell("definitions", "put", "--example", "backgrounds", "--dry-run").out == "backgrounds@1\n"
    for _ in range(2):
        assert shell("definitions", "put", "--example", "backgrounds").out == "backgrounds@1\n"
    (listed,) = shell("definitions", "ls", "--name", "backgrounds", "--json").lines
    assert listed["description"].startswith("Cut out an uploaded photo, and lay the product over a background")
    done = shell("submit", "backgrounds", "--set", 'inputs.backgrounds=["sand"]', "--wait", "--json")
    assert (done.code, len(done.json["final_step_result"]["result_image_paths"])) == (0, 1), done.err
    assert shell("definitions", "put", "mine", "--example", "styles").out == "mine@1\n"


def test_an_unknown_example_is_refused_with_the_list(shell: CommandLine) -> None:
    done = shell("definitions", "put", "--example", "custom-worker")
    assert done.code == 2
    assert "there is no example 'custom-worker'; the examples are again, background, backgrounds, " in done.err
    for arguments in (("put",), ("put", "name"), ("put", "name", "-", "--example", "styles")):
        assert "Name a definition and a file, or use --example." in shell("definitions", *arguments).err
