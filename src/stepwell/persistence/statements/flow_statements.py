"""The parts of the engine's statements about waits, signals, items and parked workflows.

A workflow is parked while `wake_at` is set: it only waits, and no process has it in memory. It is then RUNNING or
PAUSED, without an owner. The index `workflows_due` has the parked workflows in the order in which they are due.
"""

from typing import Final

from stepwell.lifecycle.feature_level import FEATURE_LEVEL
from stepwell.persistence.tables import steps
from stepwell.persistence.tables.column import assign, names, without
from stepwell.persistence.tables.steps import ITEM
from stepwell.persistence.tables.waits import SIGNAL, WAIT

# The condition of a stage of a checkpoint: its row belongs to a workflow that the stage `written` has changed.
# `(x IN (...)) IS TRUE` always uses a hash table. A bare IN might use another plan if the planner expects few rows.
IS_WRITTEN: Final = "({0}.workflow_id IN (SELECT id FROM written)) IS TRUE"

# A workflow without flow control of which a person has skipped a step counts as one with it from then on: its reads
# look for steps that are done without a result.
ASSIGN_HAS_FLOW: Final = """has_flow = t.has_flow OR (
        t.id IN (SELECT s.workflow_id FROM unnest($2::{}[]) AS s WHERE s.skip_reason = 'manual')
    ) IS TRUE"""

# Stages of `engine_statements.CHECKPOINT_AND_FLOW`, which follow the stage `written`: the waits $16 that have begun,
# the keys $17 and $18 of those that have ended, the signals $19 that are stored, and the names $21 of those that the
# workflows $20 have taken. A step that waits again replaces the row of its earlier wait. $22 are tasks and uploads
# whose files the workflows $23 need from now on.
WRITE_WAITS: Final = f"""new_waits AS (
    INSERT INTO waits ({names(WAIT.columns)}, tenant, root_id, step_id)
    SELECT {names(WAIT.columns, "n.")}, w.tenant, coalesce(w.root_id, w.id), s.step_id
    FROM unnest($16::{WAIT.name}[]) AS n JOIN workflows AS w ON w.id = n.workflow_id
    JOIN steps AS s ON s.workflow_id = n.workflow_id AND s.position = n.position
    WHERE {IS_WRITTEN.format("n")}
    ON CONFLICT (workflow_id, position) DO UPDATE SET {assign(WAIT.columns[2:], "excluded")}
), ended_waits AS (
    DELETE FROM waits AS t USING unnest($17::uuid[], $18::int[]) AS n(workflow_id, position)
    WHERE t.workflow_id = n.workflow_id AND t.position = n.position AND {IS_WRITTEN.format("n")}
), new_signals AS (
    INSERT INTO signals ({names(SIGNAL.columns)})
    SELECT {names(SIGNAL.columns, "n.")} FROM unnest($19::{SIGNAL.name}[]) AS n
    WHERE {IS_WRITTEN.format("n")}
    ON CONFLICT (workflow_id, name) DO UPDATE SET {assign(SIGNAL.columns[2:], "excluded")}
), taken_signals AS (
    DELETE FROM signals AS t USING unnest($20::uuid[], $21::text[]) AS n(workflow_id, name)
    WHERE t.workflow_id = n.workflow_id AND t.name = n.name AND {IS_WRITTEN.format("n")}
), new_references AS (
    INSERT INTO artifact_references (task_id, workflow_id)
    SELECT n.task_id, n.workflow_id FROM unnest($22::uuid[], $23::uuid[]) AS n(task_id, workflow_id)
    WHERE {IS_WRITTEN.format("n")}
    ON CONFLICT DO NOTHING
)"""  # noqa: S608 - built from the constants above

# An item that repeats keeps its best result so far.
_ASSIGN_STATE: Final = assign(steps.STATE, "excluded", result="coalesce(excluded.result, t.result)")

