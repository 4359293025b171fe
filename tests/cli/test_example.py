"""`stepwell example`: each definition that it prints runs unchanged. `test_pipelines` runs those with a judge or a
person.
"""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from stepwell.cli.commands import run
from stepwell.cli.examples import example, examples
from support.processes.source_tree import TOP
from support.service.live_service import Service

PACKAGED = sorted(path.stem for path in (TOP / "src/stepwell/examples").glob("*.json"))
PIPELINES = {"again", "better-prompt", "judged", "quality-gate", "styles"}
NAMES = [*PACKAGED, "custom-worker"]


def run_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """The exit code of `stepwell example` with *arguments*, its output and its errors."""
    monkeypatch.setattr("sys.argv", ["stepwell", "example", *arguments])
    return (run(), *capsys.readouterr())


def test_without_a_name_every_example_is_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_example(monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == NAMES == list(examples())
    assert "fashion        Generate and refine fashion images" in out.splitlines()


def test_with_a_name_the_definition_is_run_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_example(monkeypatch, capsys, "fashion")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "name": "Fashion Image Pipeline",
        "description": "Generate and refine fashion images",
        "origin_instance": "api-prod",
        "steps": [
            {
                "id": "generate",
                "task_type": "GENERATION",
                "config": {"prompt": "fashion model wearing elegant dress", "width": 1024, "height": 1024},
            },
            {
                "id": "refine",
                "task_type": "REFINE",
                "depends_on": ["generate"],
                "config": {"upscale_factor": 2.0},
                "input_mappings": [
                    {"from_step": "generate", "from_field": "result_image_path", "to_field": "base_image_url"}
                ],
            },
        ],
    }


def test_the_worker_that_is_printed_is_a_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_example(monkeypatch, capsys, "custom-worker")
    assert (code, err) == (0, "")
    assert out == (TOP / "src/stepwell/examples/custom_worker.py").read_text()


@pytest.mark.parametrize("name", ["fashoin", "", "../pyproject"])
def test_an_unknown_name_is_refused_with_the_list_of_names(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_example(monkeypatch, capsys, name)
    assert (code, out) == (2, "")
    assert err == f"stepwell: there is no example {name!r}; the examples are {', '.join(NAMES)}\n"


@pytest.mark.parametrize("name", PACKAGED)
async def test_every_example_is_valid_where_its_providers_are_configured(name: str, service: Service) -> None:
    response = await service.client.post("/api/v1/workflows/plan", json=json.loads(example(name)))
    assert response.status_code == 200 or "isn't configured here" in response.text, response.text


@pytest.mark.extended
@pytest.mark.parametrize("name", [name for name in PACKAGED if name not in PIPELINES])
async def test_every_other_example_completes_on_local(name: str, service: Service) -> None:
    definition = json.loads(example(name))
    response = await service.client.post("/api/v1/workflows/", json=definition)
    assert response.status_code == 201, response.text
    workflow = await service.until_ended(response.json()["id"], within_s=300)
    assert (workflow["status"], workflow["errors"]) == ("COMPLETED", [])
    assert [step["retry_count"] for step in workflow["steps"]] == [0] * len(definition["steps"])


@pytest.mark.extended
def test_the_source_distribution_contains_the_examples(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path), str(TOP)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (archive,) = tmp_path.glob("stepwell-*.tar.gz")
    with tarfile.open(archive) as files:
        names = {Path(name).name for name in files.getnames() if "/src/stepwell/examples/" in name}
    assert names == {"__init__.py", "custom_worker.py", *(f"{name}.json" for name in PACKAGED)}
