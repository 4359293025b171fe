"""A probe that checks whether the database accepts writes, and leaves nothing behind."""

from contextlib import suppress
from typing import Final

import asyncpg

from stepwell.persistence.connections.database import Connect, unavailable_in_outage

# A temporary file of about a megabyte, because it needs free space on the disk. New rows may not: they can reuse the
# space of deleted ones.
TAKE_ROOM: Final = """
SET work_mem = '64kB';
SET temp_tablespaces = '';
SELECT count(*) FROM generate_series(1, 75000);
"""
# A row in each table that requests write to first. These detect every other reason for a refusal.
WRITE_ROWS: Final = """
BEGIN;
INSERT INTO workflows (id, created_by, origin_instance, config, total_steps, final_position, created_at, status, name,
                       updated_at)
VALUES (gen_random_uuid(), '', '', '{}', 1, 0, now(), 'PENDING', '', now());
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
    """Return if the database accepts writes. Raises `Unavailable`, as every write would."""
    connection = await connect()
    try:
        with suppress(asyncpg.ConfigurationLimitExceededError):  # temp_file_limit is too low, so the rows alone decide
            await connection.execute(TAKE_ROOM)
        await connection.execute(WRITE_ROWS)
    finally:
        await connection.close(timeout=_CLOSE_S)
