"""The parts of statements about commands that the checkpoint and `stores.peer_commands` share."""

from typing import Final

# The channel of the notifications to one process is this and its id. See
# https://www.postgresql.org/docs/current/sql-notify.html
PROCESS: Final = "stepwell_process_"


def notify_process(process: str, message: str, command_id: str) -> str:
    """Return the SQL that notifies a process of a command. *process* and *command_id* are expressions for uuids."""
    return f"pg_notify('{PROCESS}' || {process}, '{message}:' || {command_id})"


# Stages of `engine_statements.CHECKPOINT_AND_COMMANDS`. A command must still wait, and must still have its idempotency
# key. PostgreSQL checks that again if another statement has just changed a row that is locked here. So a command that
# was withdrawn, or whose key was released or taken over, has no effect.
LOCK_COMMANDS: Final = """keys_held AS MATERIALIZED (
    SELECT i.token FROM commands AS c JOIN idempotency_keys AS i ON i.scope = c.scope AND i.key = c.key
    WHERE c.id = ANY($13::uuid[]) AND i.token = c.token AND i.applied_at IS NULL FOR UPDATE OF i
), waiting AS MATERIALIZED (
    SELECT id FROM commands WHERE id = ANY($13::uuid[]) AND outcome IS NULL
      AND (token IS NULL OR token IN (SELECT token FROM keys_held)) FOR UPDATE
), withdrawn AS MATERIALIZED (
    SELECT k.workflow_id FROM unnest($13::uuid[], $14::uuid[]) AS k(id, workflow_id)
    WHERE (k.id IN (SELECT id FROM waiting)) IS NOT TRUE
), """

# `written` has the ids of the workflows that are written.
MARK_COMMANDS: Final = """applied AS (
    UPDATE commands AS c SET outcome = k.outcome::json
    FROM unnest($13::uuid[], $14::uuid[], $15::text[]) AS k(id, workflow_id, outcome)
    WHERE c.id = k.id AND (k.workflow_id IN (SELECT id FROM written)) IS TRUE
    RETURNING c.id, c.requester
)"""
