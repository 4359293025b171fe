"""The commands that end steps and items by hand, on a real `stepwell up`."""

from pathlib import Path

from msgspec import json
from PIL import Image

from support.processes.command_line import CommandLine

MISSING = "media/00000000-0000-4000-8000-000000000000/image.png"
STEPS = [
    {"id": "a/b", "task_type": "REFINE", "config": {"base_image_url": MISSING}},
    {
        "id": "each",
        "task_type": "PASSTHROUGH",
        "for_each": {"items": [None, None], "as": "word", "max_concurrency": 2},
        "config": {"text": "a ${item}"},
    },
    {"id": "last", "task_type": "PASSTHROUGH", "depends_on": ["a/b", "each"]},
]


def test_a_step_and_its_items_are_ended_by_hand(shell: CommandLine, tmp_path: Path) -> None:
    picture = tmp_path / "mended.png"
    Image.new("RGB", (8, 8), "red").save(picture)
    definition = {"name": "mend", "origin_instance": "tests", "steps": STEPS, "config": {"on_failure": "continue"}}
    assert shell("submit", "-", "--wait", stdin=json.encode(definition).decode()).code == 1
    failed = shell("show", "@last", "--json").json["id"]

    nothing = shell("step", "result", failed, "a/b")
    assert (nothing.code, "--upload FILE" in nothing.err) == (2, True)
    assert shell("step", "result", failed, "a/b", "--data", "[1]").code == 2
    assert shell("step", "result", failed, "a/b", "--text", "no picture").code == 3
    forecast = shell("step", "result", failed, "a/b", "--upload", str(picture), "--dry-run")
    assert (forecast.code, "are completed: a/b" in forecast.out) == (0, True)
    given = shell("step", "result", failed, "a/b", "--upload", str(picture), "--json").json
    assert given["status"] == "COMPLETED"
    assert given["result"]["result_image_path"].endswith("/mended.png")

    item = shell("step", "result", failed, "each", "--item", "0", "--data", '{"text": "by hand"}')
    assert item.out == "each, item 0 COMPLETED\n"
    assert "are skipped" in shell("step", "skip", failed, "each", "--item", "1", "--dry-run").out
    assert shell("step", "skip", failed, "each", "--item", "1").out == "each, item 1 SKIPPED\n"
    assert shell("step", "skip", failed, "last").out == "last SKIPPED\n"
    assert shell("step", "skip", failed, "a/b").code != 0
    assert shell("resume", failed, "--wait").code == 0
    steps = shell("show", failed, "--json").json["steps"]
    assert [step["skip_reason"] for step in steps] == [None, None, "manual"]
    assert "1 of 2 items, 1 skipped" in shell("show", failed).out
