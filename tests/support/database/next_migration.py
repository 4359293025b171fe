"""A migration after the newest one. Upgrades are tested with it, because no release has had a second migration yet."""

import shutil
from pathlib import Path

from alembic.script import ScriptDirectory

from stepwell.persistence.schema.migrations import script_folder

_SOURCE = """
from alembic import op

revision = {revision!r}
down_revision = {before!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
    for statement in {statements!r}:
        op.execute(statement)
"""


def add_migration(folder: Path, *statements: str) -> str:
    """Copy all migrations to *folder*, and add one that runs *statements*. Return its revision."""
    shutil.copytree(script_folder(), folder, dirs_exist_ok=True)
    newest = ScriptDirectory(str(folder)).get_current_head()
    assert newest is not None
    revision = f"{int(newest) + 1:04}"
    source = _SOURCE.format(revision=revision, before=newest, statements=statements)
    (folder / "versions" / f"{revision}_next.py").write_text(source)
    return revision
