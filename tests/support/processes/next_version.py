"""The next version of Stepwell, to run beside this one. It has one more migration, and one more feature level.

No release has followed another one yet. As soon as one has, tests of upgrades run that release before this version.
"""

from pathlib import Path
from typing import Final

from stepwell.lifecycle import feature_level
from support.processes.source_tree import TOP

NEXT_FEATURE: Final = "uses the next feature"  # the name of workflows that only the next version understands
_MIGRATIONS: Final = "migrations"
_SITE: Final = f"""
from pathlib import Path
from {__name__} import become_next_version

become_next_version(Path(__file__).parent / {_MIGRATIONS!r})
"""


def make_next_version(folder: Path) -> dict[str, str]:
    """Write what makes a process of `stepwell` one of the next version to *folder*. Return the variables for it."""
    from support.database.next_migration import add_migration  # it imports modules that copy the level

    add_migration(
        folder / _MIGRATIONS,
        "ALTER TABLE workflows ADD COLUMN next integer NOT NULL DEFAULT 0",
        "DROP INDEX workflows_list_by_zone",
    )
    (folder / "sitecustomize.py").write_text(_SITE)
    return {"PYTHONPATH": f"{folder}:{TOP / 'tests'}"}


def become_next_version(migrations_folder: Path) -> None:
    """Make this process one of the next version. `sitecustomize` calls this before a module has copied the level."""
    level = feature_level.FEATURE_LEVEL + 1
    vars(feature_level)["FEATURE_LEVEL"] = level
    # Imported here, because these modules copy the level.
    from stepwell.definition.validation.workflow import ValidatedWorkflow
    from stepwell.persistence.schema import migrations

    vars(migrations)["script_folder"] = lambda: migrations_folder
    usual = vars(ValidatedWorkflow)["feature_level"].fget

    def level_of(workflow: ValidatedWorkflow) -> int:
        return level if workflow.request.name == NEXT_FEATURE else int(usual(workflow))

    ValidatedWorkflow.feature_level = property(level_of)  # type: ignore[method-assign,assignment]
