"""The costs of the attempts that are stored, summed.

No process of this version runs before the migrations are over, so no other statement counts these costs. The costs of
attempts that processes of an earlier version end afterwards are missing from the sums.
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

COPIES_DATA = True  # for a minute if there are millions, so without a lock

STATEMENT = """
INSERT INTO daily_costs (tenant, day, provider, model, currency, amount, attempts)
SELECT coalesce(w.tenant, ''), (coalesce(k.completed_at, k.started_at) AT TIME ZONE 'UTC')::date,
       coalesce(k.provider, ''), coalesce(left(k.sent ->> 'model', 255), ''), k.cost ->> 'currency',
       sum((k.cost ->> 'amount')::numeric), count(*)
FROM tasks AS k JOIN workflows AS w ON w.id = k.workflow_id
WHERE k.cost IS NOT NULL AND NOT EXISTS (SELECT FROM daily_costs)
GROUP BY 1, 2, 3, 4, 5
"""


def upgrade() -> None:
    op.execute(STATEMENT)
