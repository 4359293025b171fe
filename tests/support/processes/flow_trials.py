"""Trials of reference flows whose processes are killed, and what must hold after each.

What must hold once a later process has brought the flow to its end:
- Its end equals that of an undisturbed run: the statuses, results, reasons of skips, runs, decisions and costs of the
  workflow, its steps and its attempts.
- The worker has accepted exactly the same jobs. None is lost, and none is paid for twice.
- The history has no gap and no event twice, and folds to the statuses.
- The stored files are exactly those that the attempts name, and they are whole.
- The same webhooks have arrived as in the undisturbed run. One that came twice has the same id and body.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from stepwell.artifacts.store_setup import ID_FILE
from stepwell.contract.enums import EventType, ProviderType
from stepwell.lifecycle.model import HistoryEvent
from support.database.postgres import TestServer, database, fresh_folder
from support.emulators.webhook_receiver import WebhookReceiver, running_sink
from support.processes.crash_observer import check_files
from support.processes.forks import call_in_fork
from support.processes.killed_flow import DEADLINE_S, Ended, Life, Report, live, report_file
from support.providers.emulated import World
from support.service.event_replay import fold
from support.workflows.reference_flows import FLOWS, FlowWorker

_KILLED = -9
# A request without an answer may be under way for as long as a call to a provider may take.
_SETTINGS = {"breaker_failures": 0, "provider_timeout_s": 5.0}
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
# How often these occur depends on when a process dies: it may die before it sends the request of an attempt, and a job
# may be found by another way than by the answer to its request.
_VARYING = {
    EventType.STEP_STARTED,
    EventType.STEP_SUBMITTED,
    EventType.STEP_PROGRESS,
    EventType.STEP_OUTCOME_UNKNOWN,
    EventType.STEP_RETRYING,
}
# Members of attempts that are random, or that depend on how many requests were not sent.
_VARYING_MEMBERS = dict.fromkeys(("seed", "remote_id", "attempt", "outcome_unknown"))


@dataclass(frozen=True)
class Deaths:
    """Kill the first process at point `first`, and the second one at point `second`. None: it isn't killed."""

    first: int | None = None
    second: int | None = None


@dataclass(frozen=True)
class Outcome:
    """`end` is comparable to that of another run. `kills` is how many processes were killed."""

    end: Mapping[str, Any]
    points: int
    kills: int

    def differences(self, other: "Outcome") -> list[str]:
        """Return each place at which the two ends differ."""
        return list(_differences("", self.end, other.end))


