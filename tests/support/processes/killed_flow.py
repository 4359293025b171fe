"""A process that runs a reference flow, and kills itself at a numbered point of that."""

import asyncio
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec

from stepwell.app import PostgresSource, running_app
from stepwell.engine.attempts.remote_jobs import RemoteJobs
from support.processes.death_points import DeathPoints
from support.service.live_service import SECRET, settings_for, token
from support.workflows.reference_flows import FLOWS, Workflow

DEADLINE_S = 120
_CALM_S = 0.05  # the life before a workflow is tried alone; short, because these processes die soon
# The wait until a request of a killed process has arrived, or never will. Emulators answer at once.
_ANSWER_S = 1.0
_POLL_S = 0.05
_POLL_PART = 0.15  # of the time so far: seldom, because reading costs more than the flow on a loaded machine
_WORKFLOWS = "/api/v1/workflows/"


@dataclass(frozen=True)
class Life:
    """The life of one process. It dies at point *at*, or not at all.

    The points of the first life begin with its first request, because nothing that can be lost exists before. Those of
    a later life begin with the process itself.
    """

    flow: str
    dsn: str
    folder: Path
    settings: Mapping[str, Any]
    webhook_url: str
    at: int | None
    first: bool


class Ended(msgspec.Struct):
    """A workflow that has ended, with its attempts and its history, as the API shows them."""

    workflow: Workflow
    tasks: list[dict[str, Any]]
    events: list[dict[str, Any]]


class Report(msgspec.Struct):
    """The end of a flow: its workflow, then its sub-workflows. `points` is the number of points of this life."""

    points: int
    ended: list[Ended]
    deliveries: list[dict[str, Any]]


def report_file(folder: Path) -> Path:
    """Return the file in which a life that reaches the end leaves its `Report`."""
    return folder / "report.json"


def live(life: Life) -> None:
    """Run the flow to its end, in a process that dies at point `at`. If it has no such point, leave a report."""
    signal.alarm(DEADLINE_S + 30)
    points = DeathPoints(life.at, counting=not life.first)
    points.number_all()
    _wait_less_for_lost_requests()
    report = asyncio.run(_run(life, points))
    report_file(life.folder).write_bytes(msgspec.json.encode(report))


def _wait_less_for_lost_requests() -> None:
    initialise = RemoteJobs.__init__

    def initialise_and_shorten(self: RemoteJobs, *args: Any, **options: Any) -> None:
        initialise(self, *args, **options)
        self.answer_s = _ANSWER_S

    RemoteJobs.__init__ = initialise_and_shorten  # type: ignore[method-assign] # on purpose


async def _run(life: Life, points: DeathPoints) -> Report:
    flow = FLOWS[life.flow]
    settings = settings_for(life.folder, **life.settings)
    source = PostgresSource(life.dsn, durable=False)
    async with (
        asyncio.timeout(DEADLINE_S),
        running_app(settings, source=source, url_secret=SECRET.encode(), exclusive=True) as app,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=cast("Any", app.api)),
            base_url="http://t.local",
            headers={"Authorization": f"Bearer {token()}"},
        ) as http,
    ):
        app.engine.ownership.trials.calm_s = _CALM_S
        points.counting = True
        client = _Client(http, points)
        await client.create(flow.body(life.webhook_url))
        try:
            await flow.script(client)
            deliveries = await client.until_delivered()
        except asyncio.CancelledError:  # the time is up
            print(await client.ended())
            raise
        points.counting = False
        return Report(points.passed, await client.ended(), deliveries)


class _Client:
    """Implements `FlowClient`. There is a point before and after each request that changes something."""

    def __init__(self, http: httpx.AsyncClient, points: DeathPoints) -> None:
        self._http, self._post, self._delete = http, points.around(http.post), points.around(http.delete)
        self._path = ""

    async def create(self, body: Mapping[str, Any]) -> None:
        """Create the workflow, or find the one that an earlier life has created."""
        while True:
            response = await self._post(_WORKFLOWS, json=body, headers={"Idempotency-Key": '"the flow"'})
            if response.status_code == 201:
                self._path = _WORKFLOWS + response.json()["id"]
                return
            assert response.status_code in {409, 503}, response.text  # an earlier life's request isn't taken over yet
            await asyncio.sleep(_POLL_S)

    async def get(self) -> Workflow:
        return await self._read("")

    async def until(self, wanted: Callable[[Workflow], bool]) -> Workflow:
        waiting_since = time.monotonic()
        while not wanted(workflow := await self.get()):
            await asyncio.sleep(max(_POLL_S, _POLL_PART * (time.monotonic() - waiting_since)))
        return workflow

    async def post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        while True:
            response: httpx.Response = await self._post(f"{self._path}/{path}", json=body)
            if response.status_code != 503:
                return response
            await asyncio.sleep(_POLL_S)

    async def cancel(self) -> httpx.Response:
        while True:
            response: httpx.Response = await self._delete(self._path)
            if response.status_code != 503:
                return response
            await asyncio.sleep(_POLL_S)

    async def children(self) -> list[Workflow]:
        response = await self._http.get(_WORKFLOWS, params={"include_children": True})
        return [each for each in response.json()["workflows"] if each["parent"] is not None]

    async def tasks(self, workflow_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._read("/tasks", _WORKFLOWS + workflow_id))["tasks"]
        return found

    async def until_delivered(self) -> list[dict[str, Any]]:
        """Return the deliveries of webhooks once none is pending."""
        while True:
            deliveries: list[dict[str, Any]] = (await self._read("/deliveries?limit=100"))["deliveries"]
            if all(each["status"] != "PENDING" for each in deliveries):
                return deliveries
            await asyncio.sleep(_POLL_S)

    async def ended(self) -> list[Ended]:
        paths = [self._path, *(_WORKFLOWS + child["id"] for child in await self.children())]
        return [await self._ended(path) for path in paths]

    async def _ended(self, path: str) -> Ended:
        tasks, events = await self._read("/tasks", path), await self._read("/events?limit=1000", path)
        return Ended(await self._read("", path), tasks["tasks"], events["events"])

    async def _read(self, path: str, of: str = "") -> dict[str, Any]:
        response = await self._http.get((of or self._path) + path)
        assert response.status_code == 200, response.text
        content: dict[str, Any] = response.json()
        return content
