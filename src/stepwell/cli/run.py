"""`stepwell run FILE`: one definition to its end on the data folder, without a server."""

import asyncio
from typing import Any
from uuid import UUID

from msgspec import Raw, Struct, json

from stepwell.app import Application
from stepwell.artifacts.storage import bucket_of
from stepwell.cli.folder import open_folder
from stepwell.cli.hosting import broken, service
from stepwell.cli.keys import Keys, check_keys, keys_of_folder
from stepwell.cli.output import complain, tell
from stepwell.cli.postgres import embedded_postgres, keep_running, migrated
from stepwell.cli.progress import Progress, progress_display
from stepwell.cli.refusal import FAILED, MISUSED, Refused
from stepwell.cli.signals import Signals, Stop, run_stoppable
from stepwell.cli.up import embedded_settings
from stepwell.domain.errors import InvalidRequest, Unavailable
from stepwell.domain.jsonbody import decode_body
from stepwell.domain.model import EventType, WorkflowStatus
from stepwell.domain.records import EVERY_TENANT
from stepwell.domain.validation import plan_workflow
from stepwell.persistence.embedded import EmbeddedPostgres
from stepwell.settings import Settings

_ACTOR = "stepwell run"
_ENDS = {EventType.WORKFLOW_COMPLETED, EventType.WORKFLOW_FAILED, EventType.WORKFLOW_CANCELLED}
_PAGE = 1_000
_LOOK_S = 0.1
# Whoever presses Ctrl-C waits at the terminal; what is cut off is done again by the next start.
_GRACE_S = 2.0


class Outcome(Struct, frozen=True):
    """What is printed at the end: `result` is the final step's, `files` are absolute paths, or s3:// addresses."""

    workflow_id: UUID
    status: WorkflowStatus
    result: Raw | None
    errors: tuple[str, ...]
    files: list[str]


def run_definition(settings: Settings, data: bytes, signals: Signals) -> int:
    """Run the definition *data* and print its outcome; the exit code.

    Raises `Refused`, or KeyboardInterrupt for a signal before the start.
    """
    check_keys(settings)
    try:
        body = decode_body(data)
    except InvalidRequest as error:
        raise _not_valid(error) from error
    open_folder(settings.data_dir)
    with embedded_postgres(settings, signals, "post the definition to the Stepwell that runs on it") as postgres:
        settings = embedded_settings(settings, grace_s=min(settings.grace_s, _GRACE_S))
        keys = keys_of_folder(settings)
        return run_stoppable(signals, lambda stop: _main(keys, postgres, body, stop), stopped=FAILED)


async def _main(keys: Keys, postgres: EmbeddedPostgres, body: Any, stop: Stop) -> int:
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(keep_running(postgres), name="postgres")
        await migrated(postgres)
        async with service(keys, postgres.dsn(), exclusive=True) as app:
            stop.take_over()
            outcome = await _run(app, keys.settings, body, stop)
        watching.cancel()
    if outcome is None:
        return FAILED
    tell(json.format(json.encode(outcome), indent=2).decode())
    complain(*outcome.errors)
    return 0 if outcome.status is WorkflowStatus.COMPLETED else FAILED


async def _run(app: Application, settings: Settings, body: Any, stop: Stop) -> Outcome | None:
    """None if it was stopped before its end."""
    try:
        planned = plan_workflow(body, app.service.catalog)
    except InvalidRequest as error:
        raise _not_valid(error) from error
    tenant = planned.request.origin_tenant_id
    record = await app.service.create(EVERY_TENANT, _ACTOR, planned, tenant=tenant, start=True)
    workflow_id = record.state.id
    with progress_display(record.total_steps) as progress:
        ended = await _follow(app, workflow_id, progress, stop)
    if not ended:
        complain(f"stopped: the next start on {settings.data_dir} goes on with workflow {workflow_id}")
        return None
    return await _outcome(app, settings, workflow_id)


async def _follow(app: Application, workflow_id: UUID, progress: Progress, stop: Stop) -> bool:
    """Show the workflow's events until its end; False if *stop*, or the end of the engine, came first."""
    seen = 0
    while not (stop.requested or broken(app)):
        try:
            events = await app.service.events(EVERY_TENANT, workflow_id, after=seen, limit=_PAGE)
        except Unavailable:  # it comes back, and so do we
            events = []
        for event in events:
            progress.show(event)
            seen = event.id
            if event.type in _ENDS:
                return True
        if len(events) < _PAGE:
            await stop.wait(_LOOK_S)
    return False


async def _outcome(app: Application, settings: Settings, workflow_id: UUID) -> Outcome:
    record = await app.service.get(EVERY_TENANT, workflow_id, include_steps=False)
    tasks = await app.service.tasks(EVERY_TENANT, workflow_id, include_deleted=False)
    bucket = bucket_of(settings)
    top = str(settings.artifacts.absolute()) if bucket is None else bucket.address
    files = [f"{top}/{made.path}" for each in tasks for made in each.task.outputs]
    result = record.summary.final_step_result
    return Outcome(
        workflow_id, record.state.status, None if result is None else Raw(result), record.summary.errors, files
    )


def _not_valid(error: InvalidRequest) -> Refused:
    lines = [f"{json.encode(fault.loc).decode()}: {fault.msg}" for fault in error.faults]
    return Refused("the definition is not valid:", *lines, code=MISUSED)
