"""The costs of attempts by tenant, day (UTC), provider, model and currency, summed for good.

The migration sums the costs of the attempts that are stored. The costs of attempts that processes of an earlier version
end afterwards are missing from the sums.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE daily_costs (
        tenant text NOT NULL,
        day date NOT NULL,
        provider text NOT NULL,
        model text NOT NULL,
        currency text NOT NULL,
        amount numeric NOT NULL,
        attempts bigint NOT NULL,
        CONSTRAINT daily_costs_pkey PRIMARY KEY (tenant, day, provider, model, currency)
    ) WITH (fillfactor = 50)
    """,
    """
    INSERT INTO daily_costs (tenant, day, provider, model, currency, amount, attempts)
    SELECT coalesce(w.tenant, ''), (coalesce(k.completed_at, k.started_at) AT TIME ZONE 'UTC')::date,
           coalesce(k.provider, ''), coalesce(left(k.sent ->> 'model', 255), ''), k.cost ->> 'currency',
           sum((k.cost ->> 'amount')::numeric), count(*)
    FROM tasks AS k JOIN workflows AS w ON w.id = k.workflow_id WHERE k.cost IS NOT NULL
    GROUP BY 1, 2, 3, 4, 5
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
