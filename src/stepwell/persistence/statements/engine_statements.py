"""The engine's statements, among them the checkpoint. Each is one round trip over asyncpg, with its rows in arrays.

`CHECKPOINT` is the most frequent statement. Its rows, and those of `INSERT`, are arrays of composite types that
migrations have created (see `tables.column.RowType`). The first stage of `CHECKPOINT` updates the workflows that
still have the version from which the decision was made. All other stages write only rows of these workflows. So the
transitions of a workflow are written together or not at all.
"""

from typing import Final

from stepwell.contract.enums import EventType
from stepwell.persistence.statements.budget_statements import ASSIGN_CONFIG, SETTLE
from stepwell.persistence.statements.child_statements import ASSIGN_WAKE_AT, COUNT_ENDED_CHILDREN, NOTIFY_PARENT
from stepwell.persistence.statements.command_statements import LOCK_COMMANDS, MARK_COMMANDS, notify_process
from stepwell.persistence.statements.flow_statements import (
    ASSIGN_HAS_FLOW,
    IS_WRITTEN,
    LOAD_SIGNALS,
    WRITE_ITEMS,
    WRITE_WAITS,
)
from stepwell.persistence.statements.item_results import result_bytes_of, result_of
from stepwell.persistence.tables import steps, tasks, workflows
from stepwell.persistence.tables.column import RowType, assign, names, without
from stepwell.persistence.tables.deliveries import DELIVERY
from stepwell.persistence.tables.events import EVENT
from stepwell.persistence.tables.idempotency_keys import KEY
from stepwell.persistence.tables.steps import NEW_STEP
from stepwell.persistence.tables.tasks import PLAIN_TASK, TASK
from stepwell.persistence.tables.workflows import NEW_WORKFLOW, in_scope
from stepwell.rules.costs import MAX_MODEL


def _checkpoint(before: str = "", fence: str = "", *, flow: bool = False, budgets: bool = False) -> str:
    """Return the stages of a checkpoint. The stages *before* come first. *fence* is one more condition of `written`.

    *flow*: the rows of workflows, steps and tasks have the columns of flow control, too. *budgets*: so does a config.
    """
    if flow:
        workflow, step, task = workflows.WORKFLOW, steps.STEP, TASK
        assign_workflow = f"{assign(workflows.STATE, 'w')}, {ASSIGN_WAKE_AT}, {ASSIGN_HAS_FLOW.format(step.name)}"
        assign_workflow += f", {ASSIGN_CONFIG}" * budgets
        # A step that repeats keeps its best result so far.
        assign_step = assign(steps.STATE, "s", result="coalesce(s.result, t.result)")
    else:
        workflow, step, task = workflows.PLAIN_WORKFLOW, steps.PLAIN_STEP, PLAIN_TASK
        assign_workflow, assign_step = assign(workflows.STATE, "w"), assign(steps.PLAIN_STATE, "s")
    return f"""
WITH {before}written AS (
    UPDATE workflows AS t SET {assign_workflow}
    FROM unnest($1::{workflow.name}[]) AS w
    WHERE t.id = w.id AND t.owner IS NOT DISTINCT FROM w.fence_owner
      AND t.epoch = w.fence_epoch AND t.last_event = w.fence_event{fence}
    RETURNING t.id
), changed_steps AS (
    UPDATE steps AS t SET {assign_step}
    FROM unnest($2::{step.name}[]) AS s
    WHERE t.workflow_id = s.workflow_id AND t.position = s.position AND {IS_WRITTEN.format("s")}
), changed_tasks AS (
    INSERT INTO tasks ({names(task.columns)})
    SELECT {names(task.columns, "k.")} FROM unnest($3::{task.name}[]) AS k
    WHERE {IS_WRITTEN.format("k")}
    ON CONFLICT (id) DO UPDATE SET {assign(tasks.CHANGING, "excluded")}
), new_events AS (
    INSERT INTO events ({names(EVENT.columns)})
    SELECT {names(EVENT.columns, "e.")} FROM unnest($4::{EVENT.name}[]) AS e
    WHERE {IS_WRITTEN.format("e")}
)"""  # noqa: S608 - built from the constants above


_CHECKPOINT: Final = _checkpoint()
_COMMITTED: Final = "SELECT id, clock_timestamp() AS now FROM written"

CHECKPOINT: Final = f"{_CHECKPOINT} {_COMMITTED}"

