"""The statements about budgets: what attempts reserve, and what checkpoints settle.

What must hold:
- The rows of a budget are locked before they are compared with its maximum. A row that was locked is read in its newest
  version, so no two statements give the same room away.
- A settlement deletes the reservation of its task. It counts once, because the row is deleted once.
- No two statements wait for each other: all lock the rows of budgets in the order of their keys, and a checkpoint locks
  its workflows before.
"""

from typing import Final

from stepwell.persistence.statements.flow_statements import IS_WRITTEN

# Adds the stage `changes`, which has amounts by scope and unit, to the budgets.
_ADD_CHANGES: Final = """
    INSERT INTO budgets AS t (scope, unit, spent, reserved)
    SELECT scope, unit, sum(spent), -sum(freed) FROM changes GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (scope, unit)
    DO UPDATE SET spent = t.spent + excluded.spent, reserved = t.reserved + excluded.reserved"""

# Stages of a checkpoint: the settlements of the tasks $25 of the workflows $26. $27 says whether all that was reserved
# counts as spent, $28 whether the attempt counts, and $29 and $30 are what it has cost.
SETTLE: Final = f"""settled AS (
    DELETE FROM budget_reservations AS r
    USING unnest($25::uuid[], $26::uuid[], $27::bool[], $28::bool[], $29::text[], $30::numeric[])
        AS n(task_id, workflow_id, kept, counts, currency, cost)
    WHERE r.task_id = n.task_id AND {IS_WRITTEN.format("n")}
    RETURNING r.scope, r.unit, r.amount, n.kept, n.counts, n.currency, n.cost
), changes AS (
    SELECT scope, unit, amount AS freed,
           CASE WHEN unit = '' THEN counts::int WHEN kept THEN amount ELSE 0 END AS spent FROM settled
    UNION ALL
    SELECT scope, currency, 0, cost FROM settled WHERE unit = '' AND currency IS NOT NULL
), changed_budgets AS ({_ADD_CHANGES}
)"""  # noqa: S608 - built from the constants above

# Assigns `config` in a stage that updates the workflows `t`: those in $31 get the budgets $32. All other members of it
# stay as the client has sent them.
ASSIGN_CONFIG: Final = """config = CASE WHEN t.id = ANY($31::uuid[]) THEN (
        SELECT json_object_agg(m.key, CASE WHEN m.key = 'budget' THEN n.budget ELSE m.value END)
        FROM unnest($31::uuid[], $32::json[]) AS n(id, budget) CROSS JOIN LATERAL json_each(t.config) AS m
        WHERE n.id = t.id
    ) ELSE t.config END"""

_MAXIMUM: Final = """CASE WHEN n.root_id IS NULL THEN n.maximum ELSE (
        SELECT (CASE WHEN n.unit = '' THEN w.config -> 'budget' ->> 'max_attempts'
                ELSE w.config -> 'budget' -> 'max_cost' ->> n.unit END)::numeric
        FROM workflows AS w WHERE w.id = n.root_id
    ) END"""

# Reserves what the tasks $1 demand: of the units $3 of the budgets $2 the amounts $4. $5 are the roots whose configs
# have the maxima, else $6 are the maxima. Returns the demands without room, and those whose budget has no row yet
# (`used` is NULL). If there are any of a task, nothing is reserved for it. $7 are the budgets, each once.
RESERVE: Final = f"""
WITH wanted AS MATERIALIZED (
    SELECT n.* FROM unnest($1::uuid[], $2::text[], $3::text[], $4::numeric[], $5::uuid[], $6::numeric[])
        WITH ORDINALITY AS n(task_id, scope, unit, amount, root_id, maximum, number)
    WHERE EXISTS (SELECT FROM tasks AS k WHERE k.id = n.task_id AND k.status = 'RUNNING')
      AND NOT EXISTS (SELECT FROM budget_reservations AS r WHERE r.task_id = n.task_id AND r.scope = n.scope)
), locked AS MATERIALIZED (
    SELECT scope, unit, spent + reserved AS used FROM budgets WHERE scope = ANY($7::text[])
    ORDER BY scope, unit FOR UPDATE
), checked AS MATERIALIZED (
    SELECT n.*, l.used, sum(n.amount) OVER (PARTITION BY n.scope, n.unit ORDER BY n.number) AS demanded,
           {_MAXIMUM} AS bound
    FROM wanted AS n LEFT JOIN locked AS l ON l.scope = n.scope AND l.unit = n.unit
), refused AS MATERIALIZED (
    SELECT * FROM checked WHERE used IS NULL OR used + demanded > bound
), reserved AS (
    INSERT INTO budget_reservations (task_id, scope, unit, amount)
    SELECT task_id, scope, unit, amount FROM checked WHERE (task_id IN (SELECT task_id FROM refused)) IS NOT TRUE
    RETURNING scope, unit, amount
), changed AS (
    UPDATE budgets AS t SET reserved = t.reserved + s.amount
    FROM (SELECT scope, unit, sum(amount) AS amount FROM reserved GROUP BY 1, 2) AS s
    WHERE t.scope = s.scope AND t.unit = s.unit
)
SELECT r.task_id, r.scope, r.unit, r.used, greatest(r.bound - r.used, 0) AS rest, coalesce((
    SELECT w.config -> 'budget' ->> 'on_exceeded' = 'fail' FROM workflows AS w WHERE w.id = r.root_id
), false) AS fails
FROM refused AS r ORDER BY r.number
"""  # noqa: S608 - built from the constants above

# Inserts the rows of budgets that are about to be used for the first time. Those of days before $3 aren't needed any
# more.
OPEN_BUDGETS: Final = """
WITH old_days AS (DELETE FROM budgets WHERE scope LIKE '____-__-__/%' AND scope < $3)
INSERT INTO budgets (scope, unit, spent, reserved)
SELECT scope, unit, 0, 0 FROM unnest($1::text[], $2::text[]) AS n(scope, unit) ORDER BY 1, 2 ON CONFLICT DO NOTHING
"""

_IS_OPEN: Final = """EXISTS (
        SELECT FROM tasks AS k
        WHERE k.id = r.task_id AND (k.status = 'RUNNING' OR k.follow_up_until IS NOT NULL)
    )"""

FORGET_ENDED: Final = f"""
WITH ended AS (
    DELETE FROM budget_reservations AS r WHERE NOT {_IS_OPEN}
    RETURNING r.scope, r.unit, r.amount
), changes AS (SELECT scope, unit, amount AS freed, 0 AS spent FROM ended)
{_ADD_CHANGES}
"""  # noqa: S608 - built from the constants above

WAKE: Final = """
UPDATE workflows SET wake_at = clock_timestamp()
WHERE id IN (SELECT id FROM workflows WHERE status = 'RUNNING' AND wake_at = $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING 1
"""

# An attempt that has ended has reserved nothing, also if that isn't given back yet.
USE: Final = f"""
SELECT unit, spent, coalesce((
    SELECT sum(r.amount) FROM budget_reservations AS r WHERE r.scope = b.scope AND r.unit = b.unit AND {_IS_OPEN}
), 0) AS reserved
FROM budgets AS b WHERE scope = $1 ORDER BY unit
"""  # noqa: S608 - built from a constant
