"""Which statements a running service sends to the database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from support.service.live_service import Service


def statements_sent(service: Service) -> float:
    """Return how many statements the service has sent, by either driver."""
    value: float = service.app.metrics.value("stepwell_database_statements_total")
    return value


@asynccontextmanager
async def fetched(service: Service) -> AsyncIterator[list[str]]:
    """All statements that are sent meanwhile, of which each must be one of asyncpg's `fetch`."""
    statements: list[str] = []
    inner = asyncpg.Connection.fetch

    async def fetch(self: asyncpg.Connection, statement: str, *values: Any, **options: Any) -> Any:
        statements.append(statement)
        return await inner(self, statement, *values, **options)

    before = statements_sent(service)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncpg.Connection, "fetch", fetch)
        yield statements
    assert statements_sent(service) - before == len(statements)
