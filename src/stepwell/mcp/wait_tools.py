"""The tools about steps that wait for decisions and signals. `get_workflow` says which steps wait, and for what."""

from typing import Final

from stepwell.contract.workflows import WorkflowStepPublic
from stepwell.mcp.arguments import DecideArguments, SignalArguments
from stepwell.mcp.service_access import ServiceAccess
from stepwell.mcp.tool import Tool, ToolOutcome
from stepwell.mcp.tool_results import WaitEndedResult


async def decide(access: ServiceAccess, arguments: DecideArguments) -> ToolOutcome:
    step = await access.client.decide(arguments.workflow_id, arguments.step_id, arguments.choice, note=arguments.note)
    return ToolOutcome(_result(step))


async def send_signal(access: ServiceAccess, arguments: SignalArguments) -> ToolOutcome:
    return ToolOutcome(_result(await access.client.signal(arguments.workflow_id, arguments.name, arguments.data)))


def _result(step: WorkflowStepPublic) -> WaitEndedResult:
    return WaitEndedResult(
        step_id=step.step_id, status=step.status, result=step.result, error_message=step.error_message
    )


WAIT_TOOLS: Final = (
    Tool(
        name="decide_step",
        title="Decide for a step",
        description="Decide for a step of the type APPROVAL, which waits for a decision; get_workflow lists its "
        "choices. A step is decided once, and its decision can't be taken back. People decide: show the user what is "
        "to be decided, and call this with the user's choice only.",
        arguments=DecideArguments,
        result=WaitEndedResult,
        run=decide,
        writes=True,
        destructive=True,
        idempotent=False,
    ),
    Tool(
        name="send_signal",
        title="Send a signal",
        description="Send a signal to the step of the type SIGNAL that waits for it, or is going to. A second signal "
        "is refused until the step has taken the first.",
        arguments=SignalArguments,
        result=WaitEndedResult,
        run=send_signal,
        writes=True,
        idempotent=False,
    ),
)
