"""The tools about workflows (plan, submit, read, list, the verbs), and about the service."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final
from uuid import UUID

from anyio import create_task_group
from msgspec import UNSET, to_builtins

from stepwell.client import StepwellError, WaitTimeout
from stepwell.client.definition_text import RerunChanges
from stepwell.contract.enums import TERMINAL_STATUSES, WorkflowStatus
from stepwell.contract.forecasts import ControlVerb
from stepwell.contract.workflows import WorkflowPublic
from stepwell.mcp.arguments import (
    BudgetArguments,
    CostsArguments,
    DestructiveVerbArguments,
    ListArguments,
    NoArguments,
    PlanArguments,
    RerunArguments,
    StatusArguments,
    SubmitArguments,
    VerbArguments,
)
from stepwell.mcp.service_access import ServiceAccess
from stepwell.mcp.tool import Tool, ToolOutcome, writing_tool
from stepwell.mcp.tool_errors import ResponseTooLarge, ToolFailed
from stepwell.mcp.tool_results import (
    CostsResult,
    PlanResult,
    ProvidersResult,
    RerunResult,
    VerbResult,
    WorkflowListResult,
    WorkflowStatusResult,
    cost_total,
    plan_result,
    status_result,
    summarise,
)

_NEXT: Final = {
    WorkflowStatus.PENDING: "start_workflow starts it.",
    WorkflowStatus.RUNNING: "It runs. get_workflow with wait_s waits for its end.",
    WorkflowStatus.PAUSED: "resume_workflow continues it.",
    WorkflowStatus.COMPLETED: "It is done. get_outputs returns its files and results.",
    WorkflowStatus.FAILED: "It has failed; errors says why. If the cause is removed, resume_workflow runs the steps "
    "that haven't completed. If the definition is wrong, submit a corrected one.",
    WorkflowStatus.CANCELLED: "It was cancelled, and can't go on. submit_workflow creates another one.",
}
_DELETED: Final = "It is deleted, and can't go on. submit_workflow creates another one."
_BUDGET_NEXT: Final = "Its budget is used up. set_budget raises it, if the user agrees; then resume_workflow continues."
_DRY_RUN_NEXT = "Nothing has changed. Call again with dry_run=false to do it, if the user agrees."


async def plan(access: ServiceAccess, arguments: PlanArguments) -> ToolOutcome:
    return ToolOutcome(plan_result(await access.client.plan(arguments.definition)))


async def submit(access: ServiceAccess, arguments: SubmitArguments) -> ToolOutcome:
    key = arguments.idempotency_key
    workflow = await _created(
        access, access.client.create(arguments.definition, start=arguments.start, idempotency_key=key)
    )
    warnings = () if workflow.warnings is UNSET else workflow.warnings
    if arguments.start and arguments.wait_s:
        # An error would say that nothing was created, and the repeat of the call would pay for the same work again.
        with suppress(StepwellError, ToolFailed):
            workflow = await _read(access, workflow.id, arguments.wait_s)
    return ToolOutcome(status_result(workflow, None, _NEXT[workflow.status], warnings))


async def rerun(access: ServiceAccess, arguments: RerunArguments) -> ToolOutcome:
    changes: RerunChanges = {"steps": arguments.steps, "config": arguments.config, "inputs": arguments.inputs}
    if arguments.dry_run:
        return ToolOutcome(
            RerunResult(plan=plan_result(await access.client.plan_rerun(arguments.workflow_id, **changes)))
        )
    key = arguments.idempotency_key
    workflow = await _created(access, access.client.rerun(arguments.workflow_id, idempotency_key=key, **changes))
    return ToolOutcome(RerunResult(workflow=status_result(workflow, None, _NEXT[workflow.status])))


async def _created(access: ServiceAccess, creation: Awaitable[WorkflowPublic]) -> WorkflowPublic:
    try:
        return await creation
    except ResponseTooLarge as error:
        if error.location is None:
            raise
        return await read_briefly(access, error.location.rpartition("/")[2])


async def get(access: ServiceAccess, arguments: StatusArguments) -> ToolOutcome:
    workflow = await _read(access, arguments.workflow_id, arguments.wait_s)
    is_open = workflow.status not in TERMINAL_STATUSES and not workflow.is_deleted
    explanation = None
    if is_open:
        with suppress(ResponseTooLarge):
            explanation = await access.client.explain(arguments.workflow_id)
    return ToolOutcome(status_result(workflow, explanation, _next(workflow)))


async def list_workflows(access: ServiceAccess, arguments: ListArguments) -> ToolOutcome:
    page = await access.client.page(
        status=arguments.status or None,
        name=arguments.name,
        definition=arguments.definition,
        labels=arguments.labels,
        waits_for=arguments.waits_for,
        origin_reference=arguments.origin_reference,
        created_after=arguments.created_after,
        created_before=arguments.created_before,
        limit=arguments.limit,
        skip=arguments.skip,
        include_steps=False,
        include_results=False,
    )
    return ToolOutcome(WorkflowListResult(workflows=list(map(summarise, page.workflows)), total=page.total))


def _next(workflow: WorkflowPublic) -> str:
    if workflow.pause_reason is not None:
        return _BUDGET_NEXT
    return _DELETED if workflow.is_deleted else _NEXT[workflow.status]


async def read_briefly(access: ServiceAccess, workflow_id: UUID | str) -> WorkflowPublic:
    """Return a workflow without its steps. With them, the response would be too large."""
    return await access.client.get(workflow_id, include_steps=False, include_results=False)


async def _run_verb(verb: ControlVerb, access: ServiceAccess, arguments: Any) -> ToolOutcome:
    client, workflow_id = access.client, arguments.workflow_id
    if arguments.dry_run:
        forecast = await client.dry_run(verb, workflow_id)
        return ToolOutcome(VerbResult(dry_run=True, forecast=forecast, next=_DRY_RUN_NEXT))
    cleanup = None
    try:
        if verb == "cleanup":
            cleaned = await client.cleanup(workflow_id)
            workflow, cleanup = cleaned.workflow, cleaned.cleanup
        else:
            call: Callable[[str], Awaitable[WorkflowPublic]] = getattr(client, verb)
            workflow = await call(workflow_id)
    except ResponseTooLarge:  # the verb has had its effect
        workflow = await read_briefly(access, workflow_id)
    next_ = "It is deleted, with its files." if workflow.is_deleted else _next(workflow)
    return ToolOutcome(VerbResult(dry_run=False, workflow=summarise(workflow), cleanup=cleanup, next=next_))


async def set_budget(access: ServiceAccess, arguments: BudgetArguments) -> ToolOutcome:
    workflow_id, budget = arguments.workflow_id, to_builtins(arguments.budget)
    try:
        workflow = await access.client.update(workflow_id, budget=budget)
    except ResponseTooLarge:  # it has had its effect
        workflow = await read_briefly(access, workflow_id)
    return ToolOutcome(VerbResult(dry_run=False, workflow=summarise(workflow), next=_next(workflow)))


async def _read(access: ServiceAccess, workflow_id: UUID | str, wait_s: float) -> WorkflowPublic:
    """Return the workflow once it has ended, or as it is after *wait_s* or when the service stops."""
    try:
        if wait_s and (workflow := await _wait(access, workflow_id, wait_s)) is not None:
            return workflow
        return await access.client.get(workflow_id, include_results=False)
    except ResponseTooLarge:
        return await read_briefly(access, workflow_id)


async def _wait(access: ServiceAccess, workflow_id: UUID | str, wait_s: float) -> WorkflowPublic | None:
    """Return the workflow once it has ended, or as it is after *wait_s*; None if the service stops before."""
    workflow: WorkflowPublic | None = None
    failure: Exception | None = None

    async def wait() -> None:
        nonlocal workflow, failure
        try:
            workflow = await access.client.wait(workflow_id, timeout_s=wait_s)
        except WaitTimeout as error:
            workflow = error.workflow
        except (StepwellError, ToolFailed) as error:
            failure = error
        group.cancel_scope.cancel()

    async with create_task_group() as group:
        group.start_soon(wait, name="wait for the end")
        await access.stopping()
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return workflow


def _verb(
    verb: ControlVerb, title: str, description: str, *, destructive: bool = False, idempotent: bool = True
) -> Tool:
    return writing_tool(
        name=f"{verb}_workflow",
        title=title,
        description=description,
        arguments=DestructiveVerbArguments if destructive else VerbArguments,
        result=VerbResult,
        run=partial(_run_verb, verb),
        destructive=destructive,
        idempotent=idempotent,
    )


SUBMIT: Final = writing_tool(
    name="submit_workflow",
    title="Submit a workflow",
    description="Create a workflow from a definition, and start it. Its steps may cost money at providers: call "
    "plan_workflow first, and tell the user the price. Repeat a failed call with the same idempotency_key only. "
    "With wait_s, the result comes when the workflow has ended.",
    arguments=SubmitArguments,
    result=WorkflowStatusResult,
    run=submit,
    idempotent=False,
)

WORKFLOW_TOOLS: Final = (
    Tool(
        name="plan_workflow",
        title="Plan a workflow",
        description="Check a definition, and report the order of its steps, their providers and their price. Nothing "
        "is stored and nothing runs. If the definition has faults, the error lists each with its place.",
        arguments=PlanArguments,
        result=PlanResult,
        run=plan,
    ),
    SUBMIT,
    writing_tool(
        name="rerun_workflow",
        title="Run a workflow again",
        description="Create a new run of a workflow that has ended or is PAUSED, with changes. Steps whose work hasn't "
        "changed take over their results, and cost nothing. First call it with dry_run=true, which is the default, and "
        "show the user what would run and cost.",
        arguments=RerunArguments,
        result=RerunResult,
        run=rerun,
        idempotent=False,
    ),
    Tool(
        name="get_workflow",
        title="Read a workflow",
        description="Read the status of a workflow and of its steps, its errors, and why it doesn't progress. With "
        "wait_s, the result comes when the workflow has ended.",
        arguments=StatusArguments,
        result=WorkflowStatusResult,
        run=get,
    ),
    Tool(
        name="list_workflows",
        title="List workflows",
        description="List workflows, newest first.",
        arguments=ListArguments,
        result=WorkflowListResult,
        run=list_workflows,
    ),
    _verb("start", "Start a workflow", "Start a workflow that is PENDING. Its steps may cost money at providers."),
    _verb(
        "pause",
        "Pause a workflow",
        "Pause a RUNNING workflow: nothing new starts, and the steps that run are finished.",
    ),
    _verb(
        "resume",
        "Resume a workflow",
        "Continue a PAUSED or FAILED workflow. Completed steps are kept and never run again; the others run, which may "
        "cost money at providers.",
        idempotent=False,
    ),
    writing_tool(
        name="set_budget",
        title="Set the budget of a workflow",
        description="Replace the budget of a workflow that was created with one: the most that its attempts at "
        "providers may cost, by currency, and how many there may be. Ask the user before you raise it.",
        arguments=BudgetArguments,
        result=VerbResult,
        run=set_budget,
    ),
    _verb(
        "cancel",
        "Cancel a workflow",
        "End a PENDING or RUNNING workflow for good. Running work is cancelled, at providers too, and is lost; what is "
        "completed stays readable. It can't be resumed. First call it with dry_run=true, which is the default.",
        destructive=True,
    ),
    _verb(
        "cleanup",
        "Delete a workflow",
        "Delete a workflow that doesn't run, with all files that it has made. Files that other workflows use are kept. "
        "This can't be undone. First call it with dry_run=true, which is the default, and show the user the files.",
        destructive=True,
    ),
)


async def list_providers(access: ServiceAccess, _arguments: NoArguments) -> ToolOutcome:
    return ToolOutcome(ProvidersResult(providers=await access.client.providers()))


async def get_costs(access: ServiceAccess, arguments: CostsArguments) -> ToolOutcome:
    groups = await access.client.costs(
        arguments.since, arguments.until, by=arguments.by, definition=arguments.definition
    )
    return ToolOutcome(CostsResult(costs=list(map(cost_total, groups))))


SERVICE_TOOLS: Final = (
    Tool(
        name="list_providers",
        title="List providers",
        description="List the providers that are configured: the task types that each can do, what runs and waits "
        "there, and whether something is wrong with its key or its models.",
        arguments=NoArguments,
        result=ProvidersResult,
        run=list_providers,
    ),
    Tool(
        name="get_costs",
        title="Sum costs",
        description="Sum up what attempts at providers have cost, and what reuse has saved, by day, provider, model or "
        "tenant. LOCAL is free.",
        arguments=CostsArguments,
        result=CostsResult,
        run=get_costs,
    ),
)
