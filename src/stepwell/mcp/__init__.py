"""The MCP server: tools, resources and a prompt with which AI assistants use the service.

`assistant_server` builds it from a `ServiceAccess`. `stdio` serves it to the program that has started `stepwell mcp`.
`http_endpoint` serves it at `/mcp` of the service. The modules that import the SDK (extra `mcp`) are imported when they
are first used.
"""
