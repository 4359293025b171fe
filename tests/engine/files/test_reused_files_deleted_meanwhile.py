"""The earlier run is deleted while a new one checks what it may take over: it takes the result whole, or runs."""

from pathlib import Path
from typing import Any

import pytest

from stepwell.engine.execution.reuse_checks import ReuseFinder
from support.processes.killed_deletions import Deletion, Way, delete
from support.providers.configured_by_steps import ConfiguredProvider, configured_step
from support.service.live_service import running_service
from support.workflows.reused_results import WORKFLOWS, reused, run

# After these methods: what is reused is known, its files are referenced, they were found.
READ, REFERENCED, FOUND = "_earlier", "_take", "_absent_files"


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("moment", [READ, REFERENCED, FOUND])
async def test_a_run_takes_a_result_with_its_file_or_none(
    way: Way, moment: str, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, lost_by = getattr(ReuseFinder, moment), list[list[str]]()
    async with running_service(dsn, tmp_path, providers=[ConfiguredProvider()]) as service:
        first = await run(service, configured_step("a", files=1))

        async def then_delete(*arguments: Any, **options: Any) -> Any:
            result = await inner(*arguments, **options)
            if not lost_by:
                lost_by.append(await delete(service, Deletion(way, first["id"])))
            return result

        monkeypatch.setattr(ReuseFinder, moment, then_delete)
        response = await service.client.post(WORKFLOWS, json=body(first))
        second = await service.until_ended(response.json()["id"])
        is_taken = moment == FOUND or (moment == REFERENCED and way is not Way.DATA)
        assert reused(second) == (["a"] if is_taken else [])
        assert len(await service.tasks(second["id"])) == (not is_taken)
        (path,) = second["final_step_result"]["paths"]
        assert (service.artifacts / path).exists() == (not is_taken or way is not Way.DATA)
        is_named = moment != READ and way is Way.DATA  # as one that may still take the result
        assert lost_by == [[second["id"]] if is_named else []]
        await delete(service, Deletion(Way.CLEANUP, second["id"]))
        assert not any(path.suffix == ".bin" for path in service.stored_files())


def body(first: dict[str, Any]) -> dict[str, Any]:
    steps = [configured_step("a", files=1)]
    return {"name": "n", "origin_instance": "tests", "steps": steps, "reuse": {"from": first["id"]}}
