"""kill -9 behind every change of a deletion of one of two runs that use the same file, in any order.

What must hold after each death, and once the next process has ended the deletion:
- No file is missing that an undeleted run needs, unless the data of the run that made it was deleted.
- Every file that is left is recorded in the database.
- Once both runs are deleted, no file is left, and nothing is to be done.
"""

import signal
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
from msgspec import Struct, field, json

from support.processes.forks import call_in_fork
from support.processes.killed_deletions import Deletion, Way, delete, delete_and_die
from support.providers.configured_by_steps import ConfiguredProvider, configured_step
from support.service.live_service import Service, running_service, step_of
from support.soaks import FULL
from support.workflows.reused_results import rerun, reused, run

MOST_POINTS, MOST_POINTS_NESTED = 14, 30
FIRST, SECOND = 0, 1


class Case(NamedTuple):
    """A deletion of one of two runs in the way `way`. `before` is how the other one was deleted before, if at all.

    `nested`: the file that both use is one of their sub-workflows.
    """

    way: Way
    target: int
    before: Way | None = None
    nested: bool = False


CORE = [Case(Way.DATA, FIRST)]
EXTENDED = [
    Case(Way.CLEANUP, SECOND, Way.RETENTION),
    Case(Way.CLEANUP, FIRST),
    Case(Way.RETENTION, FIRST),
    Case(Way.DATA, SECOND),
    Case(Way.RETENTION, SECOND, Way.CLEANUP),
    Case(Way.DATA, FIRST, nested=True),
    Case(Way.RETENTION, SECOND, Way.RETENTION, nested=True),
]
ALL = [Case(*each) for each in product(Way, (FIRST, SECOND), (None, *Way), (False, True))]


class Pair(Struct):
    """Two runs. The second one has taken over the result of the step `a`, and each of them has made that of `b`.

    `gone` are the runs that are deleted, or about to be. `loser` is the run that has taken over the result.
    """

    ids: list[str]
    shared: Path
    own: list[Path]
    loser: str
    gone: dict[int, Way] = field(default_factory=dict)

    def needed(self) -> set[Path]:
        """Return the files that must not be missing."""
        left = {FIRST, SECOND} - self.gone.keys()
        files = {self.own[each] for each in left}
        return files | ({self.shared} if left and self.gone.get(FIRST) is not Way.DATA else set())

    def files(self) -> set[Path]:
        """Return the files that exist."""
        return {path for path in (self.shared, *self.own) if path.exists()}

    def deletion(self, target: int, way: Way) -> Deletion:
        self.gone[target] = way
        return Deletion(way, self.ids[target])


@pytest.mark.parametrize(
    "case",
    [*CORE, *(pytest.param(case, marks=pytest.mark.extended) for case in (ALL if FULL else EXTENDED))],
    ids=lambda case: "-".join(map(str, case)),
)
async def test_a_killed_deletion_loses_no_file_that_is_needed_and_leaves_none(
    case: Case, dsn: str, sql: asyncpg.Connection, tmp_path: Path
) -> None:
    way, target, before, nested = case
    async with running_service(dsn, tmp_path, providers=[ConfiguredProvider()]) as service:
        pairs = [await made_pair(service, nested=nested) for _ in range(MOST_POINTS_NESTED if nested else MOST_POINTS)]
        if before is not None:
            for pair in pairs:
                lost_by = await delete(service, pair.deletion(1 - target, before))
                assert lost_by == ([pair.loser] if (before, target) == (Way.DATA, SECOND) else [])
                assert pair.files() == pair.needed()
    code: int | None = None
    killed: Deletion | None = None
    for point, pair in enumerate(pairs):
        deletion = pair.deletion(target, way)
        code = await call_in_fork(delete_and_die, dsn, tmp_path, killed, deletion, point)
        assert all(each.files() == each.needed() for each in pairs[max(point - 1, 0) : point]), "it was continued"
        assert pair.needed() <= pair.files()
        assert {path.name for path in pair.files()} <= await recorded_files(sql)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        killed = deletion
    assert code == 0
    assert pair.files() == pair.needed()
    assert point >= 3
    async with running_service(dsn, tmp_path, providers=[ConfiguredProvider()]) as service:
        for pair in pairs:
            for each in {FIRST, SECOND} - pair.gone.keys():
                await delete(service, pair.deletion(each, Way.CLEANUP))
        assert not any(path.suffix == ".bin" for path in service.stored_files())
    assert await sql.fetchval("SELECT count(*) FROM file_removals") == 0


async def made_pair(service: Service, *, nested: bool) -> Pair:
    make = configured_step("a", files=1)
    if nested:
        workflow = {"name": "nested", "steps": [make]}
        make = {"id": "a", "task_type": "SUBWORKFLOW", "config": {"workflow": workflow}}
    first = await run(service, make, configured_step("b", files=1))
    second = await rerun(service, first, steps=["b"])
    makers = [await service.get(child_of(each)) if nested else each for each in (first, second)]
    assert reused(makers[1]) == ["a"]
    shared = [file_of(service, maker, "a") for maker in makers]
    assert shared[0] == shared[1]
    own = [file_of(service, each, "b") for each in (first, second)]
    return Pair([first["id"], second["id"]], shared[0], own, makers[1]["id"])


def child_of(workflow: dict[str, Any]) -> str:
    child: str = step_of(workflow, "a")["result"]["workflow_id"]
    return child


def file_of(service: Service, workflow: dict[str, Any], step_id: str) -> Path:
    path: str = step_of(workflow, step_id)["result"]["paths"][0]
    return service.artifacts / path


async def recorded_files(sql: asyncpg.Connection) -> set[str]:
    rows = await sql.fetch("SELECT outputs::text FROM tasks UNION ALL SELECT outputs::text FROM file_removals")
    return {Path(output["path"]).name for row in rows for output in json.decode(row["outputs"])}
