"""The composition root: everything is put together here, and taken apart again."""

from stepwell.app.composition import Application, running_app
from stepwell.app.database import DatabaseSource, PostgresSource

__all__ = ["Application", "DatabaseSource", "PostgresSource", "running_app"]
