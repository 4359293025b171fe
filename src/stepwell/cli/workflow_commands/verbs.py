"""`stepwell start`, `pause`, `resume`, `cancel` and `cleanup`: each shows what it will do, and does it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from uuid import UUID

from rich.console import RenderableType
from rich.text import Text

from stepwell.cli.errors import FAILED
from stepwell.cli.outcome import exit_code_of
from stepwell.cli.output import print_message
from stepwell.cli.workflow_commands.command_context import CommandContext
from stepwell.cli.workflow_commands.recent_workflows import short_id
from stepwell.cli.workflow_commands.text_tables import counted, plain
from stepwell.client import StepwellError
from stepwell.contract.forecasts import ControlVerb, DryRun, DryRunItems, SubWorkflowDryRun
from stepwell.contract.workflows import WorkflowCleanupResponse, WorkflowPublic

_MAX_NAMES = 10  # names in a line


class VerbOptions(NamedTuple):
    """`wait`: wait for the end of the workflows. `yes`: delete without asking."""

    dry_run: bool
    wait: bool = False
    yes: bool = False


class _Outcome:
    """The exit code of a command on several workflows: that of the first one that isn't done."""

    def __init__(self, context: CommandContext) -> None:
        self.code = 0
        self._context = context

    def add(self, code: int) -> None:
        self.code = self.code or code

    @contextmanager
    def refusals_of(self, workflow_id: UUID) -> Iterator[None]:
        """Report an error of the client about this workflow, and go on with the next one."""
        try:
            yield
        except StepwellError as error:
            refusal = self._context.refusal_of(error)
            print_message(*(f"{short_id(workflow_id)}: {line}" for line in refusal.lines))
            self.add(refusal.code)


def apply_verb(context: CommandContext, verb: ControlVerb, names: Sequence[str], options: VerbOptions) -> int:
    """Show what *verb* will do to each workflow, and do it. Returns the exit code.

    A workflow whose status doesn't allow the verb is reported, and doesn't keep the others from it.
    """
    ids = context.workflow_ids(names)
    outcome = _Outcome(context)
    forecasts = dict(_forecasts(context, verb, ids, outcome))
    if options.dry_run:
        context.show_each(forecasts.values(), lambda each: Text("\n").join(map(forecast_text, forecasts, each)))
        return outcome.code
    for workflow_id, forecast in forecasts.items():
        context.report(forecast_text(workflow_id, forecast))
    if verb == "cleanup" and forecasts:
        context.confirm(f"Delete {counted(len(forecasts), 'workflow')} and the files?", yes=options.yes)
    changed = []
    for workflow_id in forecasts:
        with outcome.refusals_of(workflow_id):
            _apply(context, verb, workflow_id, outcome, wait=options.wait)
            changed.append(workflow_id)
    for workflow_id in changed if options.wait else ():
        with outcome.refusals_of(workflow_id):
            workflow = context.patient_client.wait(workflow_id)
            context.show(workflow, _render)
            outcome.add(exit_code_of(workflow.status))
    return outcome.code


def _forecasts(
    context: CommandContext, verb: ControlVerb, ids: Sequence[UUID], outcome: _Outcome
) -> Iterator[tuple[UUID, DryRun]]:
    for workflow_id in ids:
        with outcome.refusals_of(workflow_id):
            yield workflow_id, context.client.dry_run(verb, workflow_id)


def _apply(context: CommandContext, verb: ControlVerb, workflow_id: UUID, outcome: _Outcome, *, wait: bool) -> None:
    client = context.client
    if verb == "cleanup":
        response = client.cleanup(workflow_id)
        context.show(response, _render_cleanup)
        outcome.add(FAILED if response.cleanup.errors else 0)
        return
    verbs: dict[ControlVerb, Callable[[UUID], WorkflowPublic]] = {
        "start": client.start,
        "pause": client.pause,
        "resume": client.resume,
        "cancel": client.cancel,
    }
    workflow = verbs[verb](workflow_id)
    if not wait:
        context.show(workflow, _render)


