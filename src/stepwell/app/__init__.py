"""The composition root: everything is put together here, and taken apart again."""

from stepwell.app.composition import Application, running_app
from stepwell.app.database import Database, DatabaseSource, PostgresSource

__all__ = ["Application", "Database", "DatabaseSource", "PostgresSource", "running_app"]
