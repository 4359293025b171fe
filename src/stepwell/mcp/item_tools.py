"""The tool about the items of a step."""

from typing import Final

from stepwell.mcp.arguments import ItemsArguments
from stepwell.mcp.service_access import ServiceAccess
from stepwell.mcp.tool import Tool, ToolOutcome
from stepwell.mcp.tool_results import ItemsResult, item_summary

_MOST_BYTES = 24 * 1024  # of the values, and of the results, together


async def list_items(access: ServiceAccess, arguments: ItemsArguments) -> ToolOutcome:
    page = await access.client.item_page(
        arguments.workflow_id,
        arguments.step_id,
        status=arguments.status,
        skip=arguments.skip,
        limit=arguments.limit,
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