def _render(workflow: WorkflowPublic) -> RenderableType:
    return plain(f"{short_id(workflow.id)} {workflow.status} {workflow.name}")


def _render_cleanup(response: WorkflowCleanupResponse) -> RenderableType:
    cleanup = response.cleanup
    lines = [f"{short_id(response.workflow.id)} deleted, with {counted(len(cleanup.deleted_paths), 'file')}"]
    lines += [f"  {error.step_id}: {error.error}" for error in cleanup.errors]
    lines += ["  the service still deletes more files"] if cleanup.pending else []
    return Text("\n").join(map(plain, lines))


def forecast_text(workflow_id: UUID, forecast: DryRun) -> Text:
    """Return what a verb will do to a workflow: a line, and one for each thing that it concerns."""
    change = f"{forecast.status_now} > {forecast.status_after}"
    lines = [f"{forecast.verb} {short_id(workflow_id)}: {'deletes it' if forecast.verb == 'cleanup' else change}"]
    return Text("\n").join(map(plain, lines + _forecast_lines(forecast, "  ")))


def _forecast_lines(forecast: DryRun, indent: str) -> list[str]:
    lines = list[str]()
    items = [f"{each.step_id} {_counted_items(each)}" for each in forecast.items]
    repeats = [f"{each.step_id} (run {each.run} of at most {each.max})" for each in forecast.repeats]
    jobs = [f"{job.step_id} at {job.provider or 'its provider'}" for job in forecast.remote_jobs_to_cancel]
    kept_files = [f"{file.path} (of workflow {short_id(file.workflow_id)})" for file in forecast.files_kept]
    for meaning, names in (
        ("start now", forecast.would_run),
        ("run later", forecast.would_run_later),
        ("run if a condition is true", forecast.may_run),
        ("continue", forecast.running),
        ("keep their results", forecast.kept),
        ("run again", forecast.reset),
        ("stay SKIPPED", forecast.still_skipped),
        ("stay FAILED", forecast.still_failed),
        ("are cancelled", forecast.cancelled),
        ("are completed", forecast.completed),
        ("are skipped", forecast.skipped),
        ("items", items),
        ("repeat", repeats),
        ("jobs to cancel", jobs),
        ("files to delete", forecast.files_to_delete),
        ("files kept, because others use them", kept_files),
    ):
        if names:
            more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
            lines.append(f"{indent}{meaning}: {', '.join(names[:_MAX_NAMES])}{more}")
    for below in forecast.sub_workflows[:_MAX_NAMES]:
        lines.append(f"{indent}{_sub_workflow_title(below)}")
        lines += _forecast_lines(below.dry_run, indent + "  ")
    if left_out := forecast.sub_workflows_left_out + len(forecast.sub_workflows[_MAX_NAMES:]):
        lines.append(f"{indent}and {counted(left_out, 'more sub-workflow')}")
    return lines


def _counted_items(items: DryRunItems) -> str:
    if items.would_run is None:
        return "(their number isn't known yet)"
    counts = [(items.would_run, "run"), (items.running, "continue"), (items.kept, "keep their results")]
    counts += [(items.still_failed, "stay FAILED"), (items.skipped, "are skipped")]
    return f"({', '.join(f'{number} {meaning}' for number, meaning in counts if number) or 'none'})"


def _sub_workflow_title(below: SubWorkflowDryRun) -> str:
    """Return what happens to a sub-workflow, without what happens to its steps."""
    dry_run, of = below.dry_run, below.step_id if below.item is None else f"{below.step_id}, item {below.item}"
    if below.workflow_id is None:
        return f"{of}: {'creates a sub-workflow' if dry_run.allowed else 'its sub-workflow would be refused'}"
    change = "deletes it" if dry_run.verb == "cleanup" else f"{dry_run.status_now} > {dry_run.status_after}"
    return f"{of}: {dry_run.verb} sub-workflow {short_id(below.workflow_id)}: {change}"
