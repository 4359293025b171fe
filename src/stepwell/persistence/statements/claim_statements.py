"""The engine's statements about which process runs a workflow: claims after a death, and admission.

Each is one round trip over asyncpg. A page of workflows to load is bounded by their steps and items.
"""

from typing import Final

from stepwell.lifecycle.feature_level import FEATURE_LEVEL
from stepwell.lifecycle.records import NO_PROCESS

# The channel of the notifications that other processes have started or ended. See
# https://www.postgresql.org/docs/current/sql-notify.html
PROCESSES: Final = "stepwell_processes"

# The steps and items of the workflow {0}. A workflow without flow control has no items.
_SIZE: Final = """{0}.total_steps + CASE WHEN {0}.has_flow THEN (
    SELECT count(*) FROM step_items AS i WHERE i.workflow_id = {0}.id)::int ELSE 0 END"""

# The condition of an attempt that a process works on. If the sub-workflow of an attempt exists, no process works on the
# attempt, so it can't be the cause of a death.
_UNDER_WAY: Final = """k.status = 'RUNNING' AND (k.provider IS NOT NULL OR k.remote_id IS NULL)"""

# A workflow that needs a process has an owner. $1 is the caller, and $2 are the workflows that it held at the time $3.
# The caller also takes workflows that it owned then without knowing them, because the result of an earlier claim or
# insert was lost. A page ends with the workflow that brings it to $5 steps and items, so that it is loaded well within
# a lease. If $7 is true, nothing is claimed unless the division of limits says that the caller claims, or has all
# limits for itself: while the caller stood still, others may have found it dead and removed that.
# A process that ended in order has no row in `processes`. Every other dead process has ended uncleanly, and only
# workflows with a running attempt can be the cause: the suspects. The first claim after such an end records it, and
# whether one workflow alone had an attempt under way. After $6 recorded ends within ten minutes, a claim takes one
# suspect and nothing else, as long as there are suspects. `deaths` is NULL except for the suspect. Its value is the
# number of deaths in a row during which this workflow alone was on trial.
# The stage `orphans` waits for locked rows, because a dead process's last statement may still run. PostgreSQL then
# checks these rows again, which it can't do with a join. The order of its locks is in `child_statements`.
_DEAD: Final = """
WITH dead AS MATERIALIZED (
    SELECT owners.id, p.id IS NOT NULL AS crashed
    FROM (SELECT DISTINCT owner AS id FROM workflows WHERE owner IS NOT NULL) AS owners
    LEFT JOIN processes AS p ON p.id = owners.id
    WHERE owners.id <> $1 AND (p.id IS NULL OR p.lease_until <= clock_timestamp())
)"""
CLAIM: Final = f"""
{_DEAD}, new_ends AS (
    INSERT INTO unclean_ends (process, at, alone)
    SELECT dead.id, clock_timestamp(), found.under_way = 1
    FROM dead CROSS JOIN LATERAL (
        SELECT count(*) AS under_way FROM (
            SELECT FROM workflows AS w WHERE w.owner = dead.id
              AND EXISTS (SELECT FROM tasks AS k WHERE k.workflow_id = w.id AND {_UNDER_WAY}) LIMIT 2
        ) AS two
    ) AS found
    WHERE dead.crashed AND found.under_way > 0
      AND NOT EXISTS (SELECT FROM unclean_ends AS e WHERE e.process = dead.id)
    ON CONFLICT DO NOTHING
    RETURNING process, alone
), ends AS MATERIALIZED (
    SELECT process, alone FROM unclean_ends WHERE at > clock_timestamp() - interval '10 min'
    UNION ALL SELECT process, alone FROM new_ends
), suspect AS MATERIALIZED (
    SELECT w.id FROM workflows AS w
    WHERE (SELECT count(*) FROM ends) >= $6
      AND w.owner = ANY (ARRAY(SELECT id FROM dead WHERE crashed)) AND w.feature_level <= {FEATURE_LEVEL}
      AND (w.id IN (SELECT unnest($2::uuid[]))) IS NOT TRUE
      AND EXISTS (SELECT FROM tasks AS k WHERE k.workflow_id = w.id AND {_UNDER_WAY})
    ORDER BY w.crashes DESC, w.id LIMIT 1
), orphans AS MATERIALIZED (
    SELECT w.id, w.owner, w.depth, w.total_steps, w.crashes, w.has_flow
    FROM workflows AS w
    WHERE w.owner IS NOT NULL AND w.feature_level <= {FEATURE_LEVEL}
      AND (NOT EXISTS (SELECT FROM suspect) OR w.id = (SELECT id FROM suspect))
      AND (w.id IN (SELECT unnest($2::uuid[]))) IS NOT TRUE
      AND (w.owner = ANY (ARRAY(SELECT id FROM dead)) OR w.owner = $1 AND w.updated_at < $3)
      AND (NOT $7 OR EXISTS (SELECT FROM processes AS p WHERE p.id = $1 AND p.lease_until > clock_timestamp())
           AND (EXISTS (SELECT FROM limit_members AS m WHERE m.owner = $1 AND m.claiming)
                OR EXISTS (SELECT FROM limit_division AS d WHERE d.sole = $1)))
    ORDER BY w.depth DESC, w.id
    LIMIT $4
    FOR UPDATE
), page AS (
    SELECT * FROM (
        SELECT *, sum(size) OVER (ORDER BY depth DESC, id) - size AS before
        FROM (SELECT o.*, {_SIZE.format("o")} AS size FROM orphans AS o) AS sized
    ) AS p WHERE before < $5
)
UPDATE workflows AS w
SET owner = $1, epoch = w.epoch + 1, crashes = 0
FROM page LEFT JOIN ends ON ends.process = page.owner
WHERE w.id = page.id
RETURNING w.id, CASE WHEN w.id = (SELECT id FROM suspect) THEN
    CASE WHEN ends.alone THEN page.crashes ELSE 0 END END AS deaths
"""  # noqa: S608 - built from the constants above

