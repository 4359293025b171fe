"""`stepwell run FILE`: one definition to its end, for people and for scripts."""

import json
import signal
from pathlib import Path

from PIL import Image

from support.processes.held_image import ALLOWED, HeldImage
from support.processes.stepwell_process import READY_S, running_up, start, stepwell, until
from support.workflows.image_pipelines import pipeline, until_ended


def test_success_prints_the_result_and_the_paths_of_the_images(data_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.json"
    definition = pipeline(64)
    del definition["origin_instance"]
    file.write_text(json.dumps(definition))
    done = stepwell("run", file, "--data-dir", data_dir)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["status"] == "COMPLETED"
    assert said["errors"] == []
    assert [_size(path) for path in said["files"]] == [(64, 64), (128, 128)]
    assert all(Path(path).is_absolute() for path in said["files"])
    assert str(said["files"][-1]).endswith(said["result"]["result_image_path"])
    steps = [line.split(" (")[0] for line in done.stderr.splitlines()]
    assert steps == [
        "stepwell: generate: started",
        "stepwell: generate: completed",
        "stepwell: refine: started",
        "stepwell: refine: completed",
    ]


def _size(path: str) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_a_failed_workflow_is_exit_code_1(migrated_dir: Path) -> None:
    mistyped = {"STEPWELL_OPENAI_ULR": "http://127.0.0.1:1", "STEPWELL_CREDENTIALS": "x", "STEPWELL_LOG_FORMAT": "json"}
    steps = [{"id": "a\u202e", "task_type": "REFINE", "config": {"base_image_url": "data:image/png;base64,AAAA"}}]
    failed = stepwell("run", "-", "--data-dir", migrated_dir, stdin=json.dumps(pipeline(steps=steps)), env=mistyped)
    assert failed.returncode == 1
    warnings = [json.loads(line) for line in failed.stderr.splitlines() if "setting.unknown" in line]
    assert [line["name"] for line in warnings] == ["STEPWELL_CREDENTIALS", "STEPWELL_OPENAI_ULR"]
    assert (warnings[1]["meant"], warnings[1]["level"]) == ("STEPWELL_OPENAI_URL", "warning")
    said = json.loads(failed.stdout)
    assert (said["status"], said["result"], said["files"]) == ("FAILED", None, [])
    (error,) = said["errors"]
    assert error.startswith("a\u202e: base_image_url: ")
    assert failed.stderr.splitlines()[-1].endswith(error.partition(": ")[2])
    assert "\u202e" not in failed.stderr  # it would turn the terminal's text around


def test_the_warnings_of_a_definition_are_on_stderr(migrated_dir: Path) -> None:
    steps = [{"id": "a", "task_type": "GENERATION", "config": {"prompt": "x", "width": 8, "height": 8, "other": 1}}]
    done = stepwell("run", "-", "--data-dir", migrated_dir, stdin=json.dumps(pipeline(steps=steps)))
    assert done.returncode == 0, done.stderr
    warning = "stepwell: warning: steps[0].config.other: LOCAL ignores this in GENERATION"
    assert done.stderr.splitlines()[0] == warning


def test_an_invalid_definition_is_exit_code_3_with_all_its_faults(migrated_dir: Path, tmp_path: Path) -> None:
    broken = pipeline()
    broken["steps"][1]["depends_on"] = ["nowhere"]
    broken["steps"][0]["config"]["width"] = "wide"
    refused = stepwell("run", "-", "--data-dir", migrated_dir, stdin=json.dumps(broken))
    assert refused.returncode == 3
    assert refused.stdout == ""
    assert "steps[1].depends_on[0]: " in refused.stderr
    assert "steps[0].config.width: " in refused.stderr

    no_json = stepwell("run", "-", "--data-dir", migrated_dir, stdin='{"name"')
    assert no_json.returncode == 3
    assert "body: Malformed JSON" in no_json.stderr

    no_file = stepwell("run", tmp_path / "nothing.json")
    assert no_file.returncode == 2
    assert "nothing.json" in no_file.stderr


def test_the_next_start_continues_an_interrupted_run(migrated_dir: Path, tmp_path: Path, image: HeldImage) -> None:
    file = tmp_path / "held.json"
    file.write_text(json.dumps(pipeline(steps=image.steps)))
    run = start("run", migrated_dir, ALLOWED, str(file), "--data-dir", str(migrated_dir), port=False)
    try:
        until(lambda: "refine: started" in run.stderr, READY_S, lambda: run.stderr)
        assert run.terminate(signal.SIGINT) == 130
        assert run.stdout == ""
        last = run.stderr.splitlines()[-1]
        assert f"stopped: the next start on {migrated_dir} continues workflow " in last
        run.wait_gone()
    finally:
        run.kill_group()
    image.release()
    with running_up(migrated_dir, ALLOWED) as up, up.client() as client:
        done = until_ended(client, last.split()[-1])
        assert (done["status"], done["steps"][0]["retry_count"]) == ("COMPLETED", 0)
