"""What the start of a service fills once in a process: caches of statements, routes and schemas."""

import asyncio
import inspect
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock
from uuid import UUID

from stepwell.api.routes.all_routes import build_api
from stepwell.app import PostgresSource
from stepwell.engine.explain.availability import WriteMonitor
from stepwell.outbound.http_client import tls_context
from stepwell.web.pages import build_pages
from support.service.conformance import conformance
from support.service.live_service import settings_for


def fill_caches() -> None:
    """Fill the caches without a connection or a thread, which forks couldn't use."""
    conformance()
    tls_context()
    asyncio.run(_start_nothing())


async def _start_nothing() -> None:
    source = PostgresSource("postgresql://nobody@nowhere/nothing", durable=False)
    async with AsyncExitStack() as stack:
        await source.open(settings_for(Path()), UUID(int=0), lambda: None, WriteMonitor(source.clock), stack)
    anything: Any = MagicMock()
    arguments = dict.fromkeys(inspect.signature(build_api).parameters.keys() - {"pages", "lifespan"}, anything)
    build_api(**arguments, pages=build_pages(anything, source.clock, ()))
