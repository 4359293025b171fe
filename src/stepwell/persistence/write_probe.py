"""A write that leaves nothing behind: it shows whether the database takes writes again."""

from typing import Final

from stepwell.persistence.database import Connect, unavailable_in_outage

# About a megabyte of a temporary file, for room: rows could be written where old ones were, and an update that fits
# tells nothing of a bigger one. Then a row in each table that requests write first, for all else that may refuse them.
PROBE: Final = """
BEGIN;
SET LOCAL work_mem = '64kB';
SET LOCAL temp_tablespaces = '';
SELECT count(*) FROM generate_series(1, 75000);
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
        await connection.execute(PROBE)
    finally:
        await connection.close(timeout=_CLOSE_S)
