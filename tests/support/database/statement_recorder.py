"""Which statements a running service sends to the database."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import asyncpg
import pytest

from support.service.live_service import Service

_fetched: ContextVar[list[str] | None] = ContextVar("_fetched", default=None)


def statements_sent(service: Service) -> float:
    """Return how many statements the service has sent, by either driver."""
    value: float = service.app.metrics.value("stepwell_database_statements_total")
    return value


async def until_quiet(service: Service) -> None:
    """Wait until no statement was sent for a while: after its start, the service looks for work of other processes."""
    before, now = -1.0, 0.0
    async with asyncio.timeout(60):
        while before != now:
            before = now
            await asyncio.sleep(0.5)
            now = statements_sent(service)


@contextmanager
def fetched() -> Iterator[list[str]]:
    """The statements that asyncpg's `fetch` sends for the body: in its task, and in those that this one starts.

    So the service's own statements don't count, for example those that look for work.
    """
    statements: list[str] = []
    inner = asyncpg.Connection.fetch

    async def fetch(self: asyncpg.Connection, statement: str, *values: Any, **options: Any) -> Any:
        recorded = _fetched.get()
        if recorded is not None:
            recorded.append(statement)
        return await inner(self, statement, *values, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncpg.Connection, "fetch", fetch)
        recording = _fetched.set(statements)
        try:
            yield statements
        finally:
            _fetched.reset(recording)
