"""`stepwell run FILE`: runs one definition to its end, in the `stepwell up` on the data folder or in this process."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from msgspec import Raw

from stepwell.app import Service
from stepwell.artifacts.store_setup import bucket_of
from stepwell.basics.errors import InvalidRequest, Unavailable
from stepwell.basics.strict_json.decode import decode_body
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.cli.data_folder import UP, open_folder
from stepwell.cli.errors import INTERRUPTED, Refused
from stepwell.cli.handover import UpEnded, hand_over
from stepwell.cli.keys import ServiceKeys, check_keys, keys_of_folder
from stepwell.cli.outcome import RunOutcome, invalid_definition, print_outcome, print_warnings
from stepwell.cli.output import print_message
from stepwell.cli.postgres import claim_folder, kept_running, migrate_embedded, start_server
from stepwell.cli.run_progress import RunProgress, progress_display
from stepwell.cli.service_host import is_broken, open_service
from stepwell.cli.signals import Signals, Stop, run_stoppable
from stepwell.cli.up import embedded_settings
from stepwell.contract.enums import TERMINAL_EVENTS
from stepwell.definition.validation.workflow import validate_workflow
from stepwell.persistence.embedded.server import DataFolderInUse, EmbeddedPostgres
from stepwell.settings import Settings

_ACTOR = "stepwell run"
_PAGE = 1_000
_POLL_S = 0.1
# Short, because the user waits at the terminal. The next start repeats interrupted attempts.
_GRACE_S = 2.0


def run_definition(settings: Settings, data: bytes, signals: Signals) -> int:
    """Run the definition *data* and print its outcome. Returns the exit code.

    Raises `Refused`, and KeyboardInterrupt for a signal before the start.
    """
    check_keys(settings)
    try:
        body = decode_body(data)
    except InvalidRequest as error:
        raise invalid_definition(error.faults) from error
    open_folder(settings.data_dir)
    while True:
        try:
            return _run_alone(settings, body, signals)
        except DataFolderInUse as error:
            if error.command != UP:
                raise Refused(f"{error}: wait until it ends, or use `stepwell up`, which runs many") from error
        with suppress(UpEnded):
            return run_stoppable(signals, lambda _: hand_over(settings, data), stopped=INTERRUPTED)
        signals.check()


def _run_alone(settings: Settings, body: Any, signals: Signals) -> int:
    """Run the definition in this process. Raises `DataFolderInUse`, and what `run_definition` raises."""
    with claim_folder(settings, "run") as postgres:
        start_server(postgres, signals)
        settings = embedded_settings(settings, grace_s=min(settings.grace_s, _GRACE_S))
        keys = keys_of_folder(settings)
        return run_stoppable(signals, lambda stop: _main(keys, postgres, body, stop), stopped=INTERRUPTED)


async def _main(keys: ServiceKeys, postgres: EmbeddedPostgres, body: Any, stop: Stop) -> int:
    async with kept_running(postgres):
        await migrate_embedded(postgres)
        async with open_service(keys, postgres.dsn(), exclusive=True, server_disk_full=postgres.is_disk_full) as app:
            stop.take_over()
            outcome = await _run(app, keys.settings, body, stop)
    return INTERRUPTED if outcome is None else print_outcome(outcome)


async def _run(app: Service, settings: Settings, body: Any, stop: Stop) -> RunOutcome | None:
    """Run the definition. Returns None if a signal stopped this process before the workflow's end."""
    try:
        workflow = validate_workflow(
            body, app.services.catalog, now=app.services.clock.now(), origin_instance=settings.origin_instance
        )
        await app.services.inputs_checker.check(workflow.request.origin_tenant_id, workflow)
    except InvalidRequest as error:
        raise invalid_definition(error.faults) from error
    print_warnings(workflow.warnings)
    tenant = workflow.request.origin_tenant_id
    record = await app.services.workflows.create(EVERY_TENANT, _ACTOR, workflow, tenant=tenant, start=True)
    workflow_id = record.state.id
    folder = settings.data_dir
    advice = f"only a service takes decisions and signals: press Ctrl-C, and run `stepwell up --data-dir {folder}`"
    with progress_display(record.total_steps, advice) as progress:
        ended = await _follow(app, workflow_id, progress, stop)
    if not ended:
        print_message(f"stopped: the next start on {folder} continues workflow {workflow_id}")
        return None
    return await _outcome(app, settings, workflow_id)


async def _follow(app: Service, workflow_id: UUID, progress: RunProgress, stop: Stop) -> bool:
    """Show the workflow's events until its end. Returns False if *stop* or the end of the engine came first."""
    last_event = 0
    while not (stop.requested or is_broken(app)):
        try:
            events = await app.services.reads.events(EVERY_TENANT, workflow_id, after=last_event, limit=_PAGE)
        except Unavailable:  # the next poll tries again
            events = []
        for event in events:
            progress.show(event)
            last_event = event.id
            if event.type in TERMINAL_EVENTS:
                return True
        if len(events) < _PAGE:
            await stop.wait(_POLL_S)
    return False


async def _outcome(app: Service, settings: Settings, workflow_id: UUID) -> RunOutcome:
    record = await app.services.reads.get(EVERY_TENANT, workflow_id)
    bucket = bucket_of(settings)
    base = str(settings.artifacts.absolute()) if bucket is None else bucket.url
    files, after = list[str](), None
    while page := await app.services.reads.outputs(EVERY_TENANT, workflow_id, after, _PAGE):
        files += [f"{base}/{each.output.path}" for each in page]
        after = page[-1].cursor
    result = record.summary.final_step_result
    return RunOutcome(
        workflow_id, record.state.status, None if result is None else Raw(result), record.summary.errors, files
    )