class FlowTrials:
    """Runs flows, each on a new database, at one worker, and with webhooks to one receiver."""

    def __init__(self, server: TestServer, template: str, worker: FlowWorker, sink: WebhookReceiver) -> None:
        self._server, self._template, self._worker, self._sink = server, template, worker, sink
        self._settings = World(ProviderType.CUSTOM, worker).settings | _SETTINGS

    async def run(self, flow: str, deaths: Deaths, undisturbed: Outcome | None = None) -> Outcome:
        """Run *flow* once, and check what must hold. Without *undisturbed*, check what needs no other run.

        What fails is an AssertionError with the history, and with the output of the processes. It says where they were
        killed.
        """
        async with database(self._server, self._template) as dsn:
            with fresh_folder() as folder:
                log, kills = folder / "log", 0
                for number, at in enumerate((deaths.first, deaths.second, None)):
                    life = Life(flow, dsn, folder, self._settings, self._sink.url(), at, first=number == 0)
                    code = await call_in_fork(live, life, log=log, within_s=DEADLINE_S + 60)
                    if code == 0:
                        break
                    assert code == _KILLED, f"{flow}, {deaths}: {code}\n{log.read_text()}"
                    kills += 1
                report = msgspec.json.decode(report_file(folder).read_bytes(), type=Report)
                try:
                    outcome = Outcome(self._checked_end(flow, report, folder / "artifacts"), report.points, kills)
                    different = [] if undisturbed is None else outcome.differences(undisturbed)
                    assert different == [], different
                except AssertionError as error:
                    message = f"{flow}, {deaths}: {error}\n{_history(report)}\n{log.read_text()}"
                    raise AssertionError(message) from error
        for ended in report.ended:
            self._worker.forget_workflow(ended.workflow["id"])
        return outcome

    def _checked_end(self, flow: str, report: Report, artifacts: Path) -> Mapping[str, Any]:
        workflow = report.ended[0].workflow
        assert {step["step_id"]: step["status"] for step in workflow["steps"]} == FLOWS[flow].statuses
        stored = {str(path.relative_to(artifacts)) for path in artifacts.rglob("*") if path.is_file()}
        tasks = [task for each in report.ended for task in each.tasks]
        named = check_files((output for task in tasks for output in task["outputs"]), artifacts)
        assert stored - {ID_FILE} == named
        return {
            "workflows": [self._checked_workflow(each) for each in report.ended],
            "webhooks": self._webhooks(workflow["id"], report.deliveries),
        }

    def _checked_workflow(self, ended: Ended) -> Mapping[str, Any]:
        workflow, events = ended.workflow, ended.events
        steps: list[dict[str, Any]] = workflow["steps"]
        statuses = {step["step_id"]: step["status"] for step in steps}
        assert [event["id"] for event in events] == list(range(1, len(events) + 1))
        assert fold(msgspec.convert(events, list[HistoryEvent]), statuses) == (workflow["status"], [*statuses.values()])
        jobs = self._worker.jobs_of(workflow["id"])
        found = (task["remote_id"] for task in ended.tasks if task["remote_id"] and task["provider"] is not None)
        assert sorted(job.id for job in jobs) == sorted(found)
        tasks, unsent = _split(ended.tasks)
        for step in steps:
            step["retry_count"] -= unsent[step["step_id"]]
            if (items := step.get("items")) is not None:
                items["retries"] -= unsent[step["step_id"]]
            if unsent[step["step_id"]] and step["status"] == "CANCELLED":
                step["error_message"] = None  # that of the attempt before
        for each in (workflow, *steps):
            if each["cost"] is not None:
                each["cost"]["unknown_attempts"] -= unsent[each.get("step_id")]
        return {
            "workflow": _comparable(workflow),
            "tasks": sorted((_comparable(task) for task in tasks), key=str),
            "jobs": sorted(str([job.body["step_id"], job.body["inputs"]]) for job in jobs),
            "events": Counter(_about(event) for event in events if event["type"] not in _VARYING),
        }

    def _webhooks(self, workflow_id: str, deliveries: list[dict[str, Any]]) -> Counter[tuple[str, str | None]]:
        """Return the type and the step of each webhook that has arrived."""
        received: dict[str, bytes] = {}
        for one in self._sink.of(workflow_id):
            assert received.setdefault(one.id, one.body) == one.body
        assert {each["status"] for each in deliveries} == {"DELIVERED"}
        assert len(received) == len(deliveries)
        payloads = [msgspec.json.decode(body) for body in received.values()]
        return Counter((payload["type"], payload["data"].get("step_id")) for payload in payloads)


@asynccontextmanager
async def flow_trials(server: TestServer, template: str, folder: Path) -> AsyncIterator[FlowTrials]:
    """Yield what runs trials. *folder* is for the ledger of the worker."""
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(FlowWorker(folder))
        sink = await stack.enter_async_context(running_sink())
        yield FlowTrials(server, template, worker, sink)


def _about(event: dict[str, Any]) -> tuple[str, str | None, int | None]:
    return event["type"], event["step_id"], event["data"].get("item")


def _split(tasks: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Counter[str | None]]:
    """Return the attempts that sent their request, and how many of each step did not, because their process died.

    Nobody knows of the latter whether they did, until their provider says that it has no such job. Under None is the
    number of all of them.
    """
    unsent = [task for task in tasks if task["outcome_unknown"] and task["remote_id"] is None]
    numbers = Counter[str | None](task["step_id"] for task in unsent)
    numbers[None] = len(unsent)
    return [task | _VARYING_MEMBERS for task in tasks if task not in unsent], numbers


def _comparable(value: Any) -> Any:
    """Return *value* without ids and times, which differ from run to run."""
    match value:
        case dict():
            return {name: _comparable(each) for name, each in value.items()}
        case list():
            return [_comparable(each) for each in value]
        case str():
            return _TIME.sub("<time>", _UUID.sub("<id>", value))
        case _:
            return value


def _history(report: Report) -> str:
    events = [event for ended in report.ended for event in ended.events]
    return "\n".join(f"{each['id']} {each['type']} {each['step_id']} {each['data']}" for each in events)


def _differences(place: str, one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for name in one:
            yield from _differences(f"{place}/{name}", one[name], other[name])
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from _differences(f"{place}/{number}", *pair)
    elif one != other:
        yield f"{place}: {one} != {other}"