# Takes the owner from up to $4 of the workflows that `CLAIM` would return and that have no attempt and no follow-up.
# An attempt that a dead process's last statement adds meanwhile isn't seen. It is continued after the admission.
RELEASE_IDLE: Final = f"""
{_DEAD}, idle AS MATERIALIZED (
    SELECT w.id FROM workflows AS w
    WHERE w.owner IS NOT NULL AND w.status = 'RUNNING' AND w.feature_level <= {FEATURE_LEVEL}
      AND (w.id IN (SELECT unnest($2::uuid[]))) IS NOT TRUE
      AND (w.owner = ANY (ARRAY(SELECT id FROM dead)) OR w.owner = $1 AND w.updated_at < $3)
      AND (SELECT true FROM tasks AS k WHERE k.workflow_id = w.id
           AND (k.status = 'RUNNING' OR k.follow_up_until IS NOT NULL) LIMIT 1) IS NULL
    ORDER BY w.depth DESC, w.id
    LIMIT $4
    FOR UPDATE
)
UPDATE workflows AS w
SET owner = NULL, epoch = w.epoch + 1, deadline_at = NULL, timeout_left_s = CASE
    WHEN w.deadline_at IS NULL THEN w.timeout_left_s
    ELSE greatest(extract(epoch FROM w.deadline_at - clock_timestamp())::float8, 0) END
FROM idle WHERE w.id = idle.id
RETURNING w.id
"""  # noqa: S608 - built from the constants above

# The workflows that wait for admission, as the index `workflows_to_admit` has them, without those that only a newer
# version understands. These are in an index of their own, so that the rows of the others aren't read.
WAITING: Final = f"""
SELECT tenant, count(*)::int AS number, min(started_at) AS oldest
FROM workflows WHERE status = 'RUNNING' AND owner IS NULL AND wake_at IS NULL
  AND (id IN (SELECT id FROM workflows WHERE feature_level > {FEATURE_LEVEL})) IS NOT TRUE
GROUP BY tenant
"""  # noqa: S608 - built from a constant

