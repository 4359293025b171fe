"""A write that leaves nothing behind: it shows whether the database takes writes again."""

from contextlib import suppress
from typing import Final

import asyncpg

from stepwell.persistence.database import Connect, unavailable_in_outage

# About a megabyte of a temporary file, for room: rows could be written where old ones were, and an update that fits
# tells nothing of a bigger one.
TAKE_ROOM: Final = """
SET work_mem = '64kB';
SET temp_tablespaces = '';
SELECT count(*) FROM generate_series(1, 75000);
"""
# A row in each table that requests write first, for all else that may refuse them.
WRITE_ROWS: Final = """
BEGIN;
INSERT INTO workflows (id, origin_instance, config, total_steps, final_position, created_at, status, name, updated_at)
VALUES (gen_random_uuid(), '', '{}', 1, 0, now(), 'PENDING', '', now());
INSERT INTO steps (workflow_id, position, id, step_id, task_type, definition, depends_on, max_retries, timeout_s,
                   status, updated_at)
VALUES (gen_random_uuid(), 0, gen_random_uuid(), '', '', '{}', '{}', 0, 0, 'PENDING', now());
INSERT INTO events (workflow_id, id, type, at, actor, data) VALUES (gen_random_uuid(), 1, '', now(), '', '{}');
INSERT INTO idempotency_keys (scope, key, token, owner, fingerprint, created_at)
VALUES ('', '', gen_random_uuid(), gen_random_uuid(), '', now());
ROLLBACK
"""
_CLOSE_S: Final = 5.0


@unavailable_in_outage
async def try_to_write(connect: Connect) -> None:
    """Return if the database takes writes. Raises `Unavailable`, as every write would."""
    connection = await connect()
    try:
        with suppress(asyncpg.ConfigurationLimitExceededError):  # by temp_file_limit: then the rows alone have to do
            await connection.execute(TAKE_ROOM)
        await connection.execute(WRITE_ROWS)
    finally:
        await connection.close(timeout=_CLOSE_S)