# Adds the costs of the tasks $3 to their sums, and subtracts those that the tasks had before, which a cost that changes
# replaces. A cost never becomes NULL. Each statement changes sums in the order of their key, so that two of them can't
# wait for each other. See `rules.costs`.
_COST: Final = "workflow_id, provider, sent, cost, coalesce(completed_at, started_at) AS ended_at"


# What the events $4 have saved counts with the sign 0: it is no cost.
_SAVED: Final = f"""
        UNION ALL
        SELECT 0, e.workflow_id, k.provider, k.sent, e.data -> 'saved', e.at
        FROM unnest($4::{EVENT.name}[]) AS e LEFT JOIN tasks AS k ON k.id = (e.data ->> 'from_task_id')::uuid
        WHERE e.type = '{EventType.STEP_REUSED}' AND e.data ->> 'saved' IS NOT NULL"""  # noqa: S608 - as above


def _count_costs(task: RowType = PLAIN_TASK, saved: str = "") -> str:
    return f"""cost_changes AS (
    SELECT coalesce(w.tenant, '') AS tenant, (c.ended_at AT TIME ZONE 'UTC')::date AS day,
           coalesce(c.provider, '') AS provider, coalesce(left(c.sent ->> 'model', {MAX_MODEL}), '') AS model,
           coalesce(CASE WHEN w.root_id IS NULL THEN w.stored_definition ELSE root.stored_definition END, '')
               AS definition,
           c.cost ->> 'currency' AS currency, c.sign * (c.cost ->> 'amount')::numeric AS amount, c.sign AS attempts,
           CASE WHEN c.sign = 0 THEN (c.cost ->> 'amount')::numeric ELSE 0 END AS saved
    FROM (
        SELECT 1 AS sign, {_COST} FROM unnest($3::{task.name}[]) AS k WHERE k.cost IS NOT NULL
        UNION ALL
        SELECT -1, {_COST} FROM tasks AS t WHERE t.cost IS NOT NULL
          AND t.id = ANY(SELECT k.id FROM unnest($3::{task.name}[]) AS k WHERE k.cost IS NOT NULL){saved}
    ) AS c JOIN workflows AS w ON w.id = c.workflow_id LEFT JOIN workflows AS root ON root.id = w.root_id
    WHERE {IS_WRITTEN.format("c")}
), counted_costs AS (
    INSERT INTO daily_costs AS t (tenant, day, provider, model, definition, currency, amount, attempts, saved)
    SELECT tenant, day, provider, model, definition, currency, sum(amount), sum(attempts), sum(saved)
    FROM cost_changes GROUP BY 1, 2, 3, 4, 5, 6
    HAVING sum(amount) <> 0 OR sum(attempts) <> 0 OR sum(saved) <> 0 ORDER BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (tenant, day, provider, model, definition, currency)
    DO UPDATE SET amount = t.amount + excluded.amount, attempts = t.attempts + excluded.attempts,
                  saved = t.saved + excluded.saved
)"""  # noqa: S608 - built from the constants above


_MORE: Final = f"""new_deliveries AS (
    INSERT INTO deliveries ({names(DELIVERY.columns)}, status, attempts, next_at, owner)
    SELECT {names(DELIVERY.columns, "d.")}, 'PENDING', '[]', d.created_at, $6 FROM unnest($5::{DELIVERY.name}[]) AS d
    WHERE {IS_WRITTEN.format("d")}
), used_keys AS (
    UPDATE idempotency_keys AS t SET applied_at = clock_timestamp(), workflow_id = k.workflow_id
    FROM unnest($7::{KEY.name}[]) AS k
    WHERE t.scope = k.scope AND t.key = k.key AND t.token = k.token AND {IS_WRITTEN.format("k")}
), begun_cleanups AS (
    INSERT INTO cleanups (workflow_id, lane, owner, next_at)
    SELECT w.id, coalesce(w.tenant, ''), $6, clock_timestamp() FROM workflows AS w
    WHERE w.id = ANY($8::uuid[]) AND w.id IN (SELECT id FROM written)
), ended_cleanups AS (
    DELETE FROM cleanups WHERE workflow_id = ANY($9::uuid[]) AND workflow_id IN (SELECT id FROM written)
), old_labels AS (
    DELETE FROM labels AS t WHERE t.workflow_id = ANY($10::uuid[]) AND t.workflow_id IN (SELECT id FROM written)
      AND NOT EXISTS (SELECT FROM unnest($11::uuid[], $12::text[]) AS n(workflow_id, label)
                      WHERE n.workflow_id = t.workflow_id AND n.label = t.label)
), new_labels AS (
    INSERT INTO labels (workflow_id, label, created_at)
    SELECT n.workflow_id, n.label, w.created_at
    FROM unnest($11::uuid[], $12::text[]) AS n(workflow_id, label) JOIN workflows AS w ON w.id = n.workflow_id
    WHERE {IS_WRITTEN.format("n")}
    ON CONFLICT DO NOTHING
)"""  # noqa: S608 - built from the constants above