# Makes $1 the owner of waiting workflows: of each tenant in $2, the first that need no more than $3 slots together. $6
# steps and items, or $7 bytes, are a slot, as in `slots_of`. Two processes that admit at once skip each other's rows,
# so they can't wait for each other. $4 are workflows that the caller has in memory for a verb. A page ends with the
# workflow that brings it to $5 steps and items, as in `CLAIM`. It also returns those that were picked and not admitted,
# in their order.
ADMIT: Final = f"""
WITH picked AS MATERIALIZED (
    SELECT t.tenant, t.number, w.* FROM unnest($2::text[], $3::int[]) AS t(tenant, number) CROSS JOIN LATERAL (
        SELECT id, started_at, total_steps, definition_bytes, has_flow FROM workflows
        WHERE status = 'RUNNING' AND owner IS NULL AND wake_at IS NULL
          AND coalesce(tenant, '') = coalesce(t.tenant, '')
          AND (id IN (SELECT unnest($4::uuid[]))) IS NOT TRUE AND feature_level <= {FEATURE_LEVEL}
        ORDER BY started_at, id
        LIMIT t.number + 1
        FOR UPDATE SKIP LOCKED
    ) AS w
), sized AS (
    SELECT p.*, {_SIZE.format("p")} AS size FROM picked AS p
), fitting AS MATERIALIZED (
    SELECT *, sum(slots) OVER (PARTITION BY tenant ORDER BY started_at, id) <= number AS fits
    FROM (SELECT *, greatest((size + $6 - 1) / $6, (definition_bytes + $7 - 1) / $7, 1) AS slots FROM sized) AS s
), page AS (
    SELECT id FROM (
        SELECT id, sum(size) OVER (ORDER BY started_at, id) - size AS before FROM fitting WHERE fits
    ) AS p WHERE before < $5
), admitted AS (
    UPDATE workflows AS w
    SET owner = $1, epoch = w.epoch + 1, timeout_left_s = NULL,
        deadline_at = coalesce(clock_timestamp() + make_interval(secs => w.timeout_left_s), w.deadline_at)
    FROM page WHERE w.id = page.id
    RETURNING w.id
)
SELECT f.id, f.tenant, f.slots, a.id IS NOT NULL AS admitted
FROM fitting AS f LEFT JOIN admitted AS a ON a.id = f.id ORDER BY f.started_at, f.id
"""  # noqa: S608 - built from a constant

# Gives workflows of the process $1 an owner that is never alive, so that any other process may claim them, and notifies
# the others.
HAND_OVER: Final = f"""
WITH held AS MATERIALIZED (
    SELECT id FROM workflows WHERE owner = $1 AND id = ANY($2::uuid[]) ORDER BY depth DESC, id FOR UPDATE
), handed_over AS (
    UPDATE workflows AS w SET owner = '{NO_PROCESS}', epoch = w.epoch + 1 FROM held WHERE w.id = held.id
    RETURNING w.id
)
SELECT pg_notify('{PROCESSES}', $1::text) WHERE EXISTS (SELECT FROM handed_over)
"""  # noqa: S608 - built from constants

# Refuses all further writes of the present owner of the workflow $2, unless that is another live process than $1.
FENCE: Final = """
UPDATE workflows AS w SET epoch = w.epoch + 1
WHERE w.id = $2 AND w.owner IS NOT NULL AND (w.owner = $1 OR NOT EXISTS (
    SELECT FROM processes AS p WHERE p.id = w.owner AND p.lease_until > clock_timestamp()))
RETURNING w.epoch
"""

FORGET_DEAD: Final = """
WITH old_ends AS (DELETE FROM unclean_ends WHERE at < clock_timestamp() - interval '1 day'),
old_commands AS (
    DELETE FROM commands WHERE id = ANY (ARRAY(
        SELECT id FROM commands WHERE created_at < clock_timestamp() - interval '1 hour' FOR UPDATE SKIP LOCKED
    ))
)
DELETE FROM processes AS p
WHERE p.lease_until < clock_timestamp() AND NOT EXISTS (SELECT FROM workflows AS w WHERE w.owner = p.id)
  AND NOT EXISTS (SELECT FROM deliveries AS d WHERE d.owner = p.id AND d.next_at IS NOT NULL)
  AND NOT EXISTS (SELECT FROM cleanups AS c WHERE c.owner = p.id)
"""
