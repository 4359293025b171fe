"""An in-process provider that notes in a ledger what it did: a plug-in for services and workers in processes."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct

from stepwell.plugin import Attempt, AttemptIO, InProcess, Provider, ProviderType, TaskType
from stepwell.settings import Settings

LEDGER = "LEDGER_OF_TESTS"  # the environment variable with the path of the ledger


class Entry(Struct, frozen=True):
    """A run of an attempt. `ended_at` is None if its process was killed. Times are monotonic seconds of the machine."""

    task_id: str
    workflow_id: str
    step_id: str
    pid: int
    began_at: float
    ended_at: float | None = None


class LedgerProvider(InProcess):
    """Notes when it begins, works for `config.work_s`, and notes when it ends. With `config.dies`, its process ends."""

    type = ProviderType.CUSTOM

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger

    def capabilities(self, task_type: TaskType, /) -> frozenset[str] | None:
        return frozenset() if task_type is TaskType.GENERATION else None

    async def run(self, attempt: Attempt, io: AttemptIO, /) -> dict[str, Any]:
        self._note("begin", attempt)
        if attempt.inputs.get("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(float(attempt.inputs.get("work_s", 0.1)))
        output = await io.store("note.txt", str(attempt.task_id).encode())
        self._note("end", attempt)
        return {"task_id": str(attempt.task_id), "path": output.path}

    def _note(self, what: str, attempt: Attempt) -> None:
        line = json.dumps(
            {
                "what": what,
                "task_id": str(attempt.task_id),
                "workflow_id": str(attempt.workflow_id),
                "step_id": attempt.step_id,
                "pid": os.getpid(),
                "at": time.monotonic(),
            }
        )
        file = os.open(self._ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, line.encode() + b"\n")
        finally:
            os.close(file)


def providers(_settings: Settings, _client: httpx.AsyncClient) -> Iterable[Provider]:
    """The entry point of the plug-in."""
    return [LedgerProvider(Path(os.environ[LEDGER]))]


def read_ledger(path: Path) -> list[Entry]:
    """Return the runs in the ledger, in the order of their beginnings."""
    runs: dict[tuple[str, int, int], Entry] = {}
    latest: dict[tuple[str, int], int] = {}
    lines = path.read_text().splitlines() if path.exists() else []
    for number, note in enumerate(map(json.loads, lines)):
        key = note["task_id"], note["pid"]
        if note["what"] == "begin":
            latest[key] = number
            runs[*key, number] = Entry(note["task_id"], note["workflow_id"], note["step_id"], note["pid"], note["at"])
        else:
            begun = runs[*key, latest[key]]
            runs[*key, latest[key]] = Entry(
                begun.task_id, begun.workflow_id, begun.step_id, begun.pid, begun.began_at, note["at"]
            )
    return list(runs.values())


def install_plugin(folder: Path) -> dict[str, str]:
    """Make `LedgerProvider` a plug-in of processes with the returned environment. Its files are in *folder*."""
    information = folder / "ledger_of_tests-1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: ledger-of-tests\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[stepwell.providers]\nledger = support.providers.ledger:providers\n")
    tests = Path(__file__).parents[2]
    paths = [str(folder), str(tests), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), LEDGER: str(folder / "ledger.jsonl")}