# `CHECKPOINT` for a batch that also has webhooks, which the process $6 sends, effects of requests with idempotency
# keys, cleanups that begin or end, or new labels of the workflows $10.
CHECKPOINT_AND_MORE: Final = f"{_CHECKPOINT}, {_MORE} {_COMMITTED}"

# `CHECKPOINT_AND_MORE` for a batch with costs.
CHECKPOINT_AND_COSTS: Final = f"{_CHECKPOINT}, {_MORE}, {_count_costs()} {_COMMITTED}"

# `CHECKPOINT_AND_COSTS` for a batch with commands: $13 are their ids, $14 their workflows and $15 their outcomes. A
# workflow is written only if each of its commands still waits. Each requester is notified of the outcome.
_NOT_WITHDRAWN: Final = " AND (w.id IN (SELECT workflow_id FROM withdrawn)) IS NOT TRUE"
CHECKPOINT_AND_COMMANDS: Final = f"""
{_checkpoint(LOCK_COMMANDS, _NOT_WITHDRAWN)},
{_MORE}, {_count_costs()}, {MARK_COMMANDS}
SELECT id, clock_timestamp() AS now, (SELECT count({notify_process("requester", "ended", "id")}) FROM applied)
FROM written
"""  # noqa: S608 - built from the constants above


# `CHECKPOINT_AND_COMMANDS` for a batch with flow control: workflows that are parked, and steps, items, waits and
# signals. So all other batches keep their statements, and the plans of these.
def _write_flow(*, budgets: bool = False) -> str:
    return (
        f"""
{_checkpoint(LOCK_COMMANDS, _NOT_WITHDRAWN, flow=True, budgets=budgets)},
{_MORE}, {_count_costs(TASK, _SAVED)}, {MARK_COMMANDS}, {WRITE_WAITS}, {WRITE_ITEMS}"""
        + f", {SETTLE}" * budgets
    )


_FLOW_WRITTEN: Final = f"""
SELECT id, clock_timestamp() AS now, (SELECT count({notify_process("requester", "ended", "id")}) FROM applied)
FROM written
"""  # noqa: S608 - built from the constants above
CHECKPOINT_AND_FLOW: Final = _write_flow() + _FLOW_WRITTEN

# `CHECKPOINT_AND_FLOW` for a batch with settlements of reservations, or new budgets: see `budget_statements`.
CHECKPOINT_AND_BUDGETS: Final = _write_flow(budgets=True) + _FLOW_WRITTEN

# `CHECKPOINT_AND_FLOW` for ends of sub-workflows, all of one parent, and nothing else: see `child_statements`.
_CHILD_ENDED: Final = f"""
, {COUNT_ENDED_CHILDREN}
SELECT id, clock_timestamp() AS now, (SELECT count({notify_process("requester", "ended", "id")}) FROM applied),
       {NOTIFY_PARENT}
FROM written
"""  # noqa: S608 - built from the constants above
CHECKPOINT_AND_CHILD_ENDED: Final = _write_flow() + _CHILD_ENDED
CHECKPOINT_AND_CHILD_ENDED_AND_BUDGETS: Final = _write_flow(budgets=True) + _CHILD_ENDED

STATUSES: Final = f"""
SELECT id, status FROM workflows
WHERE id = ANY($1::uuid[]) AND deleted_at IS NULL AND {in_scope(2)}
"""  # noqa: S608 - built from a constant

# `STATUSES` of sub-workflows, and `child_ended_count` of their parent $5.
CHILD_STATUSES: Final = f"""
SELECT id, status, child_ended_count, id <> $5 AND deleted_at IS NULL AS is_child FROM workflows
WHERE id = ANY($1::uuid[] || $5::uuid) AND {in_scope(2)}
"""  # noqa: S608 - built from a constant

