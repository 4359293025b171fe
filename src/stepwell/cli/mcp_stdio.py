"""`stepwell mcp`: serves an AI assistant over stdin and stdout."""

import os
import signal
import sys

from stepwell.cli.errors import MISUSED, Refused
from stepwell.cli.output import print_message
from stepwell.cli.workflow_commands.endpoint import ConnectionOptions, find_endpoint
from stepwell.mcp.sdk import has_sdk
from stepwell.runtime.telemetry import configure_logging

_HINT = "this waits for an AI assistant on stdin; `stepwell manual assistant` shows how one is connected"


def serve_assistant(options: ConnectionOptions) -> None:
    """Serve until stdin ends. Raises `Refused`. Only messages of the protocol go to stdout."""
    if not has_sdk():
        raise Refused("`stepwell mcp` needs the extra mcp: pip install 'stepwell[mcp]'", code=MISUSED)
    endpoint = find_endpoint(options, os.environ)
    configure_logging("console", "warning")
    from stepwell.mcp.stdio import serve_stdio  # noqa: PLC0415 - only the extra has the SDK

    if sys.stdin.isatty():
        print_message(_HINT)
    # A thread that reads stdin can't be cancelled, so Ctrl-C must end the process itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    serve_stdio(endpoint.url, endpoint.token)
