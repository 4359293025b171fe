"""A provider's callback reaches the process that waits for the job, whichever process the provider calls."""

from collections.abc import AsyncIterator

import pytest

from support.database.postgres import fresh_folder
from support.processes.cluster import Cluster, held_step, running_cluster


@pytest.fixture
async def cluster(dsn: str) -> AsyncIterator[Cluster]:
    """Two processes that poll so rarely that only a callback shows the end of a job. Callbacks go to the first."""
    with fresh_folder() as folder:
        async with running_cluster(dsn, folder, 2, poll_interval_s="600") as cluster:
            yield cluster


async def test_a_callback_to_another_process_ends_the_job(cluster: Cluster) -> None:
    called, owner = cluster.members
    created = await cluster.create(owner, held_step("held"))
    (job,) = await cluster.until_job("held")
    assert str(job.body["callback_url"]).startswith(called.process.url)
    cluster.end_job(job)
    ended = await owner.until(created["id"], lambda workflow: workflow["status"] == "COMPLETED")
    assert ended["steps"][0]["result"] == {"result_text": "an answer to held"}