# If no process runs a workflow, two processes may write versions with the same number. Their times distinguish them.
VERSION_COLUMNS: Final = ("owner", "epoch", "last_event", "updated_at")
VERSIONS: Final = f"SELECT id, {', '.join(VERSION_COLUMNS)} FROM workflows WHERE id = ANY($1::uuid[])"  # noqa: S608

_INSERT_WORKFLOWS: Final = f"""
    INSERT INTO workflows ({names(NEW_WORKFLOW.columns)})
    SELECT {names(NEW_WORKFLOW.columns, "w.")} FROM unnest($1::{NEW_WORKFLOW.name}[]) AS w"""  # noqa: S608 - constants
_INSERT_STEPS: Final = f"""
    INSERT INTO steps (workflow_id, updated_at, status, {names(steps.NEW)})
    SELECT s.workflow_id, s.created_at, 'PENDING', {names(steps.NEW, "s.")}
    FROM unnest($2::{NEW_STEP.name}[]) AS s"""  # noqa: S608 - built from the constants above
_INSERT_EVENTS: Final = f"""
    INSERT INTO events ({names(EVENT.columns)})
    SELECT {names(EVENT.columns, "e.")} FROM unnest($3::{EVENT.name}[]) AS e"""  # noqa: S608 - as above
_INSERT: Final = f"WITH new_workflows AS ({_INSERT_WORKFLOWS}), new_steps AS ({_INSERT_STEPS})"

INSERT: Final = f"{_INSERT} {_INSERT_EVENTS}"

# `INSERT` for a batch in which some workflows have labels.
INSERT_LABELLED: Final = f"""
{_INSERT}, new_labels AS (
    INSERT INTO labels (workflow_id, label, created_at) SELECT * FROM unnest($4::uuid[], $5::text[], $6::timestamptz[])
) {_INSERT_EVENTS}
"""  # noqa: S608 - built from the constants above

# `INSERT` for one workflow, and only if its claim still holds. The statement marks the claim as used.
INSERT_ONCE: Final = f"""
WITH used_keys AS (
    UPDATE idempotency_keys AS t SET applied_at = clock_timestamp(), workflow_id = k.workflow_id
    FROM unnest($4::{KEY.name}[]) AS k
    WHERE t.scope = k.scope AND t.key = k.key AND t.token = k.token AND t.applied_at IS NULL
    RETURNING t.workflow_id
), new_labels AS (
    INSERT INTO labels (workflow_id, label, created_at)
    SELECT * FROM unnest($5::uuid[], $6::text[], $7::timestamptz[]) WHERE EXISTS (SELECT FROM used_keys)
), new_workflows AS ({_INSERT_WORKFLOWS} WHERE EXISTS (SELECT FROM used_keys)
), new_steps AS ({_INSERT_STEPS} WHERE EXISTS (SELECT FROM used_keys)
), new_events AS ({_INSERT_EVENTS} WHERE EXISTS (SELECT FROM used_keys)
)
SELECT workflow_id FROM used_keys
"""  # noqa: S608 - built from the constants above

# The bound of `RootLimits` that a sub-workflow with $14 steps and $15 bytes would exceed, as in `ChildInsertion`.
_BOUND_REACHED: Final = """CASE
        WHEN sub_workflows >= $11::int THEN 'TOO_MANY'
        WHEN sub_workflow_steps + $14::int > $12::int THEN 'TOO_MANY_STEPS'
        WHEN sub_workflow_bytes + $15::bigint > $13::bigint THEN 'TOO_LARGE'
    END"""

