"""The parts of the engine's statements by which the end of a sub-workflow wakes its parent.

What must hold:
- The statement that records the end of a sub-workflow adds one to `child_ended_count` of its parent, and makes a parked
  parent due. So either both are committed or neither is.
- A process that loads a parent reads `child_ended_count`, and then checks each open sub-workflow. After these checks it
  knows of all ends that are counted. It also does if one statement has read that number with the statuses of all open
  sub-workflows, and the ended ones are reported.
- A statement that parks the parent, or leaves it parked, compares `child_ended_count` with the number that its process
  knows, and makes the parent due at once if there are more. Both statements update the parent's row, so one waits for
  the other, and PostgreSQL then computes the new values from the newest version of the row. It wouldn't read the rows
  of sub-workflows again, so the counter has to be in the row of the parent.
- No two statements wait for each other. For this, all statements lock workflows in the same order: the deepest first,
  and those of one depth by their ids. A checkpoint has workflows of one depth only, in the order of their ids, and then
  their parent. So the ends of sub-workflows are written by statements of their own, each for one parent. PostgreSQL
  locks in the order of the rows, because `connections.database` allows no other join than a nested loop.
  `engine_statements.INSERT_CHILD` locks the parent and then the root; nobody else can lock the new sub-workflow.
  All other statements sort the workflows, and lock them before they write. Those that skip locked rows wait for nobody.
"""

from typing import Final

from stepwell.persistence.statements.command_statements import notify_process

# Assigns `wake_at` in a stage that updates the workflows `t` from the rows `w`. NULL stays NULL.
ASSIGN_WAKE_AT: Final = """wake_at = CASE
        WHEN t.child_ended_count > w.child_ended_seen AND w.wake_at > clock_timestamp() THEN clock_timestamp()
        ELSE w.wake_at
    END"""

# A stage of `engine_statements.CHECKPOINT_AND_CHILD_ENDED`. `written` has the sub-workflows that have ended. Their
# parent may be gone.
COUNT_ENDED_CHILDREN: Final = """woken_parents AS (
    UPDATE workflows AS p
    SET child_ended_count = p.child_ended_count + ends.number,
        wake_at = CASE WHEN p.wake_at > clock_timestamp() THEN clock_timestamp() ELSE p.wake_at END
    FROM (
        SELECT c.parent_id, count(*) AS number FROM workflows AS c WHERE c.id IN (SELECT id FROM written) GROUP BY 1
    ) AS ends
    WHERE p.id = ends.parent_id
    RETURNING p.id, p.owner
)"""

# A column that notifies the process that has the parent in memory, unless that is this process, $6.
NOTIFY_PARENT: Final = f"""(
    SELECT count({notify_process("owner", "child_ended", "id")}) FROM woken_parents WHERE owner <> $6
)"""  # noqa: S608 - built from constants
