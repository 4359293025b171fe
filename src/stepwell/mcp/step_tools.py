"""The tools about steps: their items, and those that wait. `get_workflow` says which steps wait, and for what."""

from contextlib import aclosing
from typing import Final

from msgspec import convert

from stepwell.contract.scopes import Permission
from stepwell.contract.workflows import OpenDecision, WorkflowStepPublic
from stepwell.mcp.arguments import (
    DecideArguments,
    DecisionsArguments,
    EndStepArguments,
    ItemsArguments,
    SignalArguments,
)
from stepwell.mcp.service_access import ServiceAccess
from stepwell.mcp.tool import Tool, ToolOutcome, writing_tool
from stepwell.mcp.tool_results import (
    DecisionsResult,
    ItemsResult,
    StepEndedResult,
    WaitEndedResult,
    decision_summary,
    item_summary,
)

_MOST_BYTES: Final = 24 * 1024  # of what a list returns: values and results of items, or inputs of decisions
_MOST_AT_ONCE: Final = 20  # decisions in a page: each may have 64 KiB of inputs, and decoding holds up the event loop


async def list_items(access: ServiceAccess, arguments: ItemsArguments) -> ToolOutcome:
    page = await access.client.item_page(
        arguments.workflow_id, arguments.step_id, status=arguments.status, skip=arguments.skip, limit=arguments.limit
    )
    most = _MOST_BYTES // 2 // max(1, len(page.items))
    return ToolOutcome(ItemsResult(items=[item_summary(item, most) for item in page.items], total=page.total))


ITEM_TOOLS: Final = (
    Tool(
        name="list_items",
        title="List the items of a step",
        description="List the items of a step with for_each, which runs once for each of them: their values, statuses, "
        "results and errors. get_workflow counts them.",
        arguments=ItemsArguments,
        result=ItemsResult,
        run=list_items,
    ),
)


async def list_decisions(access: ServiceAccess, arguments: DecisionsArguments) -> ToolOutcome:
    first, more = list[OpenDecision](), False
    page_size = min(arguments.limit + 1, _MOST_AT_ONCE)
    every = access.client.decisions(arguments.workflow_id, definition=arguments.definition, page_size=page_size)
    async with aclosing(every) as decisions:
        async for decision in decisions:
            if more := len(first) >= arguments.limit:
                break
            first.append(decision)
    most = _MOST_BYTES // max(1, len(first))
    return ToolOutcome(DecisionsResult(decisions=[decision_summary(each, most) for each in first], shortened=more))


async def decide(access: ServiceAccess, arguments: DecideArguments) -> ToolOutcome:
    step = await access.client.decide(arguments.workflow_id, arguments.step_id, arguments.choice, note=arguments.note)
    return ToolOutcome(_result(step))


async def send_signal(access: ServiceAccess, arguments: SignalArguments) -> ToolOutcome:
    return ToolOutcome(_result(await access.client.signal(arguments.workflow_id, arguments.name, arguments.data)))


async def end_step(access: ServiceAccess, arguments: EndStepArguments) -> ToolOutcome:
    client, workflow_id, step_id, item = access.client, arguments.workflow_id, arguments.step_id, arguments.item
    result, status, forecast = arguments.result, None, None
    if arguments.dry_run:
        forecast = await client.dry_run_by_hand(workflow_id, step_id, result, item=item)
    elif item is not None and result is not None:
        status = (await client.give_item_result(workflow_id, step_id, item, result)).status
    elif item is not None:
        status = (await client.skip_item(workflow_id, step_id, item)).status
    elif result is not None:
        status = (await client.give_result(workflow_id, step_id, result)).status
    else:
        status = (await client.skip_step(workflow_id, step_id)).status
    ended = StepEndedResult(dry_run=arguments.dry_run, step_id=step_id, item=item, status=status, forecast=forecast)
    return ToolOutcome(ended)


def _result(step: WorkflowStepPublic) -> WaitEndedResult:
    return convert(step, WaitEndedResult, from_attributes=True)


WAIT_TOOLS: Final = (
    Tool(
        name="list_decisions",
        title="List the open decisions",
        description="List the steps that wait for a decision by people, the longest waiting first. Each has its "
        "message, its choices and its inputs. Decide with decide_step.",
        arguments=DecisionsArguments,
        result=DecisionsResult,
        run=list_decisions,
        permission=Permission.APPROVE,
    ),
    Tool(
        name="decide_step",
        title="Decide for a step",
        description="Decide for a step of the type APPROVAL, which waits for a decision; get_workflow lists its "
        "choices. A step is decided once, and its decision can't be taken back. People decide: show the user what is "
        "to be decided, and call this with the user's choice only.",
        arguments=DecideArguments,
        result=WaitEndedResult,
        run=decide,
        permission=Permission.APPROVE,
        writes=True,
        destructive=True,
        idempotent=False,
    ),
    writing_tool(
        name="end_step",
        title="End a step by hand",
        description="End a step of a FAILED or PAUSED workflow, or an item of it, that is neither COMPLETED nor "
        "RUNNING: with the result that the user gives, like an image that was mended and uploaded, or by skipping it. "
        "Later steps read that result as if the step had made it. It can't be taken back. resume_workflow continues "
        "the workflow.",
        arguments=EndStepArguments,
        result=StepEndedResult,
        run=end_step,
        destructive=True,
        idempotent=False,
    ),
    writing_tool(
        name="send_signal",
        title="Send a signal",
        description="Send a signal to the step of the type SIGNAL that waits for it, or is going to. A second signal "
        "is refused until the step has taken the first.",
        arguments=SignalArguments,
        result=WaitEndedResult,
        run=send_signal,
        idempotent=False,
    ),
)