# `INSERT` for one sub-workflow, whose link to its parent is $6 to $10: `child_records.ParentLink`. It isn't
# inserted if its parent doesn't belong to the process $4 any more, if the attempt $5 at its step has ended, or if its
# root has reached a bound. If it is stored already, nothing changes. The parent is locked before the root, as
# `child_statements` demands. The lock on the attempt makes PostgreSQL read the newest version of its row: what a
# statement that comes late saw at its beginning may be out of date, and the follow-up of the attempt won't look for a
# sub-workflow again.
INSERT_CHILD: Final = f"""
WITH existing AS MATERIALIZED (
    SELECT id FROM workflows WHERE id = (SELECT w.id FROM unnest($1::{NEW_WORKFLOW.name}[]) AS w)
), parent AS MATERIALIZED (
    SELECT id FROM workflows WHERE id = $6 AND owner = $4 AND NOT EXISTS (SELECT FROM existing) FOR NO KEY UPDATE
), attempt AS MATERIALIZED (
    SELECT id FROM tasks WHERE id = $5 AND status = 'RUNNING' AND EXISTS (SELECT FROM parent) FOR SHARE
), root AS MATERIALIZED (
    SELECT id FROM workflows WHERE id = $9 AND {_BOUND_REACHED} IS NULL AND EXISTS (SELECT FROM attempt)
    FOR NO KEY UPDATE
), new_workflows AS (
    INSERT INTO workflows ({names(NEW_WORKFLOW.columns)}, parent_id, parent_step, parent_item, root_id, depth)
    SELECT {names(NEW_WORKFLOW.columns, "w.")}, $6::uuid, $7::text, $8::int, $9::uuid, $10::int
    FROM unnest($1::{NEW_WORKFLOW.name}[]) AS w WHERE EXISTS (SELECT FROM root)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
), counted AS (
    UPDATE workflows
    SET sub_workflows = sub_workflows + 1,
        sub_workflow_steps = sub_workflow_steps + $14::int,
        sub_workflow_bytes = sub_workflow_bytes + $15::bigint
    WHERE id = $9 AND EXISTS (SELECT FROM new_workflows)
), new_steps AS ({_INSERT_STEPS} WHERE EXISTS (SELECT FROM new_workflows)
), new_events AS ({_INSERT_EVENTS} WHERE EXISTS (SELECT FROM new_workflows)
), new_labels AS (
    INSERT INTO labels (workflow_id, label, created_at)
    SELECT * FROM unnest($16::uuid[], $17::text[], $18::timestamptz[]) WHERE EXISTS (SELECT FROM new_workflows)
)
SELECT EXISTS (SELECT FROM new_workflows) AS is_new, EXISTS (SELECT FROM existing) AS is_stored,
       (SELECT {_BOUND_REACHED} FROM workflows WHERE id = $9) AS bound
"""  # noqa: S608 - built from the constants above

# Stores which tasks' and uploads' files new workflows name. It is sent only if there are any, and few workflows name
# files. The lock on the uploads lets a deletion of one come before this or after it (see `stores.uploads`).
REFER: Final = """
WITH named AS MATERIALIZED (
    SELECT n.id::uuid AS id, n.workflow_id, n.tenant
    FROM unnest($1::text[], $2::uuid[], $3::text[]) AS n(id, workflow_id, tenant)
), refs AS (
    INSERT INTO artifact_references (task_id, workflow_id) SELECT id, workflow_id FROM named ON CONFLICT DO NOTHING
)
SELECT u.id, named.workflow_id, u.status = 'STORED' AS is_stored,
       u.used_at > clock_timestamp() - interval '30 seconds' AS is_recent
FROM named JOIN uploads AS u ON u.id = named.id AND u.tenant IS NOT DISTINCT FROM named.tenant
ORDER BY u.id FOR SHARE OF u
"""

# Lets the workflow $1, and those above it, read the files $5, if they may not read all files of their tenant (see
# `FileScope`). Those below are locked first, as `child_statements` demands.
MAY_READ: Final = f"""
WITH RECURSIVE family AS (
    SELECT id, parent_id FROM workflows WHERE id = $1 AND {in_scope(2)}
    UNION ALL
    SELECT w.id, w.parent_id FROM workflows AS w JOIN family ON w.id = family.parent_id
), locked AS MATERIALIZED (
    SELECT id FROM workflows WHERE id IN (SELECT id FROM family) AND named_files IS NOT NULL
    ORDER BY depth DESC FOR NO KEY UPDATE
), limited AS (
    UPDATE workflows SET named_files = (
        SELECT json_agg(n.path) FROM (
            SELECT json_array_elements_text(named_files) AS path UNION SELECT unnest($5::text[])
        ) AS n
    ) WHERE id IN (SELECT id FROM locked)
)
SELECT tenant FROM workflows WHERE id = $1 AND {in_scope(2)}
"""  # noqa: S608 - built from a constant

# Records that uploads are used now. Returns those that still exist.
USE_UPLOADS: Final = """
WITH locked AS MATERIALIZED (
    SELECT id FROM uploads WHERE id = ANY($1::uuid[]) AND status = 'STORED' ORDER BY id FOR UPDATE
)
UPDATE uploads AS u SET used_at = clock_timestamp(),
                        expires_at = greatest(u.expires_at, clock_timestamp() + make_interval(secs => u.ttl_s))
FROM locked WHERE u.id = locked.id RETURNING u.id
"""

