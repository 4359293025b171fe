"""The costs of attempts by tenant, day (UTC), provider, model and currency, summed for good."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

STATEMENT = """
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
"""


def upgrade() -> None:
    op.execute(STATEMENT)