# A stage of `engine_statements.CHECKPOINT_AND_FLOW`: the items $24, new ones and those that have changed. An item may
# be both, and an UPDATE wouldn't see a row that the same statement inserts. The `value` of an item never changes, so
# only a new item has it here.
WRITE_ITEMS: Final = f"""written_items AS (
    INSERT INTO step_items AS t ({names(ITEM.columns)})
    SELECT {names(ITEM.columns, "n.")} FROM unnest($24::{ITEM.name}[]) AS n
    WHERE {IS_WRITTEN.format("n")}
    ON CONFLICT (workflow_id, position, item) DO UPDATE SET {_ASSIGN_STATE}
)"""  # noqa: S608 - built from the constants above

LOAD_ITEMS: Final = f"""
SELECT {names(without(ITEM.columns, "result"))}
FROM step_items WHERE workflow_id = ANY($1::uuid[]) ORDER BY workflow_id, position, item
"""  # noqa: S608 - built from the constants above

# A column of `engine_statements.LOAD_WORKFLOWS`. A workflow without flow control has no signals.
LOAD_SIGNALS: Final = """CASE WHEN has_flow THEN (
           SELECT json_object_agg(n.name, json_build_object('data', n.data, 'sender', n.sender, 'at', n.at))
           FROM signals AS n WHERE n.workflow_id = w.id
       ) END"""


def _next_wake(status: str, condition: str = "") -> str:
    """Return the SQL of the time at which the next parked workflow of that *status* is due.

    *condition* restricts the workflows.
    """
    return f"""(
    SELECT w.wake_at FROM workflows AS w
    WHERE w.status = '{status}' AND w.wake_at IS NOT NULL AND w.wake_at < '9999-01-01'
      AND w.feature_level <= {FEATURE_LEVEL}{condition}
    ORDER BY w.wake_at LIMIT 1
)"""  # noqa: S608 - built from constants


def _due(status: str, limit: str) -> str:
    # `now()` is stable, so it can end the scan of the index; `clock_timestamp()` can't.
    return f"""
    SELECT w.id FROM workflows AS w
    WHERE w.status = '{status}' AND w.wake_at IS NOT NULL AND w.wake_at <= now() AND w.feature_level <= {FEATURE_LEVEL}
    ORDER BY w.wake_at LIMIT {limit} FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - built from constants


# The time at which the next parked workflow is due. Those that wait for no time have `NEVER` as `wake_at`, and don't
# count.
NEXT_WAKE: Final = f"least({_next_wake('RUNNING')}, {_next_wake('PAUSED')})"

# Lets up to $1 parked workflows that are due wait for admission. The epoch changes, so that whoever has loaded one of
# them for a verb repeats the verb. Two processes skip each other's rows. Those that are PAUSED don't become active: up
# to $2 of them are returned. They are due again after $3 seconds, in case the caller dies. Also returns when the
# next workflow is due, those that this statement leaves included.
UNPARK: Final = f"""
WITH due AS MATERIALIZED ({_due("RUNNING", "$1")}), unparked AS (
    UPDATE workflows AS w SET wake_at = NULL, epoch = w.epoch + 1 FROM due WHERE w.id = due.id RETURNING w.tenant
), due_paused AS MATERIALIZED ({_due("PAUSED", "$2")}), postponed AS (
    UPDATE workflows AS w SET wake_at = clock_timestamp() + make_interval(secs => $3::float8)
    FROM due_paused WHERE w.id = due_paused.id RETURNING w.id, w.wake_at
)
SELECT ARRAY(SELECT tenant FROM unparked) AS tenants, ARRAY(SELECT id FROM postponed) AS paused, least(
    (SELECT min(wake_at) FROM postponed),
    {_next_wake("RUNNING", " AND (w.id IN (SELECT id FROM due)) IS NOT TRUE")},
    {_next_wake("PAUSED", " AND (w.id IN (SELECT id FROM due_paused)) IS NOT TRUE")}
) AS next_at
"""  # noqa: S608 - built from constants