LOAD_WORKFLOWS: Final = f"""
SELECT id, tenant, created_by, origin_instance, config, suppress_subtask_events, definition_bytes, feature_level,
       created_at, {names(workflows.LOADED)}, parent_step, parent_item, root_id, child_ended_count,
       {LOAD_SIGNALS} AS signals, evaluates, CASE WHEN evaluates THEN inputs END AS inputs, named_files, reuse,
       CASE WHEN evaluates THEN ARRAY(SELECT label FROM labels AS l WHERE l.workflow_id = w.id) END AS labels,
       CASE WHEN status IN ('RUNNING', 'PAUSED', 'FAILED') THEN (
           SELECT sum(octet_length(s.result::text)) FROM steps AS s WHERE s.workflow_id = w.id AND s.result IS NOT NULL
       ) END AS result_bytes,
       CASE WHEN status IN ('RUNNING', 'PAUSED', 'FAILED') AND has_flow THEN (
           SELECT sum(octet_length(i.result::text)) FROM step_items AS i
           WHERE i.workflow_id = w.id AND i.result IS NOT NULL
       ) END AS item_result_bytes,
       CASE WHEN root_id IS NOT NULL THEN (
           SELECT root.config -> 'budget' FROM workflows AS root WHERE root.id = w.root_id
       ) IS NOT NULL END AS root_has_budget
FROM workflows AS w WHERE id = ANY($1::uuid[]) ORDER BY id
"""  # noqa: S608 - built from the constants above

LOAD_STEPS: Final = f"""
SELECT s.workflow_id, w.created_at, {names(steps.NEW, "s.")},
       {names(without(steps.STATE, "result"), "s.")}
FROM steps AS s JOIN workflows AS w ON w.id = s.workflow_id
WHERE s.workflow_id = ANY($1::uuid[]) ORDER BY s.workflow_id, s.position
"""  # noqa: S608 - built from the constants above

LOAD_OPEN_TASKS: Final = f"""
SELECT {names(TASK.columns, "t.")} FROM tasks AS t
JOIN steps AS s ON s.workflow_id = t.workflow_id AND s.position = t.position AND s.task_id = t.id
WHERE t.workflow_id = ANY($1::uuid[]) AND s.status = 'RUNNING' AND t.status = 'RUNNING'
UNION ALL
SELECT {names(TASK.columns, "t.")} FROM tasks AS t
WHERE t.workflow_id = ANY($1::uuid[]) AND t.follow_up_until IS NOT NULL
"""  # noqa: S608 - built from the constants above

# The attempts at items that are RUNNING. They are read for workflows that may have items only.
LOAD_ITEM_TASKS: Final = f"""
SELECT {names(TASK.columns, "t.")} FROM tasks AS t
JOIN step_items AS i ON i.workflow_id = t.workflow_id AND i.position = t.position AND i.item = t.item
WHERE t.workflow_id = ANY($1::uuid[]) AND i.status = 'RUNNING' AND i.task_id = t.id AND t.status = 'RUNNING'
  AND t.follow_up_until IS NULL
"""  # noqa: S608 - built from the constants above

# Returns those of the jobs $2 that an attempt already has.
KNOWN_JOBS: Final = "SELECT remote_id FROM tasks WHERE remote_id = ANY($2::text[]) AND provider = $1"

# The result of a step with items is NULL if it has more than $6 bytes. These are counted before it is built.
_RESULT_BYTES: Final = result_bytes_of("s", "octet_length({0}::text)", "0")
LOAD_RESULTS: Final = f"""
SELECT s.workflow_id, s.position, CASE WHEN {_RESULT_BYTES} <= $6::bigint THEN {result_of("s")} END AS result
FROM unnest($1::uuid[], $2::int[]) AS x(workflow_id, position)
JOIN steps AS s ON s.workflow_id = x.workflow_id AND s.position = x.position
JOIN workflows AS w ON w.id = x.workflow_id
WHERE (s.result IS NOT NULL OR s.for_each IS NOT NULL AND s.status = 'COMPLETED')
  AND {in_scope(3, "w.")}
"""  # noqa: S608 - built from the constants above

NOW: Final = "SELECT clock_timestamp()"
