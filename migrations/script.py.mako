"""${message}

Processes of the version before run while this happens, and afterwards. If this breaks the code of an earlier revision,
it must also raise `installation.oldest_revision`, at most to the revision before this one. No index is created here:
the service builds those of `tables` CONCURRENTLY.
"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
