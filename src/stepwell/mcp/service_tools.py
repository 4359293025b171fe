"""The tools about the service: its providers, and what attempts have cost."""

from typing import Final

from stepwell.mcp.arguments import CostsArguments, NoArguments
from stepwell.mcp.service_access import ServiceAccess
from stepwell.mcp.tool import Tool, ToolOutcome
from stepwell.mcp.tool_results import CostsResult, ProvidersResult, cost_total


async def list_providers(access: ServiceAccess, _arguments: NoArguments) -> ToolOutcome:
    return ToolOutcome(ProvidersResult(providers=await access.client.providers()))


async def get_costs(access: ServiceAccess, arguments: CostsArguments) -> ToolOutcome:
    groups = await access.client.costs(arguments.since, arguments.until, by=arguments.by)
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
        description="Sum up what attempts at providers have cost, by day, provider, model or tenant. LOCAL is free.",
        arguments=CostsArguments,
        result=CostsResult,
        run=get_costs,
    ),
)
