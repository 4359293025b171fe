"""A service with files in its folder is moved to a bucket, as the manual says: a tool copies the files."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from providers.image_files import picture_of
from stepwell.artifacts.s3 import Bucket
from support.emulators.s3 import KEY_ID, SECRET_KEY, S3Server, s3_server
from support.processes.stepwell_process import running_up
from support.workflows.image_pipelines import create, pipeline, until_ended

pytestmark = pytest.mark.extended


def address(step: str) -> dict[str, Any]:
    mapping = {"from_step": step, "from_field": "result_image_path", "to_field": "url", "transform": "PATH_TO_URL"}
    return {"id": "address", "task_type": "PASSTHROUGH", "depends_on": [step], "input_mappings": [mapping]}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """It checks no signatures, see `support.emulators.s3`."""
    with s3_server() as server:
        yield server


def environment(bucket: Bucket) -> dict[str, str]:
    return {
        "STEPWELL_S3_BUCKET": bucket.name,
        "STEPWELL_S3_PREFIX": bucket.prefix,
        "STEPWELL_S3_ENDPOINT": str(bucket.endpoint),
        "STEPWELL_S3_REGION": str(bucket.region),
        "STEPWELL_S3_ACCESS_KEY_ID": KEY_ID,
        "STEPWELL_S3_SECRET_ACCESS_KEY": SECRET_KEY,
    }


def run_pipeline(client: httpx.Client) -> tuple[str, list[str], str]:
    """A new workflow: its id, the paths of its pictures, and the address of the last."""
    done = until_ended(client, create(client, steps=[*pipeline()["steps"], address("refine")]))
    assert done["status"] == "COMPLETED", done
    results = [step["result"] for step in done["steps"]]
    return done["id"], [result["result_image_path"] for result in results[:2]], results[2]["url"]


def named(client: httpx.Client, path: str) -> tuple[str, str]:
    """A new workflow that names a picture of another: its id, and the picture's address."""
    picture = {"id": "named", "task_type": "PASSTHROUGH", "config": {"result_image_path": path}}
    done = until_ended(client, create(client, steps=[picture, address("named")]))
    assert done["status"] == "COMPLETED", done
    return done["id"], done["final_step_result"]["url"]


def sizes(client: httpx.Client, paths: list[str]) -> list[tuple[int, int]]:
    return [picture_of(client.get(f"/api/v1/artifacts/{path}").raise_for_status().content).size for path in paths]


def cleaned(client: httpx.Client, workflow_id: str) -> list[str]:
    report = client.post(f"/api/v1/workflows/{workflow_id}/cleanup").raise_for_status().json()["cleanup"]
    assert report["errors"] == []
    paths: list[str] = report["deleted_paths"]
    return paths


def sync(folder: Path, s3: S3Server, bucket: Bucket) -> None:
    """Copy all files below `media`, as `aws s3 sync` does."""
    for file in (folder / "media").rglob("*"):
        if file.is_file():
            s3.put(bucket, f"{bucket.prefix}/{file.relative_to(folder)}", file.read_bytes())


def test_a_service_finds_the_files_that_a_tool_has_copied_to_its_bucket(migrated_dir: Path, s3: S3Server) -> None:
    folder, both = migrated_dir / "artifacts", [(64, 64), (128, 128)]
    with running_up(migrated_dir) as up, up.client() as client:
        first, first_paths, own_address = run_pipeline(client)
        second, second_paths, _ = run_pipeline(client)
        assert up.terminate() == 0
    bucket = s3.bucket()

    def in_bucket() -> list[str]:
        return sorted(key.removeprefix("some/where/") for key in s3.keys(bucket))

    sync(folder, s3, bucket)
    shutil.rmtree(folder)
    with running_up(migrated_dir, environment(bucket)) as up, up.client() as client:
        assert sizes(client, [*first_paths, *second_paths]) == both * 2
        third, first_address = named(client, first_paths[1])
        assert first_address.startswith(f"{s3.url}/{bucket.name}/some/where/{first_paths[1]}?")
        assert picture_of(httpx.get(first_address).content).size == (128, 128)
        before = httpx.get(up.url + httpx.URL(own_address).raw_path.decode())  # the port was a free one
        assert picture_of(before.content).size == (128, 128)
        assert cleaned(client, third) == []
        assert cleaned(client, first) == first_paths
        assert in_bucket() == sorted(second_paths)
        assert cleaned(client, second) == second_paths
        assert in_bucket() == []
        assert up.terminate() == 0
        assert KEY_ID not in up.stderr
        assert SECRET_KEY not in up.stderr
